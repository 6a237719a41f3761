"""The program: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from benchmarks import report
from benchmarks.cache import Cache, Missing
from benchmarks.measure import FULL, QUICK, Bench
from benchmarks.report import say
from benchmarks.rows import ROWS, US, Row
from benchmarks.servers import BY_NAME, ROOT, reactors

OWN_REACTOR = "switchd"
"""The reactor that is used where there is one of this name."""


def main() -> int:
    """Measure what the command line says.

    Returns:
        The exit status: 0 if switchd has been measured in every row, whatever the goals.
    """
    arguments = _arguments()
    cache = Cache(arguments.cache)
    reactor = arguments.reactor
    if reactor is None:
        reactor = OWN_REACTOR if OWN_REACTOR in reactors() else ""
    chosen = {name: getattr(arguments, name) for name in ("seconds", "rounds", "connections", "switches")}
    effort = replace(
        QUICK if arguments.quick else FULL, **{name: value for name, value in chosen.items() if value is not None}
    )
    about = (
        f"switchd runs under `twistd{f' --reactor {reactor}' if reactor else ''}` with `benchmarks/switchd.toml`;"
        f" {effort.rounds} rounds of {effort.seconds:g} s."
    )
    say(f"{about}\n{report.machine()}\n")
    bench = Bench(cache, effort, reactor, arguments.servers)
    start = time.monotonic()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # not without ending the servers
    try:
        for row in arguments.rows:
            _measure(bench, row)
    finally:
        bench.close()
    outcomes = list(bench.outcomes.values())
    say(report.plain(report.GOALS, report.goals(outcomes)))
    say(f"{report.versions(cache)}\n{time.monotonic() - start:.0f} s")
    if arguments.markdown:
        report.write(arguments.markdown, report.page(outcomes, cache, about))
    return 0 if all(US in outcome.found for outcome in outcomes) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure switchd beside its peers.")
    add = parser.add_argument
    add("--quick", action="store_true", help="in a minute: rougher, with fewer peers, without the row on growth")
    add("--row", default="", metavar="TEXT", help="only rows with this in their name")
    add("--servers", type=_servers, metavar="NAMES", help=f"only these, with commas between: {', '.join(BY_NAME)}")
    add(
        "--reactor",
        metavar="NAME",
        help='what switchd runs on, "" for twistd\'s choice; without this, its own if there',
    )
    add("--seconds", type=float, help="of each measurement")
    add("--rounds", type=int, help="in which each server gets its turn")
    add("--connections", type=int, help="idle ones, in the rows on memory")
    add("--switches", type=int, help="in the row on growth")
    add("--markdown", type=Path, metavar="FILE", help="a page whose table is written anew: docs/performance.md")
    add("--cache", type=Path, default=ROOT / ".bench", metavar="FOLDER", help="where what is fetched and built is kept")
    arguments = parser.parse_args()
    named = [row for row in ROWS if arguments.row.lower() in row.name.lower()]
    arguments.rows = [row for row in named if not (arguments.quick and row.deed == "growth")]
    if not arguments.rows:
        parser.error(f'there is no row with "{arguments.row}" in its name')
    return arguments


def _servers(names: str) -> frozenset[str]:
    chosen = frozenset(names.split(","))
    if not chosen <= BY_NAME.keys():
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(chosen - BY_NAME.keys()))}")
    return chosen


def _measure(bench: Bench, row: Row) -> None:
    try:
        outcome = bench.measure(row)
    except Missing as missing:
        bench.outcomes[row.name].missing = dict.fromkeys(row.servers, str(missing))
        say(f"{row.name}: {missing}\n")
    else:
        say(f"{row.name}\n{report.plain(report.FIGURES, report.figures(outcome))}")


if __name__ == "__main__":
    sys.exit(main())
