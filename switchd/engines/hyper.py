"""An engine that wraps h2, and the only module that imports it.

What h2 leaves to whoever uses it is done here, a frame at a time: floods are counted (`Calm`), what is wrong with one
request is no error of the connection, a client's GOAWAY does not end the streams that it has open, its settings cost
what they may cost, and a farewell can be said twice. Where h2 has another code for an error than RFC 9113, the RFC's is
said.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from h2 import events as theirs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple, OversizedHeaderListError
from hyperframe.frame import GoAwayFrame

from switchd.calm import Calm
from switchd.engines.bounds import CLOSED_STREAMS, CONNECTION_WINDOW, HARD_LIMIT, PREFACE, STREAM_WINDOW, TABLE_BYTES
from switchd.engines.compression import NEVER_INDEXED
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
from switchd.engines.wrapping import Wrapping
from switchd.frames import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FRAME_BYTES,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    LAST_STREAM,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    Frame,
    Violation,
)
from switchd.interfaces import Header

_PING_DATA = b"switchd."


class _Connection(H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS


class _Decoder(Decoder):
    """Keeps header fields from h2, which would end the connection for one malformed request."""

    fields: tuple[Header, ...] = ()

    def decode(self, data: bytes, raw: bool = False) -> list[Any]:
        try:
            self.fields = tuple((bytes(name), bytes(value)) for name, value in super().decode(data, raw=True))
        except OversizedHeaderListError as error:
            raise Violation(ENHANCE_YOUR_CALM, str(error)) from error
        except HPACKError as error:
            raise Violation(COMPRESSION_ERROR, str(error)) from error  # section 4.3; h2 would say PROTOCOL_ERROR
        return []

    def taken(self) -> tuple[Header, ...]:
        """The fields of this frame, once."""
        fields, self.fields = self.fields, ()
        return fields


class _Encoder(Encoder):
    """hpack does not tell the client of a new size of the table if the same size is set once more; and where there were
    several since the last block, it tells of each, though the client may not allow the first any more."""

    @property
    def header_table_size(self) -> int:
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        if value != self.header_table.maxsize:
            self.header_table.maxsize = value
            least = min([value, *self.table_size_changes])  # and the last (RFC 7541 section 4.2)
            self.table_size_changes = [value] if least == value else [least, value]


class _OurSettings(Settings):
    """h2 takes a stream too many for an error of the connection; it is the stream that is refused (section 5.1.2)."""

    @property  # type: ignore[misc]  # it is never set here
    def max_concurrent_streams(self) -> int:
        return LAST_STREAM


class _TheirSettings(Settings):
    """h2 would keep settings that it does not know, and fill a table of any size that the client allows."""

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key == SettingCodes.HEADER_TABLE_SIZE:
            value = min(value, TABLE_BYTES)
        if key in _KNOWN_SETTINGS:
            super().__setitem__(key, value)


_KNOWN_SETTINGS = frozenset(SettingCodes)


class Engine(Wrapping):
    """See `switchd.engine.Engine`, and `Make` for how it is made."""

    def __init__(self, streams: int, header_bytes: int, now: Callable[[], float], connect: bool = False) -> None:
        # Header fields are looked at by the caller, and names are in lower case.
        config = H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2: Any = _Connection(config)
        self._h2.local_settings = _OurSettings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: streams,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
                SettingCodes.ENABLE_PUSH: 0,
                **({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1} if connect else {}),
            },
        )
        self._h2.remote_settings = _TheirSettings(client=True)
        self._h2.encoder = _Encoder()
        self._h2.decoder = self._decoder = _Decoder(HARD_LIMIT * header_bytes)
        self._calm = Calm(now, HARD_LIMIT * header_bytes)
        self._preface = PREFACE  # what has not come of it
        self._heard = False  # the client's settings, which come first
        self._unanswered: set[int] = set()  # the streams that are open on our side
        self._fragments = 0  # the stream whose header fields are not complete
        self._rest = bytearray()  # of a frame that is not complete
        self._output = bytearray()
        self._pinged = False
        self._announced = LAST_STREAM  # by GOAWAY
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
            self._unanswered.add(1)
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - self._h2.inbound_flow_control_window)
        self._h2.receive_data(PREFACE)  # we look at the client's ourselves

    def receive(self, data: bytes) -> Iterator[Event]:
        """What the client's bytes mean, a frame at a time: what is done about one comes before the next is looked at.

        To be iterated to its end, which comes with `Failed` if there is one.
        """
        self._rest += data
        try:
            for frame in self._frames():
                yield from self._happened(frame)
                if self.failed:  # by what was done about it
                    return
        except Violation as violation:
            yield self._fail(violation)

    def _frames(self) -> Iterator[Frame]:
        """Those that have come whole, after the preface (section 3.4)."""
        matched = min(len(self._rest), len(self._preface))
        if self._rest[:matched] != self._preface[:matched]:
            raise Violation(PROTOCOL_ERROR, "the connection preface is not HTTP/2's")
        del self._rest[:matched]
        self._preface = self._preface[matched:]
        while len(self._rest) >= HEAD_BYTES:
            length = int.from_bytes(self._rest[:3], "big")
            if length > FRAME_BYTES:
                raise Violation(FRAME_SIZE_ERROR, f"a frame has at most {FRAME_BYTES} bytes here")
            if len(self._rest) < HEAD_BYTES + length:
                return
            data = bytes(self._rest[: HEAD_BYTES + length])
            del self._rest[: HEAD_BYTES + length]
            yield Frame.of(data)

    def _happened(self, frame: Frame) -> Iterator[Event]:
        self._check(frame)
        self._calm.before(frame, frame.stream not in self._unanswered)
        self._collect()
        self._decoder.fields = ()
        if frame.kind == SETTINGS:
            # As it counts them, h2 forgets those that are closed: their windows are no reason to fail (section 6.9.2).
            _ = self._h2.open_inbound_streams
        try:
            found = self._h2.receive_data(frame.harmless())
        except ProtocolError as error:
            self._h2.clear_outbound_data_buffer()  # a GOAWAY, which may contradict one that was said before
            raise Violation(int(error.error_code), str(error) or type(error).__name__) from error
        if not found:
            self._calm.nothing(frame)
        if frame.kind == GOAWAY:
            yield Farewell()
        for event in found:
            told = self._told(event)
            if told is not None:
                yield told

    def _check(self, frame: Frame) -> None:
        """What h2 does not look at, has another code for, or, of GOAWAY, does not see."""
        if not self._heard and (frame.kind != SETTINGS or frame.flags & ACK):
            raise Violation(PROTOCOL_ERROR, "the client's settings come first")  # section 3.4
        self._heard = True
        self._check_fragments(frame)
        if frame.kind == PUSH_PROMISE:
            raise Violation(PROTOCOL_ERROR, "a client cannot push")  # section 8.4
        if frame.kind == SETTINGS and frame.flags & ACK and frame.length:
            raise Violation(FRAME_SIZE_ERROR, "an acknowledgement has no content")  # section 6.5
        if frame.kind == RST_STREAM and (frame.stream > self.last_stream or frame.stream % 2 == 0):
            raise Violation(PROTOCOL_ERROR, "a stream that is idle cannot be reset")  # section 6.4
        if frame.kind == GOAWAY and frame.stream:
            raise Violation(PROTOCOL_ERROR, "GOAWAY is about the connection")  # section 6.8
        if frame.kind == GOAWAY and frame.length < 8:
            raise Violation(FRAME_SIZE_ERROR, "GOAWAY is too short")

    def _check_fragments(self, frame: Frame) -> None:
        """Whether CONTINUATION comes where it has to, and only there (section 6.10)."""
        if (frame.kind == CONTINUATION) != (self._fragments > 0) or self._fragments not in (0, frame.stream):
            raise Violation(PROTOCOL_ERROR, "the fragments of header fields follow each other")
        if frame.kind in (HEADERS, CONTINUATION):
            self._fragments = 0 if frame.flags & END_HEADERS else frame.stream

    def _told(self, event: Any) -> Event | None:
        match event:
            case theirs.RequestReceived():
                self.last_stream = event.stream_id
                self._unanswered.add(event.stream_id)
                return Asked(event.stream_id, self._decoder.taken())
            case theirs.DataReceived():
                return Data(event.stream_id, event.data, event.flow_controlled_length)
            case theirs.StreamEnded():
                return Ended(event.stream_id, self._decoder.taken())
            case theirs.StreamReset():
                self._unanswered.discard(event.stream_id)
                if not event.remote_reset:
                    self._calm.cut()
                return Reset(event.stream_id, int(event.error_code), event.remote_reset)
            case theirs.WindowUpdated():
                return Opened(event.stream_id)
            case theirs.RemoteSettingsChanged():
                return Opened(0)
            case theirs.SettingsAcknowledged():
                return Acknowledged()
            case theirs.PingAckReceived() if self._pinged and event.ping_data == _PING_DATA:
                self._pinged = False
                return Ponged()
        return None

    def _fail(self, violation: Violation) -> Failed:
        self.failed = True
        self.goaway(self.last_stream, violation.code)
        return Failed(violation.code, str(violation))

    # What the server says

    def respond(self, stream: int, status: int, fields: Sequence[Header], ended: bool) -> None:
        """Send the head of an answer; names are in lower case. A status below 200 is not the last."""
        named = [NeverIndexedHeaderTuple(*field) if field[0] in NEVER_INDEXED else field for field in fields]
        self._h2.send_headers(stream, [(b":status", b"%d" % status), *named], end_stream=ended)
        self._calm.sent(0, False)
        if ended:
            self._unanswered.discard(stream)

    def may_send(self, stream: int) -> int:
        """How many bytes of a stream's answer may go into one frame now."""
        return min(self._window(stream), FRAME_BYTES)

    def send(self, stream: int, data: bytes, ended: bool) -> None:
        """Send one frame of an answer, no longer than `may_send`."""
        self._calm.sent(len(data), bool(data) and len(data) == self._window(stream))
        self._h2.send_data(stream, data, end_stream=ended)
        if ended:
            self._unanswered.discard(stream)

    def _window(self, stream: int) -> int:
        window: int = self._h2.local_flow_control_window(stream)
        return window

    def reset(self, stream: int, code: int) -> None:
        """See `Wrapping`."""
        self._unanswered.discard(stream)
        super().reset(stream, code)

    def reset_for(self, stream: int, code: int) -> Failed | None:
        """The same because of what the client did, which it may not have us do for ever."""
        self.reset(stream, code)
        try:
            self._calm.cut()
        except Violation as violation:
            return self._fail(violation)
        return None

    def ping(self) -> None:
        """Ask for a `Ponged`."""
        self._pinged = True
        self._h2.ping(_PING_DATA)

    def goaway(self, last: int, code: int) -> None:
        """Say that no streams after `last` are answered, nor those after an earlier one's (section 6.8).

        h2 does not hear of it: it would send nothing after that.
        """
        self._collect()
        self._announced = min(self._announced, last)
        self._output += GoAwayFrame(0, last_stream_id=self._announced, error_code=code).serialize()

    def take_output(self) -> bytes:
        """What is to be sent."""
        self._collect()
        output = bytes(self._output)
        self._output.clear()
        return output

    def _collect(self) -> None:
        self._output += self._h2.data_to_send()
