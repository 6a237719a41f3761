"""A WebSocket over HTTP/2, by h2 for the stream and wsproto for the frames: talks to /echo, prints what it saw as JSON.

python connect_h2.py HOST PORT
"""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage


class Stream:
    """The one stream that there is."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=60)
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.websocket = Connection(ConnectionType.CLIENT)
        self.headers: dict[str, str] = {}
        self.reset: int | None = None
        self.ended = False
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what there is."""
        self.socket.sendall(self.h2.data_to_send())

    def turn(self) -> None:
        """Take what comes next."""
        data = self.socket.recv(65536)
        assert data, "the connection has ended"
        for event in self.h2.receive_data(data):
            if isinstance(event, ResponseReceived):
                self.headers = dict(event.headers)  # type: ignore[arg-type]
            elif isinstance(event, DataReceived):
                self.websocket.receive_data(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.ended = True
            elif isinstance(event, StreamReset):
                self.reset = event.error_code
        self.flush()

    def say(self, event: Any) -> None:
        """Send a frame, as the window allows."""
        data = self.websocket.send(event)
        while data:
            room = min(self.h2.local_flow_control_window(1), 16384)
            if room <= 0:
                self.turn()
                continue
            self.h2.send_data(1, data[:room])
            data = data[room:]
            self.flush()

    def hear(self) -> Any:
        """The next message, whole, or another event."""
        parts: list[Any] = []
        while True:
            for event in self.websocket.events():
                if not isinstance(event, Message):
                    return event
                parts.append(event.data)
                if event.message_finished:
                    return parts[0][:0].join(parts)
            self.turn()


def main(host: str, port: str) -> None:
    """Open, talk, close."""
    stream = Stream(host, int(port))
    while not stream.h2.remote_settings.enable_connect_protocol:
        stream.turn()
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", f"{host}:{port}")]
    stream.h2.send_headers(1, [*pseudo, (":path", "/echo"), ("sec-websocket-version", "13")])
    stream.flush()
    while not stream.headers:
        stream.turn()
    heard = []
    stream.say(TextMessage("hello"))
    heard.append(stream.hear())
    stream.say(BytesMessage(bytes(1_000_000)))
    heard.append(len(stream.hear()))
    stream.say(Ping(b"are you there"))
    pong = stream.hear()
    assert isinstance(pong, Pong), pong
    stream.say(CloseConnection(1000, "bye"))
    close = stream.hear()
    assert isinstance(close, CloseConnection), close
    while not stream.ended:
        stream.turn()
    stream.h2.end_stream(1)
    stream.flush()
    seen = {"headers": stream.headers, "heard": heard, "close": [close.code, close.reason], "reset": stream.reset}
    print(json.dumps(seen))


main(*sys.argv[1:])
