"""An attempt of a client's to have a switch: for whom it is, and what has become of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Factory
from twisted.python.failure import Failure


class Builds(Factory[Any]):
    """Remembers what is asked of it."""

    noisy = False

    def __init__(self, build: Callable[[], Any]) -> None:
        self.build = build
        self.addresses: list[Any] = []
        self.built: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        self.addresses.append(addr)
        self.built.append(self.build())
        return self.built[-1]


class Attempted:
    """An attempt.

    Attributes:
        factory: For whom it is.
        outcomes: What its Deferred has fired with, once at most.
    """

    factory: Builds
    outcomes: list[Any]

    @property
    def protocol(self) -> Any:
        """The one that was built."""
        (protocol,) = self.factory.built
        return protocol

    @property
    def outcome(self) -> Any:
        """The protocol or the error; None while there is neither."""
        if not self.outcomes:
            return None
        (outcome,) = self.outcomes
        return outcome.value if isinstance(outcome, Failure) else outcome
