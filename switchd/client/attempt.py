"""One attempt to have a switch: for whom, and until when; and what all who undertake one have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol

from switchd.client.ask import Ask


@frozen
class Attempt:
    """One attempt.

    Attributes:
        ask: The request; see `upgrade.check`.
        factory: Builds who gets what is switched.
        address: What `factory` builds for.
        clock: Where the deadline is kept.
        until: When the server has to have switched, in the clock's seconds.
        name: Whose connection it is, for logs.
    """

    ask: Ask
    factory: IProtocolFactory
    address: Any  # an IAddress, or None
    clock: IReactorTime
    until: float
    name: str

    @property
    def seconds(self) -> float:
        """How long there is."""
        return max(0.0, self.until - self.clock.seconds())


class Asking(Protocol, ABC):
    """A connection on which it is made.

    Args:
        attempt: Which.

    Attributes:
        switched: Fires with the protocol that has what is switched; see `accepted.connect`. Fails with `NotSwitched` if
            the server has not switched. The connection is closed then, and when it is cancelled.
    """

    transport: Any

    def __init__(self, attempt: Attempt) -> None:
        self.switched: Deferred[IProtocol] = Deferred(self._cancel)
        self.attempt = attempt

    def logPrefix(self) -> str:
        """See `ILoggingContext`: transports ask once, and there is no other protocol yet."""
        return self.attempt.name

    @abstractmethod
    def _cancel(self, switched: Deferred[IProtocol]) -> None:
        """Nobody wants it any more."""
