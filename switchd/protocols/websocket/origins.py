"""Which pages may open a WebSocket: a browser says in `Origin` where the page came from (RFC 6455 section 10.2).

Without this check any page on the web could talk to the server with the cookies of whoever looks at it: cross-site
WebSocket hijacking. Other clients send no `Origin`, or whatever they like; for them this is no protection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

from switchd.interfaces import Request

SAME = "same-origin"
"""The word for pages that this server has served itself: same scheme, host and port."""

ANY = "*"
NULL = "null"
"""What browsers send for pages without an origin: files, sandboxed frames."""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_AUTHORITY = r"(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::([0-9]{1,5}))?"
_IS_AUTHORITY = re.compile(_AUTHORITY, re.IGNORECASE).fullmatch
_IS_ORIGIN = re.compile(rf"([a-z][a-z0-9+.\-]*)://{_AUTHORITY}", re.IGNORECASE).fullmatch


@frozen
class Origin:
    """An origin as RFC 6454 section 4 compares it."""

    scheme: str
    host: str
    port: int | None


def parse(text: str) -> Origin | None:
    """An origin in its serialized form, "https://example.org" or with a port; None if it is nothing like that."""
    match = _IS_ORIGIN(text)
    if not match:
        return None
    scheme = match[1].lower()
    return Origin(scheme, match[2].lower(), int(match[3]) if match[3] else _PORTS.get(scheme))


def own(request: Request) -> Origin | None:
    """The origin of a page that came from where `request` went; None if it does not say where that is."""
    scheme = "https" if request.secure else "http"
    absolute = parse("/".join(request.target.decode("latin-1").split("/")[:3]))
    if absolute is not None:
        return Origin(scheme, absolute.host, absolute.port)  # it stands above Host (RFC 9112 section 3.2.2)
    authority = _IS_AUTHORITY(b"".join(request.values(b"host")).decode("latin-1"))
    return authority and Origin(scheme, authority[1].lower(), int(authority[2] or _PORTS[scheme]))


def welcome(origin: str | None, request: Request, allowed: Iterable[str]) -> bool:
    """Whether a page may open this WebSocket.

    Args:
        origin: The value of `Origin`; None if there is none, which is welcome: no browser has sent that.
        request: The request it came with.
        allowed: `SAME`, `ANY`, `NULL`, or origins in serialized form, compared exactly.
    """
    if origin is None or ANY in allowed:
        return True
    if origin == NULL:
        return NULL in allowed
    parsed = parse(origin)
    if parsed is None:
        return False
    return parsed in map(parse, allowed) or (SAME in allowed and parsed == own(request))
