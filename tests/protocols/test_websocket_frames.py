"""Messages that go past autobahn's frame by frame processing: what comes of them is what would have come of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerProtocol
from hypothesis import given, settings
from hypothesis import strategies as st

from switchd.protocols.websocket import frames, masks
from switchd.protocols.websocket.frames import BINARY, CLOSE, PING, PONG, TEXT, is_growing, missing, whole
from switchd.protocols.websocket.frames import frame as written
from tests.websockets import HANDSHAKE, Client, frame, site

ECHO = "switchd.protocols.websocket:Echo"
LENGTHS = (0, 1, 3, 4, 5, 125, 126, 127, 191, 192, 193, 1000, 65535, 65536, 70_000)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_message_is_read_as_it_is_written(length: int) -> None:
    payload = bytes(index % 251 for index in range(length))
    data = frame(payload, 2) + frame(b"\xc3\xa4")
    assert list(whole(data, 100_000)) == [(BINARY, payload, len(data) - 8), (TEXT, "ä".encode(), len(data))]
    head = written(BINARY, payload)[: -length or None]
    assert written(BINARY, payload) == head + payload
    assert head == frame(payload, 2, masked=False)[: len(head)]


@pytest.mark.parametrize("lacks", [("websockets.speedups",), ("websockets.speedups", "_nvx_xormasker")])
@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_read_without_compiled_maskers_too(
    length: int, lacks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lacks:
        monkeypatch.setitem(sys.modules, name, None)
    for name, value in zip(("_SMALL", "_unmask_short", "_unmask_long"), masks.quickest(), strict=True):
        monkeypatch.setattr(frames, name, value)
    payload = bytes(index % 251 for index in range(length))
    assert [found for _, found, _ in frames.whole(frame(payload, 2) * 2, 100_000)] == [payload, payload]


@given(st.binary(max_size=400), st.binary(min_size=4, max_size=4))
def test_it_is_unmasked(payload: bytes, mask: bytes) -> None:
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    head = frame(payload, 2)[: -4 - len(payload)]
    assert list(whole(head + mask + masked, 1000)) == [(BINARY, payload, len(head) + 4 + len(payload))]


@pytest.mark.parametrize(
    "data",
    [
        frame(b"a", masked=False),
        frame(b"a", fin=False),
        frame(b"a", 0),
        frame(b"a", 8),
        frame(b"a", 9, fin=False),
        frame(b"a" * 126, 9),
        frame(b"a", 11),
        frame(b"a", rsv=4),
        frame(b"\xff"),
        frame(b"\xc3"),
        frame(b"x" * 11),
        frame(b"ab")[:-1],
        b"\x81\xfe\x00\x01" + bytes(5),
        b"\x82\xff" + bytes(8) + bytes(4),
        b"\x82",
        b"",
    ],
)
def test_it_stops_in_front_of_everything_else(data: bytes) -> None:
    assert list(whole(frame(b"first") + data, 10)) == [(TEXT, b"first", 11)]


def test_control_frames_are_read_too_whatever_a_message_may_have() -> None:
    data = frame(b"ping" * 10, 9) + frame(b"", 10) + frame(b"\x03\xe8bye", 8)
    assert list(whole(data, 3)) == [(PING, b"ping" * 10, 46), (PONG, b"", 52), (CLOSE, b"\x03\xe8bye", len(data))]


@pytest.mark.parametrize("length", LENGTHS)
def test_only_what_can_become_a_binary_message_is_waited_for(length: int) -> None:
    data = frame(bytes(length), 2)
    for cut in {0, 1, 2, 3, 4, 9, 10, 13, 14, len(data) - 1}:
        if cut < len(data):
            assert is_growing(data[:cut], 70_000), cut
    assert not is_growing(data, 70_000)
    if length > 10_000:
        assert not is_growing(data[:20], 10_000)
    if length > 2:
        assert not is_growing(frame(b"x" * length)[:7], 70_000)


@pytest.mark.parametrize("data", [frame(b"ab", 2, masked=False)[:3], b"\x82\xfe\x00\x01", frame(b"ab", 9)[:3]])
def test_what_breaks_a_rule_is_not_waited_for(data: bytes) -> None:
    assert not is_growing(data, 1000)


class Quick(WebSocketServerProtocol):
    made: list[Any] = []

    def onOpen(self) -> None:
        self.calls: list[Any] = []
        self.made.append(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append((payload, isBinary))
        self.sendMessage(payload, isBinary)
        if payload == b"bye":
            self.sendClose(1000, "bye")
        if payload == b"boom":
            raise ZeroDivisionError

    def onPing(self, payload: bytes) -> None:
        self.calls.append(payload)
        super().onPing(payload)

    def onClose(self, *arguments: Any) -> None:
        self.calls.append(arguments)


class Slow(Quick):
    """Wants to see frames, and so takes the other way."""

    made: list[Any] = []

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)


messages = st.sampled_from([0, 1, 4, 125, 126, 193, 1000, 4000]).flatmap(
    lambda length: st.sampled_from(
        [frame(b"x" * length), frame(bytes(length), 2), frame("ä".encode() * (length // 2)), frame(b"y" * length, 2)]
    )
)
others = st.sampled_from(
    [
        frame(b"ping", 9),
        frame(b"pong", 10),
        frame(b"a", fin=False) + frame(b"", 0, fin=False) + frame(b"in", 9) + frame(b"b", 0),
        frame(b"bye"),
        frame(b"\x03\xe8bye", 8),
        frame(b"\xff"),
        frame(b"a", rsv=4),
        frame(b"a", masked=False),
        frame(b"a", 3),
        frame(b"a", 0),
        frame(b"z" * 5001, 2),
        b"\x81\xfe\x00\x01" + bytes(5),
    ]
)
streams = st.lists(st.one_of(messages, messages, messages, others), max_size=12).map(b"".join)


def outcome(cls: type[Any], segments: list[bytes], **options: Any) -> Any:
    cls.made.clear()
    wire = site(cls, max_message_bytes=5000, **options).connect()
    wire.send(HANDSHAKE % (b"/ws", b""))
    for segment in segments:
        wire.send(segment)
    (handler,) = cls.made
    statistics = json.loads(str(handler.trafficStats))
    return wire.received, handler.calls, handler.state, statistics, wire.closed, wire.transport.sent_eof


@settings(max_examples=300, deadline=None)
@given(streams, st.lists(st.integers(0, 20_000), max_size=6))
def test_both_ways_come_to_the_same(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    segments = [stream[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert outcome(Quick, segments) == outcome(Slow, segments)


def test_byte_by_byte_too() -> None:
    stream = frame(b"a" * 200) + frame(bytes(130), 2) + frame(b"p", 9) + frame(b"\xc3\xa4") + frame(b"bye")
    segments = [stream[index : index + 1] for index in range(len(stream))]
    assert outcome(Quick, segments) == outcome(Slow, segments)


def test_a_handler_that_raises_has_seen_each_message_once(logged: list[type[BaseException]]) -> None:
    segments = [frame(b"one") + frame(b"boom") + frame(b"two"), frame(b"three")]
    got = outcome(Quick, segments)
    assert got == outcome(Slow, segments)
    assert [call[0] for call in got[1]] == [b"one", b"boom"]
    assert logged == [ZeroDivisionError] * 2


def test_answers_to_one_segment_leave_in_one_write() -> None:
    client = Client(site(Quick, ping_seconds=0))
    writes: list[int] = []
    transport = client.wire.transport
    write = transport.write

    def noting(data: bytes) -> None:
        writes.append(len(data))
        write(data)

    vars(transport)["write"] = noting
    client.send_raw(frame(b"x") * 100)
    assert writes == [300]
    client.send_raw(frame(bytes(3000), 2) * 30)
    assert max(writes) < 70_000
    assert len(client.messages) == 130


def test_who_listens_for_messages_hears_them() -> None:
    heard: list[bytes] = []

    class Listens(WebSocketServerProtocol):
        def onOpen(self) -> None:
            self.on("message", lambda payload, is_binary: heard.append(payload))

    client = Client(site(Listens))
    client.text("a")
    assert heard == [b"a"]


def test_who_overrides_sending_is_called() -> None:
    class Shouts(WebSocketServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

        def sendMessage(self, payload: bytes, *arguments: Any, **keywords: Any) -> None:
            super().sendMessage(payload.upper(), *arguments, **keywords)

    client = Client(site(Shouts))
    client.text("a")
    assert client.messages == ["A"]


@pytest.mark.parametrize("length", LENGTHS)
def test_what_a_frame_lacks(length: int) -> None:
    data = frame(bytes(length), 2)
    known = 2 if length < 126 else 4 if length < 65536 else 10
    for there in (0, 1, 2, 3, 4, 9, 10, 13, len(data) // 2, len(data) - 1, len(data)):
        if there <= len(data):
            assert missing(data[:there]) == (len(data) - there if there >= known else 0)
    assert missing(data + b"more") == -4


@pytest.mark.parametrize("size", [65536, 65535, 20_000, 65551])
def test_long_messages_are_the_same_however_they_are_cut(size: int) -> None:
    messages = [bytes([number]) * length for number, length in enumerate([70_000, 65536, 3, 98_304, 0, 200_000, 65536])]
    stream = b"".join(frame(message, 2) for message in messages)
    client = Client(site(ECHO))
    for at in range(0, len(stream), size):
        client.wire.send(stream[at : at + size])
    client.look()
    assert client.messages == messages
