"""Which version of HTTP a switch is asked for in: that which the server has chosen in the TLS handshake."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.client.attempt import Asking, Attempt
from switchd.client.errors import NoAnswer, in_words
from switchd.deadlines import Timer
from switchd.handover import handover


@implementer(IHandshakeListener)
class Negotiating(Asking):
    """Waits for the end of the handshake, and hands the connection to whoever asks in the version that was chosen.

    Args:
        ask: Makes that one from the name by which ALPN has the version; None: the server has chosen none.
        attempt: The attempt.
    """

    def __init__(self, ask: Callable[[bytes | None], Asking], attempt: Attempt) -> None:
        super().__init__(attempt)
        self._ask = ask
        self._asking: Asking | None = None
        self._deadline = Timer(attempt.clock)

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._deadline.start(self.attempt.seconds, self._too_late)

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
        switched.errback(ConnectingCancelledError(self.attempt.address))
