"""What a client may send to a WebSocket, right and wrong, cut anywhere: made from a number, so that it can be again.

A stream goes to the same handler three ways: through switchd's own passage for frames that are there whole (`QUICK`),
through switchd past it (`SLOW`), and to autobahn alone (`STOCK`), which says what should come of it.
"""

from __future__ import annotations

import json
import zlib
from random import Random
from typing import Any

from attrs import evolve, frozen
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOfferAccept
from twisted.internet.task import Clock

from switchd.interfaces import Offer
from switchd.testing import Wire, request
from tests.websockets import HANDSHAKE, KEY, switch

BITS = 10
"""Of the window, for both sides."""

MOST = 3000
"""Bytes that a message may inflate to."""

LENGTHS = (0, 1, 2, 5, 20, 125, 126, 127, 255, 256, 257, 300, 700, 2000)
TEXTS = (b"x", "ä".encode(), "€uro ".encode(), b'{"id": 1, "ok": true}', "\U0001f600".encode())
BAD_TEXTS = (
    b"\xff",
    b"a\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc0\xaf",
    b"abc\xe2\x82",
    b"\xf8\x88\x80\x80\x80",
)
ORDERS = (b"bye", b"bye with a reason", b"fragments", b"ping", b"plainly", b"twice", b"silent")
CODES = (1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999)
BAD_CODES = (0, 999, 1004, 1005, 1006, 1015, 1100, 2999, 5000, 65535)


@frozen
class Stream:
    """What one client sends.

    Attributes:
        segments: As they arrive.
        extensions: The value of `Sec-WebSocket-Extensions`; empty: it offers none.
    """

    segments: tuple[bytes, ...]
    extensions: bytes


