"""RFC 9113 sections 3.4 to 6: connections, streams and frames, by a client of raw frames. Rows 23 and 24."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from switchd import engine
from switchd.testing import cuts
from tests.frames import (
    ACK,
    ALTSVC,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    HELLO,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_TIMEOUT,
    SETTLED,
    STREAM_CLOSED,
    UNKNOWN,
    WINDOW_UPDATE,
    Connect,
    Peer,
    block,
    data,
    goaway,
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
from tests.serving import statuses

pytestmark = pytest.mark.usefixtures("http2_engine")


@pytest.fixture
def connect() -> Iterator[Connect]:
    with peers() as made:
        yield made


# Section 3.4: the preface


def test_3_4_row_24_the_preface_may_be_the_first_bytes_in_any_split(connect: Connect) -> None:
    for segments in cuts(PREFACE + settings() + headers(1)):
        peer = connect(hello=b"")
        peer.send_each(segments)
        assert peer.answers[1].body == b"GET / "


def test_3_4_the_servers_settings_are_its_first_frame(connect: Connect) -> None:
    for hello in (PREFACE, HELLO, HELLO + headers(1)):
        peer = connect(hello=hello)
        assert isinstance(peer.frames[0], SettingsFrame)
        assert "ACK" not in peer.frames[0].flags


def test_3_4_the_servers_settings_say_its_limits(connect: Connect) -> None:
    told = connect("limits.streams = 7\nlimits.head_bytes = 1000").settings
    assert (told[MAX_CONCURRENT_STREAMS], told[MAX_HEADER_LIST_SIZE]) == (7, 1000)
    assert told[INITIAL_WINDOW_SIZE] == engine.STREAM_WINDOW


def test_3_4_what_is_almost_the_preface_is_http_1_1(connect: Connect) -> None:
    for wrong in (PREFACE.replace(b"SM", b"sm"), PREFACE.replace(b"2.0", b"2.1"), b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        peer = connect(hello=wrong)
        assert peer.frames == []
        assert peer.wire.transport.sent_eof or peer.wire.closed


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"P", b"PR", b"PRIX"])
def test_3_4_a_method_that_starts_like_the_preface_is_http_1_1(connect: Connect, method: bytes) -> None:
    message = method + b" / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 2\r\n\r\nab"
    for segments in ([message], [message[index : index + 1] for index in range(len(message))]):
        wire = site().connect()
        for segment in segments:
            wire.send(segment)
        assert wire.received.endswith(method + b" / ab")
        wire.reset()
        assert wire.clock.getDelayedCalls() == []


def test_3_4_the_clients_first_frame_is_settings(connect: Connect) -> None:
    for first in (headers(1), ping(), raw(SETTINGS, flags=ACK), priority(1), goaway(), raw(UNKNOWN)):
        peer = connect(hello=PREFACE + first)
        assert peer.failed == PROTOCOL_ERROR
        assert 1 not in peer.answers


def test_3_4_a_client_that_says_no_more_than_the_preface_is_left(connect: Connect) -> None:
    peer = connect("limits.head_seconds = 3", hello=PREFACE)
    peer.let_pass(3)
    assert peer.failed == SETTINGS_TIMEOUT


def test_3_4_a_client_whose_preface_never_ends_is_left(connect: Connect) -> None:
    peer = connect("limits.head_seconds = 3", hello=PREFACE[:10])
    peer.let_pass(3)
    assert peer.wire.closed


# Section 4: frames


def test_4_1_a_session_is_the_same_in_any_cut(connect: Connect) -> None:
    """With everything in it that a server answers on its own; byte by byte, and in two at a hundred places."""
    whole = (
        HELLO
        + SETTLED
        + ping()
        + opening(1)
        + padded(1, b"body", 3, END_STREAM)
        + headers(3, flags=END_STREAM)
        + raw(CONTINUATION, 3, b"", END_HEADERS)
        + later(5)
        + reset(5)
        + headers(7, request((b":path", b"no path")))
        + update(0, 100)
        + raw(UNKNOWN, 9, b"anything")
    )
    expected = None
    for number, segments in enumerate(cuts(whole)):
        if number < 2 or number % 5 == 0:
            peer = connect(hello=b"")
            peer.send_each(segments)
            got = [(type(frame), frame.stream_id, frame.serialize_body()) for frame in peer.frames]
            expected = expected or got
            assert sorted(map(repr, got)) == sorted(map(repr, expected))
            assert peer.answers[1].body == b"POST / body"
            assert peer.answers[3].status == 200
            assert peer.resets == {7: PROTOCOL_ERROR}


def test_4_2_a_frame_of_16384_bytes_is_taken(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1), data(1, b"x" * 16384, END_STREAM))
    assert peer.answers[1].body == b"POST / " + b"x" * 16384


@pytest.mark.parametrize("kind", [DATA, HEADERS, SETTINGS, PING, UNKNOWN])
def test_4_2_a_longer_one_is_an_error_before_it_has_come(connect: Connect, kind: int) -> None:
    peer = connect()
    peer.send(opening(1), raw(kind, 1, b"x" * 16385)[:9])
    assert peer.failed == FRAME_SIZE_ERROR


def test_4_2_no_frame_of_ours_is_longer_than_a_client_allows_by_default(connect: Connect) -> None:
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, 1 << 30), (MAX_FRAME_SIZE, 1 << 20)))
    peer.send(update(0, 1 << 30), many(1, 100_000))
    assert len(peer.answers[1].body) == 100_000  # `frames.read` asserts the length of each


@pytest.mark.parametrize(
    "fragment", [b"\x80", b"\xff\xff\xff\xff\xff", b"\xbf\xff", b"\x40\x05abc", b"\x3f\xff\xff\x7f"]
)
def test_4_3_what_cannot_be_decompressed_ends_the_connection(connect: Connect, fragment: bytes) -> None:
    peer = connect()
    peer.send(raw(HEADERS, 1, fragment, END_HEADERS | END_STREAM))
    assert peer.failed == COMPRESSION_ERROR


def test_4_3_fields_of_a_stream_that_is_refused_are_still_in_the_table(connect: Connect) -> None:
    peer = connect("limits.streams = 1")
    # Literal with incremental indexing, by name :path; then the same by its index in the table.
    indexed = block(request(without=[b":path"])) + b"\x44\x06/found"
    peer.send(later(1), raw(HEADERS, 3, indexed, END_STREAM | END_HEADERS))
    assert peer.resets == {3: REFUSED_STREAM}
    peer.send(reset(1))
    peer.send(raw(HEADERS, 7, block(request(without=[b":path"])) + b"\xbe", END_STREAM | END_HEADERS))
    assert peer.answers[7].body == b"GET /found "


@pytest.mark.parametrize(
    "between",
    [ping(), settings(), data(1), headers(3), priority(1), reset(1), update(0, 1), goaway(), raw(UNKNOWN), raw(ALTSVC)],
    ids=lambda frame: str(frame[3]),
)
def test_4_3_nothing_comes_between_the_fragments_of_a_list(connect: Connect, between: bytes) -> None:
    peer = connect()
    peer.send(later(1), headers(3, flags=END_STREAM), between, raw(CONTINUATION, 3, b"", END_HEADERS))
    assert peer.failed == PROTOCOL_ERROR
    assert 3 not in peer.answers


def test_4_3_not_even_a_continuation_of_another_stream(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, flags=END_STREAM), raw(CONTINUATION, 3, b"", END_HEADERS))
    assert peer.failed == PROTOCOL_ERROR


# Section 5.1: streams


@pytest.mark.parametrize(
    "frame", [data(1), reset(1), update(1, 1), raw(CONTINUATION, 1, b"", END_HEADERS)], ids=lambda frame: str(frame[3])
)
def test_5_1_idle_only_headers_and_priority_may_come(connect: Connect, frame: bytes) -> None:
    peer = connect()
    peer.send(frame)
    assert peer.failed in (PROTOCOL_ERROR, STREAM_CLOSED)


def test_5_1_idle_priority_may_come(connect: Connect) -> None:
    peer = connect()
    peer.send(priority(9), headers(1))
    assert peer.answers[1].status == 200


@pytest.mark.parametrize("frame", [data(1, b"x"), headers(1)], ids=["data", "headers"])
def test_5_1_half_closed_by_the_client_what_still_comes_resets_the_stream(connect: Connect, frame: bytes) -> None:
    peer = connect()
    peer.send(later(1), later(3), frame)
    assert peer.resets == {1: STREAM_CLOSED}
    assert peer.works


def test_5_1_half_closed_by_the_client_it_may_still_be_given_credit_and_be_reset(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), update(1, 5), priority(1), reset(1))
    assert peer.resets == {}
    assert peer.works


def test_5_1_closed_by_the_client_what_still_comes_resets_it_or_is_dropped(connect: Connect) -> None:
    """After RST_STREAM only PRIORITY may come; anything else is an error of that stream, not of the others."""
    for frame in (data(1, b"x"), headers(1)):
        peer = connect()
        peer.send(later(1), later(3), reset(1), frame)
        assert peer.resets == {1: STREAM_CLOSED}
        assert peer.works


def test_5_1_closed_by_us_what_was_on_its_way_is_dropped(connect: Connect) -> None:
    """DATA, trailers, credit and a reset may have been sent before the client knew; also if newer streams have come."""
    for newer in (b"", headers(3)):
        peer = connect()
        peer.send(opening(1, (b"te", b"gzip")), newer)
        assert peer.resets == {1: PROTOCOL_ERROR}
        peer.send(data(1, b"x" * 1000), update(1, 9), headers(1, ((b"a", b"b"),)), priority(1), reset(1))
        assert peer.works
        assert peer.failed is None


def test_5_1_closed_by_an_answer_credit_and_resets_on_their_way_are_dropped(connect: Connect) -> None:
    for newer in (b"", headers(3)):
        peer = connect()
        peer.send(headers(1), newer)
        peer.send(update(1, 100), reset(1), priority(1))
        assert peer.works


def test_5_1_closed_by_an_answer_it_is_not_opened_again(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1))
    peer.send(headers(1))
    assert peer.failed == STREAM_CLOSED


def test_5_1_1_even_numbers_are_not_for_clients(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(2))
    assert peer.failed == PROTOCOL_ERROR


def test_5_1_1_numbers_only_grow(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(5), headers(3))
    assert peer.failed == PROTOCOL_ERROR
    assert peer.farewells == [(5, PROTOCOL_ERROR)]


def test_5_1_1_numbers_may_be_left_out_and_be_the_largest(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(77), headers((1 << 31) - 1))
    assert (peer.answers[77].status, peer.answers[(1 << 31) - 1].status) == (200, 200)


@pytest.mark.parametrize("frame", [headers(0), data(0), raw(RST_STREAM, 0, bytes(4)), priority(0), raw(CONTINUATION)])
def test_5_1_1_stream_0_is_the_connection_itself(connect: Connect, frame: bytes) -> None:
    peer = connect()
    peer.send(frame)
    assert peer.failed == PROTOCOL_ERROR


def test_5_1_1_the_reserved_bit_means_nothing(connect: Connect) -> None:
    peer = connect()
    frame = headers(1)
    peer.send(frame[:5] + bytes([frame[5] | 0x80]) + frame[6:])
    assert peer.answers[1].status == 200


def test_5_1_2_streams_over_the_limit_are_refused_and_no_others(connect: Connect) -> None:
    peer = connect("limits.streams = 3")
    peer.send(*(later(number) for number in (1, 3, 5, 7, 9)))
    assert peer.resets == {7: REFUSED_STREAM, 9: REFUSED_STREAM}
    peer.send(reset(3), headers(11))
    assert peer.answers[11].status == 200


# Section 5.2, 6.9: flow control


def test_5_2_no_more_is_sent_than_either_window_allows(connect: Connect) -> None:
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, 40_000)))
    peer.send(many(1, 50_000), many(3, 50_000))
    assert len(peer.answers[1].body) + len(peer.answers[3].body) == 65_535
    assert max(len(peer.answers[1].body), len(peer.answers[3].body)) <= 40_000
    peer.send(update(0, 100_000))
    assert (len(peer.answers[1].body), len(peer.answers[3].body)) == (40_000, 40_000)
    peer.send(update(3, 10_000))
    assert (len(peer.answers[1].body), peer.answers[3].ended) == (40_000, True)
    peer.send(update(1, 9_999))
    assert (len(peer.answers[1].body), peer.answers[1].ended) == (49_999, False)
    peer.send(update(1, 1))
    assert peer.answers[1].ended


def test_5_2_2_what_is_received_is_given_back_on_both_levels(connect: Connect) -> None:
    peer = connect("limits.body_bytes = 10_000_000")
    given = dict(peer.granted)
    peer.send(opening(1))
    for _ in range(100):
        peer.send(data(1, b"x" * 16384))
    assert 100 * 16384 - peer.granted[1] <= engine.STREAM_WINDOW // 2
    assert 100 * 16384 - (peer.granted[0] - given[0]) <= engine.CONNECTION_WINDOW // 2


def test_6_9_padding_and_what_is_dropped_are_given_back_too(connect: Connect) -> None:
    """Lest the connection's window is used up by what nobody reads (section 5.1)."""
    peer = connect()
    given = dict(peer.granted)
    peer.send(opening(1, (b"te", b"gzip")), opening(3))
    for _ in range(200):
        peer.send(data(1, b"x" * 10_000), padded(3, b"", 255))
    assert 200 * 10_256 - (peer.granted[0] - given[0]) <= engine.CONNECTION_WINDOW // 2


