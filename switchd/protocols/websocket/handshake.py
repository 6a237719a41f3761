"""The opening handshake: RFC 6455 section 4.2, for HTTP/1.1 and, by RFC 8441, for extended CONNECT. Without Twisted.

`read` turns a request into what the client asks for, or into the refusal that it gets; `headers` writes the answer.
Which extension is agreed on is decided in `deflate`, whose page is welcome in `origins`.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Container, Iterable
from functools import lru_cache

from attrs import frozen

from switchd.interfaces import Header, Refuse, Request

VERSION = b"13"
"""The one version there is (RFC 6455 section 4.1); the drafts before it are gone from every browser."""

MOST_REMEMBERED, LONGEST_REMEMBERED = 128, 256
"""Lists of extensions that are read only once: how many, and the longest, in characters."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""A token (RFC 9110 section 5.6.2), as a regular expression: the name of a field, a subprotocol, an extension."""

is_token = re.compile(TOKEN).fullmatch
# extension-param = token [ "=" ( token | quoted-string ) ], and what is quoted must be a token too (section 9.1).
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({TOKEN})(?:[ \t]*=[ \t]*(?:({TOKEN})|"({TOKEN})"))?')
_EXTENSION = re.compile(rf"[ \t]*({TOKEN})((?:{_PARAMETER.pattern})*)[ \t]*(?:,|\Z)")
_IS_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch  # the base64 of 16 bytes
_NOTHING = re.compile(r"[ \t]*(?:,|\Z)")  # an empty element of a list (RFC 9110 section 5.6.1)


@frozen
class Extension:
    """One element of `Sec-WebSocket-Extensions`.

    Attributes:
        name: Its name, in lower case.
        parameters: Name and value of each; None where there is no value.
    """

    name: str
    parameters: tuple[tuple[str, str | None], ...] = ()


@frozen
class Handshake:
    """What a client asks for.

    Attributes:
        key: To be answered by `Sec-WebSocket-Accept`. None in extended CONNECT, which has neither (RFC 8441 section 5).
        origin: Where the page came from that asks. None: no browser, or none that says so.
        subprotocols: In the client's order.
        extensions: Likewise.
    """

    key: bytes | None
    origin: str | None = None
    subprotocols: tuple[str, ...] = ()
    extensions: tuple[Extension, ...] = ()


_READ = frozenset(
    (
        b"origin",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
    )
)


class BadHandshake(Exception):
    """The request is no handshake.

    Attributes:
        refusal: What it is answered: 400, 405 or 426.
    """

    def __init__(self, status: int, why: str, *headers: Header) -> None:
        super().__init__(why)
        self.refusal = refusal(status, why, *headers)


def refusal(status: int, why: str, *headers: Header) -> Refuse:
    """A refusal that says why, in a line of text."""
    content_type = (b"Content-Type", b"text/plain; charset=utf-8")
    return Refuse(status, (content_type, *headers), why.encode() + b"\n")


def read(request: Request) -> Handshake:
    """What a request asks for. That it offers `websocket` at all has been seen to.

    Raises:
        BadHandshake: It breaks a rule of RFC 6455 section 4.2.1.
    """
    if request.how == "upgrade" and request.method != b"GET":
        raise BadHandshake(405, "a WebSocket is opened with GET", (b"Allow", b"GET"))
    found = _values(request)
    _check_version(found)
    protocols, offers = found.get(b"sec-websocket-protocol"), found.get(b"sec-websocket-extensions")
    return Handshake(
        key=_key(found) if request.how == "upgrade" else None,
        origin=_origin(found),
        # A list field may be split over several lines (RFC 9110 section 5.3).
        subprotocols=() if protocols is None else subprotocols(b",".join(protocols).decode("latin-1")),
        extensions=() if offers is None else _offers(b",".join(offers).decode("latin-1")),
    )


def _values(request: Request) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        if name in _READ:
            found.setdefault(name, []).append(value)
    return found


def _check_version(found: dict[bytes, list[bytes]]) -> None:
    versions = found.get(b"sec-websocket-version", [])
    if len(versions) > 1:
        raise BadHandshake(400, "Sec-WebSocket-Version stands there more than once")
    if versions != [VERSION]:
        # 426, and what is understood (section 4.4). The Upgrade field that belongs to it is added by switchd.
        raise BadHandshake(426, "only version 13 of WebSocket is spoken here", (b"Sec-WebSocket-Version", VERSION))


def _key(found: dict[bytes, list[bytes]]) -> bytes:
    keys = found.get(b"sec-websocket-key", [])
    if len(keys) != 1:
        raise BadHandshake(400, f"expected one Sec-WebSocket-Key, got {len(keys)}")
    if not _IS_KEY(keys[0]):
        raise BadHandshake(400, "Sec-WebSocket-Key is not the base64 of 16 bytes")
    return keys[0]


def _origin(found: dict[bytes, list[bytes]]) -> str | None:
    values = found.get(b"origin", [])
    if len(values) > 1:
        raise BadHandshake(400, "Origin stands there more than once")
    return values[0].decode("latin-1") if values else None


def subprotocols(value: str) -> tuple[str, ...]:
    """The names in the value of `Sec-WebSocket-Protocol`.

    Raises:
        BadHandshake: It is no list of them.
    """
    names = tuple(name.strip(" \t") for name in value.split(",") if name.strip(" \t"))
    if not all(map(is_token, names)):
        raise BadHandshake(400, "Sec-WebSocket-Protocol lists something that is no token")
    if len(set(names)) != len(names):
        raise BadHandshake(400, "Sec-WebSocket-Protocol lists a subprotocol twice")
    return names


def extensions(value: str) -> tuple[Extension, ...]:
    """The offers in the value of `Sec-WebSocket-Extensions`.

    Raises:
        BadHandshake: It is no list of them.
    """
    found = []
    position = 0
    while position < len(value):
        match = _EXTENSION.match(value, position)
        if match:
            parameters = ((name.lower(), bare or quoted or None) for name, bare, quoted in _PARAMETER.findall(match[2]))
            found.append(Extension(match[1].lower(), tuple(parameters)))
        else:
            match = _NOTHING.match(value, position)
        if not match:
            raise BadHandshake(400, "Sec-WebSocket-Extensions is no list of extensions")
        position = match.end()
    return tuple(found)


def _offers(value: str) -> tuple[Extension, ...]:
    return _remembered(value) if len(value) <= LONGEST_REMEMBERED else extensions(value)


# Each kind of client always offers the same.
_remembered = lru_cache(MOST_REMEMBERED)(extensions)


def chosen(asked: Iterable[str], served: Container[str]) -> str | None:
    """The first of the client's subprotocols that is served: its order is preference (RFC 6455 section 4.1)."""
    return next((name for name in asked if name in served), None)


def headers(handshake: Handshake, subprotocol: str | None, extension: str | None) -> tuple[Header, ...]:
    """The fields of the answer that WebSocket adds: to the 101, or to the 200 of extended CONNECT."""
    fields: list[Header] = []
    if handshake.key is not None:
        digest = hashlib.sha1(handshake.key + _GUID).digest()  # RFC 6455 says SHA-1; nothing is secret
        fields.append((b"Sec-WebSocket-Accept", binascii.b2a_base64(digest, newline=False)))
    if subprotocol is not None:
        fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
    if extension is not None:
        fields.append((b"Sec-WebSocket-Extensions", extension.encode("ascii")))
    return tuple(fields)
