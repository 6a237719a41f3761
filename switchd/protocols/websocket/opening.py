"""One WebSocket from its request to the handover: the handler is made, shown the request, and asked (`onConnect`).

autobahn's own order is kept, because handlers rely on it: `connectionMade`, `onConnect`, `onOpen`. The first two come
before there is a connection to give away, so until then the handler has a transport that knows addresses and no more.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IAddress, ITransport
from zope.interface import implementer

from switchd.interfaces import Header, Refuse, Request
from switchd.protocols.websocket.channel import abandon
from switchd.protocols.websocket.handshake import Handshake, refusal
from switchd.protocols.websocket.lean import Link


@implementer(ITransport)
class Addresses:
    """The transport of a handler that is not connected yet.

    What is set on it (`setTcpKeepAlive` ...) is set on the connection later.
    """

    def __init__(self, request: Request) -> None:
        self.closed = False
        self._peer, self._host = request.peer, request.host
        self._set: list[tuple[str, tuple[object, ...]]] = []

    def getPeer(self) -> IAddress:
        return self._peer

    def getHost(self) -> IAddress:
        return self._host

    def write(self, data: bytes) -> None:
        raise RuntimeError("the WebSocket is not open yet")

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"")

    def loseConnection(self) -> None:
        self.closed = True

    abortConnection = loseConnection

    def unregisterProducer(self) -> None:
        pass

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._set.append(("setTcpNoDelay", (enabled,)))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._set.append(("setTcpKeepAlive", (enabled,)))

    def replay(self, transport: Any) -> None:
        """Set on a connection what has been set here, as far as it has that: a UNIX socket has no delay."""
        for name, arguments in self._set:
            with suppress(AttributeError, OSError):
                getattr(transport, name)(*arguments)


@frozen
class Welcome:
    """What a handler says that lets a client in.

    Attributes:
        subprotocol: Its choice, one of the client's; None: it makes none.
        headers: Further fields of the answer.
    """

    subprotocol: str | None
    headers: tuple[Header, ...]


_WELCOME = Welcome(None, ())


class Opening:
    """A handler that is being asked.

    Args:
        protocol: The handler, adopted by `terms.adopt`.
        link: What `terms.adopt` returned.
        request: The request.
        handshake: What it asks for.
        trusted: How many proxies may say in `X-Forwarded-For` who the client is, as autobahn's `trustXForwardedFor`.
    """

    def __init__(self, protocol: Any, link: Link, request: Request, handshake: Handshake, trusted: int) -> None:
        self.protocol = protocol
        self.link = link
        self._request = request
        self._handshake = handshake
        self._trusted = trusted
        self._transport = Addresses(request)

    def ask(self) -> Welcome | Refuse | Awaitable[Welcome | Refuse]:
        """Connect the handler and call its `onConnect`.

        Returns:
            What it says, or an awaitable of that where it is late. After a `Welcome` the handler is handed the
            connection, or `abandon` is called; otherwise it has been abandoned already.

        Raises:
            Exception: What the handler raised, but for `ConnectionDeny`, which is a refusal.
        """
        try:
            self.protocol.makeConnection(self._transport)
            if self._trusted:
                self._trust()
            said = self.protocol.onConnect(self._asked()) if self.link.terms.asks else None
            return self._later(said) if said is not None and inspect.isawaitable(said) else self._read(said)
        except BaseException as error:
            return self._ended(error)

    async def _later(self, said: Awaitable[Any]) -> Welcome | Refuse:
        try:
            return self._read(await said)
        except BaseException as error:  # also when the decision is cancelled
            return self._ended(error)

    def _ended(self, error: BaseException) -> Refuse:
        self.abandon()
        if isinstance(error, ConnectionDeny):
            return refusal(error.code, error.reason or "")
        raise error

    def abandon(self) -> None:
        """It comes to nothing."""
        abandon(self.protocol)

    def _asked(self) -> ConnectionRequest:
        protocol = self.protocol
        return ConnectionRequest(
            protocol.peer,
            protocol.http_headers,
            protocol.http_request_host,
            protocol.http_request_path,
            protocol.http_request_params,
            protocol.websocket_version,
            protocol.websocket_origin,
            protocol.websocket_protocols,
            protocol.websocket_extensions,
        )

    def _trust(self) -> None:
        forwarded = b",".join(self._request.values(b"x-forwarded-for")).decode("latin-1")
        if forwarded:
            self.protocol.transport_details  # noqa: B018 - made now: they tell who is connected to us
            self.protocol.peer = [address.strip() for address in forwarded.split(",")][-self._trusted :][0]

    def _read(self, said: Any) -> Welcome:
        """Read what `onConnect` returned: nothing, a subprotocol, or a pair of one and header fields."""
        if self._transport.closed:
            raise ConnectionDeny(ConnectionDeny.FORBIDDEN, "the handler has closed the connection")
        if said is None:
            return _WELCOME
        subprotocol, headers = said if isinstance(said, tuple) and len(said) == 2 else (said, {})
        if subprotocol is not None and subprotocol not in self._handshake.subprotocols:
            raise ValueError(f"onConnect chose the subprotocol {subprotocol!r}, which the client has not asked for")
        return Welcome(subprotocol, fields(headers or {}))


def fields(headers: Mapping[str, Any]) -> tuple[Header, ...]:
    """Header fields as autobahn's users give them: a value, or several, to each name."""
    found: list[Header] = []
    for name, given in headers.items():
        values = [given] if isinstance(given, str | bytes) or not isinstance(given, Iterable) else given
        found += [(str(name).encode(), str(value).encode()) for value in values]
    return tuple(found)
