"""An open WebSocket: what it bounds, what becomes of a handler that fails, how it ends. RFC 6455 row 30; A17, A18."""

from __future__ import annotations

from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from wsproto.events import CloseConnection, Ping
from zope.interface import implementer

from switchd.draining import drain
from switchd.protocols.websocket.bounds import MOST_CONTROL_FRAMES, MOST_EMPTY_FRAGMENTS
from switchd.protocols.websocket.channel import JOINED_BYTES
from tests.serving import statuses
from tests.websockets import HANDSHAKE, Client, frame, site

ECHO = "switchd.protocols.websocket:Echo"


class Kept(WebSocketServerProtocol):
    """A handler that a test can get at."""

    made: list[Any] = []

    def onOpen(self) -> None:
        self.heard: list[bytes] = []
        self.ended: Any = None
        self.made.append(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.heard.append(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.ended = (wasClean, code, reason)


@pytest.fixture
def kept() -> type[Kept]:
    class Fresh(Kept):
        made: list[Any] = []

    return Fresh


class TestRules:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (frame(b"a", masked=False), 1002),
            (frame(b"a", 3), 1002),
            (frame(b"a", 11), 1002),
            (frame(b"a", 0), 1002),
            (frame(b"a", rsv=1), 1002),
            (frame(b"a", 9, fin=False), 1002),
            (frame(bytes(126), 9), 1002),
            (frame(bytes(126), 8), 1002),
            (frame(b"a", 8), 1002),
            (frame(b"\x03\xed", 8), 1002),
            (frame(b"\x03\xe8\xff", 8), 1007),
            (frame(b"a", fin=False) + frame(b"b"), 1002),
            (frame(b"\xff"), 1007),
            (frame(b"\xc3", fin=False) + frame(b"\x28", 0), 1007),
            (frame(b"\xc3"), 1007),
            (b"\x81\xfe\x00\x01" + bytes(5), 1002),
        ],
    )
    def test_who_breaks_one_is_told_and_no_longer_listened_to(self, kept: type[Kept], data: bytes, code: int) -> None:
        client = Client(site(kept))
        client.send_raw(data + frame(b"after"))
        client.send_raw(frame(b"later") + frame(b"ping", 9))
        assert client.closed[0] == code
        (handler,) = kept.made
        assert handler.heard == []
        # The connection is half-closed, so that no reset overtakes the Close; it ends with the client's end.
        assert client.wire.transport.sent_eof
        assert not client.wire.closed
        client.wire.half_close()
        assert client.wire.closed
        assert handler.ended[:2] == (False, 1006)
        assert f"with {code}" in handler.ended[2]
        assert client.wire.clock.calls == []

    def test_who_does_not_close_then_is_dropped(self) -> None:
        client = Client(site(ECHO, close_seconds=3))
        client.send_raw(frame(b"a", masked=False))
        client.let_pass(2.9)
        assert not client.wire.closed
        client.let_pass(0.1)
        assert client.wire.closed

    def test_what_comes_after_is_not_kept(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        client.send_raw(frame(b"a", masked=False))
        for _ in range(100):
            client.send_raw(bytes(10_000))
        assert kept.made[0].data == b""


class TestSizes:
    def test_a_message_is_bounded_before_it_is_there(self, kept: type[Kept]) -> None:
        client = Client(site(kept, max_message_bytes=10))
        client.send_raw(frame(b"x" * 10) + frame(b"x" * 11)[:6])
        assert kept.made[0].heard == [b"x" * 10]
        assert client.closed == (1009, "a message has at most 10 bytes here")

    def test_over_all_its_fragments(self) -> None:
        client = Client(site(ECHO, max_message_bytes=10))
        client.send_raw(
            frame(b"x" * 6, fin=False) + frame(b"x" * 4, 0) + frame(b"y" * 6, fin=False) + frame(b"y" * 5, 0)
        )
        assert client.messages == ["x" * 6 + "x" * 4]
        assert client.closed[0] == 1009

    def test_a_frame_is_bounded_too(self) -> None:
        client = Client(site(ECHO, max_frame_bytes=5))
        client.send_raw(frame(b"x" * 5, fin=False) + frame(b"x" * 5, 0) + frame(b"x" * 6))
        assert client.messages == ["x" * 10]
        assert client.closed == (1009, "a frame has at most 5 bytes here")

    def test_of_a_length_that_nobody_can_send(self) -> None:
        client = Client(site(ECHO))
        client.send_raw(b"\x82\xff\x7f" + b"\xff" * 7 + bytes(4))
        assert client.closed[0] == 1009

    def test_what_is_sent_is_not_bounded_by_them(self, kept: type[Kept]) -> None:
        client = Client(site(kept, max_message_bytes=10))
        kept.made[0].sendMessage(b"x" * 100, True)
        client.wire.turn()
        client.look()
        assert client.messages == [b"x" * 100]


class TestFloods:  # A17
    def test_empty_fragments(self) -> None:
        client = Client(site(ECHO))
        client.send_raw(frame(b"a", fin=False) + frame(b"", 0, fin=False) * MOST_EMPTY_FRAGMENTS + frame(b"b", 0))
        assert client.messages == ["ab"]
        client.send_raw(frame(b"", fin=False) + frame(b"", 0, fin=False) * MOST_EMPTY_FRAGMENTS)
        assert client.closed[0] == 1008

    def test_small_fragments_take_no_more_than_what_is_in_them(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        client.send_raw(frame(b"<", fin=False))
        for _ in range(50):
            client.send_raw(frame(b"x", 0, fin=False) * 1000)
            assert len(kept.made[0].message_data) <= 1001
        client.send_raw(frame(b">", 0))
        assert kept.made[0].heard == [b"<" + b"x" * 50_000 + b">"]
        assert type(kept.made[0].heard[0]) is bytes

    @pytest.mark.parametrize("opcode", [9, 10])
    def test_control_frames(self, opcode: int) -> None:
        client = Client(site(ECHO, ping_seconds=0))
        client.send_raw(frame(b"a", opcode) * MOST_CONTROL_FRAMES + frame(b"still here"))
        assert client.messages == ["still here"]
        assert client.pongs == [b"a"] * (MOST_CONTROL_FRAMES if opcode == 9 else 0)
        client.let_pass(11)
        client.send_raw(frame(b"a", opcode) * (MOST_CONTROL_FRAMES + 1))
        assert client.closed[0] == 1008

    def test_nobody_reads_the_pongs(self) -> None:
        server = site(ECHO)
        client = Client(server)
        transport = client.wire.transport
        client.wire.stop_reading()
        for _ in range(900):
            client.wire.send(frame(bytes(125), 9))
        assert not transport.reading
        assert len(transport._buffer) < transport.bufferSize + 1000


class TestBackPressure:  # A18
    def test_a_client_that_does_not_read_is_not_read_from(self) -> None:
        client = Client(site(ECHO))
        transport = client.wire.transport
        client.wire.stop_reading()
        sent = [b"%d" % number + bytes(1000) for number in range(200)]
        for one in sent:
            client.wire.send(frame(one, 2))
        assert not transport.reading
        assert len(transport._buffer) <= transport.bufferSize + 1100
        client.wire.resume_reading()
        client.look()
        assert client.messages == sent
        assert transport.reading

    def test_messages_in_one_segment_wait_too(self) -> None:
        client = Client(site(ECHO, deflate=False))
        client.wire.stop_reading()
        client.wire.send(frame(bytes(60_000), 2) * 10)
        assert len(client.wire.transport._buffer) < 130_000
        client.wire.resume_reading()
        client.look()
        assert client.messages == [bytes(60_000)] * 10

    @pytest.mark.parametrize("is_read", [True, False])
    def test_long_messages_keep_their_place_among_short_ones(self, is_read: bool) -> None:
        client = Client(site(ECHO, deflate=False))
        sent = [
            bytes([index]) * length for index, length in enumerate([3, JOINED_BYTES, JOINED_BYTES + 1, 70_000, 5] * 3)
        ]
        if not is_read:
            client.wire.stop_reading()
        client.wire.send(b"".join(frame(one, 2) for one in sent))
        client.wire.resume_reading()
        client.look()
        assert client.messages == sent

    def test_a_handlers_producer_is_paused_and_resumed(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        producer = Producer()
        (handler,) = kept.made
        handler.registerProducer(producer, True)
        client.wire.stop_reading()
        handler.sendMessage(bytes(100_000), True)
        assert producer.calls == ["pause"]
        client.wire.resume_reading()
        assert producer.calls == ["pause", "resume"]
        handler.unregisterProducer()
        handler.registerProducer(producer, True)
        client.wire.reset()
        assert producer.calls == ["pause", "resume", "stop"]

    def test_one_that_is_registered_while_nothing_can_be_sent_is_paused_at_once(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        client.wire.stop_reading()
        kept.made[0].sendMessage(bytes(100_000), True)
        producer = Producer()
        kept.made[0].registerProducer(producer, True)
        assert producer.calls == ["pause"]

    def test_a_second_producer_is_a_mistake(self, kept: type[Kept]) -> None:
        Client(site(kept))
        kept.made[0].registerProducer(Producer(), True)
        with pytest.raises(RuntimeError):
            kept.made[0].registerProducer(Producer(), True)

    def test_a_pull_producer_is_asked_as_long_as_there_is_room(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        (handler,) = kept.made
        parts = [bytes(30_000)] * 20

        class Pulled(Producer):
            def resumeProducing(self) -> None:
                handler.sendMessage(parts.pop(), True)
                if not parts:
                    handler.unregisterProducer()

        client.wire.stop_reading()
        handler.registerProducer(Pulled(), False)
        client.wire.turn()
        assert 10 < len(parts) < 20
        client.wire.resume_reading()
        client.look()
        assert client.messages == [bytes(30_000)] * 20
        (ping,) = client.wire.clock.calls
        assert ping.getTime() > client.wire.clock.seconds()  # who is asked again is asked at once

    def test_more_than_may_wait_is_1013(self, kept: type[Kept]) -> None:
        client = Client(site(kept, max_buffered_bytes=10_000))
        (handler,) = kept.made
        client.wire.stop_reading()
        handler.sendMessage(bytes(70_000), True)
        for _ in range(9):
            handler.sendMessage(bytes(1000), True)
        assert handler.state == handler.STATE_OPEN
        handler.sendMessage(bytes(1000), True)
        assert handler.state == handler.STATE_CLOSING
        assert handler.factory.too_slow == 1
        client.wire.resume_reading()
        client.look()
        assert client.messages == [bytes(70_000)]  # what waited here is dropped, what the transport had is not
        assert client.closed == (1013, "too slow")

    def test_who_reads_nothing_for_too_long_is_closed(self, kept: type[Kept]) -> None:
        client = Client(site(kept, send_seconds=30, close_seconds=5, ping_seconds=0))
        client.wire.stop_reading()
        kept.made[0].sendMessage(bytes(100_000), True)
        client.let_pass(29)
        assert kept.made[0].state == WebSocketServerProtocol.STATE_OPEN
        client.let_pass(1)
        assert kept.made[0].state == WebSocketServerProtocol.STATE_CLOSING
        client.let_pass(5)
        assert client.wire.closed
        assert client.wire.clock.calls == []

    def test_everything_is_sent_before_it_is_closed(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        client.wire.stop_reading()
        for _ in range(3):
            kept.made[0].sendMessage(bytes(70_000), True)
        kept.made[0].sendClose(3000, "done")
        client.wire.resume_reading()
        client.look()
        assert client.messages == [bytes(70_000)] * 3
        assert client.closed == (3000, "done")


class TestPieces:
    """What leaves piece by piece, for tests."""

    @pytest.fixture(autouse=True)
    def _time_passes_by_hand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        monkeypatch.setattr("autobahn.websocket.protocol.txaio.call_later", self.clock.callLater)

    def test_they_do_not_overtake_what_was_sent_before(self) -> None:
        class Answers(WebSocketServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                self.sendMessage(b"first")
                self.sendMessage(b"second", sync=True)
                self.sendMessage(b"third")
                self.sendFrame(1, b"fourth", chopsize=2)
                self.sendMessage(b"fifth")

        client = Client(site(Answers))
        client.text("a")
        self.clock.pump([0.001] * 10)
        client.text("b")
        self.clock.pump([0.001] * 10)
        client.wire.turn()
        client.look()
        assert client.messages == ["first", "second", "third", "fourth", "fifth"] * 2

    def test_they_wait_like_everything_else_for_a_client_that_does_not_read(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        (handler,) = kept.made
        client.wire.stop_reading()
        handler.sendMessage(bytes(100_000), True)
        handler.sendMessage(b"first")
        handler.sendMessage(b"second", sync=True)
        handler.sendMessage(b"third")
        self.clock.pump([0.001] * 5)
        client.wire.resume_reading()
        self.clock.pump([0.001] * 5)
        client.look()
        assert client.messages == [bytes(100_000), "first", "second", "third"]


@implementer(IPushProducer)
class Producer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


def raises(*arguments: Any) -> None:
    raise ZeroDivisionError


async def raises_later(*arguments: Any) -> None:
    raise ZeroDivisionError


def fails(*arguments: Any) -> Deferred[None]:
    failed: Deferred[None] = Deferred()
    failed.errback(ZeroDivisionError())
    return failed


class TestFaults:
    @pytest.mark.parametrize("how", [raises, raises_later, fails])
    @pytest.mark.parametrize("callback", ["onOpen", "onMessage", "onPing", "onPong"])
    def test_a_handler_that_raises_ends_its_own_connection(
        self, callback: str, how: Any, logged: list[type[BaseException]]
    ) -> None:
        cls = type("Raises", (WebSocketServerProtocol,), {callback: lambda self, *arguments: how()})
        server = site(cls)
        client = Client(server, early=frame(b"early"))
        client.send_raw(frame(b"", 9) + frame(b"", 10))
        assert client.closed == (1011, "internal error")
        assert logged == [ZeroDivisionError]
        client.wire.half_close()
        assert client.wire.closed
        assert server.factory.connections == set()

    def test_in_onClose_too(self, logged: list[type[BaseException]]) -> None:
        class Raises(WebSocketServerProtocol):
            def onClose(self, *arguments: Any) -> None:
                raise ZeroDivisionError

        server = site(Raises, max_connections=1)
        for _ in range(2):  # the first has been counted off
            client = Client(server)
            client.close()
            assert client.wire.closed
        assert logged == [ZeroDivisionError] * 2

    def test_in_connectionMade_is_500(self, logged: list[type[BaseException]]) -> None:
        class Raises(WebSocketServerProtocol):
            connectionMade = raises

        server = site(Raises, max_connections=1)
        for _ in range(2):
            wire = server.connect()
            wire.send(HANDSHAKE % (b"/ws", b""))
            assert statuses(wire.received) == [500]
        assert logged == [ZeroDivisionError] * 2


class TestPings:
    def test_are_sent_and_their_answer_is_waited_for(self, kept: type[Kept]) -> None:
        client = Client(site(kept, ping_seconds=10, ping_timeout_seconds=4))
        for _ in range(3):
            client.let_pass(10)
        assert len(client.of(Ping)) == 3
        client.wire.transport.client_reads = False
        client.let_pass(10)
        client.let_pass(3.9)
        assert not client.wire.closed
        client.let_pass(0.2)
        assert client.wire.closed
        assert kept.made[0].ended[:2] == (False, 1006)
        assert client.wire.clock.calls == []

    def test_of_the_peer_are_answered(self) -> None:
        client = Client(site(ECHO))
        client.send(Ping(b"a"), Ping(b""))
        assert client.pongs == [b"a", b""]


class TestConnections:
    def test_there_are_as_many_as_there_may_be(self) -> None:
        server = site(ECHO, max_connections=2)
        first, _ = Client(server), Client(server)
        third = Client(server)
        assert third.rejected[0] == 503
        first.close()
        assert Client(server).accepted


class TestClosing:
    def test_the_servers_close_is_answered_and_the_server_closes_first(self, kept: type[Kept]) -> None:
        client = Client(site(kept))
        kept.made[0].sendClose(4000, "bye")
        client.wire.turn()
        client.look()
        assert client.closed == (4000, "bye")
        assert client.wire.closed
        assert client.wire.transport.sent_eof  # in order, not by a reset
        assert kept.made[0].ended == (True, 4000, "bye")

    def test_nobody_answers_it(self, kept: type[Kept]) -> None:
        client = Client(site(kept, close_seconds=7))
        client.wire.stop_reading()
        kept.made[0].sendClose(1000)
        client.let_pass(6.9)
        assert not client.wire.closed
        client.let_pass(0.1)
        assert client.wire.closed
        assert kept.made[0].ended[:2] == (False, 1006)

    def test_a_client_that_is_gone_without_reading_is_not_waited_for(self, kept: type[Kept]) -> None:
        client = Client(site(kept, send_seconds=30, close_seconds=5, ping_seconds=0))
        client.wire.stop_reading()
        kept.made[0].sendMessage(bytes(200_000), True)
        client.wire.send(frame(b"\x03\xe8", 8))
        client.wire.half_close()
        client.let_pass(30)
        client.let_pass(5)
        assert client.wire.closed
        assert client.wire.clock.calls == []

    def test_the_clients_code_is_echoed(self) -> None:
        client = Client(site(ECHO))
        client.send(CloseConnection(3456, "why"))
        assert client.closed == (3456, "why")
        assert client.wire.closed
        assert client.wire.clock.calls == []

    def test_at_shutdown_it_says_1001_and_waits_for_the_answer(self, kept: type[Kept]) -> None:
        server = site(kept)
        client, silent = Client(server), Client(server)
        silent.wire.stop_reading()
        done = drain(server.factory, 3, server.clock)
        client.wire.turn()
        client.look()
        assert client.closed == (1001, "the server is shutting down")
        assert client.wire.closed
        assert kept.made[0].ended == (True, 1001, "the server is shutting down")
        assert not silent.wire.closed
        silent.let_pass(3)
        assert silent.wire.closed
        assert done.called
        assert server.clock.calls == []

    def test_at_shutdown_what_a_client_still_says_goes_unanswered(self) -> None:
        """Nothing may follow a Close (RFC 6455 section 5.5.1); that a handler answers nevertheless is no failure."""
        server = site(ECHO)
        client = Client(server)
        done = drain(server.factory, 3, server.clock)
        client.send_raw(frame(b"one") + frame(b"two") + frame((1001).to_bytes(2), 8))
        assert client.messages == []
        assert client.closed == (1001, "the server is shutting down")
        assert client.wire.closed
        assert done.called

    def test_at_shutdown_it_may_say_that_it_restarts(self, kept: type[Kept]) -> None:
        server = site(kept, drain_code=1012)
        client = Client(server)
        drain(server.factory, 3, server.clock)
        client.wire.turn()
        client.look()
        assert client.closed == (1012, "the server restarts")

    def test_at_shutdown_a_slow_reader_comes_to_its_end(self, kept: type[Kept]) -> None:
        server = site(kept, close_seconds=1, ping_seconds=0)
        client = Client(server)
        client.wire.stop_reading()
        kept.made[0].sendMessage(bytes(100_000), True)
        done = drain(server.factory, 10, server.clock)
        client.let_pass(9)
        client.wire.resume_reading()
        client.look()
        assert client.closed == (1001, "the server is shutting down")
        assert client.messages == [bytes(100_000)]
        assert kept.made[0].ended[:2] == (True, 1001)
        assert done.called
        assert server.clock.calls == []
