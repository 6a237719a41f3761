"""Any Twisted protocol over messages, and the built-in handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineReceiver
from wsproto.events import CloseConnection
from zope.interface import implementer
from zope.interface.verify import verifyObject

from switchd.draining import drain
from switchd.interfaces import IDrain
from tests.websockets import Client, frame, site

ADDONE = "switchd.protocols.addone:AddOne"
BROADCAST = "switchd.protocols.websocket:Broadcast"


class Kept(Protocol):
    """A protocol that a test can get at; what it does with input is the test's to say."""

    transport: Any
    made: list[Any] = []

    def connectionMade(self) -> None:
        self.heard: list[bytes] = []
        self.reasons: list[Any] = []
        self.made.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.heard.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.reasons.append(reason)


@pytest.fixture
def kept() -> type[Kept]:
    class Fresh(Kept):
        made: list[Any] = []

    return Fresh


def connected(found: type[Kept], **options: Any) -> tuple[Client, Any]:
    client = Client(site(found, ping_seconds=0, **options))
    return client, found.made[0]


class TestMessages:
    def test_a_write_is_a_message_and_a_message_is_input(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept)
        protocol.transport.write(b"one")
        protocol.transport.writeSequence([b"t", b"wo"])
        protocol.transport.write(b"")
        client.send_raw(frame(b"a") + frame(b"b", 2) + frame(b"c", fin=False) + frame(b"d", 0))
        assert client.messages == [b"one", b"two"]
        assert protocol.heard == [b"a", b"b", b"cd"]

    def test_or_text(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept, messages="text")
        protocol.transport.write("ä".encode())
        client.wire.turn()
        client.look()
        assert client.messages == ["ä"]
        with pytest.raises(UnicodeDecodeError):
            protocol.transport.write(b"\xff")

    def test_only_bytes_are_written(self, kept: type[Kept]) -> None:
        _, protocol = connected(kept)
        with pytest.raises(TypeError):
            protocol.transport.write("text")

    def test_a_write_may_be_longer_than_what_is_taken(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept, max_message_bytes=10, max_frame_bytes=10)
        protocol.transport.write(bytes(100_000))
        client.wire.turn()
        client.look()
        assert client.messages == [bytes(100_000)]

    def test_addone_needs_no_change(self) -> None:
        client = Client(site(ADDONE, messages="text"), early=frame(b"41\n"))
        client.text("1\n2\n")
        client.text("3")
        client.text("3\n")
        assert client.messages == ["42\n", "2\n3\n", "34\n"]

    def test_a_factory_will_do_and_may_refuse(self) -> None:
        class Lines(LineReceiver):
            def lineReceived(self, line: bytes) -> None:
                self.factory.seen += 1
                self.sendLine(b"%d" % self.factory.seen)

        class Once(Factory):
            protocol = Lines
            seen = 0
            built = False

            def buildProtocol(self, addr: Any) -> Any:
                if self.built:
                    return None
                self.built = True
                return super().buildProtocol(addr)

        server = site(Once())
        client = Client(server)
        client.text("a\r\nb\r\n")
        assert client.messages == [b"1\r\n", b"2\r\n"]
        assert Client(server).rejected[0] == 503


class TestTransport:
    def test_provides_what_it_says(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept)
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, protocol.transport)
        assert protocol.transport.getPeer() == client.wire.transport.getPeer()
        assert protocol.transport.getHost() == client.wire.transport.getHost()

    def test_losing_it_closes_with_1000_and_hears_no_more(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept)
        protocol.transport.write(b"last")
        protocol.transport.loseConnection()
        assert protocol.transport.disconnecting
        protocol.transport.write(b"after")
        client.send_raw(frame(b"late"))
        assert client.messages == [b"last"]
        assert client.closed[0] == 1000
        assert client.wire.closed
        assert protocol.heard == []
        assert [reason.type for reason in protocol.reasons] == [ConnectionDone]

    def test_half_closing_it_goes_on_hearing(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept)
        protocol.transport.loseWriteConnection()
        protocol.transport.write(b"after")
        client.wire.send(frame(b"late") + frame(b"\x03\xe8", 8))
        assert protocol.heard == [b"late"]
        assert [reason.type for reason in protocol.reasons] == [ConnectionDone]

    def test_aborting_it_says_nothing(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept)
        protocol.transport.abortConnection()
        client.wire.turn()
        assert client.wire.closed
        assert client.wire.take() == b""
        assert len(protocol.reasons) == 1

    def test_paused_it_delivers_nothing_not_even_of_the_same_segment(self, kept: type[Kept]) -> None:
        class Pauses(kept):  # type: ignore[valid-type, misc]
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        client, protocol = connected(Pauses)
        client.send_raw(frame(b"a") + frame(b"b"))
        client.send_raw(frame(b"c"))
        assert protocol.heard == [b"a"]
        for heard in ([b"a", b"b"], [b"a", b"b", b"c"]):
            protocol.transport.resumeProducing()
            assert protocol.heard == heard[:-1]  # not inside resumeProducing
            client.wire.turn()
            assert protocol.heard == heard

    def test_producing_for_itself_a_client_that_does_not_read_is_not_read_from(self) -> None:
        client = Client(site(ADDONE, max_buffered_bytes=1_000_000))
        client.wire.stop_reading()
        for _ in range(100):
            client.wire.send(frame(b"9" * 5000 + b"\n"))
        assert not client.wire.transport.reading
        client.wire.resume_reading()
        client.look()
        assert client.messages == [b"1" + b"0" * 5000 + b"\n"] * 100


