"""twisted.web and autobahn as they come: `PORT=8080 twistd -n --pidfile= -y stock.py`."""

from __future__ import annotations

import os
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.application.service import Application
from twisted.application.strports import service
from twisted.web.resource import Resource
from twisted.web.server import Site


class Page(Resource):
    """A small one."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"content-type", b"text/plain")
        return b"hello\n"


class Echo(WebSocketServerProtocol):
    """Sends back each message."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


sockets: Any = WebSocketServerFactory()
sockets.protocol = Echo
root: Any = Resource()
root.putChild(b"", Page())
root.putChild(b"echo", WebSocketResource(sockets))

application = Application("stock")
service(f"tcp:{os.environ['PORT']}:backlog=1024:interface=127.0.0.1", Site(root)).setServiceParent(application)
