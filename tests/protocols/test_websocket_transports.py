"""A WebSocket on every kind of transport, in memory and over sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol, WebSocketServerProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from wsproto.events import CloseConnection, Ping

from switchd.draining import drain
from switchd.testing import Wire
from tests.test_sockets import SECONDS, every_kind, serving
from tests.websockets import Client, frame, site
from tests.wires import KINDS, with_reactor

ECHO = "switchd.protocols.websocket:Echo"

on_every_wire = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@on_every_wire
class TestWire:
    def test_it_opens_speaks_and_closes(self, kind: Callable[..., Wire]) -> None:
        client = Client(site(ECHO), kind=kind, early=frame(b"early"), deflate=True)
        client.text("x" * 100_000)
        client.send(Ping(b"a"))
        client.send(CloseConnection(3000, "bye"))
        assert client.messages == ["early", "x" * 100_000]
        assert client.pongs == [b"a"]
        assert client.closed == (3000, "bye")
        client.wire.half_close()
        assert client.wire.closed
        assert client.wire.clock.calls == []

    def test_who_breaks_a_rule_is_told_and_dropped(self, kind: Callable[..., Wire]) -> None:
        client = Client(site(ECHO, close_seconds=5), kind=kind)
        client.send_raw(frame(b"a", masked=False) + frame(b"b"))
        assert client.closed[0] == 1002
        for _ in range(10):
            client.send_raw(frame(bytes(1000)))
        client.let_pass(5)
        assert client.wire.closed
        assert client.wire.clock.calls == []

    def test_who_does_not_read_is_not_read_from(self, kind: Callable[..., Wire]) -> None:
        client = Client(site(ECHO), kind=kind)
        client.wire.stop_reading()
        for _ in range(30):
            client.wire.send(frame(bytes(10_000), 2))
        assert not client.wire.transport.reading
        client.wire.resume_reading()
        client.look()
        assert client.messages == [bytes(10_000)] * 30

    def test_it_takes_leave_at_shutdown(self, kind: Callable[..., Wire]) -> None:
        server = site(ECHO)
        client = Client(server, kind=kind)
        done = drain(server.factory, 3, server.clock)
        client.wire.turn()
        client.look()
        assert client.closed == (1001, "the server is shutting down")
        client.wire.half_close()
        assert client.wire.closed
        assert done.called
        assert server.clock.calls == []


class Says(WebSocketServerProtocol):
    """Says what it knows of its connection."""

    def onOpen(self) -> None:
        details: Any = self.transport_details
        self.sendMessage(f"{details.peer.partition(':')[0]} {details.is_secure}".encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


class Asks(WebSocketClientProtocol):
    """autobahn's client; closes when it has heard two messages."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []
        self.closed: Deferred[Any] = Deferred()
        self.closed.addTimeout(SECONDS, reactor)

    def onOpen(self) -> None:
        self.sendMessage(b"x" * 1_000_000, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.heard.append(payload)
        if len(self.heard) == 2:
            self.sendClose(3000)

    def onClose(self, *arguments: Any) -> None:
        self.closed.callback(arguments)


@every_kind
@with_reactor
async def test_autobahns_client_over_sockets(kind: str, tmp_path: Path) -> None:
    server = site(Says, clock=reactor)
    factory = WebSocketClientFactory("ws://example.org/ws", reactor=reactor)
    factory.protocol = Asks
    client: Any = factory.buildProtocol(None)
    async with serving(server, kind, tmp_path) as connect:
        await connect(client)
        assert await client.closed == (True, 3000, None)
    carrier = kind.removeprefix("stock:").removeprefix("tls:").replace("ssl", "tcp")
    addresses = "tcp4" if "haproxy" in kind else carrier.replace("tcp", "tcp4")
    secure = "ssl" in kind or "tls" in kind
    assert client.heard == [f"{addresses} {secure}".encode(), b"x" * 1_000_000]
