"""Budgets, as clients meet them: who is let in, what the others are answered, and when there is room again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.web.resource import Resource

from switchd import budgets, config, events
from switchd.budgets import MOST_TURNED_AWAY, Bounds
from switchd.config import Limits, Listen
from switchd.factory import Assembly, Listener, Through
from switchd.frames import CANCEL, ENHANCE_YOUR_CALM
from switchd.handover import bottom, handover
from switchd.haproxy import WrappingFactory
from switchd.interfaces import Context, Early, Refuse
from switchd.negotiation import Entry
from switchd.protocols.h2c import H2c
from switchd.routes import Routes
from switchd.testing import Wire
from switchd.transports.backlog import LOOK_SECONDS
from tests.http2_client import Client, end_all
from tests.http2_client import site as http2_site
from tests.serving import PLAIN, SWITCH, SWITCHED, Accepts, Says, Shout, Site, answers, statuses
from tests.wires import KINDS, PROXY, Kind, ProxiedTLSWire, TLSWire, client_tls

ONE_SWITCHED = "[limits]\nswitched = 1"
TWO_CONNECTIONS = "[limits]\nconnections = 2"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


def client_of(site: Site, host: str = "192.0.2.1", listener: Listener | None = None) -> Wire:
    """A client with an address, perhaps by way of a listener."""
    through: Any = site.factory if listener is None else Through(site.factory, listener)
    return Wire(through, site.clock, IPv4Address("TCP", host, 1))


def reload(site: Site, settings: str, *entries: Entry) -> None:
    """Have a server go on with another configuration."""
    parsed, mistakes = config.parse(settings, "test.toml", Path(), ["tcp:0"])
    assert mistakes == ()
    routes = Routes(entries or site.factory.entries, [("/", site.page)])
    site.factory.use(Assembly(parsed, routes, (), pressure=site.factory.admission.pressure))


def over(site: Site) -> list[tuple[str, str, str, int]]:
    """Who was turned away."""
    return [(told.scope, told.name, told.key, told.status) for told in site.told(events.OverBudget)]


class Heard:
    """A listener of all events."""

    def __init__(self, site: Site) -> None:
        self.events: list[Any] = []
        site.factory.listen(self.events.append)

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
class TestSwitches:
    def test_over_the_budget_a_request_is_answered_503_and_later_again_101(self, kind: Kind) -> None:
        site = Site({"/shout": Accepts()}, settings=ONE_SWITCHED)
        first, second = site.connect(kind), site.connect(kind)
        first.send(SWITCH)
        assert first.take() == SWITCHED
        second.send(SWITCH)
        ((status, fields, body),) = answers(second.take())
        assert (status, fields[b"retry-after"]) == (503, b"5")
        assert body == b"the server has no room for more at the moment\n"
        first.reset()
        second.send(SWITCH)
        assert second.take() == SWITCHED, "it was still there, and there is room"
        assert over(site) == [("server", "", "switched", 503)]

    def test_who_is_turned_away_speaks_http_still(self, kind: Kind) -> None:
        site = Site({"/shout": Accepts()}, settings=ONE_SWITCHED)
        site.connect(kind).send(SWITCH)
        wire = site.connect(kind)
        for _ in range(2):
            wire.send(SWITCH)
            wire.send(PLAIN)
        assert statuses(wire.received) == [503, 200, 503, 200]

    def test_bytes_that_are_meant_for_the_protocol_are_not_read_as_http(self, kind: Kind) -> None:
        site = Site({"/shout": Accepts()}, settings=ONE_SWITCHED)
        site.connect(kind).send(SWITCH)
        wire = site.connect(kind)
        wire.send(SWITCH + PLAIN)
        ((status, fields, _),) = answers(wire.received)
        assert (status, fields[b"connection"]) == (503, b"close")


class TestClients:
    """What `[peers]` says of clients' connections, whatever holds where they come in."""

    SETTINGS = """
[limits]
head_seconds = 20
[peers]
exempt = ["192.0.2.9"]
head_seconds = 2
switch_seconds = 3
drain_seconds = 1.5
early_bytes = 100
buffered_bytes = 5000
"""

    def test_holds_for_all_but_those_who_are_exempt(self) -> None:
        site = Site(settings=self.SETTINGS)
        stranger, friend = client_of(site), client_of(site, "192.0.2.9")
        for wire in (stranger, friend):
            wire.send(PLAIN[:-2])
        site.clock.advance(2)
        stranger.turn()
        assert (statuses(stranger.received), friend.received) == ([408], b"")
        friend.send(b"\r\n")
        assert statuses(friend.received) == [200]

    def test_a_connection_that_says_nothing_has_so_long(self) -> None:
        site = Site(settings=self.SETTINGS)
        stranger, friend = client_of(site), client_of(site, "192.0.2.9")
        site.clock.advance(2)
        stranger.turn()
        assert (stranger.closed, friend.closed) == (True, False)

    def test_a_decision_and_a_farewell_have_so_long(self) -> None:
        site = Site({"/shout": Accepts(late=True)}, settings=self.SETTINGS)
        wire = client_of(site)
        wire.send(SWITCH)
        site.clock.advance(3)
        assert statuses(wire.received) == [503]

    def test_what_has_switched_obeys_it_too(self) -> None:
        site = Site({"/shout": Accepts()}, settings=self.SETTINGS)
        wire = client_of(site)
        wire.send(SWITCH)
        (connection,) = site.factory.connections
        assert (connection.drain_seconds, bottom(connection.transport).buffered_bytes) == (1.5, 5000)

    def test_what_a_path_says_is_nearer(self) -> None:
        entry = Entry("/shout", "shout", (b"shout",), Accepts(), drain_seconds=4.0, bounds=Bounds(buffered_bytes=7))
        site = Site([entry], settings=self.SETTINGS)
        wire = client_of(site)
        wire.send(SWITCH)
        (connection,) = site.factory.connections
        assert (connection.drain_seconds, bottom(connection.transport).buffered_bytes) == (4.0, 7)

    def test_a_listeners_other_limits_go_on(self) -> None:
        site = Site(settings=self.SETTINGS)
        listener = Listener("tcp:1", Limits(head_bytes=100), 9.0)
        wire = client_of(site, listener=listener)
        wire.send(PLAIN[:-2] + b"X: " + b"x" * 100)
        assert statuses(wire.received) == [431]
        (connection,) = site.factory.connections
        assert (connection.listener.name, connection.listener.limits.head_seconds) == ("tcp:1", 2)

    def test_behind_haproxy_it_is_known_when_the_header_is_there(self) -> None:
        site = Site(settings=self.SETTINGS.replace("192.0.2.9", "198.51.100.7"))
        wire = Wire(WrappingFactory(Through(site.factory, site.factory.listener)), site.clock)
        wire.send(PROXY)
        (connection,) = site.factory.connections
        assert connection.listener.limits.head_seconds == 20, "who has it said of them is exempt"
        reload(site, self.SETTINGS)
        wire = Wire(WrappingFactory(Through(site.factory, site.factory.listener)), site.clock)
        wire.send(PROXY)
        assert sorted(one.listener.limits.head_seconds for one in site.factory.connections) == [2, 20]

    def test_a_reload_ends_it_for_those_who_come_then(self) -> None:
        site = Site(settings=self.SETTINGS)
        reload(site, "")
        client_of(site)
        (connection,) = site.factory.connections
        assert connection.listener is site.factory.listener

    def test_a_farewell_may_not_take_longer_than_there_is(self) -> None:
        _, mistakes = config.parse("[peers]\ndrain_seconds = 11", "test.toml", Path(), ["tcp:0"])
        assert [str(mistake.key) for mistake in mistakes] == ["peers.drain_seconds"]


