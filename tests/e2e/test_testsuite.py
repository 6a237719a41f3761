"""Autobahn|Testsuite's fuzzing client finds nothing wrong with `/echo`; `make conformance` runs the rest of it."""

from __future__ import annotations

import sys

import pytest

from tests.e2e.conftest import run
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

SECTIONS = "1.* 2.* 3.* 4.* 5.* 6.* 7.* 10.*"
"""All that are quick: not the big messages (9), nor the hundreds of thousands that are compressed (12, 13)."""


def test_the_quick_sections_pass(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("testsuite")
    command = [sys.executable, "-m", "tests.testsuite", "--cache", str(cache), "--cases", SECTIONS]
    printed = run(*command, environment={"PYTHONPATH": str(ROOT)})
    assert printed.endswith("Of 247 cases 247 passed: OK or INFORMATIONAL; 0 failed; 0 were not run.\n")
