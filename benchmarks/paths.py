"""The hot paths of switchd, each as one piece of work that can be done again and again.

A server is made from benchmarks/switchd.toml. Most paths lie between the bytes of one read and those written for it, on
the wire of `switchd.testing`; the last ones lead through the reactor and a TCP connection. What is done before, such as
opening a connection and a first message on it, and after, is not part of the work.
"""

from __future__ import annotations

import pathlib
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from hpack import Encoder
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock

from switchd import config
from switchd.factory import SwitchFactory, assemble
from switchd.service import SwitchService
from switchd.testing import Wire

CONFIGURATION = pathlib.Path(__file__).with_name("switchd.toml")

MANY = 32
"""How many messages or requests one read brings, where it brings many; those of HTTP/2 are on as many streams."""

READERS = 100
"""Who gets a broadcast."""

CONNECTIONS = 16
"""How many TCP connections have something to say in one turn of the reactor."""

TURNS = 3
"""Of the reactor, after which everything must have been answered."""

DAY = 86400.0
"""Longer than any timer, in seconds."""

OPENING = (
    b"GET /%b HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
ADDONE = b"GET /addone HTTP/1.1\r\nHost: example.org\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"

TEXT, BINARY, CLOSE, COMPRESSED = 0x81, 0x82, 0x88, 0xC1

SHORT, LONG = bytes(range(16)), bytes(range(256)) * 4
JSON = b"".join(b'{"id":%d,"name":"Ada","price":%d.99,"active":true},' % (i * 7919, i * 31) for i in range(24))[:1024]


@dataclass(frozen=True)
class Path:
    """One hot path.

    Attributes:
        name: What it is called in benchmarks/recorded.json.
        prepare: What comes before; gives what `work` takes.
        work: The work; gives what the client has received.
        is_right: Whether that is as it should be.
        finish: What comes after.
        operations: How many the work has: a figure is of one.
    """

    name: str
    prepare: Callable[[], Any]
    work: Callable[[Any], bytes]
    is_right: Callable[[bytes], bool]
    finish: Callable[[Any], object]
    operations: int = 1


def frame(payload: bytes, first: int = BINARY) -> bytes:
    """As a client sends it."""
    key = b"\x37\xfa\x21\x3d"
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    masked = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([first]) + length + key + masked


def reply(payload: bytes, first: int = BINARY) -> bytes:
    """As the server does."""
    length = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([first]) + length + payload


class Memory:
    """A server in memory, and what its clients send."""

    def __init__(self) -> None:
        self.clock = Clock()
        loaded = config.load(str(CONFIGURATION))
        self._factory = SwitchFactory(assemble(*loaded, self.clock), self.clock)

    def open(self, *data: bytes) -> Wire:
        """A client that has sent this, segment by segment."""
        wire = Wire(self._factory, self.clock)
        for segment in data:
            wire.send(segment)
        wire.take()
        return wire

    def opening(self, name: str, request: bytes, end: bytes) -> Path:
        """A connection that comes with a first segment."""

        def work(_: None) -> bytes:
            self._last = Wire(self._factory, self.clock)
            return self.say(request, self._last)

        def finish(_: None) -> None:
            self._last.reset()

        return Path(name, lambda: None, work, lambda got: got.startswith(b"HTTP/1.1 ") and got.endswith(end), finish)

    def segment(
        self,
        name: str,
        before: tuple[bytes, ...],
        data: bytes,
        answer: bytes | Callable[[bytes], bool],
        operations: int = 1,
    ) -> Path:
        """A segment on a connection that is open, and has been used."""
        is_right = answer if callable(answer) else answer.__eq__
        prepare = partial(self.open, *before)
        return Path(name, prepare, partial(self.say, data), is_right, Wire.reset, operations)

    def streams(self, name: str, before: tuple[bytes, ...], data: bytes, answer: bytes, operations: int = 1) -> Path:
        """The same data on streams that are switched, and have been used."""
        before = (*before, _on_each(MANY, data))
        return self.segment(name, before, _on_each(operations, data), _on_each(operations, answer), operations)

    def switching(self, name: str, token: str) -> Path:
        """A stream that is switched, on a connection where others are."""
        *before, opening = _switched(token)
        return self.segment(name, tuple(before), opening, lambda got: got.count(b"\x01\x04\0\0\0") == MANY, MANY)

    def say(self, data: bytes, wire: Wire) -> bytes:
        """What comes back for a segment."""
        wire.send(data)
        return wire.take()

    def broadcast(self) -> Path:
        """One says, everybody hears it."""

        def prepare() -> list[Wire]:
            wires = [self.open(OPENING % b"broadcast" + b"\r\n") for _ in range(READERS)]
            work(wires)
            return wires

        def work(wires: list[Wire]) -> bytes:
            wires[0].send(frame(LONG[:128]))
            return b"".join([wire.take() for wire in wires])

        def finish(wires: list[Wire]) -> None:
            for wire in wires:
                wire.reset()

        name = f"broadcast to {READERS}: a delivery"
        return Path(name, prepare, work, (reply(LONG[:128]) * READERS).__eq__, finish, READERS)

    def paths(self) -> list[Path]:
        """All of them."""
        echo = (OPENING % b"echo" + b"\r\n", frame(SHORT))
        packed = (OPENING % b"echo" + DEFLATE + b"\r\n", _compressed())
        addone = (ADDONE, b"41\n")
        first, second, many = _http2()
        addones, echoes = _switched("addone"), _switched("websocket")
        return [
            self.opening("WebSocket: opening", echo[0], b"\r\n\r\n"),
            self.opening("WebSocket: opening with deflate", packed[0], b"\r\n\r\n"),
            self.segment("WebSocket: a message of 16 B", echo, frame(SHORT), reply(SHORT)),
            self.segment("WebSocket: one of 32 messages", echo, frame(SHORT) * MANY, reply(SHORT) * MANY, MANY),
            self.segment("WebSocket: a message of 1 KiB", echo, frame(LONG), reply(LONG)),
            self.segment("WebSocket: 1 KiB of text, deflated", packed, _compressed(), _inflates),
            self.segment("WebSocket: closing", echo, frame(b"\x03\xe8", CLOSE), reply(b"\x03\xe8", CLOSE)),
            self.broadcast(),
            self.opening("ADDONE: opening", ADDONE, b"\r\n\r\n"),
            self.segment("ADDONE: a line", addone, b"41\n", b"42\n"),
            self.segment("ADDONE: one of 32 lines", addone, b"41\n" * MANY, b"42\n" * MANY, MANY),
            self.segment("HTTP/1.1: a request", (GET,), GET, lambda got: got.endswith(b"\r\n\r\nhello\n")),
            self.segment("HTTP/2: a request", first, second, lambda got: got.count(b"hello\n") == 1),
            self.segment("HTTP/2: one of 32 requests", first, many, lambda got: got.count(b"hello\n") == MANY, MANY),
            self.switching("HTTP/2: switching a stream", "addone"),
            self.streams("ADDONE in a stream: a line", addones, b"41\n", b"42\n"),
            self.streams("ADDONE in a stream: one of 32 lines", addones, b"41\n", b"42\n", MANY),
            self.streams("WebSocket in a stream: a message of 16 B", echoes, frame(SHORT), reply(SHORT)),
            self.streams("WebSocket in a stream: one of 32 messages", echoes, frame(SHORT), reply(SHORT), MANY),
        ]


def _compressed() -> bytes:
    made = zlib.compressobj(wbits=-10)
    return frame((made.compress(JSON) + made.flush(zlib.Z_SYNC_FLUSH))[:-4], COMPRESSED)


def _inflates(got: bytes) -> bool:
    """The second answer of a connection, which may refer to the first: that it is short says that it does."""
    return got[0] == COMPRESSED and len(got) < 40


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
_ACKNOWLEDGED = b"\0\0\0\x04\x01\0\0\0\0"


def _h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _numbers(many: int) -> range:
    """Of so many streams, from the first."""
    return range(1, 1 + 2 * many, 2)


def _http2() -> tuple[tuple[bytes, ...], bytes, bytes]:
    """What a connection begins with, one more request, and many more."""
    encoder = Encoder()

    def request(stream: int) -> bytes:
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "example.org"), (":path", "/")]
        return _h2_frame(1, 5, stream, encoder.encode(fields))

    first = (_PREFACE, _ACKNOWLEDGED + request(1))
    return first, request(3), b"".join(request(stream + 2) for stream in _numbers(MANY))


