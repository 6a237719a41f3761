"""Handlers to use and to copy: ordinary autobahn classes."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol


class Echo(WebSocketServerProtocol):
    """Sends back each message, to the one who sent it. A client that does not read is not read from either."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """See autobahn's."""
        self.sendMessage(payload, isBinary)


class Broadcast(WebSocketServerProtocol):
    """Sends each message to everyone on the path, the sender too.

    It is made into a frame once, and compressed once. For a client that reads too slowly at most `max_buffered_bytes`
    wait; then it is closed with 1013, and the others do not notice.
    """

    factory: Any

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """See autobahn's."""
        self.factory.broadcast(payload, isBinary)
