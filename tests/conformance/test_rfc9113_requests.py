"""RFC 9113 section 8: requests and their answers, by a client of raw frames. Rows 15 and 24, and some of A22."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NO_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    Connect,
    Rooms,
    block,
    data,
    headers,
    later,
    opening,
    peers,
    raw,
    request,
    site,
)

pytestmark = pytest.mark.usefixtures("http2_engine")

TRAILERS = END_STREAM | END_HEADERS


@pytest.fixture
def connect() -> Iterator[Connect]:
    with peers() as made:
        yield made


class Headers(Rooms):
    """Answers with the header fields of the request."""

    def render(self, request: Any) -> bytes:
        return repr([one for one in request.requestHeaders.getAllRawHeaders() if one[0] != b"Host"]).encode()


# Section 8.1: messages


def test_8_1_a_request_and_its_answer(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1, (b":path", b"/a?b")), data(1, b"bo"), data(1, b"dy", END_STREAM))
    answer = peer.answers[1]
    assert (answer.statuses, answer.body, answer.ended, answer.reset) == ([200], b"POST /a?b body", True, None)


def test_8_1_the_body_may_end_in_a_frame_of_its_own(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1), data(1, b"body"), data(1, b"", END_STREAM))
    assert peer.answers[1].body == b"POST / body"


def test_8_1_trailers_end_the_body(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1, (b"te", b"trailers")), data(1, b"body"), headers(1, [(b"checksum", b"1")]))
    assert peer.answers[1].body == b"POST / body"


def test_8_1_trailers_may_come_in_fragments(connect: Connect) -> None:
    peer = connect()
    whole = block([(b"checksum", b"1")])
    peer.send(opening(1), raw(HEADERS, 1, whole[:3], END_STREAM), raw(CONTINUATION, 1, whole[3:], END_HEADERS))
    assert peer.answers[1].body == b"POST / "


@pytest.mark.parametrize("name", [b":status", b":path", b"Checksum", b"connection", b""])
def test_8_1_trailers_have_the_rules_of_fields_and_no_pseudo_fields(connect: Connect, name: bytes) -> None:
    peer = connect()
    peer.send(later(1), opening(3), data(3, b"body"), headers(3, [(name, b"1")]))
    assert peer.resets == {3: PROTOCOL_ERROR}
    assert peer.works


def test_8_1_fields_after_the_head_that_do_not_end_the_body_are_an_error(connect: Connect) -> None:
    """Malformed, so an error of the stream; h2 makes it one of the connection, as section 5.4 allows."""
    peer = connect()
    peer.send(opening(1), headers(1, [(b"a", b"b")], END_HEADERS))
    assert peer.failed == PROTOCOL_ERROR or peer.resets == {1: PROTOCOL_ERROR}


def test_8_1_after_the_trailers_comes_nothing(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1), headers(1, [(b"a", b"b")]), headers(1, [(b"a", b"b")]))
    assert peer.resets == {1: STREAM_CLOSED}


def test_8_1_a_whole_answer_before_the_request_is_whole_ends_in_a_reset_without_error(connect: Connect) -> None:
    peer = connect("limits.body_bytes = 10")
    peer.send(opening(1), data(1, b"x" * 11))
    answer = peer.answers[1]
    assert (answer.status, answer.ended, answer.reset) == (413, True, NO_ERROR)
    peer.send(data(1, b"y" * 1000), data(1, b"", END_STREAM))
    assert peer.works


@pytest.mark.parametrize("length", [b"11", b"9" * 17, b"9" * 30, b"9" * 5000])
def test_8_1_a_length_over_the_limit_is_413_at_once(connect: Connect, length: bytes) -> None:
    peer = connect("limits.body_bytes = 10")
    peer.send(opening(1, (b"content-length", length), (b"expect", b"100-continue")))
    assert (peer.answers[1].statuses, peer.answers[1].reset) == ([413], NO_ERROR)


def test_8_1_a_body_that_takes_too_long_is_408(connect: Connect) -> None:
    peer = connect("limits.body_seconds = 3\nlimits.head_seconds = 100")
    peer.send(opening(1), data(1, b"x"))
    peer.let_pass(3)
    assert (peer.answers[1].statuses, peer.answers[1].reset) == ([408], NO_ERROR)


def test_8_1_head_has_no_content(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b":method", b"HEAD"))))
    (head,) = peer.answers[1].heads
    assert (head[b":status"], head[b"content-length"]) == (b"200", b"7")
    assert (peer.answers[1].body, peer.answers[1].ended) == (b"", True)


@pytest.mark.parametrize("status", [b"204", b"304"])
def test_8_1_nor_have_204_and_304(connect: Connect, status: bytes) -> None:
    peer = connect()
    peer.send(headers(1, request((b":path", b"/status/" + status))))
    assert (peer.answers[1].heads[0][b":status"], peer.answers[1].body, peer.answers[1].ended) == (status, b"", True)


def test_8_1_continue_is_said_before_the_body_is_sent(connect: Connect) -> None:
    peer = connect()
    peer.send(opening(1, (b"expect", b"100-continue"), (b"content-length", b"4")))
    assert (peer.answers[1].statuses, peer.answers[1].ended) == ([100], False)
    peer.send(data(1, b"body", END_STREAM))
    assert peer.answers[1].statuses == [100, 200]


def test_8_1_continue_is_not_said_where_no_body_comes(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b"expect", b"100-continue"))))
    assert peer.answers[1].statuses[-1] == 200


# Section 8.1.1: malformed requests

MALFORMED = {
    "8.2 a name in capitals": [(b"Name", b"x")],
    "8.2.1 an empty name": [(b"", b"x")],
    "8.2.1 a blank in a name": [(b"a b", b"x")],
    "8.2.1 a colon in a name": [(b"a:b", b"x")],
    "8.2.1 a control in a name": [(b"a\x7f", b"x")],
    "8.2.1 eight bits in a name": [(b"\xff", b"x")],
    "8.2.1 CR": [(b"a", b"x\ry")],
    "8.2.1 LF": [(b"a", b"x\ny")],
    "8.2.1 NUL": [(b"a", b"x\0y")],
    "8.2.1 a blank before a value": [(b"a", b" x")],
    "8.2.1 a tab after a value": [(b"a", b"x\t")],
    "8.2.1 LF in :path": [(b":path", b"/\n")],
    "8.2.2 connection": [(b"connection", b"close")],
    "8.2.2 keep-alive": [(b"keep-alive", b"5")],
    "8.2.2 proxy-connection": [(b"proxy-connection", b"close")],
    "8.2.2 transfer-encoding": [(b"transfer-encoding", b"chunked")],
    "8.2.2 upgrade": [(b"upgrade", b"websocket")],
    "8.2.2 te": [(b"te", b"gzip")],
    "8.2.2 te with more than trailers": [(b"te", b"trailers, gzip")],
    "8.3 an unknown pseudo-field": [(b":unknown", b"x")],
    "8.3 one of answers": [(b":status", b"200")],
    "8.3 one of interim answers": [(b":status", b"100")],
    "8.3 one after others": [(b"a", b"b"), (b":path2", b"/")],
    "8.3.1 an empty :method": [(b":method", b"")],
    "8.3.1 a :method with a blank": [(b":method", b"GE T")],
    "8.3.1 an empty :scheme": [(b":scheme", b"")],
    "8.3.1 an empty :path": [(b":path", b"")],
    "8.3.1 a :path without a slash": [(b":path", b"x")],
    "8.3.1 an absolute :path": [(b":path", b"http://example.org/")],
    "8.3.1 a blank in :path": [(b":path", b"/ x")],
    "8.3.1 a * for a GET": [(b":path", b"*")],
    "8.3.1 another host": [(b"host", b"other.example")],
    "8.4 RFC 8441 :protocol without the setting": [(b":protocol", b"websocket")],
    "8.1.1 a content-length that is none": [(b"content-length", b"x")],
    "8.1.1 a negative content-length": [(b"content-length", b"-1")],
    "8.1.1 two content-lengths": [(b"content-length", b"1"), (b"content-length", b"2")],
    "8.1.1 a list of content-lengths": [(b"content-length", b"1, 1")],
    "8.1.1 an empty content-length": [(b"content-length", b"")],
}


@pytest.mark.parametrize("fields", MALFORMED.values(), ids=MALFORMED)
def test_8_1_1_a_malformed_request_resets_its_stream_and_no_other(
    connect: Connect, fields: list[tuple[bytes, bytes]]
) -> None:
    peer = connect()
    peer.send(later(1), opening(3, *fields) if b"content-length" in dict(fields) else headers(3, request(*fields)))
    assert peer.resets == {3: PROTOCOL_ERROR}
    peer.send(headers(5))
    assert peer.answers[5].status == 200
    assert len(peer.requests) == 2


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_8_3_1_a_request_has_a_method_a_scheme_and_a_path(connect: Connect, name: bytes) -> None:
    peer = connect()
    peer.send(headers(1, request(without=[name])))
    assert peer.resets == {1: PROTOCOL_ERROR}


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_8_3_each_once(connect: Connect, name: bytes) -> None:
    peer = connect()
    twice = [field for field in request() for _ in range(1 + (field[0] == name))]
    peer.send(headers(1, twice))
    assert peer.resets == {1: PROTOCOL_ERROR}


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_8_3_and_before_all_others(connect: Connect, name: bytes) -> None:
    peer = connect()
    moved = [field for field in request() if field[0] == name]
    peer.send(headers(1, (*request(without=[name]), (b"a", b"b"), *moved)))
    assert peer.resets == {1: PROTOCOL_ERROR}


def test_8_1_1_no_fields_at_all_are_no_request(connect: Connect) -> None:
    peer = connect()
    peer.send(raw(HEADERS, 1, b"", TRAILERS))
    assert peer.resets == {1: PROTOCOL_ERROR}


@pytest.mark.parametrize(
    "frames",
    [
        [data(3, b"12345")],
        [data(3, b"123"), data(3, b"45")],
        [data(3, b"123", END_STREAM)],
        [data(3, b"", END_STREAM)],
        [data(3, b"123"), headers(3, [(b"a", b"b")])],
    ],
    ids=["more", "more later", "less", "none", "less and trailers"],
)
def test_8_1_1_a_body_is_as_long_as_it_says(connect: Connect, frames: list[bytes]) -> None:
    peer = connect()
    peer.send(later(1), opening(3, (b"content-length", b"4")), *frames)
    assert peer.resets == {3: PROTOCOL_ERROR}
    assert peer.works


def test_8_1_1_a_body_that_does_not_come_is_too_short(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b"content-length", b"4"))))
    assert peer.resets == {1: PROTOCOL_ERROR}


@pytest.mark.parametrize("length", [b"4", b"0004", b"0" * 5000 + b"4"])
def test_8_1_1_a_body_of_the_right_length_is_taken(connect: Connect, length: bytes) -> None:
    peer = connect()
    peer.send(opening(1, (b"content-length", length)), data(1, b"1234"), data(1, b"", END_STREAM))
    assert peer.answers[1].body == b"POST / 1234"


# Section 8.2: fields


def test_8_2_values_are_bytes(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b"a", b"\xc3\xa4\xff"), (b"b", b""), (b":path", b"/\xc3\xa4"))))
    assert peer.answers[1].status == 200


def test_8_2_2_te_may_say_trailers(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b"te", b"trailers"))))
    assert peer.answers[1].status == 200


def test_8_2_3_crumbs_of_a_cookie_are_put_together(connect: Connect) -> None:
    peer = connect(site(root=Headers()))
    peer.send(headers(1, request((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"))))
    assert peer.answers[1].body == b"[(b'X', [b'y']), (b'Cookie', [b'a=1; b=2'])]"


def test_8_2_2_no_answer_has_fields_about_a_connection(connect: Connect) -> None:
    class Page(Rooms):
        def render(self, request: Any) -> bytes:
            for name in (b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Transfer-Encoding", b"Upgrade"):
                request.setHeader(name, b"x")
            request.setHeader(b"X-Other", b"kept")
            return b""

    peer = connect(site(root=Page()))
    peer.send(headers(1))
    (head,) = peer.answers[1].heads
    assert head.keys() == {b":status", b"date", b"server", b"content-length", b"x-other"}


def test_10_5_1_more_fields_than_the_limit_are_431(connect: Connect) -> None:
    peer = connect("limits.header_count = 10")
    peer.send(headers(1, request(*((b"a%d" % index, b"") for index in range(7)))), headers(3))
    assert (peer.answers[1].status, peer.answers[3].status) == (431, 200)


def test_10_5_1_longer_ones_too(connect: Connect) -> None:
    peer = connect("limits.head_bytes = 1000")
    peer.send(headers(1, request((b"a", b"x" * 2000))), headers(3))
    assert (peer.answers[1].status, peer.answers[1].ended, peer.answers[3].status) == (431, True, 200)


# Section 8.3.1: what is asked for


def test_8_3_1_the_authority_may_be_in_host(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b"host", b"example.org"), without=[b":authority"])))
    peer.send(headers(3, request((b"host", b"EXAMPLE.org"))))
    assert (peer.answers[1].status, peer.answers[3].status) == (200, 200)
    assert peer.requests[0].getRequestHostname() == b"example.org"


@pytest.mark.parametrize("authority", [b"", b"a b", b"user@example.org", b"a/b", b"\xff"])
def test_8_3_1_but_has_to_be_one(connect: Connect, authority: bytes) -> None:
    peer = connect()
    peer.send(headers(1, request((b":authority", authority))))
    assert peer.answers[1].status == 400


def test_8_3_1_and_to_be_there(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request(without=[b":authority"])))
    twice = request((b"host", b"a"), (b"host", b"a"), without=[b":authority"])
    peer.send(headers(3, twice))
    assert (peer.answers[1].status, peer.answers[3].status) == (400, 400)


def test_8_3_1_options_asks_for_the_server(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b":method", b"OPTIONS"), (b":path", b"*"))))
    assert peer.answers[1].status == 200
    assert peer.requests == []


@pytest.mark.parametrize("scheme", [b"http", b"https", b"other"])
def test_8_3_1_the_scheme_may_be_any(connect: Connect, scheme: bytes) -> None:
    """What is behind a proxy that ends TLS gets https in clear."""
    peer = connect()
    peer.send(headers(1, request((b":scheme", scheme))))
    assert peer.answers[1].status == 200


@pytest.mark.parametrize("method", [b"get", b"M-SEARCH", b"X"])
def test_8_3_1_a_method_may_be_any_token(connect: Connect, method: bytes) -> None:
    peer = connect()
    peer.send(headers(1, request((b":method", method))))
    assert peer.answers[1].body == method + b" / "


# Section 8.5: CONNECT


def test_8_5_connect_is_501(connect: Connect) -> None:
    peer = connect()
    peer.send(headers(1, request((b":method", b"CONNECT"), without=[b":scheme", b":path"]), END_HEADERS), headers(3))
    assert (peer.answers[1].status, peer.answers[3].status) == (501, 200)
    peer.send(data(1, b"what was meant for somebody else"))
    assert peer.works


@pytest.mark.parametrize("without", [[b":scheme"], [b":path"], [b":scheme", b":path", b":authority"], []])
def test_8_5_a_connect_of_another_shape_is_malformed(connect: Connect, without: list[bytes]) -> None:
    peer = connect()
    peer.send(headers(1, request((b":method", b"CONNECT"), without=without)))
    assert peer.resets == {1: PROTOCOL_ERROR}
