"""The lines of the access log: twisted.web's, without queries, since what is in one may be secret."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.http import combinedLogFormatter
from twisted.web.iweb import IAccessLogFormatter
from zope.interface import provider

_PLAIN = bytes([*b" !", *range(0x23, 0x5C), *range(0x5D, 0x7F)])
"""What stands in a line as it is: printable, and neither a quote nor a backslash."""

_LINE = b'"%b" - - %b "%b %b %b" %d %b "%b" "%b"'


@provider(IAccessLogFormatter)
def combined(timestamp: str, request: Any) -> str:
    """The line of a request: what twisted.web's `combinedLogFormatter` makes of it, which takes several times as long,
    but for queries. Of one, there is the "?" with which it begins.

    Args:
        timestamp: As the line has it.
        request: It has been answered.
    """
    client = request.getClientAddress()
    referrer = without_query(request.getHeader(b"referer") or b"-")
    agent = request.getHeader(b"user-agent") or b"-"
    # An address may come from a proxy's word for it (`haproxy:` endpoints), so it is looked at like the rest.
    host = client.host.encode() if isinstance(client, IPv4Address | IPv6Address) else None
    said = (request.method, without_query(request.uri), request.clientproto, referrer, agent, host)
    if not _is_plain(said):
        line: str = combinedLogFormatter(timestamp, _Discreet(request, said[1], referrer))
        return line
    length = b"%d" % request.sentLength if request.sentLength else b"-"
    method, uri, version = said[:3]
    filled = (host, timestamp.encode(), method, uri, version, request.code, length, referrer, agent)
    return (_LINE % filled).decode()


@frozen
class _Discreet:
    """A request as the original is to see it."""

    _request: Any
    uri: Any
    _referrer: bytes

    def getHeader(self, key: bytes) -> bytes | None:
        """See `twisted.web.http.Request`."""
        found: bytes | None = self._referrer if key == b"referer" else self._request.getHeader(key)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def without_query(url: Any) -> Any:
    """An URL up to its query, if it has one. An application may have put text in the place of bytes."""
    mark = url.find(b"?" if isinstance(url, bytes) else "?")
    return url[: mark + 1] if mark >= 0 else url


def _is_plain(said: tuple[Any, ...]) -> bool:
    """Whether all of it may stand in a line as it is. An application may have put text in the place of bytes."""
    return set(map(type, said)) == {bytes} and not b"".join(said).translate(None, _PLAIN)
