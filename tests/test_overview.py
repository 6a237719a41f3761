"""What there is to see of a server, and the closing of connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer

from switchd import schema
from switchd.draining import drain
from switchd.events import Closing, Drained, Ended
from switchd.interfaces import IDrain
from switchd.negotiation import Entry
from switchd.overview import (
    FORGET_SECONDS,
    MOST_CHARACTERS,
    MOST_CLOSED,
    MOST_LAYERS,
    MOST_ROWS,
    MOST_STACKS,
    Order,
    Overview,
    Query,
    is_on,
    written,
)
from switchd.transports import tcp_info
from tests.http2_client import Client, end_all
from tests.http2_client import site as http2_site
from tests.serving import PLAIN, SWITCH, Accepts, Shout, Site
from tests.test_sockets import serving
from tests.wires import TLSWire, with_reactor


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


@implementer(IDrain)
class Polite(Shout):
    """Says goodbye until `done` fires."""

    def __init__(self) -> None:
        super().__init__()
        self.done: Deferred[None] = Deferred()

    def drain(self, seconds: float) -> Deferred[None]:
        self.transport.write(b"goodbye in %d" % seconds)
        return self.done


def overview(site: Site) -> Overview:
    return Overview(site.factory, site.clock, lambda: [("tcp:80", "tcp 192.0.2.1:80")], lambda: "")


def ids(site: Site, **query: Any) -> list[str]:
    return [row["id"] for row in overview(site).look().rows(Query(**query))["rows"]]


class TestStacks:
    @pytest.mark.parametrize(
        ("stack", "secure", "words"),
        [
            ((), False, "HTTP/1.1"),
            ((), True, "TLS → HTTP/1.1"),
            (("websocket",), False, "HTTP/1.1 → WebSocket"),
            (("TLS/1.3", "websocket"), False, "HTTP/1.1 → TLS/1.3 → WebSocket"),
            (("h2", "websocket"), True, "TLS → HTTP/2 → WebSocket"),
            (("h2c",), False, "HTTP/2"),
            (("Shout",) * MOST_LAYERS, False, " → ".join(["HTTP/1.1", *["Shout"] * MOST_LAYERS])),
            (("Shout",) * (MOST_LAYERS + 1), False, " → ".join(["HTTP/1.1", *["Shout"] * MOST_LAYERS, "…"])),
        ],
    )
    def test_are_written_as_people_write_them(self, stack: tuple[str, ...], secure: bool, words: str) -> None:
        assert written(stack, secure) == words

    def test_know_of_a_listener_with_tls(self) -> None:
        site = Site({"/shout": Accepts()})
        site.connect(TLSWire).send(SWITCH)
        assert overview(site).look().rows(Query())["rows"][0]["protocols"] == "TLS → HTTP/1.1 → shout"

    def test_are_counted_each_kind_up_to_a_bound(self) -> None:
        site = Site()
        for _ in range(MOST_STACKS + 10):
            site.connect()
        for number, connection in enumerate(site.factory.connections):
            connection.stack = (f"t{number}",)
        counts = overview(site).look().counts()
        assert len(counts["stacks"]) == MOST_STACKS
        assert counts["other_stacks"] == 10
        assert counts["connections"] == counts["switched"] == MOST_STACKS + 10


class TestStatus:
    def test_tells_what_listens_and_which_paths_take_what(self) -> None:
        entry = Entry("/shout", "shout", (b"shout",), Accepts(), require=True, also=(b"yell",))
        site = Site([entry])
        site.connect().send(SWITCH)
        site.connect()
        site.clock.advance(5)
        seen = overview(site)
        site.clock.advance(6)
        status = seen.status()
        assert (status["state"], status["seconds"]) == ("ready", 6)
        assert (status["connections"], status["switched"]) == (2, 1)
        assert status["listeners"] == [{"endpoint": "tcp:80", "address": "tcp 192.0.2.1:80"}]
        assert status["switches"] == [
            {"path": "/shout", "protocol": "shout", "tokens": ["shout", "yell"], "require": True, "close": False}
        ]


class TestRows:
    def site(self) -> Site:
        """Connections that came one second after another: plain, shout, plain, shout."""
        site = Site({"/shout": Accepts(), "/other": Accepts()})
        for request in (PLAIN, SWITCH, PLAIN, SWITCH.replace(b"/shout", b"/other/x")):
            site.connect().send(request)
            site.clock.advance(1)
        return site

    def test_tell_of_a_connection(self) -> None:
        row = overview(self.site()).look().rows(Query(path="/shout"))["rows"][0]
        assert row == {
            "id": "2",
            "protocols": "HTTP/1.1 → shout",
            "path": "/shout",
            "peer": "192.0.2.1:50000",
            "listener": "",
            "age": 3.0,
            "received": None,
            "sent": None,
            "closing": False,
        }

    def test_are_short_whatever_clients_say(self) -> None:
        site = Site({"/shout": Accepts()})
        site.connect().send(SWITCH.replace(b"/shout", b"/shout/" + b"x" * 5_000))
        (row,) = overview(site).look().rows(Query(text="x" * 200))["rows"]
        assert row["path"] == "/shout/" + "x" * (MOST_CHARACTERS - 7) + "…"

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({}, ["1", "2", "3", "4"]),
            ({"descending": False}, ["4", "3", "2", "1"]),
            ({"sort": "path", "descending": False}, ["1", "3", "4", "2"]),
            ({"sort": "path"}, ["2", "4", "1", "3"]),
            ({"sort": "protocols"}, ["2", "4", "1", "3"]),
            ({"sort": "id"}, ["4", "3", "2", "1"]),
            ({"sort": "peer"}, ["1", "2", "3", "4"]),
            ({"sort": "listener"}, ["1", "2", "3", "4"]),
            ({"sort": "received"}, ["1", "2", "3", "4"]),
            ({"path": "/"}, ["2", "4"]),
            ({"path": "/other"}, ["4"]),
            ({"path": "/oth"}, []),
            ({"token": "SHOUT"}, ["2", "4"]),
            ({"token": "sho"}, []),
            ({"text": "SHOUT"}, ["2", "4"]),
            ({"text": "/other"}, ["4"]),
            ({"text": "192.0.2.1"}, ["1", "2", "3", "4"]),
            ({"text": "nothing"}, []),
            ({"first": 1, "most": 2}, ["2", "3"]),
            ({"first": 9}, []),
        ],
    )
    def test_are_those_that_are_wanted(self, query: Any, found: list[str]) -> None:
        assert ids(self.site(), **query) == found

    def test_know_how_many_there_are(self) -> None:
        page = overview(self.site()).look().rows(Query(path="/", most=1))
        assert (page["total"], page["matching"], len(page["rows"])) == (4, 2, 1)

    @pytest.mark.parametrize(
        "table", [{"most": MOST_ROWS + 1}, {"first": -1}, {"text": "\n"}, {"text": "x" * 201}, {"path": "/\ud800"}]
    )
    def test_are_asked_for_within_bounds(self, table: Any) -> None:
        assert schema.options(Query, table, "")[1] != ()

    @pytest.mark.skipif(not tcp_info.IS_COUNTED, reason="only Linux counts them")
    @with_reactor
    async def test_know_the_bytes_of_tcp_connections(self, tmp_path: Path) -> None:
        site = Site({"/shout": Accepts()}, clock=reactor)
        async with serving(site, "tcp", tmp_path) as connect:
            quiet, client = await connect(), await connect()
            client.transport.write(SWITCH + b"x" * 1000)
            await client.until(lambda: client.received.endswith(b"X" * 1000))
            rows = overview(site).look().rows(Query(sort="received"))["rows"]
            assert [row["received"] for row in rows] == [len(SWITCH) + 1000, 0]
            assert rows[0]["sent"] == len(client.received)
            quiet.transport.loseConnection()
            client.transport.loseConnection()
            await site.factory.when_empty()


class TestClosing:
    def test_says_goodbye_in_the_protocols_own_language(self) -> None:
        site = Site({"/shout": Accepts(Polite)})
        wire, other = site.connect(), site.connect()
        wire.send(SWITCH)
        other.send(SWITCH)
        wire.take()
        closed = overview(site).close(Order(("1",), seconds=7), "control")
        assert closed == {"connections": 1, "missing": []}
        wire.turn()
        assert wire.take() == b"goodbye in 7"
        assert not wire.closed
        site.clock.advance(7)
        wire.turn()
        assert wire.closed
        assert not other.closed
        assert site.told(Closing) == [Closing("1", 1, "control")]
        assert [(event.by, event.why) for event in site.told(Ended)] == [("server", "aborted")]

    def test_that_is_answered_is_no_shutdown(self) -> None:
        site = Site({"/shout": Accepts()})
        wire = site.connect()
        wire.send(SWITCH)
        overview(site).close(Order(("1",)), "control")
        wire.turn()
        assert [(event.by, event.why) for event in site.told(Ended)] == [("server", "closed")]
        assert site.factory.endings == {}

    def test_of_ordinary_http_is_that_too(self) -> None:
        site = Site()
        wire = site.connect()
        wire.send(PLAIN)
        overview(site).close(Order(("1",)), "control")
        wire.turn()
        assert wire.closed

    def test_at_once_says_nothing(self) -> None:
        site = Site({"/shout": Accepts(Polite)})
        wire = site.connect()
        wire.send(SWITCH)
        wire.take()
        overview(site).close(Order(("1",), now=True), "control")
        wire.turn()
        assert wire.take() == b""
        assert wire.closed

    def test_of_a_path_closes_what_is_below_it(self) -> None:
        site = Site({"/shout": Accepts(), "/shouting": Accepts()})
        wires = [site.connect() for _ in range(3)]
        for wire, path in zip(wires, (b"/shout", b"/shout/x", b"/shouting"), strict=True):
            wire.send(SWITCH.replace(b"/shout", path))
        assert overview(site).close(Order(path="/shout"), "control")["connections"] == 2
        for wire in wires:
            wire.turn()
        assert [wire.closed for wire in wires] == [True, True, False]
        assert site.told(Closing) == [Closing("all on /shout", 2, "control")]

    def test_of_http2_closes_its_streams_too(self) -> None:
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), Accepts())])
        client = Client(site)
        client.tunnel("/shout")
        assert overview(site).close(Order(("1",)), "control")["connections"] == 2
        client.let_pass(10)
        client.let_pass(FORGET_SECONDS)
        assert site.factory.connections == set()

    def test_of_a_stream_leaves_the_rest(self) -> None:
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), Accepts())])
        client = Client(site)
        client.tunnel("/shout")
        stream = next(one.id for one in site.factory.connections if "." in one.id)
        assert overview(site).close(Order((stream,)), "control")["connections"] == 1
        client.let_pass(10)
        assert [one.id for one in site.factory.connections] == ["1"]

    def test_leaves_nothing_behind_when_all_are_gone(self) -> None:
        site = Site({"/shout": Accepts()})
        wire = site.connect()
        wire.send(SWITCH)
        before = set(site.clock.getDelayedCalls())
        overview(site).close(Order(("1",), seconds=3600), "control")
        wire.turn()
        assert wire.closed
        site.clock.advance(FORGET_SECONDS)
        assert set(site.clock.getDelayedCalls()) <= before

    def test_of_what_there_is_not_is_told(self) -> None:
        site = Site()
        assert overview(site).close(Order(("7f",)), "control") == {"connections": 0, "missing": ["7f"]}
        assert site.events == []

    def test_is_no_obstacle_to_the_servers_own_end(self) -> None:
        site = Site({"/shout": Accepts(Polite)})
        wire = site.connect()
        wire.send(SWITCH)
        overview(site).close(Order(("1",), seconds=60), "control")
        drain(site.factory, 5, site.clock)
        site.clock.advance(5)
        wire.turn()
        assert wire.closed
        assert [event.cut for event in site.told(Drained)] == [1]

    @pytest.mark.parametrize(
        "table",
        [
            {"ids": ["x"]},
            {"ids": "1"},
            {"ids": ["1"] * (MOST_CLOSED + 1)},
            {"seconds": -1},
            {"path": "/\n"},
            {"pth": ""},
        ],
    )
    def test_has_bounds(self, table: Any) -> None:
        assert schema.options(Order, table, "")[1] != ()


@pytest.mark.parametrize(
    ("path", "route", "prefix", "on"),
    [
        ("/a", "/a", "/a", True),
        ("/a/b", "/a", "/a", True),
        ("/ab", "/", "/a", False),
        ("/a/b", "/a", "/a/", True),
        ("/a/b", "/a", "a", True),
        ("/a/b", "/a", "/a/b", True),
        ("", "*", "/", False),
        ("*", "*", "/", False),
        ("*", "*", "*", False),
        ("/a", "/a", "/", True),
        ("/%61", "/a", "/a", True),
        ("/%61", "/", "/a", True),
        ("/a", "/", "/%61", True),
        ("/a%2fb", "/", "/a", False),
        ("/caf%C3%A9%20au", "/caf\u00e9 au", "/caf\u00e9 au", True),
        ("/caf%C3%A9%20au", "/", "/caf\u00e9 au", True),
        ("/x/../must", "/must", "/must", True),
        ("//must", "/must", "/must", True),
        ("/x/../must", "/must", "/other", False),
    ],
)
def test_a_connection_is_on_the_path_that_it_asked_for_and_on_that_of_its_switch(
    path: str, route: str, prefix: str, on: bool
) -> None:
    site = Site()
    site.connect()
    (connection,) = site.factory.connections
    connection.path, connection.route = path, route
    assert is_on(prefix)(connection) is on


def test_paths_are_closed_and_found_as_they_are_routed() -> None:
    site = Site({"/shout": Accepts()})
    wire = site.connect()
    wire.send(SWITCH.replace(b"/shout", b"/%73hout"))
    assert ids(site, path="/shout") == ["1"]
    assert overview(site).close(Order(path="/shout"), "control")["connections"] == 1
