"""The endpoint: a connection comes about, the switch is asked for, and a program's protocol gets what is switched."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    ILoggingContext,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.client import connect, upgrade
from switchd.client.ask import Ask
from switchd.client.attempt import Asking, Attempt
from switchd.client.errors import NoAnswer, NoTunnel
from switchd.client.negotiate import Negotiating

SECONDS = 30.0
"""How long a switch may take, from the first packet to the server's answer, where the caller does not say."""


@implementer(IStreamClientEndpoint)
class SwitchClientEndpoint:
    """Connects through another endpoint, and asks the server there for another protocol.

    Args:
        reactor: Where the time-out is kept.
        endpoint: How to come to the server, in clear or in TLS.
        ask: The request.
        timeout: How long it may take until the server has switched, in seconds, the connection included.
        http2: How to come to the server in TLS if HTTP/2 may be chosen: this is tried first, unless `ask` has a body
            or another method than GET. Where the server chooses HTTP/2 and switches no streams of it, `endpoint` is
            tried, and from then on alone. None: there is only `endpoint`.

    Raises:
        ValueError: Something in `ask` may not be in a request.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        ask: Ask,
        timeout: float = SECONDS,
        http2: IStreamClientEndpoint | None = None,
    ) -> None:
        upgrade.check(ask)
        self._clock = reactor
        self._endpoint = endpoint
        self._ask = ask
        self._timeout = timeout
        # Extended CONNECT has neither (RFC 8441 section 4).
        self._http2 = http2 if ask.method == b"GET" and not ask.body else None

    def __repr__(self) -> str:
        return f"<SwitchClientEndpoint to {self._ask.token.decode()} by {self._endpoint!r}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, ask, and give the connection to a protocol of `protocolFactory`.

        The protocol is built when the server has switched, not before. It gets every byte that came behind the answer.

        Returns:
            A Deferred that fires with the protocol, connected. It fails with `NotSwitched`, with `NoProtocol` where
            `buildProtocol` returned None, with what `buildProtocol` raised, or with what `endpoint` fails with. The
            connection is closed then, and when the Deferred is cancelled.
        """
        until = self._clock.seconds() + self._timeout
        if self._http2 is None:
            return self._connect(self._endpoint, _Factory(self._ask, protocolFactory, self._clock, until))
        connecting = self._connect(self._http2, _NegotiatingFactory(self._ask, protocolFactory, self._clock, until))
        return connecting.addErrback(self._again, protocolFactory, until)

    def _again(self, failure: Failure, factory: IProtocolFactory, until: float) -> Deferred[IProtocol]:
        failure.trap(NoTunnel)
        self._http2 = None  # the next connection need not find out again
        return self._connect(self._endpoint, _Factory(self._ask, factory, self._clock, until))

    def _connect(self, endpoint: IStreamClientEndpoint, asking: _Factory) -> Deferred[IProtocol]:
        connecting: Deferred[Any] = endpoint.connect(asking)
        connecting.addTimeout(max(0.0, asking.until - self._clock.seconds()), self._clock, _too_late)
        return connecting.addCallback(attrgetter("switched"))


def _too_late(result: object, seconds: float) -> Failure:
    return Failure(NoAnswer("no connection in time"))


class _Factory(Factory[Any]):
    """Stands for a program's factory until there is a connection that it may have."""

    noisy = False

    def __init__(self, ask: Ask, wrapped: IProtocolFactory, clock: IReactorTime, until: float) -> None:
        self.until = until
        self._ask = ask
        self._wrapped = wrapped
        self._clock = clock

    def doStart(self) -> None:
        self._wrapped.doStart()

    def doStop(self) -> None:
        self._wrapped.doStop()

    def logPrefix(self) -> str:
        named = ILoggingContext(self._wrapped, None)
        return type(self._wrapped).__name__ if named is None else named.logPrefix()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        return upgrade.Upgrading(self._attempt(addr))

    def _attempt(self, address: IAddress | None) -> Attempt:
        return Attempt(self._ask, self._wrapped, address, self._clock, self.until, self.logPrefix())


class _NegotiatingFactory(_Factory):
    """The same where HTTP/2 may be chosen."""

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        attempt = self._attempt(addr)

        def ask(alpn: bytes | None) -> Asking:
            return connect.Connecting(attempt) if alpn == b"h2" else upgrade.Upgrading(attempt)

        return Negotiating(ask, attempt)
