"""What happens, in which order, and what must not."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.soak.clients import PATIENCE, Callers, Conversation, Where
from benchmarks.soak.crowd import Crowd
from benchmarks.soak.found import Found
from benchmarks.soak.languages import Addone, Language, WrongAnswer
from benchmarks.soak.pacing import TICK_SECONDS
from benchmarks.soak.plan import SHUTDOWN_SECONDS, Plan
from benchmarks.soak.server import Look, Server

MOST_GROWTH = 8 << 20
"""Bytes that the server's memory may grow by, from the end of the warm-up to the end. The allocators give memory back
in whole pieces of up to a MiB, of which some are always in use in part. In the full run it is less than 40 bytes a
switch: the smallest Python object that holds anything, forgotten at each switch, is more than that."""

LEAST_SHARE = 0.1
"""Of the switches a second that are asked for: a machine on which there are fewer shows nothing."""

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

    async def run(self) -> Found:
        """All of it."""
        plan = self._plan
        configuration = CONFIG.format(ping=plan.ping_seconds, shutdown=SHUTDOWN_SECONDS)
        self._configure(configuration)
        with Server(self._folder) as server:
            port, tls_port = server.ports(2)
            tls = ssl.create_default_context(cafile=self._folder / "cert.pem")
            callers = Callers(Where(port, tls_port, tls))
            crowd = Crowd(plan, callers, self.found)
            nobody = server.look()
            self._say(f"opening {plan.connections} connections")
            await crowd.open()
            self._say("warming up")
            async with crowd.load():
                await asyncio.sleep(plan.warm_up_seconds)
            before = await self._quiet(server, crowd, nobody)
            crowd.count_anew()
            cpu = time.process_time()
            self._say("the first half")
            async with crowd.load():
                await asyncio.sleep(plan.half_seconds)
                await self._reload(server, callers, configuration)
                self._say("the second half")
                await asyncio.sleep(plan.half_seconds)
            busy, cpu = server.look(), time.process_time() - cpu
            after = await self._quiet(server, crowd, nobody)
            await crowd.all_answer("at the end")
            self._compare(before, busy, after, crowd, cpu)
            async with crowd.arrivals():
                await asyncio.sleep(plan.arrival_seconds)
                await self._drain(server, crowd)
            self.found.figure("turned away meanwhile", f"{crowd.turned_away:,}")
            self._read_log(server)
        return self.found

    def _configure(self, text: str) -> None:
        (self._folder / "switchd.toml").write_text(text)

    # The server

    async def _quiet(self, server: Server, crowd: Crowd, nobody: Look) -> Look:
        """What the server is with those that stay and nobody else, once it has noticed that the others are gone."""
        expected = nobody.descriptors + crowd.sockets
        end = time.monotonic() + self._plan.quiet_seconds
        while (look := server.look()).descriptors > expected and time.monotonic() < end:
            await asyncio.sleep(1)
        crowd.let_go()
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
        with self.found.noting("after the reload"):
            visitor = await self._until_served(callers, again)
            self.found.figure("the reload is seen after", f"{1000 * (time.monotonic() - since):.0f} ms")
            visitor.leave()

    async def _until_served(self, callers: Callers, language: Language) -> Conversation:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await callers.conversation(language)
            except (OSError, WrongAnswer):
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(TICK_SECONDS)

    def _compare(self, before: Look, busy: Look, after: Look, crowd: Crowd, client_cpu: float) -> None:
        found, visits = self.found, crowd.visits
        seconds = busy.at - before.at
        times = sorted(crowd.times) or [0.0]
        growth = after.memory - before.memory
        found.figure("load between the two looks", f"{seconds:.0f} s")
        found.figure("switches of those that come and go", f"{visits:,}: {visits / seconds:.0f} a second")
        found.figure(
            "from dialling to the first answer",
            f"p50 {1000 * times[len(times) // 2]:.1f} ms, p99 {1000 * times[len(times) * 99 // 100]:.1f} ms",
        )
        found.figure("vanished", f"{crowd.vanished:,}; silent at the same time: {self._plan.silent}")
        found.figure("answers to those that stay", f"{sum(one.language.answers for one in crowd.standing):,}")
        server_share, client_share = (100 * cpu / seconds for cpu in (busy.cpu - before.cpu, client_cpu))
        found.figure("time on the CPU", f"server {server_share:.0f} % of a core, clients {client_share:.0f} %")
        found.figure("descriptors, before and after", f"{before.descriptors:,} and {after.descriptors:,}")
        found.figure("memory, before and after", f"{before.memory / 2**20:.1f} and {after.memory / 2**20:.1f} MiB")
        found.figure("growth", f"{growth / max(1, visits):+.1f} bytes a switch")
        found.check(growth <= MOST_GROWTH, f"memory has grown by {growth} bytes, more than {MOST_GROWTH}")
        found.figure("messages to slow readers", f"{sum(crowd.slow_answers()):,}")
        found.check(not crowd.stuck(), f"{crowd.stuck()} slow readers have read nothing")
        least = LEAST_SHARE * self._plan.rate * seconds
        found.check(visits >= least, f"{visits} have come and gone, fewer than {least:.0f}: that is no load")

    async def _drain(self, server: Server, crowd: Crowd) -> None:
        self._say("the drain")
        crowd.is_ending = True
        since = time.monotonic()
        server.signal(signal.SIGTERM)
        overs = [one.over for one in crowd.standing]
        done, still = await asyncio.wait(overs, timeout=SHUTDOWN_SECONDS + EXIT_SECONDS)
        wrong = Counter(over.result() for over in done if over.result())
        self.found.check(not still, f"{len(still)} connections have not been ended")
        for why, times in wrong.items():
            self.found.fail(f"{times} connections have had no farewell: {why}")
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
            self.found.fail("the log does not say how it was drained")
        else:
            self.found.figure("by the server's log", drained[1])
            self.found.check(drained[1].endswith("0 cut, 0 lost"), f"by the log: {drained[1]}")
        bad = re.findall(r"^.*(?:Traceback|Unhandled|#(?:error|critical)\]).*$", log, re.MULTILINE)
        self.found.figure("errors in the log", str(len(bad)))
        self.found.check(not bad, f"{len(bad)} lines of the log are about something wrong, the first is {bad[:1]}")
