"""Whether there is memory, by figures that are made up."""

from __future__ import annotations

import pytest

from switchd.pressure import Pressure, State


class Machine:
    """One whose memory is as a test has it."""

    def __init__(self, most: int = 1000) -> None:
        self.used = 0
        self.pressure = Pressure(lambda: self.used)
        self.pressure.most = most

    def uses(self, used: int) -> State:
        self.used = used
        self.pressure.look()
        return self.pressure.state


@pytest.mark.parametrize(
    ("used", "state"), [(0, "easy"), (799, "easy"), (800, "short"), (999, "short"), (1000, "full")]
)
def test_it_is_by_how_much_of_it_is_used(used: int, state: State) -> None:
    assert Machine().uses(used) == state


def test_a_state_lasts_until_it_is_clearly_over() -> None:
    machine = Machine()
    assert [machine.uses(used) for used in (1000, 950, 949, 800, 750, 749, 799, 800)] == [
        "full",
        "full",
        "short",
        "short",
        "short",
        "easy",
        "easy",
        "short",
    ]


def test_it_may_become_easy_and_full_at_once() -> None:
    machine = Machine()
    assert [machine.uses(used) for used in (2000, 100, 2000)] == ["full", "easy", "full"]


def test_a_look_tells_whether_anything_has_changed() -> None:
    machine = Machine()
    looks = []
    for machine.used in (100, 900, 900, 1000, 0):
        looks.append(machine.pressure.look())
    assert looks == [False, True, False, True, True]


def test_what_is_left_out_first_stays_so_while_nobody_new_is_taken() -> None:
    machine = Machine()
    machine.uses(1000)
    assert machine.pressure.is_short()
    assert machine.pressure.is_full()
    machine.uses(949)
    assert machine.pressure.is_short()
    assert not machine.pressure.is_full()


def test_without_a_bound_there_is_no_pressure() -> None:
    machine = Machine()
    machine.uses(1000)
    machine.pressure.most = 0
    assert machine.uses(10**12) == "easy"
