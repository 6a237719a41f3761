"""Whether there is memory: as it becomes short, what only saves bytes on the wire is left out, and then newcomers are.

    easy ──80 %──► short: new WebSockets have no compression ──100 %──► full: nobody new is let in
       ◄──below 75 %──                                      ◄──below 95 %──

The memory is that of the whole process, and is looked at once a second. A little less ends a state than has begun it,
so that it does not come and go with each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

State = Literal["easy", "short", "full"]

LOOK_SECONDS = 1.0
"""Between two looks: in that time even a busy server takes but some per cent of what a machine has."""

SHORT, EASY_AGAIN = 0.80, 0.75
FULL, SHORT_AGAIN = 1.00, 0.95
"""Of `memory_bytes`: where each state begins, and below what it ends."""


class Pressure:
    """Remembers how it is with the memory.

    Args:
        measure: How many bytes are in use.

    Attributes:
        most: How many may be; 0: there is no bound, and no pressure.
        used: How many were, as of the last look.
        state: How it is, as of the last look.
    """

    def __init__(self, measure: Callable[[], int]) -> None:
        self._measure = measure
        self.most = 0
        self.used = 0
        self.state: State = "easy"

    def look(self) -> bool:
        """See how it is. Whether that has changed."""
        before = self.state
        self.used = self._measure() if self.most else 0
        self.state = self._judged() if self.most else "easy"
        return self.state != before

    def is_short(self) -> bool:
        """Whether what can be left out should be."""
        return self.state != "easy"

    def is_full(self) -> bool:
        """Whether nobody new is taken."""
        return self.state == "full"

    def _judged(self) -> State:
        share = self.used / self.most
        if share >= (SHORT_AGAIN if self.state == "full" else FULL):
            return "full"
        return "short" if share >= (SHORT if self.state == "easy" else EASY_AGAIN) else "easy"
