"""A stream of HTTP/2 as a transport. What it has in common with a socket, `test_handover` holds on both."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from switchd.draining import drain
from switchd.handover import handover
from switchd.interfaces import Context, IDrain
from switchd.negotiation import Entry
from switchd.protocols.h2c import H2c
from switchd.stream import QUEUE_BYTES
from tests import frames
from tests.http2_client import WIDE, Answer, Client, site
from tests.serving import Accepts, Shout, Site

pytestmark = pytest.mark.usefixtures("http2_engine")


@implementer(IHalfCloseableProtocol)
class Careful(Shout):
    """Keeps a transcript of what it is told, and half-closes only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def readConnectionLost(self) -> None:
        self.told.append("read")

    def writeConnectionLost(self) -> None:
        self.told.append("write")


class Opened:
    """A client with one tunnel, and the protocol at the other end of it."""

    def __init__(self, protocol: Any = Shout, settings: dict[Any, int] | None = None, credit: int = 1 << 30) -> None:
        self.switch = Accepts(protocol)
        self.client = Client(site(entries=[Entry("/", "shout", (b"shout",), self.switch)]), settings, credit=credit)
        self.answer, self.protocol = self.another()

    @property
    def transport(self) -> Any:
        return self.protocol.transport

    @property
    def reason(self) -> Any:
        """Why the protocol's connection was lost; it was, once."""
        (reason,) = self.protocol.reasons
        return reason

    def another(self) -> tuple[Answer, Any]:
        answer = self.client.tunnel()
        assert answer.status == 200
        return answer, self.switch.built[-1]

    def say(self, data: bytes = b"", ended: bool = False) -> None:
        self.client.tell(self.answer, data, ended)

    def turn(self, seconds: float = 0) -> None:
        self.client.let_pass(seconds)


def test_it_has_what_a_tcp_transport_has() -> None:
    transport = Opened().transport
    for interface in (ITCPTransport, IConsumer, IPushProducer, IHalfCloseableDescriptor):
        assert verifyObject(interface, transport)
    transport.setTcpNoDelay(False)
    transport.setTcpKeepAlive(True)
    assert (transport.getTcpNoDelay(), transport.getTcpKeepAlive()) == (True, False)
    assert (transport.getPeer().host, transport.getHost().host) == ("192.0.2.1", "192.0.2.2")


