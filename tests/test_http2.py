"""HTTP/2 over an in-memory wire: what a request and its application see, and what a session does about its client."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from h2.settings import SettingCodes
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.resource import NoResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data, File
from twisted.web.util import Redirect
from zope.interface import implementer

from switchd import engine, http2
from switchd import frames as h2frames
from switchd.draining import drain
from switchd.events import Ended, Rejected, Switched
from switchd.negotiation import Entry
from switchd.testing import Wire, cuts
from tests.http2_client import WIDE, Client, end_all, over_http1, site
from tests.serving import Says, Site
from tests.wires import CLEAR, Kind, TLSWire, client_tls

pytestmark = pytest.mark.usefixtures("http2_engine")

MB = 1_000_000
clear_kind = pytest.mark.parametrize("kind", CLEAR.values(), ids=CLEAR)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


class Does(Resource):
    """A resource that does what a function does, and remembers the requests."""

    isLeaf = True

    def __init__(self, function: Callable[[Any], Any] = lambda request: NOT_DONE_YET) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self._function = function

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        return self._function(request)

    @property
    def request(self) -> Any:
        """The last one."""
        return self.requests[-1]


class Get(Resource):
    """A resource that knows GET only."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"got " + request.uri  # type: ignore[no-any-return]


@implementer(IPushProducer)
class Push:
    """A producer that writes 10 kB at a time until it is paused."""

    def __init__(self, request: Any, pieces: int = 1000) -> None:
        self.request = request
        self.pieces = pieces
        self.paused = False
        self.told: list[str] = []
        request.registerProducer(self, True)
        self.go()

    def go(self) -> None:
        while self.pieces and not self.paused:
            self.pieces -= 1
            self.request.write(b"x" * 10_000)
        if not self.pieces and not self.paused:
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        self.told.append("pause")
        self.paused = True

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self.paused = False
        self.go()

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IPullProducer)
class Pull:
    """A producer that writes one of its pieces each time it is asked; an empty one is nothing."""

    def __init__(self, request: Any, pieces: list[bytes]) -> None:
        self.request = request
        self.pieces = pieces
        self.asked = self.stopped = 0
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.asked += 1
        piece = self.pieces.pop(0)
        if piece:
            self.request.write(piece)
        if not self.pieces:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self) -> None:
        self.stopped += 1


def pulling(pieces: list[bytes]) -> tuple[Does, list[Pull]]:
    """A resource whose answer is pulled, and the producers that it has made."""
    made: list[Pull] = []

    def render(request: Any) -> Any:
        made.append(Pull(request, list(pieces)))
        return NOT_DONE_YET

    return Does(render), made


def pushing(pieces: int = 1000) -> tuple[Does, list[Push]]:
    """A resource that answers by a push producer; and those producers."""
    made: list[Push] = []

    def render(request: Any) -> Any:
        made.append(Push(request, pieces))
        return NOT_DONE_YET

    return Does(render), made


def ends_of(request: Any) -> list[Any]:
    """What `notifyFinish` will have said: None or an exception."""
    told: list[Any] = []
    request.notifyFinish().addCallbacks(told.append, lambda failure: told.append(failure.value))
    return told


def limits(**settings: float) -> str:
    return "[limits]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())


def cookies(request: Any) -> bytes:
    request.addCookie(b"a", b"1", path=b"/", httpOnly=True)
    request.addCookie(b"b", b"2")
    return b"%b %b" % (request.getCookie(b"x"), request.getCookie(b"y"))


def told(request: Any) -> bytes:
    """What an application can ask its request."""
    facts: list[Any] = [request.method, request.uri, request.path, request.prepath, request.postpath, request.args]
    facts += [request.getHeader(b"host"), request.getHeader("Host"), request.getRequestHostname(), request.isSecure()]
    facts += [request.getClientAddress(), request.getHost(), request.content.read(), request.getHeader(b"x-a")]
    facts += [request.requestHeaders.getRawHeaders(b"x-a"), request.URLPath(), request.childLink(b"c")]
    facts += [request.getHeader(b"content-length"), request.getHeader(b"content-type"), request.getUser()]
    return repr(facts).encode()


def no_content(status: int) -> Callable[[Any], bytes]:
    def render(request: Any) -> bytes:
        request.setResponseCode(status)
        return b""

    return render


def in_two_turns(request: Any) -> Any:
    request.write(b"one ")
    clock = request.site.reactor
    clock.callLater(0, request.write, b"two ")
    clock.callLater(0, clock.callLater, 0, lambda: (request.write(b"three"), request.finish()))
    return NOT_DONE_YET


def connection_specific(request: Any) -> bytes:
    for name in (b"Keep-Alive", b"Proxy-Connection", b"Upgrade", b"X-Kept"):
        request.setHeader(name, b"1")
    request.responseHeaders.addRawHeader(b"X-Kept", b"2")
    return b"body"


FORM = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", "11")]
MULTIPART = (
    b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\ntext\r\n--b--\r\n'
)

SAME: dict[str, tuple[Resource, str, str, list[tuple[str, str]], bytes]] = {
    "get": (Does(told), "GET", "/a/b%20c?q=1&q=2&empty=", [("X-A", "1"), ("x-a", "2")], b""),
    "head": (Does(lambda request: b"a body"), "HEAD", "/", [], b""),
    "head that is faked": (Get(), "HEAD", "/", [], b""),
    "post": (Does(told), "POST", "/", [("Content-Length", "5")], b"hello"),
    "post of unknown length": (Does(told), "POST", "/", [], b"hello"),
    "post of more than memory holds": (Does(told), "POST", "/", [("Content-Length", "200000")], b"x" * 200_000),
    "post of unknown length, of more": (Does(told), "POST", "/", [], b"x" * 200_000),
    "post without content": (Does(told), "POST", "/", [("Content-Length", "0")], b""),
    "form": (Does(told), "POST", "/?a=0", FORM, b"a=1&b=2&a=3"),
    "multipart": (Does(told), "POST", "/", [("Content-Type", "multipart/form-data; boundary=b")], MULTIPART),
    "204": (Does(no_content(204)), "GET", "/", [], b""),
    "304": (Does(no_content(304)), "GET", "/", [], b""),
    "nothing": (Does(no_content(200)), "GET", "/", [], b""),
    "status of one's own": (Does(no_content(299)), "GET", "/", [], b""),
    "cookies": (Does(cookies), "GET", "/", [("Cookie", "x=1; y=2")], b""),
    "authorization": (Does(told), "GET", "/", [("Authorization", "Basic dXNlcjpwYXNz")], b""),
    "redirect": (Redirect(b"/elsewhere"), "GET", "/", [], b""),
    "404": (NoResource(), "GET", "/", [], b""),
    "405": (Get(), "DELETE", "/", [], b""),
    "501": (Get(), "BREW", "/", [], b""),
    "data": (Data(b"data", "text/plain"), "GET", "/", [("If-None-Match", '"x"')], b""),
    "several turns": (Does(in_two_turns), "GET", "/", [], b""),
    "connection-specific fields": (Does(connection_specific), "GET", "/", [], b""),
    "options *": (Does(told), "OPTIONS", "*", [], b""),
}
OF_ONE_HOP = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")


