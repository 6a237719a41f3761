"""The switch, without HTTP: an old protocol hands its transport to a new one, on every kind of transport."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.protocols.portforward import ProxyServer
from twisted.protocols.tls import BufferingTLSTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.errors import HandoverError
from switchd.handover import CLOSE_SECONDS, before_lost, bottom, handover, occupant, pass_half_close, when_lost
from switchd.testing import Wire, cuts
from tests.wires import CLEAR, KINDS, STREAMS, Kind, TLSWire, TunnelWire, delayed, is_paused, one


class Old(Protocol):
    """Hands over at the first "!"; what follows is early bytes."""

    transport: Any

    def __init__(self, new: Callable[[], Any]) -> None:
        self.new = new
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        before, mark, early = data.partition(b"!")
        if mark:
            self.transport.write(b"[switch]")
            handover(self.transport, self.new(), early)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost.append(reason)


class New(Protocol):
    """Shouts back, and keeps a transcript of what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.reasons: list[Failure] = []

    def connectionMade(self) -> None:
        self.told.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)
        self.transport.write(data.upper())

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.told.append("lost")
        self.reasons.append(reason)

    @property
    def input(self) -> bytes:
        return b"".join(item for item in self.told if isinstance(item, bytes))


@implementer(IHalfCloseableProtocol)
class HalfCloseable(New):
    def readConnectionLost(self) -> None:
        self.told.append("eof")
        self.transport.write(b"[bye]")

    def writeConnectionLost(self) -> None:
        self.told.append("write eof")


def itself(value: Any) -> Any:
    return value


IN_CLEAR = {**CLEAR, "tunnel": TunnelWire}
every_kind = pytest.mark.parametrize("kind", STREAMS.values(), ids=STREAMS)
clear_kind = pytest.mark.parametrize("kind", IN_CLEAR.values(), ids=IN_CLEAR)


@every_kind
def test_the_new_protocol_gets_the_early_bytes_and_then_the_rest_however_they_are_cut(kind: Kind) -> None:
    for segments in cuts(b"!early"):
        new = New()
        wire = kind(one(partial(Old, partial(itself, new))))
        for segment in segments:
            wire.send(segment)
        wire.send(b" late")
        assert new.told[0] == "made"
        assert new.input == b"early late"
        assert wire.received == b"[switch]EARLY LATE"


@every_kind
def test_connection_lost_comes_once_and_to_the_new_protocol_only(kind: Kind) -> None:
    new = New()
    lost: list[Failure] = []
    old = Old(lambda: new)
    wire = kind(one(lambda: old))
    when_lost(old.transport, lost.append)
    wire.send(b"!")
    wire.reset()
    assert new.told == ["made", "lost"]
    assert old.lost == []
    assert len(lost) == 1
    assert new.reasons[0].check(ConnectionLost)


@every_kind
def test_before_a_connection_is_lost_it_can_be_looked_at(kind: Kind) -> None:
    told: list[str] = []
    old = Old(New)
    wire = kind(one(lambda: old))
    carrier = bottom(old.transport)
    before_lost(carrier, lambda closing: told.append(f"before {closing is carrier} {wire.transport.protocol is None}"))
    when_lost(old.transport, lambda reason: told.append("lost"))
    wire.send(b"!")
    wire.reset()
    assert told == ["before True False", "lost"]


def test_it_leaves_nothing_on_the_transport() -> None:
    told: list[str] = []
    old = Old(New)
    wire = Wire(one(lambda: old))
    when_lost(wire.transport, lambda reason: told.append("lost"))
    before_lost(wire.transport, lambda closing: told.append("first"))
    before_lost(wire.transport, lambda closing: told.append("second"))
    wire.reset()
    assert told == ["second", "first", "lost"]
    assert "connectionLost" not in vars(wire.transport)


def test_everybody_who_wants_to_know_is_told_when_the_connection_is_lost() -> None:
    told: list[str] = []
    old = Old(New)
    wire = Wire(one(lambda: old))
    when_lost(old.transport, lambda reason: told.append("first"))
    wire.send(b"!")
    when_lost(wire.transport, lambda reason: told.append("second"))
    wire.reset()
    assert told == ["first", "second"]
    assert "connectionLost" not in vars(wire.transport)


