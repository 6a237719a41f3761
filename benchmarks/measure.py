"""Runs the load on several servers, in turns, and gives medians."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.cache import Cache, Missing
from benchmarks.rows import US, Figure, Row
from benchmarks.servers import BY_NAME, PATHS, Running, cores

Figures = dict[str, float]
"""What has been measured of one server: of `Figure`, and "p50"."""

PATIENCE = 60.0
"""Seconds more than it should take that a client may run."""

SETTLES = 0.5
"""Seconds after many connections have come, until memory is looked at."""

IDLE = 2000
"""Idle WebSockets during the row on growth."""

BATCHES = 3
"""How often as many switches are made: growth is what each of the later ones shows."""

BATCH_SECONDS = 60
"""How long one kind of switch goes on in a batch, if that is not enough for all."""


@dataclass(frozen=True)
class Effort:
    """How long it takes.

    Attributes:
        seconds: Of each measurement.
        warm_up: Seconds of the same load before it.
        rounds: How often each server gets its turn.
        connections: Idle ones, in the rows on memory.
        switches: In the row on growth, all in all.
        others: Whether servers are measured that no goal names.
    """

    seconds: float = 0.8
    warm_up: float = 0.2
    rounds: int = 3
    connections: int = 5000
    switches: int = 300_000
    others: bool = True


FULL = Effort()
QUICK = Effort(seconds=0.2, warm_up=0.1, rounds=2, connections=1000, switches=6000, others=False)


@dataclass
class Outcome:
    """What a row has shown.

    Attributes:
        row: The row.
        samples: The figures of each server, one for each round.
        missing: The servers that could not be measured, and why.
    """

    row: Row
    samples: dict[str, list[Figures]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def found(self) -> dict[str, Figures]:
        """The medians over the rounds, of those that were measured in each of them."""
        return {
            name: {key: median(one[key] for one in found) for key in found[0]}
            for name, found in self.samples.items()
            if name not in self.missing
        }

    def best(self, names: str, figure: Figure) -> str | None:
        """Of servers named with blanks between, the best one; None if none was measured."""
        found = self.found
        known = [(found[name][figure], name) for name in names.split() if name in found]
        if not known:
            return None
        return (max(known) if figure == "rate" else min(known))[1]

    def ratio(self, figure: Figure, peer: str) -> float:
        """Ours to a peer's: the median over the rounds, each of which met both of them within seconds."""
        pairs = zip(self.samples[US], self.samples[peer], strict=True)
        return median(ours[figure] / theirs[figure] for ours, theirs in pairs)


