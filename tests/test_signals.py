"""A further signal, in this process, with handlers that are given back."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from switchd.signals import on_another

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Reactor:
    """What of a reactor has to do with signals."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def sigInt(self, number: int, frame: Any = None) -> None:
        self.heard.append(number)

    sigTerm = sigInt

    def callFromThread(self, function: Callable[[], object]) -> None:
        function()


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """One that handles its signals."""
    made = Reactor()
    before = [signal.signal(number, made.sigInt) for number in NUMBERS]
    yield made
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_further_signal_is_for_who_wants_it_and_then_the_reactors_again(reactor: Reactor, number: int) -> None:
    hurried: list[int] = []
    give_back = on_another(reactor, lambda: True, lambda: hurried.append(number))
    signal.raise_signal(number)
    signal.raise_signal(number)
    assert (hurried, reactor.heard) == ([number, number], [])
    give_back()
    signal.raise_signal(number)
    assert (hurried, reactor.heard) == ([number, number], [number])


@pytest.mark.parametrize("other", NUMBERS)
@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_one_is_the_reactors(reactor: Reactor, number: int, other: int) -> None:
    """Also where the second one comes before the reactor has done anything about it."""
    hurried: list[int] = []
    give_back = on_another(reactor, lambda: False, lambda: hurried.append(other))
    signal.raise_signal(number)
    assert (hurried, reactor.heard) == ([], [number])
    signal.raise_signal(other)
    assert (hurried, reactor.heard) == ([other], [number])
    give_back()


def test_signals_that_are_somebody_elses_stay_so(reactor: Reactor) -> None:
    other = Reactor()
    on_another(other, lambda: True, lambda: None)()
    signal.raise_signal(signal.SIGTERM)
    assert (reactor.heard, other.heard) == ([signal.SIGTERM], [])


def test_a_reactor_without_signals_is_let_be(reactor: Reactor) -> None:
    on_another(object(), lambda: True, lambda: None)()
    signal.raise_signal(signal.SIGINT)
    assert reactor.heard == [signal.SIGINT]
