"""The whole switch over real sockets: every kind of endpoint, with the reactor that Twisted chose."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from switchd import config
from switchd.certificates import Certificates, Tls, secured
from switchd.draining import drain
from switchd.handover import handover
from switchd.transports.connections import prepare
from tests.serving import PLAIN, SWITCH, SWITCHED, Accepts, Site, statuses
from tests.wires import PROXY, one, with_reactor, write_certificate

SECONDS = 10
"""How long a test waits for the other side before it fails; nothing waits that long when all is well."""


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """Collects what comes, and waits for it."""

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.closed = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def until(self, holds: Callable[[], bool]) -> Deferred[None]:
        """Fires when `holds` does."""
        waiting: Deferred[None] = Deferred()
        waiting.addTimeout(SECONDS, reactor)
        self._waiting.append((holds, waiting))
        self._check()
        return waiting

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._check()

    def readConnectionLost(self) -> None:
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Any = None) -> None:
        self.closed = True
        self._check()

    def _check(self) -> None:
        ready = [one for one in self._waiting if one[0]()]
        self._waiting = [one for one in self._waiting if one not in ready]
        for _, waiting in ready:
            waiting.callback(None)


class _Proxied(Protocol):
    """Says first what a proxy would, and is then the client."""

    transport: Any

    def __init__(self, client: Any) -> None:
        self._client = client

    def connectionMade(self) -> None:
        self.transport.write(PROXY)
        handover(self.transport, self._client)


@asynccontextmanager
async def serving(
    site: Site, kind: str, folder: Path, alpn: Sequence[bytes] = (b"http/1.1",)
) -> AsyncIterator[Callable[..., Any]]:
    """Listen on an endpoint of `kind`; gives a function that connects a protocol, or else a new `Client`.

    The connections are ours, as in `SwitchService`; with "stock:" before the kind they are Twisted's own. With "tls:"
    before it, it has a table `[listen.tls]`.
    """
    ours, kind = not kind.startswith("stock:"), kind.removeprefix("stock:")
    tls, kind = kind.startswith("tls:"), kind.removeprefix("tls:")
    key, certificate = write_certificate(folder)
    listen = {
        "tcp": "tcp:0:interface=127.0.0.1",
        "unix": f"unix:{folder}/s",
        "ssl": f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
    }
    server = serverFromString(reactor, listen.get(kind) or "haproxy:" + listen[kind.removeprefix("haproxy:")])
    factory: Any = site.factory
    if tls:
        files = Tls(certificate=certificate.name, key=key.name)
        factory = secured(site.factory, Certificates(files, folder, reactor, config.SPOKEN), reactor)
    port = await server.listen(factory)
    if ours:
        prepare(port)

    async def connect(protocol: Any = None) -> Any:
        if "unix" in kind:
            endpoint: Any = UNIXClientEndpoint(reactor, f"{folder}/s")
        else:
            endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        authority = trustRootFromCertificates([Certificate.loadPEM(certificate.read_bytes())])
        # Twisted turns away a client with ALPN if it does not know what to offer, as behind a wrapper of its own.
        names = None if kind == "haproxy:ssl" else alpn
        options: Any = optionsForClientTLS("localhost", authority, acceptableProtocols=names)
        if "ssl" in kind:
            endpoint = wrapClientTLS(options, endpoint)
        client = Client() if protocol is None else protocol
        outer: Any = TLSMemoryBIOFactory(options, True, one(lambda: client)).buildProtocol(None) if tls else client
        await connectProtocol(endpoint, _Proxied(outer) if "haproxy" in kind else outer)
        return client

    try:
        yield connect
    finally:
        await port.stopListening()
        await drain(site.factory, 1, reactor)
        assert site.factory.connections == set()


CLEAR = ["tcp", "unix", "haproxy:tcp", "haproxy:unix"]
STOCK = ["stock:tcp", "stock:unix"]
SECURED = [f"tls:{kind}" for kind in CLEAR]
every_kind = pytest.mark.parametrize("kind", [*CLEAR, "ssl", "haproxy:ssl", *SECURED, *STOCK, "stock:ssl"])
clear_kind = pytest.mark.parametrize("kind", [*CLEAR, *STOCK])


@every_kind
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@with_reactor
async def test_early_bytes_and_later_ones_reach_the_new_protocol(kind: str, late: bool, tmp_path: Path) -> None:
    switch = Accepts(late=late)
    site = Site({"/shout": switch}, clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        client.transport.write(PLAIN + SWITCH + b"early")
        if late:
            await switch.arrived
            switch.decide()
        await client.until(lambda: client.received.endswith(SWITCHED + b"EARLY"))
        client.transport.write(b"late")
        await client.until(lambda: client.received.endswith(b"EARLYLATE"))
        client.transport.loseConnection()
        await client.until(lambda: client.closed)
    assert len(switch.built[0].reasons) == 1


@every_kind
@with_reactor
async def test_a_megabyte_of_early_bytes_waits_for_the_decision(kind: str, tmp_path: Path) -> None:
    switch = Accepts(late=True)
    site = Site({"/shout": switch}, clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        client.transport.write(SWITCH + b"x" * 1_000_000)
        await switch.arrived
        switch.decide()
        await client.until(lambda: client.received == SWITCHED + b"X" * 1_000_000)
        client.transport.loseConnection()
        await client.until(lambda: client.closed)


@clear_kind
@pytest.mark.parametrize("what", ["request", "switch", "pending decision"])
@with_reactor
async def test_a_client_that_half_closes_is_answered(kind: str, what: str, tmp_path: Path) -> None:
    switch = Accepts(late=what == "pending decision")
    site = Site({"/shout": switch}, clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        client.transport.write(PLAIN if what == "request" else SWITCH + b"early")
        client.transport.loseWriteConnection()
        if what == "pending decision":
            await switch.arrived
            switch.decide()
        await client.until(lambda: client.closed)
    if what == "request":
        assert statuses(client.received) == [200]
    else:
        assert client.received == SWITCHED + b"EARLY"


@pytest.mark.parametrize("kind", ["tcp", "haproxy:tcp", "stock:tcp"])
@with_reactor
async def test_a_reset_during_the_decision_cancels_it(kind: str, tmp_path: Path) -> None:
    switch = Accepts(late=True)
    site = Site({"/shout": switch}, clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        client.transport.write(SWITCH)
        await switch.arrived
        # What makes close() send RST instead of FIN.
        client.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.transport.abortConnection()
        await site.factory.when_empty()
        assert (switch.cancelled, switch.built) == (1, [])


@every_kind
@with_reactor
async def test_an_upload_over_the_limit_gets_its_answer(kind: str, tmp_path: Path) -> None:
    site = Site(settings="limits.body_bytes = 1000", clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"
        client.transport.write(head + b"x" * 3_000_000)
        await client.until(lambda: client.closed)
    assert statuses(client.received) == [413]


@every_kind
@with_reactor
async def test_a_large_answer_to_a_request_that_closes_arrives_whole(kind: str, tmp_path: Path) -> None:
    from twisted.web.static import Data

    page = Data(b"y" * 3_000_000, "text/plain")
    page.isLeaf = True
    site = Site(root=page, clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        client.transport.write(b"GET / HTTP/1.0\r\n\r\n")
        await client.until(lambda: client.closed)
    assert len(client.received.partition(b"\r\n\r\n")[2]) == 3_000_000


@every_kind
@with_reactor
async def test_the_protocols_peer_is_the_client_also_behind_a_proxy(kind: str, tmp_path: Path) -> None:
    switch = Accepts()
    site = Site({"/shout": switch}, clock=reactor)
    async with serving(site, kind, tmp_path) as connect:
        client = await connect()
        client.transport.write(SWITCH + b"x")
        await client.until(lambda: client.received.endswith(b"X"))
        client.transport.loseConnection()
        await client.until(lambda: client.closed)
    asked: Any = switch.asked[0]
    assert asked.secure == ("ssl" in kind or "tls" in kind)
    if "haproxy" in kind:
        assert (asked.peer.host, asked.peer.port) == ("198.51.100.7", 1234)
