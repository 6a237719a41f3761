"""An engine without a connection around it; what it does on a wire is in `conformance/test_rfc9113_*.py`."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hpack import Decoder
from twisted.internet.task import Clock

import switchd
from switchd import calm, engine
from switchd import frames as h2frames
from switchd.calm import Bucket
from switchd.engine import Acknowledged, Asked, Data, Ended, Engine, Failed, Farewell, Opened, Ponged, Reset
from tests import frames
from tests.frames import (
    ACK,
    CANCEL,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET,
    HELLO,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    data,
    goaway,
    headers,
    opening,
    padded,
    payload,
    ping,
    raw,
    request,
    reset,
    update,
)
from tests.serving import Site

pytestmark = pytest.mark.usefixtures("http2_engine")

PACKAGE = Path(switchd.__file__).parent


def new(streams: int = 100, clock: Clock | None = None) -> Engine:
    return engine.named(Site.http2_engine)(streams, 16_384, (Clock() if clock is None else clock).seconds)


def started(streams: int = 100, clock: Clock | None = None, settings: bytes | None = None) -> Engine:
    made = new(streams, clock)
    made.start(settings)
    assert list(made.receive(HELLO)) == [Opened(0)]
    made.take_output()
    return made


def told(made: Engine, *data: bytes) -> list[engine.Event]:
    return list(made.receive(b"".join(data)))


ALLOWED = {
    "asking.py": {"h2"},  # the client's side, of which nothing private is touched
    "compression.py": {"hpack"},
    "hyper.py": {"h2", "hpack", "hyperframe"},
    "wrapping.py": {"h2"},
}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_h2_and_what_belongs_to_it_is_imported_where_it_is_wrapped(path: Path) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    allowed = ALLOWED.get(path.name, set())
    assert names & {"h2", "hpack", "hyperframe"} <= allowed


def test_its_codes_are_those_of_section_7() -> None:
    for name in ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "SETTINGS_TIMEOUT", "FRAME_SIZE_ERROR"):
        assert getattr(h2frames, name) == getattr(frames, name)
    for name in ("REFUSED_STREAM", "CANCEL", "ENHANCE_YOUR_CALM", "HTTP_1_1_REQUIRED"):
        assert getattr(h2frames, name) == getattr(frames, name)
    assert engine.PREFACE == PREFACE


# Events


def test_a_request_its_body_and_its_trailers() -> None:
    made = started()
    fields = request((b":method", b"POST"))
    assert told(made, opening(1)) == [Asked(1, fields)]
    assert told(made, data(1, b"ab"), padded(1, b"c", 9)) == [Data(1, b"ab", 2), Data(1, b"c", 11)]
    assert told(made, headers(1, [(b"a", b"b")])) == [Ended(1, ((b"a", b"b"),))]
    assert told(made, headers(3)) == [Asked(3, GET), Ended(3)]
    assert told(made, opening(5), data(5, b"", END_STREAM)) == [Asked(5, fields), Data(5, b"", 0), Ended(5)]
    assert made.last_stream == 5


def test_trailers_are_those_of_the_frame_that_brought_them() -> None:
    made = started()
    told(made, opening(1), opening(3), reset(3))
    assert told(made, headers(3, [(b"stale", b"1")])) == []
    assert told(made, data(1, b"", END_STREAM)) == [Data(1, b"", 0), Ended(1)]


def test_who_has_reset_a_stream() -> None:
    made = started()
    told(made, headers(1), headers(3), headers(5))
    assert told(made, reset(1, 0xFACE)) == [Reset(1, 0xFACE, True)]
    assert told(made, data(3)) == [Reset(3, STREAM_CLOSED, False)]
    assert told(made, update(5, 1)) == [Opened(5)]


def test_what_is_about_the_connection() -> None:
    made = started()
    assert told(made, raw(frames.SETTINGS, flags=ACK)) == [Acknowledged()]
    assert told(made, update(0, 1)) == [Opened(0)]
    assert told(made, ping()) == []
    assert told(made, goaway()) == [Farewell()]
    assert told(made, goaway()) == [Farewell()]


def test_a_pong_is_told_if_it_was_asked_for_once() -> None:
    made = started()
    assert told(made, ping(b"switchd.", ACK)) == []
    made.ping()
    assert told(made, ping(b"12345678", ACK), ping(b"switchd.", ACK), ping(b"switchd.", ACK)) == [Ponged()]


def test_what_is_done_about_an_event_comes_before_the_next_frame() -> None:
    made = started()
    for event in made.receive(opening(1) + data(1, b"x") + headers(3)):
        if event == Asked(1, request((b":method", b"POST"))):
            made.reset(1, CANCEL)
        else:
            assert event in (Asked(3, GET), Ended(3))


def test_nothing_comes_after_a_failure() -> None:
    made = started()
    failed = told(made, headers(1), raw(PING), headers(3))[-1]
    assert isinstance(failed, Failed)
    assert made.failed
    assert made.last_stream == 1
    (last,) = frames.read(made.take_output())
    assert (last.last_stream_id, last.error_code) == (1, failed.code)


def test_nor_after_one_that_came_of_what_was_done() -> None:
    made = started()
    seen = 0
    failed = None
    for event in made.receive(b"".join(map(headers, range(1, 10_000, 2)))):
        if isinstance(event, Asked):
            seen += 1
            failed = made.reset_for(event.stream, h2frames.REFUSED_STREAM)
    assert seen == calm.RESETS[0] + 1
    assert failed is not None
    assert failed.code == ENHANCE_YOUR_CALM


def test_a_wrong_preface_is_a_failure_at_its_first_wrong_byte() -> None:
    for index in range(len(PREFACE)):
        made = new()
        made.start()
        assert told(made, PREFACE[:index]) == []
        (failed,) = told(made, b"\0")
        assert isinstance(failed, Failed)
        assert failed.code == PROTOCOL_ERROR


# Output


def test_what_is_said_goes_out_in_that_order() -> None:
    made = started()
    told(made, headers(1), headers(3))
    made.respond(1, 200, [], True)
    made.goaway(h2frames.LAST_STREAM, NO_ERROR)
    made.ping()
    made.goaway(3, NO_ERROR)
    made.respond(3, 204, [(b"a", b"b")], True)
    kinds = [type(frame).__name__ for frame in frames.read(made.take_output())]
    assert kinds == ["HeadersFrame", "GoAwayFrame", "PingFrame", "GoAwayFrame", "HeadersFrame"]
    assert made.take_output() == b""


def test_a_farewell_never_takes_back_the_one_before() -> None:
    made = started()
    for last in (7, 9, 5, h2frames.LAST_STREAM):
        made.goaway(last, NO_ERROR)
    assert [frame.last_stream_id for frame in frames.read(made.take_output())] == [7, 7, 5, 5]


def test_streams_are_answered_after_farewells() -> None:
    made = started()
    told(made, opening(1), goaway())
    made.goaway(h2frames.LAST_STREAM, NO_ERROR)
    assert told(made, data(1, b"x"), headers(3)) == [Data(1, b"x", 1), Asked(3, GET), Ended(3)]
    made.respond(3, 200, [], False)
    made.send(3, b"body", True)
    assert frames.read(made.take_output())[-1].data == b"body"


def test_h2c_by_upgrade() -> None:
    made = started(settings=payload((frames.INITIAL_WINDOW_SIZE, 5)))
    assert made.last_stream == 1
    assert made.may_send(1) == 5
    made.respond(1, 200, [], False)
    made.send(1, b"12345", True)
    assert told(made, headers(3)) == [Asked(3, GET), Ended(3)]


def test_what_may_be_sent_is_the_least_of_windows_and_frame() -> None:
    made = started()
    told(made, headers(1), update(1, 1_000_000))
    made.respond(1, 200, [], False)
    assert made.may_send(1) == 16_384
    for _ in range(3):
        made.send(1, b"x" * 16_384, False)
    assert made.may_send(1) == 65_535 - 3 * 16_384
    told(made, frames.settings((frames.INITIAL_WINDOW_SIZE, 0)), update(0, 1_000_000))
    assert made.may_send(1) == 16_384
    told(made, headers(3))
    assert made.may_send(3) == 0


def test_a_window_is_opened_by_half_of_it_at_once_or_by_less_if_the_client_waits() -> None:
    made = started()
    told(made, opening(1), opening(3), *[data(1, bytes(16_384))] * 15, data(1, bytes(16_383)))
    made.consumed(1, 2000)
    assert made.take_output() == b""
    told(made, data(1, b"x"))
    made.consumed(1, 1)
    assert made.take_output() == update(1, 2001)
    made.consumed(1, engine.STREAM_WINDOW // 2 - 1)
    assert made.take_output() == b""
    made.consumed(1, 1)
    assert made.take_output() == update(1, engine.STREAM_WINDOW // 2)
    told(made, *[data(3, bytes(16_384))] * 16, reset(1))
    made.consumed(1, engine.STREAM_WINDOW // 2 - 2001)
    made.consumed(3, engine.STREAM_WINDOW)
    assert made.take_output() == update(0, engine.CONNECTION_WINDOW // 2) + update(3, engine.STREAM_WINDOW)


@pytest.mark.parametrize("wrong", [1, 2])
def test_no_more_than_is_allowed_can_be_sent_nor_anything_after_the_end(wrong: int) -> None:
    made = started()
    told(made, headers(1))
    made.respond(1, 200, [], False)
    with pytest.raises(Exception):  # noqa: B017, PT011  # a fault of ours: the engine's own
        made.send(1, bytes(16_384 + 1), False)
    made.send(1, b"", True)
    with pytest.raises(Exception):  # noqa: B017, PT011
        made.send(1, b"", True) if wrong == 1 else made.respond(1, 200, [], True)


def test_a_long_head_is_sent_in_fragments() -> None:
    made = started()
    told(made, headers(1))
    made.respond(1, 200, [(b"a", bytes(range(32, 127)) * 500)], False)
    sent = frames.read(made.take_output())
    assert [type(frame).__name__ for frame in sent] == ["HeadersFrame", "ContinuationFrame", "ContinuationFrame"]
    assert [set(frame.flags) for frame in sent] == [set(), set(), {"END_HEADERS"}]
    fields = Decoder(1 << 20).decode(b"".join(frame.data for frame in sent), raw=True)
    assert dict(fields) == {b":status": b"200", b"a": bytes(range(32, 127)) * 500}


def test_a_client_is_told_of_the_size_of_the_table_though_it_says_so_twice() -> None:
    made = started()
    decoder = Decoder()
    answer = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")]
    for number, sizes in ((1, [100]), (3, [4096, 65_536]), (5, [])):
        told(made, *[frames.settings((frames.HEADER_TABLE_SIZE, size)) for size in sizes], headers(number))
        made.respond(number, 200, answer, True)
        fields = decoder.decode(frames.read(made.take_output())[-1].data, raw=True)
        assert [tuple(field) for field in fields] == [(b":status", b"200"), *answer]


@pytest.mark.parametrize(("sizes", "said"), [([100, 0], b"\x20"), ([0, 100], b"\x20\x3f\x45"), ([100], b"\x3f\x45")])
def test_a_client_is_told_of_the_smallest_size_of_the_table_and_of_the_last(sizes: list[int], said: bytes) -> None:
    made = started()
    told(made, *[frames.settings((frames.HEADER_TABLE_SIZE, size)) for size in sizes], headers(1))
    made.respond(1, 200, [], True)
    assert frames.read(made.take_output())[-1].data == said + b"\x88"


def test_an_increment_that_is_cut_short_is_an_error() -> None:
    made = started()
    assert isinstance(told(made, raw(frames.WINDOW_UPDATE, 0, b"\x80"))[-1], Failed)


# Counting


def test_a_bucket_allows_a_burst_and_then_a_rate() -> None:
    bucket = Bucket(3, 2)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    bucket = Bucket(3, 2)
    assert all(bucket.take(1000) for _ in range(3))
    assert bucket.take(1000.5)
    assert not bucket.take(1000.5)


def test_a_bucket_never_refills_over_its_burst_and_keeps_what_it_was_given() -> None:
    bucket = Bucket(3, 2)
    bucket.take(0)
    bucket.give(4)
    assert [bucket.take(1000) for _ in range(7)] == [True] * 6 + [False]


def test_a_bucket_can_be_given_only_so_much() -> None:
    bucket = Bucket(0, 0)
    bucket.give(10 * calm.MOST_CREDIT)
    bucket.give(1)
    assert bucket._left == calm.MOST_CREDIT


@pytest.mark.parametrize(
    ("content", "flags", "is_empty"),
    [
        (b"", 0, True),
        (b"x", 0, False),
        (b"", PADDED, True),
        (b"\0", PADDED, True),
        (b"\0x", PADDED, False),
        (b"\2ab", PADDED, True),
        (b"\1ab", PADDED, False),
        (b"\xffab", PADDED, True),
    ],
)
def test_padding_is_no_content(content: bytes, flags: int, is_empty: bool) -> None:
    assert h2frames.Frame.of(raw(frames.DATA, 1, content, flags)).is_empty is is_empty


def test_the_end_of_a_body_is_not_idle() -> None:
    counts = calm.Calm(Clock().seconds, 1000)
    for _ in range(2 * calm.IDLE_FRAMES[0]):
        counts.before(h2frames.Frame.of(data(1, b"", END_STREAM)), False)
        counts.before(h2frames.Frame.of(data(1, b"x")), False)
        counts.before(h2frames.Frame.of(headers(1)), False)


def test_old_streams_are_forgotten() -> None:
    made = started()
    for number in range(1, 4 * engine.CLOSED_STREAMS, 2):
        told(made, headers(number))
        made.respond(number, 204, [], True)
    inside: Any = made
    if Site.http2_engine == "h2":
        assert len(inside._h2._closed_streams) == engine.CLOSED_STREAMS
        assert len(inside._h2.streams) == 1
    else:
        assert len(inside._closed) == engine.CLOSED_STREAMS
        assert len(inside._streams) == 0


def test_a_stream_that_is_remembered_has_ended_and_one_that_is_forgotten_never_was() -> None:
    for number, code in ((4 * engine.CLOSED_STREAMS - 1, STREAM_CLOSED), (1, PROTOCOL_ERROR)):
        made = started()
        for opened in range(1, 4 * engine.CLOSED_STREAMS, 2):
            told(made, headers(opened))
            made.respond(opened, 204, [], True)
        (failed,) = told(made, headers(number))
        assert isinstance(failed, Failed)
        assert failed.code == code


def test_secrets_enter_no_table() -> None:
    made = started()
    told(made, headers(1))
    made.respond(1, 200, [(b"set-cookie", b"a=b"), (b"x-open", b"1")], True)
    decoder = Decoder()
    (frame,) = frames.read(made.take_output())
    fields: Any = decoder.decode(frame.data, raw=True)
    assert [field.indexable for field in fields] == [True, False, True]
    assert (b"set-cookie", b"a=b") not in decoder.header_table.dynamic_entries
