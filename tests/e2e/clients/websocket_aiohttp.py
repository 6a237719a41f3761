"""aiohttp's client: as `websocket_steps` wants it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from aiohttp import (
    ClientSession,
    ClientWebSocketResponse,
    ClientWSTimeout,
    WSMessage,
    WSMsgType,
    WSServerHandshakeError,
)

from tests.e2e.clients.websocket_steps import Client, Opened, Refused, Task, play

NO_CLOSE = 1006


class Aiohttp(Client):
    """See `Client`."""

    _socket: ClientWebSocketResponse

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._waiting: deque[WSMessage] = deque()
        self._closed: tuple[int, str | None] = NO_CLOSE, ""

    async def open(self, task: Task) -> Opened:
        try:
            self._socket = await self._session.ws_connect(
                task.url,
                protocols=task.subprotocols,
                origin=task.origin,
                headers=task.headers,
                compress=15 if task.deflate else 0,
                ssl=task.tls or True,
                max_msg_size=0,
                autoping=False,  # so that pongs are seen
                timeout=ClientWSTimeout(ws_close=None),
            )
        except WSServerHandshakeError as refused:
            raise Refused(refused.status) from refused
        return Opened(self._socket.protocol, bool(self._socket.compress))

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def fragments(self, parts: Sequence[str]) -> None:
        raise NotImplementedError("aiohttp sends whole messages only")

    async def ping(self, payload: bytes) -> bytes:
        await self._socket.ping(payload)
        while True:
            message = await self._next()
            if message.type is WSMsgType.PONG:
                pong: bytes = message.data
                return bytes(pong)
            assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
            self._waiting.append(message)

    async def receive(self) -> str | bytes | None:
        message = self._waiting.popleft() if self._waiting else await self._next()
        if message.type is WSMsgType.CLOSE:
            self._closed = message.data, message.extra
            return None
        if message.type is WSMsgType.CLOSED:  # without Close, that is
            return None
        assert message.type in (WSMsgType.TEXT, WSMsgType.BINARY), message
        received: str | bytes = message.data
        return received

    async def close(self, code: int, reason: str) -> None:
        await self._socket.close(code=code, message=reason.encode())
        # It reads the answer itself, and keeps the code of it only.
        self._closed = self._socket.close_code or NO_CLOSE, None

    async def closed(self) -> tuple[int, str | None]:
        return self._closed

    async def _next(self) -> WSMessage:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.PING:
                return message
            await self._socket.pong(message.data)


async def main() -> None:
    async with ClientSession() as session:
        await play(Aiohttp(session))


asyncio.run(main())
