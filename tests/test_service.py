"""Start and drain, with the clock in hand."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from switchd import config, events
from switchd.draining import FIRST_SECONDS, dismiss, drain
from switchd.engine import PREFACE
from switchd.events import Drained, Draining, Ended
from switchd.factory import Assembly, assemble
from switchd.interfaces import Accept, IDrain
from switchd.listeners import Prepared
from switchd.negotiation import Entry
from switchd.routes import Routes
from switchd.service import StartUpError, SwitchService
from switchd.testing import Wire
from switchd.transports.connections import Connection
from tests.serving import HEAD, PLAIN, SWITCH, SWITCHED, Accepts, Says, Shout, Site, statuses
from tests.test_sockets import Client
from tests.wires import with_reactor


@implementer(IDrain)
class Polite(Shout):
    """Says goodbye, at once or when `done` fires."""

    done: Deferred[None] | None = None

    def drain(self, seconds: float) -> Any:
        self.transport.write(b"bye in %d" % seconds)
        return self.done


class Slow(Resource):
    isLeaf = True

    def render(self, request: Any) -> int:
        self.request = request
        return NOT_DONE_YET


def drained(site: Site, seconds: float = 10) -> list[None]:
    """Begin to drain; the list gets an element when that is over."""
    over: list[None] = []
    drain(site.factory, seconds, site.clock).addCallback(over.append)
    return over


class TestDrain:
    def test_of_nothing_is_over_at_once(self) -> None:
        site = Site()
        assert drained(site) == [None]
        assert site.clock.getDelayedCalls() == []

    def test_closes_an_idle_http_connection(self) -> None:
        site = Site()
        wires = [site.connect(), site.connect()]
        wires[0].send(PLAIN)
        over = drained(site)
        wires[0].turn()
        assert [wire.closed for wire in wires] == [True, False]
        site.clock.advance(FIRST_SECONDS)
        wires[1].turn()
        assert wires[1].closed
        assert over == [None]
        assert site.clock.getDelayedCalls() == []

    def test_serves_who_has_just_come(self) -> None:
        switch = Accepts()
        site = Site([Entry("/shout", "shout", (b"shout",), switch), Entry("/", "h2c", (b"h2c",), Accepts())])
        asks, switches_, speaks_http2 = wires = [site.connect() for _ in range(3)]
        over = drained(site)
        asks.send(PLAIN)
        switches_.send(SWITCH)
        speaks_http2.send(PREFACE)
        site.clock.advance(FIRST_SECONDS)
        assert statuses(asks.received) == [200]
        assert b"Connection: close\r\n" in asks.received
        assert statuses(switches_.received) == [503]
        assert switch.asked == []
        assert b"\0\0\x08\x07\0\0\0\0\0" in speaks_http2.received, "a GOAWAY"
        for wire in wires:
            wire.half_close()
        assert over == [None]
        assert site.told(Drained) == [Drained(seconds=FIRST_SECONDS, answered=2, farewell=1)]

    def test_closes_a_connection_that_lingers_behind_its_last_answer(self) -> None:
        site = Site()
        wires = [site.connect(), site.connect()]
        wires[0].send(b"GET / HTTP/1.0\r\n\r\n")
        wires[1].send(b"BAD\r\n\r\n")
        over = drained(site)
        wires[0].turn()
        assert all(wire.closed for wire in wires)
        assert over == [None]
        assert site.clock.getDelayedCalls() == []

    def test_lets_a_request_finish_and_reads_no_other(self) -> None:
        slow = Slow()
        site = Site(root=slow)
        wire = site.connect()
        wire.send(PLAIN)
        over = drained(site)
        wire.send(PLAIN)
        assert over == []
        slow.request.setHeader(b"content-length", b"0")
        slow.request.finish()
        wire.turn()
        wire.half_close()
        assert statuses(wire.received) == [200]
        assert b"Connection: close" in wire.received
        assert over == [None]

    def test_lets_an_answer_that_has_begun_finish(self) -> None:
        slow = Slow()
        site = Site(root=slow)
        wire = site.connect()
        wire.send(PLAIN)
        slow.request.write(b"begun")
        over = drained(site)
        slow.request.write(b"done")
        slow.request.finish()
        wire.turn()
        wire.half_close()
        assert b"begun" in wire.received
        assert wire.received.endswith(b"done\r\n0\r\n\r\n")
        assert over == [None]

    def test_closes_a_switched_connection_when_what_it_wrote_is_sent(self) -> None:
        switch = Accepts()
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.stop_reading()
        wire.send(SWITCH + b"hello")
        over = drained(site)
        assert over == []
        wire.resume_reading()
        assert wire.received == SWITCHED + b"HELLO"
        assert over == [None]
        assert (site.told(Ended)[0].by, site.told(Ended)[0].why) == ("server", "shutdown")

    def test_lets_a_protocol_say_goodbye(self) -> None:
        site = Site({"/shout": Accepts(Polite)})
        wire = site.connect()
        wire.send(SWITCH)
        over = drained(site)
        wire.turn()
        assert wire.received == SWITCHED + b"bye in 10"
        assert (wire.closed, over) == (True, [None])

    def test_waits_for_its_goodbye(self) -> None:
        switch = Accepts(Polite)
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH)
        switch.built[0].done = Deferred()
        over = drained(site)
        wire.clock.advance(9)
        wire.send(b"one more")
        assert wire.received == SWITCHED + b"bye in 10ONE MORE"
        switch.built[0].done.callback(None)
        wire.turn()
        assert (wire.closed, over) == (True, [None])

    def test_waits_so_long_and_no_longer(self) -> None:
        switch = Accepts(Polite)
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH)
        switch.built[0].done = Deferred()
        over = drained(site)
        wire.clock.advance(10)
        wire.turn()
        assert (wire.closed, over) == (True, [None])
        assert site.told(Ended)[0].why == "aborted"

    def test_takes_a_coroutine_for_a_goodbye(self) -> None:
        class Coroutine(Polite):
            async def drain(self, seconds: float) -> None:
                self.transport.write(b"bye")

        site = Site({"/shout": Accepts(Coroutine)})
        wire = site.connect()
        wire.send(SWITCH)
        over = drained(site)
        wire.turn()
        assert wire.received == SWITCHED + b"bye"
        assert over == [None]

    def test_closes_a_protocol_whose_goodbye_fails(self, logged: list[Any]) -> None:
        class Rude(Polite):
            def drain(self, seconds: float) -> Any:
                raise ZeroDivisionError

        site = Site({"/shout": Accepts(Rude)})
        wire = site.connect()
        wire.send(SWITCH)
        over = drained(site)
        wire.turn()
        assert (wire.closed, over) == (True, [None])
        assert logged == [ZeroDivisionError]

    def test_answers_503_instead_of_waiting_for_a_decision(self) -> None:
        switch = Accepts(late=True)
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH)
        over = drained(site)
        wire.turn()
        wire.half_close()
        assert statuses(wire.received) == [503]
        assert (switch.cancelled, switch.built) == (1, [])
        assert over == [None]

    def test_does_not_wait_for_a_producer_that_never_ends(self) -> None:
        class Paused(Shout):
            def connectionMade(self) -> None:
                self.transport.registerProducer(self.transport, True)

        site = Site({"/shout": Accepts(Paused)})
        wire = site.connect()
        wire.send(SWITCH)
        over = drained(site)
        wire.turn()
        assert over == [None]


class TestEndings:
    def test_are_counted_by_their_way(self) -> None:
        slow = Slow()
        polite = Accepts(Polite)
        site = Site({"/shout": polite}, root=slow)
        idle, busy, *switched = (site.connect() for _ in range(5))
        busy.send(PLAIN)
        for wire in switched:
            wire.send(SWITCH)
        ends, vanishes, stays = polite.built
        vanishes.done, stays.done = Deferred(), Deferred()
        over = drained(site)
        slow.request.finish()
        idle.turn()
        busy.half_close()
        switched[1].reset()
        assert over == []
        site.clock.advance(FIRST_SECONDS)
        idle.turn()
        site.clock.advance(10 - FIRST_SECONDS)
        assert over == [None]
        assert site.told(Draining) == [Draining(5, 3, 10)]
        assert site.told(Drained) == [Drained(seconds=10, idle=1, answered=1, farewell=1, cut=1, lost=1)]

    def test_of_who_has_asked_for_nothing_and_leaves_is_idle(self) -> None:
        site = Site()
        silent, asks = site.connect(), site.connect()
        drained(site)
        silent.half_close()
        asks.send(PLAIN)
        asks.half_close()
        assert silent.closed
        site.clock.advance(FIRST_SECONDS)
        assert site.told(Drained) == [Drained(seconds=0, idle=1, answered=1)]

    def test_of_nothing_are_none(self) -> None:
        site = Site()
        drained(site)
        assert site.told(Drained) == [Drained(seconds=0)]


class TestTime:
    def test_each_switch_may_have_less_than_there_is(self) -> None:
        brief, long = Accepts(Polite), Accepts(Polite)
        site = Site(
            [Entry("/shout", "a", (b"shout",), brief, drain_seconds=2.0), Entry("/long", "b", (b"shout",), long)]
        )
        wires = [site.connect(), site.connect()]
        wires[0].send(SWITCH)
        wires[1].send(SWITCH.replace(b"/shout", b"/long"))
        for switch in (brief, long):
            switch.built[0].done = Deferred()
        over = drained(site)
        site.clock.advance(1.9)
        wires[0].turn()
        assert [wire.closed for wire in wires] == [False, False]
        assert [wire.take()[-9:] for wire in wires] == [b"\nbye in 2", b"bye in 10"]
        site.clock.advance(0.1)
        wires[0].turn()
        assert [wire.closed for wire in wires] == [True, False]
        long.built[0].done.callback(None)
        wires[1].turn()
        assert over == [None]
        assert site.told(Drained) == [Drained(seconds=2, farewell=1, cut=1)]
        assert site.clock.getDelayedCalls() == []

    def test_after_a_switch_back_to_http_it_is_that_of_http(self) -> None:
        def again(session: Any) -> Any:
            return session.resume_http()

        slow = Slow()
        back = Says(lambda request, offer: Accept(again))
        site = Site([Entry("/", "back", (b"shout",), back, drain_seconds=0.5)], root=slow)
        wire = site.connect()
        wire.send(SWITCH)
        over = drained(site)
        site.clock.advance(5)
        wire.turn()
        slow.request.write(b"at last")
        slow.request.finish()
        wire.turn()
        wire.half_close()
        assert b"at last" in wire.received
        assert over == [None]


class TestDismissal:
    def test_who_has_asked_for_nothing_yet_is_served_and_leaves(self) -> None:
        site = Site([Entry("/", "h2c", (b"h2c",), Accepts())])
        speaks_http1, speaks_http2 = site.connect(), site.connect()
        dismiss(site.factory.connections)
        speaks_http1.send(PLAIN + PLAIN)
        speaks_http1.half_close()
        assert statuses(speaks_http1.received) == [200]
        assert speaks_http1.closed
        speaks_http2.send(PREFACE)
        assert b"\0\0\x08\x07\0\0\0\0\0" in speaks_http2.received, "a GOAWAY"

    def test_what_switches_back_to_http_leaves_too(self) -> None:
        back = Says(lambda request, offer: Accept(lambda session: session.resume_http()))
        site = Site({"/shout": back})
        wire = site.connect()
        dismiss(site.factory.connections)
        wire.send(SWITCH + PLAIN)
        wire.half_close()
        assert wire.received.count(b"HTTP/1.1 ") == 2
        assert b"Connection: close\r\n" in wire.received
        assert wire.closed


class TestMeanwhile:
    def test_a_request_whose_body_is_under_way_is_answered_and_is_the_last(self) -> None:
        site = Site()
        wire = site.connect()
        wire.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        over = drained(site)
        wire.send(b"llo" + PLAIN)
        wire.half_close()
        assert statuses(wire.received) == [200]
        assert b"Connection: close\r\n" in wire.received
        assert wire.received.endswith(b"POST / hello")
        assert over == [None]

    def test_a_request_whose_head_is_under_way_is_none_yet(self) -> None:
        site = Site()
        wire = site.connect()
        wire.send(PLAIN[:-2])
        over = drained(site)
        wire.turn()
        assert (wire.received, over) == (b"", [None])

    def test_nobody_is_asked_for_a_switch(self) -> None:
        switch = Accepts()
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH[:-2] + b"Content-Length: 1\r\n\r\n")
        over = drained(site)
        wire.send(b"1")
        wire.half_close()
        assert statuses(wire.received) == [503]
        assert (switch.asked, over) == ([], [None])


def service(*endpoints: str, text: str = "") -> SwitchService:
    """A service that listens on `endpoints`."""
    return SwitchService(assemble(*config.parse(text, "test.toml", Path(), endpoints), reactor), reactor)


class TestStart:
    @with_reactor
    async def test_listens_on_every_endpoint_until_it_is_stopped(self, tmp_path: Path) -> None:
        both = service("tcp:0:interface=127.0.0.1", f"unix:{tmp_path}/s")
        both.privilegedStartService()
        both.startService()
        host: Any = both.ports[0].getHost()
        port = host.port
        assert len(both.ports) == 2
        client = await _connected(port)
        client.transport.write(HEAD % b"/" + b"\r\n")
        await client.until(lambda: client.received.startswith(b"HTTP/1.1 404"))
        await both.stopService()
        await client.until(lambda: client.closed)
        await (
            TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
            .listen(both.factory)
            .addCallback(lambda again: again.stopListening())
        )

    @with_reactor
    async def test_warns_of_tls_that_is_left_out(self, told: list[events.Event]) -> None:
        """Who takes a file that has it, and says --listen, serves in clear."""
        tls = '[listen.tls]\ncertificate = "no.pem"\n'
        text = f'[[listen]]\nendpoint = "tcp:1"\n[[listen]]\nendpoint = "tcp:2"\n{tls}'
        one = service("tcp:0:interface=127.0.0.1", text=text)
        one.privilegedStartService()
        await one.stopService()
        assert told[0] == events.LeftOut("listen[1].tls")
        assert isinstance(told[1], events.Listening)
        assert not [event for event in told[1:] if isinstance(event, events.LeftOut)]

    @with_reactor
    async def test_the_connections_are_ours(self) -> None:
        one = service("tcp:0:interface=127.0.0.1")
        one.privilegedStartService()
        host: Any = one.ports[0].getHost()
        client = await _connected(host.port)
        client.transport.write(HEAD % b"/" + b"\r\n")
        await client.until(lambda: client.received.startswith(b"HTTP/1.1 404"))
        (connection,) = one.factory.connections
        assert isinstance(connection.transport, Connection)
        await one.stopService()

    # Twisted leaves the socket that it could not bind to the garbage collector.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @with_reactor
    async def test_ends_with_one_sentence_if_an_address_is_taken(self, capfd: pytest.CaptureFixture[str]) -> None:
        first = service("tcp:0:interface=127.0.0.1")
        first.privilegedStartService()
        host: Any = first.ports[0].getHost()
        endpoint = f"tcp:{host.port}:interface=127.0.0.1"
        second = service(endpoint)
        with pytest.raises(StartUpError) as raised:
            second.privilegedStartService()
        assert raised.value.code == 1
        assert str(raised.value) == f"switchd: cannot listen on {endpoint}: Address already in use"
        assert f"{raised.value}\n" in capfd.readouterr().err
        await first.stopService()
        del raised, second
        gc.collect()

    @with_reactor
    async def test_ends_with_one_sentence_if_the_access_log_cannot_be_opened(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """As whoever it serves as, who may have fewer rights than who opens the ports."""
        name = tmp_path / ("x" * 256)
        made = service("tcp:0:interface=127.0.0.1", text=f'server.access_log = "{name}"')
        made.privilegedStartService()
        with pytest.raises(StartUpError) as raised:
            made.startService()
        assert str(raised.value) == "switchd: the access log cannot be opened: File name too long"
        assert f"{raised.value}\n" in capfd.readouterr().err
        await made.stopService()

    @pytest.mark.parametrize("endpoint", ["systemd:domain=INET:index=7", "systemd:domain=INET:name=web"])
    def test_a_socket_that_systemd_has_not_passed_is_no_mistake_until_the_start(self, endpoint: str) -> None:
        made = service(endpoint)
        with pytest.raises(StartUpError, match="systemd has passed no such socket to this process"):
            made.privilegedStartService()

    def test_an_endpoint_that_fails_later_stops_the_server(self, capfd: pytest.CaptureFixture[str]) -> None:
        class Reactor(Clock):
            stopped = 0

            def stop(self) -> None:
                self.stopped += 1

        @implementer(IStreamServerEndpoint)
        class Late:
            def __init__(self) -> None:
                self.listening: Deferred[Any] = Deferred()

            def listen(self, protocolFactory: Any) -> Deferred[Any]:
                return self.listening

        clock, late = Reactor(), Late()
        configuration, _ = config.parse("", "test.toml", Path(), ["late:1"])
        made = SwitchService(Assembly(configuration, Routes((), ()), (Prepared(configuration.listen[0], late),)), clock)
        made.privilegedStartService()
        made.startService()
        late.listening.errback(OSError("gone"))
        assert clock.stopped == 1
        assert "switchd: cannot listen on late:1: gone\n" in capfd.readouterr().err


async def _connected(port: int) -> Client:
    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

    client: Client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())
    return client


def test_a_wire_that_was_taken_from_http_by_a_resource_is_closed_too() -> None:
    class Takes(Resource):
        isLeaf = True

        def render(self, request: Any) -> int:
            # As autobahn's WebSocketResource does it.
            transport, request.channel.transport = request.channel.transport, None
            transport.protocol = Shout()
            transport.protocol.makeConnection(transport)
            return NOT_DONE_YET

    site = Site(root=Takes())
    wire: Wire = site.connect()
    wire.send(PLAIN)
    wire.send(b"hello")
    assert wire.received == b"HELLO"
    over = drained(site)
    wire.turn()
    assert (wire.closed, over) == (True, [None])