@pytest.mark.parametrize("stream", [0, 1])
def test_6_9_an_increment_of_zero_is_an_error(connect: Connect, stream: int) -> None:
    """Of the stream, or of the connection, which section 5.4 allows instead."""
    peer = connect()
    peer.send(later(1), update(stream, 0))
    assert peer.failed == PROTOCOL_ERROR


@pytest.mark.parametrize("content", [b"", bytes(3), bytes(5)])
def test_6_9_it_has_four_bytes(connect: Connect, content: bytes) -> None:
    peer = connect()
    peer.send(later(1), raw(WINDOW_UPDATE, 1, content))
    assert peer.failed == FRAME_SIZE_ERROR


def test_6_9_the_reserved_bit_means_nothing(connect: Connect) -> None:
    peer = connect()
    peer.send(many(1, 70_000), update(0, 10_000 | 1 << 31), update(1, 10_000))
    assert peer.answers[1].ended


def test_6_9_1_a_window_over_its_maximum_resets_the_stream(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), later(3), update(1, (1 << 31) - 1))
    assert peer.resets == {1: FLOW_CONTROL_ERROR}
    assert peer.works


def test_6_9_1_or_ends_the_connection(connect: Connect) -> None:
    peer = connect()
    peer.send(update(0, (1 << 31) - 1))
    assert peer.failed == FLOW_CONTROL_ERROR