class TestTheEnd:
    def test_a_close_of_the_peer_is_clean(self, kept: type[Kept]) -> None:
        client, protocol = connected(kept)
        client.close(3000)
        assert [reason.type for reason in protocol.reasons] == [ConnectionDone]

    @pytest.mark.parametrize("end", [lambda wire: wire.half_close(), lambda wire: wire.reset()])
    def test_without_one_it_is_not(self, kept: type[Kept], end: Callable[[Any], None]) -> None:
        client, protocol = connected(kept)
        end(client.wire)
        client.wire.turn()
        assert [reason.type for reason in protocol.reasons] == [ConnectionLost]

    def test_a_peers_close_is_the_end_of_input_and_last_words_are_sent(self, kept: type[Kept]) -> None:
        @implementer(IHalfCloseableProtocol)
        class Polite(kept):  # type: ignore[valid-type, misc]
            def readConnectionLost(self) -> None:
                self.transport.write(b"last words")

            def writeConnectionLost(self) -> None: ...

        client, protocol = connected(Polite)
        client.close()
        assert client.messages == [b"last words"]
        assert client.closed[0] == 1000
        assert len(protocol.reasons) == 1

    @pytest.mark.parametrize("method", ["connectionMade", "dataReceived"])
    def test_one_that_raises_is_told_so_itself(
        self, kept: type[Kept], method: str, logged: list[type[BaseException]]
    ) -> None:
        def fail(self: Any, *arguments: Any) -> None:
            kept.connectionMade(self)
            raise ZeroDivisionError

        client, protocol = connected(type("Fails", (kept,), {method: fail}))
        client.send_raw(frame(b"x"))
        assert client.closed == (1011, "internal error")
        client.wire.half_close()
        assert [reason.type for reason in protocol.reasons] == [ZeroDivisionError]
        assert logged == [ZeroDivisionError]

    def test_its_own_farewell_comes_before_websockets(self, kept: type[Kept]) -> None:
        said: Deferred[None] = Deferred()

        @implementer(IDrain)
        class Drains(kept):  # type: ignore[valid-type, misc]
            def drain(self, seconds: float) -> Deferred[None]:
                self.transport.write(b"goodbye")
                return said

        server = site(Drains, ping_seconds=0)
        client = Client(server)
        drain(server.factory, 3, server.clock)
        client.wire.turn()
        client.look()
        assert client.messages == [b"goodbye"]
        assert not client.wire.closed
        said.callback(None)
        client.wire.turn()
        client.look()
        assert client.closed[0] == 1001
        assert client.wire.closed

    def test_the_answer_to_its_close_is_heard_although_it_has_paused(self, kept: type[Kept]) -> None:
        server = site(kept, ping_seconds=0)
        client = Client(server)
        (protocol,) = kept.made
        protocol.transport.pauseProducing()
        client.binary(b"held")
        done = drain(server.factory, 3, server.clock)
        client.wire.turn()
        client.look()
        assert client.closed[0] == 1001
        assert client.wire.closed
        assert done.called
        assert protocol.heard == []


class TestBroadcast:
    def test_everyone_gets_what_anyone_sends(self) -> None:
        server = site(BROADCAST)
        one, other = Client(server, deflate=True), Client(server)
        one.text("ä")
        other.binary(b"b")
        for client in (one, other):
            client.look()
            assert client.messages == ["ä", b"b"]

    def test_who_has_gone_gets_nothing(self) -> None:
        server = site(BROADCAST)
        one, other = Client(server), Client(server)
        other.close()
        one.text("a")
        assert one.messages == ["a"]

    def test_other_paths_do_not_hear_it(self) -> None:
        one, other = Client(site(BROADCAST)), Client(site(BROADCAST))
        one.text("a")
        other.look()
        assert other.messages == []

    def test_who_is_too_slow_is_closed_and_the_others_do_not_notice(self) -> None:
        server = site(BROADCAST, max_buffered_bytes=200_000)
        fast, slow, sender = Client(server), Client(server), Client(server)
        slow.wire.stop_reading()
        for number in range(100):
            sender.binary(b"%d" % number + bytes(10_000))
        fast.look()
        sender.look()
        assert fast.messages == sender.messages == [b"%d" % number + bytes(10_000) for number in range(100)]
        assert len(slow.wire.transport._buffer) < 100_000
        slow.wire.resume_reading()
        slow.look()
        assert slow.closed == (1013, "too slow")
        assert len(slow.messages) < 20

    def test_who_is_closing_is_not_among_the_connections(self) -> None:
        class Everyone(WebSocketServerProtocol):
            factory: Any

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                for other in self.factory.connections:
                    other.sendMessage(payload)

        server = site(Everyone, max_buffered_bytes=1000)
        closing, slow, sender = (Client(server) for _ in range(3))
        closing.wire.stop_reading()
        closing.wire.send(frame(b"", masked=False))
        slow.wire.stop_reading()
        for _ in range(5):
            sender.text("x" * 50_000)
        assert sender.messages == ["x" * 50_000] * 5
        assert sender.of(CloseConnection) == []

    def test_a_message_that_waits_for_many_is_there_once(self) -> None:
        server = site(BROADCAST)
        sender, *slow = [Client(server) for _ in range(4)]
        for client in slow:
            client.wire.stop_reading()
        for _ in range(3):
            sender.binary(bytes(70_000))
        waiting = [client.wire.transport.protocol._switchd.flow._queue[-1] for client in slow]
        assert all(one is waiting[0] for one in waiting)