def test_who_has_kept_the_hook_and_calls_it_twice_tells_nobody_twice() -> None:
    """As Twisted's `abortConnection` does, which has it called in the next turn whatever comes before."""
    told: list[Failure] = []
    old = Old(New)
    wire = Wire(one(lambda: old))
    when_lost(old.transport, told.append)
    kept = wire.transport.connectionLost
    aborted, done = Failure(ConnectionAborted()), Failure(ConnectionDone())
    kept(aborted)
    kept(done)
    assert told == [aborted]
    assert old.lost == [aborted]


@every_kind
def test_early_bytes_wait_while_the_protocol_has_paused_its_transport(kind: Kind) -> None:
    class Pausing(New):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.pauseProducing()

    new = Pausing()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    wire.send(b" late")
    assert new.told == ["made"]
    new.transport.resumeProducing()
    assert new.told == ["made"], "never inside resumeProducing"
    wire.turn()
    assert new.input == b"early late"
    new.transport.pauseProducing()
    new.transport.resumeProducing()
    wire.send(b"!")
    assert new.input == b"early late!"


@every_kind
def test_early_bytes_are_dropped_if_the_protocol_closes_its_connection(kind: Kind) -> None:
    class Closing(New):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.write(b"[no]")
            self.transport.loseConnection()

    new = Closing()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    if isinstance(wire, TLSWire):
        wire.close_notify()
    assert new.told == ["made", "lost"]
    assert wire.received == b"[switch][no]"
    assert wire.closed


@every_kind
def test_a_protocol_that_aborts_while_it_is_connected_gets_no_early_bytes(kind: Kind) -> None:
    class Aborting(New):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.abortConnection()

    new = Aborting()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    wire.turn()
    assert new.told == ["made", "lost"]


@every_kind
@pytest.mark.parametrize("where", ["makeConnection", "dataReceived"])
def test_an_exception_closes_the_connection_and_is_the_reason_that_the_protocol_gets(
    kind: Kind, where: str, logged: list[type[BaseException]]
) -> None:
    class Failing(New):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.registerProducer(self, True)
            if where == "makeConnection":
                raise ZeroDivisionError

        def dataReceived(self, data: bytes) -> None:
            raise ZeroDivisionError

        def stopProducing(self) -> None: ...

    new = Failing()
    lost: list[Failure] = []
    old = Old(lambda: new)
    wire = kind(one(lambda: old))
    when_lost(old.transport, lost.append)
    wire.send(b"!early")
    wire.send(b"more")
    wire.clock.advance(CLOSE_SECONDS)
    wire.turn()
    assert wire.received == b"[switch]", "what was written before is sent"
    assert wire.closed
    assert new.told == ["made", "lost"]
    assert new.reasons[0].check(ZeroDivisionError)
    assert lost[0].check(ZeroDivisionError)
    assert logged == [ZeroDivisionError]
    assert delayed(wire) == []


@clear_kind
def test_a_client_that_half_closes_behind_its_early_bytes_is_answered(kind: Kind) -> None:
    new = New()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.half_close(b"!early")
    assert wire.received == b"[switch]EARLY"
    assert new.told == ["made", b"early", "lost"]
    assert new.reasons[0].check(ConnectionDone)


@pytest.mark.parametrize("kind", [KINDS["tls"], KINDS["haproxy over tls"]], ids=["tls", "haproxy over tls"])
def test_in_tls_what_was_written_before_the_end_of_input_is_sent(kind: Kind) -> None:
    new = New()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    wire.half_close()
    assert wire.received == b"[switch]EARLY"
    assert new.told == ["made", b"early", "lost"]


@every_kind
def test_a_protocol_that_makes_its_transport_its_own_producer_still_ends_with_its_input(kind: Kind) -> None:
    """The idiom by which a client that does not read is not read from either; ADDONE uses it."""

    class Echo(New):
        def connectionMade(self) -> None:
            self.transport.registerProducer(self.transport, True)

    new = Echo()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.stop_reading()
    wire.send(b"!" + b"x" * 200_000)
    assert is_paused(wire)
    wire.resume_reading()
    wire.half_close()
    assert wire.received == b"[switch]" + b"X" * 200_000
    assert new.told[-1] == "lost"


@clear_kind
def test_what_a_pull_producer_still_has_is_sent_before_the_close(kind: Kind) -> None:
    class Pulled(New):
        def connectionMade(self) -> None:
            self.left = 3
            self.transport.registerProducer(self, False)

        def resumeProducing(self) -> None:
            if self.left:
                self.left -= 1
                self.transport.write(b"part ")
            else:
                self.transport.unregisterProducer()

        def stopProducing(self) -> None: ...

    wire = kind(one(lambda: Old(Pulled)))
    wire.half_close(b"!")
    assert wire.received == b"[switch]part part part "
    assert wire.closed