def test_6_9_1_a_window_at_its_maximum_is_none(connect: Connect) -> None:
    peer = connect()
    peer.send(update(0, (1 << 31) - 1 - 65_535), later(1), update(1, (1 << 31) - 1 - 65_535))
    assert peer.works


def test_6_9_1_a_client_that_overruns_a_window_has_broken_the_connection(connect: Connect) -> None:
    server = site("limits.body_bytes = 10_000_000")
    peer = connect(server)
    peer.send(opening(1))
    stream = next(iter(_session(peer)._streams.values()))
    stream.pauseProducing()  # as one does who does not want a body
    peer.send(*(data(1, b"x" * 16384) for _ in range(16)))
    assert peer.failed is None
    peer.send(data(1, b"x"))
    assert peer.failed == FLOW_CONTROL_ERROR


def test_6_9_1_an_empty_frame_needs_no_window(connect: Connect) -> None:
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, 0)))
    peer.send(headers(1, request((b":path", b"/status/200"))))
    assert peer.answers[1].ended


def test_6_9_2_a_new_initial_window_counts_for_open_streams(connect: Connect) -> None:
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, 10)))
    peer.send(many(1, 100))
    assert len(peer.answers[1].body) == 10
    peer.send(settings((INITIAL_WINDOW_SIZE, 30)))
    assert len(peer.answers[1].body) == 30
    peer.send(settings((INITIAL_WINDOW_SIZE, 100)))
    assert peer.answers[1].ended


