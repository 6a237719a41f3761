"""Many waits on one timer: each is as exact as with a timer of its own."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from switchd.deadlines import Deadlines


class Waits:
    def __init__(self) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock, 10)
        self.late: list[tuple[str, float]] = []

    def start(self, name: str) -> None:
        self.deadlines.start(name, lambda: self.late.append((name, self.clock.seconds())))


@pytest.fixture
def waits() -> Waits:
    return Waits()


def test_each_is_late_at_its_own_time(waits: Waits) -> None:
    waits.start("a")
    waits.clock.advance(3)
    waits.start("b")
    waits.start("c")
    for _ in range(20):
        waits.clock.advance(1)
    assert waits.late == [("a", 10), ("b", 13), ("c", 13)]
    assert waits.clock.getDelayedCalls() == []


def test_there_is_one_timer_and_none_when_nobody_waits(waits: Waits) -> None:
    for name in "abc":
        waits.start(name)
    assert len(waits.clock.getDelayedCalls()) == 1
    for name in "abc":
        waits.deadlines.stop(name)
        waits.deadlines.stop(name)
    assert waits.clock.getDelayedCalls() == []


def test_who_has_stopped_is_never_late(waits: Waits) -> None:
    waits.start("a")
    waits.clock.advance(5)
    waits.start("b")
    waits.deadlines.stop("a")
    waits.clock.advance(5)
    assert waits.late == []
    waits.clock.advance(5)
    assert waits.late == [("b", 15)]


def test_who_begins_again_has_the_whole_time_again(waits: Waits) -> None:
    waits.start("a")
    waits.clock.advance(9)
    waits.start("a")
    waits.clock.advance(9)
    assert waits.late == []
    waits.clock.advance(1)
    assert waits.late == [("a", 19)]


def test_who_is_late_may_stop_and_start_others(waits: Waits) -> None:
    def late() -> None:
        waits.deadlines.stop("b")
        waits.start("c")

    waits.deadlines.start("a", late)
    waits.start("b")
    waits.clock.advance(10)
    waits.clock.advance(10)
    assert waits.late == [("c", 20)]
    assert waits.clock.getDelayedCalls() == []


def test_one_fault_is_not_the_others(waits: Waits, logged: list[type[BaseException]]) -> None:
    waits.deadlines.start("a", lambda: 1 / 0)
    waits.start("b")
    waits.clock.advance(10)
    assert waits.late == [("b", 10)]
    assert logged == [ZeroDivisionError]


def test_when_the_clock_is_set_back_nobody_waits_for_it(waits: Waits) -> None:
    waits.clock.advance(3600)
    waits.start("a")
    waits.clock.rightNow -= 3600
    waits.start("b")
    waits.clock.advance(5)
    waits.start("c")
    waits.clock.advance(5)
    assert waits.late == [("a", 10), ("b", 10)]
    waits.clock.advance(5)
    assert waits.late == [("a", 10), ("b", 10), ("c", 15)]
