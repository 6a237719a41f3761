"""The head of the request that opened a WebSocket, and what autobahn's handlers may ask about it. Without Twisted.

It is kept as bytes, which is the least that it can be kept in, and read when somebody asks.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs

from switchd.interfaces import Request
from switchd.protocols.websocket import handshake

_IS_ABSOLUTE = re.compile("https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL).fullmatch


def written(request: Request) -> bytes:
    """A request as HTTP/1.1 has it on the wire."""
    version = b"1.1" if request.how == "upgrade" else b"2"
    line = b"%b %b HTTP/%b" % (request.method, request.target, version)
    return b"\r\n".join([line, *map(b": ".join, request.headers), b"", b""])


def line(head: bytes) -> str:
    """The request line."""
    return head.partition(b"\r\n")[0].decode("latin-1")


def target(head: bytes) -> str:
    """The request target, as sent."""
    return line(head).partition(" ")[2].rpartition(" ")[0]


def fields(head: bytes) -> dict[str, str]:
    """The values of each field, joined where there are several lines of it, by its name in lower case."""
    found: dict[str, list[str]] = {}
    for one in head.decode("latin-1").split("\r\n")[1:-2]:
        name, _, value = one.partition(": ")
        found.setdefault(name, []).append(value)
    return {name: ", ".join(values) for name, values in found.items()}


def host(head: bytes) -> str:
    """Whom the request is for, without the port."""
    authority, _, _ = _parts(target(head))
    value = fields(head).get("host", authority)
    return value if value.endswith("]") else value.rpartition(":")[0] or value


def path(head: bytes) -> str:
    """The target's path, as sent."""
    return _parts(target(head))[1]


def parameters(head: bytes) -> dict[str, list[str]]:
    """The values of each name in the target's query."""
    return parse_qs(_parts(target(head))[2])


def origin(head: bytes) -> str:
    """The value of `Origin`; empty if there is none."""
    return fields(head).get("origin", "")


def subprotocols(head: bytes) -> list[str]:
    """Those that the client asks for."""
    return list(handshake.subprotocols(fields(head).get("sec-websocket-protocol", "")))


def extensions(head: bytes) -> list[tuple[str, dict[str, list[Any]]]]:
    """Those that the client offers, as autobahn has them."""
    offered = handshake.extensions(fields(head).get("sec-websocket-extensions", ""))
    return [(one.name, _values(one.parameters)) for one in offered]


def _values(parameters: tuple[tuple[str, str | None], ...]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in parameters:
        found.setdefault(name, []).append(True if value is None else value)
    return found


def _parts(target: str) -> tuple[str, str, str]:
    """Authority, path and query of a request target. Not `urlsplit`, which takes "//[" for an URL, and refuses it."""
    absolute = _IS_ABSOLUTE(target)
    authority, rest = absolute.groups() if absolute else ("", target)
    path, _, query = rest.partition("?")
    return authority, path or "/", query