def test_6_9_2_which_can_make_their_windows_negative(connect: Connect) -> None:
    peer = connect(hello=PREFACE + settings((INITIAL_WINDOW_SIZE, 50)))
    peer.send(many(1, 100))
    peer.send(settings((INITIAL_WINDOW_SIZE, 20)))
    assert len(peer.answers[1].body) == 50  # of 20: 30 too many
    peer.send(update(1, 30))
    assert len(peer.answers[1].body) == 50
    peer.send(update(1, 1))
    assert len(peer.answers[1].body) == 51
    peer.send(settings((INITIAL_WINDOW_SIZE, 100)))
    assert peer.answers[1].ended


def test_6_9_2_or_larger_than_they_may_be(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), update(1, 1 << 30), settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1)))
    assert peer.failed == FLOW_CONTROL_ERROR


def test_6_9_2_but_not_those_of_streams_that_are_closed(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), update(1, 1 << 30), reset(1), settings((INITIAL_WINDOW_SIZE, (1 << 31) - 1)))
    assert peer.works


# Section 5.4: errors


def test_5_4_1_the_farewell_says_which_streams_were_taken_and_no_more_is_read(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), headers(3), raw(PING, payload=b"short"), headers(5))
    assert peer.farewells == [(3, FRAME_SIZE_ERROR)]
    assert 5 not in peer.answers
    assert peer.wire.transport.sent_eof
    peer.send(headers(7))
    assert 7 not in peer.answers
    peer.let_pass(5)
    assert peer.wire.closed