class TestPending:
    """What is being decided about counts."""

    def test_it_takes_a_place_until_it_is_refused(self) -> None:
        late = Accepts(late=True)
        site = Site({"/late": late, "/shout": Accepts()}, settings=ONE_SWITCHED)
        wire, other = site.connect(), site.connect()
        wire.send(SWITCH.replace(b"/shout", b"/late"))
        other.send(SWITCH)
        assert statuses(other.take()) == [503]
        late.waiting.pop().callback(Refuse(403))
        wire.turn()
        assert statuses(wire.take()) == [403]
        other.send(SWITCH)
        assert statuses(other.take()) == [101]

    @pytest.mark.parametrize("end", ["declined", "failed", "overdue", "gone", "early", "unbuildable"])
    def test_it_has_its_place_no_longer_than_it_lasts(self, end: str) -> None:
        late = Accepts(build=lambda session: 1 / 0, late=True) if end == "unbuildable" else Accepts(late=True)
        if end == "early":
            late.accept["early"] = Early.REFUSE
        site = Site({"/late": late, "/shout": Accepts()}, settings=ONE_SWITCHED)
        wire = site.connect()
        wire.send(SWITCH.replace(b"/shout", b"/late") + (b"early" if end == "early" else b""))
        ends: dict[str, Callable[[], object]] = {
            "declined": lambda: late.waiting.pop().callback(None),
            "failed": lambda: late.waiting.pop().errback(ValueError("of the test's")),
            "overdue": lambda: site.clock.advance(10),
            "gone": wire.reset,
            "early": late.decide,
            "unbuildable": late.decide,
        }
        ends[end]()
        wire.turn()
        assert wire.received != b"" or end == "gone"
        other = site.connect()
        other.send(SWITCH)
        assert statuses(other.take()) == [101]
        another = site.connect()
        another.send(SWITCH)
        assert statuses(another.take()) == [503], "and nothing was given back twice"

    @pytest.mark.parametrize(
        ("switch", "status"),
        [
            (Says(Refuse(403)), 403),
            (Says(None), 200),
            (Accepts(build=lambda session: 1 / 0), 500),
            (Says(lambda request, offer: 1 / 0), 500),
            (Says(lambda request, offer: succeed(None)), 200),
        ],
        ids=["refused", "declined", "unbuildable", "failed", "declined late"],
    )
    def test_a_decision_that_is_there_at_once_takes_none(self, switch: Any, status: int) -> None:
        site = Site({"/no": switch, "/shout": Accepts()}, settings=ONE_SWITCHED)
        wire = site.connect()
        wire.send(SWITCH.replace(b"/shout", b"/no"))
        assert statuses(wire.take()) == [status]
        other = site.connect()
        other.send(SWITCH)
        assert statuses(other.take()) == [101]

    def test_no_plugin_is_asked_for_whom_there_is_no_room(self) -> None:
        switch = Accepts()
        site = Site({"/shout": switch}, settings=ONE_SWITCHED)
        for _ in range(3):
            site.connect().send(SWITCH)
        assert len(switch.asked) == 1


