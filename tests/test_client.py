"""The client side of a switch, in memory: the server's bytes in, the client's bytes and its outcome out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from switchd.client import BODY_BYTES, HEAD_BYTES, INTERIM_ANSWERS, Ask, SwitchClient, _located, connect, in_words
from switchd.errors import HandoverError, NotSwitched, Refused
from switchd.testing import Wire, cuts

ADDONE = Ask(b"addone", b"example.org")
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: addone\r\nConnection: Upgrade\r\n\r\n"
REFUSED = (
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nsorry"
)


class Heard(Protocol):
    """Remembers what happens to it."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = 0

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost += 1


class Asking:
    """A client that has sent its request, and what has become of it."""

    def __init__(self, ask: Ask = ADDONE, seconds: float = 10) -> None:
        self.clock = Clock()
        self.protocol = Heard()
        client = SwitchClient(ask, self.protocol, self.clock, seconds)
        self.switched = client.switched
        self.outcomes: list[Any] = []
        self.switched.addBoth(self.outcomes.append)
        self.wire = Wire(client, self.clock)

    def after(self, segments: Iterable[bytes]) -> Asking:
        for segment in segments:
            self.wire.send(segment)
        return self

    @property
    def outcome(self) -> Any:
        """The protocol or the error; None while there is neither."""
        if not self.outcomes:
            return None
        (outcome,) = self.outcomes
        return outcome.value if isinstance(outcome, Failure) else outcome


def refused(segments: Iterable[bytes], close: bool = False) -> Refused:
    asking = Asking().after(segments)
    if close:
        asking.wire.reset()
    assert isinstance(asking.outcome, Refused)
    assert asking.wire.closed
    assert asking.protocol.transport is None
    return asking.outcome


class TestTheRequest:
    def test_it_asks_for_the_token_by_a_get(self) -> None:
        assert Asking().wire.received == REQUEST

    def test_it_may_have_another_method_and_further_fields_and_a_body(self) -> None:
        ask = Ask(b"tcp", b"localhost", b"/exec/1/start", b"POST", ((b"Content-Type", b"application/json"),), b"{}")
        assert Asking(ask).wire.received == (
            b"POST /exec/1/start HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            b"Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
        )

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(Ask(b"a\r\nX: y", b"h"), id="token"),
            pytest.param(Ask(b"a", b"h\n"), id="host"),
            pytest.param(Ask(b"a", b"h", b"/a b"), id="target"),
            pytest.param(Ask(b"a", b"h", method=b"G T"), id="method"),
            pytest.param(Ask(b"a", b"h", headers=((b"X Y", b""),)), id="field"),
        ],
    )
    def test_what_may_not_be_in_a_request_is_refused_before_anything_is_sent(self, ask: Ask) -> None:
        with pytest.raises(ValueError, match="the request cannot be sent"):
            SwitchClient(ask, Heard(), Clock())


class TestASwitch:
    def test_the_protocol_gets_the_connection(self) -> None:
        asking = Asking().after([SWITCHED])
        assert asking.outcome is asking.protocol
        assert asking.protocol.transport is asking.wire.transport
        asking.protocol.transport.write(b"41\n")
        asking.wire.send(b"42\n")
        assert asking.wire.received == REQUEST + b"41\n"
        assert asking.protocol.data == b"42\n"

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(SWITCHED, id="nothing-behind"),
            pytest.param(SWITCHED + b"42\n", id="early-bytes"),
            pytest.param(SWITCHED + SWITCHED, id="early-bytes-that-look-like-http"),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHED + b"\r\n\0", id="after-interim-answers"),
        ],
    )
    def test_early_bytes_are_the_protocol_s_however_they_are_cut(self, data: bytes) -> None:
        early = data.split(b"Connection: Upgrade\r\n\r\n", 1)[1]
        for segments in cuts(data):
            asking = Asking().after(segments)
            assert asking.outcome is asking.protocol
            assert asking.protocol.data == early

    @pytest.mark.parametrize(
        ("token", "upgrade"),
        [
            pytest.param(b"addone", b"AddOne", id="case"),
            pytest.param(b"TLS/1.3", b"TLS/1.3, HTTP/1.1", id="layers-bottom-up"),
            pytest.param(b"addone", b"\t addone ,", id="blanks"),
        ],
    )
    def test_the_answer_may_spell_the_token_in_its_own_way(self, token: bytes, upgrade: bytes) -> None:
        asking = Asking(Ask(token, b"h"))
        asking.after([SWITCHED.replace(b"Upgrade: addone", b"Upgrade: " + upgrade)])
        assert asking.outcome is asking.protocol

    def test_the_protocol_alone_hears_of_the_end(self) -> None:
        asking = Asking().after([SWITCHED])
        asking.wire.reset()
        assert asking.protocol.lost == 1
        assert asking.outcome is asking.protocol

    def test_the_deadline_is_over(self) -> None:
        asking = Asking().after([SWITCHED])
        assert asking.clock.getDelayedCalls() == []

    def test_a_transport_that_keeps_no_protocol_is_closed(self) -> None:
        clock, protocol = Clock(), Heard()
        client = SwitchClient(Ask(b"addone", b"h"), protocol, clock)
        outcomes: list[Any] = []
        client.switched.addBoth(outcomes.append)
        wire = Wire(client, clock)
        wire.transport.protocol = None
        client.dataReceived(SWITCHED)
        assert outcomes[0].check(HandoverError)


