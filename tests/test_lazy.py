"""A request that makes only what is asked for: it is what twisted.web's own would have been."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.web import server
from twisted.web.http_headers import Headers, InvalidHeaderName
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory

from switchd.lazy import LazyRequest
from switchd.request import OrdinaryRequest
from tests.http2_client import Client, end_all, over_http1, site
from tests.test_http2 import OF_ONE_HOP, Does
from tests.wires import CLEAR, Kind

COOKIES = [("cookie", "a=1; b=2"), ("cookie", "c"), ("x-a", "1"), ("x-a", "2")]
FORM = [("content-type", "application/x-www-form-urlencoded")]

ASKED: dict[str, tuple[str, str, list[tuple[str, str]], bytes]] = {
    "get": ("GET", "/a/b%20c/", [], b""),
    "query": ("GET", "/a?q=1&q=2&empty=&none;x=%20+", [], b""),
    "empty query": ("GET", "/?", [], b""),
    "two question marks": ("GET", "/?a=1?b=2", [], b""),
    "cookies and fields": ("GET", "/", COOKIES, b""),
    "body": ("PUT", "/", [("content-type", "text/plain")], b"body"),
    "form": ("POST", "/?a=0", FORM, b"a=1&b=2"),
    "form without content": ("POST", "/?a=0", FORM, b""),
    "length": ("POST", "/", [("content-length", "4")], b"body"),
    "no length": ("POST", "/", [("content-length", "0")], b""),
}
MADE_LATER = {
    "requestHeaders",
    "received_cookies",
    "args",
    "content",
    "client",
    "host",
    "notifications",
    "_adapterCache",
}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


class Original(OrdinaryRequest):
    """twisted.web's own way of making a request."""

    def process(self) -> None:
        """It is looked at, not answered."""


def original(request: Any, body: bytes) -> Any:
    """The same request, made by twisted.web."""
    head = request.transport._requested
    made = Original(request.channel)
    for name, value in head.headers:
        made.requestHeaders.addRawHeader(name, value)
    made.parseCookies()
    made.gotLength(head.length)
    made.handleContentChunk(body)
    made.requestReceived(request.method, head.path, b"HTTP/2")
    made._settle_length()
    return made


def value(request: Any, name: str) -> Any:
    found = getattr(request, name)
    if name == "content":
        found.seek(0)
        return type(found), found.read()
    return list(found.getAllRawHeaders()) if isinstance(found, Headers) else found


