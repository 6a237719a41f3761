"""autobahn's client, on Twisted: as `websocket_steps` wants it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateResponseAccept
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import react

from tests.e2e.clients.websocket_steps import Client, Opened, Refused, Task, play


class Connection(WebSocketClientProtocol):
    """Puts what comes where it can be waited for.

    Attributes:
        opened: Fires when it is open, with True; or when it never will be, with False.
        messages: What has come; None at the end.
        pongs: What pongs carried.
        end: Code and reason of the server's Close.
    """

    def __init__(self) -> None:
        super().__init__()
        self.opened: Deferred[bool] = Deferred()
        self.messages: DeferredQueue[str | bytes | None] = DeferredQueue()
        self.pongs: DeferredQueue[bytes] = DeferredQueue()
        self.end: tuple[int, str | None] = 1006, ""

    def onOpen(self) -> None:
        self.opened.callback(True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.put(payload if isBinary else payload.decode())

    def onPong(self, payload: bytes) -> None:
        self.pongs.put(payload)

    def onClose(self, wasClean: bool, code: int, reason: str | None) -> None:
        if wasClean:
            self.end = code, reason or ""
        if not self.opened.called:
            self.opened.callback(False)
        self.messages.put(None)


class Autobahn(Client):
    """See `Client`."""

    _connection: Any

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._over = False

    async def open(self, task: Task) -> Opened:
        factory = WebSocketClientFactory(
            task.url,
            origin=task.origin,
            protocols=task.subprotocols,
            headers=task.headers,
            reactor=self._reactor,
        )
        factory.protocol = Connection
        factory.setProtocolOptions(
            perMessageCompressionOffers=[PerMessageDeflateOffer()] if task.deflate else [],
            perMessageCompressionAccept=PerMessageDeflateResponseAccept,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
        )
        where = urlsplit(task.url)
        assert where.hostname
        assert where.port
        endpoint: Any = HostnameEndpoint(self._reactor, where.hostname, where.port)
        if task.ca:
            trusted: Any = trustRootFromCertificates([Certificate.loadPEM(Path(task.ca).read_bytes())])
            endpoint = wrapClientTLS(optionsForClientTLS(where.hostname, trusted), endpoint)
        self._connection = await endpoint.connect(factory)
        if not await self._connection.opened:
            raise Refused(int(self._connection.http_status_line.split()[1]))
        extensions = self._connection.websocket_extensions_in_use
        return Opened(self._connection.websocket_protocol_in_use, bool(extensions))

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._connection.sendMessage(message.encode())
        else:
            self._connection.sendMessage(message, isBinary=True)

    async def fragments(self, parts: Sequence[str]) -> None:
        self._connection.beginMessage()
        for part in parts:
            self._connection.sendMessageFrame(part.encode())
        self._connection.endMessage()

    async def ping(self, payload: bytes) -> bytes:
        self._connection.sendPing(payload)
        pong: bytes = await self._connection.pongs.get()
        return pong

    async def receive(self) -> str | bytes | None:
        message: str | bytes | None = await self._connection.messages.get()
        self._over = message is None
        return message

    async def close(self, code: int, reason: str) -> None:
        self._connection.sendClose(code, reason)
        while not self._over:
            await self.receive()

    async def closed(self) -> tuple[int, str | None]:
        end: tuple[int, str | None] = self._connection.end
        return end

    def wire_bytes(self) -> int | None:
        count: int = self._connection.trafficStats.incomingOctetsWireLevel
        return count


def main(reactor: Any) -> Deferred[None]:
    played: Coroutine[Deferred[Any], Any, None] = play(Autobahn(reactor))
    return Deferred.fromCoroutine(played)


react(main)
