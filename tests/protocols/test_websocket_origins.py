"""Which pages may open a WebSocket: RFC 6454, RFC 6455 section 10.2; attack A15."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from switchd.interfaces import Request
from switchd.protocols.websocket.origins import ANY, NULL, SAME, Origin, own, parse, welcome
from switchd.testing import request


def asked(host: bytes = b"example.org", target: bytes = b"/", secure: bool = False) -> Request:
    return evolve(request(), headers=((b"host", host),), target=target, secure=secure)


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://example.org", Origin("https", "example.org", 443)),
        ("HTTP://EXAMPLE.org:80", Origin("http", "example.org", 80)),
        ("http://[::1]:8080", Origin("http", "[::1]", 8080)),
        ("app://page", Origin("app", "page", None)),
        ("null", None),
        ("", None),
        ("https://", None),
        ("https://example.org/", None),
        ("https://user@example.org", None),
        ("https://example.org:", None),
        ("https://example.org:x", None),
        ("https://a b", None),
        ("example.org", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, origin: Origin | None) -> None:
    assert parse(text) == origin


@pytest.mark.parametrize(
    ("asked", "origin"),
    [
        (asked(), "http://example.org"),
        (asked(b"example.org:80"), "http://example.org"),
        (asked(b"Example.org:8080"), "http://example.org:8080"),
        (asked(secure=True), "https://example.org"),
        (asked(b"[::1]:8080"), "http://[::1]:8080"),
        (asked(b"other.example", b"http://example.org:81/ws"), "http://example.org:81"),
    ],
)
def test_a_page_of_this_server_has_its_origin(asked: Request, origin: str) -> None:
    assert own(asked) == parse(origin)
    assert welcome(origin, asked, [SAME])
    assert not welcome(origin + "1", asked, [SAME])


@pytest.mark.parametrize("host", [b"", b"a b", b"@", b"a:b"])
def test_a_request_that_does_not_say_where_it_goes_has_no_pages(host: bytes) -> None:
    assert own(asked(host)) is None
    assert not welcome("http://a", asked(host), [SAME])
    assert not welcome("", asked(host), [SAME])


def test_same_origin_is_about_the_scheme_too() -> None:
    assert not welcome("https://example.org", asked(), [SAME])
    assert not welcome("http://example.org", asked(secure=True), [SAME])


def test_others_are_named_exactly() -> None:
    allowed = ["https://app.example", "http://localhost:3000"]
    assert welcome("https://app.example", asked(), allowed)
    assert welcome("https://APP.example:443", asked(), allowed)
    assert welcome("http://localhost:3000", asked(), allowed)
    for origin in ("http://app.example", "https://x.app.example", "https://app.example.evil", "http://localhost"):
        assert not welcome(origin, asked(), allowed)
    assert not welcome("http://example.org", asked(), allowed)  # the same, but that was not said


def test_null_is_welcome_only_by_name() -> None:
    assert not welcome(NULL, asked(), [SAME])
    assert welcome(NULL, asked(), [NULL])
    assert not welcome("http://evil.example", asked(), [NULL])


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "nonsense"])
def test_all_are(origin: str) -> None:
    assert welcome(origin, asked(), [ANY])


def test_who_says_nothing_is_no_page() -> None:
    assert welcome(None, asked(), [])


@given(st.text(max_size=30))
def test_no_other_page_is_the_same(origin: str) -> None:
    assert welcome(origin, asked(), [SAME]) == (origin.lower() in ("http://example.org", "http://example.org:80"))
