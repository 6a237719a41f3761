"""Compares the work of the hot paths with what is recorded: `python -m benchmarks.guard --help`.

Work is bytecode instructions, of whatever Python code runs in a path: ours, Twisted's, autobahn's. Unlike seconds they
are the same each time, on any machine. They do not tell what C code does; of that the benchmark tells. With them is
counted what memory an idle connection holds, in bytes, which can differ by some tens of them from time to time.

They differ with the version of Python, and with those of the dependencies. benchmarks/recorded.json has a record for
each environment in which one has been made; `Record.among` says which of them an environment is compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORDED = Path(__file__).with_name("recorded.json")

TOLERANCE = 0.05
"""How far a figure may be from the record, either way: a gain is to be recorded, too, or it could be lost unnoticed."""

PACKAGES = ("Twisted", "autobahn", "h2", "hpack", "hyperframe")
"""Whose code runs in a path, besides ours."""

SECONDS = 120
"""How long the counting may take."""

AGAIN = "make bench-record"


@dataclass(frozen=True)
class Record:
    """The figures of one environment.

    Attributes:
        python: The minor version, "3.11".
        packages: The versions of `PACKAGES`.
        work: Of each path, the instructions of one operation; of each idle connection, the bytes.
    """

    python: str
    packages: dict[str, str]
    work: dict[str, float]

    def is_of_same(self, other: Record) -> bool:
        """Whether both are of the same environment."""
        return (self.python, self.packages) == (other.python, other.packages)

    def among(self, records: Iterable[Record]) -> Record | None:
        """The record to compare these figures with: of the same version of Python, and most like it in its packages.

        A release of a dependency seldom changes much. Of several records the last one; None: there is none.
        """
        of_python = [record for record in records if record.python == self.python]
        return max(reversed(of_python), key=self._likeness, default=None)

    def _likeness(self, other: Record) -> int:
        return len(self.packages.items() & other.packages.items())


def differences(found: Record, recorded: Record) -> dict[str, str]:
    """The paths whose work is not as recorded, each with a sentence that says so."""
    wrong = {}
    for name in found.work | recorded.work:
        if name not in recorded.work:
            wrong[name] = f"{name}: is not recorded. {AGAIN} records it."
        elif name not in found.work:
            wrong[name] = f"{name}: is recorded, and no longer a path. {AGAIN} forgets it."
        elif not _is_near(found.work[name], recorded.work[name]):
            wrong[name] = _sentence(name, found.work[name], recorded.work[name]) + _other_packages(found, recorded)
    return wrong


def _is_near(figure: float, recorded: float) -> bool:
    return recorded * (1 - TOLERANCE) <= figure <= recorded * (1 + TOLERANCE)


def _sentence(name: str, ours: float, theirs: float) -> str:
    much = f"{abs(ours / theirs - 1):.1%}"
    if ours > theirs:
        return f"{name}: {ours:g}, {much} more than the {theirs:g} recorded. If it has to be so: {AGAIN}."
    return f"{name}: {ours:g}, {much} less than the {theirs:g} recorded. To keep the gain: {AGAIN}."


def _other_packages(found: Record, recorded: Record) -> str:
    others = [
        f"{name} {recorded.packages[name]} and not {number}"
        for name, number in found.packages.items()
        if recorded.packages[name] != number
    ]
    return f" (The record was made with {', '.join(others)}.)" if others else ""


def count() -> Record:
    """Count, in a process of its own: nothing that has happened in this one can be seen there.

    Raises:
        RuntimeError: It did not work; with what it said.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.counting"],
        cwd=ROOT,
        env={**environment, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Record(python, {name: version(name) for name in PACKAGES}, json.loads(done.stdout))


def load() -> list[Record]:
    """What is recorded."""
    return [Record(**one) for one in json.loads(RECORDED.read_text("utf-8"))]


def merged(found: Record, records: Iterable[Record], adds: bool) -> list[Record]:
    """The records with a new one, which is the last of its version of Python.

    Args:
        found: The new one.
        records: Those that there are.
        adds: Keep those of other environments with this version of Python.
    """
    kept = [one for one in records if one.python != found.python or (adds and not found.is_of_same(one))]
    return [*kept, found]


def main() -> int:
    """Do what the command line says.

    Returns:
        The exit status: 1 if something is not as recorded.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="record what is found, in place of what is recorded")
    parser.add_argument("--add", action="store_true", help="the same, beside the records of other dependencies")
    arguments = parser.parse_args()
    found, records = count(), load()
    if arguments.record or arguments.add:
        content = [asdict(one) for one in merged(found, records, arguments.add)]
        RECORDED.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    recorded = found.among(load())
    for name, figure in found.work.items():
        before = recorded.work.get(name) if recorded else None
        print(f"{figure:10g}  {f'{figure / before - 1:+7.1%}' if before else ' ' * 7}  {name}")
    if recorded is None:
        print(f"There is no record for Python {found.python}. {AGAIN} makes one.")
        return 0
    wrong = differences(found, recorded)
    print("\n".join(wrong.values()) or "All is as recorded.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