class TestRequest:
    @pytest.mark.parametrize("how", ["prior knowledge", "upgrade"])
    @pytest.mark.parametrize(("resource", "method", "path", "headers", "body"), SAME.values(), ids=SAME)
    def test_is_answered_as_over_http_1_1(
        self, resource: Resource, method: str, path: str, headers: Any, body: bytes, how: str
    ) -> None:
        status, fields, content = over_http1(site(resource).connect(), method, path, headers, body)
        if how == "upgrade":
            lines = [("Host", "example.org"), *headers]
            if not any(name == "Content-Length" for name, _ in headers) and body:
                lines.append(("Content-Length", str(len(body))))
            head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines)
            client = Client(site(resource), upgrade=head.encode(), body=body)
            answer = client.answers[1]
        else:
            client = Client(site(resource))
            answer = client.get(path, method, [(name.lower(), value) for name, value in headers], body)
        for name in OF_ONE_HOP:
            fields.pop(name.encode(), None)
        found = {name: value for name, value in answer.fields.items() if name != b":status"}
        assert (answer.status, answer.ended, answer.reset) == (status, True, None)
        assert found == fields
        assert answer.body == content
        assert client.goaways == []

    def test_has_each_default_field_once(self) -> None:
        def render(request: Any) -> bytes:
            request.setHeader(b"Server", b"mine")
            return b""

        names = [name for name, _ in Client(site(Does(render))).get().headers]
        assert sorted(names) == sorted(set(names))
        assert Client(site(Does(render))).get().fields[b"server"] == b"mine"
        assert Client(site()).get().fields[b"server"] == b"switchd"
        assert Client(site()).get().fields[b"date"] == b"Thu, 01 Jan 1970 00:00:00 GMT"

    def test_is_the_same_however_the_bytes_are_cut(self) -> None:
        whole = Client(site())
        first = whole.ask("/a", "POST", [("expect", "100-continue")], b"body")
        second = whole.ask("/b")
        data = whole.output()
        whole.wire.send(data)
        whole.talk()
        assert (first.body, second.body) == (b"POST /a body", b"GET /b ")
        prelude = Client(site())
        begin = len(prelude.output())
        assert begin == 0
        for segments in list(cuts(data))[::7]:
            client = Client(site())
            one, two = client.ask("/a", "POST", [("expect", "100-continue")], b"body"), client.ask("/b")
            assert client.output() == data
            for segment in segments:
                client.wire.send(segment)
            client.talk()
            assert (one.informational, one.body, two.body) == ([100], b"POST /a body", b"GET /b ")

    @clear_kind
    def test_is_answered_over_every_kind_of_transport_in_the_clear(self, kind: Kind) -> None:
        assert Client(site(), kind=kind).get("/x").body == b"GET /x "
        assert Client(site(), kind=kind, upgrade=b"GET /x HTTP/1.1\r\nHost: a\r\n").answers[1].body == b"GET /x "

    def test_that_fails_is_500_and_logged_and_the_others_go_on(self, logged: list[Any]) -> None:
        def render(request: Any) -> bytes:
            if request.path == b"/bad":
                raise ValueError("no")
            return b"good"

        client = Client(site(Does(render)))
        bad, good = client.ask("/bad"), client.ask("/good")
        client.talk()
        assert (bad.status, bad.ended) == (500, True)
        assert b"Processing Failed" in bad.body
        assert good.body == b"good"
        assert logged == [ValueError]

    def test_may_be_finished_later_and_says_so(self) -> None:
        resource = Does()
        client = Client(site(resource))
        late = client.get("/late")
        ended = ends_of(resource.request)
        assert (late.status, client.get("/second").status) == (0, 0)
        resource.requests[0].write(b"first")
        client.talk()
        assert late.headers == [], "it goes out at the end of the turn"
        client.wire.turn()
        client.talk()
        assert (late.status, late.body, late.ended, ended) == (200, b"first", False, [])
        resource.requests[0].finish()
        client.wire.turn()
        client.talk()
        assert (late.ended, ended) == (True, [None])

    def test_may_send_its_head_first_and_each_part_when_it_has_it(self) -> None:
        resource = Does()
        client = Client(site(resource))
        answer = client.get()
        seen = []
        for part in (b"", b"one", b"two"):
            resource.request.write(part)
            client.let_pass(0)
            seen.append((answer.status, answer.body, answer.ended))
        assert seen == [(200, b"", False), (200, b"one", False), (200, b"onetwo", False)]
        resource.request.finish()
        client.let_pass(0)
        assert answer.ended

    def test_that_the_client_resets_is_told_and_may_be_finished_without_harm(self) -> None:
        resource = Does()
        client = Client(site(resource))
        answer = client.get()
        ended = ends_of(resource.request)
        client.cut(answer)
        assert [type(one) for one in ended] == [ConnectionLost]
        resource.request.write(b"too late")
        with pytest.raises(RuntimeError, match="connection was lost"):
            resource.request.finish()
        assert (answer.headers, client.goaways) == ([], [])
        assert client.get("/next").reset is None

    @pytest.mark.parametrize("end", [Wire.reset, Wire.half_close], ids=["reset", "close"])
    def test_is_told_when_the_connection_is_lost(self, end: Callable[[Wire], None]) -> None:
        resource = Does()
        client = Client(site(resource, limits(half_closed_seconds=1)))
        client.get()
        client.get()
        ended = [ends_of(request) for request in resource.requests]
        end(client.wire)
        client.wire.clock.advance(2)
        client.wire.turn()
        assert [type(one) for (one,) in ended] == [ConnectionLost] * 2

    def test_may_lose_its_connection_which_is_its_stream(self) -> None:
        def render(request: Any) -> Any:
            request.write(b"so far")
            request.loseConnection()
            return NOT_DONE_YET

        resource = Does(render)
        client = Client(site(resource))
        other = client.ask("/other", "POST", body=None)
        answer = client.get()
        assert (answer.body, answer.ended, answer.reset) == (b"so far", False, h2frames.CANCEL)
        client.send(other.stream, b"more", ended=True)
        client.talk()
        assert other.reset == h2frames.CANCEL, "it was still there to be answered"

    def test_may_lose_its_connection_and_finish(self) -> None:
        def render(request: Any) -> bytes:
            request.loseConnection()
            return b"whole"

        assert Client(site(Does(render))).get().body == b"whole"

    def test_may_abort_at_once(self) -> None:
        def render(request: Any) -> Any:
            request.write(b"never seen")
            request.transport.abortConnection()
            return NOT_DONE_YET

        answer = Client(site(Does(render))).get()
        assert (answer.headers, answer.reset) == ([], h2frames.CANCEL)

    def test_that_fails_after_it_aborted_is_the_end_of_its_stream_only(self, logged: list[Any]) -> None:
        def render(request: Any) -> Any:
            request.transport.abortConnection()
            raise ValueError("no")

        client = Client(site(Does(render)))
        assert client.get().reset == h2frames.CANCEL
        assert client.get().reset == h2frames.CANCEL
        assert client.goaways == []
        assert ValueError in logged

    def test_body_that_cannot_be_kept_is_the_end_of_its_stream_only(self, logged: list[Any]) -> None:
        class Full(SpooledTemporaryFile):  # type: ignore[type-arg]
            def write(self, data: Any) -> int:
                raise OSError("no space left on device")

        served = site()
        served.factory.getContentFile = lambda length: Full()  # type: ignore[attr-defined]
        client = Client(served)
        assert client.get("/", "POST", [("content-length", "3")], b"abc").reset == h2frames.INTERNAL_ERROR
        assert client.get().status == 200
        assert logged == [OSError]
        held = client.ask("/", "POST", [("content-length", "3")], None)
        client.talk()
        stream = client.session._streams[held.stream]
        stream.pauseProducing()
        for part in (b"a", b"b", b"c"):
            client.send(held.stream, part)
            client.talk()
        stream.resumeProducing()
        client.let_pass(0)
        assert held.reset == h2frames.INTERNAL_ERROR
        assert logged == [OSError] * 2

    def test_is_logged_one_line_each(self, tmp_path: Path) -> None:
        served = site(settings=f'[server]\naccess_log = "{tmp_path}/access.log"\n')
        served.factory.startFactory()
        client = Client(served)
        client.get("/one?a=1", headers=[("user-agent", "tests"), ("referer", "http://a/")])
        client.get("/two", "HEAD")
        client.get("/refused", headers=[("x-a", "x" * 20_000)])
        served.factory.stopFactory()
        client.wire.reset()
        one, two = (tmp_path / "access.log").read_text().splitlines()
        assert one.endswith('"GET /one? HTTP/2" 200 13 "http://a/" "tests"')
        assert two.endswith('"HEAD /two HTTP/2" 200 - "-" "-"')

    def test_with_an_expectation_is_told_to_go_on(self) -> None:
        client = Client(site())
        answer = client.ask("/", "POST", [("expect", "100-continue")], None)
        client.talk()
        assert (answer.informational, answer.status) == ([100], 0)
        client.send(answer.stream, b"body", ended=True)
        client.talk()
        assert answer.body == b"POST / body"

    def test_may_have_trailers(self) -> None:
        client = Client(site())
        answer = client.ask("/", "POST", [], None)
        client.send(answer.stream, b"body")
        client.h2.send_headers(answer.stream, [("x-checksum", "1")], end_stream=True)
        client.talk()
        assert answer.body == b"POST / body"

    def test_by_upgrade_may_have_an_absolute_target(self) -> None:
        client = Client(site(), upgrade=b"GET http://example.org/a?b HTTP/1.1\r\nHost: x\r\n")
        assert client.answers[1].body == b"GET /a?b "

    def test_by_upgrade_may_be_followed_by_http_2_at_once(self) -> None:
        client = Client(
            site(), upgrade=b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n", body=b"body", early=True
        )
        assert client.answers[1].body == b"POST /a body"
        assert client.get("/b").body == b"GET /b "

    def test_by_upgrade_that_is_chunked_has_a_length_afterwards(self) -> None:
        head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        client = Client(site(Does(told)), upgrade=head, body=b"4\r\nbody\r\n0\r\n\r\n")
        assert b"b'body'" in client.answers[1].body
        assert b"'4'" in client.answers[1].body

    def test_by_upgrade_is_said_to_have_switched_once(self) -> None:
        client = Client(site(), upgrade=b"GET /a HTTP/1.1\r\nHost: a\r\n")
        client.get("/b")
        client.wire.reset()
        assert [one.stack for one in client.site.told(Switched)] == [("h2c",)]
        assert [one.stack for one in client.site.told(Ended)] == [("h2c",)]


