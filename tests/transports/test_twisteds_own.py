"""The promises of a Twisted transport, by Twisted's own tests of them: all have to hold for ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.transports.processes import run

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
    pytest.importorskip("twisted.internet.epollreactor")
    told = run("-m", "tests.transports.trial", reactor, f"--temp-directory={tmp_path / 'trial'}", *tests)
    ran = re.search(r"^Ran (\d+) tests", told, re.MULTILINE)
    assert ran is not None, told
    assert int(ran[1]) > 500