class TestARefusal:
    @pytest.mark.parametrize(
        ("data", "body"),
        [
            pytest.param(REFUSED, b"sorry", id="content-length"),
            pytest.param(REFUSED + b"HTTP/1.1 200 OK\r\n\r\n", b"sorry", id="something-behind"),
            pytest.param(REFUSED.replace(b"Content-Length: 5", b"Content-Length: 0")[:-5], b"", id="empty"),
            pytest.param(
                REFUSED.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")[:-5] + b"3\r\nabc\r\n0\r\n\r\n",
                b"abc",
                id="chunked",
            ),
            pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" + REFUSED, b"sorry", id="after-interim-answers"),
        ],
    )
    def test_it_carries_status_reason_fields_and_body_however_it_is_cut(self, data: bytes, body: bytes) -> None:
        for segments in cuts(data):
            error = refused(segments)
            assert (error.status, error.reason, error.body) == (426, "Upgrade Required", body)
            assert (b"upgrade", b"websocket") in error.headers
            assert str(error) == "426 Upgrade Required"

    def test_a_body_that_ends_with_the_connection_is_read_to_there(self) -> None:
        error = refused([b"HTTP/1.0 403 Forbidden\r\n\r\nno", b"pe"], close=True)
        assert (error.status, error.body) == (403, b"nope")

    def test_a_body_that_is_cut_off_is_carried_as_far_as_it_came(self) -> None:
        assert refused([REFUSED[:-2]], close=True).body == b"sor"

    def test_a_body_is_carried_as_far_as_its_bound(self) -> None:
        head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\n"
        assert refused([head + b"x" * BODY_BYTES + b"y"]).body == b"x" * BODY_BYTES

    def test_a_body_that_does_not_come_in_time_is_not_waited_for(self) -> None:
        asking = Asking(seconds=10).after([REFUSED[:-2]])
        asking.clock.advance(10)
        assert isinstance(asking.outcome, Refused)
        assert asking.outcome.body == b"sor"

    def test_a_plain_200_is_one(self) -> None:
        assert refused([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).status == 200

    def test_a_reason_phrase_is_no_way_to_a_terminal(self) -> None:
        assert refused([b"HTTP/1.1 403 \x9b31m\r\nContent-Length: 0\r\n\r\n"]).reason == "\\x9b31m"


class TestWhatElseGoesWrong:
    @pytest.mark.parametrize(
        "upgrade",
        [
            pytest.param(b"Upgrade: websocket\r\n", id="another"),
            pytest.param(b"Upgrade: addone/2\r\n", id="a-version"),
            pytest.param(b"Upgrade: HTTP/1.1, addone\r\n", id="another-below"),
            pytest.param(b"Upgrade: \r\n", id="empty"),
            pytest.param(b"", id="none"),
        ],
    )
    def test_a_101_for_what_was_not_asked_is_an_error(self, upgrade: bytes) -> None:
        data = SWITCHED.replace(b"Upgrade: addone\r\n", upgrade) + b"42\n"
        for segments in cuts(data):
            asking = Asking().after(segments)
            assert type(asking.outcome) is NotSwitched
            assert str(asking.outcome) == "the server switched to something that it was not asked for"
            assert asking.wire.closed
            assert asking.protocol.transport is None

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="another-protocol"),
            pytest.param(b"\x16\x03\x01\x00\r\n\r\n", id="tls"),
            pytest.param(b"HTTP/1.1 101 \r\nUpgrade addone\r\n\r\n", id="a-field-without-colon"),
            pytest.param(b"HTTP/1.1 426 \r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two-lengths"),
        ],
    )
    def test_an_answer_that_is_not_http_is_an_error(self, data: bytes) -> None:
        asking = Asking().after([data])
        assert str(asking.outcome).startswith("the answer is not HTTP/1.1")
        assert asking.wire.closed

    def test_a_head_without_end_is_an_error(self) -> None:
        asking = Asking().after([b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * HEAD_BYTES])
        assert str(asking.outcome).startswith("the answer is not HTTP/1.1")

    def test_interim_answers_without_end_are_an_error(self) -> None:
        asking = Asking().after([b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_ANSWERS + 1)])
        assert str(asking.outcome) == f"more than {INTERIM_ANSWERS} interim answers"

    def test_a_connection_that_ends_before_the_answer_is_an_error(self) -> None:
        asking = Asking().after([SWITCHED[:-1]])
        asking.wire.half_close()
        assert str(asking.outcome).startswith("the connection ended before the answer: ")
        assert asking.protocol.lost == 0

    def test_an_answer_that_takes_too_long_is_an_error(self) -> None:
        asking = Asking(seconds=10).after([SWITCHED[:-1]])
        asking.clock.advance(9.9)
        assert asking.outcome is None
        asking.clock.advance(0.1)
        assert str(asking.outcome) == "no answer in 10 seconds"
        asking.wire.turn()
        assert asking.wire.closed

    def test_cancelling_closes_the_connection(self) -> None:
        asking = Asking()
        asking.switched.cancel()
        asking.wire.turn()
        assert asking.wire.closed
        assert asking.clock.getDelayedCalls() == []

    def test_what_comes_after_the_end_is_not_read(self) -> None:
        # A TLS session hands out what it has read, although its transport is closing.
        client = SwitchClient(Ask(b"addone", b"h"), Heard(), Clock())
        outcomes: list[Any] = []
        client.switched.addBoth(outcomes.append)
        Wire(client)
        for _ in range(3):
            client.dataReceived(b"SSH-2.0\r\n\r\n")
        assert len(outcomes) == 1


