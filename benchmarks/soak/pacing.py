"""Many things at the same time, but not too many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from benchmarks.soak.clients import PATIENCE

T = TypeVar("T")

AT_ONCE = 200
"""Clients that are in the middle of coming or going, at most: on a machine too slow for the rate, fewer come."""

TICK_SECONDS = 0.02
"""How often somebody looks what is to be done."""


@asynccontextmanager
async def meanwhile(*works: Any) -> AsyncIterator[None]:
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


async def paced(rate: float, make: Callable[[], Awaitable[None]]) -> None:
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


async def at_most(count: int, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all, so many at the same time."""
    left = iter(works)

    async def some() -> None:
        for work in left:
            async with asyncio.timeout(PATIENCE):
                await work()

    await asyncio.gather(*(some() for _ in range(count)))


def pieces(things: Sequence[T], size: int) -> list[list[T]]:
    """All, so many at a time."""
    return [list(things[start : start + size]) for start in range(0, len(things), size)]


def portions(whole: int, most: int) -> list[int]:
    """Numbers up to `most` whose sum it is."""
    return [most] * (whole // most) + ([whole % most] if whole % most else [])