@pytest.mark.parametrize("kind", [KINDS["tls"], KINDS["haproxy over tls"]], ids=["tls", "haproxy over tls"])
def test_in_tls_what_was_written_before_the_client_took_leave_is_sent(kind: Any) -> None:
    new = New()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send_and_take_leave(b"!early")
    assert wire.received == b"[switch]EARLY"
    assert new.told == ["made", b"early", "lost"]


def test_what_handover_uses_of_twisteds_tls_is_there() -> None:
    """Private names: when a new Twisted changes them, this says so first."""
    wire = TLSWire(one(New))
    session: Any = wire.transport.protocol
    assert isinstance(session, BufferingTLSTransport)
    assert callable(session._shutdownTLS)
    assert callable(session._aggregator.flush)


@clear_kind
def test_a_half_closeable_protocol_is_told_also_behind_wrappers(kind: Kind) -> None:
    new = HalfCloseable()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    wire.half_close()
    assert new.told == ["made", b"early", "eof"]
    assert not wire.closed
    new.transport.resumeProducing()
    wire.turn()
    assert new.told == ["made", b"early", "eof"], "once, although the end of input is read again"
    new.transport.loseConnection()
    wire.turn()
    assert wire.received == b"[switch]EARLY[bye]"
    assert new.told[-1] == "lost"


@clear_kind
@pytest.mark.parametrize("new_class", [New, HalfCloseable])
def test_an_end_of_input_that_came_before_the_switch_is_told_after_the_early_bytes(kind: Kind, new_class: Any) -> None:
    class Late(Old):
        def dataReceived(self, data: bytes) -> None:
            self.early = data

        def readConnectionLost(self) -> None:
            pass

        def writeConnectionLost(self) -> None:
            pass

    new = new_class()
    old = implementer(IHalfCloseableProtocol)(Late)(lambda: new)
    wire = kind(one(lambda: old))
    pass_half_close(old.transport)
    wire.send(b"early")
    wire.half_close()
    assert not wire.closed
    handover(old.transport, new, old.early)
    wire.turn()
    if isinstance(new, HalfCloseable):
        assert new.told == ["made", b"early", "eof"]
    else:
        assert new.told == ["made", b"early", "lost"]
    assert wire.received.startswith(b"EARLY")