class TestInWords:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            pytest.param(SSL.Error([("SSL routines", "", "bad thing")]), "TLS: bad thing", id="openssl"),
            pytest.param(SSL.Error(), "", id="openssl-without-words"),
            pytest.param(VerificationError([]), "TLS: the certificate is for another host", id="certificate"),
            pytest.param(ConnectionDone(), "Connection was closed cleanly.", id="twisted"),
        ],
    )
    def test_the_reason_for_a_lost_connection_is_a_sentence(self, error: Exception, words: str) -> None:
        assert in_words(error) == words


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "host", "target"),
        [
            pytest.param("http://127.0.0.1:8080/addone", b"127.0.0.1:8080", b"/addone", id="http"),
            pytest.param("http://example.org", b"example.org", b"/", id="without-path"),
            pytest.param("http://[::1]:8080/a", b"[::1]:8080", b"/a", id="ipv6"),
            pytest.param("https://example.org/a?b=c&d#e", b"example.org", b"/a?b=c&d", id="query-and-fragment"),
            pytest.param("HTTP://example.org//a//", b"example.org", b"//a//", id="empty-segments"),
            pytest.param("unix:/run/s.sock:/addone", b"localhost", b"/addone", id="unix"),
            pytest.param("unix:/run/s.sock", b"localhost", b"/", id="unix-without-target"),
        ],
    )
    def test_a_url_says_where_to_connect_and_what_to_ask(self, url: str, host: bytes, target: bytes) -> None:
        endpoint, *rest = _located(MemoryReactorClock(), url)
        assert IStreamClientEndpoint.providedBy(endpoint)
        assert rest == [host, target]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:8080",
            "ws://example.org/",
            "http:///a",
            "http://user:secret@example.org/",
            "http://example.org:99999/",
            "http://example.org/a b",
            "http://example.org/\r\nX: y",
            "http://bücher.example/",
        ],
    )
    def test_a_url_of_another_kind_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match=".+"):
            connect(MemoryReactorClock(), url, b"addone", Heard())


class TestConnect:
    def test_it_connects_to_host_and_port_and_asks(self) -> None:
        reactor = MemoryReactorClock()
        connect(reactor, "http://127.0.0.1:8080/addone", b"addone", Heard())
        attempt: Any = reactor.tcpClients[0]
        assert attempt[:2] == ("127.0.0.1", 8080)
        wire = Wire(attempt[2].buildProtocol(None), Clock())
        assert wire.received.startswith(b"GET /addone HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")

    def test_it_fires_with_the_protocol(self) -> None:
        reactor, protocol, outcomes = MemoryReactorClock(), Heard(), list[Any]()
        connect(reactor, "unix:/run/s.sock:/addone", b"addone", protocol).addBoth(outcomes.append)
        attempt: Any = reactor.unixClients[0]
        assert attempt[0] == "/run/s.sock"
        Wire(attempt[1].buildProtocol(None), Clock()).send(SWITCHED + b"42\n")
        assert outcomes == [protocol]
        assert protocol.data == b"42\n"

    def test_a_connection_that_is_refused_is_the_endpoint_s_error(self) -> None:
        reactor, outcomes = MemoryReactorClock(), list[Any]()
        connect(reactor, "unix:/run/s.sock", b"addone", Heard()).addBoth(outcomes.append)
        factory: Any = reactor.unixClients[0][1]
        factory.clientConnectionFailed(reactor.connectors[0], Failure(ConnectionRefusedError()))
        assert outcomes[0].check(ConnectionRefusedError)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "unix:/run/s.sock"])
    def test_a_connection_that_does_not_come_about_in_time_is_an_error(self, url: str) -> None:
        reactor, outcomes = MemoryReactorClock(), list[Any]()
        connect(reactor, url, b"addone", Heard(), seconds=10).addBoth(outcomes.append)
        reactor.advance(10)
        assert str(outcomes[0].value) == "no connection in 10 seconds"