class TestRequired:
    def served(self) -> Site:
        return site(entries=[Entry("/other", "shout", (b"shout",), Says(), require=True)])

    def test_protocol_of_the_path_resets_the_stream(self) -> None:
        client = Client(self.served())
        assert client.get("/other/x").reset == h2frames.HTTP_1_1_REQUIRED
        assert client.get("/x").status == 200

    def test_h2c_is_satisfied(self) -> None:
        made = site()
        made = Site(
            [Entry(one.path, one.name, one.tokens, one.switch, require=True) for one in made.factory.entries],
            clock=made.clock,
        )
        assert Client(made).get().status == 200
        assert Client(made, upgrade=b"GET /x HTTP/1.1\r\nHost: a\r\n").answers[1].status == 200


class TestBody:
    def test_over_the_limit_is_413_and_need_not_be_sent(self) -> None:
        client = Client(site(settings=limits(body_bytes=100)))
        answer = client.ask("/", "POST", body=None)
        client.send(answer.stream, b"x" * 100)
        client.talk()
        assert answer.status == 0
        client.send(answer.stream, b"x")
        client.talk()
        assert (answer.status, answer.ended, answer.reset) == (413, True, h2frames.NO_ERROR)
        assert [one.status for one in client.site.told(Rejected)] == [413]
        assert client.get("/next").status == 200

    def test_over_the_limit_as_it_says_is_413_at_once(self) -> None:
        client = Client(site(settings=limits(body_bytes=100)))
        answer = client.ask("/", "POST", [("content-length", "101"), ("expect", "100-continue")], None)
        client.talk()
        assert (answer.informational, answer.status, answer.reset) == ([], 413, h2frames.NO_ERROR)

    def test_that_goes_on_after_its_413_is_dropped_and_gives_its_window_back(self) -> None:
        client = Client(site(settings=limits(body_bytes=100)))
        for _ in range(20):
            stream = client.ask("/", "POST", body=None).stream
            # In one segment, as if it had not read the answer: in all, more than the connection's window.
            for _ in range(10):
                client.h2.send_data(stream, b"x" * 10_000)
            client.talk()
            assert client.answers[stream].status == 413
        assert client.goaways == []
        assert client.get("/next").status == 200

    def test_that_is_whole_before_its_413_is_sent_is_not_reset(self) -> None:
        client = Client(site(settings=limits(body_bytes=100)))
        answer = client.get("/", "POST", body=b"x" * 101)
        assert (answer.status, answer.ended, answer.reset) == (413, True, None)

    def test_that_takes_too_long_is_408(self) -> None:
        client = Client(site(settings=limits(body_seconds=10)))
        answer = client.ask("/", "POST", body=None)
        for _ in range(9):
            client.send(answer.stream, b"x")
            client.let_pass(1)
        assert answer.status == 0
        client.let_pass(1)
        assert (answer.status, answer.reset) == (408, h2frames.NO_ERROR)
        assert [one.status for one in client.site.told(Rejected)] == [408]

    def test_that_was_refused_is_waited_for_no_longer(self) -> None:
        settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
        client = Client(site(settings=limits(body_seconds=10, body_bytes=100)), settings)
        answer = client.ask("/", "POST", body=None)
        client.send(answer.stream, b"x" * 101)
        client.talk()
        client.let_pass(20)
        client.h2.increment_flow_control_window(1000, answer.stream)
        client.talk()
        assert (answer.status, answer.ended, answer.reset) == (413, True, h2frames.NO_ERROR)
        assert [one.status for one in client.site.told(Rejected)] == [413]

    def test_in_time_is_waited_for_no_longer(self) -> None:
        resource = Does()
        client = Client(site(resource, limits(body_seconds=10)))
        answer = client.get("/", "POST", body=b"x")
        client.let_pass(20)
        resource.request.finish()
        client.let_pass(0)
        assert answer.status == 200

    @pytest.mark.parametrize("body", [b"abc", b"abcde"], ids=["shorter", "longer"])
    def test_of_another_length_than_it_says_is_malformed(self, body: bytes) -> None:
        resource = Does(lambda request: b"")
        client = Client(site(resource))
        good = client.ask("/good", "POST", body=None)
        bad = client.get("/bad", "POST", [("content-length", "4")], body)
        assert (bad.headers, bad.reset) == ([], h2frames.PROTOCOL_ERROR)
        client.send(good.stream, b"x", ended=True)
        client.talk()
        assert good.status == 200
        assert [request.path for request in resource.requests] == [b"/good"]

    def test_longer_than_it_says_is_malformed_before_it_ends(self) -> None:
        client = Client(site())
        answer = client.ask("/", "POST", [("content-length", "4")], None)
        client.send(answer.stream, b"abcde")
        client.talk()
        assert answer.reset == h2frames.PROTOCOL_ERROR

    @pytest.mark.parametrize("trailer", [":path", "connection"])
    def test_with_trailers_that_may_not_be_is_malformed(self, trailer: str) -> None:
        client = Client(site())
        client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
        answer = client.ask("/", "POST", body=None)
        client.send(answer.stream, b"x")
        client.h2.send_headers(answer.stream, [(trailer, "/")], end_stream=True)
        client.talk()
        assert answer.reset == h2frames.PROTOCOL_ERROR

    def test_that_is_no_form_though_it_says_so_is_400(self) -> None:
        client = Client(site())
        answer = client.get("/", "POST", [("content-type", "multipart/form-data")], b"x")
        assert answer.status == 400
        assert [one.status for one in client.site.told(Rejected)] == [400]

    def test_is_kept_in_memory_while_it_is_small_and_closed_afterwards(self) -> None:
        kept: list[Any] = []

        def render(request: Any) -> bytes:
            kept.append(request.content)
            return b"%d" % request.content._rolled

        client = Client(site(Does(render)))
        assert client.get("/", "POST", body=b"x" * 10_000).body == b"0"
        assert client.get("/", "POST", body=b"x" * 200_000).body == b"1"
        assert all(content.closed for content in kept)

    def test_that_is_said_to_be_long_opens_no_file_before_it_comes(self) -> None:
        client = Client(site())
        for _ in range(10):
            client.ask("/", "POST", [("content-length", "200000")], None)
        client.talk()
        streams = client.session._streams.values()
        assert [stream._request.content._rolled for stream in streams] == [False] * 10

    def test_of_a_request_that_is_cut_is_closed(self) -> None:
        client = Client(site())
        answer = client.ask("/", "POST", body=None)
        client.send(answer.stream, b"x" * 200_000)
        client.talk()
        content = client.session._streams[answer.stream]._request.content
        assert content._rolled
        client.cut(answer)
        assert content.closed

    def test_of_many_requests_does_not_use_up_the_windows(self) -> None:
        client = Client(site())
        for _ in range(30):
            assert len(client.get("/", "POST", body=b"x" * 100_000).body) == 100_007

    def test_that_is_held_stops_its_window_and_no_other(self) -> None:
        client = Client(site())
        held, other = client.ask("/held", "POST", body=None), client.ask("/other", "POST", body=None)
        client.talk()
        stream = client.session._streams[held.stream]
        stream.pauseProducing()
        assert client.send(held.stream, b"x" * 500_000) == engine.STREAM_WINDOW
        client.talk()
        assert client.of(WindowUpdateFrame, held.stream) == []
        assert client.send(other.stream, b"x" * 500_000, ended=True) == 500_000
        client.talk()
        assert len(other.body) == 500_000 + len("POST /other ")
        stream.resumeProducing()
        client.wire.turn()
        client.talk()
        assert (
            sum(one.window_increment for one in client.of(WindowUpdateFrame, held.stream)) >= engine.STREAM_WINDOW // 2
        )
        assert client.send(held.stream, b"x" * 200_000, ended=True) == 200_000
        client.talk()
        assert len(held.body) == engine.STREAM_WINDOW + 200_000 + len("POST /held ")

    def test_that_is_held_is_not_answered_before_it_is_wanted_and_then_once(self) -> None:
        resource = Does()
        client = Client(site(resource))
        answer = client.ask("/", "POST", body=None)
        client.talk()
        stream = client.session._streams[answer.stream]
        stream.pauseProducing()
        client.send(answer.stream, b"body", ended=True)
        client.talk()
        assert resource.requests == []
        for _ in range(3):
            stream.resumeProducing()
        assert len(resource.requests) == 1
        stream.pauseProducing()
        stream.resumeProducing()
        assert len(resource.requests) == 1

    def test_that_is_held_when_its_stream_is_cut_gives_the_connections_window_back(self) -> None:
        client = Client(site())
        for _ in range(10):
            answer = client.ask("/", "POST", body=None)
            client.talk()
            client.session._streams[answer.stream].pauseProducing()
            assert client.send(answer.stream, b"x" * 250_000) == 250_000
            client.cut(answer)

    def test_may_be_refused_by_whoever_holds_it(self) -> None:
        client = Client(site())
        answer = client.ask("/", "POST", body=None)
        client.talk()
        stream = client.session._streams[answer.stream]
        stream.pauseProducing()
        client.send(answer.stream, b"x" * 1000)
        client.talk()
        stream.stopProducing()
        client.wire.turn()
        client.talk()
        assert answer.reset == h2frames.CANCEL


