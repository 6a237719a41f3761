"""websockets, asyncio's usual library: a client as `websocket_steps` wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.e2e.clients.websocket_steps import Client, Opened, Refused, Task, play


class Websockets(Client):
    """See `Client`."""

    _connection: ClientConnection

    async def open(self, task: Task) -> Opened:
        try:
            self._connection = await connect(
                task.url,
                subprotocols=[Subprotocol(name) for name in task.subprotocols] or None,
                origin=None if task.origin is None else Origin(task.origin),
                additional_headers=task.headers,
                compression="deflate" if task.deflate else None,
                ssl=task.tls,
                proxy=None,
                max_size=None,
                open_timeout=None,
                ping_interval=None,
                close_timeout=None,
            )
        except InvalidStatus as refused:
            raise Refused(refused.response.status_code) from refused
        response = self._connection.response
        assert response is not None
        return Opened(self._connection.subprotocol, "Sec-WebSocket-Extensions" in response.headers)

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def fragments(self, parts: Sequence[str]) -> None:
        await self._connection.send(parts)

    async def ping(self, payload: bytes) -> bytes:
        await (await self._connection.ping(payload))
        return payload  # it looks for the pong that carries the same

    async def receive(self) -> str | bytes | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    async def closed(self) -> tuple[int, str | None]:
        await self._connection.wait_closed()
        assert self._connection.close_code is not None
        return self._connection.close_code, self._connection.close_reason


asyncio.run(play(Websockets()))
