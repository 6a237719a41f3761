"""Many waits, few timers.

Connections come and go far more often than one of them is late, and a reactor's timer costs more than the rest of the
bookkeeping of a connection together. All waits of the same length end in the order in which they began, so one timer
for each length will do: it is set to the first. What few connections wait for has a `Timer` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from twisted.logger import Logger

_log = Logger()


class Deadlines:
    """Waits of one length.

    Args:
        clock: An `IReactorTime`.
        seconds: How long each lasts.
    """

    def __init__(self, clock: Any, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        # In the order of their ends. As long as the waits that are not over; each is one of its waiter's.
        self._waits: dict[Hashable, tuple[float, Callable[[], object]]] = {}
        self._timer: Any = None
        self._last = 0.0  # the end of the wait that has begun last

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waits

    def start(self, waiter: Hashable, late: Callable[[], object]) -> None:
        """Call `late` when the time is up, unless `stop` comes first. A `waiter` that waits already begins anew."""
        end = self._clock.seconds() + self._seconds
        if end < self._last:
            self._set_back(end)
        self._last = end
        self._waits.pop(waiter, None)
        self._waits[waiter] = (end, late)
        if self._timer is None:
            self._timer = self._clock.callLater(self._seconds, self._time_is_up)

    def stop(self, waiter: Hashable) -> None:
        """It does not wait any more, if it did."""
        if self._waits.pop(waiter, None) is not None and not self._waits and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_back(self, end: float) -> None:
        """The clock has been set back, as a reactor's may be: nobody waits longer for that than who begins now."""
        self._waits = {waiter: (min(before, end), late) for waiter, (before, late) in self._waits.items()}
        if self._timer is not None:
            self._timer.reset(self._seconds)

    def _time_is_up(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        over = []
        for waiter, (end, _) in self._waits.items():
            if end > now:
                self._timer = self._clock.callLater(end - now, self._time_is_up)
                break
            over.append(waiter)
        for waiter in over:
            wait = self._waits.pop(waiter, None)  # it may have ended by what another one did
            if wait is not None:
                self._call(wait[1])

    def _call(self, late: Callable[[], object]) -> None:
        try:
            late()
        except Exception:  # one waiter's fault is not to be another's
            _log.failure("A deadline could not be kept")


class Waiter:
    """Who has one deadline at a time.

    Attributes:
        server: Where to wait: its `deadlines` gives those of a length.
    """

    server: Any
    _deadlines: Deadlines | None = None

    def _wait(self, seconds: float | None, late: Callable[[], object] = lambda: None) -> None:
        """Enter a phase: `late` is called if it is not left within `seconds` (None: it may last)."""
        deadlines = None if seconds is None else self.server.deadlines(seconds)
        if self._deadlines is not None and self._deadlines is not deadlines:
            self._deadlines.stop(self)
        self._deadlines = deadlines
        if deadlines is not None:
            deadlines.start(self, late)


class Timer:
    """Something that happens after some time, unless it is stopped."""

    __slots__ = ("_call", "_reactor")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._call: Any = None

    @property
    def runs(self) -> bool:
        """Whether it is still to happen."""
        return self._call is not None and bool(self._call.active())

    def start(self, seconds: float, late: Callable[..., object], *arguments: Any) -> None:
        """Start it; if it runs, anew."""
        self.stop()
        self._call = self._reactor.callLater(seconds, late, *arguments)

    def put_off(self, seconds: float) -> bool:
        """If it runs, have it happen later than it would have, which costs less than to start it anew. Whether it
        runs."""
        if self._call is None or not self._call.active():
            return False
        self._call.reset(seconds)
        return True

    def stop(self) -> None:
        """It shall not happen."""
        if self._call is not None:
            if self._call.active():
                self._call.cancel()
            self._call = None
