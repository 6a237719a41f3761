"""RFC 6455 section 4.2, the server's side of the opening handshake: rows 27 to 29, attacks A4 and A15."""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from switchd.interfaces import Accept, Offer, Refuse, Request
from switchd.protocols.websocket.handshake import BadHandshake, Extension, Handshake, chosen, headers, read
from switchd.testing import cuts, request
from tests.serving import HEAD, PLAIN, answers, statuses
from tests.websockets import ACCEPT, HANDSHAKE, KEY, Client, frame, site, switch

ECHO = "switchd.protocols.websocket:Echo"
WEBSOCKET = Offer(b"websocket")
VERSION = (b"sec-websocket-version", b"13")
KEYED = (b"sec-websocket-key", KEY)


def asked(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> Request:
    return request(method=method, path=b"/ws", headers=fields, upgrade=b"websocket")


def connect(*fields: tuple[bytes, bytes]) -> Request:
    """The same as extended CONNECT (RFC 8441 section 5)."""
    return evolve(asked(VERSION, *fields, method=b"CONNECT"), how="connect")


def refused(*fields: tuple[bytes, bytes], method: bytes = b"GET", **options: Any) -> Refuse:
    answer = switch(ECHO, **options).offer(asked(*fields, method=method), WEBSOCKET)
    assert isinstance(answer, Refuse)
    return answer


def accepted(*fields: tuple[bytes, bytes], **options: Any) -> dict[bytes, bytes]:
    answer = switch(ECHO, **options).offer(asked(VERSION, KEYED, *fields), WEBSOCKET)
    assert isinstance(answer, Accept)
    return dict(answer.headers)


# Section 4.2.1: what the request must be


def test_it_is_answered_by_the_hash_of_its_key() -> None:
    assert accepted() == {b"Sec-WebSocket-Accept": ACCEPT}


def test_on_the_wire() -> None:
    wire = site(ECHO).connect()
    wire.send(HANDSHAKE % (b"/ws", b""))
    assert wire.received == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
    )


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"OPTIONS", b"get"])
def test_another_method_is_405_and_says_which_it_must_be(method: bytes) -> None:
    refuse = refused(VERSION, KEYED, method=method)
    assert (refuse.status, dict(refuse.headers)[b"Allow"]) == (405, b"GET")


@pytest.mark.parametrize("version", [b"8", b"12", b"14", b"777", b"013", b"13.0", b"x", b"", b"13, 8"])
def test_another_version_is_426_and_says_which_there_is(version: bytes) -> None:
    refuse = refused((b"sec-websocket-version", version), KEYED)
    assert (refuse.status, dict(refuse.headers)[b"Sec-WebSocket-Version"]) == (426, b"13")


def test_no_version_is_426_too() -> None:
    assert refused(KEYED).status == 426


def test_a_426_says_on_the_wire_what_is_served() -> None:
    wire = site(ECHO).connect()
    wire.send((HANDSHAKE % (b"/ws", b"")).replace(b"Version: 13", b"Version: 777"))
    ((status, fields, _),) = answers(wire.received)
    assert status == 426
    assert fields[b"sec-websocket-version"] == b"13"
    assert (fields[b"upgrade"], fields[b"connection"]) == (b"websocket", b"Upgrade")


def test_two_versions_are_400() -> None:
    assert refused(VERSION, VERSION, KEYED).status == 400


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"x",
        base64.b64encode(bytes(15)),
        base64.b64encode(bytes(17)),
        KEY + b"=",
        KEY[:-2],
        b"!" + KEY[1:],
        KEY * 2,
    ],
)
def test_a_key_that_is_not_16_bytes_is_400(key: bytes) -> None:
    assert refused(VERSION, (b"sec-websocket-key", key)).status == 400


def test_no_key_and_two_keys_are_400() -> None:
    assert [refused(VERSION).status, refused(VERSION, KEYED, KEYED).status] == [400, 400]


def test_a_refusal_says_why_and_the_connection_goes_on() -> None:
    wire = site(ECHO).connect()
    wire.send((HANDSHAKE % (b"/ws", b"")).replace(KEY, b"x") + PLAIN)
    (status, _, body), (after, _, _) = answers(wire.received)
    assert (status, body, after) == (400, b"Sec-WebSocket-Key is not the base64 of 16 bytes\n", 200)


