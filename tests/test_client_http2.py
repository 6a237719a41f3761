"""The client's side of extended CONNECT, in memory: our server at the other end, or frames that are said by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hpack import Encoder
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    NoProtocol,
)
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.client import Ask, NoAnswer, NotSwitched, NoTunnel, Refused, SwitchClientEndpoint, WrongAnswer
from switchd.client.attempt import Attempt
from switchd.client.bounds import BODY_BYTES, CLOSE_SECONDS, HEAD_BYTES, INTERIM_ANSWERS, UNREAD_BYTES
from switchd.client.connect import Connecting
from switchd.client.negotiate import Negotiating
from switchd.client.upgrade import Upgrading
from switchd.engines.asking import Engine
from switchd.interfaces import Refuse
from switchd.negotiation import Entry
from switchd.testing import SERVER, Wire
from tests import frames
from tests.attempts import Attempted, Builds
from tests.frames import END_HEADERS, END_STREAM, data, goaway, raw, read, reset, settings, update
from tests.http2_client import site
from tests.serving import Accepts, Says, Shout
from tests.wires import TLSWire, one

SHOUT = Ask(b"shout", b"example.org", b"/shout?loud", headers=((b"X-Who", b"me"), (b"Connection", b"x-who")))
CONNECTS = settings((8, 1))
"""Settings of a server that understands extended CONNECT."""


class Heard(Protocol):
    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.reasons: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None
        self.reasons.append(reason)


class Client(Attempted):
    """A client of a server that is what the test says it is."""

    def __init__(self, ask: Ask = SHOUT, build: Callable[[], Any] = Heard) -> None:
        self.clock = Clock()
        self.factory = Builds(build)
        self.asking = Connecting(Attempt(ask, self.factory, SERVER, self.clock, 10.0, "Tests"))
        self.outcomes: list[Any] = []
        self.asking.switched.addBoth(self.outcomes.append)
        self.wire = Wire(self.asking, self.clock)

    def hear(self, *said: bytes) -> Client:
        """The server says this."""
        self.wire.send(b"".join(said))
        return self

    @property
    def said(self) -> list[Any]:
        """The frames that it has sent since the last look."""
        return read(self.wire.take().removeprefix(frames.PREFACE))

    def let_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wire.turn()


def answer(status: bytes, *fields: tuple[bytes, bytes], flags: int = END_HEADERS) -> bytes:
    """The head of an answer."""
    return raw(frames.HEADERS, 1, Encoder().encode([(b":status", status), *fields], huffman=False), flags)


class Both:
    """Client and server, each at one end of the same bytes."""

    def __init__(self, switch: Any, ask: Ask = SHOUT) -> None:
        self.client = Client(ask)
        self.site = site(entries=[Entry("/shout", "shout", (b"shout",), switch)], clock=self.client.clock)
        self.server = self.site.connect()
        self.talk()

    def talk(self) -> None:
        for _ in range(1000):
            self.client.wire.turn()
            there, back = self.client.wire.take(), self.server.take()
            if not (there or back):
                return
            if there:
                self.server.send(there)
            if back:
                self.client.wire.send(back)
        raise AssertionError("they do not come to rest")


class TestAgainstOurServer:
    def test_a_stream_is_switched_and_is_the_protocols_transport(self) -> None:
        switch = Accepts()
        both = Both(switch)
        protocol = both.client.outcome
        assert protocol is both.client.protocol
        protocol.transport.write(b"hear ")
        protocol.transport.write(b"me")
        both.talk()
        assert protocol.data == b"HEAR ME"
        (asked,) = switch.asked
        assert (asked.how, asked.target) == ("connect", b"/shout?loud")
        assert asked.headers == ((b"host", b"example.org"), (b"x-who", b"me"))
        assert (protocol.transport.getPeer(), protocol.transport.getHost()) == both.client.asking.addresses

    def test_much_goes_either_way_as_the_windows_allow(self) -> None:
        both = Both(Accepts())
        protocol = both.client.protocol
        protocol.transport.write(b"x" * 2_000_000)
        both.talk()
        assert protocol.data == b"X" * 2_000_000

    def test_the_server_that_closes_ends_the_connection(self) -> None:
        switch = Accepts()
        both = Both(switch)
        switch.built[0].transport.write(b"bye")
        switch.built[0].transport.loseConnection()
        both.talk()
        assert both.client.protocol.data == b"bye"
        (reason,) = both.client.protocol.reasons
        assert reason.check(ConnectionDone)
        assert both.client.wire.closed
        assert switch.built[0].reasons[0].check(ConnectionDone)

    def test_the_client_that_closes_ends_it_too(self) -> None:
        switch = Accepts()
        both = Both(switch)
        both.client.protocol.transport.write(b"bye")
        both.client.protocol.transport.loseConnection()
        both.talk()
        assert (switch.built[0].heard, len(both.client.protocol.reasons)) == (b"bye", 1)
        assert switch.built[0].reasons[0].check(ConnectionDone)
        assert both.client.wire.closed

    def test_either_side_may_abort(self) -> None:
        switch = Accepts()
        both = Both(switch)
        both.client.protocol.transport.abortConnection()
        both.talk()
        assert switch.built[0].reasons[0].check(ConnectionLost)
        both = Both(switch)
        switch.built[-1].transport.abortConnection()
        both.talk()
        assert both.client.protocol.reasons[0].check(ConnectionLost)

    def test_a_refusal_has_all_that_there_is(self) -> None:
        both = Both(Says(Refuse(403, ((b"X-Why", b"no"),), b"not you\n")))
        refused = both.client.outcome
        assert isinstance(refused, Refused)
        assert (refused.status, refused.body) == (403, b"not you\n")
        assert (b"x-why", b"no") in refused.headers
        assert both.client.wire.closed

    def test_what_is_not_served_is_a_refusal_with_501(self) -> None:
        assert Both(Says()).client.outcome.status == 501

    def test_nothing_is_left(self) -> None:
        both = Both(Accepts())
        both.client.protocol.transport.loseConnection()
        both.talk()
        both.server.reset()
        assert both.client.clock.getDelayedCalls() == []

    def test_a_server_that_leaves_lets_the_stream_go_on(self) -> None:
        switch = Accepts()
        both = Both(switch)
        ours, _ = sorted(both.site.factory.connections, key=lambda one: len(one.stack))
        ours.protocol.drain(60)
        both.talk()
        both.client.protocol.transport.write(b"still here")
        both.talk()
        assert both.client.protocol.data == b"STILL HERE"


class TestServer:
    def test_that_answers_at_last_is_awaited(self) -> None:
        client = Client().hear(CONNECTS)
        asked = [frame for frame in client.said if frame.type == frames.HEADERS]
        assert len(asked) == 1
        client.hear(answer(b"103"), answer(b"200", (b"x", b"y")), data(1, b"early"), data(1, b"", END_STREAM))
        assert (client.protocol.data, client.outcome) == (b"early", client.protocol)

    def test_that_has_switched_has_completed_the_handshake_before_the_first_byte(self) -> None:
        @implementer(IHandshakeListener)
        class Listening(Heard):
            def connectionMade(self) -> None:
                self.events = ["made"]

            def handshakeCompleted(self) -> None:
                assert client.outcome is self
                self.events.append("handshake")

            def dataReceived(self, data: bytes) -> None:
                self.events.append("data")

        client = Client(build=Listening)
        client.hear(CONNECTS, answer(b"200"), data(1, b"early"))
        assert client.protocol.events == ["made", "handshake", "data"]

    @pytest.mark.parametrize("hello", [settings(), settings((8, 0))])
    def test_that_switches_no_streams_says_so_before_it_is_asked(self, hello: bytes) -> None:
        client = Client().hear(hello)
        assert isinstance(client.outcome, NoTunnel)
        assert not [frame for frame in client.said if frame.type == frames.HEADERS]
        assert client.wire.closed

    def test_that_wants_http_1_1_is_one_too(self) -> None:
        assert isinstance(Client().hear(CONNECTS, reset(1, frames.HTTP_1_1_REQUIRED)).outcome, NoTunnel)

    @pytest.mark.parametrize("said", [reset(1, frames.REFUSED_STREAM), goaway(0)])
    def test_that_does_not_take_the_request_gives_no_answer(self, said: bytes) -> None:
        outcome = Client().hear(CONNECTS, said).outcome
        assert isinstance(outcome, NoAnswer)
        assert not isinstance(outcome, NoTunnel)

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            CONNECTS + raw(frames.DATA, 0, b"x"),
            CONNECTS + data(3, b"x"),
            CONNECTS + raw(frames.HEADERS, 1, b"\xff\xff\xff\xff", END_HEADERS),
            CONNECTS + answer(b"nothing"),
            CONNECTS + update(0, 0),
            CONNECTS + b"\xff\xff\xff\0\0\0\0\0\1" + b"x" * 20_000,
            CONNECTS + answer(b"103") * (INTERIM_ANSWERS + 1),
            CONNECTS + answer(b"200", (b"x", b"y" * 20_000)),
        ],
        ids=[
            "HTTP/1.1",
            "DATA on 0",
            "DATA on 3",
            "no HPACK",
            "no status",
            "no increment",
            "long",
            "many 1xx",
            "large",
        ],
    )
    def test_that_breaks_the_rules_is_told_and_left(self, said: bytes) -> None:
        client = Client().hear(said)
        assert isinstance(client.outcome, NotSwitched)
        assert (client.factory.built, client.wire.closed) == ([], True)
        assert [frame.type for frame in client.said].count(frames.GOAWAY) == 1

    def test_that_breaks_the_rules_later_ends_what_was_switched(self) -> None:
        client = Client().hear(CONNECTS, answer(b"200"), raw(frames.DATA, 0, b"x"))
        (reason,) = client.protocol.reasons
        assert reason.check(WrongAnswer)
        assert client.wire.closed

    @pytest.mark.parametrize("bad", [update(0, 0), raw(frames.DATA, 0, b"x"), raw(frames.HEADERS, 1, b"\xff" * 5, 4)])
    def test_that_breaks_the_rules_while_something_waits_is_told(self, bad: bytes) -> None:
        client = Client().hear(settings((8, 1), (4, 10)), answer(b"200"))
        client.protocol.transport.write(b"x" * 100_000)
        client.wire.turn()
        _ = client.said
        client.hear(update(1, 70_000), bad)
        (reason,) = client.protocol.reasons
        assert reason.check(WrongAnswer)
        assert [frame.type for frame in client.said] == [frames.GOAWAY]
        assert client.wire.closed

    def test_that_breaks_the_rules_while_a_protocol_has_paused_is_left(self) -> None:
        class Pausing(Heard):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()

        client = Client(build=Pausing).hear(CONNECTS, answer(b"200"), data(1, b"x"), update(0, 0))
        (reason,) = client.protocol.reasons
        assert reason.check(WrongAnswer)
        assert client.wire.closed

    def test_that_sends_the_last_may_find_nobody_to_hear_it(self) -> None:
        class Ended(Heard):
            def connectionMade(self) -> None:
                self.transport.loseWriteConnection()

        class Aborting(Ended):
            def dataReceived(self, data: bytes) -> None:
                self.transport.abortConnection()

        class Raising(Ended):
            def dataReceived(self, data: bytes) -> None:
                raise RuntimeError("not that")

        for protocol, error in ((Aborting, ConnectionAborted), (Raising, RuntimeError)):
            client = Client(build=protocol).hear(CONNECTS, answer(b"200"))
            client.hear(data(1, b"the last", END_STREAM))
            (reason,) = client.protocol.reasons
            assert reason.check(error)
            assert client.wire.closed
            assert [frame.type for frame in client.said if frame.type == frames.RST_STREAM] == []

    def test_that_sends_trailers_in_a_tunnel_is_reset(self) -> None:
        client = Client().hear(CONNECTS, answer(b"200"))
        _ = client.said
        client.hear(answer(b"200")[:0] + raw(frames.HEADERS, 1, Encoder().encode([(b"a", b"b")]), 5))
        assert len(client.protocol.reasons) == 1
        assert client.wire.closed

    def test_that_explains_without_end_is_read_so_far(self) -> None:
        client = Client().hear(CONNECTS, answer(b"500"), *[data(1, b"x" * 10_000)] * 8)
        assert isinstance(client.outcome, Refused)
        assert len(client.outcome.body) == BODY_BYTES

    def test_that_says_nothing_is_waited_for_so_long(self) -> None:
        for said in (b"", CONNECTS, CONNECTS + answer(b"103")):
            client = Client().hear(said) if said else Client()
            client.let_pass(9.9)
            assert client.outcome is None
            client.let_pass(0.2)
            assert isinstance(client.outcome, NoAnswer)
            client.let_pass(CLOSE_SECONDS)
            assert client.wire.closed

    def test_that_stops_in_the_middle_of_a_refusal_has_refused(self) -> None:
        client = Client().hear(CONNECTS, answer(b"403"), data(1, b"no"))
        client.let_pass(11)
        assert (client.outcome.status, client.outcome.body) == (403, b"no")

    def test_that_is_gone_gives_no_answer(self) -> None:
        client = Client().hear(CONNECTS)
        client.wire.reset()
        assert isinstance(client.outcome, NoAnswer)
        assert isinstance(client.outcome.__cause__, ConnectionLost)

    def test_that_is_gone_later_is_the_protocols_to_hear(self) -> None:
        client = Client().hear(CONNECTS, answer(b"200"))
        client.wire.reset()
        (reason,) = client.protocol.reasons
        assert reason.check(ConnectionLost)

    @pytest.mark.parametrize("before", [b"", goaway(1, frames.INTERNAL_ERROR)], ids=["FIN", "GOAWAY and FIN"])
    def test_that_leaves_without_an_end_has_not_ended_in_order(self, before: bytes) -> None:
        client = Client().hear(CONNECTS, answer(b"200"), data(1, b"half of it"))
        client.wire.half_close(before)
        (reason,) = client.protocol.reasons
        assert reason.check(ConnectionLost)

    def test_that_leaves_behind_the_end_has_ended_in_order(self) -> None:
        @implementer(IHalfCloseableProtocol)
        class Listening(Heard):
            def readConnectionLost(self) -> None:
                """It may write still."""

            def writeConnectionLost(self) -> None:
                """It has not asked for that."""

        client = Client(build=Listening).hear(CONNECTS, answer(b"200"), data(1, b"all of it", END_STREAM))
        assert client.protocol.reasons == []
        client.wire.half_close()
        (reason,) = client.protocol.reasons
        assert reason.check(ConnectionDone)

    def test_that_reads_nothing_is_written_no_more_than_it_takes(self) -> None:
        client = Client().hear(settings((8, 1), (4, 1 << 30)), update(0, 1 << 30), answer(b"200"))
        client.wire.stop_reading()
        client.protocol.transport.write(b"x" * 1_000_000)
        client.wire.turn()
        assert len(client.wire.transport._buffer) < 100_000
        client.wire.resume_reading()
        assert len(client.wire.received) > 1_000_000

    def test_may_be_told_that_it_is_not_wanted_any_more(self) -> None:
        for said in ((), (CONNECTS,), (CONNECTS, answer(b"103"))):
            client = Client().hear(*said)
            client.asking.switched.cancel()
            client.wire.turn()
            assert isinstance(client.outcome, ConnectingCancelledError)
            assert client.wire.closed
            assert client.clock.getDelayedCalls() == []

    def test_that_takes_nothing_is_read_for_all_that(self) -> None:
        # Else both would wait for each other: a server that is full as well may not read either.
        client = Client().hear(settings((8, 1), (4, 1 << 30)), update(0, 1 << 30), answer(b"200"))
        client.wire.stop_reading()
        client.protocol.transport.write(b"x" * 1_000_000)
        client.wire.turn()
        client.hear(data(1, b"hello"))
        assert client.protocol.data == b"hello"
        assert len(client.wire.transport._buffer) < 100_000

    def test_that_takes_all_in_the_middle_of_a_turn_is_sent_what_the_whole_turn_has(self) -> None:
        class Writing(Heard):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"one, ")
                client.asking.resumeProducing()
                self.transport.write(b"two")

        client = Client(build=Writing).hear(CONNECTS, answer(b"200"))
        _ = client.said
        client.hear(data(1, b"go on"))
        assert [frame.data for frame in client.said if frame.type == frames.DATA] == [b"one, two"]

    def test_that_takes_nothing_has_so_much_acknowledged(self) -> None:
        client = Client().hear(CONNECTS, answer(b"200"))
        client.wire.stop_reading()
        many = raw(frames.PING, 0, b"12345678") * (UNREAD_BYTES // 170)  # a tenth of it
        for _ in range(8):
            client.hear(many)
        client.wire.resume_reading()
        client.wire.stop_reading()
        for _ in range(8):
            client.hear(many)
        assert client.protocol.reasons == []
        for _ in range(8):
            client.hear(many)
        (reason,) = client.protocol.reasons
        assert reason.check(WrongAnswer)
        assert len(client.wire.transport._buffer) < 1.3 * UNREAD_BYTES
        client.let_pass(CLOSE_SECONDS)
        assert client.wire.closed

    def test_has_switched_for_nobody(self) -> None:
        client = Client(build=lambda: None).hear(CONNECTS, answer(b"200"))
        assert isinstance(client.outcome, NoProtocol)
        assert client.wire.closed


class TestEngine:
    def asked(self) -> Engine:
        engine = Engine(HEAD_BYTES)
        engine.start()
        list(engine.receive(CONNECTS))
        assert engine.ask([(b":method", b"CONNECT"), (b":authority", b"example.org")]) == 1
        list(engine.receive(answer(b"200") + data(1, b"held")))
        engine.kept(4)
        engine.take_output()
        return engine

    def test_gives_back_and_cuts_what_is_open(self) -> None:
        engine = self.asked()
        engine.used(1, 4)
        engine.reset(1, frames.CANCEL)
        assert [frame.type for frame in read(engine.take_output())] == [frames.WINDOW_UPDATE, frames.RST_STREAM]

    @pytest.mark.parametrize("over", ["stream", "failed", "goodbye"])
    def test_says_nothing_of_what_is_over(self, over: str) -> None:
        engine = self.asked()
        match over:
            case "stream":
                engine.send(1, b"", True)
                list(engine.receive(data(1, b"", END_STREAM)))
            case "failed":
                list(engine.receive(update(0, 0)))
            case "goodbye":
                engine.goaway(0)
        engine.take_output()
        engine.used(1, 4)
        engine.reset(1, frames.CANCEL)
        assert engine.take_output() == b""


def attempt(clock: Clock) -> Attempt:
    return Attempt(SHOUT, Factory(), SERVER, clock, 10.0, "Tests")


def nobody(alpn: bytes | None) -> Any:
    raise AssertionError("there is no handshake")


class TestNegotiating:
    """Which version is asked in."""

    class Negotiated:
        def __init__(self, alpn: list[bytes]) -> None:
            self.clock = Clock()
            self.asked: list[Any] = []

            def ask(alpn: bytes | None) -> Any:
                asks = Connecting if alpn == b"h2" else Upgrading
                factory = Factory.forProtocol(Shout)
                self.asked.append(asks(Attempt(SHOUT, factory, SERVER, self.clock, 10.0, "Tests")))
                return self.asked[0]

            self.protocol = Negotiating(ask, attempt(self.clock))
            self.outcomes: list[Any] = []
            self.protocol.switched.addBoth(self.outcomes.append)
            self.wire = TLSWire(one(lambda: self.protocol), self.clock)

    def test_without_a_choice_of_the_servers_it_is_http_1_1(self) -> None:
        made = self.Negotiated([])
        assert made.wire.received.startswith(b"GET /shout?loud HTTP/1.1\r\n")
        made.wire.reset()
        assert made.outcomes[0].check(NoAnswer)

    def test_the_handshake_has_its_time(self) -> None:
        clock = Clock()
        outcomes: list[Any] = []
        protocol = Negotiating(nobody, attempt(clock))
        protocol.switched.addBoth(outcomes.append)
        wire = Wire(protocol, clock)
        clock.advance(10)
        wire.turn()
        assert outcomes[0].check(NoAnswer)
        assert wire.closed

    def test_the_handshake_may_fail(self) -> None:
        clock = Clock()
        outcomes: list[Any] = []
        protocol = Negotiating(nobody, attempt(clock))
        protocol.switched.addBoth(outcomes.append)
        Wire(protocol, clock).reset()
        assert outcomes[0].check(NoAnswer)
        assert clock.getDelayedCalls() == []

    def test_it_may_be_cancelled(self) -> None:
        clock = Clock()
        outcomes: list[Any] = []
        protocol = Negotiating(nobody, attempt(clock))
        protocol.switched.addBoth(outcomes.append)
        wire = Wire(protocol, clock)
        protocol.switched.cancel()
        wire.turn()
        assert outcomes[0].check(ConnectingCancelledError)
        assert wire.closed


@implementer(IStreamClientEndpoint)
class Fixed:
    """An endpoint that comes to nothing but what it is told to."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome
        self.factories: list[Any] = []

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        self.factories.append(protocolFactory)
        return fail(self.outcome) if isinstance(self.outcome, Exception) else succeed(self.outcome)


