"""websocket-client, which is imported as websocket and blocks, without compression: as `websocket_steps` wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from websocket import (
    ABNF,
    WebSocket,
    WebSocketBadStatusException,
    WebSocketConnectionClosedException,
    create_connection,
)

from tests.e2e.clients.websocket_steps import Client, Opened, Refused, Task, play

NO_CLOSE = 1006


class WebsocketClient(Client):
    """See `Client`."""

    _socket: WebSocket

    def __init__(self) -> None:
        self._closed: tuple[int, str | None] = NO_CLOSE, ""

    async def open(self, task: Task) -> Opened:
        # Where no origin is given, it sends that of the URL.
        options: dict[str, Any] = {"origin": task.origin} if task.origin else {}
        try:
            self._socket = create_connection(
                task.url,
                subprotocols=task.subprotocols,
                header=task.headers,
                sslopt={"ca_certs": task.ca} if task.ca else None,
                **options,
            )
        except WebSocketBadStatusException as refused:
            raise Refused(refused.status_code) from refused
        return Opened(self._socket.getsubprotocol(), "sec-websocket-extensions" in (self._socket.getheaders() or {}))

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._socket.send_text(message)
        else:
            self._socket.send_bytes(message)

    async def fragments(self, parts: Sequence[str]) -> None:
        for number, part in enumerate(parts, start=1):
            opcode = ABNF.OPCODE_TEXT if number == 1 else ABNF.OPCODE_CONT
            self._socket.send_frame(ABNF.create_frame(part.encode(), opcode, fin=number == len(parts)))

    async def ping(self, payload: bytes) -> bytes:
        self._socket.ping(payload)
        opcode, frame = self._socket.recv_data_frame(control_frame=True)
        assert opcode == ABNF.OPCODE_PONG, frame
        pong: bytes = frame.data
        return pong

    async def receive(self) -> str | bytes | None:
        try:
            opcode, frame = self._socket.recv_data_frame()
        except WebSocketConnectionClosedException:
            return None
        data: bytes = frame.data
        if opcode == ABNF.OPCODE_CLOSE:  # which it has answered
            self._ended(data)
            return None
        return data.decode() if opcode == ABNF.OPCODE_TEXT else data

    async def close(self, code: int, reason: str) -> None:
        # Its own close() does not say what the answer was.
        self._socket.send_close(code, reason.encode())
        while True:
            frame = self._socket.recv_frame()
            if frame.opcode == ABNF.OPCODE_CLOSE:
                break
        self._ended(frame.data)

    async def closed(self) -> tuple[int, str | None]:
        return self._closed

    def _ended(self, data: Any) -> None:
        self._closed = int.from_bytes(data[:2], "big"), data[2:].decode()
        # Behind the two Closes the server ends the connection in order: a reset would be an error here.
        assert self._socket.sock is not None
        assert self._socket.sock.recv(1) == b""
        self._socket.shutdown()


asyncio.run(play(WebsocketClient()))