class TestPaths:
    def test_each_has_its_own_budget(self) -> None:
        entries = [
            Entry("/few", "shout", (b"shout",), Accepts(), bounds=Bounds(connections=1)),
            Entry("/many", "shout", (b"shout",), Accepts()),
        ]
        site = Site(entries)
        found = []
        for path in (b"/few", b"/few", b"/many", b"/many"):
            wire = site.connect()
            wire.send(SWITCH.replace(b"/shout", path))
            found += statuses(wire.received)
        assert found == [101, 503, 101, 101]
        assert over(site) == [("path", "/few", "connections", 503)]

    def test_handshakes_are_so_many_a_second(self) -> None:
        bounds = Bounds(handshakes_per_second=2)
        site = Site([Entry("/shout", "shout", (b"shout",), Accepts(), bounds=bounds)])
        found = []
        for _ in range(3):
            wire = site.connect()
            wire.send(SWITCH)
            found += statuses(wire.received)
        assert found == [101, 101, 503]
        assert answers(wire.take())[0][1][b"retry-after"] == b"1"
        site.clock.advance(0.5)
        wire.send(SWITCH)
        assert wire.received == SWITCHED

    def test_a_connection_that_goes_on_to_another_protocol_leaves_its_place(self) -> None:
        class Back(Shout):
            """Speaks HTTP again."""

            def connectionMade(self) -> None:
                handover(self.transport, back.session.resume_http())

        back = Accepts(Back)
        bounds = Bounds(connections=1)
        entries = [
            Entry("/back", "back", (b"shout",), back, bounds=bounds),
            Entry("/shout", "shout", (b"shout",), Accepts(), bounds=bounds),
        ]
        site = Site(entries, settings=ONE_SWITCHED)
        wire, other = site.connect(), site.connect()
        wire.send(SWITCH.replace(b"/shout", b"/back"))
        assert statuses(wire.take()) == [101]
        wire.send(SWITCH)
        assert statuses(wire.take()) == [101], "it needs no second place of the one that there is"
        reload(site, "", *entries)
        for path, status in ((b"/shout", 503), (b"/back", 101)):
            other.send(SWITCH.replace(b"/shout", path))
            assert statuses(other.take())[0] == status
        wire.reset()
        last = site.connect()
        last.send(SWITCH)
        assert statuses(last.take()) == [101]

    @pytest.mark.parametrize("bounds", [Bounds(connections=1), Bounds(handshakes_per_second=1)])
    def test_who_has_no_room_is_not_asked_and_the_next_one_is(self, bounds: Bounds) -> None:
        one, two = Accepts(), Accepts()
        entries = [
            Entry("/shout", "one", (b"shout",), one, bounds=bounds),
            Entry("/shout", "two", (b"cry",), two, bounds=bounds),
        ]
        site = Site(entries)
        both = SWITCH.replace(b"Upgrade: shout", b"Upgrade: shout, cry")
        found = []
        for _ in range(3):
            wire = site.connect()
            wire.send(both)
            found += statuses(wire.received)
        assert found == [101, 101, 503]
        assert (len(one.asked), len(two.asked)) == (1, 1)

    @pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
    def test_who_is_asked_after_another_has_room_or_is_passed_over(self, late: bool) -> None:
        none, two = Says(lambda request, offer: succeed(None) if late else None), Accepts()
        bounds = Bounds(connections=1)
        entries = [
            Entry("/shout", "one", (b"shout",), none, bounds=bounds),
            Entry("/shout", "two", (b"cry",), two, bounds=bounds),
        ]
        site = Site(entries)
        both = SWITCH.replace(b"Upgrade: shout", b"Upgrade: shout, cry")
        found = []
        for _ in range(3):
            wire = site.connect()
            wire.send(both)
            found += statuses(wire.received)
        assert found == [101, 200, 200]
        assert len(two.asked) == 1
        counted = site.factory.admission.budgets
        assert counted is not None
        assert [made.switched for made in counted._accounts.values() if made.scope == "path"] == [0, 1]

    def test_two_tables_of_one_path_and_protocol_have_one_account(self) -> None:
        bounds = Bounds(connections=2)
        entries = [Entry("/shout", "shout", (b"shout",), Accepts(), bounds=bounds) for _ in range(2)]
        site = Site(entries)
        assert [switches(site.connect())[0] for _ in range(3)] == [101, 101, 503]

    def test_one_may_have_more_time_to_decide_than_the_others(self) -> None:
        entry = Entry("/shout", "shout", (b"shout",), Accepts(late=True), bounds=Bounds(switch_seconds=30))
        site = Site([entry], settings="[limits]\nswitch_seconds = 5")
        wire = site.connect()
        wire.send(SWITCH)
        site.clock.advance(29)
        wire.turn()
        assert wire.received == b""
        site.clock.advance(1)
        wire.turn()
        assert statuses(wire.received) == [503]


H2C = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
)


class TestOptional:
    """What a client offers that is as content with an ordinary answer."""

    def site(self, **keywords: Any) -> tuple[Site, Heard]:
        h2c = H2c(H2c.Options(), Context(None, "/", Path()))
        entries = [Entry("/", "h2c", (b"h2c",), h2c, **keywords), Entry("/shout", "shout", (b"shout",), Accepts())]
        site = Site(entries, settings=ONE_SWITCHED)
        client_of(site).send(SWITCH)
        return site, Heard(site)

    def test_is_ignored_where_there_is_no_room(self) -> None:
        site, heard = self.site()
        wire = client_of(site)
        for _ in range(3):
            wire.send(H2C)
        assert statuses(wire.received) == [200, 200, 200]
        assert {(told.reason, told.offers) for told in heard.told(events.Ignored)} == {("over_budget", ("h2c",))}
        assert heard.told(events.OverBudget) == []

    def test_is_answered_together_with_what_is_not(self) -> None:
        site, _ = self.site()
        wire = client_of(site)
        wire.send(SWITCH.replace(b"Upgrade: shout", b"Upgrade: h2c, shout"))
        assert statuses(wire.received) == [503]

    @pytest.mark.parametrize("key", ["require", "close"])
    def test_is_answered_where_the_entry_says_what_becomes_of_it(self, key: str) -> None:
        site, _ = self.site(**{key: True})
        wire = client_of(site)
        wire.send(H2C)
        assert statuses(wire.received) == [503]


