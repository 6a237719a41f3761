"""A request as twisted.web's resources see it, over whichever version of HTTP it came."""

from __future__ import annotations

from functools import lru_cache
from os import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.error import UnsupportedMethod
from twisted.web.http import NO_BODY_CODES, datetimeToString
from twisted.web.resource import _IEncodingResource

from switchd import messages
from switchd.events import escaped
from switchd.interfaces import Header

SPOOLED_BYTES = 100_000
"""How much of a request's body is kept in memory before it goes to a temporary file; twisted.web's own figure."""


def default_fields(site: Any) -> tuple[Header, ...]:
    """What every response has.

    Args:
        site: The server, with its clock and the `Server` field that it sends.
    """
    date = (b"Date", _date(int(site.reactor.seconds())))
    return (date, (b"Server", site.header)) if site.header else (date,)


@lru_cache(maxsize=2)
def _date(seconds: int) -> bytes:
    """A `Date`: that of this second, which many answers share, and that of the last."""
    date: bytes = datetimeToString(seconds)
    return date


class OrdinaryRequest(server.Request):
    """What the requests of all versions have in common.

    Attributes:
        proxies: See `switchd.interfaces.Request`.
    """

    channel: Any
    content: Any
    proxies: tuple[IAddress, ...] = ()

    def __repr__(self) -> str:
        """For twisted.web's own words about it in the log."""
        return f"<{escaped(self.method)} {escaped(self.path or b'')}>"

    def gotLength(self, length: int | None) -> None:
        """See `twisted.web.http.Request`; there, a body that may be long opens a file before any of it has come."""
        if length is None or length >= SPOOLED_BYTES:
            self.content = SpooledTemporaryFile(SPOOLED_BYTES)  # noqa: SIM115 - twisted.web closes it
        else:
            super().gotLength(length)

    def default_headers(self) -> None:
        """Set what every response has."""
        raw = self.responseHeaders._rawHeaders
        raw.pop(b"Server", None)
        for name, value in default_fields(self.channel.server):
            raw[name] = [value]

    def render_ordinary(self) -> None:
        """What a request is if it is no switch."""
        self._settle_length()
        if self.path != b"*":
            self._find_and_render()
        elif self.method == b"OPTIONS":
            self.answer(200, ((b"Allow", b"GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"),), b"")
        else:
            self.answer(400, (), b"The target * is for OPTIONS.\n", close=True)

    def _find_and_render(self) -> None:
        """What `twisted.web.server.Request.process` does, apart from header fields that are not ours."""
        self.site = self.channel.site
        self.prepath = []
        self.postpath = list(map(unquote_to_bytes, self.path[1:].split(b"/")))
        try:
            found = self.site.getResourceFor(self)
            if _IEncodingResource.providedBy(found):
                self._encoder = found.getEncoder(self)
            self.render(found)
        except BaseException:
            self.processingFailed(Failure())

    def processingFailed(self, reason: Failure) -> Failure:
        """See `twisted.web.server.Request`. There, the answer to a method that a resource does not have is a failure
        itself where the path that it is to name is no ASCII."""
        error: Any = reason.value
        if not (isinstance(error, UnicodeDecodeError) and isinstance(error.__context__, UnsupportedMethod)):
            failed: Failure = super().processingFailed(reason)
            return failed
        self.answer(405, (), b"This resource has no such method.\n")  # `Allow` is set by now
        return reason

    def _settle_length(self) -> None:
        """Say how long the body is, however it came (RFC 9112 section 7.1.3): without that, WSGI has it be empty."""
        length = self.content.seek(0, SEEK_END)
        self.content.seek(0)
        if length and not self.requestHeaders.hasHeader(b"Content-Length"):
            self.requestHeaders.removeHeader(b"Transfer-Encoding")
            self.requestHeaders.addRawHeader(b"Content-Length", b"%d" % length)

    def finish(self) -> None:
        """See `twisted.web.server.Request`; there, an encoder has the last word even where there is no content."""
        if self.method == b"HEAD" or self.code in NO_BODY_CODES:
            self._encoder = None
        super().finish()

    def answer(self, status: int, headers: tuple[Header, ...], body: bytes, close: bool = False) -> None:
        """An answer of our own, or of a switch that refuses."""
        self.setResponseCode(status, messages.reason(status))
        self.default_headers()
        names = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.responseHeaders.addRawHeader(name, value)
        if body and b"content-type" not in names:
            self.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        if status not in NO_BODY_CODES:
            self.setHeader(b"Content-Length", b"%d" % len(body))
        if close:
            self.channel.close_after(self)
        self.write(body)
        self.finish()