class Writer:
    """Makes one stream.

    Args:
        seed: Makes it this one.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._compresses = self._random.random() < 0.5
        self._forgets = self._random.random() < 0.3
        self._zlib = self._compressor()

    def stream(self) -> Stream:
        """All of it."""
        random = self._random
        items = [self._good() for _ in range(random.randrange(12))]
        if random.random() < 0.5:
            items.insert(random.randint(0, len(items)), self._bad())
        extensions = b""
        if self._compresses:
            forget = b"; client_no_context_takeover; server_no_context_takeover" if self._forgets else b""
            extensions = b"permessage-deflate; client_max_window_bits" + forget
        return Stream(tuple(self._cut(b"".join(items))), extensions)

    def _cut(self, data: bytes) -> list[bytes]:
        random = self._random
        if random.random() < 0.1:
            return [data[index : index + 1] for index in range(len(data))]
        places = sorted({0, len(data), *(random.randint(0, len(data)) for _ in range(random.choice((0, 0, 1, 3, 8))))})
        return [data[start:end] for start, end in zip(places, places[1:], strict=False)]

    def _good(self) -> bytes:
        return self._random.choice((self._message, self._message, self._message, self._fragmented, self._control))()

    def _payload(self) -> tuple[int, bytes]:
        random = self._random
        kind = random.random()
        if kind < 0.25:
            return random.choice((1, 2)), random.choice(ORDERS)
        length = random.choice(LENGTHS)
        if kind < 0.6:
            text = random.choice(TEXTS)
            return 1, text * (length // len(text))
        return 2, random.randbytes(length)

    def _message(self) -> bytes:
        opcode, payload = self._payload()
        if self._compresses and self._random.random() < 0.7:
            return self._frame(opcode, self._deflate(payload), rsv=4)
        return self._frame(opcode, payload)

    def _fragmented(self) -> bytes:
        opcode, payload = self._payload()
        rsv = 0
        if self._compresses and self._random.random() < 0.7:
            payload, rsv = self._deflate(payload), 4
        places = sorted(self._random.randint(0, len(payload)) for _ in range(self._random.randint(1, 3)))
        parts = [payload[start:end] for start, end in zip([0, *places], [*places, len(payload)], strict=True)]
        frames = []
        for index, part in enumerate(parts):
            is_first, is_last = index == 0, index == len(parts) - 1
            frames.append(self._frame(opcode if is_first else 0, part, rsv=rsv if is_first else 0, fin=is_last))
            if not is_last and self._random.random() < 0.4:
                frames.append(self._ping())
        return b"".join(frames)

    def _ping(self) -> bytes:
        return self._frame(self._random.choice((9, 10)), self._random.randbytes(self._random.choice((0, 1, 4, 125))))

    def _control(self) -> bytes:
        if self._random.random() < 0.85:
            return self._ping()
        code = self._random.choice(CODES).to_bytes(2, "big")
        return self._frame(8, self._random.choice((b"", code, code + b"why", code + "grün".encode())))

    def _bad(self) -> bytes:
        random = self._random
        opcode, payload = self._payload()
        code = random.choice(BAD_CODES).to_bytes(2, "big")
        wrong = [
            lambda: self._frame(opcode, payload, rsv=random.choice((1, 2, 3, 5, 6, 7))),
            lambda: self._frame(opcode, payload, masked=False),
            lambda: self._frame(random.choice((3, 7, 11, 15)), payload[:50]),
            lambda: self._frame(0, payload),
            lambda: self._frame(opcode, payload, fin=False) + self._frame(opcode, payload),
            lambda: self._frame(9, payload[:50], fin=False),
            lambda: self._frame(9, bytes(126)),
            lambda: self._frame(9, payload[:50], rsv=4),
            lambda: self._frame(8, b"a"),
            lambda: self._frame(8, code),
            lambda: self._frame(8, b"\x03\xe8" + random.choice(BAD_TEXTS)),
            lambda: self._frame(1, b"ok" * random.randrange(300) + random.choice(BAD_TEXTS)),
            lambda: self._frame(opcode, payload[:100], length=2),
            lambda: self._frame(opcode, payload, length=8),
            lambda: bytes((0x80 | opcode, 0xFF)) + b"\xff" * 8 + bytes(4),
        ]
        if self._compresses:
            wrong += [
                lambda: self._frame(1, self._deflate(b"ok" * random.randrange(300) + random.choice(BAD_TEXTS)), rsv=4),
                lambda: self._frame(opcode, random.randbytes(random.randrange(60)), rsv=4),
                lambda: self._frame(opcode, self._deflate(payload)[:-1], rsv=4),
                lambda: self._frame(opcode, self._deflate(bytes(MOST + random.randint(0, 2))), rsv=4),
                lambda: self._frame(opcode, self._deflate(payload), rsv=4, fin=False) + self._frame(0, b"a", rsv=4),
            ]
        return random.choice(wrong)()

    def _compressor(self) -> Any:
        return zlib.compressobj(6, zlib.DEFLATED, -BITS)

    def _deflate(self, payload: bytes) -> bytes:
        if self._forgets:
            self._zlib = self._compressor()
        data: bytes = self._zlib.compress(payload) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
        return data[:-4]

    def _frame(
        self,
        opcode: int,
        payload: bytes,
        rsv: int = 0,
        fin: bool = True,
        masked: bool = True,
        length: int | None = None,
    ) -> bytes:
        """`length`: how many bytes the length takes; None: as few as may be."""
        count = len(payload)
        size = length if length is not None else 0 if count < 126 else 2 if count < 65536 else 8
        short = {0: count, 2: 126, 8: 127}[size]
        head = bytes((fin << 7 | rsv << 4 | opcode, masked << 7 | short)) + (
            count.to_bytes(size, "big") if size else b""
        )
        if not masked:
            return head + payload
        mask = self._random.randbytes(4)
        return head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def statistics(protocol: Any) -> dict[str, Any]:
    """What a protocol has counted, but for the handshake: that is not autobahn's here."""
    counted: dict[str, Any] = json.loads(str(protocol.trafficStats))
    return {name: value for name, value in counted.items() if not name.startswith("preopen")}


