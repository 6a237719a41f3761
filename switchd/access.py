"""The lines of the access log."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.http import combinedLogFormatter
from twisted.web.iweb import IAccessLogFormatter
from zope.interface import provider

_PLAIN = bytes([*b" !", *range(0x23, 0x5C), *range(0x5D, 0x7F)])
"""What stands in a line as it is: printable, and neither a quote nor a backslash."""

_LINE = b'"%b" - - %b "%b %b %b" %d %b "%b" "%b"'


@provider(IAccessLogFormatter)
def combined(timestamp: str, request: Any) -> str:
    """The line of a request: what twisted.web's `combinedLogFormatter` makes of it, which takes several times as long.

    Args:
        timestamp: As the line has it.
        request: It has been answered.
    """
    client = request.getClientAddress()
    referrer = request.getHeader(b"referer") or b"-"
    agent = request.getHeader(b"user-agent") or b"-"
    # An address may come from a proxy's word for it (`haproxy:` endpoints), so it is looked at like the rest.
    host = client.host.encode() if isinstance(client, IPv4Address | IPv6Address) else None
    said = (request.method, request.uri, request.clientproto, referrer, agent, host)
    if not _is_plain(said):
        line: str = combinedLogFormatter(timestamp, request)
        return line
    length = b"%d" % request.sentLength if request.sentLength else b"-"
    method, uri, version = said[:3]
    filled = (host, timestamp.encode(), method, uri, version, request.code, length, referrer, agent)
    return (_LINE % filled).decode()


def _is_plain(said: tuple[Any, ...]) -> bool:
    """Whether all of it may stand in a line as it is. An application may have put text in the place of bytes."""
    return set(map(type, said)) == {bytes} and not b"".join(said).translate(None, _PLAIN)
