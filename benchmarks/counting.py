"""Counts the work of the hot paths in this process, and prints it as JSON: `python -m benchmarks.counting`.

`benchmarks.guard` runs it, in a process in which nothing else has happened.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from twisted.internet import task
from twisted.internet.base import DelayedCall
from twisted.logger import globalLogBeginner, textFileLogObserver

from benchmarks.paths import Idle, Memory, Path, idle, paths, reactors
from switchd import testing

UNCOUNTED = (os.path.dirname(__file__) + os.sep, testing.__file__, task.__file__)
"""Files, by the beginning of their names, that stand for the client, the network and the clock."""

LOOKS_AT_A_TIMER = DelayedCall.getTime.__code__
"""What the clock of a test does to all timers for each new one; a reactor does not. It is no work either."""

WARM_UPS = 3
"""How often a path is gone before it counts: what is made at the first time is there then."""

TIMES = 2
"""How often it counts; the same has to come out."""

IDLE = 100
"""How many idle connections share what is there once for all of them."""


class Unsteady(Exception):
    """A path takes now this long, now that."""


def instructions(work: Callable[[], object]) -> int:
    """How many bytecode instructions a piece of work takes, in all code that it runs but that of `UNCOUNTED`."""
    gc.collect()
    gc.disable()  # a finaliser could run in between
    try:
        return _monitored(work) if sys.version_info >= (3, 12) else _traced(work)
    finally:
        gc.enable()


def _counts(code: CodeType) -> bool:
    return code is not LOOKS_AT_A_TIMER and not code.co_filename.startswith(UNCOUNTED)


def _traced(work: Callable[[], object]) -> int:
    count = 0

    def each(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return each

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        if not _counts(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return each

    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(None)
    return count


def _monitored(work: Callable[[], object]) -> int:
    """The same by PEP 669; tracing does not see every instruction from Python 3.12 on."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    count = 0

    def each(code: CodeType, offset: int) -> Any:
        nonlocal count
        if not _counts(code):
            return monitoring.DISABLE
        count += 1
        return None

    monitoring.use_tool_id(monitoring.PROFILER_ID, "switchd")
    monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION, each)
    monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.INSTRUCTION)
    try:
        work()
    finally:
        monitoring.set_events(monitoring.PROFILER_ID, 0)
        monitoring.free_tool_id(monitoring.PROFILER_ID)
    return count


def cost(path: Path) -> float:
    """The instructions of one operation of a path.

    Raises:
        Unsteady: They are not the same each time.
    """
    for _ in range(WARM_UPS):
        _gone(path, lambda work: work())
    counts: set[int] = {_gone(path, instructions) for _ in range(TIMES)}
    if len(counts) > 1:
        raise Unsteady(f"{path.name}: {counts}")
    return round(counts.pop() / path.operations, 1)


def _gone(path: Path, how: Callable[[Callable[[], None]], Any]) -> Any:
    """What `how` gives for the work of a path, which is done once."""
    ready = path.prepare()
    got = b""

    def work() -> None:
        nonlocal got
        got = path.work(ready)

    result = how(work)
    assert path.is_right(got), f"{path.name}: {got!r}"
    path.finish(ready)
    return result


def held(one: Idle) -> float:
    """The bytes of memory that one of many idle connections holds, without what stands for its network."""
    Memory().open(*one.segments).reset()
    server = Memory()  # fresh: how long a set is depends on what has been in it
    gc.collect()
    tracemalloc.start()
    wires = [server.open(*one.segments) for _ in range(IDLE)]
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    tracemalloc.stop()
    for wire in wires:
        wire.reset()
    sizes: list[int] = [at.size for at in snapshot.traces if not at.traceback[0].filename.startswith(UNCOUNTED)]
    return round(float(sum(sizes)) / IDLE / one.parts, 1)


def main() -> None:
    """Count everything."""
    # An extra that may be there or not; the figures are those without it.
    assert "switchd.protocols.websocket.masks" not in sys.modules
    sys.modules["websockets.speedups"] = None  # type: ignore[assignment]
    # As twistd has it, with a log that goes nowhere: a line of the log is part of the work.
    on = reactors()
    with open(os.devnull, "w") as nowhere:
        globalLogBeginner.beginLoggingTo([textFileLogObserver(nowhere)], redirectStandardIO=False)
        found = {path.name: cost(path) for path in paths(on)}
        found |= {one.name: held(one) for one in idle()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