class TestRequest:
    @pytest.mark.parametrize(("method", "path", "headers", "body"), ASKED.values(), ids=ASKED)
    def test_has_every_attribute_that_the_original_has(self, method: str, path: str, headers: Any, body: bytes) -> None:
        def render(request: Any) -> bytes:
            made = original(request, body)
            names = sorted(set(vars(made)) - {"responseHeaders"})
            compared.append([(name, value(request, name), value(made, name)) for name in names])
            made.content.close()
            return b""

        compared: list[list[tuple[str, Any, Any]]] = []
        assert Client(site(Does(render))).get(path, method, headers, body).status == 200
        (facts,) = compared
        assert [(name, ours) for name, ours, _ in facts] == [(name, theirs) for name, _, theirs in facts]
        assert {name for name, _, _ in facts} >= MADE_LATER

    @pytest.mark.parametrize("first", ["requestHeaders", "received_cookies"])
    def test_has_the_cookies_that_came_whatever_becomes_of_its_fields(self, first: str) -> None:
        def render(request: Any) -> bytes:
            getattr(request, first)
            request.requestHeaders.removeHeader(b"cookie")
            return repr((request.getCookie(b"a"), request.getHeader(b"cookie"))).encode()

        assert Client(site(Does(render))).get(headers=COOKIES).body == b"(b'1', None)"

    def test_has_the_arguments_that_came_whatever_becomes_of_its_uri(self) -> None:
        def render(request: Any) -> bytes:
            request.uri = request.path = b"/rewritten"
            return repr(request.args).encode()

        assert Client(site(Does(render))).get("/?a=1").body == b"{b'a': [b'1']}"

    @pytest.mark.parametrize("key", [b"X-A", b"x-a", "x-a", b"Cookie", b"host", b"none", "none"])
    def test_finds_a_field_however_it_is_asked_for(self, key: Any) -> None:
        def render(request: Any) -> bytes:
            before = request.getHeader(key)
            found.append((before, original(request, b"").getHeader(key)))
            request.requestHeaders.setRawHeaders(b"x-a", [b"3"])
            found.append((request.getHeader(b"x-a"), b"3"))
            return b""

        found: list[tuple[Any, Any]] = []
        Client(site(Does(render))).get("/", "POST", [*COOKIES, ("content-length", "0")])
        assert [ours for ours, _ in found] == [theirs for _, theirs in found]
        assert len(found) == 2

    def test_says_what_is_no_name_of_a_field(self) -> None:
        def render(request: Any) -> bytes:
            with pytest.raises(InvalidHeaderName):
                request.getHeader(b"no name")
            return b"said"

        assert Client(site(Does(render))).get().body == b"said"

    def test_keeps_what_is_put_in_the_place_of_an_attribute(self) -> None:
        def render(request: Any) -> bytes:
            for name in MADE_LATER - {"content", "notifications"}:
                setattr(request, name, name)
            return repr(sorted(getattr(request, name) for name in MADE_LATER - {"content", "notifications"})).encode()

        answer = Client(site(Does(render))).get()
        assert answer.body == repr(sorted(MADE_LATER - {"content", "notifications"})).encode()

    def test_makes_nothing_for_a_resource_that_asks_for_nothing(self) -> None:
        def render(request: Any) -> bytes:
            made.append(MADE_LATER & set(vars(request)))
            return b"hello\n"

        made: list[set[str]] = []
        assert Client(site(Does(render))).get("/a?b=c", headers=COOKIES).body == b"hello\n"
        assert made == [set()]

    def test_opens_no_file_for_a_body_that_does_not_come(self) -> None:
        asked: list[Any] = []
        resource = Does(lambda request: b"%d" % len(asked))
        served = site(resource)
        served.factory.getContentFile = asked.append  # type: ignore[attr-defined]
        assert Client(served).get().body == b"0"
        assert asked == []

    def test_has_the_file_of_its_site(self) -> None:
        class Kept(list[bytes]):
            def seek(self, *_: int) -> int:
                return 0

            tell = seek
            write = list.append

            def read(self) -> bytes:
                return b"".join(self)

            def close(self) -> None:
                closed.append(bytes(self.read()))

        def file(length: int | None) -> Kept:
            lengths.append(length)
            return Kept()

        lengths: list[int | None] = []
        closed: list[bytes] = []
        served = site(Does(lambda request: request.content.read()))
        served.factory.getContentFile = file  # type: ignore[attr-defined]
        client = Client(served)
        assert client.get("/", "POST", [("content-length", "0")]).body == b""
        assert client.get("/", "POST", [("content-length", "4")], b"body").body == b"body"
        assert (lengths, closed) == ([0, 4], [b"", b"body"])

    def test_is_after_its_end_what_the_original_is(self) -> None:
        def ended(request: Any) -> None:
            told.append((request.content, request.getClientAddress(), request.getHost(), request.getHeader("x-a")))

        def render(request: Any) -> bytes:
            request.notifyFinish().addCallback(lambda _: ended(request))
            return request.content.read()  # type: ignore[no-any-return]

        told: list[Any] = []
        client = Client(site(Does(render)))
        client.get("/", headers=COOKIES)
        client.get("/", "POST", COOKIES, b"body")
        transport = client.wire.transport
        assert told == [(None, transport.getPeer(), transport.getHost(), "2")] * 2

    @pytest.mark.parametrize("kind", CLEAR.values(), ids=CLEAR)
    def test_knows_its_client_when_that_is_gone(self, kind: Kind) -> None:
        resource = Does()
        client = Client(site(resource), kind=kind)
        client.get(headers=COOKIES)
        request = resource.request
        peer, host = request.transport.getPeer(), request.transport.getHost()
        client.wire.reset()
        assert (request.getClientAddress(), request.getHost(), request.getHeader("x-a")) == (peer, host, "2")
        assert (request.args, request.getCookie(b"a"), request.isSecure()) == ({}, b"1", False)

    def test_may_be_given_more_attributes_and_so_may_its_channel(self) -> None:
        def render(request: Any) -> bytes:
            request.own = request.channel.own = b"own"
            return request.own + request.transport.own  # type: ignore[no-any-return]

        assert Client(site(Does(render))).get().body == b"ownown"

    @pytest.mark.parametrize("body", [b"", b"body"], ids=["no body", "body"])
    @pytest.mark.parametrize("headers", [[], [("content-length", "{}")]], ids=["no length", "length"])
    def test_closes_its_body_when_it_is_lost(self, body: bytes, headers: Any) -> None:
        resource = Does()
        client = Client(site(resource))
        client.cut(client.get("/", "POST", [(name, text.format(len(body))) for name, text in headers], body))
        assert resource.request.content.closed
        assert resource.request.channel is None

    @pytest.mark.parametrize(("method", "path", "headers", "body"), ASKED.values(), ids=ASKED)
    def test_can_be_copied_to_another_process(self, method: str, path: str, headers: Any, body: bytes) -> None:
        def render(request: Any) -> bytes:
            made = original(request, body)
            made.site, made.sitepath, made.prepath = request.site, request.sitepath, request.prepath
            made.postpath = request.postpath
            states.append((request.getStateToCopyFor(None), made.getStateToCopyFor(None)))
            made.content.close()
            return b""

        states: list[tuple[dict[str, Any], dict[str, Any]]] = []
        assert Client(site(Does(render))).get(path, method, headers, body).status == 200
        ((ours, theirs),) = states
        different = {"remote", "responseHeaders"}
        assert {name: ours[name] for name in ours if name not in different} == {
            name: theirs[name] for name in theirs if name not in different
        }

    def test_is_made_by_twisted_web_as_here(self) -> None:
        # What `LazyRequest` does in their place; if one of these changes, it may have to.
        assert list(inspect.signature(server.Request.__init__).parameters)[:2] == ["self", "channel"]
        assert Headers.__slots__ == ["_rawHeaders"]
        raw = Headers({b"a": [b"1"], b"content-type": [b"x"]})._rawHeaders
        assert raw == {b"A": [b"1"], b"Content-Type": [b"x"]}
        assert LazyRequest.defaultContentType == b"text/html"


