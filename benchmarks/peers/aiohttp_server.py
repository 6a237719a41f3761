"""aiohttp on uvloop: `python aiohttp_server.py PORT`."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import WSMsgType, web


async def hello(request: web.Request) -> web.Response:
    return web.Response(body=b"hello\n", content_type="text/plain")


async def echo(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    async for message in connection:
        if message.type == WSMsgType.BINARY:
            await connection.send_bytes(message.data)
        elif message.type == WSMsgType.TEXT:
            await connection.send_str(message.data)
    return connection


application = web.Application()
application.router.add_get("/", hello)
application.router.add_get("/echo", echo)
web.run_app(
    application,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    print=None,
    access_log=None,
    backlog=1024,
    loop=uvloop.new_event_loop(),
)