def _switched(token: str) -> tuple[bytes, ...]:
    """What a connection begins with that has many streams switched by extended CONNECT."""
    encoder = Encoder()
    path = {"addone": "/addone", "websocket": "/echo"}[token]
    asked = {":method": "CONNECT", ":protocol": token, ":scheme": "http", ":authority": "example.org", ":path": path}
    fields = [*asked.items(), ("sec-websocket-version", "13")]
    opening = b"".join(_h2_frame(1, 4, stream, encoder.encode(fields)) for stream in _numbers(MANY))
    return _PREFACE, _ACKNOWLEDGED, opening


def _on_each(many: int, data: bytes) -> bytes:
    """The same on each of so many streams."""
    return b"".join(_h2_frame(0, 0, stream, data) for stream in _numbers(many))


class Network:
    """A server on a TCP port, as `twistd switchd` has it, and its clients."""

    def __init__(self, name: str, reactor: Any) -> None:
        self._name = name
        self._reactor = reactor
        # Time stands still while a path is gone, or a timer would go off now in this one, now in that.
        self._clock = Clock()
        reactor.seconds = self._clock.seconds
        loaded = config.load(str(CONFIGURATION), ["tcp:0:interface=127.0.0.1"])
        self._service = SwitchService(assemble(*loaded, reactor), reactor)
        self._service.privilegedStartService()
        self._port = self._service.ports[0].getHost().port  # type: ignore[attr-defined]

    def _open(self, *data: bytes) -> list[socket.socket]:
        clients = [socket.create_connection(("127.0.0.1", self._port)) for _ in range(CONNECTIONS)]
        for segment in data:
            self._say(segment, clients)
        return clients

    def _say(self, data: bytes, clients: list[socket.socket]) -> bytes:
        for client in clients:
            client.send(data)
        for _ in range(TURNS):
            self._reactor.iterate(0)
        return b"".join([client.recv(65536, socket.MSG_DONTWAIT) for client in clients])

    def _leave(self, clients: list[socket.socket]) -> None:
        for client in clients:
            client.close()
        for _ in range(TURNS):
            self._reactor.iterate(0)

    def _close(self, clients: list[socket.socket]) -> None:
        self._leave(clients)
        self._clock.advance(DAY)  # so that the reactor drops the timers that have been cancelled
        self._reactor.iterate(0)

    def _forget(self) -> None:
        """A port accepts as many at once as came lately; here so many that it makes no difference."""
        for port in self._service.ports:
            port.numberAccepts = MANY  # type: ignore[attr-defined]

    def paths(self) -> list[Path]:
        """All of them."""

        def segment(name: str, before: tuple[bytes, ...], data: bytes, answer: bytes) -> Path:
            is_right = (answer * CONNECTIONS).__eq__
            return Path(
                f"{self._name}: {name}",
                partial(self._open, *before),
                partial(self._say, data),
                is_right,
                self._close,
                CONNECTIONS,
            )

        def handshake(name: str, before: tuple[bytes, ...], last: bytes, answer: bytes) -> Path:
            """From the first to the last of a connection."""

            def work(_: None) -> bytes:
                clients = self._open(*before)
                got = self._say(last, clients)
                self._leave(clients)
                return got

            is_right = (answer * CONNECTIONS).__eq__
            return Path(f"{self._name}: {name}", self._forget, work, is_right, lambda _: self._close([]), CONNECTIONS)

        echo = (OPENING % b"echo" + b"\r\n", frame(SHORT))
        goodbye = b"\x03\xe8"
        return [
            handshake("a handshake of ADDONE", (ADDONE,), b"41\n", b"42\n"),
            handshake("a handshake of WebSocket", echo, frame(goodbye, CLOSE), reply(goodbye, CLOSE)),
            segment("a line of ADDONE", (ADDONE, b"41\n"), b"41\n", b"42\n"),
            segment("a message of 16 B", echo, frame(SHORT), reply(SHORT)),
        ]