def does(*acts: Callable[[Any], object]) -> Callable[[Any], Any]:
    """Do all this, and answer."""

    def render(request: Any) -> bytes:
        for act in acts:
            act(request)
        return b"some content"

    return render


def sets(name: bytes, content: bytes) -> Callable[[Any], Any]:
    return does(lambda request: request.setHeader(name, content))


def default_type(default: Any) -> Callable[[Any], Any]:
    return does(lambda request: setattr(request, "defaultContentType", default))


def in_parts(*parts: bytes) -> Callable[[Any], Any]:
    def render(request: Any) -> Any:
        for part in parts:
            request.write(part)
        request.finish()
        return NOT_DONE_YET

    return render


def finishes(request: Any) -> Any:
    request.finish()
    return NOT_DONE_YET


ANSWERS: dict[str, Callable[[Any], Any]] = {
    "plain": does(),
    "empty": lambda request: b"",
    "type": sets(b"content-type", b"text/plain"),
    "another type by default": default_type(b"text/plain"),
    "type by default as text": default_type("text/plain; charset=utf-8"),
    "type by default in two lines": default_type(b"text/\nplain"),
    "no type by default": default_type(None),
    "no type at all": does(lambda request: request.responseHeaders.setRawHeaders(b"content-type", [])),
    "two types": does(lambda request: request.responseHeaders.setRawHeaders(b"content-type", [b"a/a", b"b/b"])),
    "etag": does(lambda request: request.setETag(b'"x"')),
    "modified": does(lambda request: request.setLastModified(0)),
    "cookie": does(lambda request: request.addCookie("a", "1")),
    "cookie as it is": does(lambda request: request.cookies.append(b"a=1")),
    "404": does(lambda request: request.setResponseCode(404)),
    "no content": does(lambda request: request.setResponseCode(204)),
    "not modified": does(lambda request: request.setResponseCode(304)),
    "server": sets(b"server", b"mine"),
    "no server": does(lambda request: request.responseHeaders.removeHeader(b"server")),
    "date": sets(b"date", b"yesterday"),
    "parts": in_parts(b"one ", b"two ", b"", b"three"),
    "an empty part first": in_parts(b"", b"rest"),
    "nothing but an end": finishes,
    "bytearray": lambda request: (request.write(bytearray(b"abc")), finishes(request))[1],
    "failure": does(lambda request: 1 // 0),
}


class TestAnswer:
    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
    @pytest.mark.parametrize("render", ANSWERS.values(), ids=ANSWERS)
    def test_is_that_of_the_original(self, render: Callable[[Any], Any], method: str, logged: list[Any]) -> None:
        assert self.over_http2(Does(render), method) == self.over_http1(Does(render), method)
        assert logged[::2] == logged[1::2]

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_may_be_encoded(self, method: str) -> None:
        def resource() -> Resource:
            wrapped: Any = EncodingResourceWrapper(Does(does()), [GzipEncoderFactory()])
            return wrapped  # type: ignore[no-any-return]

        accepts = [("accept-encoding", "gzip")]
        status, fields, content = self.over_http2(resource(), method, accepts)
        assert fields[b"content-encoding"] == b"gzip"
        assert (status, fields, content) == self.over_http1(resource(), method, accepts)

    def over_http1(self, resource: Any, method: str, headers: Any = ()) -> tuple[int, dict[bytes, bytes], bytes]:
        status, fields, content = over_http1(site(resource).connect(), method, "/", headers, b"")
        return status, {name: field for name, field in fields.items() if name.decode() not in OF_ONE_HOP}, content

    def over_http2(self, resource: Any, method: str, headers: Any = ()) -> tuple[int, dict[bytes, bytes], bytes]:
        answer = Client(site(resource)).get("/", method, headers)
        assert (answer.ended, answer.reset) == (True, None)
        return answer.status, {name: field for name, field in answer.fields.items() if name != b":status"}, answer.body

    def test_has_the_date_of_its_second(self) -> None:
        client = Client(site())
        dates = []
        for _ in range(4):
            dates.append(client.get().fields[b"date"])
            client.let_pass(0.5)
        assert dates == [b"Thu, 01 Jan 1970 00:00:00 GMT"] * 2 + [b"Thu, 01 Jan 1970 00:00:01 GMT"] * 2

    def test_may_be_without_a_server(self) -> None:
        client = Client(site(settings='[server]\nheader = ""\n'))
        assert b"server" not in client.get().fields

    def test_cannot_be_changed_by_another(self) -> None:
        def render(request: Any) -> bytes:
            for _, values in request.responseHeaders.getAllRawHeaders():
                values.append(b"mine")
            return b""

        client = Client(site(Does(render)))
        assert client.get().fields == client.get().fields