class TestPeers:
    def test_a_client_is_answered_429(self) -> None:
        site = Site({"/shout": Accepts()}, settings="[peers]\nswitched = 1")
        found = []
        for host in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
            wire = client_of(site, host)
            wire.send(SWITCH)
            ((status, fields, _),) = answers(wire.received)
            found.append((status, fields.get(b"retry-after")))
        assert found == [(101, None), (429, b"5"), (101, None)]
        assert over(site) == [("peer", "", "switched", 429)]

    @pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
    def test_behind_a_proxy_the_client_is_whom_that_names(self, tls: bool) -> None:
        site = Site(settings="[peers]\nconnections = 1")

        def through_proxy(host: bytes) -> Wire:
            line = PROXY.replace(b"198.51.100.7", host)
            if tls:
                wire: Wire = TLSWire(site.factory, site.clock, first=line)
            else:
                wire = Wire(_wrapped(site), site.clock)
                wire.send(line)
            wire.send(PLAIN)
            return wire

        wires = [through_proxy(host) for host in (b"198.51.100.7", b"198.51.100.8", b"198.51.100.7")]
        assert [statuses(wire.received) for wire in wires] == [[200], [200], [429]]
        wires[0].reset()
        assert statuses(through_proxy(b"198.51.100.7").received) == [200]

    def test_who_has_not_been_named_yet_is_nobody_in_particular(self) -> None:
        """Of a busy proxy's connections many come before the first header is read."""
        site = Site(settings="[peers]\nconnections = 1")
        wires = [Wire(_wrapped(site), site.clock) for _ in range(MOST_TURNED_AWAY + 50)]
        for number, wire in enumerate(wires):
            wire.send(PROXY.replace(b"198.51.100.7", b"203.0.113.%d" % number) + PLAIN)
        assert [statuses(wire.received) for wire in wires] == [[200]] * len(wires)

    def test_a_trusted_proxy_is_no_client(self) -> None:
        settings = '[server]\ntrusted_proxies = ["192.0.2.1"]\n[peers]\nconnections = 1\nswitched = 1'
        site = Site({"/shout": Accepts()}, settings=settings)
        found = []
        for client in (b"203.0.113.1", b"203.0.113.2", b"203.0.113.1"):
            wire = client_of(site)
            wire.send(SWITCH[:-2] + b"Forwarded: for=%b\r\n\r\n" % client)
            found += statuses(wire.received)
        assert found == [101, 101, 429]
        (told,) = site.told(events.OverBudget)
        assert told.peer == "203.0.113.1"

    def test_those_who_are_exempt_may_take_what_there_is(self) -> None:
        site = Site(settings='[peers]\nconnections = 1\nexempt = ["192.0.2.0/24"]')
        for _ in range(3):
            wire = client_of(site)
            wire.send(PLAIN)
            assert statuses(wire.received) == [200]


def _wrapped(site: Site) -> Any:
    return WrappingFactory(site.factory)


@pytest.mark.parametrize("kind", ["clear", "before TLS", "in TLS"])
class TestBehindAProxy:
    """Who a connection is of is known when the proxy has said so."""

    def connected(self, site: Site, kind: str, *data: bytes) -> Wire:
        if kind == "before TLS":
            wire: Wire = TLSWire(site.factory, site.clock, first=PROXY)
        elif kind == "in TLS":
            wire = ProxiedTLSWire(site.factory, site.clock)
        else:
            wire = Wire(_wrapped(site), site.clock)
            wire.send(PROXY)
        for each in data if not wire.closed else ():
            wire.send(each)
        return wire

    def test_who_says_nothing_after_that_is_counted(self, kind: str) -> None:
        site = Site(settings="[peers]\nconnections = 1")
        first, second = self.connected(site, kind), self.connected(site, kind)
        second.send(PLAIN)
        first.send(PLAIN)
        assert (statuses(first.received), statuses(second.received)) == ([200], [429])

    def test_there_are_never_many_who_are_turned_away(self, kind: str) -> None:
        site = Site(settings="[peers]\nconnections = 1")
        wires = [self.connected(site, kind) for _ in range(MOST_TURNED_AWAY + 5)]
        for wire in wires:
            wire.turn()
        assert [wire.closed for wire in wires] == [False] * (MOST_TURNED_AWAY + 1) + [True] * 4
        assert len(site.factory.connections) == MOST_TURNED_AWAY + 1
        assert site.told(events.NoSession) == [], "that there is none is our doing"

    def test_so_it_is_if_they_ask(self, kind: str) -> None:
        site = Site(settings="[peers]\nconnections = 1")
        wires = [self.connected(site, kind, PLAIN) for _ in range(MOST_TURNED_AWAY + 5)]
        assert [statuses(wire.received) for wire in wires[:2]] == [[200], [429]]
        assert [wire.received for wire in wires[MOST_TURNED_AWAY + 1 :]] == [b""] * 4
        assert not any(wire.closed for wire in wires[: MOST_TURNED_AWAY + 1]) or "TLS" in kind