class TestProducer:
    def test_that_pushes_is_paused_by_a_closed_window_and_resumed(self) -> None:
        resource, made = pushing(100)
        client = Client(site(resource))
        client.reads = False
        answer = client.get()
        (push,) = made
        assert push.told == ["pause", "resume", "pause"]
        written = 10_000 * (100 - push.pieces)
        assert len(answer.body) == 65535
        assert 0 < written - 65535 <= http2.QUEUE_BYTES + 10_000
        client.h2.acknowledge_received_data(65535, answer.stream)
        client.talk()
        assert push.told[3:5] == ["resume", "pause"]
        client.reads = True
        client.h2.acknowledge_received_data(len(answer.body) - 65535, answer.stream)
        client.talk()
        assert (len(answer.body), answer.ended) == (1_000_000, True)
        assert push.told.count("pause") == push.told.count("resume")

    def test_that_pushes_is_stopped_when_the_client_resets(self) -> None:
        resource, made = pushing()
        client = Client(site(resource))
        client.reads = False
        answer = client.get()
        ended = ends_of(resource.request)
        client.cut(answer)
        assert made[0].told[-2:] == ["pause", "stop"]
        assert [type(one) for one in ended] == [ConnectionLost]

    def test_that_pushes_is_stopped_when_the_connection_is_lost(self) -> None:
        resource, made = pushing()
        client = Client(site(resource))
        client.reads = False
        client.get()
        client.get()
        client.wire.reset()
        assert [one.told[-2:] for one in made] == [["pause", "stop"]] * 2

    def test_that_pulls_is_asked_as_the_client_takes_it(self) -> None:
        resource, made = pulling([b"x" * 20_000] * 50)
        client = Client(site(resource))
        client.reads = False
        answer = client.get()
        (pull,) = made
        assert len(answer.body) == 65535
        assert 65535 < pull.asked * 20_000 <= 65535 + http2.QUEUE_BYTES
        client.reads = True
        client.h2.acknowledge_received_data(65535, answer.stream)
        client.talk()
        assert (len(answer.body), answer.ended, pull.asked, pull.stopped) == (1_000_000, True, 50, 0)

    def test_that_pulls_and_has_nothing_is_asked_once_a_turn(self) -> None:
        resource, made = pulling([b"a", b"", b"", b"b", b"", b"c"] * 100)
        client = Client(site(resource))
        client.ask()
        scheduled = _counted(client.site.clock, "callLater")
        client.wire.send(client.output())
        turns = [call for call in scheduled if getattr(call[1], "__name__", "") == "_want_more"]
        assert len(turns) == 300, "as often as it had nothing"
        client.talk()
        answer = client.answers[1]
        assert (answer.body, answer.ended, made[0].asked) == (b"abc" * 100, True, 600)

    def test_that_pulls_is_stopped_when_the_client_resets(self) -> None:
        resource, made = pulling([b"x" * 20_000] * 50)
        client = Client(site(resource))
        client.reads = False
        answer = client.get()
        asked = made[0].asked
        client.cut(answer)
        assert (made[0].stopped, made[0].asked) == (1, asked)

    @pytest.mark.parametrize("pieces", [[b"x"] * 9, [b""] * 9], ids=["something", "nothing"])
    def test_that_pulls_is_not_asked_after_its_stream_is_cut(self, pieces: list[bytes]) -> None:
        class Aborting(Pull):
            def resumeProducing(self) -> None:
                super().resumeProducing()
                if self.asked == 3:
                    self.request.transport.abortConnection()

        made: list[Pull] = []

        def render(request: Any) -> Any:
            made.append(Aborting(request, pieces))
            return NOT_DONE_YET

        assert Client(site(Does(render))).get().reset == h2frames.CANCEL
        assert (made[0].asked, made[0].stopped) == (3, 1)

    def test_may_be_replaced_and_may_leave_without_finishing(self) -> None:
        resource = Does()
        client = Client(site(resource))
        client.reads = False
        answer = client.get()
        push = Push.__new__(Push)
        push.request, push.pieces, push.paused, push.told = resource.request, 20, False, []
        resource.request.registerProducer(push, True)
        for _ in range(20):
            resource.request.write(b"x" * 10_000)
        assert push.told == ["pause"]
        resource.request.unregisterProducer()
        client.reads = True
        client.wire.turn()
        client.talk()
        Pull(resource.request, [b"y" * 10])
        client.wire.turn()
        client.talk()
        assert (answer.body, answer.ended) == (b"x" * 200_000 + b"y" * 10, True)

    @pytest.mark.parametrize(
        ("headers", "status", "expected"),
        [
            ([], 200, slice(None)),
            ([("range", "bytes=1000-2000999")], 206, slice(1000, 2_001_000)),
            ([("range", "bytes=-5")], 206, slice(-5, None)),
            ([("range", "bytes=9000000-")], 416, slice(0)),
        ],
        ids=["whole", "range", "last", "none"],
    )
    def test_of_a_file(self, tmp_path: Path, headers: Any, status: int, expected: slice) -> None:
        content = bytes(range(250)) * 12_000
        (tmp_path / "file").write_bytes(content)
        client = Client(site(File(str(tmp_path))))
        answer = client.get("/file", headers=headers)
        assert (answer.status, answer.ended) == (status, True)
        assert answer.body == content[expected]
        head = client.get("/file", "HEAD")
        assert (head.fields[b"content-length"], head.body, head.ended) == (b"3000000", b"", True)

    @pytest.mark.parametrize("when", ["register", "pauseProducing", "resumeProducing", "stopProducing"])
    def test_that_fails_is_the_end_of_its_stream_only(self, when: str, logged: list[Any]) -> None:
        class Failing(Push):
            def _fail(self) -> None:
                raise ValueError("no")

        if when != "register":
            setattr(Failing, when, Failing._fail)

        def render(request: Any) -> Any:
            push = Failing(request, 100)
            if when == "register":
                push._fail()
            return NOT_DONE_YET

        client = Client(site(Does(lambda request: render(request) if request.path == b"/bad" else b"good")))
        client.reads = False
        bad = client.get("/bad")
        if when == "resumeProducing":
            client.h2.acknowledge_received_data(len(bad.body), bad.stream)
            client.talk()
        if when == "stopProducing":
            client.cut(bad)
        assert client.get("/good").body == b"good"
        assert ValueError in logged
        assert client.goaways == []
        if when in ("pauseProducing", "resumeProducing"):
            assert bad.reset == h2frames.INTERNAL_ERROR

    @pytest.mark.parametrize("what", ["finish", "loseConnection", "abort"])
    @pytest.mark.parametrize("when", ["pauseProducing", "resumeProducing", "stopProducing"])
    def test_may_end_its_request_whenever_it_is_called(self, when: str, what: str) -> None:
        class Ending(Push):
            def _end(self) -> None:
                self.paused = True
                if what == "finish":
                    self.request.unregisterProducer()
                    self.request.finish()
                elif what == "abort":
                    self.request.transport.abortConnection()
                else:
                    self.request.loseConnection()

        setattr(Ending, when, Ending._end)

        def render(request: Any) -> Any:
            if request.path == b"/good":
                return b"good"
            Ending(request, 100)
            return NOT_DONE_YET

        client = Client(site(Does(render)))
        client.reads = False
        answer = client.get("/ends")
        if when == "resumeProducing":
            client.h2.acknowledge_received_data(len(answer.body), answer.stream)
            client.talk()
        if when == "stopProducing":
            client.cut(answer)
        elif what == "finish":
            client.reads = True
            client.h2.acknowledge_received_data(65535, answer.stream)
            client.talk()
            assert answer.ended
        else:
            assert answer.reset == h2frames.CANCEL
        client.reads = True
        assert client.get("/good").body == b"good"
        assert client.goaways == []


