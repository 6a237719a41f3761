"""The clients, all together."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import cycle

from benchmarks.soak.clients import (
    PATIENCE,
    SLOW_BYTES,
    STREAMS,
    VANISHING,
    Callers,
    Conversation,
    Slow,
    Standing,
    fall_silent,
    vanish_without_a_word,
)
from benchmarks.soak.found import Found
from benchmarks.soak.languages import Addone, Language, WebSocket, WrongAnswer
from benchmarks.soak.pacing import AT_ONCE, TICK_SECONDS, at_most, meanwhile, paced, pieces, portions
from benchmarks.soak.plan import Plan

ROUND_SECONDS = 30.0
"""In which each of those that stay is asked once; it has to have answered by the next time."""


class Crowd:
    """Those that stay, and those that do not.

    Args:
        plan: How many.
        callers: Who makes their connections.
        found: Where to note what goes wrong.

    Attributes:
        standing: Those that stay.
        sockets: How many connections those have.
        visits: How many have come and gone.
        times: Of each of them, the seconds from dialling to the answer.
        vanished: How many have vanished.
        turned_away: How many have come while the server ended, and were not let in.
        is_ending: Whether the server has been told to stop: those that stay may end, and others are turned away.
    """

    def __init__(self, plan: Plan, callers: Callers, found: Found) -> None:
        self.standing: list[Standing] = []
        self.sockets = 0
        self.visits = 0
        self.times: list[float] = []
        self.vanished = 0
        self.turned_away = 0
        self.is_ending = False
        self._plan = plan
        self._callers = callers
        self._found = found
        self._silent: list[socket.socket] = []
        self._slow_answers: list[int] = []

    # Those that stay

    async def open(self) -> None:
        """Have those that stay come."""
        plan, found, since = self._plan, self._found, time.monotonic()
        tunnels = plan.connections // 5
        in_tls = plan.connections // 10
        websockets = plan.connections * 3 // 10
        addones = plan.connections - tunnels - in_tls - websockets
        opening = [
            *(lambda: self._stays(Addone()) for _ in range(addones)),
            *(lambda: self._stays(WebSocket()) for _ in range(websockets)),
            *(lambda: self._stays(WebSocket(), in_tls=True) for _ in range(in_tls)),
            *(lambda count=count: self._tunnels(count) for count in portions(tunnels, STREAMS)),
            *(lambda: self._reads_slowly() for _ in range(plan.slow)),
        ]
        await at_most(AT_ONCE, opening)
        seconds = time.monotonic() - since
        await self.all_answer("at the beginning")
        found.figure("connections that stay", f"{len(self.standing):,}")
        found.figure(
            "of them",
            f"ADDONE {addones:,}, WebSocket {websockets:,}, WebSocket in TLS {in_tls:,}, WebSocket in streams of HTTP/2"
            f" {tunnels:,}, slow readers {plan.slow}",
        )
        found.figure("opened in", f"{seconds:.1f} s")

    async def _stays(self, language: Language, in_tls: bool = False) -> None:
        self._stand([await self._callers.conversation(language, in_tls)])

    async def _reads_slowly(self) -> None:
        slow = await self._callers.conversation(WebSocket(bytes(range(256)) * (SLOW_BYTES // 256)), kind=Slow)
        self._stand([slow])
        slow.ask()

    async def _tunnels(self, count: int) -> None:
        session = await self._callers.session([WebSocket() for _ in range(count)])
        self._stand(session.tunnels)

    def _stand(self, some: Iterable[Standing]) -> None:
        self.sockets += 1
        for one in some:
            self.standing.append(one)
            one.over.add_done_callback(self._is_over)

    def _is_over(self, over: asyncio.Future[str]) -> None:
        if not self.is_ending:
            self._found.fail(f"a connection that should live has ended: {over.result() or 'in order'}")

    async def all_answer(self, when: str) -> None:
        """Ask all that stay, but for the slow readers, and have their answers."""
        asked = [one for one in self.standing if not isinstance(one, Slow)]
        for one in asked:
            one.ask()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not all(one.is_answered for one in asked):
            await asyncio.sleep(TICK_SECONDS)
        self._note_unanswered(asked, when)

    def _note_unanswered(self, asked: Iterable[Standing], when: str) -> None:
        missing = sum(not (one.is_answered or one.over.done()) for one in asked)
        self._found.check(not missing, f"{missing} connections have not answered {when}")

    async def _keep_asking(self) -> None:
        asked = [one for one in self.standing if not isinstance(one, Slow)]
        size = max(1, round(len(asked) * TICK_SECONDS / ROUND_SECONDS))
        for few in cycle(pieces(asked, size)):
            self._note_unanswered(few, f"within {ROUND_SECONDS:g} s")
            for one in few:
                if not one.over.done():
                    one.ask()
            await asyncio.sleep(ROUND_SECONDS * size / len(asked))

    # Those that do not

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Have the others come, go, vanish and be silent, until the end of the block; those that stay are asked in
        turn."""
        async with meanwhile(self._keep_asking(), self._come_and_go(), self._vanish()):
            await self._fall_silent()
            yield

    @asynccontextmanager
    async def arrivals(self) -> AsyncIterator[None]:
        """Have others come and go, and nothing else, until the end of the block."""
        async with meanwhile(self._come_and_go()):
            yield

    async def _come_and_go(self) -> None:
        kinds = cycle([(Addone, False), (WebSocket, False), (WebSocket, True), (WebSocket, False)])
        await paced(self._plan.rate, lambda: self._visit(*next(kinds)))

    async def _visit(self, kind: type[Language], in_tls: bool) -> None:
        since = time.perf_counter()
        with self._found.noting("who comes and goes"):
            async with asyncio.timeout(PATIENCE):
                visitor = await self._come(kind(), in_tls)
                if visitor is None or not await self._is_answered(visitor):
                    return
                self.times.append(time.perf_counter() - since)
                visitor.leave()
                why = await visitor.over
            self.visits += 1
            if why:
                self._found.fail(f"who comes and goes: {why}")

    async def _come(self, language: Language, in_tls: bool) -> Conversation | None:
        """Connect and switch. None: the server ends, and lets nobody in."""
        try:
            return await self._callers.conversation(language, in_tls)
        except (OSError, WrongAnswer):
            if not self.is_ending:
                raise
            self.turned_away += 1
            return None

    async def _is_answered(self, visitor: Conversation) -> bool:
        """Ask. False: the server ends, and has said so in order."""
        visitor.ask()
        try:
            await visitor.answered()
        except WrongAnswer:
            if not self.is_ending or await visitor.over:
                raise
            return False
        return True

    async def _vanish(self) -> None:
        late = () if self._plan.is_patient else ((vanish_without_a_word, Addone),)
        ways = cycle((way, kind) for kind in (Addone, WebSocket) for way in VANISHING if (way, kind) not in late)

        async def one() -> None:
            way, kind = next(ways)
            with self._found.noting("who vanishes"):
                async with asyncio.timeout(PATIENCE):
                    await way(self._callers, kind())
                self.vanished += 1

        await paced(self._plan.vanishing, one)

    async def _fall_silent(self) -> None:
        for _ in range(self._plan.silent - len(self._silent)):
            self._silent.append(await fall_silent(self._callers, WebSocket()))

    def count_anew(self) -> None:
        """What has been until now was for warming up."""
        self.visits = self.vanished = 0
        self.times.clear()
        self._slow_answers = self.slow_answers()

    def slow_answers(self) -> list[int]:
        """How many messages each of the slow readers has read."""
        return [one.language.answers for one in self.standing if isinstance(one, Slow)]

    def stuck(self) -> int:
        """How many of the slow readers have read nothing since `count_anew`."""
        return sum(now == before for now, before in zip(self.slow_answers(), self._slow_answers, strict=True))

    def let_go(self) -> None:
        """Close those that are silent."""
        for client in self._silent:
            client.close()
        self._silent.clear()
