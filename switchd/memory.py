"""What is remembered for all connections: it has a bound, and nothing that may be secret is in it."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

SECRETS = (b"auth", b"cookie", b"key", b"secret", b"token")
"""What is in the name, in lower case, of a field that may be secret."""


class Memory(dict[K, V]):
    """Remembers so many things, and when there is one more begins anew: what is asked for often is soon back.

    Args:
        most: How many.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: V) -> None:
        """Remember a thing."""
        if len(self) >= self._most:
            self.clear()
        self[key] = value
