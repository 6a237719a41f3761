"""Who a request comes from, where proxies stand in between: `Forwarded` (RFC 7239) and its elder, `X-Forwarded-For`.

Each proxy adds, at the end of the field, who has asked it. Everybody can write such a field, so it is believed only as
far as proxies that are trusted have written it: it is read from its end, and reading is over at the first address that
is not one of theirs. That is the client, and what stands before it is the client's own word.

Pure, and total: whatever is in the field, there is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from switchd.config import UNIX
from switchd.interfaces import Header

MOST_LOOKED_AT = 16
"""Elements of the field that are looked at: more than there are proxies in a row anywhere. The next one is not read."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = rb'%b=(?:%b|"(?:[^"\\]|\\.)*")' % (_TOKEN, _TOKEN)
_is_element = re.compile(rb"[ \t]*(%b(?:[ \t]*;[ \t]*%b)*)?[ \t]*" % (_PAIR, _PAIR), re.DOTALL).fullmatch
_fors = re.compile(rb'(?i:(for)|%b)=(?:(%b)|"((?:[^"\\]|\\.)*)")' % (_TOKEN, _TOKEN), re.DOTALL).findall
_unquoted = re.compile(rb"\\(.)", re.DOTALL).sub

# RFC 7239 section 6: an IPv6 address has brackets. Without them and a port, as in X-Forwarded-For, it is clear as well.
_is_node = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::([0-9]{1,5}|_[0-9A-Za-z._\-]+))?|([0-9A-Fa-f:.]{2,45})"
).fullmatch


class Way(NamedTuple):
    """How a request has come.

    Attributes:
        client: From whom.
        proxies: Through whom, as far as they are trusted; the nearest first.
    """

    client: IAddress
    proxies: tuple[IAddress, ...] = ()


@frozen
class Proxies:
    """Whose word is taken for who the client is.

    Attributes:
        networks: Where they are.
        unix: Whether they are also who connects to a UNIX socket.
        field: The name, in lower case, of the field in which they say it. The others of that kind pass through proxies
            that do not know them, so that a client can write what it likes there.
    """

    networks: tuple[IPv4Network | IPv6Network, ...]
    unix: bool
    field: bytes

    @classmethod
    def named(cls, names: Iterable[str], field: str) -> Proxies | None:
        """Those that a configuration names: addresses, networks and `UNIX`. None: nobody is trusted."""
        found = frozenset(names)
        networks = tuple(map(ip_network, found - {UNIX}))
        return cls(networks, UNIX in found, field.encode("ascii")) if found else None

    def way(self, peer: IAddress, headers: Iterable[Header]) -> Way:
        """How a request has come.

        Args:
            peer: Who is connected to us.
            headers: Its header fields, with names in lower case.

        Returns:
            The client is the first that is not trusted, from here on; if all are, the one that is farthest away. Where
            one of them does not say who asked it, or not so that it can be understood, it is that one itself.
        """
        if not self.trust(peer):
            return Way(peer)
        passed = [peer]
        for address in self._said(headers):
            passed.append(address)
            if not self.trust(address):
                break
        return Way(passed[-1], tuple(passed[:-1] or passed))

    def trust(self, address: IAddress) -> bool:
        """Whether it is one of theirs."""
        if isinstance(address, UNIXAddress):
            return self.unix
        try:
            ip = ip_address(str(getattr(address, "host", "")))
        except ValueError:
            return False  # such as what a PROXY header may have in the place of one
        known = getattr(ip, "ipv4_mapped", None) or ip
        return any(known in network for network in self.networks)

    def _said(self, headers: Iterable[Header]) -> Iterator[IAddress]:
        """The addresses in the field, from its end on, up to what cannot be understood."""
        text = b",".join([value for name, value in headers if name == self.field])
        take = _take_forwarded if self.field == b"forwarded" else _take_listed
        for _ in range(MOST_LOOKED_AT):
            text, node = take(text)
            address = _address(node)
            if address is not None:
                yield address
            elif node or not text:
                return


def _take_forwarded(text: bytes) -> tuple[bytes, bytes]:
    """What is before the last element of `Forwarded`, and whom that is for; `b""` for an element that is empty.

    It is what begins behind the last comma from which on all is well-formed. Whatever a client has written before it,
    an open quote for example, this finds what a proxy has added behind that: in what a proxy writes quotes come in
    pairs, so nothing that ends with it is well-formed from elsewhere on.
    """
    comma = len(text)
    for _ in range(MOST_LOOKED_AT):
        comma = text.rfind(b",", 0, comma)
        found = _is_element(text, comma + 1)
        if found is not None:
            return text[: max(comma, 0)], _node(found[1] or b"")
        if comma < 0:
            break
    return b"", b""


def _node(element: bytes) -> bytes:
    """Whom an element is for."""
    said = [token or _unquoted(rb"\1", quoted) for name, token, quoted in _fors(element) if name]
    return said[0] if len(said) == 1 else element and b"unknown"


def _take_listed(text: bytes) -> tuple[bytes, bytes]:
    """The same of `X-Forwarded-For`, which has nothing else in it."""
    before, _, last = text.rpartition(b",")
    return before, last.strip(b" \t")


def _address(node: bytes) -> IAddress | None:
    """An address, perhaps with its port. None: it is hidden (`unknown`, `_name`; section 6.3), or none at all."""
    found = _is_node(node)
    if found is None:
        return None
    bracketed, dotted, port, bare = found.groups()
    try:
        ip = ip_address((bracketed or dotted or bare).decode("ascii"))
    except ValueError:
        return None
    number = int(port) if port is not None and port.isdigit() else 0
    kind = IPv4Address if ip.version == 4 else IPv6Address
    return kind("TCP", str(ip), number if number < 1 << 16 else 0)
