"""Resources that people have: they must work under our channel as they do under Twisted's own."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.resource import WebSocketResource as AutobahnResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from klein import Klein
from twisted.internet import reactor
from twisted.logger import LogLevel, capturedLogs
from twisted.web.resource import Resource
from twisted.web.websocket import WebSocketResource, WebSocketTransport
from twisted.web.wsgi import WSGIResource

from tests.http2_client import Client, end_all, site
from tests.serving import HEAD, PLAIN, Site, answers, statuses
from tests.test_sockets import serving
from tests.wires import with_reactor

HANDSHAKE = (
    HEAD % b"/ws"
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
    % base64.b64encode(bytes(16))
)


def frame(text: bytes) -> bytes:
    """A masked text frame, as a client sends it."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))


def mounted(resource: Any) -> Resource:
    root = Resource()
    root.putChild(b"ws", resource)
    return root


def test_autobahns_websocket_resource_takes_its_connection() -> None:
    class Echo(WebSocketServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    factory = WebSocketServerFactory(reactor=Site().clock)
    factory.protocol = Echo
    wire = Site(root=mounted(AutobahnResource(factory))).connect()
    wire.send(HANDSHAKE)
    assert statuses(wire.take()) == [101]
    wire.send(frame(b"hello"))
    assert wire.take() == b"\x81\x05hello"
    wire.clock.advance(100_000)
    wire.send(frame(b"still here"))
    assert wire.take() == b"\x81\x0astill here"


@pytest.mark.parametrize("early", [b"", frame(b"early")], ids=["later", "early"])
def test_twisteds_websocket_resource_takes_its_connection_and_its_early_frames(early: bytes) -> None:
    class Echo:
        transport: WebSocketTransport

        @classmethod
        def buildProtocol(cls, uri: str) -> Echo:
            return cls()

        def negotiationStarted(self, transport: WebSocketTransport) -> None:
            self.transport = transport

        def negotiationFinished(self) -> None: ...

        def bytesMessageReceived(self, data: bytes) -> None: ...

        def textMessageReceived(self, message: str) -> None:
            self.transport.sendTextMessage(message)

        def pongReceived(self, payload: bytes) -> None: ...

        def connectionLost(self, reason: Any) -> None: ...

    class Factory:
        def buildProtocol(self, request: Any) -> Echo:
            return Echo()

    found: Any = Factory()
    wire = Site(root=mounted(WebSocketResource(found))).connect()
    wire.send(HANDSHAKE + early)
    head, _, rest = wire.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert rest == (b"\x81\x05early" if early else b"")
    wire.send(frame(b"hello"))
    assert wire.take() == b"\x81\x05hello"


def test_a_klein_application_answers() -> None:
    app = Klein()

    @app.route("/hello/<name>")
    def hello(request: Any, name: str) -> str:
        return f"hello, {name}"

    wire = Site(root=app.resource()).connect()
    wire.send(HEAD % b"/hello/you" + b"Connection: upgrade\r\nUpgrade: unknown\r\n\r\n")
    assert wire.received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.received.endswith(b"\r\n\r\na\r\nhello, you\r\n0\r\n\r\n")


@with_reactor
async def test_a_wsgi_application_answers(tmp_path: Path) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read() + environ["PATH_INFO"].encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    pool = reactor.getThreadPool()  # type: ignore[attr-defined]
    site = Site(root=WSGIResource(reactor, pool, application), clock=reactor)
    async with serving(site, "tcp", tmp_path) as connect:
        client = await connect()
        chunked = b"POST /path HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
        client.transport.write(chunked + PLAIN)
        await client.until(lambda: client.received.count(b"HTTP/1.1 200") == 2 and client.received.endswith(b"/"))
    assert [body for _, _, body in answers(client.received)] == [b"body/path", b"/"]


class Getting(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return repr(request).encode()


@pytest.mark.parametrize("path", ["/caf\u00e9", "/plain"])
def test_a_method_that_a_resource_has_not_is_405_whatever_the_path_is(path: str) -> None:
    with capturedLogs() as logged:
        answer = Client(site(Getting())).get(path, "POST")
    assert (answer.status, set(answer.fields[b"allow"].split(b", "))) == (405, {b"GET", b"HEAD"})
    assert [event for event in logged if event["log_level"] >= LogLevel.warn] == []
    end_all()


def test_what_a_request_says_of_itself_is_for_the_log() -> None:
    wire = Site(root=Getting()).connect()
    for length in (b"", b"Content-Length: 0\r\n"):
        wire.send(b"GET /a?secret HTTP/1.1\r\nHost: example.org\r\n%b\r\n" % length)
    wire.reset()
    said = [said for _, _, said in answers(wire.received)]
    assert [*said, Client(site(Getting())).get("/\x9b?secret").body] == [b"<GET /a>"] * 2 + [rb"<GET /\x9b>"]
    end_all()
