"""The hot paths cost what is recorded (benchmarks/recorded.json); and the guard that says so says it well."""

from __future__ import annotations

from functools import cache

import pytest

from benchmarks import guard
from benchmarks.guard import Record
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

    def test_or_else_with_the_last_one_of_the_same_python(self) -> None:
        older, newer = self.record(), self.record(packages={**PACKAGES, "Twisted": "26.10.0"})
        newest = self.record(packages={**PACKAGES, "Twisted": "27.2.0"})
        assert newest.among([self.record("3.12"), older, newer, self.record("3.13")]) is newer

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
