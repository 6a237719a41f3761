"""What all WebSockets of a kind have in common: the timer that they wait with."""

from __future__ import annotations

from twisted.internet.task import Clock

from switchd.protocols.websocket.terms import MOST_LENGTHS, Timer


def test_waits_of_one_length_share_a_timer_and_end_one_by_one() -> None:
    clock, late = Clock(), list[str]()
    timer = Timer(clock)
    timer.call_later(5, lambda: late.append("first"))
    clock.advance(2)
    cancelled = timer.call_later(5, lambda: late.append("cancelled"))
    timer.call_later(5, lambda: late.append("last"))
    assert len(clock.calls) == 1
    cancelled.cancel()
    clock.advance(3)
    assert late == ["first"]
    clock.advance(2)
    assert late == ["first", "last"]
    assert clock.calls == []


def test_cancelling_what_is_over_does_nothing() -> None:
    clock, late = Clock(), list[None]()
    wait = Timer(clock).call_later(1, lambda: late.append(None))
    clock.advance(1)
    wait.cancel()
    wait.cancel()
    assert late == [None]


def test_any_number_of_lengths_is_waited_for_and_few_are_remembered() -> None:
    clock, late = Clock(), list[int]()
    timer = Timer(clock)
    lengths = range(1, 3 * MOST_LENGTHS)
    for seconds in lengths:
        timer.call_later(seconds, lambda seconds=seconds: late.append(seconds))  # type: ignore[misc]
        timer.call_later(seconds, lambda: None).cancel()
    for _ in lengths:
        clock.advance(1)
    assert late == list(lengths)
    assert len(timer._deadlines) == MOST_LENGTHS