def test_5_4_1_what_was_answered_before_it_goes_out(connect: Connect) -> None:
    peer = connect()
    peer.send(ping(), settings(), update(0, 0))
    assert peer.of(PingFrame)
    assert len(peer.of(SettingsFrame)) == 3
    assert peer.failed == PROTOCOL_ERROR


def test_5_4_1_other_connections_do_not_notice(connect: Connect) -> None:
    server = site()
    bad, good = connect(server), connect(server)
    good.send(later(1))
    bad.send(later(1), update(0, 0))
    assert bad.failed == PROTOCOL_ERROR
    assert good.works
    good.send(headers(3))
    assert good.answers[3].status == 200


def test_5_4_2_no_reset_is_answered_by_another(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), reset(1), reset(1), opening(3, (b"te", b"x")), reset(3), reset(3))
    assert len(peer.of(RstStreamFrame)) == 1


def test_5_4_3_a_connection_that_is_gone_ends_its_streams(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), opening(3))
    lost: list[object] = []
    peer.requests[0].notifyFinish().addErrback(lost.append)
    peer.wire.reset()
    assert len(lost) == 1


# Section 5.5: extensions


@pytest.mark.parametrize("stream", [0, 1, 2, 99])
@pytest.mark.parametrize("kind", [ALTSVC, 0x0C, 0x10, UNKNOWN, 0xFF])
def test_5_5_unknown_frames_are_ignored(connect: Connect, kind: int, stream: int) -> None:
    """ALTSVC (RFC 7838) is for clients, ORIGIN (RFC 8336) too; PRIORITY_UPDATE (RFC 9218) is a wish."""
    peer = connect()
    before = len(peer.frames)
    peer.send(later(1), raw(kind, stream, b"\xff\xff\xffany", 0xFF), raw(kind, stream))
    assert len(peer.frames) == before
    assert peer.works


# Section 6.1: DATA


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_6_1_padding_is_no_content(connect: Connect, padding: int) -> None:
    peer = connect()
    peer.send(opening(1), padded(1, b"content", padding), padded(1, b"", padding, END_STREAM))
    assert peer.answers[1].body == b"POST / content"


def test_6_1_padding_may_not_be_longer_than_the_frame(connect: Connect) -> None:
    for payload in (b"\x01", b"\x05abcd", b"\xff"):
        peer = connect()
        peer.send(opening(1), raw(DATA, 1, payload, PADDED))
        assert peer.failed == PROTOCOL_ERROR


def test_6_1_padding_has_a_length(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1), raw(DATA, 1, b"", PADDED))
    assert peer.failed == FRAME_SIZE_ERROR


# Sections 6.2, 6.10: HEADERS and CONTINUATION


def test_6_2_padding_and_priority_are_no_fields(connect: Connect) -> None:
    peer = connect()
    flags = END_STREAM | END_HEADERS
    peer.send(raw(HEADERS, 1, b"\x03" + block(GET) + bytes(3), flags | PADDED))
    peer.send(raw(HEADERS, 3, bytes(4) + b"\x10" + block(GET), flags | HAS_PRIORITY))
    peer.send(raw(HEADERS, 5, b"\x03" + bytes(4) + b"\x10" + block(GET) + bytes(3), flags | PADDED | HAS_PRIORITY))
    assert [peer.answers[number].status for number in (1, 3, 5)] == [200, 200, 200]


def test_6_2_padding_may_not_be_longer_than_the_frame(connect: Connect) -> None:
    peer = connect()
    peer.send(raw(HEADERS, 1, b"\xff" + block(GET), END_STREAM | END_HEADERS | PADDED))
    assert peer.failed == PROTOCOL_ERROR


@pytest.mark.parametrize("length", range(5))
def test_6_2_a_priority_that_is_cut_short_is_an_error(connect: Connect, length: int) -> None:
    peer = connect()
    peer.send(raw(HEADERS, 1, bytes(length), END_STREAM | END_HEADERS | HAS_PRIORITY))
    assert peer.failed == FRAME_SIZE_ERROR


