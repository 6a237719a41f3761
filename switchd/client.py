"""The client side of a switch: ask a server for another protocol on a new connection, and speak it there.

    protocol = await connect(reactor, "http://127.0.0.1:8080/addone", b"addone", MyProtocol())

`connect` is for URLs; `SwitchClient` is for those who bring their own connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import h11
from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from switchd.errors import HandoverError, NotSwitched, Refused
from switchd.handover import handover
from switchd.interfaces import Header
from switchd.negotiation import elements

SECONDS = 30.0
"""How long a connection may take to come about, and then the answer, if the caller does not say."""

HEAD_BYTES = 16_384
"""The longest head of an answer, in bytes: what servers allow for requests. A 101 has a few hundred."""

INTERIM_ANSWERS = 16
"""How many 1xx may precede the answer. A server sends one or two; without a bound it could send them for ever."""

BODY_BYTES = 65_536
"""How much of a refusal's body is kept: it explains, and is for people to read."""


@frozen
class Ask:
    """A request for a switch.

    Attributes:
        token: The protocol asked for, for example `b"addone"` or `b"TLS/1.3"`.
        host: The `Host` field.
        target: The request target.
        method: The method.
        headers: Further header fields, after `Host`, `Connection`, `Upgrade` and, if there is a body, `Content-Length`.
        body: The content.
    """

    token: bytes
    host: bytes
    target: bytes = b"/"
    method: bytes = b"GET"
    headers: tuple[Header, ...] = ()
    body: bytes = b""


class SwitchClient(Protocol):
    """Sends a request for a switch when it is connected, and gives the connection to a protocol when it is granted.

    Args:
        ask: The request.
        protocol: Who gets the connection, as by `handover`, early bytes included.
        clock: Where the deadline is kept.
        seconds: How long the answer may take from the moment of being connected.

    Attributes:
        switched: Fires with `protocol` once that is connected. Fails with `Refused`, or with `NotSwitched` for everything
            else that went wrong, and the connection is closed; cancelling it closes the connection too.

    Raises:
        ValueError: Something in `ask` may not be in a request.
    """

    transport: Any

    def __init__(self, ask: Ask, protocol: IProtocol, clock: IReactorTime, seconds: float = SECONDS) -> None:
        self.switched: Deferred[IProtocol] = Deferred(lambda _: self._close(abort=True))
        self._token = ask.token
        self._protocol = protocol
        self._clock = clock
        self._seconds = seconds
        self._deadline: Any = None
        self._closed = False
        self._interim = 0
        self._refused: Refused | None = None
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._request = _written(self._http, ask)

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._deadline = self._clock.callLater(self._seconds, self._late)
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        try:
            self._http.receive_data(data)
            while not self._closed and self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._fail(f"the answer is not HTTP/1.1: {error}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if self._refused is not None:
            self._finish(self._refused)
        else:
            self._fail(f"the connection ended before the answer: {reason.getErrorMessage()}")

    def _take(self, event: Any) -> bool:
        """Whether there may be a next event."""
        match event:
            case h11.InformationalResponse(status_code=101):
                self._switch([value for name, value in event.headers if name == b"upgrade"])
            case h11.InformationalResponse():
                self._interim += 1
                if self._interim > INTERIM_ANSWERS:
                    self._fail(f"more than {INTERIM_ANSWERS} interim answers")
            case h11.Response():
                reason = event.reason.decode("ascii", "backslashreplace")
                self._refused = Refused(event.status_code, reason, tuple(event.headers), b"")
            case h11.Data() if self._refused is not None:
                self._read(self._refused, bytes(event.data))
            case h11.EndOfMessage() if self._refused is not None:
                self._finish(self._refused)
            case _:  # NEED_DATA, or PAUSED
                return False
        return True

    def _read(self, refused: Refused, data: bytes) -> None:
        body = refused.body + data
        self._refused = Refused(refused.status, refused.reason, refused.headers, body[:BODY_BYTES])
        if len(body) > BODY_BYTES:
            self._finish(self._refused)

    def _switch(self, upgrade: list[bytes]) -> None:
        named = elements(upgrade)
        # Several layers are named bottom-up (RFC 9110 section 7.8); the first is what comes next on this connection.
        if not named or named[0].lower() != self._token.lower():
            self._fail("the server switches to a protocol that it was not asked for")
            return
        early, _ = self._http.trailing_data
        self._stop()
        try:
            handover(self.transport, self._protocol, early)
        except HandoverError as error:
            self._fail(str(error))
        else:
            self.switched.callback(self._protocol)

    def _late(self) -> None:
        if self._refused is not None:
            self._finish(self._refused)
        else:
            self._fail(f"no answer within {self._seconds:g} seconds")

    def _fail(self, sentence: str) -> None:
        self._finish(NotSwitched(sentence))

    def _finish(self, error: NotSwitched) -> None:
        if not self._closed:
            self._close(abort=not isinstance(error, Refused))
            self.switched.errback(error)
