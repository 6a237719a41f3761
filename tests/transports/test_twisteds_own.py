"""The promises of a Twisted transport, by Twisted's own tests of them: all have to hold for ours."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 300
"""How long they may take: enough for a machine that is busy; it takes ten."""

# What Twisted tests of TCP, UNIX and TLS, and of HTTP on these.
TESTS = (
    "twisted.internet.test.test_tcp",
    "twisted.internet.test.test_tls",
    "twisted.internet.test.test_unix",
    "twisted.protocols.test.test_tls",
    "twisted.test.test_tcp",
    "twisted.test.test_unix",
    "twisted.web.test.test_http",
)
# What it tests of a reactor, besides.
REACTOR_TESTS = (
    "twisted.internet.test.test_core",
    "twisted.internet.test.test_fdset",
    "twisted.internet.test.test_threads",
    "twisted.internet.test.test_time",
)


@pytest.mark.parametrize(("reactor", "tests"), [("stock", TESTS), ("switchd", (*TESTS, *REACTOR_TESTS))])
def test_they_pass(reactor: str, tests: tuple[str, ...], tmp_path: Path) -> None:
    if reactor == "switchd":
        pytest.importorskip("twisted.internet.epollreactor")
    done = subprocess.run(
        [sys.executable, "-m", "tests.transports.trial", reactor, f"--temp-directory={tmp_path / 'trial'}", *tests],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    ran = re.search(r"^Ran (\d+) tests", done.stdout, re.MULTILINE)
    assert ran is not None
    assert int(ran[1]) > 500
