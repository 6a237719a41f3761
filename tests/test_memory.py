"""What is remembered has a bound."""

from __future__ import annotations

from switchd.memory import Memory


def test_remembers_so_many_and_then_begins_anew() -> None:
    memory: Memory[int, str] = Memory(3)
    for key in range(3):
        memory.keep(key, "old")
    assert list(memory) == [0, 1, 2]
    memory.keep(3, "new")
    assert dict(memory) == {3: "new"}
