"""ADDONE, as transcripts: bytes in, bytes out."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IProtocol

from switchd.protocols.addone import BLANKS, AddOne
from switchd.testing import Wire, cuts

NOT_INTEGER = b"error: this line is not a decimal integer\n"
TOO_LONG = b"error: an integer has at most 20 digits here\n"


def connected(max_digits: int = 20) -> Wire:
    return Wire(AddOne(AddOne.Options(max_digits=max_digits)))


def answers(segments: Iterable[bytes], max_digits: int = 20) -> tuple[bytes, bool]:
    """What the segments are answered, and whether the connection is then closed."""
    wire = connected(max_digits)
    for segment in segments:
        wire.send(segment)
    return wire.received, wire.closed


def answer(line: bytes, max_digits: int = 20) -> bytes:
    return answers([line], max_digits)[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b"41\n", b"42\n", id="plain"),
        pytest.param(b"-1\n", b"0\n", id="minus-one"),
        pytest.param(b"-0\n", b"1\n", id="minus-zero"),
        pytest.param(b"+7\n", b"8\n", id="plus-sign"),
        pytest.param(b"007\n", b"8\n", id="leading-zeros"),
        pytest.param(b"-001\n", b"0\n", id="negative-with-zeros"),
        pytest.param(b"-10\n", b"-9\n", id="negative"),
        pytest.param(b" \t41\t \n", b"42\n", id="blanks-around"),
        pytest.param(b"41\r\n", b"42\n", id="carriage-return"),
        pytest.param(b"41 \r\n", b"42\n", id="blank-and-carriage-return"),
        pytest.param(b"9" * 20 + b"\n", b"1" + b"0" * 20 + b"\n", id="as-many-digits-as-allowed"),
    ],
)
def test_a_line_with_an_integer_is_answered_with_that_integer_plus_one(line: bytes, expected: bytes) -> None:
    assert answers([line]) == (expected, False)


@pytest.mark.parametrize("max_digits", [5, 17, 18, 19])
def test_short_integers_are_short_enough_only_if_the_limit_says_so(max_digits: int) -> None:
    nines = b"9" * max_digits
    assert answers([nines + b"\n" + b"1\n"], max_digits) == (b"1" + b"0" * max_digits + b"\n2\n", False)
    received, closed = answers([b"1\n" + nines + b"9\n"], max_digits)
    assert received == b"2\nerror: an integer has at most %d digits here\n" % max_digits
    assert closed


@given(
    st.lists(st.sampled_from([b"41\n", b"-1\n", b"0\n", b" 7\n", b"x\n", b"\n", b"9" * 18 + b"\n", b"5"]), max_size=8)
)
def test_many_lines_are_answered_as_each_by_itself(lines: list[bytes]) -> None:
    stream = b"".join(lines)
    assert answers([stream] if stream else []) == answers([stream[at : at + 1] for at in range(len(stream))])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \t", id="only-blanks"),
        pytest.param(b"\r", id="only-carriage-return"),
        pytest.param(b"forty-one", id="words"),
        pytest.param(b"4.0", id="point"),
        pytest.param(b"4e1", id="exponent"),
        pytest.param(b"1_000", id="underscore"),
        pytest.param(b"0x29", id="hexadecimal"),
        pytest.param(b"- 1", id="blank-after-sign"),
        pytest.param(b"--1", id="two-signs"),
        pytest.param(b"+", id="only-a-sign"),
        pytest.param(b"4 1", id="two-integers"),
        pytest.param(b"41\r\r", id="two-carriage-returns"),
        pytest.param(b"\r41", id="carriage-return-first"),
        pytest.param(b"\x0b41", id="vertical-tab"),
        pytest.param(b"41\x00", id="nul"),
        pytest.param("٤١".encode(), id="arabic-digits"),
        pytest.param("\uff14\uff11".encode(), id="full-width-digits"),
        pytest.param(b"\xff", id="not-utf-8"),
        pytest.param(b"NaN", id="not-a-number"),
        pytest.param(b"Infinity", id="infinity"),
    ],
)
def test_a_line_that_is_no_integer_is_answered_with_an_error_and_the_connection_goes_on(line: bytes) -> None:
    assert answers([line + b"\n41\n"]) == (NOT_INTEGER + b"42\n", False)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"1" * 21, id="one-digit-more"),
        pytest.param(b"-" + b"0" * 21, id="zeros-count"),
        pytest.param(b"1" * (20 + BLANKS + 1), id="past-the-bound-in-bytes"),
        pytest.param(b" " * (20 + BLANKS + 1), id="blanks-past-the-bound"),
        pytest.param(b"x" * (20 + BLANKS + 1), id="junk-past-the-bound"),
    ],
)
def test_an_integer_over_the_limit_is_answered_and_the_connection_closed(line: bytes) -> None:
    assert answers([b"41\n" + line + b"\n41\n"]) == (b"42\n" + TOO_LONG, True)


def test_a_line_as_long_as_the_bound_in_bytes_is_answered() -> None:
    assert answers([b"1".rjust(20 + BLANKS) + b"\n"]) == (b"2\n", False)


def test_a_line_that_outgrows_the_bound_is_not_waited_for() -> None:
    assert answers([b" "] * (20 + BLANKS + 1)) == (TOO_LONG, True)


def test_nothing_is_answered_after_the_connection_was_closed() -> None:
    # A TLS session hands out what it has read, although its transport is closing.
    protocol: IProtocol = AddOne(AddOne.Options(max_digits=20))
    wire = Wire(protocol)
    for data in (b"1" * 21 + b"\n", b"1\n", b"2" * (20 + BLANKS + 1)):
        protocol.dataReceived(data)
    wire.turn()
    assert wire.received == TOO_LONG


def test_an_unfinished_last_line_is_not_answered() -> None:
    assert answers([b"41\n42"]) == (b"42\n", False)


TRANSCRIPTS = [
    pytest.param(b"41\n-1\r\n \t+7 \nx\n\n99999999999999999999\n41", id="goes-on"),
    pytest.param(b"41\n" + b"1" * 21 + b"\n41\n", id="too-many-digits"),
    pytest.param(b"41\n" + b" " * (20 + BLANKS) + b"41\n5\n", id="too-many-bytes"),
]


@pytest.mark.parametrize("data", TRANSCRIPTS)
def test_bytes_are_answered_alike_whole_one_by_one_and_cut_anywhere(data: bytes) -> None:
    whole = answers([data])
    for segments in cuts(data):
        assert answers(segments) == whole


# Python's own conversion refuses more than 4,300 digits, so the arithmetic that we compare with stays below that.
@given(st.integers(min_value=-(10**4000), max_value=10**4000))
def test_any_integer_is_answered_with_its_successor(number: int) -> None:
    assert answer(b"%d\n" % number, 4001) == b"%d\n" % (number + 1)


@given(st.binary().filter(lambda data: b"\n" not in data))
def test_any_line_is_answered_with_one_line(data: bytes) -> None:
    assert answer(data + b"\n", 10_000).count(b"\n") == 1


@pytest.mark.parametrize(
    ("number", "successor"),
    [
        pytest.param(b"9" * 1_000_000, b"1" + b"0" * 1_000_000, id="carry-through-a-million-digits"),
        pytest.param(b"-1" + b"0" * 999_999, b"-" + b"9" * 999_999, id="borrow-through-a-million-digits"),
        pytest.param(b"1" * 4_301, b"1" * 4_300 + b"2", id="past-python's-guard"),
    ],
)
def test_there_is_no_limit_but_max_digits(number: bytes, successor: bytes) -> None:
    assert answer(number + b"\n", 1_000_000) == successor + b"\n"


def test_a_client_that_does_not_read_is_not_read_from() -> None:
    wire = connected()
    wire.stop_reading()
    lines = b"1\n" * 30_000
    for _ in range(10):
        wire.send(lines)
    assert not wire.transport.reading
    wire.resume_reading()
    assert wire.received == b"2\n" * 300_000
    assert not wire.closed


def test_the_last_answer_arrives_also_when_the_client_did_not_read_before() -> None:
    wire = connected()
    wire.stop_reading()
    wire.send(b"1\n" * 40_000 + b"1" * 21 + b"\n")
    wire.resume_reading()
    assert wire.received == b"2\n" * 40_000 + TOO_LONG
    assert wire.closed