@dataclass(frozen=True)
class Idle:
    """A connection that has nothing to do.

    Attributes:
        name: What it is called in benchmarks/recorded.json.
        segments: What it has sent.
        parts: How many are in it: a figure is of one.
    """

    name: str
    segments: tuple[bytes, ...]
    parts: int = 1


def idle() -> list[Idle]:
    """All of them."""
    return [
        Idle("WebSocket, idle: bytes", (OPENING % b"echo" + b"\r\n",)),
        Idle("ADDONE, idle: bytes", (ADDONE,)),
        Idle("HTTP/2, idle: bytes", _http2()[0]),
        Idle("WebSocket in a stream, idle: bytes", (*_switched("websocket"), _on_each(MANY, frame(SHORT))), MANY),
        Idle("ADDONE in a stream, idle: bytes", (*_switched("addone"), _on_each(MANY, b"41\n")), MANY),
    ]


def reactors() -> dict[str, Any]:
    """What `twistd` runs on by itself, and switchd's own, where there is one; that is installed, so call this early."""
    found: dict[str, Any] = {"TCP": EPollReactor()}
    own = "switchd.transports.epoll"
    if find_spec("switchd.transports") and find_spec(own):
        import_module(own).install()
        from twisted.internet import reactor

        found["TCP, own reactor"] = reactor
    return found


def paths(on: dict[str, Any]) -> list[Path]:
    """All paths.

    Args:
        on: The reactors for those that lead through one, by the beginning of their names.
    """
    return [*Memory().paths(), *(path for name, reactor in on.items() for path in Network(name, reactor).paths())]
