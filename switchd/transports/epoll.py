"""The epoll reactor with less to do for each event: `twistd --reactor switchd`.

It differs from Twisted's in two things, and only for connections of `switchd.transports.connections`:

- it ends its turns itself: what the events of one turn, its timers and other threads have written is sent before it
  waits again, and who is to be closed behind the last byte is closed at once;
- it calls them without a context for the log around each call. What is raised is logged and closes the connection as
  ever, but lines that are logged with the old `twisted.python.log` as it reads do not name it.

This module knows the inside of Twisted's epoll reactor. tests/transports/test_internals.py notices when that changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.main import installReactor
from twisted.python import log
from zope.interface import implementer

from switchd.transports.connections import Connection, IHasTurn, Turn

try:
    from twisted.internet.epollreactor import EPOLLIN, EPollReactor
except ImportError as error:
    raise ImportError("it needs epoll, which only Linux has") from error


@implementer(IHasTurn)
class TurnReactor(EPollReactor):
    """See the module.

    Attributes:
        turn: For connections made with it.
    """

    def __init__(self) -> None:
        self.turn = _Turn(self)
        super().__init__()

    def runUntilCurrent(self) -> None:
        """Do what is due, and end the turn.

        Here, and not behind the events that began it: only after this is it worked out how long to wait.
        """
        super().runUntilCurrent()
        self.turn.end()

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, not longer than `timeout` seconds, and hand them out."""
        if self._justStopped or not self.turn.is_over:
            timeout = 0  # the end of the turn has brought more to do
        elif timeout is None:
            timeout = -1
        try:
            events = self._poller.poll(timeout, len(self._selectables))
        except InterruptedError:
            return
        for descriptor, event in events:
            selectable = self._selectables.get(descriptor)
            if isinstance(selectable, Connection):
                if event == EPOLLIN:
                    self._read(selectable)
                else:
                    self.call(selectable, descriptor, event)
            elif selectable is not None:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, descriptor, event)

    doIteration = doPoll

    def addReader(self, reader: Any) -> None:
        """See `IReactorFDSet`. A connection is added again with each handover."""
        if reader.fileno() not in self._reads:
            super().addReader(reader)

    def removeReader(self, reader: Any) -> None:
        """See `IReactorFDSet`. A connection is removed again and again as it is closed."""
        descriptor = reader.fileno()
        if descriptor in self._reads or descriptor < 0 or not isinstance(reader, Connection):
            super().removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        """Likewise."""
        descriptor = writer.fileno()
        if descriptor in self._writes or descriptor < 0 or not isinstance(writer, Connection):
            super().removeWriter(writer)

    def call(self, connection: Connection, descriptor: int, event: int) -> None:
        """Have a connection read or write."""
        self._guard(connection, self._doReadOrWrite, connection, descriptor, event)

    def write(self, connection: Connection) -> None:
        """What that comes to where there is something to be written, or to be done once all is."""
        try:
            why: Any = connection.doWrite()
        except BaseException as error:  # as there: it is the reason
            log.err()
            why = error
        if why:
            self._guard(connection, self._disconnectSelectable, connection, why, False)

    def _read(self, connection: Connection) -> None:
        """What `_doReadOrWrite` comes to where there is something to be read and nothing else: nearly always."""
        try:
            why: BaseException | None = connection.doRead()
        except BaseException as error:  # as there: it is the reason
            log.err()
            why = error
        if why:
            self._guard(connection, self._disconnectSelectable, connection, why, True)

    def _guard(self, connection: Connection, function: Callable[..., object], *arguments: object) -> None:
        """What is raised as a connection is closed is logged, and no more."""
        try:
            function(*arguments)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.err(system=connection.logPrefix())


class _Turn(Turn):
    def _schedule(self) -> None:
        """The reactor ends it by itself."""

    def _unsent(self, connection: Connection) -> None:
        if not connection.dataBuffer:
            self._reactor.write(connection)
        if connection.dataBuffer and connection.connected:
            self._reactor.addWriter(connection)


def install() -> None:
    """Make it the reactor of this process."""
    installReactor(TurnReactor())
