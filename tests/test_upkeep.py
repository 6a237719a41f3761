"""What is looked at once a second."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from switchd import draining, events
from switchd.budgets import Bounds
from switchd.handover import handover
from switchd.interfaces import IDrain
from switchd.negotiation import Entry
from switchd.testing import Wire
from switchd.transports import tcp_info
from switchd.upkeep import MOST_LOOKS, Upkeep
from tests.http2_client import Client, end_all
from tests.http2_client import site as http2_site
from tests.serving import PLAIN, SWITCH, Accepts, Shout, Site


@implementer(IDrain)
class Polite(Shout):
    """Says goodbye."""

    def drain(self, seconds: float) -> None:
        self.transport.write(b"goodbye")


class Server:
    """One whose sockets are as idle as a test has them.

    Attributes:
        idle: For how long, by transport; the others are not.
        looks: How often one was asked.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
        self.site = site
        self.idle: dict[Any, float] = {}
        self.looks = 0
        monkeypatch.setattr(tcp_info, "idle_seconds", self._idle_seconds)
        self.upkeep = Upkeep(site.factory, site.clock)
        self.upkeep.start()

    def _idle_seconds(self, transport: Any) -> float | None:
        self.looks += 1
        return self.idle.get(transport, 0.0)

    def switched(self) -> Wire:
        wire = self.site.connect()
        wire.send(SWITCH)
        wire.take()
        return wire

    def pass_time(self, *wires: Wire, seconds: int = 1) -> None:
        for _ in range(seconds):
            self.site.clock.advance(1)
            for wire in wires:
                wire.turn()


def of_path(idle_seconds: float | None, protocol: Any = Polite) -> Entry:
    return Entry("/shout", "shout", (b"shout",), Accepts(protocol), bounds=Bounds(idle_seconds=idle_seconds))


def test_what_is_idle_is_told_goodbye_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, Site([of_path(None)], settings="[limits]\nidle_seconds = 5"))
    idle, busy = server.switched(), server.switched()
    server.idle[idle.transport] = 100
    server.pass_time(idle, busy, seconds=4)
    assert not idle.closed, "it has switched less than that ago"
    server.pass_time(idle, busy, seconds=1)
    assert idle.received == b"goodbye"
    assert (idle.closed, busy.closed) == (True, False)
    (told,) = server.site.told(events.Idled)
    assert (told.path, told.seconds) == ("/shout", 5.0)
    (ended,) = server.site.told(events.Ended)
    assert (ended.by, ended.why) == ("server", "closed")
    assert server.site.factory.endings == {}, "the server does not stop"


def test_it_is_told_so_once_and_cut_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    @implementer(IDrain)
    class Stubborn(Shout):
        def drain(self, seconds: float) -> Any:
            return Deferred()

    settings = "[limits]\nidle_seconds = 5\nshutdown_seconds = 3"
    server = Server(monkeypatch, Site([of_path(None, Stubborn)], settings=settings))
    wire = server.switched()
    server.idle[wire.transport] = 100
    server.pass_time(wire, seconds=7)
    assert not wire.closed
    server.pass_time(wire, seconds=2)
    assert wire.closed
    assert len(server.site.told(events.Idled)) == 1


@pytest.mark.parametrize(("of_server", "own", "ends"), [(0, 5, True), (5, 0, False), (5, 50, False), (50, 5, True)])
def test_a_path_has_its_own_time(monkeypatch: pytest.MonkeyPatch, of_server: int, own: int, ends: bool) -> None:
    server = Server(monkeypatch, Site([of_path(own)], settings=f"[limits]\nidle_seconds = {of_server}"))
    wire = server.switched()
    server.idle[wire.transport] = 10
    server.pass_time(wire, seconds=10)
    assert wire.closed is ends


def test_what_has_not_switched_is_no_matter_here(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, Site([of_path(1)], settings="[limits]\nidle_seconds = 1"))
    wire = server.site.connect()
    wire.send(PLAIN)
    server.idle[wire.transport] = 100
    server.pass_time(wire, seconds=10)
    assert not wire.closed
    assert server.looks == 0


