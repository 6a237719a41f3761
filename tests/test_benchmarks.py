"""What the benchmark says of the figures that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.cache import Cache, Missing
from benchmarks.measure import QUICK, Bench, Outcome
from benchmarks.rows import ROWS, US, Goal, Row
from benchmarks.servers import BY_NAME, PATHS

RATE = Goal("rate", ">=", 0.9, "picows node")
CPU = Goal("cpu", "<=", 1.0, "node")
SAME = Goal("rate", "=", 1.0, "node")
ALONE = Goal("memory", "<=", 5.5)

FOUND = {
    US: {"rate": 180.0, "cpu": 6.0, "memory": 5.0},
    "picows": {"rate": 200.0, "cpu": 4.0, "memory": 27.0},
    "node": {"rate": 100.0, "cpu": 5.0, "memory": 7.0},
}


def outcome(*goals: Goal, missing: tuple[str, ...] = ()) -> Outcome:
    found = {name: [figures] for name, figures in FOUND.items() if name not in missing}
    return Outcome(Row("echo", "websocket", "echo", goals), found, dict.fromkeys(missing, "there is none here"))


@pytest.mark.parametrize(
    ("goal", "line"),
    [
        (RATE, ("echo", "≥ 0.9 × picows or node", "0.90 × picows", "0.67", "yes")),
        (CPU, ("echo", "≤ 1 × node (µs of CPU per operation)", "1.20", "", "no")),
        (SAME, ("echo", "= 1 × node", "1.80", "0.83", "no")),
        (ALONE, ("echo", "≤ 5.5 (KiB per connection)", "5.00", "", "yes")),
        (Goal("rate", ">=", 2.0, "node", is_stretch=True), ("echo", "≥ 2 × node, stretch", "1.80", "0.83", "no")),
    ],
)
def test_a_goal_has_a_line(goal: Goal, line: tuple[str, ...]) -> None:
    assert report.goals([outcome(goal)]) == [line]


@pytest.mark.parametrize(
    ("missing", "goal", "found"),
    [
        (("node",), CPU, ("no node", "", "?")),
        (("picows",), RATE, ("1.80 × node", "0.83", "yes")),
        ((US,), ALONE, ("no switchd", "", "?")),
    ],
)
def test_what_is_missing_is_said(missing: tuple[str, ...], goal: Goal, found: tuple[str, str, str]) -> None:
    assert report.goals([outcome(goal, missing=missing)])[0][2:] == found


@pytest.mark.parametrize(("ratio", "is_met"), [(0.96, False), (0.97, True), (1.034, True), (1.04, False)])
def test_what_is_to_be_equal_may_differ_a_little(ratio: float, is_met: bool) -> None:
    assert SAME.is_met(ratio) == is_met


def test_a_ratio_is_that_of_the_same_round() -> None:
    ours, theirs = [{"rate": 10.0}, {"rate": 20.0}, {"rate": 30.0}], [{"rate": 5.0}, {"rate": 40.0}, {"rate": 15.0}]
    both = Outcome(ROWS[0], {US: ours, "node": theirs})
    assert both.found == {US: {"rate": 20.0}, "node": {"rate": 15.0}}
    assert both.ratio("rate", "node") == 2.0


def test_all_figures_of_a_row_are_shown_and_who_is_missing() -> None:
    lines = report.figures(outcome(RATE, missing=("node",)))
    assert [line[0] for line in lines] == [US, "picows", "node"]
    assert lines[0][1:3] == ("180", "6.00")
    assert lines[2][1] == "missing: there is none here"


def test_a_page_gets_a_new_table_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}old\n{report.END}after\n")
    for _ in range(2):
        report.write(page, "new")
    assert page.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}after\n"


def test_a_page_without_a_place_for_it_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        report.write(page, "new")
    assert page.read_text() == "nothing"


class TestWhatCannotBeHad:
    @pytest.fixture(autouse=True)
    def nothing_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")

    @pytest.mark.parametrize("name", ["client", "go", "h2load", "node", "ws"])
    def test_a_need_says_which_program_is_missing(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(Missing, match="there is no (gcc|go|h2load|node|npm) here"):
            Cache(tmp_path).need(name)

    def test_a_row_without_its_client_is_not_measured(self, tmp_path: Path) -> None:
        with pytest.raises(Missing, match="there is no gcc here"):
            Bench(Cache(tmp_path), QUICK).measure(ROWS[0])

    def test_a_server_without_its_needs_is_missing(self, tmp_path: Path) -> None:
        cache = Cache(tmp_path)
        (tmp_path / "client").touch()  # newer than its sources
        bench = Bench(cache, QUICK, only=frozenset(["node"]))
        found = bench.measure(ROWS[0])
        assert found.missing == {"node": "there is no node here"}
        assert report.goals([found])[1][2:] == ("no node", "", "?")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_about_servers_that_there_are(row: Row) -> None:
    assert set(row.servers) <= BY_NAME.keys()
    assert row.half_of in ("", *(other.name for other in ROWS[: ROWS.index(row)]))


def test_the_servers_have_the_paths_of_switchd() -> None:
    configuration = (Path(report.__file__).parent / "switchd.toml").read_text()
    assert all(f'"{path}"' in configuration for path in PATHS.values())
