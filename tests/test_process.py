"""What this process takes of its machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from switchd import process

resource = pytest.importorskip("resource")


def test_memory_that_is_used_is_seen() -> None:
    before = process.memory_bytes()
    held = b"x" * 50_000_000
    after = process.memory_bytes()
    assert 0 < before <= after - 40_000_000
    assert len(held) == 50_000_000


def test_where_linux_does_not_tell_the_most_that_was_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = process.memory_bytes()
    monkeypatch.setattr(process, "_STATM", "/nowhere/statm")
    assert process.memory_bytes() >= now * 0.9


def test_it_is_seen_where_there_is_no_descriptor_left() -> None:
    program = (
        "import os, resource; from switchd.process import memory_bytes\n"
        "peak = bytearray(200_000_000); del peak\n"
        "before = memory_bytes()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n"
        "try:\n"
        "    while True: os.open('/dev/null', 0)\n"
        "except OSError: print(before < 150_000_000 and memory_bytes() < 150_000_000)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


def descriptors(soft: int, hard: int, wanted: int) -> tuple[int, int]:
    """What is returned where there are so many, and how many there are then; in a process of its own."""
    program = (
        "import json, resource; from switchd.process import raise_descriptors\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"print(json.dumps([raise_descriptors({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    returned, is_now = json.loads(done.stdout)
    return returned, is_now


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "has"),
    [(100, 200, 150, 150), (100, 200, 300, 200), (100, 200, 50, 100), (200, 200, 300, 200)],
)
def test_there_are_as_many_descriptors_as_are_wanted_and_allowed(soft: int, hard: int, wanted: int, has: int) -> None:
    assert descriptors(soft, hard, wanted) == (has, has)
