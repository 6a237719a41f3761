"""RFC 7692, permessage-deflate: row 31 and attack A16."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from wsproto.extensions import PerMessageDeflate

from switchd.interfaces import Accept, Offer
from switchd.testing import request
from tests.websockets import KEY, Client, frame, site, switch

ECHO = "switchd.protocols.websocket:Echo"


def agreed(offer: str, **options: Any) -> str | None:
    """What the answer says to an offer of extensions."""
    fields = [
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", KEY),
        (b"sec-websocket-extensions", offer.encode()),
    ]
    answer = switch(ECHO, **options).offer(request(headers=fields, upgrade=b"websocket"), Offer(b"websocket"))
    assert isinstance(answer, Accept)
    value = dict(answer.headers).get(b"Sec-WebSocket-Extensions")
    return None if value is None else value.decode()


def deflated(data: bytes, bits: int = 15) -> bytes:
    compressor = zlib.compressobj(wbits=-bits)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits=15", "permessage-deflate; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=8", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=9"),
        ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate"),
    ],
)
def test_the_answer_has_nothing_that_was_not_offered(offer: str, answer: str) -> None:
    assert agreed(offer) == answer


@pytest.mark.parametrize(
    "parameters",
    [
        "unknown",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",  # valid, but zlib cannot
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=+9",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
    ],
)
def test_an_offer_that_cannot_be_is_declined_and_the_next_is_taken(parameters: str) -> None:
    assert agreed(f"permessage-deflate; {parameters}") is None
    assert agreed(f"permessage-deflate; {parameters}, permessage-deflate") == "permessage-deflate"


def test_options() -> None:
    offer = "permessage-deflate; client_max_window_bits"
    assert agreed(offer, deflate=False) is None
    assert agreed(offer, deflate_window_bits=15) == "permessage-deflate"
    assert agreed(offer, deflate_window_bits=9) == "permessage-deflate; client_max_window_bits=9"
    without = agreed(offer, deflate_context_takeover=False)
    assert without == "permessage-deflate; client_no_context_takeover; client_max_window_bits=12"


@pytest.mark.parametrize(
    "offer",
    [
        PerMessageDeflate(),
        PerMessageDeflate(client_no_context_takeover=True, server_no_context_takeover=True),
        PerMessageDeflate(client_max_window_bits=9, server_max_window_bits=9),
    ],
)
@pytest.mark.parametrize("takeover", [True, False])
def test_messages_survive(offer: PerMessageDeflate, takeover: bool) -> None:
    client = Client(site(ECHO, deflate_context_takeover=takeover), deflate=offer)
    sent = ["first " * 500, "first " * 500, "", "short", "ä" * 3000]
    for text in sent:
        client.text(text)
    client.binary(bytes(5000))
    assert client.messages == [*sent, bytes(5000)]


def test_a_message_is_compressed_from_the_threshold_on() -> None:
    client = Client(site(ECHO, deflate_threshold_bytes=10), deflate=True)
    client.wire.take()
    client.wire.send(frame(b"x" * 9) + frame(b"x" * 10))
    short, long = b"\x81\x09" + b"x" * 9, client.wire.take()[11:]
    assert long[0] == 0xC1
    assert len(long) < 12
    assert short[0] == 0x81


def test_with_takeover_a_message_refers_to_the_one_before() -> None:
    def second(**options: Any) -> int:
        client = Client(site(ECHO, deflate_threshold_bytes=0, **options), deflate=True)
        noise = bytes(range(256)) * 2
        client.wire.send(frame(noise, 2))
        client.wire.take()
        client.wire.send(frame(noise, 2))
        return len(client.wire.take())

    assert second(deflate_context_takeover=True) < second(deflate_context_takeover=False) / 4


# A16


def test_a_bomb_is_1009_while_it_inflates() -> None:
    bomb = deflated(bytes(20_000_000))
    client = Client(site(ECHO, deflate_max_bytes=1_000_000), deflate=True)
    client.send_raw(frame(bomb, 2, rsv=4))
    assert client.closed == (1009, "a message has at most 1000000 bytes here when it is inflated")
    assert client.messages == []


def test_fragments_inflate_to_no_more_than_one_message_may() -> None:
    whole = deflated(bytes(3000))
    half = len(whole) // 2
    client = Client(site(ECHO, deflate_max_bytes=2000), deflate=True)
    client.send_raw(frame(whole[:half], 2, fin=False, rsv=4) + frame(whole[half:], 0))
    assert client.closed[0] == 1009


def test_the_bound_of_messages_holds_for_inflated_ones_too() -> None:
    client = Client(site(ECHO, max_message_bytes=1000), deflate=True)
    client.send_raw(frame(deflated(bytes(1000)), 2, rsv=4))
    assert client.messages == [bytes(1000)]
    client.send_raw(frame(deflated(bytes(1001)), 2, rsv=4))
    assert client.closed[0] == 1009


def test_what_cannot_be_inflated_is_1007() -> None:
    client = Client(site(ECHO), deflate=True)
    client.send_raw(frame(b"\xff\xff\xff", 2, rsv=4))
    assert client.closed[0] == 1007


def test_rsv1_on_a_continuation_or_without_compression_is_1002() -> None:
    client = Client(site(ECHO), deflate=True)
    client.send_raw(frame(deflated(b"a"), fin=False, rsv=4) + frame(b"", 0, rsv=4))
    assert client.closed[0] == 1002
    client = Client(site(ECHO))
    client.send_raw(frame(deflated(b"a"), rsv=4))
    assert client.closed[0] == 1002
