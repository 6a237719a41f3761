"""The program: `python -m benchmarks.soak`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.servers import cores
from benchmarks.soak.course import Course
from benchmarks.soak.found import Found
from benchmarks.soak.plan import QUICK, Plan
from benchmarks.soak.server import raise_limit

HEADER = ("what", "found")


def main() -> int:
    """Run the course that the command line says.

    Returns:
        The exit status: 0 if nothing has failed.
    """
    arguments = _arguments()
    plan = QUICK if arguments.quick else Plan()
    chosen = {name: getattr(arguments, name) for name in ("minutes", "connections", "rate")}
    plan = replace(plan, **{name: value for name, value in chosen.items() if value is not None})
    raise_limit(plan.connections + 2000)
    os.sched_setaffinity(0, {cores()[1]})
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # not without ending the server
    with tempfile.TemporaryDirectory() as folder:
        _make_certificate(Path(folder))
        found = asyncio.run(_bounded(Course(plan, Path(folder), report.say), plan.bound_seconds))
    report.say("\n" + report.plain(HEADER, list(found.figures)))
    for failure in found.failures:
        report.say(f"FAILED: {failure}")
    if arguments.markdown:
        report.write(arguments.markdown, _page(plan, found))
    return 1 if found.failures else 0


async def _bounded(course: Course, seconds: float) -> Found:
    try:
        async with asyncio.timeout(seconds):
            return await course.run()
    except TimeoutError as error:
        course.found.fail(f"not over in {seconds:.0f} s: {error}")
        return course.found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A day in ten minutes.")
    add = parser.add_argument
    add("--quick", action="store_true", help="in half a minute, to know that it works")
    add("--minutes", type=_up_to(60.0), help=f"of load, from when all are open; {Plan.minutes:g}")
    add("--connections", type=_up_to(50_000), help=f"that stay; {Plan.connections}")
    add("--rate", type=_up_to(10_000), help=f"switches a second of those that come and go; {Plan.rate}")
    add("--markdown", type=Path, metavar="FILE", help="a page whose table is written anew: docs/soak.md")
    return parser.parse_args()


def _up_to(most: float) -> Callable[[str], Any]:
    """Reads a number above 0 and up to that one, of the same type."""

    def number(text: str) -> Any:
        value = type(most)(text)
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(f"expected more than 0, up to {most:g}")
        return value

    return number


def _make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        + [
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def _page(plan: Plan, found: Found) -> str:
    command = (
        f"python -m benchmarks.soak --minutes {plan.minutes:g} --connections {plan.connections} --rate {plan.rate}"
    )
    failures = "".join(f"- **failed**: {failure}\n" for failure in found.failures) or "Nothing has failed.\n"
    about = f"{date.today().isoformat()}, {report.machine()}: `{command}`\n"
    return f"{about}\n{report.markdown(HEADER, list(found.figures))}\n{failures}"


if __name__ == "__main__":
    sys.exit(main())
