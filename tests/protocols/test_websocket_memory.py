"""WebSockets where memory is short."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from wsproto.events import AcceptConnection, TextMessage

from switchd.interfaces import Context
from switchd.negotiation import Entry
from switchd.protocols.websocket.switch import WebSocket
from tests.serving import Site
from tests.websockets import Client


def test_a_new_one_is_not_compressed_and_those_that_are_stay_so() -> None:
    is_short = False
    clock = Clock()
    context = Context(clock, "/", Path(), lambda: is_short)
    switch = WebSocket(WebSocket.Options("switchd.protocols.websocket:Echo"), context)
    site = Site([Entry("/ws", "websocket", (b"websocket",), switch)], clock=clock)

    def extensions(client: Client) -> list[str]:
        accepted = client.events[0]
        assert isinstance(accepted, AcceptConnection)
        return [type(extension).__name__ for extension in accepted.extensions]

    before = Client(site, deflate=True)
    is_short = True
    while_short = Client(site, deflate=True)
    is_short = False
    after = Client(site, deflate=True)
    assert list(map(extensions, (before, while_short, after))) == [["PerMessageDeflate"], [], ["PerMessageDeflate"]]
    for client in (before, while_short):
        client.text("hello " * 100)
        message = client.events[-1]
        assert isinstance(message, TextMessage)
        assert message.data == "hello " * 100