class TestFlow:
    def test_one_large_write_arrives_whole(self) -> None:
        body = bytes(range(256)) * 20_000
        answer = Client(site(Does(lambda request: body))).get()
        assert (answer.body == body, answer.ended) == (True, True)

    def test_closed_window_of_a_stream_blocks_only_that(self) -> None:
        client = Client(site(Does(lambda request: b"x" * 100_000)), settings={SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        client.reads = False
        one = client.get()
        assert len(one.body) == 1000
        client.h2.increment_flow_control_window(200_000, client.ask().stream)
        client.talk()
        assert len(client.answers[3].body) == 100_000
        assert (len(one.body), one.ended) == (1000, False)
        client.h2.increment_flow_control_window(99_000, one.stream)
        client.talk()
        assert (len(one.body), one.ended) == (100_000, True)

    def test_settings_open_and_close_the_windows_of_all_streams(self) -> None:
        client = Client(site(Does(lambda request: b"x" * 10_000)), settings={SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.reads = False
        answers = [client.ask() for _ in range(3)]
        client.talk()
        assert [(one.status, len(one.body)) for one in answers] == [(200, 0)] * 3
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5_000})
        client.talk()
        assert [len(one.body) for one in answers] == [5_000] * 3
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1_000})  # 4000 below nothing
        client.talk()
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 4_500})
        client.talk()
        assert [len(one.body) for one in answers] == [5_000] * 3
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10_000})
        client.talk()
        assert [(len(one.body), one.ended) for one in answers] == [(10_000, True)] * 3

    def test_window_of_the_connection_is_shared_fairly_when_it_opens(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB)), settings=WIDE, credit=0)
        client.reads = False
        answers = [client.ask() for _ in range(4)]
        client.talk()
        assert sum(len(one.body) for one in answers) == 65535
        client.frames.clear()
        for _ in range(8):
            client.h2.increment_flow_control_window(16384)
            client.talk()
        assert [client.order.count(one.stream) for one in answers] == [2] * 4
        client.frames.clear()
        client.h2.increment_flow_control_window(40 * 16384)
        client.talk()
        assert [client.order.count(one.stream) for one in answers] == [10] * 4

    def test_streams_take_turns_frame_by_frame(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB)), settings=WIDE)
        one, two = client.ask(), client.ask()
        client.talk()
        assert (one.ended, two.ended) == (True, True)
        assert client.order == [one.stream, two.stream] * (len(client.order) // 2)
        small = Client(site(Does(lambda request: b"x" * (MB if request.path == b"/big" else 10))), settings=WIDE)
        small.ask("/big")
        late = small.ask("/small")
        small.talk()
        assert small.order.index(late.stream) == 1

    def test_frames_are_no_longer_than_need_be(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB)), settings={**WIDE, SettingCodes.MAX_FRAME_SIZE: 1 << 20})
        client.get()
        assert max(len(frame.data) for frame in client.of(DataFrame)) == h2frames.FRAME_BYTES
        client = Client(site(Does(lambda request: b"x" * 100)), settings={SettingCodes.INITIAL_WINDOW_SIZE: 1})
        answer = client.get()
        assert (len(answer.body), answer.ended) == (100, True)
        assert {len(frame.data) for frame in client.of(DataFrame)} == {1}

    def test_small_writes_of_one_turn_are_one_frame(self) -> None:
        def render(request: Any) -> Any:
            for _ in range(1000):
                request.write(b"0123456789")
            request.finish()
            return NOT_DONE_YET

        client = Client(site(Does(render)))
        assert client.get().body == b"0123456789" * 1000
        (frame,) = client.of(DataFrame)
        assert "END_STREAM" in frame.flags

    def test_bytes_that_their_owner_changes_later_are_sent_as_they_were(self) -> None:
        def render(request: Any) -> Any:
            for _ in range(2):
                written = bytearray(b"as it was")
                request.write(written)
                written[:] = b"changed"
            request.finish()
            return NOT_DONE_YET

        assert Client(site(Does(render))).get().body == b"as it was" * 2

    def test_answer_without_content_is_one_frame(self) -> None:
        client = Client(site(Does(lambda request: b"")))
        answer = client.get()
        (frame,) = client.of(HeadersFrame)
        assert "END_STREAM" in frame.flags
        assert (answer.ended, client.order) == (True, [])

    def test_turn_is_gathered_into_one_write(self) -> None:
        resource = Does()
        client = Client(site(resource))
        answers = [client.ask() for _ in range(100)]
        client.talk()
        writes = _counted(client.wire.transport, "write")
        for request in resource.requests:
            request.write(b"x" * 100)
            request.finish()
        client.wire.turn()
        assert len(writes) == 1
        client.talk()
        assert all(len(one.body) == 100 and one.ended for one in answers)

    def test_requests_of_one_segment_are_answered_by_one_write(self) -> None:
        client = Client(site())
        writes = _counted(client.wire.transport, "write")
        answers = [client.ask() for _ in range(100)]
        client.wire.send(client.output())
        assert len(writes) == 1
        client.talk()
        assert all(one.ended for one in answers)

    def test_requests_that_come_whole_start_no_timers(self) -> None:
        client = Client(site())
        client.get()
        scheduled = _counted(client.site.clock, "callLater")
        for _ in range(3):
            assert client.get().ended
        assert [call for call in scheduled if call[0]] == []
        client.ask("/", "POST", body=None)
        client.talk()
        (call,) = [call for call in scheduled if call[0]]
        assert call[0] == client.site.factory.listener.limits.body_seconds

    def test_five_megabytes_over_an_open_window_cost_no_turn_of_the_reactor_per_frame(self) -> None:
        client = Client(site(Does(lambda request: b"x" * 5 * MB)), settings=WIDE)
        client.talk()
        client.ask()
        data = client.output()
        turns = _counted(client.wire.transport, "_turn")
        writes = _counted(client.wire.transport, "write")
        scheduled = _counted(client.site.clock, "callLater")
        client.wire.send(data)
        frames = 5 * MB / h2frames.FRAME_BYTES
        assert len(turns) < frames / 3
        assert len(writes) < frames / 3
        assert len([call for call in scheduled if call[0] == 0]) == len(turns), "the transport's own, and no more"
        client.talk()
        assert len(client.answers[1].body) == 5 * MB

    def test_client_that_does_not_read_is_not_read_from_and_bounds_memory(self) -> None:
        resource, made = pushing()
        client = Client(site(resource), settings=WIDE)
        client.talk()
        client.wire.stop_reading()
        client.ask()
        client.talk()
        (push,) = made
        held = 10_000 * (1000 - push.pieces)
        assert held < 2 * http2.QUEUE_BYTES + http2.WRITE_BYTES + h2frames.FRAME_BYTES
        assert len(client.wire.transport._buffer) < 2 * http2.WRITE_BYTES
        assert not client.wire.transport.reading
        client.ask("/more")
        client.talk()
        assert len(made) == 1
        client.wire.resume_reading()
        client.talk()
        assert len(made) == 2
        assert all(len(answer.body) == 10 * MB and answer.ended for answer in client.answers.values())

    def test_client_that_reads_nothing_is_closed(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB), limits(stalled_seconds=10)), settings=WIDE)
        client.talk()
        client.wire.stop_reading()
        client.ask()
        client.talk()
        client.wire.clock.advance(9.9)
        client.wire.turn()
        assert not client.wire.closed
        client.wire.clock.advance(0.2)
        client.wire.turn()
        assert client.wire.closed

    def test_client_that_opens_no_window_is_closed_and_one_that_does_is_not(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB), limits(stalled_seconds=10)))
        client.reads = False
        answer = client.get()
        for _ in range(5):
            client.let_pass(9)
            client.h2.increment_flow_control_window(1, answer.stream)
            client.talk()
        assert not client.wire.closed
        client.let_pass(60)
        assert client.wire.closed

    def test_stream_that_was_cut_while_it_was_blocked_stalls_nobody(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB), limits(stalled_seconds=10, keepalive_seconds=100)))
        client.reads = False
        client.cut(client.get())
        client.let_pass(60)
        assert (client.wire.closed, client.goaways) == (False, [])
        assert client.session._blocked == client.session._streams == {}

    def test_client_that_waits_for_an_answer_is_not_stalled(self) -> None:
        resource = Does()
        client = Client(site(resource, limits(stalled_seconds=10)))
        answer = client.get()
        client.let_pass(1000)
        resource.request.write(b"some")
        client.let_pass(1000)
        resource.request.finish()
        client.let_pass(0)
        assert (answer.body, answer.ended) == (b"some", True)


