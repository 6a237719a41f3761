"""An ASGI application, for uvicorn: a page, and a WebSocket that sends back each message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

HEAD = [(b"content-type", b"text/plain"), (b"content-length", b"6")]


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEAD})
        await send({"type": "http.response.body", "body": b"hello\n"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            data = message.get("bytes")
            if data is None:
                await send({"type": "websocket.send", "text": message["text"]})
            else:
                await send({"type": "websocket.send", "bytes": data})
