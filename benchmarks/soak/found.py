"""What came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Found:
    """Figures, and what should not have happened.

    Attributes:
        figures: Names and values, in order.
    """

    def __init__(self) -> None:
        self.figures: list[tuple[str, str]] = []
        self._failures: Counter[str] = Counter()

    @property
    def failures(self) -> list[str]:
        """What should not have happened, a sentence each."""
        return [sentence if times == 1 else f"{times} times: {sentence}" for sentence, times in self._failures.items()]

    def figure(self, name: str, value: str) -> None:
        """Note one."""
        self.figures.append((name, value))

    def fail(self, sentence: str) -> None:
        """Note what should not have happened, once more."""
        self._failures[sentence] += 1

    def check(self, is_so: bool, otherwise: str) -> None:
        """Note a failure, if it is one."""
        if not is_so:
            self.fail(otherwise)

    @contextmanager
    def noting(self, who: str) -> Iterator[None]:
        """What goes wrong inside is a failure, and the others go on."""
        try:
            yield
        except Exception as error:
            self.fail(f"{who}: {error!r}")
