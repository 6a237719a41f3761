"""An HTTP/2 client of raw frames, which may be wrong: `hpack` for header fields, `hyperframe` to read, and no engine.

    with peers() as connect:
        peer = connect()
        peer.send(headers(1))
        assert peer.answers[1].status == 200

What a client sends is bytes, made by the functions here. Each list of header fields is complete in itself (nothing of
it enters a table), so that they can be sent in any order, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.web.server import NOT_DONE_YET

from switchd.interfaces import Context, Header
from switchd.negotiation import Entry
from switchd.protocols.h2c import H2c
from switchd.testing import Wire
from tests.conftest import FailureObserver
from tests.serving import Page, Site

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Section 6: kinds of frames, and their flags.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ALTSVC = 10
UNKNOWN = 0xBA
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

# Section 7: error codes.
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(
    7
)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM = range(7, 12)
HTTP_1_1_REQUIRED = 13

# Section 6.5.2: settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

GET: tuple[Header, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":authority", b"example.org"),
    (b":path", b"/"),
)
"""A request's fields."""


def raw(kind: int, stream: int = 0, payload: bytes = b"", flags: int = 0) -> bytes:
    """Any frame at all (section 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + payload


def settings(*values: tuple[int, int]) -> bytes:
    """A SETTINGS frame."""
    return raw(SETTINGS, payload=payload(*values))


def payload(*values: tuple[int, int]) -> bytes:
    """What is in it."""
    return b"".join(key.to_bytes(2, "big") + value.to_bytes(4, "big") for key, value in values)


HELLO = PREFACE + settings()
"""What a client sends first."""

SETTLED = raw(SETTINGS, flags=ACK)
"""It has seen our settings."""


def request(*changes: Header, without: Iterable[bytes] = ()) -> tuple[Header, ...]:
    """`GET` with some fields changed, where they are pseudo-header fields that it has, and the others added."""
    given = {name: value for name, value in changes if name in dict(GET)}
    kept = tuple((name, given.get(name, value)) for name, value in GET if name not in without)
    return kept + tuple(change for change in changes if change[0] not in given)


def block(fields: Iterable[Header]) -> bytes:
    """Fields, compressed without a table."""
    encoded: bytes = Encoder().encode([NeverIndexedHeaderTuple(*one) for one in fields], huffman=False)
    return encoded


def headers(stream: int, fields: Iterable[Header] = GET, flags: int = END_STREAM | END_HEADERS) -> bytes:
    """A HEADERS frame; without another word a whole request."""
    return raw(HEADERS, stream, block(fields), flags)


def opening(stream: int, *changes: Header) -> bytes:
    """The head of a POST, whose body follows."""
    return headers(stream, request((b":method", b"POST"), *changes), END_HEADERS)


def data(stream: int, content: bytes = b"", flags: int = 0) -> bytes:
    """A DATA frame."""
    return raw(DATA, stream, content, flags)


def padded(stream: int, content: bytes, padding: int, flags: int = 0) -> bytes:
    """The same with padding."""
    return raw(DATA, stream, bytes([padding]) + content + bytes(padding), flags | PADDED)


def reset(stream: int, code: int = CANCEL) -> bytes:
    """A RST_STREAM frame."""
    return raw(RST_STREAM, stream, code.to_bytes(4, "big"))


def update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return raw(WINDOW_UPDATE, stream, increment.to_bytes(4, "big"))


def ping(content: bytes = b"12345678", flags: int = 0) -> bytes:
    """A PING frame."""
    return raw(PING, payload=content, flags=flags)


def priority(stream: int, on: int = 0, weight: int = 15) -> bytes:
    """A PRIORITY frame."""
    return raw(PRIORITY, stream, on.to_bytes(4, "big") + bytes([weight]))


def goaway(last: int = 0, code: int = NO_ERROR) -> bytes:
    """A GOAWAY frame."""
    return raw(GOAWAY, payload=last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def read(data: bytes) -> list[Any]:
    """Frames, whole ones."""
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        assert length <= 16384, "no frame is longer than a client allows that says nothing of it"
        frame.parse_body(memoryview(data[9 : 9 + length]))
        found.append(frame)
        data = data[9 + length :]
    return found


@define
class Answer:
    """What has come on one stream.

    Attributes:
        heads: Status and fields, of interim answers too.
        ended: Whether it is complete.
        reset: The error code with which it was cut.
    """

    heads: list[dict[bytes, bytes]] = field(factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def statuses(self) -> list[int]:
        """The status codes, in order."""
        return [int(head[b":status"]) for head in self.heads]

    @property
    def status(self) -> int:
        """The last of them."""
        return self.statuses[-1]


class Peer:
    """A client.

    Args:
        server: Whom it connects to, at once.
        hello: What it sends first.
        kind: What it connects over.

    Attributes:
        frames: What the server has sent.
        before: What it has sent of HTTP/1.1 before them.
    """

    def __init__(self, server: Site, hello: bytes = HELLO, kind: Callable[..., Wire] = Wire) -> None:
        self.server = server
        self.wire = server.connect(kind)
        self.frames: list[Any] = []
        self.before = b""
        self.answers: dict[int, Answer] = {}
        self._received = b""
        self._decoder = Decoder()
        self._block = b""
        if hello:
            self.send(hello)

    def send(self, *frames: bytes) -> None:
        """Send frames, in one segment."""
        self.wire.send(b"".join(frames))
        self.look()

    def send_each(self, segments: Iterable[bytes]) -> None:
        """Send segments, one after the other."""
        for segment in segments:
            self.wire.send(segment)
        self.look()

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.wire.clock.advance(seconds)
        self.wire.turn()
        self.look()

    def look(self) -> None:
        """Take what the server has sent."""
        self._received += self.wire.take()
        if self._received.startswith(b"HTTP/1.1 "):
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101") or not end:
                return
            self.before, self._received = head + end, rest
        length = 9
        while len(self._received) >= 9:
            length = 9 + int.from_bytes(self._received[:3], "big")
            if len(self._received) < length:
                break
            (frame,) = read(self._received[:length])
            self._received = self._received[length:]
            self._take(frame)

    def _take(self, frame: Any) -> None:
        self.frames.append(frame)
        answer = self.answers.setdefault(frame.stream_id, Answer()) if frame.stream_id else None
        if isinstance(frame, HeadersFrame | ContinuationFrame):
            self._block += frame.data
            if "END_HEADERS" in frame.flags:
                fields = self._decoder.decode(self._block, raw=True)
                self._block = b""
                assert answer is not None
                answer.heads.append({bytes(name): bytes(value) for name, value in fields})
        if answer is None:
            return
        if isinstance(frame, DataFrame):
            assert not answer.ended
            answer.body += frame.data
        if isinstance(frame, RstStreamFrame):
            answer.reset = frame.error_code
        answer.ended = answer.ended or "END_STREAM" in frame.flags

    def of(self, kind: type[Any], stream: int | None = None) -> list[Any]:
        """The frames of one kind, of one stream or of all."""
        return [one for one in self.frames if isinstance(one, kind) and stream in (None, one.stream_id)]

    @property
    def resets(self) -> dict[int, int]:
        """The streams that the server has cut, with the error code."""
        return {frame.stream_id: frame.error_code for frame in self.of(RstStreamFrame)}

    @property
    def farewells(self) -> list[tuple[int, int]]:
        """Each GOAWAY: the last stream, and the error code."""
        return [(frame.last_stream_id, frame.error_code) for frame in self.of(GoAwayFrame)]

    @property
    def failed(self) -> int | None:
        """The error code with which the server has ended the connection; None: it has not."""
        if not self.wire.transport.sent_eof:
            return None
        return self.farewells[-1][1] if self.farewells else -1

    @property
    def works(self) -> bool:
        """Whether the connection still answers: a ping."""
        pongs = len(self.of(PingFrame))
        self.send(ping(b"how r u?"))
        return len(self.of(PingFrame)) == pongs + 1

    @property
    def granted(self) -> dict[int, int]:
        """What the server has given credit for, by stream."""
        found: dict[int, int] = {}
        for frame in self.of(WindowUpdateFrame):
            found[frame.stream_id] = found.get(frame.stream_id, 0) + frame.window_increment
        return found

    @property
    def settings(self) -> dict[int, int]:
        """The server's settings."""
        return {key: value for frame in self.of(SettingsFrame) for key, value in frame.settings.items()}

    @property
    def requests(self) -> list[Any]:
        """What the server's `Rooms` has been asked."""
        return requests(self.server)

    def over(self) -> None:
        """End the connection, and see that nothing is left of it."""
        self.wire.reset()
        assert self.wire.clock.getDelayedCalls() == []
        assert not [one for one in self.server.factory.connections if one.transport is self.wire.transport]


