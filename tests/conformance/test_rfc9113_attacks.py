"""RFC 9113 section 10.5: floods and games. Each ends in bounded work, and no other connection notices; attack A17, A18.

That the work is bounded is seen by how many of the frames of an attack are looked at: what comes in one segment after
the frame that was too many is not, and neither is any later segment.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest
from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from twisted.internet.task import Clock

from switchd import calm, engine
from tests.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    HELLO,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PREFACE,
    PROTOCOL_ERROR,
    SETTLED,
    UNKNOWN,
    Connect,
    Peer,
    Rooms,
    block,
    data,
    headers,
    later,
    many,
    opening,
    padded,
    peers,
    ping,
    priority,
    raw,
    request,
    reset,
    settings,
    site,
    update,
)

pytestmark = pytest.mark.usefixtures("http2_engine")

(BURST, RATE), (IDLE_BURST, IDLE_RATE) = calm.RESETS, calm.IDLE_FRAMES
LATER = block(request((b":path", b"/later")))


@pytest.fixture
def connect() -> Iterator[Connect]:
    with peers() as made:
        yield made


def streams(number: int) -> range:
    """The numbers of so many streams."""
    return range(1, 2 * number, 2)


def calmed(peer: Peer) -> bool:
    """Whether an attack is over, and only for the attacker."""
    other = Peer(peer.server)
    other.send(headers(1))
    answered = other.answers[1].status == 200
    other.wire.reset()
    return peer.failed == ENHANCE_YOUR_CALM and answered


# Streams cut short


def test_cve_2023_44487_rapid_reset(connect: Connect) -> None:
    """Requests that are reset at once: each has been begun, and never counts as open."""
    peer = connect()
    peer.send(*(headers(number, request((b":path", b"/later"))) + reset(number) for number in streams(5000)))
    assert len(peer.requests) == BURST + 1
    assert calmed(peer)


def test_cve_2023_44487_a_connection_that_is_over_reads_no_more(connect: Connect) -> None:
    peer = connect()
    for number in streams(3000):
        peer.wire.send(later(number) + reset(number))
    peer.look()
    assert peer.failed == ENHANCE_YOUR_CALM
    assert len(peer.requests) == BURST + 1


def test_cve_2023_44487_streams_that_are_refused_count_too(connect: Connect) -> None:
    peer = connect("limits.streams = 10")
    peer.send(*(later(number) for number in streams(5000)))
    assert len(peer.of(RstStreamFrame)) == BURST + 1
    assert len(peer.requests) == 10
    assert calmed(peer)


MADE = {
    "data after the end": lambda number: later(number) + data(number, b"x"),
    "fields after the end": lambda number: later(number) + headers(number),
    "a window that overflows": lambda number: later(number) + update(number, (1 << 31) - 1),
    "a body longer than it said": lambda number: opening(number, (b"content-length", b"1")) + data(number, b"xx"),
    "a body shorter than it said": lambda number: opening(number, (b"content-length", b"1")) + data(number, b"", 1),
    "a malformed request": lambda number: headers(number, request((b"te", b"gzip"))),
    "no fields at all": lambda number: raw(HEADERS, number, b"", END_HEADERS | END_STREAM),
    "malformed trailers": lambda number: opening(number) + headers(number, [(b":path", b"/")]),
}


@pytest.mark.parametrize("cut", MADE.values(), ids=MADE)
def test_cve_2025_8671_made_you_reset(connect: Connect, cut: Callable[[int], bytes]) -> None:
    """The same by making the server reset them."""
    peer = connect()
    peer.send(*map(cut, streams(2 * BURST)))
    assert calmed(peer)
    assert len(peer.of(RstStreamFrame)) <= BURST + 1


@pytest.mark.parametrize("cut", [update(1, 0), priority(1)[:2] + b"\4" + priority(1)[3:-1]], ids=["zero", "priority"])
def test_cve_2025_8671_other_ways_end_the_connection_at_once(connect: Connect, cut: bytes) -> None:
    peer = connect()
    peer.send(later(1), cut)
    assert peer.failed is not None


def test_who_cuts_100_streams_at_once_is_not_punished(connect: Connect) -> None:
    peer = connect(hello=HELLO + SETTLED)
    first = 1
    for _ in range(5):  # pages that were left, one a second
        numbers = range(first, first + 200, 2)
        peer.send(*map(later, numbers))
        peer.send(*map(reset, numbers))
        peer.let_pass(1)
        first += 200
    peer.send(headers(first))
    assert peer.answers[first].status == 200


def test_who_cuts_some_all_day_is_not_punished(connect: Connect) -> None:
    peer = connect("limits.keepalive_seconds = 3600", hello=HELLO + SETTLED)
    for number in streams(BURST + 500):
        peer.send(later(number), reset(number))
        peer.let_pass(1 / RATE)
    assert peer.works


# Frames that ask for nothing

IDLE = {
    "settings": settings(),
    "acknowledgements": SETTLED,
    "pings": ping(),
    "pongs": ping(flags=1),
    "priorities": priority(1),
    "unknown": raw(UNKNOWN),
    "priority updates of RFC 9218": raw(0x10, 0, bytes(4) + b"u=1"),
    "credit for the connection": update(0, 1),
    "credit for a stream": update(1, 1),
    "credit for a stream that is gone": update(3, 1),
    "empty data": data(5),
    "empty data with padding": padded(5, b"", 0),
    "empty data with much padding": padded(5, b"", 255),
    "data for a stream that is gone": data(3, b"x"),
    "fields for a stream that is gone": headers(3),
    "empty fields for a stream that is gone": raw(HEADERS, 3, b"", END_STREAM | END_HEADERS),
}


@pytest.mark.parametrize("frame", IDLE.values(), ids=IDLE)
def test_a17_a_flood_is_calmed(connect: Connect, frame: bytes) -> None:
    peer = connect()
    peer.send(later(1), opening(3, (b"te", b"gzip")), opening(5))
    assert peer.resets == {3: PROTOCOL_ERROR}
    sent = len(peer.frames)
    peer.send(frame * 3 * IDLE_BURST)
    assert calmed(peer)
    assert len(peer.frames) <= sent + IDLE_BURST + 20  # what answers it


@pytest.mark.parametrize("frame", [settings(), ping(), update(1, 1)], ids=["settings", "pings", "credit"])
def test_a17_a_flood_is_calmed_however_it_is_cut(connect: Connect, frame: bytes) -> None:
    for size in (7, 100, 65536):
        peer = connect()
        peer.send(later(1))
        flood = frame * (IDLE_BURST + 50)
        peer.send_each(flood[at : at + size] for at in range(0, len(flood), size))
        assert peer.failed == ENHANCE_YOUR_CALM


def test_a17_who_sends_them_all_day_is_not_punished(connect: Connect) -> None:
    peer = connect(hello=HELLO + SETTLED)
    peer.send(later(1))
    for _ in range(100):
        peer.send(ping() * (IDLE_RATE // 2), priority(1) * (IDLE_RATE // 4))
        peer.let_pass(1)
    assert peer.works


def test_cve_2019_9512_pings_of_a_client_that_does_not_read_are_not_answered_for_ever(connect: Connect) -> None:
    peer = connect()
    peer.wire.stop_reading()
    for _ in range(100):
        peer.wire.send(ping() * 100)
    assert len(peer.wire.transport._buffer) < 200_000
    peer.wire.resume_reading()
    peer.look()
    assert len(peer.of(PingFrame)) <= IDLE_BURST


def test_cve_2019_9515_settings_cost_no_more_than_others(connect: Connect) -> None:
    peer = connect()
    peer.send(*map(later, streams(100)))
    peer.send(*(settings((INITIAL_WINDOW_SIZE, 65_535 + index % 2)) for index in range(3 * IDLE_BURST)))
    assert calmed(peer)
    assert len(peer.of(SettingsFrame)) <= IDLE_BURST + 2


def test_cve_2020_11080_a_frame_has_only_so_many_of_them(connect: Connect) -> None:
    peer = connect()
    peer.send(settings(*((key, 1) for key in range(10, 10 + calm.MOST_SETTINGS + 1))))
    assert calmed(peer)


def test_settings_that_nobody_knows_are_not_kept(connect: Connect) -> None:
    """h2 would keep 65536 of them, some 50 MB, and look at each of them for each SETTINGS frame that follows."""
    peer = connect()
    inside = peer.wire.transport.protocol.engine
    before = _objects(inside)
    for start in range(10, 10_000, calm.MOST_SETTINGS):
        peer.send(settings(*((key, 1) for key in range(start, start + calm.MOST_SETTINGS))))
    assert peer.works
    assert _objects(inside) < before + 100


def _objects(root: object) -> int:
    """How many objects of its own something holds, in containers of any depth."""
    found: dict[int, object] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) not in found and not isinstance(one, type | FunctionType | ModuleType | Clock):
            found[id(one)] = one
            waiting += gc.get_referents(one)
    return len(found)


def test_a_table_of_any_size_that_the_client_allows_is_not_filled(connect: Connect) -> None:
    """It would be looked through for each field of each answer."""

    class Page(Rooms):
        def render(self, request: Any) -> bytes:
            request.setHeader(b"x-number", b"%d" % id(request) + b"x" * 100)
            return b""

    peer = connect(site(root=Page()), PREFACE + settings((HEADER_TABLE_SIZE, (1 << 32) - 1)))
    peer._decoder.max_allowed_table_size = 1 << 32
    for number in streams(200):
        peer.send(headers(number))
    assert peer._decoder.header_table._current_size <= engine.TABLE_BYTES


# Header fields


@pytest.mark.parametrize("size", [0, 1, 100])
@pytest.mark.parametrize("first", [b"", b"\x82"], ids=["empty", "some"])
def test_cve_2024_27316_continuation_flood(connect: Connect, first: bytes, size: int) -> None:
    peer = connect()
    peer.send(raw(HEADERS, 1, first, END_STREAM), raw(CONTINUATION, 1, b"\x82" * size) * 100)
    assert peer.failed in (PROTOCOL_ERROR, ENHANCE_YOUR_CALM)
    assert 1 not in peer.answers


def test_cve_2024_27316_what_is_kept_of_a_list_is_bounded(connect: Connect) -> None:
    peer = connect("limits.head_bytes = 8192")
    peer.send(raw(HEADERS, 1, b"x" * 16384), raw(CONTINUATION, 1, b"x" * 16384))
    assert peer.failed is None
    peer.send(raw(CONTINUATION, 1, b"x"))
    assert peer.failed == ENHANCE_YOUR_CALM


def test_a_list_that_never_ends_keeps_nobody(connect: Connect) -> None:
    peer = connect("limits.keepalive_seconds = 9", hello=HELLO + SETTLED)
    peer.send(raw(HEADERS, 1, b"\x82"))
    peer.let_pass(9)
    peer.let_pass(5)
    peer.let_pass(5)
    assert peer.wire.closed


def test_hpack_bomb(connect: Connect) -> None:
    """A field of 4000 bytes enters the table, and then is meant by each byte of a list."""
    peer = connect()
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    peer.send(raw(HEADERS, 1, block(request()) + entry, END_STREAM | END_HEADERS))
    assert peer.answers[1].status == 200
    peer.send(raw(HEADERS, 3, block(request()) + b"\xbe" * 16_000, END_STREAM | END_HEADERS))
    assert calmed(peer)


def test_as_many_fields_as_fit_in_a_frame_are_431(connect: Connect) -> None:
    peer = connect()
    peer.send(raw(HEADERS, 1, block(request()) + b"\x00\x01a\x00" * 1500, END_STREAM | END_HEADERS))
    assert peer.answers[1].status == 431


def test_changes_of_the_tables_size_are_no_fields(connect: Connect) -> None:
    peer = connect()
    for number in streams(2 * BURST):
        peer.wire.send(raw(HEADERS, number, b"\x20" * 20, END_STREAM | END_HEADERS))
    peer.look()
    assert peer.failed == ENHANCE_YOUR_CALM


def test_fields_in_many_fragments_are_no_flood(connect: Connect) -> None:
    """A proxy whose requests need a CONTINUATION each, thousands of them in a second."""
    peer = connect(hello=HELLO + SETTLED)
    fields = block(request((b":path", b"/status/204")))
    for number in streams(IDLE_BURST + 100):
        peer.wire.send(
            raw(HEADERS, number, fields[:20], END_STREAM) + raw(CONTINUATION, number, fields[20:], END_HEADERS)
        )
    peer.look()
    assert all(answer.status == 204 for answer in peer.answers.values())
    assert peer.works


# Windows


def test_cve_2019_9511_data_dribble(connect: Connect) -> None:
    """Credit for one byte at a time, so that each is sent in a frame of its own."""
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, 1)))
    peer.send(many(1, 100_000))
    for _ in range(2 * IDLE_BURST):
        peer.wire.send(update(1, 1))
    peer.look()
    assert calmed(peer)
    assert len(peer.answers[1].body) <= IDLE_BURST + 100


def test_cve_2019_9517_answers_that_are_not_read_are_bounded(connect: Connect) -> None:
    """The windows are open, and nothing is taken from the connection."""
    wide = PREFACE + settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1)) + update(0, (1 << 31) - 1 - 65_535)
    peer = connect("limits.stalled_seconds = 7", hello=wide + SETTLED)
    peer.wire.stop_reading()
    for number in streams(100):
        peer.wire.send(many(number, 1_000_000))
    assert len(peer.wire.transport._buffer) < 300_000
    peer.let_pass(7)
    assert peer.wire.closed


def test_a18_a_client_that_keeps_its_window_closed_is_left(connect: Connect) -> None:
    peer = connect("limits.stalled_seconds = 7", hello=HELLO + SETTLED)
    peer.send(many(1, 1_000_000))
    peer.let_pass(7)
    assert peer.wire.closed


@pytest.mark.parametrize(("granted", "times"), [(16_384, 1), (4096, 4), (1024, 16)])
def test_100_mb_with_credit_for_every_piece_is_no_flood(connect: Connect, granted: int, times: int) -> None:
    """One WINDOW_UPDATE for each DATA frame and window, or as Go's client does for each read of 4096 bytes, or of 1024;
    here not until a million bytes have come, and all at once."""
    total = 100_000_000 // times  # those that are more frames need less to be a flood
    window = 1_000_000
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, window)) + update(0, window - 65_535) + SETTLED)
    peer.wire.send(many(1, total))
    received = pending = 0
    while received < total:
        came = _content(peer.wire.take())
        assert came or pending
        received, pending = received + came, pending + came
        credit = b""
        while pending and (pending >= granted or received >= total):
            piece = min(granted, pending)
            credit += update(0, piece) + update(1, piece)
            pending -= piece
        peer.wire.send(credit)
    assert received == total
    assert peer.works


def _content(data: bytes) -> int:
    """How many bytes of DATA are in whole frames."""
    at = found = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 3], "big")
        found += length if data[at + 3] == 0 else 0
        at += 9 + length
    return found


def test_small_pieces_that_are_each_given_credit_for_are_no_flood(connect: Connect) -> None:
    """Events of a few bytes, thousands in a second, from a client that gives credit for each on both levels."""
    peer = connect(hello=HELLO + SETTLED)
    peer.send(later(1))
    (asked,) = peer.requests
    for _ in range(2 * IDLE_BURST):
        asked.write(b"event")
        peer.wire.turn()
        peer.wire.send(update(0, 5) + update(1, 5))
    peer.look()
    assert peer.answers[1].body == b"event" * 2 * IDLE_BURST
    assert peer.works


def test_a_priority_and_a_ping_with_each_request_are_no_flood(connect: Connect) -> None:
    """Also where no answer has content."""
    peer = connect(hello=HELLO + SETTLED)
    for number in streams(IDLE_BURST):
        peer.wire.send(headers(number, request((b":path", b"/status/204"))) + priority(number) + ping())
    peer.look()
    assert peer.works


def test_what_is_sent_again_and_again_for_an_upload_is_bounded(connect: Connect) -> None:
    """A body of frames of one byte: no more credit than bytes, and no more frames than the body's limit."""
    peer = connect("limits.body_bytes = 3000")
    peer.send(opening(1))
    peer.send(data(1, b"x") * 3001)
    assert peer.answers[1].status == 413
    assert len(peer.of(WindowUpdateFrame)) <= 2
    peer.send(data(1, b"x") * (IDLE_BURST + 50))
    assert peer.failed == ENHANCE_YOUR_CALM


def test_priorities_in_fields_cost_nothing(connect: Connect) -> None:
    peer = connect(hello=HELLO + SETTLED)
    for number in streams(IDLE_BURST + 100):
        peer.wire.send(raw(HEADERS, number, bytes(5) + LATER.replace(b"/later", b"/statu"), 0x25 | HAS_PRIORITY))
    peer.look()
    assert peer.works


def test_padding_in_fields_is_no_content(connect: Connect) -> None:
    peer = connect()
    peer.send(*(raw(HEADERS, number, b"\xff" + bytes(255), 5 | PADDED) for number in streams(3 * BURST)))
    assert peer.failed in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