def test_an_offer_with_a_version_is_none_of_websockets() -> None:
    assert switch(ECHO).offer(asked(VERSION, KEYED), Offer(b"websocket", b"13")) is None


def test_the_name_of_the_protocol_has_no_case() -> None:
    wire = site(ECHO).connect()
    wire.send((HANDSHAKE % (b"/ws", b"")).replace(b"Upgrade: websocket", b"Upgrade: WebSocket"))
    assert answers(wire.received)[0][1][b"upgrade"] == b"websocket"


def test_http_1_0_is_not_switched() -> None:
    wire = site(ECHO).connect()
    wire.send((HANDSHAKE % (b"/ws", b"")).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert statuses(wire.received) == [200]


def test_a_request_without_an_offer_is_ordinary() -> None:
    wire = site(ECHO).connect()
    wire.send(HEAD % b"/ws" + b"\r\n")
    assert statuses(wire.received) == [200]


def test_frames_come_in_the_segment_of_the_head_or_however_they_are_cut() -> None:
    data = HANDSHAKE % (b"/ws", b"") + frame(b"early") + frame(b"late")
    for segments in cuts(data):
        wire = site(ECHO, ping_seconds=0).connect()
        for segment in segments:
            wire.send(segment)
        assert wire.received.partition(b"\r\n\r\n")[2] == b"\x81\x05early\x81\x04late"


def test_a_body_is_read_by_http_and_is_no_frame() -> None:  # A6
    wire = site(ECHO).connect()
    body = frame(b"no")
    wire.send(HANDSHAKE % (b"/ws", b"Content-Length: %d\r\n" % len(body)) + body + frame(b"yes"))
    assert wire.received.partition(b"\r\n\r\n")[2] == b"\x81\x03yes"


# Subprotocols (sections 1.9, 4.2.2)


@pytest.mark.parametrize(
    ("offered", "served", "agreed"),
    [
        ([b"a, b"], ["b", "a"], b"a"),
        ([b"a", b"b"], ["b"], b"b"),
        ([b" a ,, b "], ["b"], b"b"),
        ([b"a"], ["A"], None),
        ([b"a"], [], None),
        ([], ["a"], None),
    ],
)
def test_the_first_that_both_know_is_agreed_on(offered: list[bytes], served: list[str], agreed: bytes | None) -> None:
    fields = accepted(*((b"sec-websocket-protocol", value) for value in offered), subprotocols=served)
    assert fields.get(b"Sec-WebSocket-Protocol") == agreed


@pytest.mark.parametrize("value", [b"a b", b"a,a", b"a/b", b"\xe4", b'"a"'])
def test_what_is_no_list_of_different_tokens_is_400(value: bytes) -> None:
    assert refused(VERSION, KEYED, (b"sec-websocket-protocol", value)).status == 400


def test_the_clients_order_is_preference() -> None:
    assert chosen(["x", "b", "a"], ["a", "b"]) == "b"


# Extensions (section 9.1)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([b"a"], (Extension("a"),)),
        ([b'a; x; y=1, B;Z="2"'], (Extension("a", (("x", None), ("y", "1"))), Extension("b", (("z", "2"),)))),
        ([b"a", b", b ,"], (Extension("a"), Extension("b"))),
        ([b""], ()),
    ],
)
def test_a_list_of_extensions_is_read(values: list[bytes], found: tuple[Extension, ...]) -> None:
    fields = ((b"sec-websocket-extensions", value) for value in values)
    assert read(asked(VERSION, KEYED, *fields)).extensions == found


@pytest.mark.parametrize(
    "value",
    [b"a;", b"a; =1", b"a b", b"a; x=", b'a; x="1', b'a; x="1 2"', b";", b"a=1", b"\xe4", b"\n", b"a\n"],
)
def test_what_is_no_list_of_extensions_is_400(value: bytes) -> None:
    assert refused(VERSION, KEYED, (b"sec-websocket-extensions", value)).status == 400