class TestConnections:
    @pytest.mark.parametrize("kind", [pytest.param(kind, id=name) for name, kind in KINDS.items()])
    def test_one_too_many_is_answered_503_and_closed(self, kind: Kind) -> None:
        site = Site({"/shout": Accepts()}, settings=TWO_CONNECTIONS)
        first, second, third = (site.connect(kind) for _ in range(3))
        for wire in (first, second):
            wire.send(PLAIN)
            assert statuses(wire.take()) == [200]
        assert third.take() == b"", "it would not be read as an answer before there is a question"
        third.send(SWITCH)
        ((status, fields, _),) = answers(third.take())
        assert (status, fields[b"retry-after"], fields[b"connection"]) == (503, b"5", b"close")
        third.half_close()
        assert third.closed
        first.reset()
        fourth = site.connect(kind)
        fourth.send(SWITCH)
        assert fourth.take() == SWITCHED
        assert over(site) == [("server", "", "connections", 503)]

    def test_those_who_are_turned_away_take_no_place(self) -> None:
        site = Site(settings=TWO_CONNECTIONS)
        first, _ = site.connect(), site.connect()
        turned_away = [site.connect() for _ in range(5)]
        first.reset()
        wire = site.connect()
        wire.send(PLAIN)
        assert statuses(wire.take()) == [200]
        for one in turned_away:
            one.send(PLAIN)
            assert statuses(one.take()) == [503]

    def test_a_listener_has_its_own_budget(self) -> None:
        site = Site()
        ours, other = (Listener(name, site.factory.listener.limits) for name in ("tcp:1", "tcp:2"))
        tables = (Listen("tcp:1", limits=Limits(connections=1)), Listen("tcp:2"))
        site.factory.admission.allow(evolve(_configuration(), listen=tables), ())
        wires = [client_of(site, listener=listener) for listener in (ours, ours, other, other)]
        for wire in wires:
            wire.send(PLAIN)
        assert [statuses(wire.received) for wire in wires] == [[200], [503], [200], [200]]
        assert over(site) == [("listener", "tcp:1", "connections", 503)]

    def test_in_clear_http2_is_told_in_http2(self) -> None:
        site = http2_site(settings="[limits]\nconnections = 1")
        first = Client(site)
        assert first.get().status == 200
        second = Client(site, talks=False)
        assert second.goaways == [(0, ENHANCE_YOUR_CALM)]
        assert over(site) == [("server", "", "connections", 503)]
        assert [told.stack for told in site.told(events.Switched)] == [("h2c",)], "it never was a session for anybody"
        second.wire.half_close()
        assert second.wire.closed

    def test_so_it_is_if_its_preface_comes_in_pieces(self) -> None:
        site = http2_site(settings="[limits]\nconnections = 1")
        site.connect()
        wire = site.connect()
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        for index in range(len(preface)):
            wire.send(preface[index : index + 1])
        assert wire.received.endswith(bytes([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ENHANCE_YOUR_CALM]))

    def test_in_tls_it_is_told_after_the_handshake(self) -> None:
        site = Site(settings="[limits]\nconnections = 1")
        context = lambda: client_tls(alpn=[b"h2"])  # noqa: E731

        def h2(server: Any, clock: Any) -> TLSWire:
            from tests.wires import server_tls

            options = server_tls()
            options._acceptableProtocols = [b"h2"]
            return TLSWire(server, clock, options, context())

        first, second = site.connect(h2), site.connect(h2)
        assert first.alpn == b"h2"  # type: ignore[attr-defined]
        assert b"\x00\x00\x08\x07" not in first.received
        assert second.received.endswith(bytes([0, 0, 0, ENHANCE_YOUR_CALM]))

    def test_there_are_never_many_who_are_turned_away(self) -> None:
        site = Site(settings="[limits]\nconnections = 1")
        wires = [site.connect() for _ in range(MOST_TURNED_AWAY + 5)]
        assert [wire.closed for wire in wires] == [False] * (MOST_TURNED_AWAY + 1) + [True] * 4
        said = [event.text.format(event=event) for event in site.told(events.OverBudget)]
        assert "cut off without an answer: over the budget connections of the server" in said[0]
        wires[1].reset()
        assert not site.connect().closed

    def test_that_one_has_come_to_no_tls_session_then_is_not_told(self) -> None:
        site = Site(settings="[limits]\nconnections = 1")
        wires = [TLSWire(site.factory, site.clock) for _ in range(MOST_TURNED_AWAY + 5)]
        for wire in wires:
            wire.turn()
        assert sum(wire.closed for wire in wires) == 4
        assert site.told(events.NoSession) == []

    def test_one_that_is_silent_is_closed_in_time(self) -> None:
        site = Site(settings="[limits]\nconnections = 1\nhead_seconds = 3")
        site.connect()
        wire = site.connect()
        site.clock.advance(3)
        wire.turn()
        assert wire.closed

    def test_what_it_says_after_that_is_not_answered(self) -> None:
        site = Site(settings="[limits]\nconnections = 1\nhead_seconds = 3")
        site.connect()
        wire = site.connect(TLSWire)
        wire.transport.client_reads = False  # or it would take leave at once
        site.clock.advance(3)
        wire.turn()
        wire.send(PLAIN)
        wire.transport.client_reads = True
        wire.turn()
        assert wire.received == b""
        assert over(site) == []

    def test_the_end_of_a_turned_away_connection_is_nobody_s_end(self) -> None:
        site = Site(settings="[limits]\nconnections = 1")
        first = site.connect()
        for _ in range(3):
            wire = site.connect()
            wire.reset()
        first.reset()
        assert site.factory.connections == set()
        wire = site.connect()
        wire.send(PLAIN)
        assert statuses(wire.received) == [200]


def _configuration() -> config.Config:
    parsed, mistakes = config.parse("", "test.toml", Path(), ["tcp:0"])
    assert mistakes == ()
    return parsed


