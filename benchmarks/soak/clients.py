"""Clients on asyncio. A server cannot tell them from others, but each byte that they hear is looked at."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes

from benchmarks.soak.languages import UPGRADE, Language, WrongAnswer

PATIENCE = 30.0
"""Seconds that a client waits for anything, at most: the server and its clients share two cores."""

SOURCES = [f"127.0.0.{number}" for number in range(2, 18)]
"""Whom connections come from, in turn: one address has but some 28,000 ports, and a port rests for a minute."""

STREAMS = 50
"""Of one connection that speaks HTTP/2: half of what a server allows (`limits.streams`)."""

SLOW_BYTES = 16_384
"""The length of a message that is read slowly. Four wait at a time."""

SLOW_OUTSTANDING = 4
SLOW_SECONDS = 0.05
"""Between two reads of a client that reads slowly: of some KB each, as its receive buffer is as small as can be."""

HEADER_BYTES, GOAWAY = 9, 7
"""Of HTTP/2: how long the header of a frame is, and one type."""

TCP_REPAIR = 19
"""A socket option of Linux, for root: the socket can be taken away, and nobody is told."""


@dataclass(frozen=True)
class Where:
    """Where the server is.

    Attributes:
        port: In clear.
        tls_port: In TLS.
        tls: What a client needs for that.
    """

    port: int
    tls_port: int
    tls: ssl.SSLContext


class Standing(ABC):
    """One client that has switched, or is about to.

    Args:
        language: What it speaks then.

    Attributes:
        asked: How many questions it has asked.
        opened: Fires when it has switched.
        over: Fires when it has ended. As a string, what was wrong with that; "" if nothing was.
    """

    def __init__(self, language: Language) -> None:
        loop = asyncio.get_running_loop()
        self.language = language
        self.asked = 0
        self.opened: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[str] = loop.create_future()
        self._answered: asyncio.Future[None] | None = None

    @property
    def is_answered(self) -> bool:
        """Whether nothing is open between us."""
        return self.language.answers == self.asked

    def ask(self) -> None:
        """Ask once more."""
        self.asked += 1
        self.say(self.language.question)

    async def answered(self) -> None:
        """Wait for the answers to all that was asked."""
        if not self.is_answered and not self.over.done():
            self._answered = asyncio.get_running_loop().create_future()
            await self._answered

    @abstractmethod
    def say(self, data: bytes) -> None:
        """Send something."""

    def heard(self, data: bytes) -> None:
        """Something has come."""
        reply = self.language.take(data)
        if reply:
            self.say(reply)
        waiting = self._answered
        if waiting is not None and self.is_answered:
            self._answered = None
            waiting.set_result(None)

    def ended(self, why: str) -> None:
        """It is over."""
        if self.over.done():
            return
        if not why and not self.language.has_goodbye:
            why = "ended without a goodbye"
        self.over.set_result(why)
        for waiting in (self.opened, self._answered):
            if waiting is not None and not waiting.done():
                waiting.set_exception(WrongAnswer(why or "ended too early"))
                waiting.exception()  # whoever waits hears of it; nobody has to


class Conversation(Standing, asyncio.Protocol):
    """A client with a connection of its own, switched by Upgrade."""

    def __init__(self, language: Language) -> None:
        super().__init__(language)
        self._head = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport
        language = self.language
        transport.write(UPGRADE % (language.path, language.token, language.fields))

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            if self.opened.done():
                self.heard(data)
            else:
                self._take_head(data)
        except WrongAnswer as wrong:
            self.ended(str(wrong))
            self.transport.abort()

    def _take_head(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if end:
            if not head.startswith(b"HTTP/1.1 101 "):
                raise WrongAnswer(f"no 101: {head[:80]!r}")
            self.opened.set_result(None)
            if rest:
                self.heard(rest)

    def say(self, data: bytes) -> None:
        """See `Standing`."""
        self.transport.write(data)

    def leave(self) -> None:
        """Say goodbye first."""
        self.language.has_goodbye = True
        if self.language.farewell:
            self.transport.write(self.language.farewell)
        else:
            self.transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.ended(repr(exc) if exc else "")


class Slow(Conversation):
    """One that has always much to read, and takes its time."""

    def heard(self, data: bytes) -> None:
        """See `Standing`."""
        super().heard(data)
        if not (self.over.done() or self.language.has_goodbye):
            while self.asked - self.language.answers < SLOW_OUTSTANDING:
                self.ask()
        self.transport.pause_reading()
        asyncio.get_running_loop().call_later(SLOW_SECONDS, self._go_on)

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()


class Tunnel(Standing):
    """A client on a stream of HTTP/2, switched by extended CONNECT."""

    def __init__(self, language: Language, session: Session, stream: int) -> None:
        super().__init__(language)
        self._session, self._stream = session, stream

    def say(self, data: bytes) -> None:
        """See `Standing`."""
        self._session.send(self._stream, data)


class Session(asyncio.Protocol):
    """A connection that speaks HTTP/2 by prior knowledge, with tunnels.

    Args:
        languages: What each of them is to speak.

    Attributes:
        tunnels: They.
    """

    def __init__(self, languages: Sequence[Language]) -> None:
        numbers = range(1, 2 * len(languages), 2)
        self.tunnels = [Tunnel(language, self, number) for language, number in zip(languages, numbers, strict=True)]
        self._by_stream = dict(zip(numbers, self.tunnels, strict=True))
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._received = bytearray()
        self._is_begun = False
        self._goodbye = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.transport = transport
        self._h2.initiate_connection()
        self._flush()

    def send(self, stream: int, data: bytes) -> None:
        """Send something in a stream."""
        self._h2.send_data(stream, data)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        received = self._received
        received += data
        while len(received) >= HEADER_BYTES:
            size = HEADER_BYTES + int.from_bytes(received[:3])
            if len(received) < size:
                break
            self._take(bytes(received[:size]))
            del received[:size]
        self._flush()

    def _take(self, frame: bytes) -> None:
        if frame[3] == GOAWAY:
            self._goodbye = True  # not for h2, which takes it for the end of all streams
            return
        for event in self._h2.receive_data(frame):
            self._happened(event)

    def _happened(self, event: Any) -> None:
        if isinstance(event, RemoteSettingsChanged):
            if SettingCodes.ENABLE_CONNECT_PROTOCOL in event.changed_settings and not self._is_begun:
                self._begin()
        elif isinstance(event, ResponseReceived):
            self._by_stream[event.stream_id].opened.set_result(None)
        elif isinstance(event, DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._by_stream[event.stream_id].heard(event.data)
        elif isinstance(event, StreamEnded):
            self._h2.end_stream(event.stream_id)
            self._by_stream[event.stream_id].ended("")
        elif isinstance(event, StreamReset):
            self._by_stream[event.stream_id].ended(f"stream reset, {event.error_code}")

    def _begin(self) -> None:
        self._is_begun = True
        for stream, tunnel in self._by_stream.items():
            language = tunnel.language
            fields = [
                (b":method", b"CONNECT"),
                (b":protocol", language.token),
                (b":scheme", b"http"),
                (b":authority", b"localhost"),
                (b":path", language.path),
                (b"sec-websocket-version", b"13"),
            ]
            self._h2.send_headers(stream, fields)

    def _flush(self) -> None:
        self.transport.write(self._h2.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        why = repr(exc) if exc else "" if self._goodbye else "the connection ended without a GOAWAY"
        for tunnel in self.tunnels:
            tunnel.ended(why or "the connection ended before the stream")


class Callers:
    """Make connections to a server.

    Args:
        where: It.
    """

    def __init__(self, where: Where) -> None:
        self._where = where
        self._sources = cycle(SOURCES)

    async def socket(self, in_tls: bool = False, receive_bytes: int = 0) -> socket.socket:
        """A connection, with nothing said."""
        made = socket.socket()
        try:
            made.setblocking(False)
            if receive_bytes:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            made.bind((next(self._sources), 0))
            where = ("127.0.0.1", self._where.tls_port if in_tls else self._where.port)
            await asyncio.get_running_loop().sock_connect(made, where)
        except BaseException:
            made.close()
            raise
        return made

    async def conversation(
        self, language: Language, in_tls: bool = False, kind: type[Conversation] = Conversation
    ) -> Conversation:
        """One that has switched."""
        made: Conversation = await self._protocol(lambda: kind(language), in_tls, 4096 if kind is Slow else 0)
        await made.opened
        return made

    async def session(self, languages: Sequence[Language]) -> Session:
        """One that has switched all of its streams."""
        made: Session = await self._protocol(lambda: Session(languages))
        for tunnel in made.tunnels:
            await tunnel.opened
        return made

    async def _protocol(self, make: Callable[[], Any], in_tls: bool = False, receive_bytes: int = 0) -> Any:
        in_clear = await self.socket(in_tls, receive_bytes)
        secured: dict[str, Any] = {"ssl": self._where.tls, "server_hostname": "localhost"} if in_tls else {}
        _, protocol = await asyncio.get_running_loop().create_connection(make, sock=in_clear, **secured)
        return protocol


async def _switched(callers: Callers, language: Language) -> socket.socket:
    loop = asyncio.get_running_loop()
    client = await callers.socket()
    await loop.sock_sendall(client, UPGRADE % (language.path, language.token, language.fields))
    await loop.sock_recv(client, 4096)
    return client


async def vanish_in_the_head(callers: Callers, language: Language) -> None:
    """Close in the middle of a request."""
    with await callers.socket() as client:
        await asyncio.get_running_loop().sock_sendall(client, UPGRADE[:20])


async def vanish_in_a_message(callers: Callers, language: Language) -> None:
    """Close in the middle of a message."""
    with await _switched(callers, language) as client:
        await asyncio.get_running_loop().sock_sendall(client, language.question[:-1])


async def vanish_by_a_reset(callers: Callers, language: Language) -> None:
    """Reset the connection, with a question on its way."""
    with await _switched(callers, language) as client:
        await asyncio.get_running_loop().sock_sendall(client, language.question)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def vanish_without_a_word(callers: Callers, language: Language) -> None:
    """Be gone, as after a loss of power: nobody is told, and who asks is told that there is no such connection. Where
    that cannot be done (it takes root), reset the connection."""
    with await _switched(callers, language) as client:
        try:
            client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


VANISHING = (vanish_in_the_head, vanish_in_a_message, vanish_by_a_reset, vanish_without_a_word)


async def fall_silent(callers: Callers, language: Language) -> socket.socket:
    """Never read or say anything again, with the connection open: a frozen program.

    Returns:
        The connection, to be closed some time.
    """
    return await _switched(callers, language)
