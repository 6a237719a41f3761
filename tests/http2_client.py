"""HTTP/2 over an in-memory wire, with h2's client side: it checks what it is sent, and shares nothing with our engine.

    client = Client(site(resource))
    answer = client.get("/path")
    assert (answer.status, answer.body) == (200, b"...")

What h2 cannot be asked is read off the frames (`Client.frames`); nor does it hear of GOAWAY, after which it would take
nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import h11
from attrs import define, field
from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from switchd.interfaces import Context, Header
from switchd.negotiation import Entry
from switchd.protocols.h2c import H2c
from switchd.testing import Wire
from tests.serving import Site

WIDE = {SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30}
"""Settings of a client that keeps the windows of its streams wide open."""


def site(root: Any = None, settings: str = "", entries: Sequence[Entry] = (), clock: Any = None) -> Site:
    """A server that speaks HTTP/2 everywhere, by upgrade and by prior knowledge."""
    made = Site(clock=clock)
    switch = H2c(H2c.Options(), Context(made.clock, "/", Path()))
    return Site([Entry("/", "h2c", (b"h2c",), switch), *entries], root, settings, made.clock)


MADE: list[Client] = []
"""The clients that a test has made, for whoever looks after them (`end_all`)."""


def end_all() -> None:
    """End the connections of all clients, and see that nothing is left of them."""
    ended, MADE[:] = MADE[:], []
    for client in ended:
        if not client.wire.closed:
            client.wire.reset()
    for client in ended:
        assert client.site.factory.connections == set()
        assert client.wire.clock.getDelayedCalls() == []


@define
class Answer:
    """What has come on one stream.

    Attributes:
        informational: Heads with a status below 200.
        reset: The error code with which the server has cut it.
    """

    stream: int
    headers: list[Header] = field(factory=list)
    content: bytearray = field(factory=bytearray)
    ended: bool = False
    reset: int | None = None
    informational: list[int] = field(factory=list)

    @property
    def status(self) -> int:
        """The status code; 0 while there is none."""
        return int(dict(self.headers).get(b":status", 0))

    @property
    def body(self) -> bytes:
        """The content that has come."""
        return bytes(self.content)

    @property
    def fields(self) -> dict[bytes, bytes]:
        """The header fields."""
        return joined(self.headers)


def joined(headers: Iterable[Header]) -> dict[bytes, bytes]:
    """Header fields by name; those that come more than once are joined."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b", " + value if name in found else value
    return found


