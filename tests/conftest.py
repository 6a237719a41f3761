"""What many tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer


@pytest.fixture
def logged() -> Iterator[list[type[BaseException]]]:
    """The types of the exceptions that are logged with a traceback, in order."""
    found: list[type[BaseException]] = []

    @implementer(ILogObserver)
    class Observer:
        def __call__(self, event: LogEvent) -> None:
            failure: Any = event.get("log_failure")
            if failure is not None:
                found.append(failure.type)

    observer = Observer()
    globalLogPublisher.addObserver(observer)
    yield found
    globalLogPublisher.removeObserver(observer)
