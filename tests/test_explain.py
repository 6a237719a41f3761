"""Dry runs: a request in, what a server would do out."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from switchd.config import Limits
from switchd.errors import RequestError
from switchd.explain import explain, read
from switchd.interfaces import Answer, Early, IEncrypts, Refuse
from switchd.negotiation import Entry
from switchd.routes import Routes
from tests.serving import HEAD, PLAIN, SWITCH, SWITCHED, Accepts, Says

LIMITS = Limits(head_bytes=1024, body_bytes=100, switch_seconds=10)


def entry(switch: Any, path: str = "/shout", **keys: Any) -> Entry:
    return Entry(path, "shouter", (b"shout",), switch, **keys)


def explained(data: bytes, *entries: Entry, clock: Clock | None = None) -> list[str]:
    """The lines, after ten seconds of `clock` at the latest."""
    clock = Clock() if clock is None else clock
    given = read(data, LIMITS)
    done = Deferred.fromCoroutine(explain(given, Routes(entries, ()).switches, "client", 10, clock))
    lines: list[str] = []
    done.addCallback(lambda text: lines.extend(text.split("\n")))
    clock.pump([1] * 10)
    return lines


class TestWhatIsRead:
    def test_a_request_is_read_as_a_server_reads_it(self) -> None:
        body = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nearly"
        given = read(b"POST http://h/a%20b?c HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n" + body, LIMITS)
        assert (given.request.method, given.request.target) == (b"POST", b"http://h/a%20b?c")
        assert (given.path, given.request.path) == (b"/a%20b", b"/a b")
        assert given.request.headers == ((b"host", b"h"), (b"x-y", b"z"), (b"transfer-encoding", b"chunked"))
        assert (given.version, given.request.body, given.early) == (b"HTTP/1.1", b"abc", b"early")

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            pytest.param(b"", 408, id="nothing"),
            pytest.param(SWITCH[:-1], 408, id="half-a-head"),
            pytest.param(HEAD % b"/" + b"Content-Length: 9\r\n\r\nabc", 408, id="half-a-body"),
            pytest.param(b"hello\r\n\r\n", 400, id="not-http"),
            pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="without-host"),
            pytest.param(HEAD % b"/" + b"X: " + b"x" * 1024 + b"\r\n\r\n", 431, id="a-long-head"),
            pytest.param(HEAD % b"/" + b"X: " + b"x" * 9999, 431, id="a-longer-head-without-end"),
            pytest.param(HEAD % b"/" + b"Content-Length: 101\r\n\r\n" + b"x" * 101, 413, id="a-long-body"),
        ],
    )
    def test_what_is_no_request_is_an_error_with_the_status_that_a_server_answers(
        self, data: bytes, status: int
    ) -> None:
        with pytest.raises(RequestError) as caught:
            read(data, LIMITS)
        assert caught.value.status == status


class TestWhatIsTold:
    def test_a_switch_that_accepts_shows_the_head_of_the_101_and_is_abandoned(self) -> None:
        switch = Accepts()
        assert explained(SWITCH + b"hello", entry(switch)) == [
            "request:   GET /shout, a body of 0 bytes, 5 bytes behind it",
            "rule:      the request offers a protocol that is served here (RFC 9110 section 7.8)",
            "candidate: /shout shouter, about shout: accepts",
            "answer:    the connection switches",
            "",
            *SWITCHED.decode().split("\r\n"),
        ]
        assert (switch.built, switch.abandoned) == ([], 1)

    def test_candidates_are_told_in_the_order_of_asking(self) -> None:
        entries = [entry(Says(None), "/"), entry(Accepts(), "/shout"), entry(Says(None), "/shout")]
        lines = explained(SWITCH, *entries)
        assert [line for line in lines if line.startswith("candidate: ")] == [
            "candidate: /shout shouter, about shout: accepts",
            "candidate: /shout shouter, about shout: not asked",
            "candidate: / shouter, about shout: not asked",
        ]

    def test_a_switch_that_leaves_it_makes_it_ordinary_http(self) -> None:
        lines = explained(SWITCH, entry(Says(None)))
        assert lines[2:] == [
            "candidate: /shout shouter, about shout: leaves it",
            "answer:    it is answered as ordinary HTTP",
            "",
        ]

    def test_a_refusal_shows_its_head(self) -> None:
        lines = explained(SWITCH, entry(Says(Refuse(426, ((b"X-Why", b"too old"),), b"sorry"))))
        assert lines[3:] == [
            "answer:    the switch's own",
            "",
            "HTTP/1.1 426 Upgrade Required",
            "X-Why: too old",
            "Upgrade: shout",
            "Connection: Upgrade",
            "Content-Length: 5",
            "",
            "",
        ]

    def test_early_bytes_that_are_refused_are_a_400(self) -> None:
        switch = Accepts(early=Early.REFUSE)
        assert "HTTP/1.1 400 Bad Request" in explained(SWITCH + b"x", entry(switch))
        assert switch.abandoned == 1

    def test_a_head_that_may_not_be_sent_is_a_500(self) -> None:
        switch = Accepts(headers=((b"X", b"a\r\nb"),))
        lines = explained(SWITCH, entry(switch))
        assert lines[3].startswith("answer:    BadAnswer: ")
        assert "HTTP/1.1 500 Internal Server Error" in lines
        assert switch.abandoned == 1

    def test_a_switch_that_raises_is_a_500(self) -> None:
        def broken(request: Any, offer: Any) -> Answer:
            raise RuntimeError("broken")

        lines = explained(SWITCH, entry(Says(broken)))
        assert lines[2:4] == [
            "candidate: /shout shouter, about shout: no answer",
            "answer:    RuntimeError: broken",
        ]

    def test_a_late_answer_is_waited_for(self) -> None:
        switch, clock = Accepts(late=True), Clock()
        clock.callLater(9, switch.decide)
        lines = explained(SWITCH, entry(switch), clock=clock)
        assert "HTTP/1.1 101 Switching Protocols" in lines
        assert switch.abandoned == 1

    def test_an_answer_that_is_too_late_is_cancelled_and_a_503(self) -> None:
        switch = Accepts(late=True)
        lines = explained(SWITCH, entry(switch))
        assert "HTTP/1.1 503 Service Unavailable" in lines
        assert switch.cancelled == 1

    def test_a_switch_that_accepts_although_it_is_too_late_is_abandoned(self) -> None:
        switch = Accepts()

        def stubborn(request: Any, offer: Any) -> Any:
            return Deferred(lambda waiting: waiting.callback(switch.answer()))

        assert "HTTP/1.1 503 Service Unavailable" in explained(SWITCH, entry(Says(stubborn)))
        assert switch.abandoned == 1

    @pytest.mark.parametrize(
        ("data", "rule"),
        [
            pytest.param(PLAIN, "the request has no Upgrade field with a valid protocol in it", id="plain"),
            pytest.param(SWITCH.replace(b"1.1", b"1.0"), "Upgrade is ignored because the request is not", id="1.0"),
            pytest.param(SWITCH.replace(b"Connection", b"X"), "Upgrade is ignored because Connection", id="connection"),
            pytest.param(SWITCH.replace(b"/shout", b"/"), "the path has no [[switch]]", id="another-path"),
            pytest.param(SWITCH.replace(b": shout", b": x"), "no offered protocol is served on this path", id="token"),
        ],
    )
    def test_the_rule_that_decides_is_told(self, data: bytes, rule: str) -> None:
        lines = explained(data, entry(Accepts()))
        assert lines[1].startswith(f"rule:      {rule}")
        assert lines[2:] == ["answer:    it is answered as ordinary HTTP", ""]

    def test_a_path_that_requires_a_switch_answers_426(self) -> None:
        lines = explained(HEAD % b"/shout" + b"\r\n", entry(Accepts(), require=True))
        assert lines[-5:] == ["HTTP/1.1 426 Upgrade Required", "Upgrade: shout", "Connection: Upgrade", "", ""]

    def test_a_path_that_closes_answers_nothing(self) -> None:
        lines = explained(SWITCH.replace(b": shout", b": x"), entry(Accepts(), close=True))
        assert lines[2:] == [
            "answer:    its connection is closed without an answer, as the path's switch is configured",
            "",
        ]

    def test_what_the_request_says_cannot_reach_a_terminal(self) -> None:
        lines = explained(HEAD % b"/%1b[31m" + b"\r\n") + explained(SWITCH.replace(b"GET", b"X'Y"))
        assert all(line.isprintable() for line in lines)


def test_where_encryption_is_required_nothing_else_is_asked_in_clear() -> None:
    @implementer(IEncrypts)
    class Encrypts(Says):
        """A switch to something encrypted."""

    tls = Entry("/", "tls", (b"TLS/1.3",), Encrypts(), require=True, also=(b"TLS/1.0",))
    lines = explained(SWITCH, entry(Accepts()), tls)
    assert "rule:      no offered protocol is served on this path (RFC 9110 section 7.8)" in lines
    assert "answer:    it is answered 426, because a switch on this path is required" in lines
    assert "Upgrade: TLS/1.3" in lines
