"""Runs the suite's cases against a server, one after the other."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

from attrs import frozen
from autobahn.twisted.websocket import WebSocketClientFactory
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

PASSES = ("OK", "INFORMATIONAL")
"""What is wanted of every case. Not NON-STRICT, which is what the RFC allows and its authors did not mean; and not
UNIMPLEMENTED, with which a case ends that was to be about compression where there was none."""

SECONDS = 600
"""How long a case may take. All end by themselves sooner than that, unless the suite breaks down."""

reactor: Any = installed_reactor


@frozen
class Outcome:
    """What has become of a case.

    Attributes:
        case: Its number, such as "1.1.1".
        record: What the suite says on it, by the suite's names; empty if it broke down before it could say anything.
        seconds: How long it took.
        errors: What went wrong in the suite itself.
    """

    case: str
    record: Mapping[str, Any]
    seconds: float
    errors: Sequence[str] = ()

    @property
    def section(self) -> str:
        """The first part of the number."""
        return self.case.partition(".")[0]

    @property
    def behaviours(self) -> tuple[str, str]:
        """The suite's words for how the server behaved: before the end, and at the end."""
        return self.record.get("behavior", "NOT RUN"), self.record.get("behaviorClose", "NOT RUN")

    @property
    def passed(self) -> bool:
        """Whether this is as it should be."""
        return not self.errors and all(behaviour in PASSES for behaviour in self.behaviours)


class Suite(WebSocketClientFactory):
    """The suite's cases, and the factory of connections for them.

    Args:
        package: The folder with the converted suite.
        url: The echo; `ws://` only.
    """

    def __init__(self, package: Path, url: str) -> None:
        super().__init__(url=url, useragent="Autobahn|Testsuite")
        sys.path.insert(0, str(package))
        self._fuzzing = import_module("autobahntestsuite.fuzzing")
        self._server = HostnameEndpoint(reactor, self.host, self.port)
        self._case = ""
        self._record: dict[str, Any] = {}
        self._errors: list[str] = []
        self._over: Deferred[None] = Deferred()
        self._connection: Any = None
        self._set_up()

    def _set_up(self) -> None:
        """Be what the suite's own factory is to its protocols."""
        suite = self._fuzzing
        self.CaseSet = suite.CaseSet(
            suite.CaseSetname, suite.CaseBasename, suite.Cases, suite.CaseCategories, suite.CaseSubCategories
        )
        self.specExcludeAgentCases: list[Any] = []
        # Cases look at how many frames were sent.
        self.logOctets = self.logFrames = True
        # The way to fail a connection is a close frame. For an answer to one, what the suite was made with waited a
        # second; today's autobahn counts in whole seconds of the clock, and of one there may be nothing left.
        self.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=2)

    def select(self, patterns: Sequence[str], exclude: Sequence[str]) -> list[str]:
        """The numbers of cases, in the suite's order.

        Args:
            patterns: Which to take, such as `1.*`.
            exclude: Which of them to leave out.

        Raises:
            ValueError: A pattern matches no case, or nothing is left.
        """
        cases = list(self.CaseSet.CasesById)
        for pattern in (*patterns, *exclude):
            if not any(fnmatchcase(case, pattern) for case in cases):
                raise ValueError(f"there is no case {pattern}")
        taken = (case for case in cases if any(fnmatchcase(case, pattern) for pattern in patterns))
        left = [case for case in taken if not any(fnmatchcase(case, pattern) for pattern in exclude)]
        if not left:
            raise ValueError("there is no case to run")
        return left

    async def run(self, cases: Sequence[str], report: Callable[[Outcome], None]) -> None:
        """Run cases.

        Args:
            cases: Their numbers.
            report: Gets each outcome as soon as it is known.

        Raises:
            ConnectError: The server cannot be reached.
        """
        with _observed(self._notice):
            for case in cases:
                report(await self._run(case))

    async def _run(self, case: str) -> Outcome:
        self._case, self._record, self._errors, self._over = case, {}, [], Deferred()
        start = monotonic()
        await self._server.connect(self)
        limit = reactor.callLater(SECONDS, self._give_up, f"It was not over after {SECONDS} seconds.")
        await self._over
        if limit.active():
            limit.cancel()
        gc.collect(1)  # an error that nobody has handled is logged when it is thrown away
        return Outcome(case, self._record, monotonic() - start, self._errors)

    def _notice(self, event: LogEvent) -> None:
        """Something was logged: an error here is one of the suite's, whatever the server has done."""
        failure = event.get("log_failure")
        if failure is not None:
            self._give_up(failure.getTraceback())
        elif event.get("log_level") in (LogLevel.error, LogLevel.critical):
            self._give_up(formatEvent(event))

    def _give_up(self, error: str) -> None:
        self._errors.append(error)
        # The case may wait for what it would have done next.
        transport = getattr(self._connection, "transport", None)
        if transport is not None:
            transport.abortConnection()

    # What is below is called by the protocol.

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, with its case."""
        self._connection = protocol = self._fuzzing.FuzzingClientProtocol()
        protocol.factory = self
        protocol.caseAgent = "server"
        protocol.case = self.CaseSet.CasesIndices[self._case]
        protocol.Case = self.CaseSet.CasesById[self._case]
        protocol.runCase = protocol.Case(protocol)
        return protocol

    def logCase(self, record: dict[str, Any]) -> None:
        """The case has been evaluated."""
        self._record = record

    def over(self) -> None:
        """The connection is over."""
        self._over.callback(None)


@contextmanager
def _observed(observer: Callable[[LogEvent], None]) -> Iterator[None]:
    """Have what is logged in the meantime."""
    globalLogPublisher.addObserver(observer)  # type: ignore[arg-type]
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)  # type: ignore[arg-type]
