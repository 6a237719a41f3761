"""Standard input and output as the other end of a connection: `switchd connect`, once it has switched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

CLOSE_SECONDS = 5.0
"""How long the other side of a TLS session may take to say goodbye after we have; then the connection is aborted."""


class Pipe(Protocol):
    """Passes on what comes in from either side, and no faster than the other side takes it.

    The end of input half-closes the connection, so that what was asked can still be answered. Twisted's TLS cannot
    half-close; there, the connection is closed after a time without further output.

    Args:
        attach: Connects a protocol to standard input and output, and returns its transport: `StandardIO`, for instance.
        clock: Where the time without output is kept.
        wait: For TLS, that time in seconds.

    Attributes:
        ended: Fires with None when the connection is closed and everything that came over it has been written out.
            Fails with the reason where it was lost otherwise, with `BrokenPipeError` where nobody reads the output.
    """

    transport: Any

    def __init__(self, attach: Callable[[IProtocol], Any], clock: IReactorTime, wait: float) -> None:
        self.ended: Deferred[None] = Deferred()
        self._attach = attach
        self._clock = clock
        self._wait = wait
        self._console: Any = None
        self._readable = False  # whether somebody reads standard output
        self._lost = False
        self._outcome: Failure | None = None
        self._timer: Any = None
        self._closing = False

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._console = self._attach(_Console(self))
        self._readable = True
        self._console.registerProducer(self.transport, True)
        self.transport.registerProducer(self._console, True)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        self._console.write(data)
        if self._timer is not None and not self._closing:
            self._timer.reset(self._wait)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._outcome is None and not (self._closing or reason.check(ConnectionDone)):
            self._outcome = reason
        self._lost = True
        if self._console is not None:
            self._console.unregisterProducer()
            self._console.loseConnection()
        if not self._readable:
            self.written_out()

    def input_ended(self) -> None:
        """Standard input has come to its end."""
        if self._lost:
            return
        # A producer that waits, as standard input may, would hold up the half-close.
        self.transport.unregisterProducer()
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self._timer = self._clock.callLater(self._wait, self._close)
        else:
            self.transport.loseWriteConnection()

    def output_ended(self) -> None:
        """Nobody reads standard output any more."""
        self._outcome = Failure(BrokenPipeError())
        self._readable = False
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def written_out(self) -> None:
        """Everything that will be written to standard output has been."""
        if not self.ended.called:
            self.ended.callback(None) if self._outcome is None else self.ended.errback(self._outcome)

    def _close(self) -> None:
        self._closing = True
        self._timer = self._clock.callLater(CLOSE_SECONDS, self.transport.abortConnection)
        self.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class _Console(Protocol):
    """Standard input and output's own protocol."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def dataReceived(self, data: bytes) -> None:
        self._pipe.transport.write(data)

    def readConnectionLost(self) -> None:
        self._pipe.input_ended()

    def writeConnectionLost(self) -> None:
        self._pipe.output_ended()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._pipe.written_out()
