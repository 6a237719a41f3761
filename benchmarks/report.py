"""Tables: for a terminal, and for docs/performance.md."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.cache import Cache
from benchmarks.measure import Outcome
from benchmarks.rows import DIGITS, UNITS, US, Goal

BEGIN, END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"

OUR_PACKAGES = ("Twisted", "autobahn", "h2", "hpack")

GOALS = ("work", "goal", "found", "by CPU", "met")
FIGURES = ("server", "per s", "CPU µs", "bytes", "p50 µs", "p99 µs", "KiB")


def value(outcome: Outcome, goal: Goal) -> tuple[str, float] | None:
    """Ours as a goal wants it.

    Returns:
        The peer that it is compared with, "" for none, and the ratio or the figure; None: something is missing.
    """
    if US not in outcome.found:
        return None
    if not goal.peer:
        return "", outcome.found[US][goal.figure]
    best = outcome.best(goal.peer, goal.figure)
    return None if best is None else (best, outcome.ratio(goal.figure, best))


def _asked(goal: Goal) -> str:
    sign = {">=": "≥", "<=": "≤", "=": "="}[goal.sign]
    text = f"{sign} {goal.bound:g}"
    if goal.peer:
        text += f" × {' or '.join(goal.peer.split())}"
    if not goal.peer or goal.figure not in ("rate", "memory", "growth"):
        text += f" ({UNITS[goal.figure]})"
    return f"{text}, stretch" if goal.is_stretch else text


def _verdict(outcome: Outcome, goal: Goal) -> tuple[str, str, str]:
    found = value(outcome, goal)
    if found is None:
        absent = [f"no {name}" for name in (US, *goal.peer.split()) if name in outcome.missing]
        return ", ".join(absent) or "not measured", "", "?"
    peer, number = found
    text = f"{number:.{DIGITS}f}" + (f" × {peer}" if " " in goal.peer else "")
    by_cpu = f"{1 / outcome.ratio('cpu', peer):.2f}" if goal.figure == "rate" else ""
    return text, by_cpu, "yes" if goal.is_met(number) else "no"


def goals(outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    """A line for each goal: work, goal, what was found, for a rate also by time on the CPU, whether it is met."""
    lines: list[tuple[str, ...]] = []
    for outcome in outcomes:
        for number, goal in enumerate(outcome.row.goals):
            lines.append(("" if number else outcome.row.name, _asked(goal), *_verdict(outcome, goal)))
    return lines


def figures(outcome: Outcome) -> list[tuple[str, ...]]:
    """A line for each server of a row, ours first."""
    lines = []
    for name in outcome.row.servers:
        if name in outcome.found:
            found = outcome.found[name]
            lines.append((name, *(_number(found.get(key)) for key in ("rate", "cpu", "bytes", "p50", "p99", "memory"))))
            if "growth" in found:
                lines[-1] = (*lines[-1][:-1], f"{found['growth']:.1f} B a switch")
        elif name in outcome.missing:
            lines.append((name, f"missing: {outcome.missing[name]}", *[""] * 5))
    return lines


def _number(number: float | None) -> str:
    """Nothing for what was not measured."""
    if not number:
        return ""
    return f"{number:,.0f}" if number >= 100 else f"{number:.2f}"


def plain(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A table in columns."""
    table = [header, *lines]
    widths = [
        max(len(cell) for cell in column if not cell.startswith("missing")) for column in zip(*table, strict=True)
    ]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join(rows) + "\n"


def markdown(header: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    rules = tuple("---" for _ in header)
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, rules, *lines])


def machine() -> str:
    """What it ran on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, CPython {platform.python_version()}"


def versions(cache: Cache) -> str:
    """Ours, then the peers'."""
    ours = {}
    for name in OUR_PACKAGES:
        try:
            ours[name] = version(name)
        except PackageNotFoundError:
            continue
    return ", ".join(f"{name} {number}" for name, number in {**ours, **cache.versions()}.items())


def page(outcomes: list[Outcome], cache: Cache, about: str) -> str:
    """What stands between the marks of docs/performance.md."""
    parts = [
        f"{date.today().isoformat()}, {machine()}. {about}\n\nVersions: {versions(cache)}.\n",
        markdown(GOALS, goals(outcomes)),
        "All figures of the same run:\n",
    ]
    for outcome in outcomes:
        parts.append(f"**{outcome.row.name}**\n\n{markdown(FIGURES, figures(outcome))}")
    return "\n".join(parts)


def write(file: Path, content: str) -> None:
    """Put it between the marks of a page.

    Raises:
        ValueError: The page has no such marks.
    """
    before, begin, rest = file.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{file} has no place for a table")
    file.write_text(f"{before}{begin}\n{content}\n{end}{after}", "utf-8")


def say(text: str) -> None:
    """To the terminal, at once."""
    print(text, flush=True, file=sys.stdout)
