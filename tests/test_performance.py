"""The hot paths cost what is recorded (benchmarks/recorded.json); and the guard that says so says it well."""

from __future__ import annotations

from functools import cache

import pytest
from twisted.internet.protocol import Protocol

from benchmarks import counting, guard
from benchmarks.guard import Record
from benchmarks.paths import Path
from switchd.testing import Wire
from tests.e2e.conftest import left_out

RECORDS = guard.load()
NAMES = sorted({name for record in RECORDS for name in record.work})

PACKAGES = {"Twisted": "26.4.0", "h2": "4.4.0"}


@cache
def found() -> Record:
    """What the paths cost here; counted once."""
    return guard.count()


@cache
def differences() -> dict[str, str]:
    """What is not as recorded."""
    recorded = found().among(RECORDS)
    if recorded is None:
        left_out(f"There is no record for Python {found().python}; {guard.AGAIN} makes one.")
    return guard.differences(found(), recorded)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_costs_what_is_recorded(name: str) -> None:
    if name in differences():
        pytest.fail(differences()[name], pytrace=False)


def test_every_path_is_recorded() -> None:
    assert differences().keys() <= set(NAMES)


class TestCounting:
    def path(self, *times: int, is_right: bool = True) -> Path:
        """One that has something to do, this often at each time."""
        left = list(times)

        def work(_: None) -> bytes:
            loop(left.pop(0))
            return b""

        return Path("a path", lambda: None, work, lambda got: is_right, lambda _: None)

    def test_what_is_done_twice_as_often_costs_twice_as_much(self) -> None:
        once, twice, thrice = (counting.instructions(lambda n=n: loop(n)) for n in (10, 20, 30))  # type: ignore[misc]
        assert 0 < once < twice
        assert thrice - twice == twice - once

    def test_what_c_code_calls_is_counted(self) -> None:
        def key(number: int) -> int:
            loop(10)
            return number

        bare, called = (counting.instructions(lambda n=n: sorted(range(n), key=key)) for n in (0, 2))  # type: ignore[misc]
        assert called - bare >= 2 * counting.instructions(lambda: loop(10))

    def test_the_network_of_a_test_is_not(self) -> None:
        assert counting.instructions(Wire(Protocol()).stop_reading) == 0

    def test_warming_up_is_not(self) -> None:
        few, many = counting.cost(self.path(9, 9, 9, 1, 1)), counting.cost(self.path(1, 1, 1, 9, 9))
        assert few < many

    def test_a_path_that_costs_now_this_now_that_is_no_path(self) -> None:
        with pytest.raises(counting.Unsteady):
            counting.cost(self.path(1, 1, 1, 1, 2))

    def test_nor_is_one_that_does_not_do_its_work(self) -> None:
        with pytest.raises(AssertionError, match="a path: b''"):
            counting.cost(self.path(1, 1, 1, 1, 1, is_right=False))


def loop(times: int) -> None:
    for _ in range(times):
        pass


class TestTheGuard:
    def record(self, python: str = "3.11", packages: dict[str, str] = PACKAGES, **work: float) -> Record:
        return Record(python, packages, work)

    @pytest.mark.parametrize("figure", [950.0, 1000.0, 1050.0])
    def test_a_figure_near_the_record_is_as_recorded(self, figure: float) -> None:
        assert guard.differences(self.record(echo=figure), self.record(echo=1000.0)) == {}

    def test_a_path_that_costs_more_says_which_how_much_and_what_to_do(self) -> None:
        assert guard.differences(self.record(echo=1060.0, line=10.0), self.record(echo=1000.0, line=10.0)) == {
            "echo": "echo: 1060, 6.0% more than the 1000 recorded. If it has to be so: make bench-record."
        }

    def test_so_does_one_that_costs_less(self) -> None:
        assert guard.differences(self.record(echo=940.0), self.record(echo=1000.0)) == {
            "echo": "echo: 940, 6.0% less than the 1000 recorded. To keep the gain: make bench-record."
        }

    def test_it_says_what_else_is_different(self) -> None:
        other = self.record(packages={**PACKAGES, "h2": "4.5.0"}, echo=2.0)
        assert guard.differences(other, self.record(echo=1.0))["echo"].endswith(
            " (The record was made with h2 4.4.0 and not 4.5.0.)"
        )

    def test_a_path_without_a_record_and_a_record_without_a_path_are_differences(self) -> None:
        assert guard.differences(self.record(new=1.0), self.record(old=1.0)).keys() == {"new", "old"}

    def test_figures_are_compared_with_the_record_of_the_same_environment(self) -> None:
        older, newer = self.record(), self.record(packages={**PACKAGES, "Twisted": "26.10.0"})
        assert self.record().among([older, newer]) is older

    def test_or_of_the_one_that_is_most_like_it(self) -> None:
        older, newer = self.record(), self.record(packages={"Twisted": "26.10.0", "h2": "4.5.0"})
        here = self.record(packages={**PACKAGES, "h2": "4.6.0"})
        assert here.among([self.record("3.12"), older, newer, self.record("3.13")]) is older

    def test_or_else_with_the_last_one_of_the_same_python(self) -> None:
        older, newer = self.record(), self.record(packages={"Twisted": "26.10.0", "h2": "4.5.0"})
        here = self.record(packages={"Twisted": "27.2.0", "h2": "4.6.0"})
        assert here.among([self.record("3.12"), older, newer, self.record("3.13")]) is newer

    def test_or_with_none(self) -> None:
        assert self.record("3.14").among([self.record()]) is None

    def test_a_new_record_takes_the_place_of_all_of_its_python(self) -> None:
        other, old, new = self.record("3.12"), self.record(echo=1.0), self.record(echo=2.0)
        lowest = self.record(packages={}, echo=3.0)
        assert guard.merged(new, [other, lowest, old], adds=False) == [other, new]

    def test_or_stands_behind_those_of_other_dependencies(self) -> None:
        other, old, new = self.record("3.12"), self.record(echo=1.0), self.record(echo=2.0)
        lowest = self.record(packages={}, echo=3.0)
        assert guard.merged(new, [other, old, lowest], adds=True) == [other, lowest, new]