class TestEnd:
    def test_of_input_closes_a_protocol_that_knows_no_half_close(self) -> None:
        opened = Opened()
        opened.say(b"last", ended=True)
        assert (opened.answer.body, opened.answer.ended, opened.answer.reset) == (b"LAST", True, None)
        assert opened.reason.check(ConnectionDone)

    def test_of_input_is_told_to_one_that_does_and_it_may_still_write(self) -> None:
        opened = Opened(Careful)
        opened.say(ended=True)
        assert (opened.protocol.told, opened.answer.ended, opened.protocol.reasons) == (["read"], False, [])
        opened.transport.write(b"more")
        opened.turn()
        opened.transport.loseConnection()
        opened.turn()
        assert (opened.answer.body, opened.answer.ended, opened.answer.reset) == (b"more", True, None)
        assert opened.reason.check(ConnectionDone)

    def test_of_input_waits_for_a_protocol_that_has_paused(self) -> None:
        opened = Opened(Careful)
        opened.transport.pauseProducing()
        opened.say(b"hello", ended=True)
        opened.transport.loseWriteConnection()
        opened.turn()
        assert (opened.protocol.heard, opened.protocol.told, opened.protocol.reasons) == (b"", ["write"], [])
        opened.transport.resumeProducing()
        assert opened.protocol.heard == b"", "in a turn of its own"
        opened.turn()
        assert (opened.protocol.heard, opened.protocol.told) == (b"hello", ["write", "read"])
        assert opened.reason.check(ConnectionDone)

    def test_of_output_leaves_input_open(self) -> None:
        opened = Opened(Careful)
        opened.transport.write(b"all")
        opened.transport.loseWriteConnection()
        opened.transport.loseWriteConnection()
        opened.turn()
        opened.transport.write(b"too late")
        opened.say(b"heard")
        assert (opened.answer.body, opened.answer.ended, opened.answer.reset) == (b"all", True, None)
        assert (opened.protocol.heard, opened.protocol.told) == (b"heard", ["write"])
        opened.say(ended=True)
        assert opened.protocol.told == ["write", "read"]
        assert opened.reason.check(ConnectionDone)
        assert opened.client.session._streams == {}

    def test_of_input_with_trailers_after_our_own_is_an_end(self) -> None:
        for method in ("loseWriteConnection", "loseConnection"):
            opened = Opened(Careful)
            getattr(opened.transport, method)()
            opened.turn()
            opened.client.h2.send_headers(opened.answer.stream, [("x-last", "words")], end_stream=True)
            opened.client.talk()
            assert len(opened.protocol.reasons) == 1
            assert opened.client.get().status == 200

    def test_after_a_half_close_is_a_close(self) -> None:
        opened = Opened(Careful)
        opened.transport.loseWriteConnection()
        opened.turn()
        opened.transport.loseConnection()
        assert opened.protocol.reasons == [], "never inside of it"
        opened.turn()
        assert opened.reason.check(ConnectionDone)
        assert (opened.answer.ended, opened.answer.reset) == (True, None)

    def test_sends_everything_first(self) -> None:
        opened = Opened()
        opened.client.reads = False
        opened.transport.write(b"x" * 200_000)
        opened.transport.loseConnection()
        opened.turn()
        assert (len(opened.answer.body), opened.answer.ended, opened.protocol.reasons) == (65_535, False, [])
        opened.client.h2.increment_flow_control_window(1 << 20, opened.answer.stream)
        opened.client.talk()
        assert (len(opened.answer.body), opened.answer.ended) == (200_000, True)
        assert opened.reason.check(ConnectionDone)

    def test_lets_the_client_end_its_side_and_drops_what_it_still_says(self) -> None:
        opened = Opened()
        opened.transport.loseConnection()
        opened.turn()
        assert opened.reason.check(ConnectionDone)
        assert opened.client.send(opened.answer.stream, b"y" * 1_000_000) == 1_000_000, "its window is given back"
        opened.say(ended=True)
        assert (opened.answer.ended, opened.answer.reset, opened.protocol.heard) == (True, None, b"")
        assert opened.client.session._streams == {}

    def test_waits_for_the_client_only_so_long(self) -> None:
        opened = Opened()
        opened.transport.loseConnection()
        opened.turn()
        opened.turn(4.9)
        assert opened.answer.reset is None
        opened.turn(0.2)
        assert opened.answer.reset == frames.NO_ERROR
        assert opened.client.get().status == 200

    def test_by_a_reset_is_told_once_and_in_a_later_turn(self) -> None:
        opened = Opened()
        opened.transport.abortConnection()
        opened.transport.abortConnection()
        opened.transport.loseConnection()
        opened.transport.write(b"nothing")
        assert opened.protocol.reasons == []
        opened.turn()
        assert opened.answer.reset == frames.CANCEL
        assert opened.reason.check(ConnectionAborted)

    def test_by_a_reset_of_the_clients(self) -> None:
        opened = Opened()
        opened.client.cut(opened.answer)
        opened.transport.write(b"nothing")
        opened.transport.loseConnection()
        opened.turn()
        assert opened.reason.check(ConnectionLost)

    def test_by_the_loss_of_the_connection(self) -> None:
        opened = Opened()
        opened.client.wire.reset()
        assert opened.reason.check(ConnectionLost)
        assert opened.client.site.factory.connections == set()

    @pytest.mark.parametrize("method", ["dataReceived", "readConnectionLost", "writeConnectionLost", "resumeProducing"])
    def test_by_a_failure_of_the_protocol_is_the_streams_only(
        self, method: str, logged: list[type[BaseException]]
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise ZeroDivisionError

        opened = Opened(Pushes)
        setattr(opened.protocol, method, fail)
        match method:
            case "resumeProducing":
                opened.transport.registerProducer(opened.protocol, False)
                opened.turn()
            case "writeConnectionLost":
                opened.transport.loseWriteConnection()
                opened.turn()
            case _:
                opened.say(b"!", ended=method == "readConnectionLost")
        assert opened.answer.reset == frames.INTERNAL_ERROR
        assert len(opened.protocol.reasons) == 1
        assert logged == [ZeroDivisionError]
        assert opened.client.get().status == 200

    def test_that_fails_itself_is_logged(self, logged: list[type[BaseException]]) -> None:
        class Fails(Shout):
            def connectionLost(self, reason: Any = None) -> None:
                raise ZeroDivisionError

        opened = Opened(Fails)
        opened.client.cut(opened.answer)
        assert logged == [ZeroDivisionError]
        assert opened.client.get().status == 200

    def test_leaves_nothing(self) -> None:
        opened = Opened()
        opened.say(b"x")
        gone = weakref.ref(opened.protocol), weakref.ref(opened.transport)
        opened.say(ended=True)
        opened.switch.built.clear()
        opened.protocol = None
        gc.collect()
        assert [one() for one in gone] == [None, None]


class TestLast:
    """What comes with the last DATA, or behind it."""

    @pytest.mark.parametrize("how", ["abort", "raise", "close"])
    def test_a_protocol_may_end_it_there(self, how: str, logged: list[type[BaseException]]) -> None:
        class Ends(Careful):
            def dataReceived(self, data: bytes) -> None:
                match how:
                    case "abort":
                        self.transport.abortConnection()
                    case "raise":
                        raise ZeroDivisionError
                    case _:
                        self.transport.loseConnection()

        opened = Opened(Ends)
        other, protocol = opened.another()
        opened.transport.loseWriteConnection()
        opened.turn()
        opened.say(b"last", ended=True)
        opened.turn()
        assert len(opened.protocol.reasons) == 1
        assert logged == ([ZeroDivisionError] if how == "raise" else [])
        assert opened.client.goaways == [], "the others go on"

    @pytest.mark.parametrize("end", ["reset", "connection"])
    def test_what_has_come_to_its_end_is_heard_though_the_stream_is_gone(self, end: str) -> None:
        opened = Opened(Careful)
        opened.transport.pauseProducing()
        opened.say(b"all", ended=True)
        opened.client.cut(opened.answer, 0) if end == "reset" else opened.client.wire.half_close()
        opened.client.wire.reset()
        assert (opened.protocol.heard, opened.protocol.reasons) == (b"", [])
        opened.transport.resumeProducing()
        opened.turn()
        assert (opened.protocol.heard, opened.protocol.told) == (b"all", ["read"])
        assert opened.reason.check(ConnectionLost), "what it would have answered is lost"

    @pytest.mark.parametrize("end", ["loseConnection", "abortConnection"])
    def test_who_waits_for_nothing_but_that_may_leave(self, end: str) -> None:
        opened = Opened(Careful)
        opened.transport.pauseProducing()
        opened.say(b"all", ended=True)
        opened.client.wire.reset()
        getattr(opened.transport, end)()
        assert opened.protocol.reasons == []
        opened.turn()
        assert opened.reason.check(ConnectionLost if end == "loseConnection" else ConnectionAborted)
        assert opened.client.site.factory.connections == set()

    def test_what_has_not_come_to_its_end_is_lost_however_the_connection_ends(self) -> None:
        opened = Opened(Careful)
        opened.say(b"half")
        opened.client.wire.half_close()
        opened.turn(100)
        assert opened.reason.check(ConnectionLost)

    def test_many_small_frames_that_are_held_are_one_piece(self) -> None:
        opened = Opened()
        opened.transport.pauseProducing()
        for _ in range(1000):
            opened.client.h2.send_data(opened.answer.stream, b"x", pad_length=3)
        opened.client.talk()
        opened.transport.resumeProducing()
        received: list[bytes] = []
        opened.protocol.dataReceived = received.append
        opened.turn()
        assert received == [b"x" * 1000]
        assert opened.client.send(opened.answer.stream, b"x" * 1_000_000) == 1_000_000


class Pushes(Careful):
    """A protocol that is a producer too."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 4

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self.left:
            self.left -= 1
            self.transport.write(b"z" * 10_000)
        else:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.told.append("stop")


class Silent(Pushes):
    """It has nothing to write when it is asked to go on, and does not leave."""

    def resumeProducing(self) -> None:
        self.told.append("resume")


class TestProducer:
    def test_is_paused_and_resumed_as_the_window_allows(self) -> None:
        opened = Opened(Pushes)
        opened.client.reads = False
        opened.transport.registerProducer(opened.protocol, True)
        opened.transport.write(b"x" * 65_535)
        opened.turn()
        opened.transport.write(b"y" * (QUEUE_BYTES + 1))
        assert opened.protocol.told == ["pause"]
        opened.client.h2.increment_flow_control_window(1 << 20, opened.answer.stream)
        opened.client.talk()
        opened.turn()
        assert opened.protocol.told == ["pause", "resume"]

    def test_that_pulls_is_asked_until_it_leaves_also_behind_a_close(self) -> None:
        opened = Opened(Pushes)
        opened.transport.registerProducer(opened.protocol, False)
        opened.transport.loseConnection()
        opened.turn()
        assert (len(opened.answer.body), opened.answer.ended) == (40_000, True)

    def test_that_pushes_holds_up_no_close_unless_it_is_paused(self) -> None:
        opened = Opened(Pushes)
        opened.transport.registerProducer(opened.protocol, True)
        opened.transport.loseConnection()
        opened.turn()
        assert (opened.answer.ended, opened.protocol.told) == (True, ["stop"])

    def test_that_has_been_paused_and_says_no_more_holds_up_no_close(self) -> None:
        opened = Opened(Silent)
        opened.client.reads = False
        opened.transport.registerProducer(opened.protocol, True)
        opened.transport.write(b"x" * 200_000)
        opened.transport.loseConnection()
        opened.turn()
        assert opened.protocol.told == ["pause"]
        opened.client.reads = True
        opened.client.h2.increment_flow_control_window(1 << 20, opened.answer.stream)
        opened.client.h2.increment_flow_control_window(1 << 20)
        opened.client.talk()
        opened.turn()
        assert (len(opened.answer.body), opened.answer.ended) == (200_000, True)
        assert opened.protocol.told == ["pause", "resume", "stop"]

    def test_is_one_at_a_time(self) -> None:
        opened = Opened(Pushes)
        opened.transport.registerProducer(opened.protocol, True)
        with pytest.raises(RuntimeError, match="registered already"):
            opened.transport.registerProducer(opened.protocol, True)

    def test_that_comes_too_late_is_stopped(self) -> None:
        opened = Opened(Pushes)
        transport = opened.transport
        opened.client.cut(opened.answer)
        transport.registerProducer(opened.protocol, True)
        assert opened.protocol.told == ["stop"]

    def test_is_stopped_when_the_client_resets(self) -> None:
        opened = Opened(Pushes)
        opened.transport.registerProducer(opened.protocol, True)
        opened.client.cut(opened.answer)
        assert opened.protocol.told == ["stop"]
        assert len(opened.protocol.reasons) == 1


class TestFlow:
    def test_of_input_that_is_paused_stops_that_stream_and_no_other(self) -> None:
        opened = Opened()
        opened.transport.pauseProducing()
        assert opened.client.send(opened.answer.stream, b"x" * 1_000_000) == 262_144
        other, protocol = opened.another()
        opened.client.tell(other, b"hello")
        assert (other.body, opened.protocol.heard) == (b"HELLO", b"")
        opened.transport.resumeProducing()
        opened.turn()
        assert opened.client.send(opened.answer.stream, b"x" * 1_000_000) == 1_000_000
        opened.client.talk()
        assert len(opened.protocol.heard) == 1_262_144

    def test_of_input_that_many_have_paused_stops_no_other(self) -> None:
        opened = Opened()
        streams = [(opened.answer, opened.protocol), *(opened.another() for _ in range(9))]
        for answer, protocol in streams:
            protocol.transport.pauseProducing()
            assert opened.client.send(answer.stream, b"x" * 1_000_000) == 262_144
        opened.client.talk()
        other, _ = opened.another()
        assert opened.client.send(other.stream, b"y" * 1_000_000) == 1_000_000
        opened.client.talk()
        assert other.body == b"Y" * 1_000_000
        for answer, protocol in streams:
            protocol.transport.resumeProducing()
            opened.turn()
            assert opened.client.send(answer.stream, b"x" * 500_000) == 500_000
            opened.client.talk()
            assert len(protocol.heard) == 762_144
        assert opened.client.h2.outbound_flow_control_window >= 1_048_576 // 2

    def test_of_input_that_is_kept_is_given_back_once(self) -> None:
        opened = Opened()
        opened.transport.pauseProducing()
        before = opened.client.h2.outbound_flow_control_window
        for _ in range(20):
            other, protocol = opened.another()
            protocol.transport.pauseProducing()
            opened.client.send(other.stream, b"x" * 262_144)
            opened.client.talk()
            opened.client.cut(other)
        assert opened.client.h2.outbound_flow_control_window <= before

    def test_of_output_takes_turns_with_the_others(self) -> None:
        opened = Opened(settings=WIDE)
        other, protocol = opened.another()
        opened.transport.write(b"x" * 100_000)
        protocol.transport.write(b"y" * 100_000)
        opened.turn()
        order = [stream for stream in opened.client.order if stream in (opened.answer.stream, other.stream)]
        assert order == [opened.answer.stream, other.stream] * 7

    def test_of_one_that_reads_nothing_is_no_reason_to_close_the_connection(self) -> None:
        opened = Opened()
        opened.client.reads = False
        opened.transport.write(b"x" * 100_000)
        opened.turn()
        opened.turn(100)
        assert opened.client.get().status == 200
        assert not opened.client.wire.closed

    def test_of_one_that_reads_nothing_ends_the_requests_that_it_holds_up_and_no_protocol(self) -> None:
        opened = Opened(settings=WIDE, credit=0)
        opened.client.reads = False
        opened.transport.write(b"x" * 200_000)
        opened.turn()
        assert len(opened.answer.body) == 65_535, "the connection's window is closed"
        answer = opened.client.get()
        assert (answer.status, answer.body) == (200, b"")
        opened.turn(100)
        assert (answer.reset, opened.protocol.reasons) == (frames.CANCEL, [])
        opened.client.h2.increment_flow_control_window(1 << 20)
        opened.client.talk()
        assert len(opened.answer.body) == 200_000

    def test_of_a_client_that_reads_nothing_at_all_is(self) -> None:
        opened = Opened(settings=WIDE)
        opened.client.wire.stop_reading()
        for _ in range(4):
            opened.transport.write(b"x" * 100_000)
            opened.turn()
        opened.turn(100)
        assert opened.client.wire.closed

    def test_of_small_writes_in_one_turn_is_one_frame(self) -> None:
        opened = Opened()
        for letter in b"hello":
            opened.transport.write(bytes([letter]))
        opened.transport.writeSequence([b", ", b"world"])
        opened.turn()
        assert opened.client.order == [opened.answer.stream]
        assert opened.answer.body == b"hello, world"


def test_it_may_be_handed_on() -> None:
    class First(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"[next]")
            handover(self.transport, second, data[1:])

    second = Shout()
    opened = Opened(First)
    opened.say(b"!early")
    opened.say(b" late")
    assert opened.answer.body == b"[next]EARLY LATE"
    opened.say(ended=True)
    assert second.reasons[0].check(ConnectionDone)


def test_there_are_no_new_ones_on_a_connection_that_is_left() -> None:
    opened = Opened()
    client = opened.client
    opened.transport._session.leave()
    late = client.answers[3] = Answer(3)
    pseudo = [(":method", "CONNECT"), (":protocol", "shout"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
    client.h2.send_headers(3, pseudo)
    client.wire.send(client.output())  # before it has heard of that
    client.talk()
    assert (late.status, late.reset) == (0, frames.REFUSED_STREAM)


def test_resets_behind_an_answer_cut_nothing_short() -> None:
    opened = Opened()
    for _ in range(1500):
        answer, protocol = opened.another()
        protocol.transport.loseConnection()
        opened.turn()
        opened.client.cut(answer)
    assert opened.client.get().status == 200


def test_it_says_goodbye_at_shutdown_in_its_own_language() -> None:
    @implementer(IDrain)
    class Polite(Shout):
        def drain(self, seconds: float) -> None:
            self.transport.write(b"goodbye in %d" % seconds)

    opened = Opened(Polite)
    drained = drain(opened.client.site.factory, 10, opened.client.site.clock)
    opened.turn()
    assert (opened.answer.body, opened.answer.ended, opened.answer.reset) == (b"goodbye in 10", True, None)
    assert opened.client.goaways
    opened.say(ended=True)
    opened.turn(10)
    assert drained.called
    assert opened.client.wire.closed


@pytest.mark.parametrize(
    ("of_connection", "own", "seconds"),
    [(None, None, 10), (None, 4.0, 4), (3.0, None, 3), (3.0, 4.0, 3), (5.0, 4.0, 4)],
)
def test_its_time_to_say_goodbye_is_within_that_of_its_connection(
    of_connection: float | None, own: float | None, seconds: int
) -> None:
    @implementer(IDrain)
    class Endless(Shout):
        def drain(self, seconds: float) -> Deferred[None]:
            self.transport.write(b"goodbye in %d" % seconds)
            return Deferred()

    clock = Clock()
    h2c = H2c(H2c.Options(), Context(clock, "/", Path()))
    entries = [
        Entry("/", "h2c", (b"h2c",), h2c, drain_seconds=of_connection),
        Entry("/", "shout", (b"shout",), Accepts(Endless), drain_seconds=own),
    ]
    client = Client(Site(entries, clock=clock))
    answer = client.tunnel()
    done = drain(client.site.factory, 10, clock)
    client.wire.turn()
    client.talk()
    assert answer.body == b"goodbye in %d" % seconds
    clock.advance(seconds - 0.1)
    client.wire.turn()
    assert (answer.ended, answer.reset, client.wire.closed) == (False, None, False)
    clock.advance(0.2)
    client.wire.turn()
    client.talk()
    assert answer.reset is not None or client.wire.closed
    clock.advance(10)
    client.wire.turn()
    assert done.called


def test_a_stream_that_asks_to_be_switched_when_the_server_stops_is_503() -> None:
    opened = Opened()
    drained = drain(opened.client.site.factory, 10, opened.client.site.clock)
    assert opened.client.tunnel().status == 503
    assert len(opened.switch.asked) == 1
    opened.say(ended=True)
    opened.turn(10)
    assert drained.called
