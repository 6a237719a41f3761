"""How much of it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.soak.clients import PATIENCE

PROBE_SECONDS = 60.0
"""Of silence, until the server's system asks by TCP whether a client is there (`switchd.transports.connections`)."""

SHUTDOWN_SECONDS = 60.0
"""What the server has for the drain: more than it needs."""


@dataclass(frozen=True)
class Plan:
    """How much of it.

    Attributes:
        connections: Those that stay.
        rate: Switches a second of those that come and go.
        minutes: From when all are open until the server is told to stop.
        ping_seconds: Between two pings of a WebSocket, and for the answer to one.
        slow: Those that read slowly.
        vanishing: How many vanish in a second.
        silent: How many are silent at the same time.
        is_patient: Whether clients of ADDONE vanish without a word, too. TCP has to miss them, which takes a minute.
    """

    connections: int = 10_000
    rate: int = 500
    minutes: float = 10.0
    ping_seconds: float = 20.0
    slow: int = 20
    vanishing: int = 10
    silent: int = 20
    is_patient: bool = True

    @property
    def warm_up_seconds(self) -> float:
        """The part of the time that does not count, since memory is had for the first time."""
        return 0.2 * self.minutes * 60

    @property
    def half_seconds(self) -> float:
        """Before the reload, and behind it."""
        return 0.4 * self.minutes * 60

    @property
    def arrival_seconds(self) -> float:
        """That others come and go before the server is told to stop."""
        return min(5.0, self.minutes * 6)

    @property
    def quiet_seconds(self) -> float:
        """For the server to notice that those who have gone are gone."""
        return 2 * self.ping_seconds + PATIENCE + (PROBE_SECONDS if self.is_patient else 0)

    @property
    def bound_seconds(self) -> float:
        """For everything, whatever happens."""
        return self.minutes * 60 + self.connections / 100 + 2 * self.quiet_seconds + SHUTDOWN_SECONDS + 120


QUICK = Plan(connections=200, rate=50, minutes=0.15, ping_seconds=5.0, slow=5, silent=5, is_patient=False)
"""Enough to know that all of it works."""