class Client:
    """A client.

    Args:
        server: Whom it connects to, at once.
        settings: Its settings besides h2's own.
        kind: What it connects over.
        upgrade: The head of an HTTP/1.1 request without `Connection`, `Upgrade` and `HTTP2-Settings`, which are added:
            its answer is that of stream 1. None: prior knowledge.
        body: That request's body.
        early: Send the preface together with it, which nothing forbids.
        talks: Whether it acknowledges settings and pings by itself.
        credit: By how much it opens the window of the connection at once.

    Attributes:
        frames: Everything that has come, in order.
        goaways: The farewells among them: last stream and error code.
        reads: Whether it gives back the windows of what comes.
    """

    def __init__(
        self,
        server: Site,
        settings: dict[Any, int] | None = None,
        kind: Callable[..., Wire] = Wire,
        upgrade: bytes | None = None,
        body: bytes = b"",
        early: bool = False,
        talks: bool = True,
        credit: int = 1 << 30,
    ) -> None:
        MADE.append(self)
        self.site = server
        self.wire = server.connect(kind)
        self.answers: dict[int, Answer] = {}
        self.frames: list[Frame] = []
        self.goaways: list[tuple[int, int]] = []
        self.reads = True
        self.h2 = H2Connection(H2Configuration(header_encoding=None))
        self._talks = talks
        self._early = early
        self._rest = b""
        self._output = b""
        self.h2.local_settings = Settings(True, {SettingCodes.ENABLE_PUSH: 0, **(settings or {})})
        if upgrade is None:
            self.h2.initiate_connection()
        else:
            self._upgrade(upgrade, body)
        if credit:
            self.h2.increment_flow_control_window(credit)
        self.talk()

    def _upgrade(self, head: bytes, body: bytes) -> None:
        offer = self.h2.initiate_upgrade_connection()
        assert offer is not None
        fields = b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: %b\r\n" % offer.rstrip(b"=")
        self.wire.send(head + fields + b"\r\n" + body + (self.output() if self._early else b""))
        self.switched, _, rest = self.wire.take().partition(b"\r\n\r\n")
        self.answers[1] = Answer(1)
        self._take(rest)

    @property
    def session(self) -> Any:
        """The server's end."""
        (connection,) = self.site.factory.connections
        return connection.protocol

    # Requests

    def ask(
        self, path: str = "/", method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes | None = b""
    ) -> Answer:
        """Put a request with its body into the output. A body of None is not ended, and is for `send` to send."""
        answer = Answer(self.h2.get_next_available_stream_id())
        self.answers[answer.stream] = answer
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "example.org"), (":path", path)]
        self.h2.send_headers(answer.stream, [*pseudo, *headers], end_stream=body == b"")
        if body:
            self.send(answer.stream, body, ended=True)
        return answer

    def tunnel(
        self, path: str = "/", token: str = "shout", headers: Iterable[tuple[str, str]] = (), ended: bool = False
    ) -> Answer:
        """Ask for a switch by extended CONNECT, and let everything happen."""
        answer = Answer(self.h2.get_next_available_stream_id())
        self.answers[answer.stream] = answer
        pseudo = [(":method", "CONNECT"), (":protocol", token), (":scheme", "http"), (":authority", "example.org")]
        self.h2.send_headers(answer.stream, [*pseudo, (":path", path), *headers], end_stream=ended)
        self.talk()
        return answer

    def tell(self, answer: Answer, data: bytes = b"", ended: bool = False) -> None:
        """Send bytes on a stream, and let everything happen."""
        self.h2.send_data(answer.stream, data, end_stream=ended)
        self.talk()

    def send(self, stream: int, data: bytes, ended: bool = False) -> int:
        """Put a part of a request's body into the output, as much as the windows allow. How much that was."""
        sent = 0
        while sent < len(data):
            self.talk()
            room = min(self.h2.local_flow_control_window(stream), 16384, len(data) - sent)
            if room <= 0:
                break
            is_all = ended and sent + room == len(data)
            self.h2.send_data(stream, data[sent : sent + room], end_stream=is_all)
            sent += room
        return sent

    def get(
        self, path: str = "/", method: str = "GET", headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> Answer:
        """Ask, and let everything happen."""
        answer = self.ask(path, method, headers, body)
        self.talk()
        return answer

    def cut(self, answer: Answer, code: int = 8) -> None:
        """Reset a stream."""
        self.h2.reset_stream(answer.stream, code)
        self.talk()

    # The wire

    def talk(self) -> None:
        """Exchange bytes until neither side has any left."""
        while True:
            self._take(self.wire.take())
            data = self.output()
            if not data:
                return
            self.wire.send(data)

    def output(self) -> bytes:
        """What it would send now; the caller is to send it."""
        data, self._output = self._output + self.h2.data_to_send(), b""
        return data

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self.wire.clock.advance(seconds)
        self.wire.turn()
        self.talk()

    def of(self, kind: type[Any], stream: int | None = None) -> list[Any]:
        """The frames of one type."""
        return [one for one in self.frames if isinstance(one, kind) and stream in (None, one.stream_id)]

    @property
    def order(self) -> list[int]:
        """On which streams DATA came, one number a frame."""
        return [frame.stream_id for frame in self.of(DataFrame)]

    def _take(self, data: bytes) -> None:
        self._rest += data
        while len(self._rest) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._rest[:9]))
            if len(self._rest) < 9 + length:
                return
            whole, self._rest = self._rest[: 9 + length], self._rest[9 + length :]
            if not isinstance(frame, HeadersFrame):
                frame.parse_body(memoryview(whole[9:]))
            self.frames.append(frame)
            self._took(frame, whole)

    def _took(self, frame: Frame, whole: bytes) -> None:
        if isinstance(frame, GoAwayFrame):
            self.goaways.append((frame.last_stream_id, frame.error_code))
            return
        if isinstance(frame, RstStreamFrame) and frame.stream_id in self.answers:
            self.answers[frame.stream_id].reset = frame.error_code
        self._output += self.h2.data_to_send()
        found = self.h2.receive_data(whole)
        if not self._talks:
            self.h2.clear_outbound_data_buffer()
        for event in found:
            self._happened(event)

    def _happened(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived():
                self.answers[event.stream_id].headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            case events.InformationalResponseReceived():
                self.answers[event.stream_id].informational.append(int(dict(event.headers)[b":status"]))
            case events.DataReceived():
                self.answers[event.stream_id].content += event.data
                if self.reads and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case events.StreamEnded():
                self.answers[event.stream_id].ended = True


def over_http1(
    wire: Wire, method: str, path: str, headers: Iterable[tuple[str, str]], body: bytes
) -> tuple[int, dict[bytes, bytes], bytes]:
    """What a request is answered over HTTP/1.1, with h11 as the client: that with which HTTP/2 is compared.

    Returns:
        Status, header fields and content.
    """
    client = h11.Connection(h11.CLIENT)
    fields = [("Host", "example.org"), *headers]
    if body and not any(name.lower() == "content-length" for name, _ in headers):
        fields.append(("Transfer-Encoding", "chunked"))
    data = client.send(h11.Request(method=method, target=path, headers=fields)) or b""
    data += (client.send(h11.Data(data=body)) or b"") if body else b""
    wire.send(data + (client.send(h11.EndOfMessage()) or b""))
    client.receive_data(wire.take())
    head: Any = client.next_event()
    received = b""
    while isinstance(event := client.next_event(), h11.Data):
        received += event.data
    assert isinstance(event, h11.EndOfMessage)
    wire.reset()
    return head.status_code, joined(head.headers), received
