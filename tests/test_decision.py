"""One decision: asked in turn, answered once, abandoned if it comes too late."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from switchd.decision import Decision, Verdict
from switchd.interfaces import Accept, Offer, Refuse
from switchd.negotiation import Candidate, Candidates, Entry, Rule
from switchd.testing import request
from tests.serving import Says, Shout


class Outcome:
    """A decision and what became of it."""

    def __init__(self, *switches: Any) -> None:
        candidates = [Candidate(Entry("/", "plugin", (b"t",), switch), Offer(b"t"), b"t") for switch in switches]
        self.told: list[Any] = []
        self.raises: Exception | None = None
        self.decision = Decision(
            request(), Candidates(tuple(candidates), Rule.OFFERED), self._decided, self._failed, self._broken
        )

    def start(self) -> list[Any]:
        self.decision.start()
        return self.told

    def _decided(self, verdict: Verdict | None) -> None:
        self.told.append(verdict.answer if verdict else None)
        if self.raises:
            raise self.raises

    def _failed(self) -> None:
        self.told.append("failed")

    def _broken(self) -> None:
        self.told.append("broken")


def accept(abandoned: list[int]) -> Accept:
    return Accept(lambda session: Shout(), abandon=lambda: abandoned.append(1))


def test_candidates_are_asked_in_turn_until_one_does_not_say_none() -> None:
    refuse = Refuse(403)
    switches = [Says(None), Says(refuse), Says(Refuse(404))]
    assert Outcome(*switches).start() == [refuse]
    assert [len(switch.asked) for switch in switches] == [1, 1, 0]


def test_if_all_say_none_the_verdict_is_none() -> None:
    assert Outcome(Says(None), Says(None)).start() == [None]
    assert Outcome().start() == [None]


def test_a_late_answer_is_waited_for() -> None:
    late: Deferred[Any] = Deferred()
    refuse = Refuse(403)
    outcome = Outcome(Says(lambda request, offer: late))
    assert outcome.start() == []
    assert outcome.decision.pending
    late.callback(refuse)
    assert outcome.told == [refuse]
    assert not outcome.decision.pending


@pytest.mark.parametrize("answer", [lambda request, offer: 1 / 0, lambda request, offer: "yes"], ids=["raises", "text"])
def test_a_plugin_that_fails_is_logged_and_told(answer: Any, logged: list[Any]) -> None:
    assert Outcome(Says(answer)).start() == ["failed"]
    assert len(logged) == 1


def test_a_decision_that_is_withdrawn_is_cancelled_silently(logged: list[Any]) -> None:
    cancelled: list[Any] = []
    outcome = Outcome(Says(lambda request, offer: Deferred(cancelled.append)))
    outcome.start()
    outcome.decision.withdraw()
    assert len(cancelled) == 1
    assert (outcome.told, logged) == ([], [])


def test_an_acceptance_that_comes_all_the_same_is_abandoned(logged: list[Any]) -> None:
    abandoned: list[int] = []

    async def stubborn(request: Any, offer: Any) -> Any:
        try:
            await Deferred()
        except CancelledError:
            return accept(abandoned)

    outcome = Outcome(Says(stubborn))
    outcome.start()
    outcome.decision.withdraw()
    assert (outcome.told, abandoned, logged) == ([], [1], [])


def test_an_abandon_that_fails_is_logged(logged: list[Any]) -> None:
    async def stubborn(request: Any, offer: Any) -> Any:
        try:
            await Deferred()
        except CancelledError:
            return Accept(lambda session: Shout(), abandon=lambda: 1 / 0)

    outcome = Outcome(Says(stubborn))
    outcome.start()
    outcome.decision.withdraw()
    assert logged == [ZeroDivisionError]


def test_an_error_after_the_withdrawal_is_still_logged(logged: list[Any]) -> None:
    async def failing(request: Any, offer: Any) -> Any:
        try:
            await Deferred()
        finally:
            raise ZeroDivisionError

    outcome = Outcome(Says(failing))
    outcome.start()
    outcome.decision.withdraw()
    assert (outcome.told, logged) == ([], [ZeroDivisionError])


def test_what_goes_wrong_in_taking_the_verdict_is_logged_and_told(logged: list[Any]) -> None:
    outcome = Outcome(Says(None))
    outcome.raises = ZeroDivisionError()
    assert outcome.start() == [None, "broken"]
    assert logged == [ZeroDivisionError]