class TestStreams:
    def test_a_stream_takes_a_place_and_no_connection(self) -> None:
        entry = Entry("/", "shout", (b"shout",), Accepts())
        client = Client(http2_site(settings="[limits]\nswitched = 2\nconnections = 1", entries=[entry]))
        tunnels = [client.tunnel() for _ in range(3)]
        assert [tunnel.status for tunnel in tunnels] == [200, 200, 503]
        assert tunnels[2].fields[b"retry-after"] == b"5"
        assert tunnels[2].body == b"the server has no room for more at the moment\n"
        client.cut(tunnels[0])
        assert client.tunnel().status == 200
        assert client.tunnel().status == 503
        client.wire.reset()
        again = Client(client.site)
        assert [again.tunnel().status for _ in range(3)] == [200, 200, 503]

    def test_a_stream_is_no_connection(self) -> None:
        entry = Entry("/", "shout", (b"shout",), Accepts())
        client = Client(http2_site(settings="[limits]\nconnections = 2", entries=[entry]))
        tunnels = [client.tunnel() for _ in range(3)]
        second = client_of(client.site)
        assert statuses_of(second) == [200]
        for tunnel in tunnels:
            client.cut(tunnel)
        third = client_of(client.site)
        assert statuses_of(third) == [503], "nor is there more room when it has gone"
        for wire in (second, third):
            wire.reset()

    def test_one_that_is_decided_about_has_a_place_for_so_long(self) -> None:
        late = Accepts(late=True)
        entries = [Entry("/", "shout", (b"shout",), late)]
        client = Client(http2_site(settings=ONE_SWITCHED, entries=entries))
        pending = client.tunnel()
        assert client.tunnel().status == 503
        client.cut(pending)
        late.arrived = type(late.arrived)()
        another = client.tunnel()
        assert another.status == 0
        late.waiting.pop().callback(Refuse(403))
        client.let_pass(0)
        assert another.status == 403
        late.late = False
        assert [client.tunnel().status for _ in range(2)] == [200, 503]

    def test_a_client_has_too_many_and_the_others_go_on(self) -> None:
        entry = Entry("/", "shout", (b"shout",), Accepts())
        client = Client(http2_site(settings="[peers]\nhandshakes_per_second = 1", entries=[entry]))
        assert [client.tunnel().status for _ in range(2)] == [200, 429]
        assert client.get().status == 200
        client.let_pass(1)
        assert client.tunnel().status == 200


class TestMemory:
    """Its figures are a test's; that they are those of the process, `test_process` and `e2e/test_budgets` see to."""

    def site(self) -> tuple[Site, list[int]]:
        site = Site({"/shout": Accepts()}, settings="[limits]\nmemory_bytes = 1000")
        used = [0]
        site.factory.admission.pressure._measure = lambda: used[0]
        return site, used

    def test_while_it_is_full_nobody_is_let_in(self) -> None:
        site, used = self.site()
        here = site.connect()
        used[0] = 1000
        site.factory.admission.look_at_memory()
        for wire in (here, site.connect()):
            wire.send(SWITCH)
            assert statuses(wire.take()) == [503]
        here.send(PLAIN)
        assert statuses(here.take()) == [200], "who is here is served"
        used[0] = 940
        site.factory.admission.look_at_memory()
        for wire in (here, site.connect()):
            wire.send(SWITCH)
            assert wire.take() == SWITCHED
        assert {told[:3] for told in over(site)} == {("server", "", "memory_bytes")}

    def test_it_is_told_when_that_changes(self) -> None:
        site, used = self.site()
        for used[0] in (10, 850, 900, 1000, 500):
            site.factory.admission.look_at_memory()
        told = [(event.state, event.used, event.most) for event in site.told(events.MemoryPressure)]
        assert told == [("short", 850, 1000), ("full", 1000, 1000), ("easy", 500, 1000)]


class TestTheLog:
    def test_has_a_line_now_and_then_and_others_hear_of_each(self) -> None:
        site = Site({"/shout": Accepts()}, settings=ONE_SWITCHED)
        heard = Heard(site)
        site.connect().send(SWITCH)

        def flood() -> None:
            for _ in range(50):
                wire = site.connect()
                wire.send(SWITCH)
                wire.reset()

        flood()
        site.clock.advance(9.9)
        flood()
        site.clock.advance(0.1)
        flood()
        said = [event.text.format(event=event) for event in site.told(events.OverBudget)]
        assert " turned away with 503: over the budget switched of the server (99 more " in said[1]
        logged = [event.unlogged for event in site.told(events.OverBudget)]
        assert logged == [0, 99]
        assert len(heard.told(events.OverBudget)) == 150

    def test_what_is_over_somewhere_else_has_its_own(self) -> None:
        entries = [Entry(path, "shout", (b"shout",), Accepts(), bounds=Bounds(connections=1)) for path in ("/a", "/b")]
        site = Site(entries)
        for path in (b"/a", b"/b") * 3:
            site.connect().send(SWITCH.replace(b"/shout", path))
        assert over(site) == [("path", "/a", "connections", 503), ("path", "/b", "connections", 503)]


