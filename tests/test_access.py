"""The lines of the access log are twisted.web's, without queries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.web.http import combinedLogFormatter

from switchd import access
from switchd.testing import Wire
from tests.http2_client import Client, end_all, site
from tests.test_http2 import Does

STAMP = "[01/Jan/1970:00:00:00 +0000]"
LIAR = IPv4Address("TCP", '1"\n2', 1)
PEERS = [IPv4Address("TCP", "192.0.2.1", 1), IPv6Address("TCP", "2001:db8::1", 1), UNIXAddress(b"/run/x")]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


def lines(peer: Any = PEERS[0], **asked: Any) -> tuple[str, str]:
    """The line of a request, as it is made here and by twisted.web."""

    def render(request: Any) -> bytes:
        request.notifyFinish().addCallback(lambda _: made.append(request))
        return asked.get("body", b"hello\n")  # type: ignore[no-any-return]

    made: list[Any] = []
    client = Client(site(Does(render)), kind=lambda factory, clock: Wire(factory, clock, peer=peer))
    client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
    client.get(asked.get("path", "/"), asked.get("method", "GET"), asked.get("headers", ()))
    (request,) = made
    return access.combined(STAMP, request), combinedLogFormatter(STAMP, request)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: type(peer).__name__)
def test_a_line_is_the_original(peer: Any) -> None:
    headers = [("user-agent", "Mozilla/5.0 (X11; Linux)"), ("referer", "http://example.org/")]
    ours, theirs = lines(peer, path="/a", headers=headers)
    assert ours == theirs
    host = getattr(peer, "host", "-")
    assert ours == f'"{host}" - - {STAMP} "GET /a HTTP/2" 200 6 "http://example.org/" "Mozilla/5.0 (X11; Linux)"'


@pytest.mark.parametrize("agent", ["curl", 'a "quoted" one'], ids=["plain", "escaped"])
def test_of_a_query_there_is_only_that_there_was_one(agent: str) -> None:
    headers = [("user-agent", agent), ("referer", "http://example.org/b?secret")]
    ours, theirs = lines(path="/a?secret?secret", headers=headers)
    assert ours == theirs.replace("secret?secret", "").replace("secret", "")
    assert '"GET /a? HTTP/2" 200 6 "http://example.org/b?" ' in ours


def test_an_address_cannot_begin_a_line() -> None:
    """A proxy that is trusted may pass on whatever it is told."""
    ours, theirs = lines(LIAR)
    assert ours == theirs
    assert len(ours.splitlines()) == 1


def test_without_content_is_the_original() -> None:
    for method, body in (("HEAD", b"hello"), ("GET", b""), ("BREW", b"x")):
        ours, theirs = lines(method=method, body=body)
        assert ours == theirs
        assert len(ours.splitlines()) == 1


def test_of_a_request_with_text_in_it_is_the_original() -> None:
    def rewrite(request: Any) -> bytes:
        request.method, request.uri = "GET", "/rewritten"
        return b""

    resource = Does(rewrite)
    Client(site(resource)).get()
    assert access.combined(STAMP, resource.request) == combinedLogFormatter(STAMP, resource.request)


BYTES = st.lists(
    st.one_of(st.sampled_from([*b"\"'\\\tab \x80\xff"]), st.integers(0x21, 0xFF).filter(lambda b: b != 0x7F))
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(agent=BYTES, referrer=BYTES, path=BYTES)
def test_whatever_a_client_says_is_escaped_as_in_the_original(
    agent: list[int], referrer: list[int], path: list[int]
) -> None:
    headers: Any = [(b"user-agent", bytes(agent).strip()), (b"referer", bytes(referrer).strip().replace(b"?", b""))]
    asked: Any = b"/" + bytes(byte for byte in path if byte > 0x20 and byte != 0x3F)
    ours, theirs = lines(path=asked, headers=headers)
    assert ours == theirs
    assert ours.isprintable()


def test_the_log_of_a_server_has_these_lines(tmp_path: Path) -> None:
    served = site(settings=f'[server]\naccess_log = "{tmp_path}/access.log"\n')
    assert served.factory._logFormatter is access.combined