class Done:
    def __init__(self, outcome: Any) -> None:
        self.switched: Deferred[Any] = fail(outcome) if isinstance(outcome, Exception) else succeed(outcome)


class TestEndpoint:
    def connect(self, ask: Ask, first: Any, second: Any) -> tuple[Any, Fixed, Fixed]:
        http2, http1 = Fixed(first), Fixed(second)
        outcomes: list[Any] = []
        SwitchClientEndpoint(Clock(), http1, ask, http2=http2).connect(Factory()).addBoth(outcomes.append)
        return outcomes[0], http2, http1

    def test_of_http_2_comes_first(self) -> None:
        outcome, http2, http1 = self.connect(SHOUT, Done("protocol"), None)
        assert (outcome, len(http2.factories), http1.factories) == ("protocol", 1, [])

    def test_of_http_1_1_is_tried_where_streams_are_not_switched(self) -> None:
        outcome, _, http1 = self.connect(SHOUT, Done(NoTunnel("not here")), Done("protocol"))
        assert (outcome, len(http1.factories)) == ("protocol", 1)

    def test_of_http_1_1_is_the_only_one_once_streams_were_not_switched(self) -> None:
        http2, http1 = Fixed(Done(NoTunnel("not here"))), Fixed(Done("protocol"))
        endpoint = SwitchClientEndpoint(Clock(), http1, SHOUT, http2=http2)
        for _ in range(3):
            endpoint.connect(Factory())
        assert (len(http2.factories), len(http1.factories)) == (1, 3)

    def test_of_http_2_comes_first_again_where_there_was_no_answer(self) -> None:
        http2, http1 = Fixed(Done(NoAnswer("gone"))), Fixed(None)
        endpoint = SwitchClientEndpoint(Clock(), http1, SHOUT, http2=http2)
        for _ in range(2):
            endpoint.connect(Factory()).addErrback(lambda failure: failure.trap(NoAnswer))
        assert (len(http2.factories), len(http1.factories)) == (2, 0)

    @pytest.mark.parametrize("error", [NoAnswer("gone"), Refused(403, "", (), b""), ConnectionLost()])
    def test_of_http_1_1_is_not_tried_where_there_is_an_answer_or_no_server(self, error: Exception) -> None:
        for first in (Done(error), error):
            outcome, _, http1 = self.connect(SHOUT, first, None)
            assert (outcome.value, http1.factories) == (error, [])

    @pytest.mark.parametrize("ask", [Ask(b"a", b"b", method=b"POST"), Ask(b"a", b"b", body=b"c")])
    def test_of_http_1_1_is_the_one_for_what_extended_connect_has_not(self, ask: Ask) -> None:
        outcome, http2, _ = self.connect(ask, None, Done("protocol"))
        assert (outcome, http2.factories) == ("protocol", [])