def test_6_2_a_stream_that_depends_on_itself_does_not_matter(connect: Connect) -> None:
    """RFC 7540 made it an error of the stream, and h2 of the connection; RFC 9113 has no dependencies any more."""
    peer = connect()
    self = (1).to_bytes(4, "big") + b"\x10"
    peer.send(raw(HEADERS, 1, self + block(GET), END_STREAM | END_HEADERS | HAS_PRIORITY))
    peer.send(raw(HEADERS, 3, b"\x00\x80\0\0\x03\x10" + block(GET), END_STREAM | END_HEADERS | HAS_PRIORITY | PADDED))
    assert (peer.answers[1].status, peer.answers[3].status) == (200, 200)


def test_6_10_a_list_may_come_in_fragments_of_any_length(connect: Connect) -> None:
    peer = connect()
    whole = block(GET)
    for stream, cut in enumerate(range(len(whole) + 1)):
        number = 2 * stream + 1
        peer.send(raw(HEADERS, number, whole[:cut], END_STREAM), raw(CONTINUATION, number, whole[cut:], END_HEADERS))
        assert peer.answers[number].status == 200
    number += 2
    peer.send(raw(HEADERS, number, b"", END_STREAM))
    for index in range(len(whole)):
        last = END_HEADERS if index == len(whole) - 1 else 0
        peer.send(raw(CONTINUATION, number, whole[index : index + 1], last))
    assert peer.answers[number].status == 200


@pytest.mark.parametrize("before", [headers(1), later(1), later(1) + reset(1), later(1) + reset(1) + headers(3)])
def test_6_10_a_continuation_of_nothing_is_an_error(connect: Connect, before: bytes) -> None:
    peer = connect()
    peer.send(before, raw(CONTINUATION, 1, b"", END_HEADERS))
    assert peer.failed == PROTOCOL_ERROR


# Section 6.3: PRIORITY


def test_6_3_priorities_are_ignored_in_any_state(connect: Connect) -> None:
    peer = connect()
    peer.send(priority(1), later(1), priority(1), priority(1, on=1), priority(3, on=1), reset(1), priority(1))
    assert peer.resets == {}
    assert peer.works


@pytest.mark.parametrize("length", [0, 4, 6])
def test_6_3_it_has_five_bytes(connect: Connect, length: int) -> None:
    peer = connect()
    peer.send(later(1), raw(PRIORITY, 1, bytes(length)))
    assert peer.failed == FRAME_SIZE_ERROR


# Section 6.4: RST_STREAM


def test_6_4_a_stream_that_is_reset_is_not_answered(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), headers(3), reset(1))
    lost = peer.requests[0]
    assert lost._disconnected
    assert 1 not in peer.answers


def test_6_4_any_code_will_do(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), reset(1, 0xDEADBEEF), later(3), reset(3, NO_ERROR))
    assert peer.works


@pytest.mark.parametrize("length", [0, 3, 5])
def test_6_4_it_has_four_bytes(connect: Connect, length: int) -> None:
    peer = connect()
    peer.send(later(1), raw(RST_STREAM, 1, bytes(length)))
    assert peer.failed == FRAME_SIZE_ERROR


@pytest.mark.parametrize("stream", [2, 3])
def test_6_4_a_stream_that_is_idle_cannot_be_reset(connect: Connect, stream: int) -> None:
    peer = connect()
    peer.send(later(1), reset(stream))
    assert peer.failed == PROTOCOL_ERROR


# Section 6.5: SETTINGS


def test_6_5_each_is_acknowledged_in_order(connect: Connect) -> None:
    peer = connect()
    peer.send(settings((MAX_FRAME_SIZE, 20_000)), ping(), settings())
    kinds = [type(frame) for frame in peer.frames[-3:]]
    assert kinds == [SettingsFrame, PingFrame, SettingsFrame]
    assert all("ACK" in frame.flags for frame in peer.frames[-3:])


def test_6_5_an_acknowledgement_is_not_acknowledged(connect: Connect) -> None:
    peer = connect()
    before = len(peer.frames)
    peer.send(SETTLED, SETTLED)
    assert len(peer.frames) == before


def test_6_5_an_acknowledgement_has_no_content(connect: Connect) -> None:
    peer = connect()
    peer.send(raw(SETTINGS, payload=bytes(6), flags=ACK))
    assert peer.failed == FRAME_SIZE_ERROR


def test_6_5_they_are_not_about_a_stream(connect: Connect) -> None:
    peer = connect()
    peer.send(raw(SETTINGS, 1))
    assert peer.failed == PROTOCOL_ERROR


