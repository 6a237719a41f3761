"""What is looked at once a second, for as long as a server runs: its memory, and connections that are idle.

Whether a connection is idle the system knows (`transports.tcp_info`), so that reads and writes cost nothing.
"""

from __future__ import annotations

from typing import Any

from switchd import draining, events
from switchd.deadlines import Timer
from switchd.factory import Connection, SwitchFactory
from switchd.handover import bottom
from switchd.http1 import Channel
from switchd.http2 import Session
from switchd.pressure import LOOK_SECONDS
from switchd.transports import tcp_info

MOST_LOOKS = 2000
"""Connections that are looked at in one second: that takes some milliseconds, in which nothing else happens. If there
are more, one that is idle is found so much later."""


class Upkeep:
    """Looks after a server.

    Args:
        factory: Its connections.
        reactor: The clock.
    """

    def __init__(self, factory: SwitchFactory, reactor: Any) -> None:
        self._factory = factory
        self._reactor = reactor
        self._next = Timer(reactor)
        self._may_idle = factory.admission.may_idle
        self._left: list[Connection] = []  # of this round

    def start(self) -> None:
        """Look from now on, whatever comes of one look."""
        self._next.start(LOOK_SECONDS, self.start)
        self._factory.admission.look_at_memory()
        self._end_idle()

    def stop(self) -> None:
        """Look no more."""
        self._next.stop()

    def _end_idle(self) -> None:
        if not self._left:
            self._left = list(self._may_idle)
        looked_at = self._left[-MOST_LOOKS:]
        del self._left[-MOST_LOOKS:]
        idle = [connection for connection in looked_at if self._is_idle(connection)]
        for connection in idle:
            seconds = self._may_idle[connection]
            self._factory.tell(events.Idled(connection.id, connection.peer, connection.path, seconds))
        if idle:
            draining.close(self._factory, idle, self._factory.admission.shutdown_seconds, self._reactor)

    def _is_idle(self, connection: Connection) -> bool:
        most = self._may_idle.get(connection)
        if most is None or connection.ending is not None:
            return False  # it is over, or will be
        if isinstance(connection.protocol, Channel | Session):
            return False  # HTTP has `keepalive_seconds`, and may wait for an answer for longer
        # A stream has no socket of its own; it is as idle as what it is a stream of.
        carrier = getattr(connection.transport, "carrier", connection.transport)
        seconds = tcp_info.idle_seconds(bottom(carrier))
        since = self._reactor.seconds() - connection.since  # it may have been silent before it switched
        return seconds is not None and min(seconds, since) >= most