def test_http_may_wait_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may take its time, in HTTP/2 too, and in HTTP that a connection has switched to; then there is
    `keepalive_seconds`."""
    site = http2_site(Waits(), settings="[limits]\nidle_seconds = 5", entries=[of_path(None)])
    server = Server(monkeypatch, site)
    client = Client(site)
    client.get()
    server.idle[client.wire.transport] = 100
    for _ in range(20):
        client.let_pass(1)
    assert not client.wire.closed
    assert client.goaways == []
    server.upkeep.stop()
    end_all()


def test_so_it_may_on_a_connection_that_was_something_else_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Back(Shout):
        def connectionMade(self) -> None:
            handover(self.transport, back.session.resume_http())

    back = Accepts(Back)
    site = Site([Entry("/shout", "shout", (b"shout",), back)], settings="[limits]\nidle_seconds = 5", root=Waits())
    server = Server(monkeypatch, site)
    wire = server.switched()
    server.idle[wire.transport] = 100
    server.pass_time(wire, seconds=20)
    assert not wire.closed


def test_it_goes_on_looking_if_a_look_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, Site([of_path(None)], settings="[limits]\nidle_seconds = 5"))
    server.switched()
    monkeypatch.setattr(tcp_info, "idle_seconds", lambda transport: 1 / 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            server.site.clock.advance(1)


@pytest.mark.parametrize("first", ["idle", "closed"])
def test_who_says_goodbye_already_is_not_asked_to_again_when_the_server_stops(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    asked: list[float] = []

    @implementer(IDrain)
    class Stubborn(Shout):
        def drain(self, seconds: float) -> Any:
            asked.append(seconds)
            return Deferred()

    settings = "[limits]\nidle_seconds = 5\nshutdown_seconds = 30"
    server = Server(monkeypatch, Site([of_path(None, Stubborn)], settings=settings))
    wire = server.switched()
    factory = server.site.factory
    if first == "idle":
        server.idle[wire.transport] = 100
        server.pass_time(wire, seconds=5)
    else:
        draining.close(factory, factory.connections, 30, server.site.clock)
    assert asked == [30]
    draining.drain(factory, 10, server.site.clock)
    assert asked == [30]
    server.pass_time(wire, seconds=10)
    assert wire.closed
    assert factory.endings == {"cut": 1}


class Waits(Resource):
    """Takes its time."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        return NOT_DONE_YET


def test_a_stream_is_as_idle_as_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    site = http2_site(entries=[of_path(5)])
    server = Server(monkeypatch, site)
    client = Client(site)
    tunnel = client.tunnel("/shout")
    for _ in range(10):
        client.let_pass(1)
    assert not tunnel.ended
    server.idle[client.wire.transport] = 5
    client.let_pass(1)
    assert tunnel.body == b"goodbye"
    assert tunnel.ended
    server.upkeep.stop()
    client.let_pass(60)  # which it might have taken
    end_all()


def test_only_so_many_are_looked_at_in_one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, Site([of_path(10_000)]))
    wires = [server.switched() for _ in range(MOST_LOOKS + 500)]
    looks = []
    for _ in range(3):
        server.site.clock.advance(1)
        looks.append(server.looks)
    assert looks == [MOST_LOOKS, MOST_LOOKS + 500, 2 * MOST_LOOKS + 500]
    for wire in wires:
        wire.reset()
    server.pass_time()
    assert server.looks == 2 * MOST_LOOKS + 500, "those who are gone meanwhile are passed over"


def test_memory_is_looked_at() -> None:
    site = Site(settings="[limits]\nmemory_bytes = 1")
    upkeep = Upkeep(site.factory, site.clock)
    upkeep.start()
    assert [told.state for told in site.told(events.MemoryPressure)] == ["full"]
    upkeep.stop()
    assert isinstance(site.clock, Clock)
    assert site.clock.getDelayedCalls() == []
