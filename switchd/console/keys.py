"""Keys that allow closing connections from the page. Only the control socket gives them."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

KEY_SECONDS = 900.0
"""How long a key is good for: to look at something and act on it, not for a tab that stays open."""

MOST_KEYS = 8
"""Keys that are good at the same time; one more makes the oldest useless."""

KEY_BYTES = 32
"""Of chance in a key: nobody guesses it."""


class Keys:
    """The keys that are good now.

    Args:
        clock: An `IReactorTime`.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._ends: dict[bytes, float] = {}  # in the order of their making

    def new(self) -> str:
        """A key that is good from now on, for `KEY_SECONDS`."""
        key = secrets.token_urlsafe(KEY_BYTES)
        if len(self._ends) >= MOST_KEYS:
            del self._ends[next(iter(self._ends))]
        self._ends[key.encode("ascii")] = self._clock.seconds() + KEY_SECONDS
        return key

    def seconds(self, key: str) -> float:
        """How long a key is good for; 0: it is not."""
        given, now, left = key.encode("utf-8", "replace"), self._clock.seconds(), 0.0
        for known, end in self._ends.items():  # all of them, so that nobody learns from the time that it takes
            if hmac.compare_digest(known, given):
                left = min(KEY_SECONDS, max(0.0, end - now))  # a reactor's clock may be set back
        return left