class TestReload:
    def test_who_came_before_anybody_counted_is_counted(self) -> None:
        entry = Entry("/shout", "shout", (b"shout",), Accepts())
        site = Site([entry])
        first, second = site.connect(), site.connect()
        first.send(SWITCH)
        second.send(SWITCH)
        reload(site, "[limits]\nswitched = 2\n[peers]\nconnections = 3")
        third = site.connect()
        third.send(SWITCH)
        assert statuses(third.take()) == [503]
        assert statuses_of(site.connect()) == [429]
        first.reset()
        third.send(SWITCH)
        assert statuses(third.take()) == [101]

    def test_a_decision_that_is_pending_is_counted_when_it_has_switched(self) -> None:
        late = Accepts(late=True)
        site = Site({"/late": late, "/shout": Accepts()})
        wire = site.connect()
        wire.send(SWITCH.replace(b"/shout", b"/late"))
        reload(site, ONE_SWITCHED)
        late.decide()
        wire.turn()
        assert statuses(wire.received) == [101]
        assert switches(site.connect()) == [503]
        wire.reset()
        assert switches(site.connect()) == [101]

    def test_of_http2_both_are_the_connection_and_its_streams(self) -> None:
        entry = Entry("/", "shout", (b"shout",), Accepts())
        client = Client(http2_site(entries=[entry]))
        assert [client.tunnel().status for _ in range(2)] == [200, 200]
        reload(client.site, "[limits]\nswitched = 3\n[peers]\nconnections = 2")
        assert [client.tunnel().status for _ in range(2)] == [200, 503]
        second, third = client_of(client.site), client_of(client.site)
        assert (statuses_of(second), statuses_of(third)) == ([200], [429])
        for wire in (second, third):
            wire.reset()

    def test_a_path_keeps_its_count_whatever_its_budget_is(self) -> None:
        def entry(most: int) -> Entry:
            return Entry("/shout", "shout", (b"shout",), Accepts(), bounds=Bounds(connections=most))

        site = Site([entry(5)])
        wires = [site.connect() for _ in range(3)]
        for wire in wires:
            wire.send(SWITCH)
        reload(site, "", entry(3))
        assert switches(site.connect()) == [503]
        wires[0].reset()
        assert switches(site.connect()) == [101]
        reload(site, "", entry(0))
        assert switches(site.connect()) == [101]

    def test_without_budgets_nothing_is_counted_any_more(self) -> None:
        site = Site({"/shout": Accepts()}, settings=ONE_SWITCHED)
        assert [switches(site.connect()) for _ in range(2)] == [[101], [503]]
        reload(site, "")
        assert site.factory.admission.budgets is None
        assert [switches(site.connect()) for _ in range(2)] == [[101], [101]]
        reload(site, "[limits]\nswitched = 4")
        assert [switches(site.connect()) for _ in range(2)] == [[101], [503]]


def statuses_of(wire: Wire) -> list[int]:
    """What an ordinary request is answered."""
    wire.send(PLAIN)
    return statuses(wire.received)


def switches(wire: Wire) -> list[int]:
    """What a request for a switch is."""
    wire.send(SWITCH)
    return statuses(wire.received)


class TestListeners:
    @pytest.mark.parametrize(("own", "seconds"), [(None, 2.0), (5.0, 5.0)])
    def test_a_listener_has_its_time_for_farewells_where_the_path_has_none(
        self, own: float | None, seconds: float
    ) -> None:
        site = Site([Entry("/shout", "shout", (b"shout",), Accepts(), drain_seconds=own)])
        table = Listen("tcp:1", drain_seconds=2.0)
        site.factory.admission.allow(evolve(_configuration(), listen=(table,)), site.factory.entries)
        wire = client_of(site, listener=Listener("tcp:1", site.factory.listener.limits, 2.0))
        wire.send(SWITCH)
        (connection,) = site.factory.connections
        assert connection.drain_seconds == seconds

    def test_so_it_has_for_http2_that_was_agreed_on_behind_a_switch(self) -> None:
        class Back(Shout):
            def connectionMade(self) -> None:
                handover(self.transport, back.session.resume_http(b"h2"))

        back = Accepts(Back)
        site = Site([Entry("/shout", "shout", (b"shout",), back, drain_seconds=5.0)])
        table = Listen("tcp:1", drain_seconds=2.0)
        site.factory.admission.allow(evolve(_configuration(), listen=(table,)), site.factory.entries)
        wire = client_of(site, listener=Listener("tcp:1", site.factory.listener.limits, 2.0))
        wire.send(SWITCH)
        (connection,) = site.factory.connections
        assert (connection.stack, connection.drain_seconds) == (("shout", "h2"), 2.0)
        wire.reset()

    def test_so_it_has_for_http2(self) -> None:
        site = http2_site()
        table = Listen("tcp:1", limits=Limits(idle_seconds=7.0))
        site.factory.admission.allow(evolve(_configuration(), listen=(table,)), site.factory.entries)
        wire = client_of(site, listener=Listener("tcp:1", table.limits or Limits(), 2.0))
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        (connection,) = site.factory.connections
        assert connection.drain_seconds == 2.0
        assert site.factory.admission.may_idle == {connection: 7.0}


