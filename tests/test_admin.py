"""The private listener, in memory and on sockets."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from zope.interface import implementer

from switchd import config, events
from switchd.admin import Admin
from switchd.console.keys import Keys
from switchd.errors import ConfigurationError
from switchd.factory import Assembly, assemble
from switchd.interfaces import IDrain
from switchd.negotiation import Entry
from switchd.overview import Overview
from switchd.routes import Routes
from switchd.service import SwitchService
from switchd.testing import Wire
from tests.serving import HEAD, PLAIN, SWITCH, Accepts, Shout, Site, answers, statuses
from tests.test_sockets import Client
from tests.wires import with_reactor

LOOPBACK = "tcp:0:interface=127.0.0.1"

TELLS = f'[admin]\nendpoint = "{LOOPBACK}"\n'


@implementer(IDrain)
class Polite(Shout):
    """Says goodbye until `done` fires."""

    def __init__(self) -> None:
        super().__init__()
        self.done: Deferred[None] = Deferred()

    def drain(self, seconds: float) -> Deferred[None]:
        return self.done


class Private:
    """A server and its private listener."""

    def __init__(self) -> None:
        self.site = Site({"/shout": Accepts()})
        self.why_not = ""
        parsed, _ = config.parse("", "test.toml", Path(), ["tcp:0"])
        assembly = Assembly(parsed, Routes((), ()), ())
        overview = Overview(self.site.factory, self.site.clock, lambda: (), lambda: self.why_not)
        self.admin = Admin(assembly, overview, Keys(self.site.clock), lambda: (), self.site.clock)

    def ask(self, path: str, method: bytes = b"GET") -> bytes:
        wire = Wire(self.admin.factory, self.site.clock)
        wire.send((HEAD % path.encode()).replace(b"GET", method) + b"Connection: close\r\n\r\n")
        wire.turn()
        wire.reset()
        return wire.received

    def answer(self, path: str) -> tuple[int, bytes]:
        ((status, _, body),) = answers(self.ask(path))
        return status, body


class TestPages:
    def test_tell_metrics(self) -> None:
        private = Private()
        private.site.connect().send(SWITCH)
        ((status, fields, body),) = answers(private.ask("/metrics"))
        assert status == 200
        assert fields[b"content-type"].startswith(b"text/plain; version=")
        assert fields[b"cache-control"] == b"no-store"
        assert b'\nswitchd_connections{stack="shout"} 1.0\n' in body
        # Its own connections are not those of the server.
        assert b'stack="http/1.1"' not in body

    def test_tell_that_it_lives(self) -> None:
        private = Private()
        private.why_not = "draining"
        assert private.answer("/health/live") == (200, b"alive\n")

    def test_tell_whether_it_is_ready_and_why_not(self) -> None:
        private = Private()
        assert private.answer("/health/ready") == (200, b"ready\n")
        private.why_not = "draining"
        assert private.answer("/health/ready") == (503, b"draining\n")

    def test_have_heads(self) -> None:
        ((status, fields, body),) = answers(
            Private().ask("/health/live", b"HEAD").replace(b"Content-Length: 6\r\n", b"")
        )
        assert (status, body) == (200, b"")

    @pytest.mark.parametrize("path", ["/index.html", "/metrics/", "/health", "/shout", "/metrics/x"])
    def test_are_no_others(self, path: str) -> None:
        assert private_status(path) == 404

    def test_take_no_other_methods(self) -> None:
        assert statuses(Private().ask("/metrics", b"POST")) == [405]

    def test_are_not_on_the_public_listener(self) -> None:
        private = Private()
        wire = private.site.connect()
        wire.send(PLAIN.replace(b"GET /", b"GET /metrics"))
        assert b"switchd_" not in wire.received
        page: Any = private.site.page
        assert len(page.requests) == 1


def private_status(path: str) -> int:
    return Private().answer(path)[0]


def service(text: str = TELLS, switches: Sequence[Entry] = ()) -> Any:
    assembly = assemble(*config.parse(text, "test.toml", Path(), [LOOPBACK]), reactor)
    made = SwitchService(evolve(assembly, routes=Routes(switches, ())), reactor)
    made.privilegedStartService()
    made.startService()
    return made


async def connected(port: Any, data: bytes) -> Client:
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client: Client = await connectProtocol(endpoint, Client())
    client.transport.write(data)
    await client.until(lambda: b"\r\n\r\n" in client.received)
    return client


class TestConfiguration:
    @pytest.mark.parametrize(
        ("text", "mistake"),
        [
            (
                "endpoint = 9180",
                'admin.endpoint: expected a Twisted endpoint, for example "tcp:9180:interface=127.0.0.1"',
            ),
            ('endpoint = "9180"', 'admin.endpoint: "9180" is no endpoint: '),
            ('endpoint = "no:1"', 'admin.endpoint: "no:1" is no endpoint: '),
            ('endpiont = ""', 'admin.endpiont: unknown key; did you mean "endpoint"?'),
        ],
    )
    def test_mistakes_are_reported_like_others(self, text: str, mistake: str) -> None:
        with pytest.raises(ConfigurationError) as raised:
            assemble(*config.parse(f"[admin]\n{text}", "test.toml", Path(), [LOOPBACK]), reactor)
        assert f"test.toml: {mistake}" in str(raised.value)

    def test_a_listener_does_not_count_as_one(self) -> None:
        with pytest.raises(ConfigurationError, match="listen: missing"):
            assemble(*config.parse(TELLS, "test.toml", Path(), []), reactor)


class TestService:
    @with_reactor
    async def test_answers_until_all_others_are_gone(self) -> None:
        switch = Accepts(Polite)
        made = service(switches=[Entry("/shout", "shout", (b"shout",), switch)])
        ready = HEAD % b"/health/ready" + b"\r\n"
        switched = await connected(made.ports[0], SWITCH)
        asking = await connected(made.private_ports[0], ready)
        assert asking.received.endswith(b"ready\n")
        private = made.private_ports[0]
        stopped = made.stopService()
        again = await connected(private, ready)
        await again.until(lambda: again.received.endswith(b"draining\n"))
        assert statuses(again.received) == [503]
        switch.built[0].done.callback(None)
        await stopped
        await switched.until(lambda: switched.closed)
        await asking.until(lambda: asking.closed)
        assert made.factory.connections == set()

    @with_reactor
    async def test_leaves_no_timer_behind(self) -> None:
        before = set(reactor.getDelayedCalls())
        made = service()
        assert set(reactor.getDelayedCalls()) - before
        await made.stopService()
        assert set(reactor.getDelayedCalls()) <= before

    @with_reactor
    async def test_has_none_unless_it_is_asked_for(self) -> None:
        made = service("")
        assert made.private_ports == ()
        assert made.factory._listeners == ()
        await made.stopService()

    # Twisted leaves the socket that it could not bind to the garbage collector.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @with_reactor
    async def test_serves_where_its_address_is_taken(self, told: list[events.Event]) -> None:
        first = service()
        port: Any = first.private_ports[0]
        endpoint = f"tcp:{port.getHost().port}:interface=127.0.0.1"
        loaded = config.parse(f'[admin]\nendpoint = "{endpoint}"', "t", Path(), [LOOPBACK])
        second = SwitchService(assemble(*loaded, reactor), reactor, lambda: loaded)
        second.privilegedStartService()
        second.startService()
        why = f"cannot listen on {endpoint}: Address already in use"
        assert events.NoAdmin(why) in told
        assert (len(second.ports), second.private_ports) == (1, ())
        assert isinstance(await second.reload(), events.Reloaded), "it can be told what to do all the same"
        await first.stopService()
        await second.reload()
        assert len(second.private_ports) == 1
        await second.stopService()
        del second, first, port
        gc.collect()
