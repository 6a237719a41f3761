"""HTTP/2 without I/O: bytes in, events out, and back. The only module that imports h2, so another can take its place.

The words are those of RFC 9113. What h2 leaves to whoever uses it is done here: floods are counted frame by frame
before h2 works on them (`Calm`), a client's GOAWAY does not end the streams that it has open, too many streams are no
error of the connection, and a farewell can be said twice.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from switchd.interfaces import Header

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

NO_ERROR = int(ErrorCodes.NO_ERROR)
PROTOCOL_ERROR = int(ErrorCodes.PROTOCOL_ERROR)
INTERNAL_ERROR = int(ErrorCodes.INTERNAL_ERROR)
SETTINGS_TIMEOUT = int(ErrorCodes.SETTINGS_TIMEOUT)
FRAME_SIZE_ERROR = int(ErrorCodes.FRAME_SIZE_ERROR)
REFUSED_STREAM = int(ErrorCodes.REFUSED_STREAM)
CANCEL = int(ErrorCodes.CANCEL)
ENHANCE_YOUR_CALM = int(ErrorCodes.ENHANCE_YOUR_CALM)
HTTP_1_1_REQUIRED = int(ErrorCodes.HTTP_1_1_REQUIRED)
"""Error codes (RFC 9113 section 7)."""

FRAME_BYTES = 16384
"""The longest frame that is taken or sent: the least that RFC 9113 section 4.2 allows, which keeps streams fair."""

STREAM_WINDOW = 262_144
"""Bytes of one stream's body that a client may send before they are consumed."""

CONNECTION_WINDOW = 1_048_576
"""The same of all streams together."""

LAST_STREAM = (1 << 31) - 1


@frozen
class Asked:
    """A client has opened a stream.

    Attributes:
        stream: Its number.
        fields: Header fields and pseudo-header fields, in order, as they came: not yet looked at.
    """

    stream: int
    fields: tuple[Header, ...]


@frozen
class Data:
    """Part of a stream's body. `length` is to be given back by `Engine.consumed`; it counts the padding too."""

    stream: int
    data: bytes
    length: int


@frozen
class Ended:
    """The client has ended its side of a stream, perhaps with trailers."""

    stream: int


@frozen
class Reset:
    """A stream is gone: the client has reset it, or has broken a rule on it (`by_client` false)."""

    stream: int
    code: int
    by_client: bool


@frozen
class Opened:
    """More may be sent: on a stream, or, where it is 0, on all."""

    stream: int


@frozen
class Acknowledged:
    """The client has seen our settings."""


@frozen
class Ponged:
    """Our ping has come back."""


@frozen
class Farewell:
    """The client opens no more streams."""


@frozen
class Failed:
    """The connection is over: the client broke a rule. The output ends with the GOAWAY that says so."""

    code: int
    why: str


Event = Asked | Data | Ended | Reset | Opened | Acknowledged | Ponged | Farewell | Failed


@define
class Bucket:
    """Allows `burst` at once, and `rate` a second from then on."""

    burst: float
    rate: float
    _left: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.burst

    def take(self, now: float) -> bool:
        """One more. Whether it is allowed."""
        self._left = min(self.burst, self._left + (now - self._at) * self.rate) - 1
        self._at = now
        return self._left >= 0

    def give(self, number: float) -> None:
        """As many more are allowed."""
        self._left += number


RESETS = (200, 33)
"""Streams that may be cut short, burst and rate: by the client, or by us because of it. Each has cost the work of a
request, and no room in `streams` (CVE-2023-44487, CVE-2025-8671). A browser that leaves a page cuts some dozens."""

IDLE_FRAMES = (2000, 200)
"""Frames that carry no request and no content: settings, pings, priorities, unknown and empty ones. A client that
watches its connection sends one or two a second."""

UPDATES_PER_FRAME = 4
"""WINDOW_UPDATEs that each DATA frame of ours allows beyond `IDLE_FRAMES`: one for the stream, one for the connection,
and as much again for those who give credit in small pieces."""

