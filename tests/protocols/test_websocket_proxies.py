"""WebSockets through proxies that are trusted: handlers are told of the client; and what the log is told of it."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogLevel, capturedLogs, formatEvent

from switchd import events
from switchd.testing import CLIENT
from tests.websockets import Client, site

TRUSTING = f'[server]\ntrusted_proxies = ["{CLIENT.host}"]\n'
FORWARDED = [(b"forwarded", b"for=203.0.113.5")]


def test_a_handlers_peer_is_the_client() -> None:
    told: list[Any] = []

    class Tells(WebSocketServerProtocol):
        def onConnect(self, request: Any) -> None:
            told.extend((self.peer, request.peer))

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            details: Any = self.transport_details
            told.extend((self.peer, details.peer))

    client = Client(site(Tells, settings=TRUSTING), extra_headers=FORWARDED)
    client.text("hello")
    assert told == ["tcp4:203.0.113.5:0"] * 4


def test_a_factory_is_told_of_the_client_and_a_transport_of_who_is_connected() -> None:
    told: list[str] = []

    class Tells(Protocol):
        def connectionMade(self) -> None:
            assert self.transport is not None
            told.append(events.address(self.transport.getPeer()))

    class Makes(Factory):
        def buildProtocol(self, addr: Any) -> Protocol:
            told.append(events.address(addr))
            return Tells()

    Client(site(Makes(), settings=TRUSTING), extra_headers=FORWARDED)
    assert told == ["203.0.113.5", events.address(CLIENT)]


def test_of_a_handler_that_fails_the_log_has_the_path_as_text() -> None:
    class Fails(WebSocketServerProtocol):
        def onOpen(self) -> None:
            raise RuntimeError

    with capturedLogs() as logged:
        Client(site(Fails), path="/ws/{path}?secret")
    (event,) = [event for event in logged if event["log_level"] is LogLevel.critical]
    assert formatEvent(event).endswith(r"Fails failed on '/ws/{path}'")
