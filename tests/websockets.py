"""WebSocket over an in-memory wire, with wsproto as the client: not our code, and not autobahn's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.internet.task import Clock
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError

from switchd import interfaces, schema
from switchd.negotiation import Entry
from switchd.protocols.websocket.switch import WebSocket
from switchd.testing import Wire
from tests.serving import Site

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3, like its answer
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n%b\r\n"
)


def handler(value: Any) -> str:
    """A name under which a configuration finds `value`."""
    name = f"handler_{id(value):x}"
    module = sys.modules.setdefault("tests.handlers_of_tests", ModuleType("tests.handlers_of_tests"))
    setattr(module, name, value)
    return f"tests.handlers_of_tests:{name}"


def switch(found: Any, clock: Any = None, **options: Any) -> WebSocket:
    """The switch of a `[[switch]]` table, read as from a configuration."""
    named = found if isinstance(found, str) else handler(found)
    read, mistakes = schema.options(WebSocket.Options, {"handler": named, **options}, "switch[0]")
    assert mistakes == (), mistakes
    assert read is not None
    return WebSocket(read, interfaces.Context(Clock() if clock is None else clock, "/", Path()))


def site(found: Any, clock: Any = None, settings: str = "", **options: Any) -> Site:
    """A server with one WebSocket at "/ws"."""
    clock = Clock() if clock is None else clock
    made = switch(found, clock, **options)
    return Site([Entry("/ws", "websocket", (b"websocket",), made)], clock=clock, settings=settings)


class Client:
    """A client.

    Args:
        server: Whom it connects to, at once.
        path: The request's target.
        deflate: Offer permessage-deflate.
        early: Sent together with the request.
        kind: What it connects over.
        **request: Of wsproto's `Request`: `subprotocols`, `extra_headers`.

    Attributes:
        events: What has come from the server so far.
    """

    def __init__(
        self,
        server: Site,
        path: str = "/ws",
        deflate: Any = None,
        early: bytes = b"",
        kind: Callable[..., Wire] = Wire,
        **request: Any,
    ) -> None:
        self.wire = server.connect(kind)
        self.events: list[Event] = []
        self._ws = WSConnection(ConnectionType.CLIENT)
        extensions = [PerMessageDeflate() if deflate is True else deflate] if deflate else []
        head = self._ws.send(Request(host="example.org", target=path, extensions=extensions, **request))
        self.send_raw(head + early)

    def send_raw(self, data: bytes) -> None:
        """Send bytes."""
        self.wire.send(data)
        self.look()

    def send(self, *events: Event) -> None:
        """Send events, in one segment."""
        self.send_raw(b"".join(map(self._ws.send, events)))

    def text(self, text: str) -> None:
        """Send a text message."""
        self.send(TextMessage(text))

    def binary(self, data: bytes) -> None:
        """Send a binary message."""
        self.send(BytesMessage(data))

    def close(self, code: int = 1000) -> None:
        """Send Close."""
        self.send(CloseConnection(code))

    def look(self) -> None:
        """Take what the server has sent, and answer pings and closes as a client must."""
        data = self.wire.take()
        if data:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self.events.append(event)
                self._answer(event)

    def _answer(self, event: Event) -> None:
        try:
            if isinstance(event, Ping | CloseConnection):
                self.wire.send(self._ws.send(event.response()))
        except LocalProtocolError:
            pass  # it was us who closed

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.wire.clock.advance(seconds)
        self.wire.turn()
        self.look()

    def of(self, *kinds: type[Any]) -> list[Any]:
        """The events of these types."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def accepted(self) -> AcceptConnection:
        """The 101."""
        (event,) = self.of(AcceptConnection)
        return event  # type: ignore[no-any-return]

    @property
    def rejected(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The refusal: status, header fields, body."""
        (event,) = self.of(RejectConnection)
        return event.status_code, dict(event.headers), b"".join(one.data for one in self.of(RejectData))

    @property
    def messages(self) -> list[str | bytes]:
        """The messages that came, whole."""
        found: list[Any] = []
        parts: list[Any] = []
        for event in self.of(TextMessage, BytesMessage):
            parts.append(event.data)
            if event.message_finished:
                found.append((b"" if isinstance(event, BytesMessage) else "").join(parts))
                parts = []
        return found

    @property
    def pongs(self) -> list[bytes]:
        """What came with each pong."""
        return [bytes(event.payload) for event in self.of(Pong)]

    @property
    def closed(self) -> tuple[int, str | None]:
        """The server's Close: code and reason."""
        (event,) = self.of(CloseConnection)
        return event.code, event.reason


def frame(payload: bytes = b"", opcode: int = 1, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """One frame as a client sends it, valid or not; the mask is zero, so that the payload stays readable."""
    first = bytes([fin << 7 | rsv << 4 | opcode])
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        length = bytes([mark | len(payload)])
    elif len(payload) < 65536:
        length = bytes([mark | 126]) + len(payload).to_bytes(2, "big")
    else:
        length = bytes([mark | 127]) + len(payload).to_bytes(8, "big")
    return first + length + (bytes(4) if masked else b"") + payload


def frames(payloads: Iterable[bytes]) -> bytes:
    """Several text messages."""
    return b"".join(map(frame, payloads))
