"""What one configuration has of another: pure, for reading the file again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from attrs import evolve, frozen

Old = TypeVar("Old")
New = TypeVar("New")


@frozen
class Matched(Generic[Old, New]):
    """What stays, what comes and what goes.

    Attributes:
        kept: Each with what takes its place, in the order of the new ones.
        added: New ones.
        ended: Old ones.
    """

    kept: tuple[tuple[Old, New], ...]
    added: tuple[New, ...]
    ended: tuple[Old, ...]


def match(old: Iterable[Old], new: Iterable[New], are_same: Callable[[Old, New], bool]) -> Matched[Old, New]:
    """Find for each new one an old one that it is the same as; of several, the first that is left."""
    left = list(old)
    kept: list[tuple[Old, New]] = []
    added: list[New] = []
    for each in new:
        index = next((index for index, one in enumerate(left) if are_same(one, each)), None)
        if index is None:
            added.append(each)
        else:
            kept.append((left.pop(index), each))
    return Matched(tuple(kept), tuple(added), tuple(left))


def say_the_same(table: Any, other: Any) -> bool:
    """Whether two tables of configurations do, wherever they stand: their `key` is no matter."""
    return bool(evolve(table, key="") == evolve(other, key=""))


class Made(Generic[Old, New]):
    """What was made of the tables of one configuration, for those of another.

    Args:
        tables: The tables of the one before.
        made: What was made of each.
    """

    def __init__(self, tables: Sequence[Old] = (), made: Sequence[New] = ()) -> None:
        self._left = list(zip(tables, made, strict=True))

    def take(self, table: Old) -> New | None:
        """What was made of a table that says the same, each once; None if there was none."""
        for pair in self._left:
            if say_the_same(pair[0], table):
                self._left.remove(pair)
                return pair[1]
        return None


NOTHING: Made[Any, Any] = Made()
"""There was no configuration before."""
