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

from switchd.client import upgrade
from switchd.client.ask import Ask
from switchd.client.errors import NoAnswer

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

    Raises:
        ValueError: Something in `ask` may not be in a request.
    """

    def __init__(
        self, reactor: IReactorTime, endpoint: IStreamClientEndpoint, ask: Ask, timeout: float = SECONDS
    ) -> None:
        upgrade.check(ask)
        self._clock = reactor
        self._endpoint = endpoint
        self._ask = ask
        self._timeout = timeout

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
        asking = _Asking(self._ask, protocolFactory, self._clock, self._clock.seconds() + self._timeout)
        connecting: Deferred[Any] = self._endpoint.connect(asking)
        connecting.addTimeout(self._timeout, self._clock, _too_late)
        return connecting.addCallback(attrgetter("switched"))


def _too_late(result: object, seconds: float) -> Failure:
    return Failure(NoAnswer("no connection in time"))


class _Asking(Factory[Any]):
    """Stands for a program's factory until there is a connection that it may have."""

    noisy = False

    def __init__(self, ask: Ask, wrapped: IProtocolFactory, clock: IReactorTime, until: float) -> None:
        self._ask = ask
        self._wrapped = wrapped
        self._clock = clock
        self._until = until

    def doStart(self) -> None:
        self._wrapped.doStart()

    def doStop(self) -> None:
        self._wrapped.doStop()

    def logPrefix(self) -> str:
        named = ILoggingContext(self._wrapped, None)
        return type(self._wrapped).__name__ if named is None else named.logPrefix()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol:
        # Where HTTP/2 can be negotiated, what is built here asks in the version that it was.
        return upgrade.Upgrading(self._ask, self._wrapped, addr, self._clock, self._until, self.logPrefix())