def _counted(owner: Any, name: str) -> list[Any]:
    """Count the calls of a method from now on."""
    calls: list[Any] = []
    original = getattr(owner, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        calls.append(arguments)
        return original(*arguments, **keywords)

    setattr(owner, name, call)
    return calls


class TestLimit:
    def test_streams_are_refused_over_their_number_and_counted_freed_again(self) -> None:
        resource = Does()
        client = Client(site(resource, limits(streams=2)))
        (said,) = [frame.settings for frame in client.of(SettingsFrame) if frame.settings]
        assert said[SettingCodes.MAX_CONCURRENT_STREAMS] == 2
        _allow(client, 1000)
        answers = [client.ask() for _ in range(3)]
        client.talk()
        assert [one.reset for one in answers] == [None, None, h2frames.REFUSED_STREAM]
        resource.requests[0].finish()
        client.let_pass(0)
        client.cut(answers[1])
        more = [client.ask() for _ in range(3)]
        client.talk()
        assert [one.reset for one in more] == [None, None, h2frames.REFUSED_STREAM]
        assert client.goaways == []

    @pytest.mark.parametrize(
        ("settings", "method", "headers", "status"),
        [
            ({"header_count": 8}, "GET", [("x-a", "1")] * 10, 431),
            ({"head_bytes": 1000}, "GET", [("x-a", "x" * 1000)], 431),
            ({"head_bytes": 1000}, "HEAD", [("x-a", "x" * 1000)], 431),
            ({"head_bytes": 1000}, "POST", [("x-a", "x" * 1000)], 431),
        ],
        ids=["count", "bytes", "head", "post"],
    )
    def test_head_over_a_limit_is_answered_and_the_others_go_on(
        self, settings: Any, method: str, headers: Any, status: int
    ) -> None:
        resource = Does(lambda request: b"good")
        client = Client(site(resource, limits(**settings)))
        answer = client.ask("/", method, headers, None)
        client.talk()
        assert (answer.status, answer.ended, answer.reset) == (status, True, h2frames.NO_ERROR)
        assert bool(answer.body) == (method != "HEAD")
        assert [one.status for one in client.site.told(Rejected)] == [status]
        assert resource.requests == []
        assert client.get().body == b"good"

    def test_stream_by_upgrade_counts(self) -> None:
        client = Client(site(Does(), limits(streams=1)), upgrade=b"GET / HTTP/1.1\r\nHost: a\r\n")
        _allow(client, 1000)
        assert client.get().reset == h2frames.REFUSED_STREAM

    def test_settings_must_be_acknowledged_in_time(self) -> None:
        client = Client(site(settings=limits(head_seconds=10)), talks=False)
        assert client.get().status == 200
        client.let_pass(9)
        assert client.goaways == []
        client.let_pass(2)
        assert client.goaways == [(1, h2frames.SETTINGS_TIMEOUT)]
        assert client.wire.transport.sent_eof
        assert [one.status for one in client.site.told(Rejected)] == [400]

    def test_settings_that_were_acknowledged_are_waited_for_no_longer(self) -> None:
        client = Client(site(settings=limits(head_seconds=10)))
        client.let_pass(30)
        assert client.goaways == []

    def test_idle_connection_is_taken_leave_of(self) -> None:
        client = Client(site(settings=limits(keepalive_seconds=10)))
        for _ in range(5):
            client.let_pass(9)
            assert client.get().status == 200
        client.let_pass(9)
        assert client.goaways == []
        client.let_pass(1)
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (9, 0)]
        assert client.wire.transport.sent_eof
        client.wire.half_close()
        assert client.wire.closed

    def test_connection_with_a_request_is_not_idle(self) -> None:
        resource = Does()
        client = Client(site(resource, limits(keepalive_seconds=10)))
        client.get()
        client.let_pass(1000)
        assert client.goaways == []
        resource.request.finish()
        client.let_pass(0)
        client.let_pass(9)
        assert client.goaways == []
        client.let_pass(1)
        assert len(client.goaways) == 2

    def test_connection_is_idle_from_its_last_answer_however_often_it_was_idle_before(self) -> None:
        resource = Does(lambda request: NOT_DONE_YET if request.path == b"/long" else b"")
        client = Client(site(resource, limits(keepalive_seconds=10)))
        for path, seconds in (("/", 6), ("/", 9), ("/long", 25)):
            client.get(path)
            client.let_pass(seconds)
        client.cut(client.answers[5])
        client.let_pass(9.5)
        assert client.goaways == []
        client.get()
        client.let_pass(9.5)
        assert client.goaways == []
        client.let_pass(0.5)
        assert len(client.goaways) == 2

    def test_client_that_asks_nothing_is_idle_from_the_beginning(self) -> None:
        client = Client(site(settings=limits(keepalive_seconds=10)))
        client.let_pass(10)
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (0, 0)]

    def test_client_that_does_not_close_is_closed_after_a_while(self) -> None:
        client = Client(site(settings=limits(keepalive_seconds=10, linger_seconds=3)))
        client.let_pass(10)
        for _ in range(2):
            client.let_pass(1)
            client.wire.send(b"anything" * 1000)
        assert not client.wire.closed
        client.let_pass(1)
        assert client.wire.closed

    def test_client_that_does_not_even_read_is_aborted_in_the_end(self) -> None:
        client = Client(site(settings=limits(keepalive_seconds=10, linger_seconds=3, half_closed_seconds=4)))
        client.wire.stop_reading()
        client.let_pass(10)
        for _ in range(3):
            client.wire.clock.advance(3)
            client.wire.turn()
        assert not client.wire.closed
        client.wire.clock.advance(1)
        client.wire.turn()
        assert client.wire.closed

    def test_without_lingering_the_last_word_is_sent_all_the_same(self) -> None:
        client = Client(site(settings=limits(keepalive_seconds=10, linger_seconds=0)))
        client.let_pass(10)
        assert client.goaways[-1] == (0, 0)
        assert client.wire.closed

    def test_fault_of_ours_ends_the_connection_and_is_logged(self, logged: list[Any]) -> None:
        client = Client(site())
        client.session._asked = None
        client.get()
        assert client.goaways == [(1, h2frames.INTERNAL_ERROR)]
        assert logged == [TypeError]


