"""Who a request comes from, as proxies say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress

from switchd.events import address
from switchd.forwarded import MOST_LOOKED_AT, Proxies, Way

PEER = IPv4Address("TCP", "127.0.0.1", 5)
TRUSTED = ("127.0.0.1", "10.0.0.0/8", "2001:db8:1::/48")


def way(*values: bytes, peer: object = PEER, field: str = "forwarded", trusted: tuple[str, ...] = TRUSTED) -> list[str]:
    """Whom a request comes from, and before them whom it comes through, the nearest first."""
    proxies = Proxies.named(trusted, field)
    assert proxies is not None
    headers = ((b"host", b"example.org"), *((field.encode(), value) for value in values))
    found = proxies.way(peer, headers)  # type: ignore[arg-type]
    return [*map(address, found.proxies), f"client {address(found.client)}"]


def listed(*values: bytes) -> list[str]:
    """The same by X-Forwarded-For."""
    return way(*values, field="x-forwarded-for")


NEAREST = ["127.0.0.1:5", "client 127.0.0.1:5"]
"""What is left where the nearest proxy says nothing that can be read."""


def test_without_proxies_there_is_nobody_to_believe() -> None:
    assert Proxies.named((), "forwarded") is None


def test_a_client_that_is_no_proxy_is_not_believed() -> None:
    assert way(b"for=1.2.3.4", peer=IPv4Address("TCP", "128.0.0.1", 6)) == ["client 128.0.0.1:6"]
    assert way(b"for=1.2.3.4", peer=UNIXAddress(None)) == ["client unix"]
    assert way(b"for=1.2.3.4", peer=HostnameAddress(b"localhost", 1)) == ["client unknown"]
    assert way(b"for=1.2.3.4", peer=IPv4Address("TCP", "10.0.0.1\r\n", 6)) == [r"client 10.0.0.1\r\n:6"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"for=192.0.2.60", "192.0.2.60"),
        (b"For=192.0.2.60;proto=http; by=203.0.113.43", "192.0.2.60"),
        (b'host="a,for=9.9.9.9;x";for=192.0.2.60', "192.0.2.60"),
        (b'for="192.0.2.43:47011"', "192.0.2.43:47011"),
        (b'for="192.0.2.43:_x"', "192.0.2.43"),
        (b'for="192.0.2.43:99999"', "192.0.2.43"),
        (b'for="[2001:db8:cafe::17]:4711"', "[2001:db8:cafe::17]:4711"),
        (b'for="[2001:DB8:CAFE:0::17]"', "[2001:db8:cafe::17]"),
        (b'for="2001:db8:cafe::17"', "[2001:db8:cafe::17]"),
        (b'for="[::ffff:192.0.2.60]"', "[::ffff:c000:23c]"),
        (rb'for="\1\92.0.2.60"', "192.0.2.60"),
        (b"for=192.0.2.60,, ,", "192.0.2.60"),
    ],
)
def test_a_proxy_says_who_has_asked_it(value: bytes, found: str) -> None:
    assert way(value) == ["127.0.0.1:5", f"client {found}"]


def test_proxies_that_are_trusted_are_passed_over_from_here_on() -> None:
    said = [b'for=1.1.1.1, for=192.0.2.60, for="[2001:db8:1::9]"', b'for="10.0.0.2:80", for=10.0.0.1']
    through = ["127.0.0.1:5", "10.0.0.1", "10.0.0.2:80", "[2001:db8:1::9]"]
    assert way(*said) == [*through, "client 192.0.2.60"]
    assert way(said[1]) == [*through[:2], "client 10.0.0.2:80"], "one of them is the client"


def test_an_ipv4_address_in_ipv6_is_the_same() -> None:
    assert way(b"for=1.1.1.1", peer=IPv6Address("TCP", "::ffff:127.0.0.1", 5))[1] == "client 1.1.1.1"


def test_whoever_comes_by_a_unix_socket_can_be_trusted() -> None:
    assert way(b"for=1.1.1.1", peer=UNIXAddress(None), trusted=("unix",)) == ["unix", "client 1.1.1.1"]
    assert way(b"for=1.1.1.1", trusted=("unix",)) == ["client 127.0.0.1:5"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b", ,",
        b"for=unknown",
        b"for=_hidden",
        b"proto=https",
        b"for=1.1.1.1;for=2.2.2.2",
        b"for=",
        b"for",
        b"for=256.0.0.1",
        b"for=1.1.1.1:80",
        b"for=[::1]",
        b'for="[::1"',
        b'for="1.1.1.1',
        b"for=1.1.1.1 5",
        b"for=1.1.1.1;",
        b'for="[::1%lo]"',
        b"for=\xff",
    ],
)
@pytest.mark.parametrize("before", [b"", b"for=9.9.9.9, "])
def test_what_is_hidden_or_malformed_hides_what_is_before_it(before: bytes, value: bytes) -> None:
    if value.strip(b", "):
        assert way(before + value) == NEAREST
    else:
        assert way(value) == NEAREST


def test_what_is_unknown_further_away_leaves_the_nearest_that_is_known() -> None:
    assert way(b"for=9.9.9.9, for=unknown, for=10.0.0.1") == ["127.0.0.1:5", "client 10.0.0.1"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"1.1.1.1, 192.0.2.60", ["127.0.0.1:5", "client 192.0.2.60"]),
        (b"192.0.2.60:4711", ["127.0.0.1:5", "client 192.0.2.60:4711"]),
        (b"192.0.2.60, 2001:db8:1::9 ,10.0.0.1", ["127.0.0.1:5", "10.0.0.1", "[2001:db8:1::9]", "client 192.0.2.60"]),
        (b"[2001:db8::9]:80", ["127.0.0.1:5", "client [2001:db8::9]:80"]),
        (b"1.1.1.1, unknown", NEAREST),
        (b"1.1.1.1, for=2.2.2.2", NEAREST),
        (b'"1.1.1.1"', NEAREST),
        (b"", NEAREST),
    ],
)
def test_the_elder_field_is_a_list_of_addresses(value: bytes, found: list[str]) -> None:
    assert listed(value) == found


def test_lines_are_one_list() -> None:
    assert listed(b"1.1.1.1, 2.2.2.2", b"10.0.0.1") == ["127.0.0.1:5", "10.0.0.1", "client 2.2.2.2"]


def test_only_the_field_that_is_named_is_believed() -> None:
    headers = ((b"x-forwarded-for", b"1.1.1.1"), (b"forwarded", b"for=2.2.2.2"))
    for field, client in (("forwarded", "2.2.2.2"), ("x-forwarded-for", "1.1.1.1")):
        proxies = Proxies.named(TRUSTED, field)
        assert proxies is not None
        assert address(proxies.way(PEER, headers).client) == client


def test_so_many_are_looked_at_and_no_more() -> None:
    assert len(way(*[b"for=10.0.0.1"] * 100)) == MOST_LOOKED_AT + 1
    assert way(b"for=1.1.1.1" + b"," * 100) == NEAREST


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
FIELDS = st.sampled_from(["forwarded", "x-forwarded-for"])
TEXTS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b'"', b"\\", b",", b";", b"for=", b"1.1.1.1", b"x", b" ", b"=", b"[::1]"])).map(b"".join),
)


@given(TEXTS, FIELDS)
def test_whatever_is_said_there_is_an_answer(text: bytes, field: str) -> None:
    found = way(text, field=field)
    assert found[0] == "127.0.0.1:5"
    assert found[-1].startswith("client ")


@given(TEXTS, ADDRESSES, st.sampled_from([b"", b";proto=https", b';host="a, \\"b"']))
def test_what_a_client_writes_before_it_does_not_change_what_a_proxy_says(
    forged: bytes, real: object, more: bytes
) -> None:
    said = b'for="[%b]"' % str(real).encode() if ":" in str(real) else b"for=%b" % str(real).encode()
    assert way(forged + b", " + said + more)[:2] == way(said + more)[:2]
    assert listed(forged, str(real).encode())[:2] == listed(str(real).encode())[:2]


@given(ADDRESSES, st.booleans())
def test_an_address_is_read_as_it_was_written(real: object, elder: bool) -> None:
    text = f"[{real}]" if ":" in str(real) else str(real)
    assert (listed(text.encode()) if elder else way(f'for="{text}"'.encode()))[-1] == f"client {text}"


def test_a_way_is_its_client_and_its_proxies() -> None:
    client, proxies = Way(PEER)
    assert (client, proxies) == (PEER, ())
