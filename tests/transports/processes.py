"""Tests that run in a process of their own, since a process has one reactor."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SECONDS = 300
"""How long they may take: enough for a machine that is busy; it is ten or twenty."""


def run(*arguments: str) -> str:
    """What a Python prints on standard output; its exit status has to be 0."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-20_000:]
    return done.stdout
