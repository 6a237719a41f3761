"""The header fields of a request over HTTP/2; their rules on the wire: `conformance/test_rfc9113_requests.py`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from switchd import fields
from switchd.config import Limits
from switchd.errors import RequestError
from switchd.fields import Head, Malformed
from tests.frames import GET, request

LIMITS = Limits(head_bytes=1000, header_count=10, body_bytes=100)


def test_a_head_is_what_was_asked() -> None:
    asked = request((b":path", b"/a?b"), (b"accept", b"*/*"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x", b""))
    expected = ((b"host", b"example.org"), (b"accept", b"*/*"), (b"x", b""), (b"cookie", b"a=1; b=2"))
    assert fields.read(asked, LIMITS) == Head(b"GET", b"/a?b", expected, None)


def test_host_comes_first_and_once() -> None:
    for asked in (request((b"a", b"b"), (b"host", b"example.org")), request((b"a", b"b"))):
        assert fields.read(asked, LIMITS).headers == ((b"host", b"example.org"), (b"a", b"b"))


@pytest.mark.parametrize(
    ("length", "expected"), [(b"0", 0), (b"100", 100), (b"00", 0), (b"0" * 200 + b"7", 7), (b"0" * 4400 + b"7", 7)]
)
def test_its_length_is_a_number(length: bytes, expected: int) -> None:
    limits = Limits(body_bytes=100)
    assert fields.read(request((b"content-length", length)), limits).length == expected


def test_the_same_length_twice_is_one() -> None:
    twice = [(b"content-length", b"5")] * 2
    assert fields.read(request(*twice), LIMITS).length == 5


@pytest.mark.parametrize("length", [b"\xb2", "٣".encode(), b"+1", b"1_0", b" 1", b"0x1"])
def test_what_is_no_number_is_malformed(length: bytes) -> None:
    with pytest.raises(Malformed):
        fields.read(request((b"content-length", length)), LIMITS)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request((b"content-length", b"101")), 413),
        (request((b"content-length", b"9" * 40)), 413),
        (request(*[(b"a", b"")] * 7), 431),
        (request((b"a", b"x" * 1000)), 431),
        (request((b":authority", b"")), 400),
        (request(without=[b":authority"]), 400),
        (request((b":method", b"CONNECT"), without=[b":scheme", b":path"]), 501),
    ],
)
def test_what_is_not_served_has_a_status(asked: tuple[tuple[bytes, bytes], ...], status: int) -> None:
    with pytest.raises(RequestError) as caught:
        fields.read(tuple(asked), LIMITS)
    assert caught.value.status == status


def test_a_limit_is_the_last_that_is_allowed() -> None:
    counted = sum(len(name) + len(value) + fields.FIELD_OVERHEAD for name, value in GET)
    more = (b"a", b"x" * (LIMITS.head_bytes - counted - fields.FIELD_OVERHEAD - 1))
    assert fields.read(request(more), LIMITS)
    with pytest.raises(RequestError):
        fields.read(request((b"a", more[1] + b"x")), LIMITS)
    assert fields.read(request(*[(b"a", b"")] * 6), LIMITS)


class TestMemory:
    @pytest.fixture(autouse=True)
    def _nothing_is_remembered(self) -> None:
        fields._remembered.clear()

    def test_of_a_head_gives_the_same_again(self) -> None:
        asked = request((b"a", b"b"))
        again = tuple((bytes(bytearray(name)), bytes(bytearray(value))) for name, value in asked)
        assert fields.read(again, LIMITS) is fields.read(asked, LIMITS)

    def test_tells_heads_apart_by_everything_in_them(self) -> None:
        asked = [request(), request((b":path", b"/a")), request((b"a", b"b")), request((b"b", b"a"))]
        asked += [request((b"a", b"b"), (b"a", b"c")), request((b"a", b"c"), (b"a", b"b")), request((b"ab", b""))]
        assert len({fields.read(one, LIMITS) for one in asked * 2}) == len(asked)

    def test_is_of_heads_that_were_right_under_the_same_limits(self) -> None:
        asked = request((b"a", b"x" * 500), (b"content-length", b"50"))
        assert fields.read(asked, LIMITS)
        for limits in (Limits(head_bytes=500), Limits(header_count=3), Limits(body_bytes=49)):
            for _ in range(2):
                with pytest.raises(RequestError):
                    fields.read(asked, limits)
            assert fields.read(asked, LIMITS)

    def test_is_of_nothing_that_was_wrong(self) -> None:
        for asked in (request((b"A", b"b")), request((b"te", b"gzip")), request((b"a", b"x" * 1000))):
            for _ in range(2):
                with pytest.raises((Malformed, RequestError)):
                    fields.read(asked, LIMITS)
        assert fields._remembered == {}

    def test_has_bounds(self) -> None:
        limits = Limits()
        for number in range(3 * fields.REMEMBERED_HEADS):
            fields.read(request((b":path", b"/%d" % number)), limits)
            assert 0 < len(fields._remembered) <= fields.REMEMBERED_HEADS
        fields._remembered.clear()
        counted = sum(len(name) + len(value) + fields.FIELD_OVERHEAD for name, value in GET)
        room = fields.REMEMBERED_BYTES - counted - fields.FIELD_OVERHEAD - 1
        fields.read(request((b"a", b"x" * (room + 1))), limits)
        assert fields._remembered == {}
        fields.read(request((b"a", b"x" * room)), limits)
        assert len(fields._remembered) == 1

    @pytest.mark.parametrize(
        "name",
        [
            b"cookie",
            b"authorization",
            b"proxy-authorization",
            b"x-api-key",
            b"apikey",
            b"x-auth-request-user",
            b"x-csrf-token",
            b"x-client-secret-id",
        ],
    )
    def test_is_of_nothing_that_is_secret(self, name: bytes) -> None:
        assert fields.read(request((name, b"secret")), LIMITS).headers[-1] == (name, b"secret")
        assert fields._remembered == {}

    @pytest.mark.parametrize("field", [(b":path", b"/a?token=b"), (b":path", b"/?"), (b"referer", b"http://a/?b=c")])
    def test_is_of_no_query(self, field: tuple[bytes, bytes]) -> None:
        assert fields.read(request(field), LIMITS)
        assert fields._remembered == {}
        assert fields.read(request((b"a", b"?")), LIMITS)
        assert len(fields._remembered) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        ([b"100-continue"], True),
        ([b"100-Continue"], True),
        ([b"100-continue"] * 2, False),
        ([b"x"], False),
    ],
)
def test_a_head_may_expect_to_be_told_to_go_on(values: list[bytes], expected: bool) -> None:
    assert fields.read(request(*[(b"expect", value) for value in values]), LIMITS).expects is expected


@pytest.mark.parametrize("name", [b"x-a", b"accept", b":path", b"a\x80"], ids=ascii)
def test_a_byte_is_right_or_wrong_by_itself_and_by_its_place(name: bytes) -> None:
    is_value = re.compile(rb"(?![ \t])[\t\x20-\x7e\x80-\xff]*(?<![ \t])").fullmatch
    is_path = re.compile(rb"/[\x21-\x7e\x80-\xff]*").fullmatch
    for byte in range(256):
        one = bytes([byte])
        for value in (b"", one, b"/" + one, one + b"b", b"/" + one + b"b", b"/" + one + b"\t" + one + b"b"):
            right = is_path(value) if name == b":path" else is_value(value) and name != b"a\x80"
            try:
                fields.read(request((name, value)), LIMITS)
            except Malformed:
                assert not right, value
            else:
                assert right, value


def test_names_that_are_known_to_be_right_are() -> None:
    for name in fields._KNOWN:
        fields._check_name(name, b"anything")


def test_an_answer_has_no_fields_about_a_connection() -> None:
    headers = Headers({b"X-A": [b"1", b"2"], b"Connection": [b"close"], b"Keep-Alive": [b"5"], b"ETag": [b'"x"']})
    assert fields.answered(headers) == ((b"x-a", b"1"), (b"x-a", b"2"), (b"etag", b'"x"'))


def test_trailers_are_fields() -> None:
    fields.check_trailers(())
    fields.check_trailers(((b"checksum", b"1"), (b"other", b"")))
    for wrong in ((b":path", b"/"), (b"Checksum", b"1"), (b"connection", b"close"), (b"a", b"\n")):
        with pytest.raises(Malformed):
            fields.check_trailers((wrong,))


NAMES = st.one_of(
    st.sampled_from(
        [b":method", b":scheme", b":path", b":authority", b":x", b"host", b"content-length", b"te", b"cookie"]
    ),
    st.binary(max_size=6),
)
VALUES = st.one_of(
    st.sampled_from([b"GET", b"http", b"/", b"*", b"OPTIONS", b"CONNECT", b"a", b"7"]), st.binary(max_size=6)
)


@given(
    asked=st.one_of(st.lists(st.tuples(NAMES, VALUES)), st.lists(st.tuples(NAMES, VALUES)).map(lambda x: [*GET, *x]))
)
def test_any_fields_are_a_head_or_one_of_two_errors(asked: list[tuple[bytes, bytes]]) -> None:
    try:
        head = fields.read(tuple(asked), LIMITS)
    except (Malformed, RequestError):
        return
    assert head.headers[0][0] == b"host"
    assert not [name for name, _ in head.headers if name.startswith(b":") or name != name.lower()]
    assert not [value for _, value in head.headers if set(value) & set(b"\r\n\0")]
