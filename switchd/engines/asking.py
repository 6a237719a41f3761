"""The client's side of HTTP/2 without I/O, for one stream: what asks a server to switch it. Wraps h2.

Its methods and events are those of `switchd.engine`, as far as they have a meaning here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from h2 import events as theirs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import FrameTooLargeError, ProtocolError
from h2.settings import SettingCodes, Settings

from switchd.engines.bounds import CONNECTION_WINDOW, STREAM_WINDOW
from switchd.engines.events import Answered, Data, Ended, Event, Failed, Opened, Reset, Settled
from switchd.engines.wrapping import Wrapping
from switchd.frames import FRAME_BYTES, GOAWAY, HEAD_BYTES, LAST_STREAM, REFUSED_STREAM, Frame
from switchd.interfaces import Header


class Engine(Wrapping):
    """One connection.

    Args:
        header_bytes: The longest list of header fields that an answer may have, as RFC 9113 section 6.5.2 counts it.

    Attributes:
        failed: Whether the server has broken a rule, so that the connection is over.
    """

    def __init__(self, header_bytes: int) -> None:
        self._h2: Any = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                SettingCodes.MAX_FRAME_SIZE: FRAME_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes,
            },
        )
        self._h2.max_inbound_frame_size = FRAME_BYTES
        self._h2.decoder.max_header_list_size = header_bytes
        self._settled = False
        self._trailers: tuple[Header, ...] = ()
        self._rest = b""  # of a frame that is not complete
        self.failed = False

    def start(self) -> None:
        """Say hello."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - self._h2.inbound_flow_control_window)

    def ask(self, fields: Sequence[Header]) -> int:
        """Open a stream, whose number it is that is returned; names are in lower case."""
        stream: int = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, fields)
        return stream

    def receive(self, data: bytes) -> Iterator[Event]:
        """What the server's bytes mean, a frame at a time. To be iterated to its end."""
        data, at = self._rest + data, 0
        try:
            while not self.failed and len(data) - at >= HEAD_BYTES:
                length = HEAD_BYTES + int.from_bytes(data[at : at + 3], "big")
                if length > HEAD_BYTES + FRAME_BYTES:
                    raise FrameTooLargeError(f"a frame has at most {FRAME_BYTES} bytes here")
                if len(data) - at < length:
                    break
                frame = Frame.of(data[at : at + length])
                at += length
                yield from self._happened(frame)
            self._rest = data[at:]
        except ProtocolError as error:
            self.failed = True
            if not self._is_over:  # h2 has told the server of what it has found itself
                self.goaway(int(error.error_code))
            yield Failed(int(error.error_code), str(error) or type(error).__name__)

    def _happened(self, frame: Frame) -> Iterator[Event]:
        if frame.kind == GOAWAY:
            last = int.from_bytes(frame.data[HEAD_BYTES : HEAD_BYTES + 4], "big") & LAST_STREAM
            ours = self._h2.highest_outbound_stream_id
            if ours > last:
                yield Reset(ours, REFUSED_STREAM, True)
        for event in self._h2.receive_data(frame.harmless()):
            told = self._told(event)
            if told is not None:
                yield told

    def _told(self, event: Any) -> Event | None:
        match event:
            case theirs.RemoteSettingsChanged() if not self._settled:
                self._settled = True
                return Settled(self._h2.remote_settings.enable_connect_protocol == 1)
            case theirs.RemoteSettingsChanged():
                return Opened(0)
            case theirs.ResponseReceived() | theirs.InformationalResponseReceived():
                (_, status), *fields = event.headers
                if not status.isdigit():
                    raise ProtocolError("the status of the answer is no number")
                return Answered(event.stream_id, int(status), _plain(fields))
            case theirs.DataReceived():
                return Data(event.stream_id, event.data, event.flow_controlled_length)
            case theirs.TrailersReceived():
                self._trailers = _plain(event.headers)
            case theirs.StreamEnded():
                return Ended(event.stream_id, self._trailers)
            case theirs.StreamReset():
                return Reset(event.stream_id, int(event.error_code), event.remote_reset)
            case theirs.WindowUpdated():
                return Opened(event.stream_id)
        return None

    def may_send(self, stream: int) -> int:
        """How many bytes of a stream may go into one frame now."""
        return min(int(self._h2.local_flow_control_window(stream)), FRAME_BYTES)

    def send(self, stream: int, data: bytes, ended: bool) -> None:
        """Send one frame of it, no longer than `may_send`."""
        self._h2.send_data(stream, data, end_stream=ended)

    def goaway(self, code: int) -> None:
        """Say goodbye; it is the last that is said."""
        self._h2.close_connection(code)

    def take_output(self) -> bytes:
        """What is to be sent."""
        output: bytes = self._h2.data_to_send()
        return output


def _plain(fields: Iterable[tuple[Any, Any]]) -> tuple[Header, ...]:
    """Of h2's own types of pairs and bytes, ordinary ones."""
    return tuple((bytes(name), bytes(value)) for name, value in fields)