@pytest.mark.parametrize("length", [1, 5, 7])
def test_6_5_their_length_is_a_multiple_of_6(connect: Connect, length: int) -> None:
    peer = connect()
    peer.send(raw(SETTINGS, payload=bytes(length)))
    assert peer.failed == FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (2, 2, PROTOCOL_ERROR),
        (INITIAL_WINDOW_SIZE, 1 << 31, FLOW_CONTROL_ERROR),
        (INITIAL_WINDOW_SIZE, (1 << 32) - 1, FLOW_CONTROL_ERROR),
        (MAX_FRAME_SIZE, 16_383, PROTOCOL_ERROR),
        (MAX_FRAME_SIZE, 1 << 24, PROTOCOL_ERROR),
        (8, 2, PROTOCOL_ERROR),
    ],
)
def test_6_5_2_a_value_that_may_not_be_ends_the_connection(connect: Connect, key: int, value: int, code: int) -> None:
    peer = connect()
    peer.send(settings((key, value)))
    assert peer.failed == code


def test_6_5_2_unknown_settings_are_ignored(connect: Connect) -> None:
    peer = connect()
    peer.send(settings((0, 1), (9, 1), (0xBABA, 7), (0xFFFF, (1 << 32) - 1)))
    assert peer.works


@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 32) - 1])
def test_6_5_2_the_clients_table_may_have_any_size(connect: Connect, size: int) -> None:
    peer = connect(hello=PREFACE + settings((HEADER_TABLE_SIZE, size)))
    peer._decoder.max_allowed_table_size = size
    peer.send(headers(1), headers(3))
    assert (peer.answers[1].status, peer.answers[3].status) == (200, 200)


def test_6_5_3_settings_that_are_not_acknowledged_end_the_connection(connect: Connect) -> None:
    peer = connect("limits.head_seconds = 3")
    peer.send(later(1))
    peer.let_pass(3)
    assert peer.failed == SETTINGS_TIMEOUT


def test_6_5_3_settings_that_are_do_not(connect: Connect) -> None:
    peer = connect("limits.head_seconds = 3")
    peer.send(SETTLED, later(1))
    peer.let_pass(3)
    assert peer.works


# Section 6.6: PUSH_PROMISE


def test_6_6_a_client_cannot_push(connect: Connect) -> None:
    for content, flags in (((2).to_bytes(4, "big") + block(GET), END_HEADERS), (bytes(4), 0), (b"", END_HEADERS)):
        peer = connect()
        peer.send(later(1), raw(PUSH_PROMISE, 1, content, flags))
        assert peer.failed == PROTOCOL_ERROR


# Section 6.7: PING


def test_6_7_a_ping_comes_back_as_it_was(connect: Connect) -> None:
    peer = connect()
    peer.send(ping(b"\0\1\2\3\4\5\6\7"))
    (pong,) = peer.of(PingFrame)
    assert (pong.opaque_data, "ACK" in pong.flags) == (b"\0\1\2\3\4\5\6\7", True)


def test_6_7_a_pong_does_not(connect: Connect) -> None:
    """Nor does one that nobody asked for begin an end."""
    peer = connect()
    peer.send(ping(b"switchd.", ACK), ping(flags=ACK))
    assert peer.of(PingFrame) == []
    assert peer.farewells == []
    peer.send(headers(1))
    assert peer.answers[1].status == 200


@pytest.mark.parametrize("length", [0, 7, 9])
def test_6_7_it_has_eight_bytes(connect: Connect, length: int) -> None:
    peer = connect()
    peer.send(ping(bytes(length)))
    assert peer.failed == FRAME_SIZE_ERROR


def test_6_7_it_is_not_about_a_stream(connect: Connect) -> None:
    peer = connect()
    peer.send(raw(PING, 1, bytes(8)))
    assert peer.failed == PROTOCOL_ERROR


# Section 6.8: GOAWAY


def test_6_8_after_the_clients_its_streams_are_still_answered(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), opening(3), many(5, 70_000), goaway())
    requests = peer.requests
    requests[0].write(b"late")
    requests[0].finish()
    peer.send(data(3, b"body", END_STREAM))
    peer.send(update(0, 70_000), update(5, 70_000))
    assert peer.answers[1].body == b"late"
    assert peer.answers[3].body == b"POST / body"
    assert len(peer.answers[5].body) == 70_000
    assert peer.wire.transport.sent_eof
    assert peer.farewells == [(5, NO_ERROR)]


def test_6_8_and_then_the_connection_is_closed(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1))
    peer.send(goaway(code=ENHANCE_YOUR_CALM))
    assert peer.wire.transport.sent_eof