Connect = Callable[..., Peer]
"""Connects a new peer: what the fixture `peers` gives."""


class Rooms(Page):
    """Answers with what it was asked; or, by path, later (it is in `requests`), with many bytes, or with a status."""

    def render(self, request: Any) -> Any:
        if request.path == b"/later":
            self.requests.append(request)
            return NOT_DONE_YET
        if request.path.startswith(b"/many/"):
            return b"x" * int(request.path[6:])
        if request.path.startswith(b"/status/"):
            request.setResponseCode(int(request.path[8:]))
            return b""
        return super().render(request)


def later(stream: int) -> bytes:
    """A request that stays open."""
    return headers(stream, request((b":path", b"/later")))


def many(stream: int, number: int) -> bytes:
    """A request whose answer has so many bytes."""
    return headers(stream, request((b":path", b"/many/%d" % number)))


def site(limits: str = "", switches: Iterable[Entry] = (), root: Any = None) -> Site:
    """A server that speaks HTTP/2, both ways."""
    clock = Clock()
    h2c = Entry("/", "h2c", (b"h2c",), H2c(H2c.Options(), Context(clock, "/", Path())))
    return Site((*switches, h2c), Rooms() if root is None else root, limits, clock)


def requests(server: Site) -> list[Any]:
    """What its `Rooms` has been asked, over all connections."""
    assert isinstance(server.page, Rooms)
    return server.page.requests


@contextmanager
def peers() -> Iterator[Connect]:
    """What makes clients, each of a server of its own if it is not given. In the end nothing may be left of them, nor
    may anything have failed."""
    made: list[Peer] = []

    def connect(server: Site | str = "", hello: bytes = HELLO, kind: Callable[..., Wire] = Wire) -> Peer:
        peer = Peer(site(server) if isinstance(server, str) else server, hello, kind)
        made.append(peer)
        return peer

    observer = FailureObserver()
    globalLogPublisher.addObserver(observer)
    try:
        yield connect
        for peer in made:
            peer.wire.reset()
        for peer in made:
            peer.over()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert observer.found == []
