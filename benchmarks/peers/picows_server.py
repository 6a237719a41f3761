"""picows, a WebSocket library in Cython, on uvloop: `python picows_server.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

EVERYBODY: set[Any] = set()


class Echo(WSListener):
    """Sends back each message."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self.said(transport, frame)

    def said(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.msg_type, frame.get_payload_as_memoryview())


class Broadcast(Echo):
    """Sends it to everybody."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        EVERYBODY.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        EVERYBODY.discard(transport)

    def said(self, transport: WSTransport, frame: WSFrame) -> None:
        message = frame.get_payload_as_bytes()
        for one in EVERYBODY:
            one.send(frame.msg_type, message)


def listener(request: WSUpgradeRequest) -> WSListener:
    return Broadcast() if request.path == b"/broadcast" else Echo()


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


uvloop.run(main())
