"""Asking the plugins: one decision, waited for, answered once; an acceptance that comes after that is abandoned."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd.errors import BadAnswer
from switchd.interfaces import Accept, Refuse, Request
from switchd.negotiation import Candidate, Candidates

_log = Logger()


@frozen
class Verdict:
    """A candidate that did not say None, and what it said."""

    candidate: Candidate
    answer: Accept | Refuse


async def ask(asked: Request, found: Candidates) -> Verdict | None:
    """Ask the candidates in turn, until one does not say None.

    Raises:
        BadAnswer: One said something else.
        Exception: Whatever a plugin raises.
    """
    for candidate in found.found:
        verdict = await ask_one(asked, candidate)
        if verdict is not None:
            return verdict
    return None


async def ask_one(asked: Request, candidate: Candidate) -> Verdict | None:
    """Ask one candidate; it raises what `ask` raises."""
    answer: Any = candidate.entry.switch.offer(asked, candidate.offer)
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
    """

    def __init__(
        self,
        asked: Request,
        found: Candidates,
        decided: Callable[[Verdict | None], object],
        failed: Callable[[], object],
        broken: Callable[[], object],
    ) -> None:
        self.pending = True
        self._asked = asked
        self._found = found
        self._decided = decided
        self._failed = failed
        self._broken = broken
        self._waiting: Deferred[Any] | None = None

    def start(self) -> None:
        """Ask."""
        self._waiting = waiting = Deferred.fromCoroutine(ask(self._asked, self._found))
        waiting.addCallbacks(self._answer, self._fail)
        waiting.addErrback(self._break)

    def withdraw(self) -> None:
        """The decision is not wanted any more: it is cancelled, and abandoned if it comes all the same."""
        self.pending = False
        if self._waiting is not None:
            self._waiting.cancel()

    def _answer(self, verdict: Verdict | None) -> None:
        if self.pending:
            self.pending = False
            self._decided(verdict)
        elif verdict is not None and isinstance(verdict.answer, Accept):
            abandon(verdict.answer)

    def _fail(self, failure: Failure) -> None:
        cancelled = not self.pending and failure.check(CancelledError)
        if not cancelled:
            _log.failure("A plugin failed to decide about a switch", failure=failure)
        if self.pending:
            self.pending = False
            self._failed()

    def _break(self, failure: Failure) -> None:
        _log.failure("A switch failed", failure=failure)
        self._broken()


def abandon(accept: Accept) -> None:
    """Call `abandon`, whatever it does."""
    try:
        accept.abandon()
    except Exception:
        _log.failure("A plugin failed to abandon a switch")