def test_an_end_of_input_that_comes_while_early_bytes_are_held_is_told_after_them() -> None:
    """No transport of Twisted's own does that while it is paused; others may."""

    class Pausing(HalfCloseable):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.pauseProducing()
            self.transport.loseWriteConnection()

    new = Pausing()
    wire = Wire(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    assert new.told == ["made", "write eof"]
    wire.transport.readConnectionLost(Failure(ConnectionDone()))
    assert new.told == ["made", "write eof"]
    new.transport.resumeProducing()
    wire.turn()
    assert new.told == ["made", "write eof", b"early", "eof"]


def test_a_protocol_that_fails_at_an_end_of_input_that_came_before_it_loses_its_connection(
    logged: list[type[BaseException]],
) -> None:
    class Failing(HalfCloseable):
        def readConnectionLost(self) -> None:
            raise ZeroDivisionError

    new = Failing()
    wire = Wire(one(lambda: Old(lambda: new)))
    wire.transport.protocol.dataReceived = lambda data: handover(wire.transport, new, data, eof=True)
    wire.send(b"early")
    assert new.told == ["made", b"early", "lost"]
    assert new.reasons[0].check(ZeroDivisionError)
    assert logged == [ZeroDivisionError]
    wire.clock.advance(CLOSE_SECONDS)
    assert wire.clock.getDelayedCalls() == []


def test_a_protocol_that_fails_at_the_end_of_its_input_loses_its_connection(logged: list[type[BaseException]]) -> None:
    class Failing(HalfCloseable):
        def readConnectionLost(self) -> None:
            raise ZeroDivisionError

    new = Failing()
    wire = Wire(one(lambda: Old(lambda: new)))
    wire.send(b"!")
    wire.half_close()
    assert wire.closed
    assert new.reasons[0].check(ZeroDivisionError)
    assert logged == [ZeroDivisionError]


@every_kind
def test_a_protocol_may_hand_the_transport_on_with_what_it_has_not_used(kind: Kind) -> None:
    last = New()
    wire = kind(one(lambda: Old(lambda: Old(lambda: last))))
    wire.send(b"!!early")
    wire.send(b" late")
    assert last.input == b"early late"
    assert wire.received == b"[switch][switch]EARLY LATE"
    assert occupant(last.transport) is last


@every_kind
def test_a_protocol_may_hand_the_transport_on_while_it_is_connected(kind: Kind) -> None:
    class Passing(New):
        def connectionMade(self) -> None:
            handover(self.transport, last, b"<")

    last = New()
    wire = kind(one(lambda: Old(Passing)))
    wire.send(b"!early")
    wire.send(b" late")
    assert last.input == b"<early late"
    wire.reset()
    assert last.told[-1] == "lost"


@every_kind
def test_a_protocol_that_fails_after_it_has_handed_the_transport_on_takes_its_successor_down(
    kind: Kind, logged: list[type[BaseException]]
) -> None:
    class Failing(New):
        def dataReceived(self, data: bytes) -> None:
            handover(self.transport, last, data)
            raise ZeroDivisionError

    last = New()
    failing = Failing()
    wire = kind(one(lambda: Old(lambda: failing)))
    wire.send(b"!early")
    wire.clock.advance(CLOSE_SECONDS)
    wire.turn()
    assert failing.told == ["made"]
    assert last.told == ["made", b"early", "lost"]
    assert logged == [ZeroDivisionError]
    assert wire.closed


@every_kind
def test_a_connection_that_is_lost_as_its_protocol_resumes_gets_no_early_bytes(
    kind: Kind, logged: list[type[BaseException]]
) -> None:
    class Pausing(New):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.pauseProducing()

    new = Pausing()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.send(b"!early")
    new.transport.resumeProducing()
    wire.reset()
    assert new.told == ["made", "lost"]
    assert logged == []


@every_kind
def test_a_producer_of_the_new_protocol_is_paused_and_resumed_by_the_transport(kind: Kind) -> None:
    class Producing(New):
        def connectionMade(self) -> None:
            self.transport.registerProducer(self, True)
            self.transport.write(b"x" * 100_000)

        def pauseProducing(self) -> None:
            self.told.append("pause")

        def resumeProducing(self) -> None:
            self.told.append("resume")

        def stopProducing(self) -> None:
            self.told.append("stop")

    new = Producing()
    wire = kind(one(lambda: Old(lambda: new)))
    wire.stop_reading()
    wire.send(b"!")
    assert "pause" in new.told
    assert "resume" not in new.told
    wire.resume_reading()
    assert new.told[-1] == "resume"
    assert len(wire.received) == len(b"[switch]") + 100_000


@every_kind
def test_reading_that_the_old_protocol_had_paused_goes_on(kind: Kind) -> None:
    class Paused(Old):
        def dataReceived(self, data: bytes) -> None:
            self.transport.pauseProducing()
            handover(self.transport, self.new())

    new = New()
    wire = kind(one(lambda: Paused(lambda: new)))
    wire.send(b"!")
    wire.send(b"late")
    assert new.input == b"late"


@every_kind
def test_nothing_is_left_of_old_protocol_new_protocol_and_transport(kind: Kind) -> None:
    olds: list[weakref.ref[Old]] = []
    news: list[weakref.ref[New]] = []

    def build_new() -> New:
        new = New()
        news.append(weakref.ref(new))
        return new

    class Watched(Old):
        def connectionMade(self) -> None:
            olds.append(weakref.ref(self))
            when_lost(self.transport, lambda reason: None)

    wire = kind(one(lambda: Watched(build_new)))
    wire.send(b"!early")
    gc.collect()
    assert olds[0]() is None, "the old protocol is free as soon as it has handed over"
    assert news[0]() is not None
    wire.reset()
    assert wire.clock.getDelayedCalls() == []
    alive: list[weakref.ref[Any]] = [*news, weakref.ref(wire.transport)]
    del wire
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


def test_a_proxy_that_pauses_until_it_is_connected_gets_the_early_bytes_then() -> None:
    """twisted.protocols.portforward, unchanged: it pauses its transport in connectionMade."""
    connected: list[Any] = []

    class Reactor:
        def connectTCP(self, host: str, port: int, factory: Any) -> None:
            connected.append(factory)

    proxy: Any = ProxyServer()
    proxy.reactor = Reactor()
    proxy.factory = type("Target", (), {"host": "192.0.2.9", "port": 7})()
    wire = Wire(one(lambda: Old(lambda: proxy)))
    wire.send(b"!early")
    target = connected[0].buildProtocol(None)
    upstream = StringTransport()
    target.makeConnection(upstream)
    wire.turn()
    assert upstream.value() == b"early"


def test_start_tls_in_connection_made_is_not_cut_out() -> None:
    class StartsTLS(New):
        def connectionMade(self) -> None:
            # What a TCP transport's startTLS does to the slot.
            self.layer = TLSMemoryBIOFactory(server_tls(), False, one(New), wire.clock).protocol(
                TLSMemoryBIOFactory(server_tls(), False, one(New), wire.clock), self.transport.protocol, False
            )
            self.transport.protocol = self.layer
            self.transport.TLS = True

    from twisted.protocols.tls import TLSMemoryBIOFactory

    from tests.wires import server_tls

    new = StartsTLS()
    wire = Wire(one(lambda: Old(lambda: new)))
    wire.send(b"!")
    assert wire.transport.protocol is new.layer
    assert new.layer.wrappedProtocol is new
    assert occupant(wire.transport) is new


def test_a_transport_without_a_place_for_a_protocol_is_refused_untouched() -> None:
    transport, new = StringTransport(), New()
    with pytest.raises(HandoverError):
        handover(transport, new)
    assert new.told == []
    assert transport.value() == b""


def test_a_closed_transport_is_refused() -> None:
    old = Old(New)
    wire = Wire(old)
    wire.reset()
    with pytest.raises(HandoverError):
        handover(wire.transport, New())
    assert occupant(wire.transport) is None


def test_twisteds_own_in_memory_transport_can_be_switched() -> None:
    transport: Any = StringTransportWithDisconnection()
    new = New()
    transport.protocol = Old(lambda: new)
    transport.protocol.makeConnection(transport)
    transport.protocol.dataReceived(b"!early")
    assert transport.protocol is new
    assert new.told == ["made", b"early"]
    transport.loseConnection()
    assert new.told[-1] == "lost"


@every_kind
def test_who_pauses_as_it_is_connected_gets_nothing_until_it_resumes(kind: Kind) -> None:
    class Waits(New):
        def connectionMade(self) -> None:
            super().connectionMade()
            self.transport.pauseProducing()

    new = Waits()
    wire = kind(one(lambda: Old(lambda: new)))
    if isinstance(wire, TLSWire):
        wire.send_records(b"!", b"one, ", b"two")  # a session goes on with what it has read
    else:
        wire.send(b"!")
        wire.send(b"one, two")
    assert new.input == b""
    new.transport.resumeProducing()
    wire.turn()
    assert new.input == b"one, two"


def test_another_hook_that_calls_ours_is_called_once() -> None:
    new, lost, others = New(), list[Failure](), list[Failure]()
    old = Old(lambda: new)
    wire = Wire(old)
    when_lost(old.transport, lost.append)
    ours = wire.transport.connectionLost

    def another(reason: Failure) -> None:
        others.append(reason)
        ours(reason)

    vars(wire.transport)["connectionLost"] = another
    wire.send(b"!")
    wire.reset()
    assert (len(others), len(lost), len(new.reasons)) == (1, 1, 1)


class TestConnected:
    """Who wants to know when the new protocol is connected."""

    @every_kind
    @pytest.mark.parametrize("early", [b"", b"early"], ids=["nothing-early", "early"])
    def test_it_is_called_between_the_connection_and_the_first_bytes(self, kind: Kind, early: bytes) -> None:
        new, old = New(), Protocol()
        wire = kind(one(lambda: old))
        handover(old.transport, new, early, connected=lambda: new.told.append("connected"))
        wire.send(b"late")
        assert new.told[:2] == ["made", "connected"]
        assert new.input == early + b"late"

    def test_what_it_raises_counts_as_the_protocol_s(self, logged: list[type[BaseException]]) -> None:
        def fails() -> None:
            raise ZeroDivisionError

        new, old = New(), Protocol()
        wire = Wire(old)
        handover(old.transport, new, b"early", connected=fails)
        wire.turn()
        assert new.told == ["made", "lost"]
        assert logged == [ZeroDivisionError]
        assert wire.closed

    def test_it_is_not_called_for_a_protocol_that_has_failed(self, logged: list[type[BaseException]]) -> None:
        class Fails(New):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        new, old = Fails(), Protocol()
        wire = Wire(old)
        handover(old.transport, new, connected=lambda: new.told.append("connected"))
        wire.turn()
        assert new.told == ["lost"]
        assert logged == [ZeroDivisionError]
