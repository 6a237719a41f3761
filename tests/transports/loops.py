"""Reactors that a test drives by hand, each with a listening port and sockets that connect to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.python.reflect import namedAny

from switchd.transports.connections import prepare

REACTORS = {
    "stock": "twisted.internet.epollreactor.EPollReactor",
    "poll": "twisted.internet.pollreactor.PollReactor",
    "select": "twisted.internet.selectreactor.SelectReactor",
    "switchd": "switchd.transports.epoll.TurnReactor",
}

TURNS = 500
"""After so many turns, none longer than a hundredth of a second, what a test waits for is not going to happen."""


@define
class Loop:
    """A reactor, with everything of it that a test can get at.

    Attributes:
        sockets: `AF_INET` or `AF_UNIX`.
        ours: Whether the connections are ours, or Twisted's own.
    """

    reactor: Any
    sockets: socket.AddressFamily
    folder: Path
    ours: bool = True
    _clients: list[socket.socket] = field(factory=list)

    def listen(self, build: Callable[[], Protocol]) -> Callable[[], socket.socket]:
        """Serve; gives a function that connects a client."""
        factory: Any = Factory()
        factory.noisy = False
        factory.protocol = build
        if self.sockets == socket.AF_UNIX:
            port = self.reactor.listenUNIX(str(self.folder / "s"), factory)
        else:
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        if self.ours:
            prepare(port)
        address = port.socket.getsockname()

        def connect() -> socket.socket:
            client = socket.socket(self.sockets)
            self._clients.append(client)
            client.connect(address)
            client.setblocking(False)
            return client

        return connect

    def turn(self) -> None:
        """A turn of the reactor, without waiting: events, what is due, the end of the turn."""
        self.reactor.doIteration(0)
        self.reactor.runUntilCurrent()

    def until(self, holds: Callable[[], object]) -> None:
        """Turn until something holds."""
        for _ in range(TURNS):
            if holds():
                return
            self.reactor.doIteration(0.01)
            self.reactor.runUntilCurrent()
        raise AssertionError("it has not come to hold")

    def receive(self, client: socket.socket, size: int) -> bytes:
        """Turn until a client has got so many bytes, or the end; what it has got."""
        received = bytearray()

        def enough() -> bool:
            data = read(client)
            received.extend(data or b"")
            return data == b"" or len(received) >= size

        self.until(enough)
        return bytes(received)

    def close(self) -> None:
        """Leave nothing open."""
        for client in self._clients:
            client.close()
        for selectable in self.reactor.removeAll():
            selectable.connectionLost(Failure(ConnectionDone()))
        for reader in self.reactor._internalReaders:
            reader.connectionLost(None)
        poller: Any = getattr(self.reactor, "_poller", None)
        if hasattr(poller, "close"):
            poller.close()


def read(client: socket.socket) -> bytes | None:
    """What there is for a client; nothing if it has come to the end, None if there is nothing yet."""
    try:
        return client.recv(1 << 20)
    except BlockingIOError:
        return None


@contextmanager
def loop(reactor: str, sockets: socket.AddressFamily, folder: Path, ours: bool = True) -> Iterator[Loop]:
    """A new one, for as long as the test lasts."""
    made = Loop(namedAny(REACTORS[reactor])(), sockets, folder, ours)
    try:
        yield made
    finally:
        made.close()
