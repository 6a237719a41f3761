"""One message for many: made once, and right for each of them."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from wsproto.events import CloseConnection
from wsproto.extensions import PerMessageDeflate

from switchd.protocols.websocket import broadcast
from tests.websockets import Client, frame, site

LONG = '{"id": 1, "name": "ä"} ' * 40


class Member(WebSocketServerProtocol):
    """Sends what it gets back to its sender, or, if there is a `!` in front, to everyone."""

    factory: Any

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if payload.startswith(b"!"):
            self.factory.broadcast(payload[1:], isBinary)
        else:
            self.sendMessage(payload, isBinary)


def clients(*kinds: Any, **options: Any) -> list[Client]:
    server = site(Member, **options)
    return [Client(server, deflate=kind) for kind in kinds]


def everyone_looks(those: list[Client]) -> None:
    for client in those:
        client.look()


def test_it_is_compressed_for_whom_it_may_be() -> None:
    those = clients(None, True, PerMessageDeflate(server_max_window_bits=9), True)
    those[0].text("!" + LONG)
    everyone_looks(those)
    sizes = [client.wire.transport.protocol.trafficStats.outgoingOctetsWireLevel for client in those]
    assert sizes[0] > len(LONG)
    assert max(sizes[1:]) < 200
    assert [client.messages for client in those] == [[LONG]] * 4


def test_a_short_one_is_not() -> None:
    those = clients(None, True)
    those[0].binary(b"!short")
    assert those[1].wire.take() == b"\x82\x05short"


@pytest.mark.parametrize("takeover", [True, False])
def test_it_goes_together_with_messages_of_ones_own(takeover: bool) -> None:
    one, other = clients(True, True, deflate_context_takeover=takeover)
    expected: list[list[str | bytes]] = [[], []]
    for number in range(6):
        own, to_all = f"own {number} {LONG}", f"all {number} {LONG}"
        one.text(own)
        one.text("!" + to_all)
        other.text(own)
        expected[0] += [own, to_all]
        expected[1] += [to_all, own]
    assert [one.messages, other.messages] == expected


def test_it_is_made_once() -> None:
    sender, *slow = clients(None, True, True, True)
    for client in slow:
        client.wire.stop_reading()
    noise = bytes(range(256)) * 1000
    for _ in range(200):
        sender.binary(b"!" + noise)
    waiting = [client.wire.transport.protocol._switchd.flow._queue[-1] for client in slow]
    assert all(one is waiting[0] for one in waiting)


def test_whoever_sends_in_a_way_of_his_own_does_so() -> None:
    class Shouts(Member):
        def sendMessage(self, payload: bytes, *arguments: Any, **keywords: Any) -> None:
            if payload == b"boom":
                raise ZeroDivisionError
            super().sendMessage(payload.upper(), *arguments, **keywords)

    server = site(Shouts)
    one, other = Client(server), Client(server)
    one.text("!loud")
    other.look()
    assert one.messages == other.messages == ["LOUD"]


def test_one_who_raises_keeps_it_from_nobody(logged: list[type[BaseException]]) -> None:
    class Raises(Member):
        def sendMessage(self, payload: bytes, *arguments: Any, **keywords: Any) -> None:
            if "x-boom" in self.http_headers:
                raise ZeroDivisionError
            super().sendMessage(payload, *arguments, **keywords)

    server = site(Raises)
    one, other = Client(server, extra_headers=[(b"x-boom", b"1")]), Client(server)
    other.text("!a")
    one.look()
    assert one.closed[0] == 1011
    assert other.messages == ["a"]
    assert logged == [ZeroDivisionError]


def test_a_factory_of_ones_own_has_its_own_list() -> None:
    members: list[Any] = []

    class Listed(WebSocketServerProtocol):
        def onConnect(self, request: Any) -> None:
            members.append(self)

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            broadcast(members, payload, isBinary)

    factory = WebSocketServerFactory()
    factory.protocol = Listed
    server = site(factory)
    one, other, gone = (Client(server) for _ in range(3))
    gone.close()
    one.text("a")
    other.look()
    assert one.messages == other.messages == ["a"]
    assert gone.messages == []


def test_it_is_counted_as_autobahn_counts_a_prepared_one() -> None:
    those = clients(None, None)
    those[0].text("!abc")
    statistics = those[1].wire.transport.protocol.trafficStats
    assert (statistics.outgoingOctetsWireLevel, statistics.outgoingWebSocketMessages) == (5, 0)


def test_fragments_are_sent_where_they_are_asked_for() -> None:
    class Fragments(Member):
        autoFragmentSize = 2

    client = Client(site(Fragments))
    client.wire.send(frame(b"!abc"))
    assert client.wire.take().startswith(frame(b"ab", fin=False, masked=False)[:2] + b"ab")


class Piecewise(Member):
    """Sends in pieces: a message begins at `+`, each other one is a fragment, and it ends at `-`."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if payload == b"+":
            self.beginMessage(isBinary)
        elif payload == b"-":
            self.endMessage()
        elif payload == b".":
            self.sendClose()
        elif payload.startswith(b"!"):
            super().onMessage(payload, isBinary)
        else:
            self.sendMessageFrame(payload)


class Long(Piecewise):
    """Looks at frames."""

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)


@pytest.mark.parametrize("cls", [Piecewise, Long])
@pytest.mark.parametrize("kind", [None, True])
def test_whoever_is_sending_in_pieces_gets_it_afterwards(cls: type[Member], kind: Any) -> None:
    server = site(cls)
    one, other = Client(server, deflate=kind), Client(server, deflate=kind)
    for text in ("+", "some ", "!" + LONG, "!short", "text", "-", "!more"):
        one.text(text)
    other.look()
    assert one.messages == ["some text", LONG, "short", "more"]
    assert other.messages == [LONG, "short", "more"]


def test_no_more_waits_for_it_than_may() -> None:
    server = site(Piecewise, max_buffered_bytes=10_000)
    one, other = Client(server, deflate=False), Client(server, deflate=False)
    one.text("+")
    one.text("some")
    for _ in range(9):
        other.binary(b"!" + bytes(1000))
    one.look()
    assert not one.of(CloseConnection)
    other.binary(b"!" + bytes(1000))
    one.look()
    assert one.closed == (1013, "too slow")
    assert other.messages == [bytes(1000)] * 10


def test_what_waits_for_it_leaves_room_again() -> None:
    client = Client(site(Piecewise, max_buffered_bytes=10_000), deflate=False)
    for _ in range(5):
        client.text("+")
        client.text("some")
        client.binary(b"!" + bytes(6000))
        client.text("-")
    assert client.messages == ["some", bytes(6000)] * 5


def test_what_waits_for_a_message_that_never_ends_is_not_sent() -> None:
    server = site(Piecewise)
    one, other = Client(server), Client(server)
    handler = one.wire.transport.protocol
    for text in ("+", "some", "!a", "."):
        one.text(text)
    other.text("!b")
    handler.endMessage()
    one.look()
    assert (one.messages, other.messages) == ([], ["a", "b"])


def test_the_message_may_be_ended_by_a_method_that_goes_past_ones_own() -> None:
    class Past(Piecewise):
        def endMessage(self) -> None:
            raise AssertionError

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            if payload == b"-":
                super().endMessage()
            else:
                super().onMessage(payload, isBinary)

    client = Client(site(Past))
    for text in ("+", "some", "!a", "-"):
        client.text(text)
    assert client.messages == ["some", "a"]


def test_text_that_is_no_bytes_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="bytes, not str"):
        broadcast([], "text")  # type: ignore[arg-type]
