"""The reader of common heads: it takes what it may, says the same of it as the line reader, and leaves the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.web.resource import Resource

from switchd import heads
from switchd.interfaces import Refuse
from tests.serving import Accepts, Says, Site

HEAD = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nX-A:  1 \t\r\nx-a:\r\nCookie: secret\r\n\r\n"


def read(data: bytes) -> heads.Head | None:
    return heads.read(data, 16384, 100)


def test_reads_a_head_and_not_what_follows_it() -> None:
    head = read(HEAD + b"more\r\n\r\n")
    assert head is not None
    assert (head.method, head.target, head.length) == (b"GET", b"/a?b", len(HEAD))
    lines = ((b"host", b"example.org"), (b"x-a", b"1"), (b"x-a", b""), (b"cookie", b"secret"))
    assert head.fields.lines == lines
    assert head.fields.names == (b"host", b"x-a", b"x-a", b"cookie")


def test_the_same_fields_again_are_the_same_fields() -> None:
    data = b"GET /%d HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    first, second = read(data % 1), read(data % 2)
    assert first is not None
    assert second is not None
    assert (first.target, second.target) == (b"/1", b"/2")
    assert first.fields == second.fields


@pytest.mark.parametrize(
    "left",
    [
        HEAD[:-1],
        b"\r\n" + HEAD,
        HEAD.replace(b"GET", b"get"),
        HEAD.replace(b"GET", b"CONNECT"),
        HEAD.replace(b"/a?b", b"http://example.org/a"),
        HEAD.replace(b"/a?b", b"*"),
        HEAD.replace(b"/a?b", b"/\xff"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"GET ", b"GET  "),
        HEAD.replace(b"Host: example.org\r\n", b""),
        HEAD.replace(b"Cookie", b"Host"),
        HEAD.replace(b"example.org", b"a b"),
        HEAD.replace(b"Cookie", b"Content-Length"),
        HEAD.replace(b"Cookie", b"transfer-encoding"),
        HEAD.replace(b"Cookie", b"Expect"),
        HEAD.replace(b"Cookie:", b"Cookie :"),
        HEAD.replace(b"Cookie:", b":"),
        HEAD.replace(b"Cookie:", b"Cookie"),
        HEAD.replace(b"Cookie", b" Cookie"),
        HEAD.replace(b"secret", b"sec\nret"),
        HEAD.replace(b"secret", b"sec\rret"),
        HEAD.replace(b"secret", b"sec\0ret"),
        HEAD.replace(b"\r\n", b"\n"),
    ],
    ids=repr,
)
def test_leaves_to_the_line_reader(left: bytes) -> None:
    assert read(left) is None


def test_leaves_what_is_too_long_or_too_much() -> None:
    assert heads.read(HEAD, len(HEAD), 4) is not None
    assert heads.read(HEAD, len(HEAD) - 1, 4) is None
    assert heads.read(HEAD, len(HEAD), 3) is None


@pytest.mark.parametrize("piece", [b" ", b"\t ", b":", b"a", b"\r\na", b"\r\na:", b"auth", b"\r\nauth"])
def test_a_long_head_that_is_wrong_at_its_end_is_no_burden(piece: bytes) -> None:
    """By a pattern that goes back and forth, some of these would take minutes."""
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX:" + piece * (60_000 // len(piece)) + b"\x7f\r\n\r\n"
    assert heads.read(long, 65536, 100_000) is None


@pytest.mark.parametrize("name", [b"Authorization", b"COOKIE", b"X-Api-Key", b"x-a-token", b"Sec-WebSocket-Protocol"])
def test_remembers_nothing_that_may_be_secret(name: bytes) -> None:
    heads._known.clear()
    assert read(b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": x\r\n\r\n") is not None
    assert heads._known == {}


class Everything(Resource):
    """Answers with all that a resource can see of the request's head."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        seen = (
            request.method,
            request.uri,
            request.path,
            request.args,
            request.clientproto,
            request.prepath,
            request.postpath,
            sorted(request.requestHeaders.getAllRawHeaders()),
            request.received_cookies,
            request.getClientAddress(),
            request.getHost(),
            request.isSecure(),
            request.content.read(),
        )
        return repr(seen).encode()


NAMES = [b"Host", b"X-a", b"x-A", b"Cookie", b"Connection", b"Upgrade"]
ODD_NAMES = [b"Content-Length", b"Expect", b"a b", b"", b"\xe4"]
VALUES = [
    b"example.org",
    b"",
    b" a\tb ",
    b"a=b; c=d",
    b"close",
    b"keep-alive, Upgrade",
    b"shout",
    b"refuse, SHOUT/2",
    b"none",
    b"0",
    b"\xff",
    b"\x7f",
    b"a\0",
]
usual = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES[:11]))
odd = st.tuples(st.sampled_from(NAMES + ODD_NAMES), st.sampled_from(VALUES))
lines = st.lists(st.one_of(usual, usual, odd).map(b": ".join), max_size=6)
targets = st.sampled_from([b"/", b"/a", b"/a/%2e?x=1&x=%20", b"/b//c", b"/?", b"/#", b"*", b"a", b"http://h/a"])
methods = st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"x"])
SWITCHING = [b"Host: a", b"Connection: upgrade", b"Upgrade: shout"]
requests = st.builds(
    lambda method, target, lines, own, gap: (
        method + b" " + target + b" HTTP/1.1\r\n" + b"\r\n".join([*own, *lines, b"", b""]) + gap
    ),
    st.one_of(st.just(b"GET"), methods),
    targets,
    lines,
    st.sampled_from([[], SWITCHING[:1], SWITCHING[:1], SWITCHING, SWITCHING]),
    st.sampled_from([b"", b"", b"", b"early", b"\r\n"]),
)


def everything(segments: list[bytes]) -> tuple[Any, ...]:
    """All that a client, a resource, a plugin and a log see."""
    takes, refuses, passes = Accepts(headers=((b"X", b"y"),)), Says(Refuse(403)), Says(None)
    site = Site({"/a": refuses, "/b": passes, "/": takes}, Everything(), "limits.header_count = 5")
    wire = site.connect()
    for segment in segments:
        wire.send(segment)
    heard = [built.heard for built in takes.built]
    asked = (takes.asked, [request for request, _ in refuses.asked], [request for request, _ in passes.asked])
    return wire.received, wire.closed, wire.transport.sent_eof, site.events, asked, heard


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=st.lists(requests, min_size=1, max_size=3).map(b"".join))
def test_nobody_can_tell_which_reader_has_read(stream: bytes) -> None:
    # What comes in one segment is read by the quick reader, if it can be; what comes byte by byte never is.
    whole = everything([stream])
    assert whole == everything([stream[at : at + 1] for at in range(len(stream))])
