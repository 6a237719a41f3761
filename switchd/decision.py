"""Asking the plugins: one decision, waited for, answered once; an acceptance that comes after that is abandoned.

What is accepted is then made ready (`prepare`), so that nothing can fail any more when the answer is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd.errors import BadAnswer
from switchd.interfaces import Accept, ISession, Refuse, Request
from switchd.negotiation import Candidate, Candidates

_log = Logger()

Head = TypeVar("Head")


@frozen
class Verdict:
    """A candidate that did not say None, and what it said."""

    candidate: Candidate
    answer: Accept | Refuse


@frozen
class Foretold:
    """A question that has been put to the first candidate already, before there was somebody to wait for the answer.

    Attributes:
        asked: The request.
        found: Who is to be asked about it; perhaps nobody.
        answer: What the first of them said: unread, and perhaps an awaitable.
        failed: Whether that was accepted, and could not be made ready: `prepare` has said why.
    """

    asked: Request
    found: Candidates
    answer: Any
    failed: bool = False


def first_answer(asked: Request, found: Candidates) -> Any:
    """Ask the first candidate. What it raises becomes an answer that raises it."""
    candidate = found.found[0]
    try:
        return candidate.entry.switch.offer(asked, candidate.offer)
    except Exception:
        return fail(Failure())


async def ask(
    asked: Request,
    found: Candidates,
    foretold: Foretold | None = None,
    may_ask: Callable[[Candidate], bool] = lambda candidate: True,
) -> Verdict | None:
    """Ask the candidates in turn, until one does not say None.

    Args:
        asked: The request.
        found: The candidates.
        foretold: If the first one has been asked already.
        may_ask: Of each after the first, whether it is asked.

    Raises:
        BadAnswer: One said something else.
        Exception: Whatever a plugin raises.
    """
    candidates = iter(found.found)
    if foretold is not None:
        verdict = await _read(foretold.answer, next(candidates))
        if verdict is not None:
            return verdict
    for candidate in candidates:
        if candidate is not found.found[0] and not may_ask(candidate):
            continue
        verdict = await ask_one(asked, candidate)
        if verdict is not None:
            return verdict
    return None


async def ask_one(asked: Request, candidate: Candidate) -> Verdict | None:
    """Ask one candidate; it raises what `ask` raises."""
    return await _read(candidate.entry.switch.offer(asked, candidate.offer), candidate)


async def _read(answer: Any, candidate: Candidate) -> Verdict | None:
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, Accept | Refuse):
        return Verdict(candidate, answer)
    if answer is not None:
        raise BadAnswer(f"{candidate.entry.name}: offer() answered {answer!r}")
    return None


class Decision:
    """A decision that may be pending.

    Exactly one of `decided` and `failed` is called, before `start` returns or later, unless `withdraw` comes first.

    Args:
        asked: The request.
        found: Who is asked about it.
        decided: Called with the verdict, or with None if nobody took an offer.
        failed: Called if a plugin raised, which has been logged.
        broken: Called if `decided` or `failed` raised, which has been logged: in a Deferred it would be lost, and the
            connection would wait for ever.
        foretold: If the first candidate has been asked already.
        settled: Called when it is over: after `decided`, before `failed`, and if it is withdrawn.
        may_ask: Of each candidate after the first, whether it is asked.

    Attributes:
        pending: Whether none of them has been called yet.
        found: As given.
    """

    def __init__(
        self,
        asked: Request,
        found: Candidates,
        decided: Callable[[Verdict | None], object],
        failed: Callable[[], object],
        broken: Callable[[], object],
        foretold: Foretold | None = None,
        settled: Callable[[], object] = lambda: None,
        may_ask: Callable[[Candidate], bool] = lambda candidate: True,
    ) -> None:
        self.pending = True
        self._settled = settled
        self._asked = asked
        self.found = found
        self._decided = decided
        self._failed = failed
        self._broken = broken
        self._foretold = foretold
        self._may_ask = may_ask
        self._waiting: Deferred[Any] | None = None

    def start(self) -> None:
        """Ask."""
        self._waiting = waiting = Deferred.fromCoroutine(ask(self._asked, self.found, self._foretold, self._may_ask))
        waiting.addCallbacks(self._answer, self._fail)
        waiting.addErrback(self._break)

    def withdraw(self) -> None:
        """The decision is not wanted any more: it is cancelled, and abandoned if it comes all the same."""
        if self.pending:
            self.pending = False
            self._settled()
        if self._waiting is not None:
            self._waiting.cancel()

    def _answer(self, verdict: Verdict | None) -> None:
        if self.pending:
            self.pending = False
            try:
                self._decided(verdict)
            finally:
                self._settled()
        elif verdict is not None and isinstance(verdict.answer, Accept):
            abandon(verdict.answer)

    def _fail(self, failure: Failure) -> None:
        cancelled = not self.pending and failure.check(CancelledError)
        if not cancelled:
            _log.failure("A plugin failed to decide about a switch", failure=failure)
        if self.pending:
            self.pending = False
            self._settled()
            self._failed()

    def _break(self, failure: Failure) -> None:
        _log.failure("A switch failed", failure=failure)
        self._broken()


def prepare(
    verdict: Verdict, session: ISession, answer: Callable[[Candidate, Accept], Head]
) -> tuple[Head, IProtocol] | None:
    """Make ready what has been accepted.

    Args:
        verdict: That it is.
        session: For the plugin.
        answer: Makes what is sent: `negotiation.switching_head`, or `connected_fields`.

    Returns:
        What `answer` made, and the protocol that is to have the connection. None: the plugin is at fault, as has been
        logged, and the answer is 500; there is nothing left to abandon.
    """
    accept = verdict.answer
    assert isinstance(accept, Accept)
    try:
        head = answer(verdict.candidate, accept)
    except Exception:
        _log.failure("A plugin's answer cannot be sent")
        abandon(accept)
        return None
    try:
        return head, IProtocol(accept.build(session))
    except Exception:
        _log.failure("{plugin} could not build its protocol", plugin=verdict.candidate.entry.name)
        return None


def seconds_for(found: Candidates, otherwise: float) -> float:
    """How long a decision may take: as long as the most patient of those who are asked has it.

    Args:
        found: Who they are.
        otherwise: For those whose `[[switch]]` says nothing.
    """
    own = (candidate.entry.bounds.switch_seconds for candidate in found.found)
    return max((otherwise if seconds is None else seconds for seconds in own), default=otherwise)


def early_bytes_for(found: Candidates, otherwise: int) -> int:
    """Likewise, what is kept behind a request meanwhile."""
    own = (candidate.entry.bounds.early_bytes for candidate in found.found)
    return max((otherwise if number is None else number for number in own), default=otherwise)


def abandon(accept: Accept) -> None:
    """Call `abandon`, whatever it does."""
    try:
        accept.abandon()
    except Exception:
        _log.failure("A plugin failed to abandon a switch")
