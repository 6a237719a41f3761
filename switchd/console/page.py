"""The page's files, and for whom they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.resources import files
from ipaddress import ip_address
from typing import Any

from twisted.web.resource import Resource

_FILES = {
    b"": (__package__, "page.html", "text/html; charset=utf-8"),
    b"colours.css": ("switchd.pages", "colours.css", "text/css; charset=utf-8"),
    b"console.css": (__package__, "console.css", "text/css; charset=utf-8"),
    b"console.js": (__package__, "console.js", "text/javascript; charset=utf-8"),
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The Content-Security-Policy: what is in these files, the feed, and an empty icon."""

_FIELDS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{1,5})?", re.IGNORECASE).fullmatch

NOT_OURS = "this server does not answer to that name: use its address, or name it in [admin] hosts"


def is_ours(host: str, names: Iterable[str]) -> bool:
    """Whether a browser that asks for a host means us.

    A page of somebody else's may have a name that leads to our address, only for its own browser to take us for its
    server (DNS rebinding). So a name has to be known; an address cannot be led anywhere.

    Args:
        host: A `Host` field.
        names: Those that are ours besides "localhost".
    """
    match = _AUTHORITY(host)
    if match is None:
        return False
    address, name = match[1], (match[2] or "").lower().removesuffix(".")
    return _is_address(address or name) or name == "localhost" or name in map(str.lower, names)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class Page(Resource):
    """The console's page, at its own path and with its files beside it.

    Args:
        names: Tells them: see `is_ours`.
    """

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        for path, (package, name, media_type) in _FILES.items():
            content = files(package).joinpath(name).read_bytes()
            self.putChild(path, _File(content, media_type, names))


class _File(Resource):
    def __init__(self, content: bytes, media_type: str, names: Callable[[], Iterable[str]]) -> None:
        super().__init__()
        self._content = content
        self._media_type = media_type
        self._names = names

    def render_GET(self, request: Any) -> bytes:
        """See `Resource`."""
        host = (request.getHeader(b"host") or b"").decode("latin-1")
        content, media_type = self._content, self._media_type
        if not is_ours(host, self._names()):
            request.setResponseCode(421)  # Misdirected Request (RFC 9110 section 15.5.20)
            content, media_type = f"{NOT_OURS}\n".encode(), "text/plain; charset=utf-8"
        for name, value in _FIELDS.items():
            request.setHeader(name, value)
        request.setHeader("Content-Type", media_type)
        request.setHeader("Content-Length", str(len(content)))
        return b"" if request.method == b"HEAD" else content

    render_HEAD = render_GET