class Bench:
    """Measures rows. Servers are started when a row needs them, and run on until `close`.

    Args:
        cache: Where their needs are.
        effort: How long it may take.
        reactor: What switchd runs on; "": twistd's own choice.
        only: The servers that are measured; None: all.
    """

    def __init__(self, cache: Cache, effort: Effort, reactor: str = "", only: frozenset[str] | None = None) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._cache = cache
        self._effort = effort
        self._reactor = reactor
        self._only = only
        self._running: dict[str, Running] = {}

    def close(self) -> None:
        """End all servers."""
        while self._running:
            self._running.popitem()[1].stop()

    def measure(self, row: Row) -> Outcome:
        """Measure a row.

        Raises:
            Missing: There is no load client for it.
        """
        outcome = self.outcomes[row.name] = Outcome(row)
        servers = row.servers if self._effort.others else row.named
        names = [name for name in servers if self._only is None or name in self._only]
        self._cache.need("h2load" if row.kind == "h2load" else "client")
        if row.deed in ("memory", "growth"):
            once = self._memory if row.deed == "memory" else self._growth
            for name in names:
                with _told(outcome, name), Running(BY_NAME[name], self._cache, self._reactor) as fresh:
                    outcome.samples[name] = [once(row, fresh)]
        else:
            self._in_turns(outcome, names, self._load(row))
        return outcome

    def _in_turns(self, outcome: Outcome, names: list[str], load: Callable[[Running], Figures]) -> None:
        """A B C, C B A, A B C: whatever else the machine does meets all of them alike."""
        for name in names:
            if name not in self._running:
                with _told(outcome, name):
                    self._running[name] = Running(BY_NAME[name], self._cache, self._reactor)
        for turn in range(self._effort.rounds):
            for name in names if turn % 2 == 0 else names[::-1]:
                if name not in outcome.missing:
                    with _told(outcome, name):
                        outcome.samples.setdefault(name, []).append(load(self._running[name]))

    def _load(self, row: Row) -> Callable[[Running], Figures]:
        if row.kind == "h2load":
            return lambda server: self._h2load(row, server)
        words = ["-d", row.deed, "-c", str(row.connections), "-s", str(row.size)]
        words += ["-t", str(self._effort.seconds), "-w", str(self._effort.warm_up)]
        if row.deed == "pace":
            words += ["-r", str(self._half(row)), "-o", "4096"]
        else:
            words += ["-o", str(row.outstanding)]
        path = PATHS.get("broadcast" if row.deed == "broadcast" else row.kind, "/")
        return lambda server: _busy(self._client(server, row.kind, path, *words, *_streams(row, server)))

    def _half(self, row: Row) -> int:
        """Half of what both we and the fastest peer can carry."""
        found = self.outcomes[row.half_of].found if row.half_of in self.outcomes else {}
        if US not in found:
            raise Missing(f'the row "{row.half_of}" has to be measured before')
        return max(1, int(min(found[US]["rate"], max(figures["rate"] for figures in found.values())) / 2))

    def _command(self, server: Running, kind: str, path: str, *words: str) -> list[str]:
        pids = ",".join(map(str, server.pids()))
        return [str(self._cache.need("client")), "-k", kind, "-p", str(server.port), "-u", path, "-P", pids, *words]

    def _client(self, server: Running, kind: str, path: str, *words: str) -> Figures:
        figures: Figures = json.loads(_output(self._command(server, kind, path, *words)))
        return figures

    def _h2load(self, row: Row, server: Running) -> Figures:
        """A first run warms up, and says how many requests fill the time of the second."""
        words = ["-t", "1", "-c", str(row.connections), "-m", str(row.outstanding), f"http://127.0.0.1:{server.port}/"]
        program = str(self._cache.need("h2load"))
        least = row.connections * row.outstanding
        rate = _h2load_rate(_output([program, "-n", str(2 * least + 1000), *words]))
        number = max(least, int(rate * self._effort.seconds))
        before = server.cpu()
        rate = _h2load_rate(_output([program, "-n", str(number), *words]))
        return {"rate": rate, "cpu": (server.cpu() - before) / number * 1e6}

    @contextmanager
    def _idle(self, server: Running, kind: str, connections: int, seconds: float, *more: str) -> Iterator[None]:
        words = ["-d", "idle", "-c", str(connections), "-t", str(seconds), *more]
        client = subprocess.Popen(
            self._command(server, kind, PATHS.get(kind, "/"), *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            preexec_fn=_beside,
        )
        try:
            assert client.stdin is not None
            assert client.stdout is not None
            if not client.stdout.readline():
                raise Missing(client.communicate(timeout=PATIENCE)[1].strip())
            yield
            client.stdin.close()
            client.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Missing("the load client did not come to an end") from None
        finally:
            client.kill()
            client.wait()

    def _memory(self, row: Row, server: Running) -> Figures:
        """What many idle connections take, each; a few have been there before."""
        streams = _streams(row, server)
        with self._idle(server, row.kind, 64, PATIENCE, *streams):
            pass
        time.sleep(SETTLES)
        before = server.memory()
        with self._idle(server, row.kind, self._effort.connections, PATIENCE, *streams):
            time.sleep(SETTLES)
            return {"memory": (server.memory() - before) / self._effort.connections / 1024}

    def _growth(self, row: Row, server: Running) -> Figures:
        """By how much each of the later batches of switches lets it grow, at least."""
        kinds = row.kind.split()
        switches = self._effort.switches // BATCHES // len(kinds)
        words = ["-d", "open", "-c", "64", "-n", str(switches), "-t", str(BATCH_SECONDS)]
        grown = []
        with self._idle(server, kinds[0], IDLE, 600):
            for _ in range(BATCHES):
                before = server.memory()
                done = sum(self._client(server, kind, PATHS[kind], *words)["all"] for kind in kinds)
                time.sleep(SETTLES)
                grown.append((server.memory() - before) / done)
        return {"growth": max(0.0, min(grown[1:]))}


def _streams(row: Row, server: Running) -> list[str]:
    """What tells the client to switch streams of HTTP/2."""
    return ["-m", str(row.streams)] if row.streams and not server.server.is_upgraded else []


def _busy(figures: Figures) -> Figures:
    if not figures["operations"]:
        raise Missing("nothing was done in the time that was measured")
    return figures


@contextmanager
def _told(outcome: Outcome, name: str) -> Iterator[None]:
    """What goes wrong with one server is told, and the others go on."""
    try:
        yield
    except Missing as missing:
        outcome.missing[name] = str(missing)


def _beside() -> None:
    os.sched_setaffinity(0, {cores()[1]})


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",  # what a server has sent may be shown
            timeout=PATIENCE + 100,
            preexec_fn=_beside,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not come to an end") from None
    if done.returncode:
        raise Missing((done.stderr.strip() or f"{command[0]} failed").splitlines()[-1])
    return done.stdout


def _h2load_rate(output: str) -> float:
    rate = re.search(r"^finished in .*, ([\d.]+) req/s", output, re.MULTILINE)
    counts = re.search(r"^requests: (\d+) total, .* (\d+) succeeded, (\d+) failed", output, re.MULTILINE)
    statuses = re.search(r"^status codes: (\d+) 2xx", output, re.MULTILINE)
    if rate is None or counts is None or statuses is None or not counts[1] == counts[2] == statuses[1]:
        raise Missing("h2load: not every request succeeded: " + " ".join(output.split()[-40:]))
    return float(rate[1])
