"""Rules of HTTP/1.1 messages as functions; `tests/conformance/` has them on the wire."""

from __future__ import annotations

import pytest
from attrs import evolve

from switchd.errors import RequestError
from switchd.messages import check_chunk, check_framing, check_host, error_answer, origin_form, reason, serialised
from switchd.testing import request


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"GET", b"/a?b", (b"/a?b", None)),
        (b"OPTIONS", b"*", (b"*", None)),
        (b"GET", b"http://a", (b"/", b"a")),
        (b"OPTIONS", b"http://a", (b"*", b"a")),
        (b"GET", b"HTTPS://a:1/b?c", (b"/b?c", b"a:1")),
        (b"GET", b"http://a?b", (b"/?b", b"a")),
    ],
)
def test_a_target_in_origin_form(method: bytes, target: bytes, expected: tuple[bytes, bytes | None]) -> None:
    assert origin_form(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [(b"CONNECT", b"a:1", 501), (b"GET", b"a", 400), (b"GET", b"ftp://a/", 400), (b"GET", b"http://", 400)],
)
def test_what_is_no_target_is_refused(method: bytes, target: bytes, status: int) -> None:
    with pytest.raises(RequestError) as raised:
        origin_form(method, target)
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("name", "value", "version", "status"),
    [
        (b"Content-Length", b"1" * 19, b"HTTP/1.1", 413),
        (b"Transfer-Encoding", b"identity", b"HTTP/1.1", 501),
        (b"Transfer-Encoding", b"chunked", b"HTTP/1.0", 400),
        (b"Content-Length", b"0" * 50 + b"1" * 18, b"HTTP/1.1", None),
        (b"Transfer-Encoding", b"Chunked", b"HTTP/1.1", None),
        (b"X", b"identity", b"HTTP/1.0", None),
    ],
)
def test_fields_that_frame_the_body(name: bytes, value: bytes, version: bytes, status: int | None) -> None:
    if status is None:
        check_framing(name, value, version)
    else:
        with pytest.raises(RequestError, match=str(status)):
            check_framing(name, value, version)


def test_a_chunk_may_be_as_long_as_what_is_left_and_no_longer() -> None:
    check_chunk(5, 5)
    for length, status in ((6, 413), (1 << 63, 400)):
        with pytest.raises(RequestError, match=str(status)):
            check_chunk(length, 5)


def test_a_host_may_be_missing_in_http_1_0_only() -> None:
    check_host([], b"HTTP/1.0")
    check_host([b"a"], b"HTTP/1.1")
    with pytest.raises(RequestError, match="400"):
        check_host([], b"HTTP/1.1")


def test_an_error_is_a_whole_answer_that_closes() -> None:
    assert error_answer(RequestError(400, "no"), [(b"Server", b"x")]) == (
        b"HTTP/1.1 400 Bad Request\r\nServer: x\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\nno\n"
    )


def test_a_status_that_nobody_knows_has_a_reason_too() -> None:
    assert (reason(426), reason(499)) == (b"Upgrade Required", b"Unknown")


def test_a_request_as_bytes_again_has_lost_what_was_said_to_the_hop() -> None:
    asked = request(method=b"POST", path=b"/a", headers=[(b"x", b"1"), (b"expect", b"100-continue")], upgrade=b"t")
    assert serialised(asked) == b"POST /a HTTP/1.1\r\nhost: example.org\r\nx: 1\r\n\r\n"
    assert serialised(evolve(asked, body=b"abc")).endswith(b"x: 1\r\nContent-Length: 3\r\n\r\nabc")


@pytest.mark.parametrize("said", [b"close", b"Close, upgrade", b"keep-alive,CLOSE"])
def test_that_it_is_the_last_request_holds_for_the_hop_that_begins_too(said: bytes) -> None:
    asked = request(headers=[(b"connection", said)], upgrade=b"t")
    assert serialised(asked) == b"GET / HTTP/1.1\r\nhost: example.org\r\nConnection: close\r\n\r\n"
