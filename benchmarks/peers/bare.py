"""ADDONE with as little as possible before it: `PORT=8080 twistd -n --pidfile= -y bare.py`.

It is switchd's own protocol on switchd's own transport, behind an answer to whatever head comes first. What it differs
by, after the switch, is what it costs to have spoken HTTP to switchd: it should be nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from twisted.application.service import Application, Service
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from switchd.protocols.addone import AddOne

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n"


class Head(Protocol):
    """Reads a head, and makes the connection an ADDONE."""

    transport: Any

    def __init__(self) -> None:
        self.head = b""

    def dataReceived(self, data: bytes) -> None:
        self.head += data
        _, end, early = self.head.partition(b"\r\n\r\n")
        if end:
            self.transport.write(SWITCHED)
            switched: Any = AddOne(AddOne.Options())
            self.transport.protocol = switched
            switched.makeConnection(self.transport)
            if early:
                switched.dataReceived(early)


class Bare(Service):
    """Listens while it runs."""

    def startService(self) -> None:
        from twisted.internet import reactor

        super().startService()
        endpoint = serverFromString(reactor, f"tcp:{os.environ['PORT']}:backlog=1024:interface=127.0.0.1")
        listening = endpoint.listen(Factory.forProtocol(Head))
        if find_spec("switchd.transports"):
            listening.addCallback(import_module("switchd.transports.connections").prepare)


application = Application("bare")
Bare().setServiceParent(application)
