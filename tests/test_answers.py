"""An ordinary answer is the one that twisted.web would have given, whichever way it takes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.web import server
from twisted.web.resource import EncodingResourceWrapper, Resource

from switchd.testing import SERVER, Wire
from tests.serving import Site


def plain(request: Any) -> bytes:
    return b"hello\n"


def empty(request: Any) -> bytes:
    return b""


def typed(request: Any) -> bytes:
    request.setHeader(b"content-type", b"text/plain")
    request.responseHeaders.addRawHeader(b"X-Many", b"1")
    request.responseHeaders.addRawHeader(b"x-many", b"2")
    return b"typed"


def typeless(request: Any) -> bytes:
    request.defaultContentType = None
    return b"typeless"


def worded(request: Any) -> bytes:
    request.setResponseCode(200, b"Fine")
    return b"worded"


def missing(request: Any) -> bytes:
    request.setResponseCode(404)
    return b"missing"


def nothing(request: Any) -> bytes:
    request.setResponseCode(204)
    return b""


def cookies(request: Any) -> bytes:
    request.addCookie(b"a", b"b")
    return b"cookies"


def validators(request: Any) -> bytes:
    request.setETag(b'"1"')
    request.setLastModified(1000)
    return b"validators"


def counted(request: Any) -> int:
    request.setHeader(b"content-length", b"6")
    request.write(b"abc")
    request.write(b"def")
    request.finish()
    return server.NOT_DONE_YET


def chunks(request: Any) -> int:
    request.write(b"abc")
    request.write(b"")
    request.write(b"def")
    request.finish()
    return server.NOT_DONE_YET


class Page(Resource):
    isLeaf = True

    def __init__(self, render: Callable[[Any], Any]) -> None:
        super().__init__()
        self.render_GET = render


def lines(data: bytes) -> tuple[list[bytes], bytes]:
    """An answer's lines, without those that say who answers and when, and its body."""
    head, _, body = data.partition(b"\r\n\r\n")
    return sorted(line for line in head.split(b"\r\n") if not line.startswith((b"Date", b"Server"))), body


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize(
    "render",
    [plain, empty, typed, typeless, worded, missing, nothing, cookies, validators, counted, chunks],
    ids=lambda render: str(render.__name__),
)
def test_is_twisted_webs(method: bytes, render: Callable[[Any], Any]) -> None:
    request = method + b" /a/b?c=d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    ours = Site(root=Page(render)).connect()
    ours.send(request)
    clock = Clock()
    theirs = Wire(server.Site(Page(render), reactor=clock), clock)
    theirs.send(request)
    assert lines(ours.received) == lines(theirs.received)


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_what_has_no_content_has_none_of_an_encoder_either(method: bytes, status: int) -> None:
    """twisted.web's own request sends what its encoder says at the end, which the client takes for the next answer."""

    def render(request: Any) -> bytes:
        request.setResponseCode(status)
        return b"" if status != 200 else b"hello"

    root = EncodingResourceWrapper(Page(render), [server.GzipEncoderFactory()])
    wire = Site(root=root).connect()
    wire.send(method + b" / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
    head, _, content = wire.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status)
    assert bool(content) == (method == b"GET" and status == 200)


class Late(Resource):
    """Answers when it is told to."""

    isLeaf = True

    def render(self, request: Any) -> int:
        self.request = request
        return server.NOT_DONE_YET


def test_who_is_answered_late_is_known_when_the_client_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    late = Late()
    wire = Site(root=late).connect()
    wire.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    monkeypatch.delattr(type(wire.transport), "getHost")  # as a lost connection of Twisted's, which has no socket then
    wire.reset()
    assert late.request.getHost() == SERVER
    assert late.request.prePathURL() == b"http://a/"


def test_nothing_is_answered_behind_what_has_closed_the_connection() -> None:
    seen = []

    def render(request: Any) -> bytes:
        seen.append(request)
        request.transport.loseConnection()
        return b"last"

    wire = Site(root=Page(render)).connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    assert len(seen) == 1
    assert wire.received.endswith(b"\r\n\r\nlast")