def _allow(client: Client, streams: int) -> None:
    """Have h2 not keep to the server's number of streams."""
    client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = streams
    client.h2.remote_settings.acknowledge()


class TestFarewell:
    def leaves(self, client: Client, seconds: float = 10) -> list[None]:
        """Have the server stop; what it is told when it has."""
        done: list[None] = []
        drain(client.site.factory, seconds, client.site.clock).addCallback(done.append)
        return done

    def test_is_said_twice_and_what_was_asked_before_is_answered(self) -> None:
        resource = Does()
        client = Client(site(resource))
        first = client.get("/first")
        done = self.leaves(client)
        client.wire.turn()
        second = client.ask("/second")  # it has not heard yet
        client.talk()
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (second.stream, 0)]
        assert [type(frame) for frame in client.of(PingFrame)] == [PingFrame]
        third = client.get("/third")
        assert third.reset == h2frames.REFUSED_STREAM
        assert [request.path for request in resource.requests] == [b"/first", b"/second"]
        for request in resource.requests:
            request.finish()
        client.let_pass(0)
        assert (first.status, second.status, done) == (200, 200, [])
        assert client.wire.transport.sent_eof
        client.wire.half_close()
        assert (client.wire.closed, done) == (True, [None])
        assert client.site.told(Ended)[0].by == "client"

    def test_of_an_idle_connection_takes_as_long_as_the_pong(self) -> None:
        client = Client(site())
        client.get()
        done = self.leaves(client)
        client.let_pass(0)
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (1, 0)]
        assert client.wire.transport.sent_eof
        client.wire.half_close()
        assert (client.wire.closed, done) == (True, [None])

    def test_waits_for_no_pong_for_ever(self) -> None:
        client = Client(site(settings=limits(linger_seconds=3)), talks=False)
        self.leaves(client)
        client.let_pass(2)
        assert client.goaways == [(h2frames.LAST_STREAM, 0)]
        client.let_pass(1)
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (0, 0)]

    def test_ends_at_the_deadline(self) -> None:
        resource = Does()
        client = Client(site(resource))
        client.get()
        ended = ends_of(resource.request)
        done = self.leaves(client, 10)
        client.let_pass(9)
        assert (done, ended, client.wire.closed) == ([], [], False)
        client.let_pass(1)
        client.wire.turn()
        assert (done, client.wire.closed) == ([None], True)
        assert [type(one) for one in ended] == [ConnectionAborted]

    def test_may_be_said_again(self) -> None:
        resource = Does()
        client = Client(site(resource))
        client.get()
        done = self.leaves(client), self.leaves(client)
        client.let_pass(1)
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (1, 0)]
        later = self.leaves(client)
        resource.request.finish()
        client.let_pass(0)
        client.wire.half_close()
        client.wire.turn()
        assert (*done, later) == ([None], [None], [None])
        assert len(client.goaways) == 2

    def test_of_a_connection_that_is_being_closed_waits_for_its_end(self) -> None:
        client = Client(site(settings=limits(keepalive_seconds=1)))
        client.let_pass(1)
        assert client.wire.transport.sent_eof
        done = self.leaves(client)
        client.wire.turn()
        client.wire.half_close()
        assert (client.wire.closed, done) == (True, [None])

    def test_of_the_client_lets_what_it_asked_be_answered_and_closes(self) -> None:
        resource = Does()
        client = Client(site(resource))
        answer = client.get()
        client.wire.send(GoAwayFrame(0).serialize())
        client.let_pass(10)
        self.leaves(client)
        client.let_pass(1)
        assert not client.wire.transport.sent_eof
        assert client.goaways == [(1, 0)]
        resource.request.write(b"body")
        resource.request.finish()
        client.let_pass(0)
        assert (answer.body, answer.ended) == (b"body", True)
        assert client.wire.transport.sent_eof

    def test_of_the_client_with_nothing_asked_closes_at_once(self) -> None:
        client = Client(site())
        client.get()
        client.wire.send(GoAwayFrame(0).serialize())
        client.talk()
        assert client.goaways == [(1, 0)]
        assert client.wire.transport.sent_eof

    def test_of_the_client_may_be_that_it_half_closes(self) -> None:
        resource = Does(lambda request: b"x" * 50_000 if request.path == b"/now" else NOT_DONE_YET)
        client = Client(site(resource))
        now, late = client.ask("/now"), client.ask("/late")
        client.wire.send(client.output())
        client.wire.half_close()
        client.talk()
        assert (len(now.body), now.ended, client.wire.closed) == (50_000, True, False)
        resource.request.write(b"late")
        resource.request.finish()
        client.let_pass(0)
        assert (late.body, late.ended, client.wire.closed) == (b"late", True, True)

    def test_of_the_client_that_half_closes_is_not_waited_for_for_ever(self) -> None:
        client = Client(site(Does(), limits(half_closed_seconds=10)))
        client.get()
        client.wire.half_close()
        client.let_pass(9)
        assert not client.wire.closed
        client.let_pass(1)
        assert client.wire.closed

    def test_leaves_nothing(self) -> None:
        resource, made = pushing()
        served = site(resource)
        client = Client(served)
        client.reads = False
        client.get()
        client.ask("/upload", "POST", body=None)
        client.talk()
        session = client.session
        gone = [weakref.ref(one) for one in (session, session.engine, *session._streams.values(), resource.request)]
        assert len(gone) == 5
        contents = [stream._request.content for stream in session._streams.values()]
        client.wire.reset()
        assert client.wire.clock.getDelayedCalls() == []
        assert all(content.closed for content in contents)
        del session
        made.clear()
        resource.requests.clear()
        gc.collect()
        assert [one() for one in gone] == [None] * 5

    def test_streams_that_are_answered_leave_nothing_while_the_connection_lives(self) -> None:
        resource = Does()
        client = Client(site(resource))
        for _ in range(3):
            client.get()
        gone = [weakref.ref(one) for one in client.session._streams.values()]
        gone += [weakref.ref(request) for request in resource.requests]
        for request in resource.requests:
            request.finish()
        del request
        resource.requests.clear()
        client.let_pass(0)
        gc.collect()
        assert [one() for one in gone] == [None] * 6
        (waiting,) = client.wire.clock.getDelayedCalls()
        assert waiting.getTime() == client.site.factory.listener.limits.keepalive_seconds, (
            "it is idle, and nothing else"
        )


