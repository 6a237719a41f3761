"""A request of twisted.web's that makes of itself only what its application asks for.

twisted.web makes lists, headers, cookies, arguments and a file for the body of every request, and most resources want
none of them. Here each is made when it is first wanted, from the head as it came, and is then what twisted.web's own
would have been. What is out of the ordinary goes twisted.web's way.

This is the only module that knows these parts of twisted.web; `tests/test_lazy.py` compares them with the original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, AnyStr

from twisted.web.http import NO_BODY_CODES, parse_qs
from twisted.web.http_headers import Headers

from switchd.interfaces import Header
from switchd.request import OrdinaryRequest

_HTML = b"text/html"


class _Attribute:
    """An attribute that is made when it is first wanted, and is then an ordinary one."""

    def __init__(self, make: Callable[[Any], object]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        made = self._make(instance)
        setattr(instance, self._name, made)
        return made


def _made(make: Callable[[Any], object]) -> Any:
    """An attribute that is made so. In this way it has the type that twisted.web has declared."""
    return _Attribute(make)


class LazyRequest(OrdinaryRequest):
    """A request whose head is known when it is made.

    Args:
        channel: Its channel.
        transport: Its transport.
        fields: The header fields; names are in lower case.
        length: Of its body, in bytes; None: it does not say.
    """

    requestHeaders = _made(lambda request: request._make_headers())
    received_cookies = _made(lambda request: request._make_cookies())
    responseHeaders = _made(lambda request: Headers())
    args = _made(lambda request: parse_qs(request._query, True) if request._query else {})
    content = _made(lambda request: request._make_content())
    client = _made(lambda request: request.transport.getPeer())
    host = _made(lambda request: request.transport.getHost())
    cookies = _made(lambda request: [])
    notifications = _made(lambda request: [])
    _adapterCache = _made(lambda request: {})
    _has_cookies = False
    _has_content = False

    def __init__(self, channel: Any, transport: Any, fields: tuple[Header, ...], length: int | None) -> None:
        # Not the original's: it would make all of the above.
        self.channel = channel
        self.transport = transport
        self._parsePOSTFormSubmission = channel.site._parsePOSTFormSubmission
        self.queued = False
        self._fields = fields
        self._length = length
        self._query = b""

    def keep_addresses(self) -> None:
        """Look the addresses up while the connection is there: it will be answered later, and may be asked for them."""
        _ = self.client, self.host

    def _make_headers(self) -> Headers:
        self.requestHeaders = headers = Headers()
        for name, value in self._fields:
            headers.addRawHeader(name, value)
        self._make_cookies()  # before anybody can change the headers
        return headers

    def _make_cookies(self) -> Any:
        if not self._has_cookies:
            self._has_cookies = True
            self.received_cookies = {}
            self.parseCookies()  # which makes the headers, if need be
        return self.received_cookies

    def _make_content(self) -> Any:
        if self.finished:
            return None
        self._has_content = True
        self.gotLength(self._length)
        return self.content

    def getStateToCopyFor(self, issuer: Any) -> Any:
        """See `twisted.web.server.Request`, which looks at its attributes as a dictionary."""
        for name, attribute in vars(LazyRequest).items():
            if isinstance(attribute, _Attribute):
                getattr(self, name)
        state = super().getStateToCopyFor(issuer)
        for name in ("_fields", "_length", "_query", "_has_cookies", "_has_content"):
            state.pop(name, None)
        return state

    # The request

    def getHeader(self, key: AnyStr) -> AnyStr | None:
        """See `twisted.web.http.Request`."""
        if not isinstance(key, bytes) or "requestHeaders" in vars(self):
            return super().getHeader(key)
        name = key.lower()
        for known, value in reversed(self._fields):
            if known == name:
                return value
        Headers().hasHeader(key)  # raises if it is no name at all
        return None

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """See `twisted.web.http.Request`; it looks for a form in the body, if there is one."""
        if self._has_content:
            super().requestReceived(command, path, version)
        else:
            self.method, self.uri, self.clientproto = command, path, version
            self.path, _, self._query = path.partition(b"?")
            self.process()

    def _settle_length(self) -> None:
        if self._has_content:
            super()._settle_length()

    # The answer

    def write(self, data: bytes) -> None:
        """See `twisted.web.server.Request`."""
        if self.startedWriting or not self._is_plain():
            super().write(data)
            return
        self.startedWriting = 1
        self._settle_type()
        self.sentLength += len(data)
        self._begin(data)

    def _begin(self, data: bytes) -> None:
        """Send the head of the answer, and the first of its content."""
        self.channel.begin(self.code, self.responseHeaders)
        self.channel.write(data)

    def _is_plain(self) -> bool:
        """Whether the head of the answer needs nothing but a type, and its content may follow."""
        return not (
            self.finished
            or self._disconnected
            or self._encoder
            or self._inFakeHead
            or self.cookies
            or self.lastModified is not None
            or self.etag is not None
            or self.method == b"HEAD"
            or self.code in NO_BODY_CODES
        )

    def _settle_type(self) -> None:
        fields = self.responseHeaders._rawHeaders
        default = self.defaultContentType
        if default is None or fields.get(b"Content-Type") or fields.get(b"Content-Length", [b""])[:1] == [b"0"]:
            return
        if default == _HTML:
            fields[b"Content-Type"] = [_HTML]
        else:
            self.setHeader(b"Content-Type", default)