def test_an_unknown_extension_is_not_answered() -> None:
    assert b"Sec-WebSocket-Extensions" not in accepted((b"sec-websocket-extensions", b"x-unknown, permessage-bzip2"))


# Origin (sections 4.2.2, 10.2), A15; test_websocket_origins.py has the rules


@pytest.mark.parametrize(
    "origin",
    [
        b"http://evil.example",
        b"null",
        b"",
        b"http://evilexample.org",
        b"http://example.org.evil.example",
        b"https://example.org",
        b"http://example.org:8080",
        b"http://example.org/",
        b"example.org",
    ],
)
def test_a_page_from_elsewhere_is_403(origin: bytes) -> None:
    assert refused(VERSION, KEYED, (b"origin", origin)).status == 403


@pytest.mark.parametrize("origin", [b"http://example.org", b"HTTP://Example.ORG:80"])
def test_a_page_from_here_is_welcome(origin: bytes) -> None:
    assert accepted((b"origin", origin))


def test_two_origins_are_400() -> None:
    assert refused(VERSION, KEYED, (b"origin", b"http://example.org"), (b"origin", b"http://example.org")).status == 400


# RFC 8441 section 5: extended CONNECT has neither key nor accept


def test_extended_connect_is_accepted_without_a_key() -> None:
    answer = switch(ECHO, subprotocols=["chat"]).offer(connect((b"sec-websocket-protocol", b"chat")), WEBSOCKET)
    assert isinstance(answer, Accept)
    assert answer.headers == ((b"Sec-WebSocket-Protocol", b"chat"),)


def test_extended_connect_is_judged_like_the_rest() -> None:
    foreign = switch(ECHO).offer(connect((b"origin", b"http://evil.example")), WEBSOCKET)
    other = switch(ECHO).offer(evolve(connect(), headers=((b"sec-websocket-version", b"8"),)), WEBSOCKET)
    assert [foreign.status, other.status] == [403, 426]


# The answer


def test_further_fields_are_those_of_the_configuration() -> None:
    fields = accepted(headers=["X-Served-By: switchd", "Set-Cookie: a=b"])
    assert (fields[b"X-Served-By"], fields[b"Set-Cookie"]) == (b"switchd", b"a=b")


def test_the_pure_answer() -> None:
    assert headers(Handshake(KEY), "chat", "permessage-deflate") == (
        (b"Sec-WebSocket-Accept", ACCEPT),
        (b"Sec-WebSocket-Protocol", b"chat"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate"),
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    b"sec-websocket-version",
                    b"sec-websocket-key",
                    b"origin",
                    b"host",
                    b"sec-websocket-protocol",
                    b"sec-websocket-extensions",
                ]
            ),
            st.binary(max_size=40),
        ),
        max_size=8,
    )
)
def test_whatever_comes_is_read_or_refused(fields: list[tuple[bytes, bytes]]) -> None:
    for first in (asked(*fields), asked(VERSION, KEYED, *fields), connect(*fields)):
        with suppress(BadHandshake):
            assert isinstance(read(first), Handshake)


NAMES = (b"origin", b"host", b"sec-websocket-protocol", b"sec-websocket-extensions", b"x-forwarded-for", b"cookie")
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"permessage-deflate; client_max_window_bits=9", b"http://[::1", b"[", b"a, b", b"//", b"null"]),
)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6),
    st.one_of(st.binary(min_size=1, max_size=20), st.sampled_from([b"//[", b"http://[", b"*", b"/%", b"/?%zz&&=="])),
)
def test_whatever_is_asked_has_an_answer(fields: list[tuple[bytes, bytes]], target: bytes) -> None:
    first = evolve(asked(VERSION, KEYED), target=target)
    first = evolve(first, headers=(*first.headers[1:], *fields))
    answer = switch(ECHO, origins=["*"], subprotocols=["a"]).offer(first, WEBSOCKET)
    assert isinstance(answer, Accept | Refuse)
    if isinstance(answer, Accept):
        answer.abandon()


def test_another_client_than_ours_shakes_hands() -> None:
    client = Client(site(ECHO, subprotocols=["chat"]), subprotocols=["superchat", "chat"])
    assert client.accepted.subprotocol == "chat"
