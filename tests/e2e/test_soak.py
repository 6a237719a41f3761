"""The soak works: in short, with everything that is in the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.report import BEGIN, END
from tests.e2e.conftest import need
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

SECONDS = 300
"""More than it allows itself."""


def test_it_holds_and_says_so(tmp_path: Path) -> None:
    need("openssl")
    page = tmp_path / "soak.md"
    page.write_text(f"# Before\n{BEGIN}{END}after\n")
    command = [sys.executable, "-m", "benchmarks.soak", "--quick", "--markdown", str(page)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    text = page.read_text()
    assert text.startswith("# Before\n")
    assert text.endswith("after\n")
    assert "| farewells | 205 |" in text
    assert "| errors in the log | 0 |" in text
    assert "Nothing has failed." in text
