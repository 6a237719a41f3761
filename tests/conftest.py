"""What many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from switchd import engine, events
from tests.serving import having


@implementer(ILogObserver)
class FailureObserver:
    """Collects the types of the exceptions that are logged with a traceback, in order."""

    def __init__(self) -> None:
        self.found: list[type[BaseException]] = []

    def __call__(self, event: LogEvent) -> None:
        failure: Any = event.get("log_failure") or event.get("failure")  # as the old twisted.python.log has it
        if failure is not None:
            self.found.append(failure.type)


@pytest.fixture
def logged() -> Iterator[list[type[BaseException]]]:
    """What a `FailureObserver` collects during the test."""
    observer = FailureObserver()
    globalLogPublisher.addObserver(observer)
    yield observer.found
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def told() -> Iterator[list[events.Event]]:
    """The events that are logged during the test."""
    found: list[events.Event] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "event" in event:
            found.append(event["event"])

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


@pytest.fixture(scope="module", params=engine.NAMES)
def http2_engine(request: pytest.FixtureRequest) -> Iterator[engine.Name]:
    """For the `pytestmark` of a module: its tests are run with each engine of HTTP/2.

    Not for those of hypothesis: pytest-twisted wraps each of them anew for each parameter, the other wrapping included.
    """
    with having(request.param):
        yield request.param
