"""An engine of our own: frames are read where they lie, and a stream is a row of four values.

A frame is taken in three steps: what may come now at all (`receive`), what its kind and form allow (a method each), and
what it does to its stream. A `Violation` in any of them ends the connection; what breaks a rule of one stream resets
that. The rules are those of RFC 9113; where it leaves a choice the choice is h2's, which a differential fuzz compares.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from struct import Struct

from switchd.calm import Calm
from switchd.engines.bounds import (
    CLOSED_STREAMS,
    CONNECTION_WINDOW,
    HARD_LIMIT,
    MOST_FRAGMENTS,
    PREFACE,
    STREAM_WINDOW,
)
from switchd.engines.compression import Decoder, Encoder
from switchd.engines.events import (
    Acknowledged,
    Asked,
    Data,
    Ended,
    Event,
    Failed,
    Farewell,
    Opened,
    Ponged,
    Reset,
)
from switchd.engines.streams import Inbound, Stream
from switchd.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HAS_PRIORITY,
    HEAD_BYTES,
    HEADERS,
    LAST_STREAM,
    PADDED,
    PING,
    PROTOCOL_ERROR,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Violation,
)
from switchd.interfaces import Header

_HEAD = Struct(">IBI")  # length and kind, flags, stream
_CODE = Struct(">I")
_SETTING = Struct(">HI")

_PING_DATA = b"switchd."
_MOST_WINDOW = (1 << 31) - 1  # section 6.9.1
_FIRST_WINDOW = 65_535  # section 6.9.2

_TABLE_SIZE, _PUSH, _STREAMS, _WINDOW, _FRAME_SIZE, _LIST_SIZE, _, _CONNECT = range(1, 9)  # section 6.5.2, RFC 8441

_VALUES = {
    _PUSH: (range(2), PROTOCOL_ERROR),
    _WINDOW: (range(1 << 31), FLOW_CONTROL_ERROR),
    _FRAME_SIZE: (range(1 << 14, 1 << 24), PROTOCOL_ERROR),
    _CONNECT: (range(2), PROTOCOL_ERROR),
}
# Which values a setting may have, and the error if it has another.


class Engine:
    """See `switchd.engine.Engine`, and `Make` for how it is made."""

    __slots__ = (
        "__weakref__",
        "_announced",
        "_calm",
        "_closed",
        "_connect",
        "_decoder",
        "_encoder",
        "_first_window",
        "_fragments",
        "_heard",
        "_inbound",
        "_limits",
        "_output",
        "_pinged",
        "_preface",
        "_rest",
        "_streams",
        "_window",
        "failed",
        "last_stream",
    )

    def __init__(self, streams: int, header_bytes: int, now: Callable[[], float], connect: bool = False) -> None:
        self._limits = streams, header_bytes
        self._connect = connect
        self._calm = Calm(now, HARD_LIMIT * header_bytes)
        self._decoder: Decoder | None = None  # until there is something to read
        self._encoder: Encoder | None = None
        self._preface = PREFACE  # what has not come of it
        self._heard = False  # the client's settings, which come first
        self._rest = b""  # of a frame that is not complete
        self._fragments: _Fragments | None = None  # of header fields that are not complete
        self._streams: dict[int, Stream] = {}  # those that are not closed
        self._closed = array("I")  # the last that are: number, and whether by a reset
        self._window = self._first_window = _FIRST_WINDOW  # what may be sent on the connection, on a new stream
        self._inbound = Inbound(CONNECTION_WINDOW)
        self._output: list[bytes] = []
        self._pinged = False
        self._announced = LAST_STREAM  # by GOAWAY
        self.last_stream = 0
        self.failed = False

    def start(self, settings: bytes | None = None) -> None:
        """See `switchd.engine.Engine`."""
        streams, header_bytes = self._limits
        ours = [(_STREAMS, streams), (_WINDOW, STREAM_WINDOW), (_LIST_SIZE, header_bytes)]
        if self._connect:
            ours.append((_CONNECT, 1))
        self._frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*setting) for setting in ours))
        self._frame(WINDOW_UPDATE, 0, 0, _CODE.pack(CONNECTION_WINDOW - _FIRST_WINDOW))
        if settings is not None:
            self._apply(settings)
            self.last_stream = 1
            self._streams[1] = Stream(self._first_window, True)

    # What the client says

    def receive(self, data: bytes) -> Iterator[Event]:
        """See `switchd.engine.Engine`."""
        try:
            data, at = self._begin(data), 0
            end = len(data)
            while end - at >= HEAD_BYTES:
                word, flags, stream = _HEAD.unpack_from(data, at)
                length, kind = word >> 8, word & 0xFF
                if length > FRAME_BYTES:
                    raise Violation(FRAME_SIZE_ERROR, f"a frame has at most {FRAME_BYTES} bytes here")
                start = at + HEAD_BYTES
                if start + length > end:
                    break
                at = start + length
                stream &= LAST_STREAM
                if not self._heard or self._fragments is not None:
                    self._check_turn(kind, flags, stream)
                yield from _TAKES[kind](self, flags, stream, data[start:at])
                if self.failed:  # by what was done about it
                    return
            if at < end:
                self._rest = data[at:]
        except Violation as violation:
            yield self._fail(violation)

    def _begin(self, data: bytes) -> bytes:
        """What there is to read, after the preface (section 3.4)."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self._preface:
            return data
        matched = min(len(data), len(self._preface))
        if data[:matched] != self._preface[:matched]:
            raise Violation(PROTOCOL_ERROR, "the connection preface is not HTTP/2's")
        self._preface = self._preface[matched:]
        return data[matched:]

    def _check_turn(self, kind: int, flags: int, stream: int) -> None:
        """Whether this may come now, where only one thing may."""
        if not self._heard:
            if kind != SETTINGS or flags & ACK:
                raise Violation(PROTOCOL_ERROR, "the client's settings come first")  # section 3.4
            self._heard = True
        elif self._fragments is not None and (kind != CONTINUATION or stream != self._fragments.stream):
            raise Violation(PROTOCOL_ERROR, "the fragments of header fields follow each other")  # section 6.10

    def _headers(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 6.2."""
        self._calm.fragment(len(payload), True)
        _about_a_stream(stream)
        if flags & (PADDED | HAS_PRIORITY):
            payload = _block(flags, payload)
        if not flags & END_HEADERS:
            self._fragments = _Fragments(stream, flags, payload)
            return ()
        return self._fields(stream, flags, payload)

    def _continuation(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 6.10."""
        fragments = self._fragments
        if fragments is None:
            raise Violation(PROTOCOL_ERROR, "there is nothing to continue")
        self._calm.fragment(len(payload), False)
        fragments.add(payload)
        if not flags & END_HEADERS:
            return ()
        self._fragments = None
        return self._fields(stream, fragments.flags, b"".join(fragments.pieces))

    def _fields(self, number: int, flags: int, block: bytes) -> Sequence[Event]:
        """A list of header fields is complete: a request, or trailers."""
        if self._decoder is None:
            self._decoder = Decoder(HARD_LIMIT * self._limits[1])
        fields = self._decoder.decode(block)
        stream = self._streams.get(number)
        if stream is None:
            return self._open(number, flags, fields)
        if stream.complete:
            return self._cut(number, STREAM_CLOSED)
        if not flags & END_STREAM:
            raise Violation(PROTOCOL_ERROR, "trailers end their stream")
        self._complete(number, stream)
        return (Ended(number, fields),)

    def _open(self, number: int, flags: int, fields: tuple[Header, ...]) -> Sequence[Event]:
        """Section 5.1.1."""
        if not number % 2:
            raise Violation(PROTOCOL_ERROR, "a client's streams have odd numbers")
        if number <= self.last_stream:
            return self._reopen(number)
        self.last_stream = number
        complete = bool(flags & END_STREAM)
        self._streams[number] = Stream(self._first_window, complete)
        asked = Asked(number, fields)
        return (asked, Ended(number)) if complete else (asked,)

    def _reopen(self, number: int) -> Sequence[Event]:
        """Header fields for a stream that is closed: on their way when it was reset, or an error (section 5.1)."""
        if number << 1 | 1 in self._closed:
            self._frame(RST_STREAM, 0, number, _CODE.pack(STREAM_CLOSED))
            self._calm.idle()
            return ()
        if number << 1 in self._closed:
            raise Violation(STREAM_CLOSED, "a stream that has ended is not opened again")
        raise Violation(PROTOCOL_ERROR, "the numbers of streams only grow")

    def _data(self, flags: int, number: int, payload: bytes) -> Sequence[Event]:
        """Section 6.1."""
        length = len(payload)
        if flags & PADDED or not length:
            payload = self._stripped(flags, number, payload)
        stream = self._streams.get(number)
        if stream is None:
            _about_a_stream(number)
            if not self.last_stream:
                raise Violation(PROTOCOL_ERROR, "a stream that is idle has no content")
        window = self._inbound
        window.room -= length
        if window.room < 0:
            raise _overrun()
        if stream is None or stream.complete:
            return self._drop(number, stream, length)
        window = stream.inbound = stream.inbound or Inbound(STREAM_WINDOW)
        window.room -= length
        if window.room < 0:
            raise _overrun()
        data = Data(number, payload, length)
        if not flags & END_STREAM:
            return (data,)
        self._complete(number, stream)
        return data, Ended(number)

    def _stripped(self, flags: int, number: int, payload: bytes) -> bytes:
        """What is in DATA that are empty, or have padding."""
        length, padding = len(payload), 0
        if flags & PADDED and length:
            padding = 1 + payload[0]
        if length <= padding and not flags & END_STREAM:
            self._calm.idle()
        _about_a_stream(number)
        return _content(payload) if flags & PADDED else payload

    def _drop(self, number: int, stream: Stream | None, length: int) -> Sequence[Event]:
        """Content for a stream that takes none; it counts for the connection's window (section 5.1)."""
        if stream is None:
            self._check_not_idle(number)
        self.consumed(0, length)
        if stream is not None:
            return self._cut(number, STREAM_CLOSED)
        self._frame(RST_STREAM, 0, number, _CODE.pack(STREAM_CLOSED))
        self._calm.idle()
        return ()

    def _priority(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 6.3: it means nothing any more."""
        self._calm.idle()
        _about_a_stream(stream)
        _has(len(payload) == 5)
        return ()

    def _rst_stream(self, flags: int, number: int, payload: bytes) -> Sequence[Event]:
        """Section 6.4."""
        self._check_not_idle(number)
        stream = self._streams.get(number)
        if stream is None or stream.answered:
            self._calm.idle()  # it has been answered: nothing is cut short
        else:
            self._calm.cut()
        _has(len(payload) == 4)
        if stream is None:
            return ()
        self._close(number, True)
        return (Reset(number, _CODE.unpack(payload)[0], True),)

    def _settings(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 6.5."""
        _has(not (flags & ACK and payload))
        self._calm.settings(len(payload))
        _about_the_connection(stream)
        if flags & ACK:
            return (Acknowledged(),)
        _has(len(payload) % 6 == 0)
        self._apply(payload)
        self._frame(SETTINGS, ACK, 0, b"")
        return (Opened(0),)

    def _apply(self, payload: bytes) -> None:
        """Settings count one after the other (section 6.5.3)."""
        for key, value in _SETTING.iter_unpack(payload):
            allowed, code = _VALUES.get(key, (None, 0))
            if allowed is not None and value not in allowed:
                raise Violation(code, f"the setting {key} cannot be {value}")
            if key == _WINDOW:
                self._resize(value - self._first_window)
            elif key == _TABLE_SIZE:
                self._writer().allow(value)

    def _resize(self, difference: int) -> None:
        """Section 6.9.2."""
        self._first_window += difference
        for stream in self._streams.values():
            stream.window += difference
            if stream.window > _MOST_WINDOW:
                raise Violation(FLOW_CONTROL_ERROR, "a window is larger than it may be")

    def _push_promise(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 8.4."""
        raise Violation(PROTOCOL_ERROR, "a client cannot push")

    def _ping(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 6.7."""
        self._calm.idle()
        _about_the_connection(stream)
        _has(len(payload) == 8)
        if not flags & ACK:
            self._frame(PING, ACK, 0, payload)
        elif self._pinged and payload == _PING_DATA:
            self._pinged = False
            return (Ponged(),)
        return ()

    def _goaway(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 6.8: the streams that it has open go on."""
        _about_the_connection(stream)
        _has(len(payload) >= 8)
        self._calm.idle()
        return (Farewell(),)

    def _window_update(self, flags: int, number: int, payload: bytes) -> Sequence[Event]:
        """Section 6.9."""
        self._calm.idle()
        _has(len(payload) == 4)
        increment = _CODE.unpack(payload)[0] & _MOST_WINDOW
        if not increment:
            raise Violation(PROTOCOL_ERROR, "a window is opened by nothing")
        if number:
            return self._open_stream(number, increment)
        self._window += increment
        if self._window > _MOST_WINDOW:
            raise Violation(FLOW_CONTROL_ERROR, "the connection's window is larger than it may be")
        return (Opened(0),)

    def _open_stream(self, number: int, increment: int) -> Sequence[Event]:
        stream = self._streams.get(number)
        if stream is None:
            self._check_not_idle(number)
            return ()
        stream.window += increment
        return self._cut(number, FLOW_CONTROL_ERROR) if stream.window > _MOST_WINDOW else (Opened(number),)

    def _unknown(self, flags: int, stream: int, payload: bytes) -> Sequence[Event]:
        """Section 5.5: ignored."""
        self._calm.idle()
        return ()

    # Streams (section 5.1)

    def _check_not_idle(self, number: int) -> None:
        if number > self.last_stream or number % 2 == 0:
            raise Violation(PROTOCOL_ERROR, "the stream is idle")

    def _complete(self, number: int, stream: Stream) -> None:
        """The client has ended its side."""
        stream.complete = True
        if stream.answered:
            self._close(number, False)

    def _cut(self, number: int, code: int) -> Sequence[Event]:
        """The client has broken a rule on a stream that it has open."""
        self.reset(number, code)
        self._calm.cut()
        return (Reset(number, code, False),)

    def _close(self, number: int, by_reset: bool) -> None:
        del self._streams[number]
        self._closed.append(number << 1 | by_reset)
        if len(self._closed) > CLOSED_STREAMS:
            del self._closed[0]

    def _credit(self, number: int, inbound: Inbound) -> None:
        increment = inbound.give_back()
        if increment:
            self._frame(WINDOW_UPDATE, 0, number, _CODE.pack(increment))

    def _fail(self, violation: Violation) -> Failed:
        self.failed = True
        self.goaway(self.last_stream, violation.code)
        return Failed(violation.code, str(violation))

    # What the server says

    def respond(self, stream: int, status: int, fields: Sequence[Header], ended: bool) -> None:
        """See `switchd.engine.Engine`."""
        self._answer(stream, ended)
        block = self._writer().encode(status, fields)
        if len(block) <= FRAME_BYTES:
            self._frame(HEADERS, END_HEADERS | ended, stream, block)
        else:
            self._in_fragments(stream, block, ended)
        self._calm.sent(0, False)

    def _in_fragments(self, stream: int, block: bytes, ended: bool) -> None:
        pieces = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)]
        self._frame(HEADERS, ended, stream, pieces[0])
        for piece in pieces[1:-1]:
            self._frame(CONTINUATION, 0, stream, piece)
        self._frame(CONTINUATION, END_HEADERS, stream, pieces[-1])

    def _writer(self) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder()
        return self._encoder

    def may_send(self, stream: int) -> int:
        """See `switchd.engine.Engine`."""
        window = self._streams[stream].window
        if window > self._window:
            window = self._window
        return window if window < FRAME_BYTES else FRAME_BYTES

    def send(self, stream: int, data: bytes, ended: bool) -> None:
        """See `switchd.engine.Engine`."""
        length = len(data)
        row = self._streams[stream]
        window = row.window if row.window < self._window else self._window
        if length and (length > window or length > FRAME_BYTES):
            raise ValueError(f"{length} bytes are more than may be sent")
        if ended or row.answered:
            self._answer(stream, ended)
        row.window -= length
        self._window -= length
        self._output += _HEAD.pack(length << 8 | DATA, ended, stream), data
        self._calm.sent(length, length > 0 and length == window)

    def _answer(self, number: int, ended: bool) -> None:
        """Something is sent on a stream, perhaps the last."""
        stream = self._streams[number]
        if stream.answered:
            raise ValueError(f"the answer on stream {number} is complete")
        if ended:
            stream.answered = True
            if stream.complete:
                self._close(number, False)

    def consumed(self, stream: int, length: int) -> None:
        """See `switchd.engine.Engine`."""
        self.kept(length)
        self.used(stream, length)

    def kept(self, length: int) -> None:
        """See `switchd.engine.Engine`."""
        window = self._inbound
        window.used += length
        if 2 * window.used >= window.size or not window.room:
            self._credit(0, window)

    def used(self, stream: int, length: int) -> None:
        """See `switchd.engine.Engine`."""
        row = self._streams.get(stream)
        if row is not None and row.inbound is not None:
            window = row.inbound
            window.used += length
            if 2 * window.used >= window.size or not window.room:
                self._credit(stream, window)

    def reset(self, stream: int, code: int) -> None:
        """See `switchd.engine.Engine`."""
        if stream in self._streams:
            self._close(stream, True)
            self._frame(RST_STREAM, 0, stream, _CODE.pack(code))

    def reset_for(self, stream: int, code: int) -> Failed | None:
        """See `switchd.engine.Engine`."""
        self.reset(stream, code)
        try:
            self._calm.cut()
        except Violation as violation:
            return self._fail(violation)
        return None

    def ping(self) -> None:
        """See `switchd.engine.Engine`."""
        self._pinged = True
        self._frame(PING, 0, 0, _PING_DATA)

    def goaway(self, last: int, code: int) -> None:
        """See `switchd.engine.Engine`."""
        self._announced = min(self._announced, last)
        self._frame(GOAWAY, 0, 0, _CODE.pack(self._announced) + _CODE.pack(code))

    def take_output(self) -> bytes:
        """See `switchd.engine.Engine`."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._output += _HEAD.pack(len(payload) << 8 | kind, flags, stream), payload


_TAKES: tuple[Callable[[Engine, int, int, bytes], Sequence[Event]], ...] = (
    Engine._data,
    Engine._headers,
    Engine._priority,
    Engine._rst_stream,
    Engine._settings,
    Engine._push_promise,
    Engine._ping,
    Engine._goaway,
    Engine._window_update,
    Engine._continuation,
    *[Engine._unknown] * (255 - CONTINUATION),
)
# By the number of the kind (section 6), which is one byte.


class _Fragments:
    """Header fields that are not complete."""

    __slots__ = ("flags", "pieces", "stream")

    def __init__(self, stream: int, flags: int, first: bytes) -> None:
        self.stream = stream
        self.flags = flags
        self.pieces = [first]

    def add(self, piece: bytes) -> None:
        """One more; how long they are together is counted by `Calm`."""
        if len(self.pieces) == MOST_FRAGMENTS:
            raise Violation(PROTOCOL_ERROR, "too many fragments of header fields")
        self.pieces.append(piece)


def _overrun() -> Violation:
    return Violation(FLOW_CONTROL_ERROR, "the client has sent more than its window")  # section 6.9.1


def _has(right_length: bool) -> None:
    if not right_length:
        raise Violation(FRAME_SIZE_ERROR, "a frame of this kind has another length")


def _about_a_stream(stream: int) -> None:
    if not stream:
        raise Violation(PROTOCOL_ERROR, "a frame of this kind is about a stream")


def _about_the_connection(stream: int) -> None:
    if stream:
        raise Violation(PROTOCOL_ERROR, "a frame of this kind is about the connection")


def _content(payload: bytes) -> bytes:
    """Of DATA, without padding: which may be all but the byte that says so (section 6.1)."""
    _has(len(payload) > 0)
    if payload[0] >= len(payload):
        raise Violation(PROTOCOL_ERROR, "more padding than there is frame")
    return payload[1 : len(payload) - payload[0]]


def _block(flags: int, payload: bytes) -> bytes:
    """Of HEADERS, without padding and priority (section 6.2)."""
    start, end = 0, len(payload)
    if flags & PADDED:
        _has(end > 0)
        start, end = 1, end - payload[0]
    if flags & HAS_PRIORITY:
        start += 5
        _has(start <= len(payload))
    if start > end:
        raise Violation(PROTOCOL_ERROR, "more padding than there is room for")
    return payload[start:end]