class TestRace:
    def test_request_and_its_reset_in_one_segment(self) -> None:
        client = Client(site(settings=limits(streams=1)))
        _allow(client, 1000)
        client.ask("/", "POST", body=None)
        client.talk()
        cut = [client.ask("/", "POST", [("expect", "100-continue")], None) for _ in range(3)]
        for answer in cut:
            client.h2.reset_stream(answer.stream, 8)
        client.wire.send(client.output())
        received = client.wire.take()
        assert len(received) == 3 * 13, "the three that were refused, and no farewell"

    @pytest.mark.parametrize("size", [10, 100_000])
    def test_connection_that_is_lost_inside_write(self, size: int) -> None:
        resource = Does()
        client = Client(site(resource))
        client.get()
        client.get()
        ended = [ends_of(request) for request in resource.requests]
        transport: Any = client.wire.transport
        transport.write = lambda data: transport.connectionLost(Failure(ConnectionLost()))
        for request in resource.requests:
            request.write(b"x" * size)
        client.wire.turn()
        assert client.wire.closed
        assert client.wire.clock.getDelayedCalls() == []
        assert [type(one) for (one,) in ended] == [ConnectionLost] * 2

    def test_transport_that_has_room_again_inside_write(self) -> None:
        client = Client(site(Does(lambda request: b"x" * MB)), settings=WIDE)
        session = client.session
        transport: Any = client.wire.transport
        original = transport.write

        def write(data: bytes) -> None:
            session.pauseProducing()
            original(data)
            session.resumeProducing()

        transport.write = write
        one, two = client.ask(), client.ask()
        client.talk()
        assert (len(one.body), len(two.body)) == (MB, MB)
        assert client.order[:6] == [one.stream, two.stream] * 3

    def test_stream_that_is_cut_by_another_while_both_are_sent(self) -> None:
        requests: dict[bytes, Any] = {}

        class Cutting(Push):
            def resumeProducing(self) -> None:
                requests[b"/other"].transport.abortConnection()
                super().resumeProducing()

        def render(request: Any) -> Any:
            requests[request.path] = request
            if request.path == b"/other":
                request.write(b"x" * 200_000)
            else:
                Cutting(request, 50)
            return NOT_DONE_YET

        client = Client(site(Does(render)), settings=WIDE)
        other, cutting = client.ask("/other"), client.ask("/cutting")
        client.talk()
        assert other.reset == h2frames.CANCEL
        assert (len(cutting.body), cutting.ended) == (500_000, True)
        assert client.goaways == []

    def test_application_that_cuts_itself_while_it_is_told_of_the_end(self) -> None:
        resource = Does()
        client = Client(site(resource))
        client.get()
        request = resource.request
        transport = request.transport
        request.notifyFinish().addErrback(lambda failure: transport.loseConnection())
        client.wire.reset()
        client.wire.turn()
        assert client.wire.clock.getDelayedCalls() == []


class TestTLS:
    """A session in TLS, as ALPN has agreed on it."""

    def client(self, served: Site) -> Client:
        return Client(served, WIDE, lambda server, clock: TLSWire(server, clock, None, client_tls(alpn=[b"h2"])))

    def test_is_secure_and_large_answers_arrive(self) -> None:
        client = self.client(site(Does(lambda request: b"%d" % request.isSecure() * MB)))
        first, second = client.ask(), client.ask()
        client.talk()
        assert first.body == second.body == b"1" * MB

    def test_takes_leave_in_the_way_of_tls(self) -> None:
        client = self.client(site(settings=limits(keepalive_seconds=10)))
        assert client.get().status == 200
        client.let_pass(10)
        assert client.goaways == [(h2frames.LAST_STREAM, 0), (1, 0)]
        wire: Any = client.wire
        wire.close_notify()
        assert client.wire.closed

    def test_is_aborted_if_the_client_does_not(self) -> None:
        client = self.client(site(settings=limits(keepalive_seconds=10, half_closed_seconds=5)))
        client.let_pass(10)
        client.wire.clock.advance(5)
        client.wire.turn()
        assert client.wire.closed