_DATA, _HEADERS, _RST_STREAM, _GOAWAY, _CONTINUATION = 0, 1, 3, 7, 9
_END_STREAM = 1


class Calm:
    """Counts the frames of one connection, from their heads alone (RFC 9113 section 10.5).

    Args:
        now: The clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._resets = Bucket(*RESETS)
        self._idle = Bucket(*IDLE_FRAMES)

    def allows(self, kind: int, flags: int, length: int) -> bool:
        """Whether a client may send this frame, after all that it has sent."""
        if kind == _RST_STREAM:
            return self._resets.take(self._now())
        is_idle = kind not in (_DATA, _HEADERS) or (kind == _DATA and length == 0 and not flags & _END_STREAM)
        return not is_idle or self._idle.take(self._now())

    def allows_reset(self) -> bool:
        """Whether a stream may be cut short once more because of the client."""
        return self._resets.take(self._now())

    def sent(self, frames: int) -> None:
        """We have sent DATA, which the client will give credit for."""
        self._idle.give(frames * UPDATES_PER_FRAME)


class _Settings(Settings):
    """h2 takes a stream too many for an error of the connection; it is the stream that is refused (section 5.1.2)."""

    @property  # type: ignore[misc]  # it is never set here
    def max_concurrent_streams(self) -> int:
        return LAST_STREAM


class Engine:
    """One connection, the server's side.

    Args:
        streams: How many a client may have open at the same time; it is told, and refusing more is the caller's.
        header_bytes: The longest list of header fields, as section 6.5.2 counts it. What is over it is refused by the
            caller; a list of several times that length ends the connection.
        now: The clock, in seconds.
    """

    def __init__(self, streams: int, header_bytes: int, now: Callable[[], float]) -> None:
        # Names and values are looked at by us: h2 would end the connection for one malformed request.
        config = H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_outbound_headers=False,
            validate_outbound_headers=False,
        )
        self._h2: Any = H2Connection(config)
        self._h2.local_settings = _Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: streams,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
                SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self._h2.decoder.max_header_list_size = 4 * header_bytes
        self._calm = Calm(now)
        self._rest = b""  # of a frame that is not complete
        self._preface = PREFACE
        self._farewells = b""
        self.last_stream = 0
        self.failed = False

    def start(self, settings: bytes | None = None) -> None:
        """Say hello.

        Args:
            settings: For h2c, the payload of `HTTP2-Settings`: stream 1 is then open, and its request complete.
        """
        if settings is None:
            self._h2.initiate_connection()
        else:
            self._h2.initiate_upgrade_connection(urlsafe_b64encode(settings))
            self.last_stream = 1
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - self._h2.inbound_flow_control_window)

    def receive(self, data: bytes) -> Iterator[Event]:
        """What the client's bytes mean. To be iterated to its end, which comes with `Failed` if there is one."""
        for piece in self._pieces(data):
            if not isinstance(piece, bytes):
                yield piece
                continue
            try:
                found = self._h2.receive_data(piece)
            except ProtocolError as error:
                yield self._fail(int(error.error_code), str(error) or type(error).__name__, said=True)
                return
            for event in map(self._told, found):
                if event is not None:
                    yield event
                if self.failed:  # perhaps by what was done about the event
                    return

    def _pieces(self, data: bytes) -> Iterator[bytes | Event]:
        """Whole frames, as many together as may be, without those that h2 shall not see."""
        data = self._rest + data
        if self._preface:
            matched = min(len(data), len(self._preface))
            if data[:matched] != self._preface[:matched]:
                yield self._fail(PROTOCOL_ERROR, "the connection preface is not HTTP/2's")
                return
            yield data[:matched]
            self._preface, data = self._preface[matched:], data[matched:]
        start = end = 0
        while len(data) - end >= 9:
            length = int.from_bytes(data[end : end + 3], "big")
            kind, flags = data[end + 3], data[end + 4]
            if length > FRAME_BYTES:
                yield data[start:end]
                yield self._fail(FRAME_SIZE_ERROR, f"a frame has at most {FRAME_BYTES} bytes here")
                return
            if len(data) - end < 9 + length:
                break
            if not self._calm.allows(kind, flags, length):
                yield data[start:end]
                yield self._fail(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
                return
            if kind == _GOAWAY:
                yield data[start:end]
                yield self._goaway(data[end : end + 9 + length])
                if self.failed:
                    return
                start = end + 9 + length
            end += 9 + length
        self._rest = data[end:]
        yield data[start:end]

    def _goaway(self, frame: bytes) -> Event:
        """The client's GOAWAY: h2 would answer nothing any more, but the streams that are open go on (section 6.8)."""
        if len(frame) < 9 + 8 or int.from_bytes(frame[5:9], "big") & LAST_STREAM:
            return self._fail(FRAME_SIZE_ERROR if len(frame) < 9 + 8 else PROTOCOL_ERROR, "GOAWAY is malformed")
        return Farewell()

    def _told(self, event: Any) -> Event | None:
        match event:
            case events.RequestReceived():
                self.last_stream = event.stream_id
                return Asked(event.stream_id, tuple((bytes(name), bytes(value)) for name, value in event.headers))
            case events.DataReceived():
                return Data(event.stream_id, event.data, event.flow_controlled_length)
            case events.StreamEnded():
                return Ended(event.stream_id)
            case events.StreamReset():
                if not event.remote_reset and not self._calm.allows_reset():
                    return self._fail(ENHANCE_YOUR_CALM, "too many streams were cut short")
                return Reset(event.stream_id, int(event.error_code), event.remote_reset)
            case events.WindowUpdated():
                return Opened(event.stream_id)
            case events.RemoteSettingsChanged():
                return Opened(0)
            case events.SettingsAcknowledged():
                return Acknowledged()
            case events.PingAckReceived():
                return Ponged()
        return None

    def _fail(self, code: int, why: str, said: bool = False) -> Failed:
        self.failed = True
        if not said:
            self.goaway(self.last_stream, code)
        return Failed(code, why)

    # What the server says

    def respond(self, stream: int, status: int, fields: Sequence[Header], ended: bool) -> None:
        """Send the head of an answer; names are in lower case. A status below 200 is not the last."""
        self._h2.send_headers(stream, [(b":status", b"%d" % status), *fields], end_stream=ended)

    def may_send(self, stream: int) -> int:
        """How many bytes of a stream's answer may go into one frame now."""
        window: int = self._h2.local_flow_control_window(stream)
        return min(window, FRAME_BYTES)

    def send(self, stream: int, data: bytes, ended: bool) -> None:
        """Send one frame of an answer, no longer than `may_send`."""
        self._h2.send_data(stream, data, end_stream=ended)
        self._calm.sent(1)

    def consumed(self, stream: int, length: int) -> None:
        """So much of a stream's body is used: the client may send as much again."""
        self._h2.acknowledge_received_data(length, stream)

    def reset(self, stream: int, code: int) -> None:
        """Cut a stream short."""
        self._h2.reset_stream(stream, code)

    def reset_for(self, stream: int, code: int) -> Failed | None:
        """The same because of what the client did, which it may not have us do for ever."""
        self.reset(stream, code)
        return None if self._calm.allows_reset() else self._fail(ENHANCE_YOUR_CALM, "too many streams were cut short")

    def ping(self) -> None:
        """Ask for a `Ponged`."""
        self._h2.ping(b"switchd.")

    def goaway(self, last: int, code: int) -> None:
        """Say that no streams after `last` are answered. h2 does not hear of it: it would send nothing after that."""
        frame = GoAwayFrame(0, last_stream_id=last, error_code=code)
        self._farewells += frame.serialize()

    def take_output(self) -> bytes:
        """What is to be sent."""
        output: bytes = self._h2.data_to_send() + self._farewells
        self._farewells = b""
        return output
