"""What happens, in which order, and what must not."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.soak.clients import (
    PATIENCE,
    SLOW_BYTES,
    STREAMS,
    VANISHING,
    Callers,
    Conversation,
    Slow,
    Standing,
    Where,
    fall_silent,
    vanish_without_a_word,
)
from benchmarks.soak.languages import Addone, Language, WebSocket, WrongAnswer
from benchmarks.soak.server import Look, Server

MOST_GROWTH = 8 << 20
"""Bytes that the server's memory may grow by, from the end of the warm-up to the end. The allocators give memory back
in whole pieces of up to a MiB, of which some are always in use in part. In the full run it is less than 40 bytes a
switch: the smallest Python object that holds anything, forgotten at each switch, is more than that."""

AT_ONCE = 200
"""Clients that are in the middle of coming or going, at most: on a machine too slow for the rate, fewer come."""

TICK_SECONDS = 0.02
ROUND_SECONDS = 30.0
"""In which each of those that stay is asked once; it has to have answered by the next time."""

PROBE_SECONDS = 60.0
"""Of silence, until the server's system asks by TCP whether a client is there (`switchd.transports.connections`)."""

SHUTDOWN_SECONDS = 60.0
EXIT_SECONDS = 10.0

RELOADED = "/again"
"""The path that is there after the reload."""

CONFIG = """
[server]
access_log = ""
switch_log = false

[[listen]]
endpoint = "tcp:0:backlog=4096:interface=127.0.0.1"

[[listen]]
endpoint = "tcp:0:backlog=4096:interface=127.0.0.1"
[listen.tls]
certificate = "cert.pem"
key = "key.pem"

[[switch]]
path = "/addone"
protocol = "addone"

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
ping_seconds = {ping}
ping_timeout_seconds = {ping}

[[switch]]
path = "/"
protocol = "h2c"

[limits]
shutdown_seconds = {shutdown}
"""

ADDED = f"""
[[switch]]
path = "{RELOADED}"
protocol = "addone"
"""


@dataclass(frozen=True)
class Plan:
    """How much of it.

    Attributes:
        connections: Those that stay.
        rate: Switches a second of those that come and go.
        minutes: From when all are open until the server is told to stop.
        ping_seconds: Between two pings of a WebSocket, and for the answer to one.
        slow: Those that read slowly.
        vanishing: How many vanish in a second.
        silent: How many are silent at the same time.
        is_patient: Whether clients of ADDONE vanish without a word, too. TCP has to miss them, which takes a minute.
    """

    connections: int = 10_000
    rate: int = 500
    minutes: float = 10.0
    ping_seconds: float = 20.0
    slow: int = 20
    vanishing: int = 10
    silent: int = 20
    is_patient: bool = True

    @property
    def warm_up_seconds(self) -> float:
        """The part of the time that does not count, since memory is had for the first time."""
        return 0.2 * self.minutes * 60

    @property
    def half_seconds(self) -> float:
        """Before the reload, and behind it."""
        return 0.4 * self.minutes * 60

    @property
    def quiet_seconds(self) -> float:
        """For the server to notice that those who have gone are gone."""
        return 2 * self.ping_seconds + PATIENCE + (PROBE_SECONDS if self.is_patient else 0)

    @property
    def bound_seconds(self) -> float:
        """For everything, whatever happens."""
        return self.minutes * 60 + self.connections / 100 + 2 * self.quiet_seconds + SHUTDOWN_SECONDS + 120


QUICK = Plan(connections=200, rate=50, minutes=0.15, ping_seconds=5.0, slow=5, silent=5, is_patient=False)
"""Enough to know that all of it works."""