@pytest.mark.parametrize("payload", [b"", bytes(7)])
def test_6_8_it_has_eight_bytes_at_least(connect: Connect, payload: bytes) -> None:
    peer = connect()
    peer.send(later(1), raw(GOAWAY, payload=payload))
    assert peer.failed == FRAME_SIZE_ERROR


def test_6_8_it_may_have_more(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), goaway()[:2] + b"\x0c" + goaway()[3:] + b"why!")
    assert peer.works


def test_6_8_it_is_not_about_a_stream(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), raw(GOAWAY, 1, bytes(8)))
    assert peer.failed == PROTOCOL_ERROR


def test_6_8_ours_comes_twice_and_before_the_ping_that_measures_the_way(connect: Connect) -> None:
    """First the largest number, so that requests on their way are answered; then, a round trip later, the last one."""
    peer = connect()
    peer.send(later(1))
    _session(peer).drain(10)
    peer.let_pass(0)
    kinds = [type(frame).__name__ for frame in peer.frames[-2:]]
    assert kinds == ["GoAwayFrame", "PingFrame"]
    assert peer.farewells == [((1 << 31) - 1, NO_ERROR)]
    peer.send(headers(3))  # was on its way
    assert peer.answers[3].status == 200
    (asked,) = peer.of(PingFrame)
    peer.send(ping(asked.opaque_data, ACK))
    assert peer.farewells[1:] == [(3, NO_ERROR)]
    peer.send(headers(5))
    assert peer.resets == {5: REFUSED_STREAM}
    assert not peer.wire.transport.sent_eof
    peer.requests[0].finish()
    peer.let_pass(0)
    assert peer.answers[1].ended
    assert peer.wire.transport.sent_eof


def test_6_8_a_client_that_does_not_answer_the_ping_is_told_in_time(connect: Connect) -> None:
    peer = connect("limits.linger_seconds = 2")
    peer.send(later(1))
    _session(peer).drain(10)
    peer.let_pass(0)
    peer.let_pass(2)
    assert peer.farewells == [((1 << 31) - 1, NO_ERROR), (1, NO_ERROR)]


def test_6_8_the_last_stream_is_never_raised(connect: Connect) -> None:
    peer = connect()
    peer.send(later(1), goaway())
    assert peer.farewells == [(1, NO_ERROR)]
    peer.send(headers(3), update(0, 0))
    assert peer.farewells == [(1, NO_ERROR), (1, PROTOCOL_ERROR)]


def test_6_8_an_idle_connection_ends_so_too(connect: Connect) -> None:
    peer = connect("limits.keepalive_seconds = 9\nlimits.linger_seconds = 2")
    peer.send(SETTLED, headers(1))
    peer.let_pass(9)
    assert peer.farewells == [((1 << 31) - 1, NO_ERROR)]
    peer.let_pass(2)
    assert peer.farewells[1:] == [(1, NO_ERROR)]
    assert peer.wire.transport.sent_eof


# A client that has nothing more to say (`design.md`: it is still answered)


def test_a_client_that_half_closes_is_answered(connect: Connect) -> None:
    peer = connect()
    peer.wire.transport.arrive(many(1, 50_000))
    peer.wire.transport.arrive(None)
    peer.wire.turn()
    peer.look()
    assert (len(peer.answers[1].body), peer.answers[1].ended) == (50_000, True)
    assert peer.farewells == [(1, NO_ERROR)]
    assert peer.wire.closed


def test_also_if_its_answer_takes_some_time(connect: Connect) -> None:
    peer = connect(hello=HELLO + SETTLED)
    peer.send(later(1))
    peer.wire.half_close()
    peer.let_pass(5)
    peer.requests[0].write(b"late")
    peer.requests[0].finish()
    peer.let_pass(0)
    assert (peer.answers[1].body, peer.answers[1].ended) == (b"late", True)
    assert peer.wire.closed


@pytest.mark.parametrize("hello", [b"", b"P", PREFACE[:9], PREFACE, HELLO, HELLO + headers(1)[:5]])
def test_one_that_has_asked_for_nothing_is_not_waited_for(connect: Connect, hello: bytes) -> None:
    peer = connect(hello=hello)
    peer.wire.half_close()
    assert peer.wire.closed


def _session(peer: Peer) -> Any:
    return peer.wire.transport.protocol


def test_the_wire_has_nothing_but_whole_frames(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1), many(3, 1000))
    assert peer._received == b""
    assert {type(frame) for frame in peer.frames} == {SettingsFrame, WindowUpdateFrame, HeadersFrame, DataFrame}
    assert statuses(peer.before) == []