class TestUnsent:
    """What waits to be sent. On sockets, `transports/test_connections` holds it."""

    SETTINGS = "[limits]\nbuffered_bytes = 200000"

    def test_a_connection_has_the_bound_of_its_listener_and_then_of_its_path(self) -> None:
        entry = Entry("/shout", "shout", (b"shout",), Accepts(), bounds=Bounds(buffered_bytes=7))
        site = Site([entry], settings=self.SETTINGS)
        wire: Any = site.connect()
        assert wire.transport.buffered_bytes == 200000
        wire.send(SWITCH)
        assert wire.transport.buffered_bytes == 7

    def test_what_a_path_says_holds_for_what_has_switched_there_only(self) -> None:
        class Back(Shout):
            def connectionMade(self) -> None:
                handover(self.transport, back.session.resume_http())

        back = Accepts(Back)
        entries = [
            Entry("/back", "back", (b"shout",), back, bounds=Bounds(buffered_bytes=7, idle_seconds=5)),
            Entry("/shout", "shout", (b"shout",), Accepts()),
        ]
        site = Site(entries, settings=self.SETTINGS)
        wire: Any = site.connect()
        wire.send(SWITCH.replace(b"/shout", b"/back"))
        assert wire.transport.buffered_bytes == 7
        wire.send(SWITCH)
        assert wire.transport.buffered_bytes == 200000
        assert site.factory.admission.may_idle == {}

    @pytest.mark.parametrize(("bounds", "most"), [(Bounds(), 200000), (Bounds(buffered_bytes=300000), 300000)])
    def test_a_stream_with_more_is_aborted(self, bounds: Bounds, most: int) -> None:
        switch = Accepts()
        entries = [Entry("/", "shout", (b"shout",), switch, bounds=bounds)]
        client = Client(http2_site(settings=self.SETTINGS, entries=entries), credit=0)
        few, many = client.tunnel(), client.tunnel()
        client.reads = False
        first, second = switch.built
        first.transport.write(bytes(most))
        second.transport.write(bytes(most))
        second.transport.write(bytes(65_536))  # as much as may be under way
        client.let_pass(0)
        assert client.site.told(events.Ended) == [], "it may yet be taken"
        client.let_pass(LOOK_SECONDS)
        assert (few.reset, many.reset) == (None, CANCEL)
        assert len(second.reasons) == 1
        (ended,) = client.site.told(events.Ended)
        assert (ended.by, ended.why) == ("server", "too much unsent")

    def test_a_stream_that_is_read_may_have_more(self) -> None:
        switch = Accepts()
        entries = [Entry("/", "shout", (b"shout",), switch)]
        client = Client(http2_site(settings="[limits]\nbuffered_bytes = 100_000", entries=entries))
        tunnel = client.tunnel()
        (shout,) = switch.built
        shout.transport.write(bytes(300_000))
        client.let_pass(0)
        client.let_pass(LOOK_SECONDS)
        assert (len(tunnel.body), tunnel.reset) == (300_000, None)

    def test_one_that_gets_ever_more_is_cut_off_at_once(self) -> None:
        switch = Accepts()
        entries = [Entry("/", "shout", (b"shout",), switch)]
        client = Client(http2_site(settings=self.SETTINGS, entries=entries), credit=0)
        tunnel = client.tunnel()
        client.reads = False
        (shout,) = switch.built
        for _ in range(3):
            shout.transport.write(bytes(200_001))
            client.let_pass(0)
        assert tunnel.reset == CANCEL

    def test_an_answer_that_is_longer_is_cut_off_in_http2(self) -> None:
        class Long(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> bytes:
                return bytes(200_000 + 65_536)

        client = Client(http2_site(Long(), settings=self.SETTINGS), credit=0)
        client.reads = False
        answer = client.get()
        client.let_pass(0)
        client.let_pass(LOOK_SECONDS)
        assert answer.reset == CANCEL
        assert len(client.site.told(events.Overflowed)) == 1


class TestEarly:
    def test_a_path_may_keep_more_or_less_behind_a_request(self) -> None:
        late = Accepts(late=True)
        entry = Entry("/shout", "shout", (b"shout",), late, bounds=Bounds(early_bytes=10))
        site = Site([entry])
        wire: Any = site.connect()
        wire.send(SWITCH)
        wire.send(b"x" * 10)
        assert wire.transport.reading
        wire.send(b"x")
        assert not wire.transport.reading
        late.waiting.pop().callback(None)
        wire.turn()
        assert wire.transport.reading
        (connection,) = site.factory.connections
        assert connection.protocol._optimisticEagerReadSize == Limits().early_bytes


class TestDescriptors:
    @pytest.mark.parametrize(
        ("configured", "allowed", "most"),
        [(0, 5000, 4800), (100, 5000, 100), (6000, 5000, 4800), (6000, None, 6000)],
    )
    def test_there_are_no_more_connections_than_there_are_descriptors(
        self, configured: int, allowed: int | None, most: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted: list[int] = []

        def raise_descriptors(number: int) -> int | None:
            wanted.append(number)
            return allowed

        monkeypatch.setattr("switchd.process.raise_descriptors", raise_descriptors)
        site = Site(settings=f"[limits]\nconnections = {configured}")
        site.factory.admission.raise_descriptors()
        assert site.factory.admission.most_connections == most
        assert wanted == [(configured or budgets.MOST_CONNECTIONS) + budgets.DESCRIPTORS_KEPT]
        warned = [(told.wanted, told.allowed) for told in site.told(events.FewDescriptors)]
        assert warned == ([(6000, 4800)] if most == 4800 and configured else [])

    def test_without_a_number_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("switchd.process.raise_descriptors", lambda number: None)
        site = Site()
        site.factory.admission.raise_descriptors()
        assert site.factory.admission.most_connections == float("inf")

    def test_a_reload_raises_them_further(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("switchd.process.raise_descriptors", lambda number: max(1024, min(number, 9000)))
        site = Site(settings="[limits]\nconnections = 100")
        site.factory.admission.raise_descriptors()
        for connections, most in ((100, 100), (5000, 5000), (50_000, 8800), (10, 10), (0, 8800)):
            reload(site, f"[limits]\nconnections = {connections}")
            site.factory.admission.raise_descriptors()
            assert site.factory.admission.most_connections == most

    def test_a_reactor_may_have_fewer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("switchd.process.raise_descriptors", lambda number: 5000)
        site = Site()
        site.factory.admission.raise_descriptors(1024)
        assert site.factory.admission.most_connections == 824
        reload(site, "[limits]\nconnections = 2000")
        assert site.factory.admission.most_connections == 824
