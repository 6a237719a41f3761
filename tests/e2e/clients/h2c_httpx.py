"""httpx, by prior knowledge: plays one of the scenes below.

python -m tests.e2e.clients.h2c_httpx SCENE URL     prints what it saw, as JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

from httpx import AsyncClient, Response

PIECE = bytes(65536)


def shown(response: Response) -> dict[str, Any]:
    """An answer that is there as a whole."""
    return {
        "version": response.http_version,
        "status": response.status_code,
        "headers": dict(response.headers),
        "length": len(response.content),
        "digest": sha256(response.content).hexdigest(),
        "text": response.text if len(response.content) <= len(PIECE) else None,
    }


async def pieces(number: int) -> AsyncIterator[bytes]:
    """A body whose length is not known beforehand."""
    for _ in range(number):
        yield PIECE


async def requests(client: AsyncClient) -> Any:
    """The methods, and a body that is too long."""
    return {
        "get": shown(await client.get("/echo/get")),
        "head": shown(await client.head("/echo/head")),
        "post": shown(await client.post("/echo/post", content=b"hello", cookies={"a": "1"})),
        "nowhere": shown(await client.get("/nowhere")),
        "big": shown(await client.get("/files/big.txt")),
    }


async def together(client: AsyncClient) -> Any:
    """A hundred that are answered only when all are there."""
    # One first: until it is answered httpx does not know how many streams there may be, and assumes fewer.
    await client.get("/echo")
    answers = await asyncio.gather(*(client.get("/together/httpx?count=100") for _ in range(100)))
    return [answer.text for answer in answers]


async def upload(client: AsyncClient) -> Any:
    """Bodies that go up at the same time, piece by piece, and one that comes back."""
    seen = await asyncio.gather(
        client.post("/echo", content=pieces(80)),
        client.post("/echo", content=b"".join([PIECE] * 64)),
        client.post("/mirror", content=pieces(32)),
    )
    return [shown(each) for each in seen]


async def leave(client: AsyncClient) -> Any:
    """An answer is left when it has begun; the connection goes on."""
    # httpx sends no RST_STREAM (github.com/encode/httpcore/issues/943): the server hears of it at the connection's end,
    # and an answer that came fast would use up the window of the connection, to the harm of all others.
    async with client.stream("GET", "/stream/httpx?pieces=1000000") as response:
        start = await anext(response.aiter_raw())
    return {"start": start.decode()[:2], "next": shown(await client.get("/echo"))}


SCENES = {scene.__name__: scene for scene in (requests, together, upload, leave)}


async def main(scene: str, url: str) -> None:
    async with AsyncClient(http1=False, http2=True, base_url=url, timeout=None, trust_env=False) as client:
        print(json.dumps(await SCENES[scene](client)))


asyncio.run(main(*sys.argv[1:]))
