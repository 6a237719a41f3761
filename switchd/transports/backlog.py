"""What waits for a peer that takes less than is written: when that is given up.

An answer may be longer than what may wait, and its client be as fast as its network lets it. So it is not judged when
something is written, as nothing of it has been sent then, but by what becomes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 2.0
"""For how long a peer may take nothing of what is too much: some round trips of a slow network, and short enough that
those who do not read hold little for long."""


class Backlog:
    """More waits for a peer than may. It is given up if in `LOOK_SECONDS` it does not become less, or at once if it
    grows by as much again after the turn in which it began.

    Args:
        reactor: The clock.
        most: How many bytes may wait.
        unsent: How many do.
        give_up: Called if it is given up.

    Attributes:
        is_over: Whether there is no more than may be, or it is given up.
    """

    __slots__ = ("_call", "_give_up", "_left", "_most", "_reactor", "_unsent", "is_over")

    def __init__(self, reactor: Any, most: int, unsent: Callable[[], int], give_up: Callable[[], object]) -> None:
        self.is_over = False
        self._reactor = reactor
        self._most = most
        self._unsent = unsent
        self._give_up = give_up
        self._left: float = math.inf  # as of the last look
        self._call = reactor.callLater(0, self._look)

    def grow(self) -> None:
        """More has been written."""
        if self._unsent() > self._left + self._most:
            self.stop()
            self._give_up()

    def stop(self) -> None:
        """Nobody cares any more."""
        self.is_over = True
        if self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        unsent = self._unsent()
        if self._most < unsent < self._left:
            self._left = unsent
            self._call = self._reactor.callLater(LOOK_SECONDS, self._look)
            return
        self.is_over = True
        if unsent > self._most:
            self._give_up()
