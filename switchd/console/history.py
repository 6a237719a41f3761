"""The last minutes in numbers: one sample every few seconds, whether somebody looks or not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import astuple, evolve, frozen

from switchd import events, process
from switchd.deadlines import Timer
from switchd.factory import SwitchFactory
from switchd.handover import bottom
from switchd.transports import tcp_info

EVERY_SECONDS = 2.0
"""Between two samples: quick enough to watch."""

MOST_SAMPLES = 300
"""That are kept: ten minutes."""

MOST_READ = 2500
"""Connections whose bytes are read for every sample, 2 µs for each. Of more, they are read for every second sample,
for every third, and so on: it never takes more than some thousandths of the time."""


@frozen
class Sample:
    """One moment, and what happened since the one before.

    Attributes:
        time: The moment, in seconds since 1970.
        connections: That were there.
        switches: A second.
        refusals: Offers refused or ignored, requests rejected, and connections dropped, a second.
        received: Bytes a second; None: not known.
        sent: The same.
        lag: Seconds that the reactor was late.
        memory: Bytes of it that the process has; None: not known.
    """

    time: float
    connections: int
    switches: float
    refusals: float
    received: float | None
    sent: float | None
    lag: float
    memory: int | None


def columns(sample: Sample) -> tuple[float | None, ...]:
    """A sample without its names, as the page gets them by the hundred; rounded to what can be seen."""
    return tuple(None if value is None else round(value, 3) for value in astuple(sample))


class Traffic:
    """What connections carry, those included that are gone since.

    Args:
        factory: Whose.
    """

    def __init__(self, factory: SwitchFactory) -> None:
        self._factory = factory
        self._gone = tcp_info.Carried()
        self._before: tuple[float, tcp_info.Carried] | None = None
        self._rates: tuple[float | None, float | None] = (None, None)
        self._passed_over = 0
        factory.listen_to_closing(self._gone.add)

    def rates(self, now: float) -> tuple[float | None, float | None]:
        """Bytes a second received and sent, between the last two times that they were read."""
        self._passed_over += 1
        if tcp_info.IS_COUNTED and self._passed_over > len(self._factory.connections) // MOST_READ:
            self._passed_over = 0
            self._read(now)
        return self._rates

    def _read(self, now: float) -> None:
        carried = evolve(self._gone)
        for connection in self._factory.connections:
            carried.add(bottom(connection.transport))
        before, self._before = self._before, (now, carried)
        if before is not None and now > before[0]:
            seconds = now - before[0]
            received, sent = carried.received - before[1].received, carried.sent - before[1].sent
            self._rates = max(0.0, received / seconds), max(0.0, sent / seconds)


class History:
    """Takes samples.

    Args:
        factory: Whose connections.
        clock: The reactor.
        taken: Called with each sample.

    Attributes:
        samples: The last ones.
    """

    def __init__(self, factory: SwitchFactory, clock: Any, taken: Callable[[Sample], object]) -> None:
        self.samples: deque[Sample] = deque(maxlen=MOST_SAMPLES)
        self._factory = factory
        self._clock = clock
        self._taken = taken
        self._traffic = Traffic(factory)
        self._next = Timer(clock)
        self._since = 0.0
        self._switches = self._refusals = 0
        factory.listen(self._heard)

    def start(self) -> None:
        """Take samples from now on, if that is not done."""
        if not self._next.runs:
            self._switches = self._refusals = 0
            self._since = self._clock.seconds()
            self._next.start(EVERY_SECONDS, self._take)

    def stop(self) -> None:
        """Take no more."""
        self._next.stop()

    def _heard(self, event: events.Event) -> None:
        match event:
            case events.Switched():
                self._switches += 1
            case events.Refused() | events.Ignored() | events.Rejected() | events.Dropped() | events.NoSession():
                self._refusals += 1
            case events.OverBudget(key="connections"):  # of a switch, there is `Refused`, too
                self._refusals += 1

    def _take(self) -> None:
        now = self._clock.seconds()
        lag = max(0.0, now - self._since - EVERY_SECONDS)  # a reactor's clock may be set back
        seconds = EVERY_SECONDS + lag
        switches, refusals = self._switches / seconds, self._refusals / seconds
        received, sent = self._traffic.rates(now)
        self.start()
        memory = process.memory_bytes() or None
        sample = Sample(now, len(self._factory.connections), switches, refusals, received, sent, lag, memory)
        self.samples.append(sample)
        self._taken(sample)