@dataclass
class Found:
    """What came of it.

    Attributes:
        figures: Names and values, in order.
        failures: What should not have happened, a sentence each.
    """

    figures: list[tuple[str, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figure(self, name: str, value: str) -> None:
        """Note one."""
        self.figures.append((name, value))

    def check(self, is_so: bool, otherwise: str) -> None:
        """Note a failure, if it is one."""
        if not is_so:
            self.failures.append(otherwise)


class Course:
    """From the start of a server to its end.

    Args:
        plan: How much of it.
        folder: Where the server's files are: the certificate, and its log.
        say: Where to say how far it is.
    """

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self.found = Found()
        self._plan = plan
        self._folder = folder
        self._say = say
        self._standing: list[Standing] = []
        self._sockets = 0  # that those have
        self._visits = 0
        self._times: list[float] = []  # seconds of each visit, from dialling to the answer
        self._vanished = 0
        self._silent: list[Any] = []
        self._troubles: Counter[str] = Counter()
        self._is_ending = False

    async def run(self) -> Found:
        """All of it."""
        plan, found = self._plan, self.found
        configuration = CONFIG.format(ping=plan.ping_seconds, shutdown=SHUTDOWN_SECONDS)
        self._configure(configuration)
        with Server(self._folder) as server:
            port, tls_port = server.ports(2)
            tls = ssl.create_default_context(cafile=self._folder / "cert.pem")
            callers = Callers(Where(port, tls_port, tls))
            nobody = server.look()
            await self._open(callers, found)
            self._say("warming up")
            await self._under_load(callers, plan.warm_up_seconds)
            before = await self._quiet(server, nobody)
            client_before, visits_before = time.process_time(), self._visits
            self._times.clear()
            self._say("the first half")
            await self._under_load(callers, plan.half_seconds)
            await self._reload(server, callers, configuration)
            self._say("the second half")
            await self._under_load(callers, plan.half_seconds)
            busy, client_busy = server.look(), time.process_time()
            visits = self._visits - visits_before
            after = await self._quiet(server, nobody)
            await self._all_answer("at the end")
            self._compare(before, busy, after, visits, client_busy - client_before)
            await self._drain(server)
            self._read_log(server)
        for trouble, times in self._troubles.items():
            found.failures.append(f"{times} times: {trouble}")
        return found

    def _configure(self, text: str) -> None:
        (self._folder / "switchd.toml").write_text(text)

    # Those that stay

    async def _open(self, callers: Callers, found: Found) -> None:
        plan, since = self._plan, time.monotonic()
        tunnels = plan.connections // 5
        in_tls = plan.connections // 10
        websockets = plan.connections * 3 // 10
        addones = plan.connections - tunnels - in_tls - websockets
        self._say(f"opening {plan.connections} connections")
        opening = [
            *(lambda: self._stays(callers, Addone()) for _ in range(addones)),
            *(lambda: self._stays(callers, WebSocket()) for _ in range(websockets)),
            *(lambda: self._stays(callers, WebSocket(), in_tls=True) for _ in range(in_tls)),
            *(lambda count=count: self._tunnels(callers, count) for count in _portions(tunnels, STREAMS)),
            *(lambda: self._reads_slowly(callers) for _ in range(plan.slow)),
        ]
        await _at_most(AT_ONCE, opening)
        seconds = time.monotonic() - since
        await self._all_answer("at the beginning")
        found.figure("connections that stay", f"{len(self._standing):,}")
        found.figure(
            "of them",
            f"ADDONE {addones:,}, WebSocket {websockets:,}, WebSocket in TLS {in_tls:,}, WebSocket in streams of HTTP/2"
            f" {tunnels:,}, slow readers {plan.slow}",
        )
        found.figure("opened in", f"{seconds:.1f} s")

    async def _stays(self, callers: Callers, language: Language, in_tls: bool = False) -> None:
        self._stand([await callers.conversation(language, in_tls)])

    async def _reads_slowly(self, callers: Callers) -> None:
        slow = await callers.conversation(WebSocket(bytes(range(256)) * (SLOW_BYTES // 256)), kind=Slow)
        self._stand([slow])
        slow.ask()

    async def _tunnels(self, callers: Callers, count: int) -> None:
        session = await callers.session([WebSocket() for _ in range(count)])
        self._stand(session.tunnels)

    def _stand(self, some: Iterable[Standing]) -> None:
        self._sockets += 1
        for one in some:
            self._standing.append(one)
            one.over.add_done_callback(self._is_over)

    def _is_over(self, over: asyncio.Future[str]) -> None:
        if not self._is_ending:
            self._troubles[f"a connection that should live has ended: {over.result() or 'in order'}"] += 1

    async def _all_answer(self, when: str) -> None:
        asked = [one for one in self._standing if not isinstance(one, Slow)]
        for one in asked:
            one.ask()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not all(one.is_answered for one in asked):
            await asyncio.sleep(TICK_SECONDS)
        self._note_unanswered(asked, when)

    def _note_unanswered(self, asked: Iterable[Standing], when: str) -> None:
        missing = sum(not (one.is_answered or one.over.done()) for one in asked)
        self.found.check(not missing, f"{missing} connections have not answered {when}")

    async def _keep_asking(self) -> None:
        asked = [one for one in self._standing if not isinstance(one, Slow)]
        size = max(1, round(len(asked) * TICK_SECONDS / ROUND_SECONDS))
        for few in cycle(_pieces(asked, size)):
            self._note_unanswered(few, f"within {ROUND_SECONDS:g} s")
            for one in few:
                if not one.over.done():
                    one.ask()
            await asyncio.sleep(ROUND_SECONDS * size / len(asked))

    # Those that come and go

    async def _under_load(self, callers: Callers, seconds: float) -> None:
        async with _meanwhile(self._keep_asking(), self._come_and_go(callers), self._vanish(callers)):
            await self._fall_silent(callers)
            await asyncio.sleep(seconds)

    async def _come_and_go(self, callers: Callers) -> None:
        kinds = cycle([(Addone, False), (WebSocket, False), (WebSocket, True), (WebSocket, False)])
        await _paced(self._plan.rate, lambda: self._visit(callers, *next(kinds)))

    async def _visit(self, callers: Callers, kind: type[Language], in_tls: bool) -> None:
        since = time.perf_counter()
        with _Noting(self._troubles, "who comes and goes"):
            async with asyncio.timeout(PATIENCE):
                visitor = await callers.conversation(kind(), in_tls)
                visitor.ask()
                await visitor.answered()
                self._times.append(time.perf_counter() - since)
                visitor.leave()
                why = await visitor.over
            self._visits += 1
            if why:
                self._troubles[f"who comes and goes: {why}"] += 1

    async def _vanish(self, callers: Callers) -> None:
        late = () if self._plan.is_patient else ((vanish_without_a_word, Addone),)
        ways = cycle((way, kind) for kind in (Addone, WebSocket) for way in VANISHING if (way, kind) not in late)

        async def one() -> None:
            way, kind = next(ways)
            with _Noting(self._troubles, "who vanishes"):
                async with asyncio.timeout(PATIENCE):
                    await way(callers, kind())
                self._vanished += 1

        await _paced(self._plan.vanishing, one)

    async def _fall_silent(self, callers: Callers) -> None:
        for _ in range(self._plan.silent - len(self._silent)):
            self._silent.append(await fall_silent(callers, WebSocket()))

    # The server

    async def _quiet(self, server: Server, nobody: Look) -> Look:
        """What the server is with those that stay and nobody else, once it has noticed that the others are gone."""
        expected = nobody.descriptors + self._sockets
        end = time.monotonic() + self._plan.quiet_seconds
        while (look := server.look()).descriptors > expected and time.monotonic() < end:
            await asyncio.sleep(1)
        for client in self._silent:
            client.close()
        self._silent.clear()
        self.found.check(
            look.descriptors == expected, f"{look.descriptors} descriptors are open when {expected} are in use"
        )
        return look

    async def _reload(self, server: Server, callers: Callers, configuration: str) -> None:
        self._say("a reload")
        self._configure(configuration + ADDED)
        since = time.monotonic()
        server.signal(signal.SIGHUP)
        again = Addone()
        again.path = RELOADED.encode()
        with _Noting(self._troubles, "after the reload"):
            visitor = await self._until_served(callers, again)
            self.found.figure("the reload is seen after", f"{1000 * (time.monotonic() - since):.0f} ms")
            visitor.leave()
        await self._all_answer("after the reload")

    async def _until_served(self, callers: Callers, language: Language) -> Conversation:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await callers.conversation(language)
            except (OSError, WrongAnswer):
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(TICK_SECONDS)

    def _compare(self, before: Look, busy: Look, after: Look, visits: int, client_cpu: float) -> None:
        found, plan = self.found, self._plan
        seconds = busy.at - before.at
        times = sorted(self._times) or [0.0]
        growth = after.memory - before.memory
        found.figure("load between the two looks", f"{seconds:.0f} s")
        found.figure("switches of those that come and go", f"{visits:,}: {visits / seconds:.0f} a second")
        found.figure(
            "from dialling to the first answer",
            f"p50 {1000 * times[len(times) // 2]:.1f} ms, p99 {1000 * times[len(times) * 99 // 100]:.1f} ms",
        )
        found.figure("vanished", f"{self._vanished:,}; silent at the same time: {plan.silent}")
        found.figure("answers to those that stay", f"{sum(one.language.answers for one in self._standing):,}")
        server_share, client_share = (100 * cpu / seconds for cpu in (busy.cpu - before.cpu, client_cpu))
        found.figure("time on the CPU", f"server {server_share:.0f} % of a core, clients {client_share:.0f} %")
        found.figure("descriptors, before and after", f"{before.descriptors:,} and {after.descriptors:,}")
        found.figure("memory, before and after", f"{before.memory / 2**20:.1f} and {after.memory / 2**20:.1f} MiB")
        found.figure("growth", f"{growth / max(1, visits):+.1f} bytes a switch")
        found.check(growth <= MOST_GROWTH, f"memory has grown by {growth} bytes, more than {MOST_GROWTH}")
        found.check(visits > 0, "nobody has come and gone")

    async def _drain(self, server: Server) -> None:
        self._say("the drain")
        self._is_ending = True
        since = time.monotonic()
        server.signal(signal.SIGTERM)
        overs = [one.over for one in self._standing]
        done, still = await asyncio.wait(overs, timeout=SHUTDOWN_SECONDS + EXIT_SECONDS)
        wrong = Counter(over.result() for over in done if over.result())
        self.found.check(not still, f"{len(still)} connections have not been ended")
        for why, times in wrong.items():
            self.found.failures.append(f"{times} connections have had no farewell: {why}")
        end = time.monotonic() + EXIT_SECONDS
        while server.status is None and time.monotonic() < end:
            await asyncio.sleep(TICK_SECONDS)
        self.found.figure("farewells", f"{sum(not over.result() for over in done):,}")
        self.found.figure("the drain, until the process had ended", f"{time.monotonic() - since:.1f} s")
        self.found.check(server.status == -signal.SIGTERM, f"the server ended with {server.status}")

    def _read_log(self, server: Server) -> None:
        log = server.log.read_text("utf-8", "replace")
        drained = re.search(r"drained in .*: (.*)", log)
        if drained is None:
            self.found.failures.append("the log does not say how it was drained")
        else:
            self.found.figure("by the server's log", drained[1])
            self.found.check(drained[1].endswith("0 cut, 0 lost"), f"by the log: {drained[1]}")
        bad = re.findall(r"^.*(?:Traceback|Unhandled|#(?:error|critical)\]).*$", log, re.MULTILINE)
        self.found.figure("errors in the log", str(len(bad)))
        self.found.check(not bad, f"{len(bad)} lines of the log are about something wrong, the first is {bad[:1]}")


class _Noting:
    """What goes wrong inside is noted, and the others go on."""

    def __init__(self, troubles: Counter[str], who: str) -> None:
        self._troubles, self._who = troubles, who

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._troubles[f"{self._who}: {error!r}"] += 1
        return True


@asynccontextmanager
async def _meanwhile(*works: Any) -> AsyncIterator[None]:
    """Have endless work done until the end of the block; what it has begun then is finished."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _paced(rate: float, make: Callable[[], Awaitable[None]]) -> None:
    """Begin so many a second, until it is cancelled; those that have begun are waited for then."""
    going: set[asyncio.Future[None]] = set()
    since, begun = time.monotonic(), 0
    try:
        while True:
            due = int((time.monotonic() - since) * rate) - begun
            begun += due
            for _ in range(min(due, AT_ONCE - len(going))):
                task = asyncio.ensure_future(make())
                going.add(task)
                task.add_done_callback(going.discard)
            await asyncio.sleep(TICK_SECONDS)
    finally:
        await asyncio.gather(*going)


async def _at_most(count: int, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all, so many at the same time."""
    left = iter(works)

    async def some() -> None:
        for work in left:
            async with asyncio.timeout(PATIENCE):
                await work()

    await asyncio.gather(*(some() for _ in range(count)))


def _pieces(things: list[Standing], size: int) -> list[list[Standing]]:
    left = iter(things)
    return [piece for _ in range(0, len(things), size) if (piece := list(islice(left, size)))]


def _portions(whole: int, most: int) -> list[int]:
    return [most] * (whole // most) + ([whole % most] if whole % most else [])