class Obeys:
    """What the handler does, in all three ways. It does as `ORDERS` say, and sends back everything else."""

    calls: list[Any]

    def onOpen(self: Any) -> None:
        self.calls = []

    def onMessage(self: Any, payload: bytes, isBinary: bool) -> None:
        if self.failedByMe or self.state != WebSocketServerProtocol.STATE_OPEN:
            return
        self.calls.append((payload, isBinary, statistics(self)))
        if payload.startswith(b"bye"):
            self.sendClose(4000, payload.decode())
        elif payload == b"fragments":
            self.sendMessage(payload * 50, isBinary, fragmentSize=100)
        elif payload == b"ping":
            self.sendPing(payload)
        elif payload == b"twice":
            self.sendMessage(payload * 100, isBinary)
            self.sendMessage(payload * 100, isBinary)
        elif payload != b"silent":
            self.sendMessage(payload, isBinary, doNotCompress=payload == b"plainly")

    def onPing(self: Any, payload: bytes) -> None:
        if not self.failedByMe:
            self.calls.append(("ping", payload))
            super().onPing(payload)  # type: ignore[misc]

    def onPong(self: Any, payload: bytes) -> None:
        if not self.failedByMe:
            self.calls.append(("pong", payload))

    def onClose(self: Any, *arguments: Any) -> None:
        self.calls.append(("close", self.failedByMe, arguments[:1] if self.failedByMe else arguments))


class Quick(Obeys, WebSocketServerProtocol):  # type: ignore[misc]  # autobahn contradicts itself
    """Goes the short way, through switchd."""


class Slow(Obeys, WebSocketServerProtocol):  # type: ignore[misc]
    """Wants to see frames, and so goes the long one."""

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)


class Stock(Obeys, WebSocketServerProtocol):  # type: ignore[misc]
    """autobahn alone. It aborts a connection with what has not left yet, so what it sends is noted here."""

    def onOpen(self) -> None:
        super().onOpen()
        self.sent = b""

    def _max_message_size_exceeded(self, *arguments: Any) -> None:
        self._fail_connection(
            1009, f"a message has at most {MOST} bytes here when it is inflated"
        )  # as switchd says it

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        if self.state != WebSocketServerProtocol.STATE_CONNECTING:
            self.sent += data
        super().sendData(data, sync, chopsize)


@frozen
class Outcome:
    """What has come of a stream."""

    received: bytes
    calls: list[Any]
    statistics: dict[str, Any]
    state: int
    closed: tuple[Any, ...]


def outcome(wire: Wire, protocol: Any, stream: Stream) -> Outcome:
    """Send a stream, then let the connection be lost."""
    before = len(wire.received)
    for segment in stream.segments:
        wire.send(segment)
    received, state = wire.received[before:], protocol.state
    wire.reset()
    own = protocol.localCloseCode, protocol.localCloseReason, protocol.closedByMe, protocol.failedByMe
    peers = protocol.remoteCloseCode, protocol.remoteCloseReason, protocol.wasClean
    return Outcome(received, protocol.calls, statistics(protocol), state, own + peers)


def through_switchd(made: Any, stream: Stream) -> Outcome:
    """A stream's outcome for the handler of a switch, see `quick` and `slow`."""
    fields = [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)]
    if stream.extensions:
        fields.append((b"sec-websocket-extensions", stream.extensions))
    accept = made.offer(request(upgrade=b"websocket", headers=fields), Offer(b"websocket"))
    protocol = accept.build(None)
    return outcome(Wire(protocol), protocol, stream)


def switched(cls: type[Any]) -> Any:
    """A switch with `Quick` or `Slow`."""
    options = {"deflate_window_bits": BITS, "deflate_max_bytes": MOST, "deflate_threshold_bytes": 0, "ping_seconds": 0}
    return switch(cls, **options)


def by_autobahn(stream: Stream) -> Outcome:
    """A stream's outcome where switchd has no part in it."""

    def accept(offers: list[Any]) -> Any:
        forgets = offers[0].request_no_context_takeover
        how = {
            "no_context_takeover": forgets,
            "request_no_context_takeover": False,
            "window_bits": BITS,
            "mem_level": 5,
        }
        return PerMessageDeflateOfferAccept(offers[0], request_max_window_bits=BITS, max_message_size=MOST, **how)

    factory = WebSocketServerFactory(reactor=Clock())
    factory.protocol = Stock
    factory.setProtocolOptions(failByDrop=False, echoCloseCodeReason=True, perMessageCompressionAccept=accept)
    factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
    protocol: Any = factory.buildProtocol(None)
    wire = Wire(protocol)
    offer = b"Sec-WebSocket-Extensions: %b\r\n" % stream.extensions if stream.extensions else b""
    wire.send(HANDSHAKE % (b"/", offer))
    return evolve(outcome(wire, protocol, stream), received=protocol.sent)
