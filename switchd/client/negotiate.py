"""Which version of HTTP a switch is asked for in: that which the server has chosen in the TLS handshake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.client.errors import NoAnswer, in_words
from switchd.handover import handover
from switchd.stream import Timer


@implementer(IHandshakeListener)
class Negotiating(Protocol):
    """Waits for the end of the handshake, and hands the connection to whoever asks in the version that was chosen.

    Args:
        ask: Makes that protocol, with an attribute `switched`, from the name by which ALPN has the version; None: the
            server has chosen none.
        address: Who the connection is with.
        clock: Where the deadline is kept.
        until: When the handshake has to be over, in the clock's seconds.
        name: Whose connection it is, for logs.

    Attributes:
        switched: What becomes of that protocol's.
    """

    transport: Any

    def __init__(
        self,
        ask: Callable[[bytes | None], Any],
        address: IAddress | None,
        clock: IReactorTime,
        until: float,
        name: str,
    ) -> None:
        self.switched: Deferred[IProtocol] = Deferred(self._cancel)
        self._ask = ask
        self._address = address
        self._clock = clock
        self._until = until
        self._name = name
        self._asking: Any = None
        self._deadline = Timer(clock)

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return self._name

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._deadline.start(max(0.0, self._until - self._clock.seconds()), self._too_late)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        self._deadline.stop()
        if not self.switched.called:
            self._asking = self._ask(self.transport.negotiatedProtocol)
            self._asking.switched.chainDeferred(self.switched)
            handover(self.transport, self._asking)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`: it has come to no handshake."""
        self._deadline.stop()
        error = NoAnswer(f"the connection ended before the answer: {in_words(reason.value)}")
        error.__cause__ = reason.value
        self._fail(error)

    def _too_late(self) -> None:
        self.transport.abortConnection()
        self._fail(NoAnswer("no answer in time"))

    def _fail(self, error: Exception) -> None:
        if not self.switched.called:
            self.switched.errback(error)

    def _cancel(self, switched: Deferred[IProtocol]) -> None:
        if self._asking is not None:
            self._asking.switched.cancel()
            return
        self._deadline.stop()
        self.transport.abortConnection()
        switched.errback(ConnectingCancelledError(self._address))
