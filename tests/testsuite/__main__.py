"""The program: `python -m tests.testsuite --cache FOLDER`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.python.failure import Failure

from tests.e2e.conftest import twistd
from tests.testsuite.client import Outcome, Suite
from tests.testsuite.package import prepare

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
max_message_bytes = 16_777_216      # section 9 has messages of 16 MiB, also in one frame
max_frame_bytes = 16_777_216
max_buffered_bytes = 33_554_432     # such a message and more
deflate = true                      # sections 12 and 13
deflate_threshold_bytes = 0         # they begin with messages of 16 bytes
deflate_max_bytes = 16_777_216
"""

LINE = 300
"""How much is printed of a value, in characters."""

reactor: Any = installed_reactor


def main() -> int:
    """Run the cases that the command line says.

    Returns:
        The exit status: 0 if all of them passed.
    """
    arguments = _arguments()
    package = prepare(arguments.cache)
    with nullcontext(arguments.url) if arguments.url else _echo() as url:
        suite = Suite(package, url)
        try:
            cases = suite.select(arguments.cases, arguments.exclude)
        except ValueError as error:
            sys.exit(f"testsuite: {error}")
        outcomes = _run(suite, cases)
    if arguments.report:
        _write(arguments.report, outcomes)
    passed = sum(outcome.passed for outcome in outcomes)
    failed, left = len(outcomes) - passed, len(cases) - len(outcomes)
    print(f"Of {len(cases)} cases {passed} passed: OK or INFORMATIONAL; {failed} failed; {left} were not run.")
    return 0 if passed == len(cases) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.testsuite",
        description="Run Autobahn|Testsuite's fuzzing client against a WebSocket echo.",
    )
    add = parser.add_argument
    add("--cache", type=Path, required=True, metavar="FOLDER", help="where the suite is kept once it has been fetched")
    add("--url", help="the echo, ws://...; without this, a switchd is started")
    add("--cases", type=str.split, default=["*"], metavar="PATTERNS", help='which to run, for example "1.* 2.*"')
    add("--exclude", type=str.split, default=[], metavar="PATTERNS", help="which of them not to run")
    add("--report", type=Path, metavar="FOLDER", help="where to write what the suite says on each case, as JSON")
    return parser.parse_args()


@contextmanager
def _echo() -> Iterator[str]:
    """A switchd; the context is the URL."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "switchd.toml")
        file.write_text(CONFIG)
        with twistd(Path(folder), "--config", file.name, "--listen", "tcp:0:interface=127.0.0.1") as server:
            yield f"ws://{server.host}:{server.port}/echo"


def _run(suite: Suite, cases: list[str]) -> list[Outcome]:
    """Run cases, and print what has become of them: at once what is not OK, the rest by the section."""
    outcomes: list[Outcome] = []
    ended: list[Failure | None] = []

    def report(outcome: Outcome) -> None:
        if outcomes and outcomes[-1].section != outcome.section:
            _print_section(outcomes)
        outcomes.append(outcome)
        if not outcome.passed or outcome.behaviours != ("OK", "OK"):
            _print_case(outcome)

    running = Deferred.fromCoroutine(suite.run(cases, report))
    running.addBoth(ended.append).addBoth(lambda _: reactor.stop())
    reactor.run()
    if not ended:
        raise KeyboardInterrupt
    _print_section(outcomes)
    if ended[0] is not None:
        if not ended[0].check(ConnectError):
            ended[0].raiseException()
        print(f"It ends here: {ended[0].getErrorMessage()}")
    return outcomes


def _print_section(outcomes: list[Outcome]) -> None:
    """A line on the section of the last outcome, if there is one."""
    mine = [outcome for outcome in outcomes if outcome.section == outcomes[-1].section]
    if mine:
        passed, seconds = sum(outcome.passed for outcome in mine), sum(outcome.seconds for outcome in mine)
        print(f"section {mine[0].section}: {len(mine)} cases, {passed} passed, {seconds:.1f} s", flush=True)


def _print_case(outcome: Outcome) -> None:
    """What was expected, and what came."""
    record = outcome.record
    print(f"{outcome.case}: {', '.join(outcome.behaviours)}")
    if record:
        print(f"    sent:     {_plain(record['description'])}")
        print(f"    expected: {_plain(record['expectation'])} {_plain(record['expected'] or '')}")
        print(f"    came:     {_plain(record['received'])} {record['result']}")
        print(f"    the end:  {record['resultClose']}; close code {record['remoteCloseCode']}")
    for error in outcome.errors:
        print(f"    an error in the suite: {error}")


def _plain(text: object) -> str:
    """In a line, without HTML."""
    return shorten(re.sub("<[^>]*>", " ", str(text)), LINE)


def _write(folder: Path, outcomes: list[Outcome]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for outcome in outcomes:
        content = {**outcome.record, "errors": outcome.errors}
        (folder / f"{outcome.case}.json").write_text(json.dumps(content, indent=1, default=str) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
