"""A server behind proxies: whose request it is, for plugins, resources, logs and events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from switchd import access, events, haproxy
from switchd.draining import drain
from switchd.interfaces import Context, Refuse
from switchd.negotiation import Entry
from switchd.protocols.tls import Tls
from switchd.testing import Wire
from tests.http2_client import Client, end_all, site
from tests.serving import HEAD, UPGRADE, Accepts, Says, Site
from tests.wires import TLSWire, client_tls, write_certificate

PROXY = "192.0.2.1"  # testing.CLIENT, which is who is connected
TRUSTING = f'[server]\ntrusted_proxies = ["{PROXY}", "198.51.100.0/24"]\n'
FORWARDED = "for=203.0.113.5"
SAID = b"Forwarded: for=203.0.113.5\r\n"
OTHER = b"Forwarded: for=203.0.113.6\r\n"
ASK = HEAD % b"/shout" + UPGRADE
CLIENT = "203.0.113.5"


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


def heard(made: Site) -> list[events.Event]:
    """All events from now on."""
    told: list[events.Event] = []
    made.factory.listen(told.append)
    return told


def peers(told: list[events.Event]) -> list[tuple[str, str]]:
    """Of events about a client: what, and whose."""
    return [(type(event).__name__, event.peer) for event in told if hasattr(event, "peer")]


def seen(made: Site) -> list[Any]:
    """The requests that its page has answered."""
    page: Any = made.page
    requests: list[Any] = page.requests
    return requests


def sent(*writes: bytes, switch: Any = None, settings: str = TRUSTING) -> tuple[Site, list[tuple[str, str]]]:
    """What is told of a client that sends this."""
    made = Site({} if switch is None else {"/shout": switch}, settings=settings)
    told = heard(made)
    wire = made.connect()
    for data in writes:
        wire.send(data)
    wire.reset()
    return made, peers(told)


class TestPlugins:
    def asked(self, *writes: bytes, settings: str = TRUSTING) -> tuple[str, list[str]]:
        switch = Accepts()
        sent(*writes, switch=switch, settings=settings)
        (request,) = switch.asked
        return events.address(request.peer), [events.address(proxy) for proxy in request.proxies]

    def test_the_peer_of_a_request_is_its_client(self) -> None:
        assert self.asked(ASK + SAID + b"\r\n") == (CLIENT, [f"{PROXY}:50000"])

    def test_also_of_one_that_is_read_line_by_line(self) -> None:
        assert self.asked(ASK, SAID, b"\r\n") == (CLIENT, [f"{PROXY}:50000"])
        assert self.asked(ASK + SAID + b"Content-Length: 1\r\n\r\nx") == (CLIENT, [f"{PROXY}:50000"])

    def test_if_nobody_is_trusted_it_is_who_is_connected(self) -> None:
        assert self.asked(ASK + SAID + b"\r\n", settings="") == (f"{PROXY}:50000", [])

    def test_the_field_is_the_one_that_is_configured(self) -> None:
        elder = TRUSTING + 'forwarded_header = "x-forwarded-for"\n'
        both = SAID + b"X-Forwarded-For: 203.0.113.6\r\n\r\n"
        assert self.asked(ASK + both, settings=elder)[0] == "203.0.113.6"


class TestResources:
    def clients(self, made: Site) -> list[tuple[str, list[str]]]:
        return [
            (events.address(request.getClientAddress()), [events.address(proxy) for proxy in request.proxies])
            for request in seen(made)
        ]

    @pytest.mark.parametrize("cut", [False, True], ids=["whole", "line by line"])
    def test_requests_of_one_connection_have_each_their_own_client(self, cut: bool) -> None:
        made = Site(settings=TRUSTING)
        wire = made.connect()
        for piece in (SAID, OTHER, b""):
            whole = HEAD % b"/" + piece + b"\r\n"
            for part in (whole[:-1], whole[-1:]) if cut else (whole,):
                wire.send(part)
        wire.send((HEAD % b"/" + SAID + b"\r\n") + (HEAD % b"/" + OTHER + b"\r\n"))
        proxy = f"{PROXY}:50000"
        clients = [CLIENT, "203.0.113.6", proxy, CLIENT, "203.0.113.6"]
        assert self.clients(made) == [(client, [proxy]) for client in clients]
        wire.reset()

    def test_so_have_those_of_http2(self) -> None:
        made = site(settings=TRUSTING)
        client = Client(made)
        client.ask(headers=[("forwarded", FORWARDED)])
        client.ask(headers=[("forwarded", "for=203.0.113.6")])
        client.talk()
        assert [found for found, _ in self.clients(made)] == [CLIENT, "203.0.113.6"]

    def test_the_access_log_has_the_client(self) -> None:
        made, _ = sent(HEAD % b"/" + SAID + b"\r\n")
        assert access.combined("[then]", seen(made)[0]).startswith(f'"{CLIENT}" - - [then] "GET / ')


class TestEvents:
    def test_a_switch_and_its_end(self) -> None:
        _, told = sent(ASK + SAID + b"\r\n", switch=Accepts())
        assert told == [("Switched", CLIENT), ("Ended", CLIENT)]

    def test_without_trust_they_have_who_is_connected(self) -> None:
        _, told = sent(ASK + SAID + b"\r\n", switch=Accepts(), settings="")
        assert told == [("Switched", f"{PROXY}:50000"), ("Ended", f"{PROXY}:50000")]

    def test_what_becomes_of_offers(self) -> None:
        assert sent(ASK + SAID + b"\r\n", switch=Says(Refuse(403)))[1] == [("Refused", CLIENT)]
        assert sent(ASK + SAID + b"\r\n", switch=Says())[1] == [("Ignored", CLIENT)]
        assert sent(ASK + SAID + b"\r\n")[1] == [("Ignored", CLIENT)]

    def test_what_is_dropped(self) -> None:
        made = Site([Entry("/shout", "shout", (b"shout",), Says(), close=True)], settings=TRUSTING)
        told = heard(made)
        made.connect().send(ASK + SAID + b"\r\n")
        assert peers(told)[-1] == ("Dropped", CLIENT)

    def test_what_is_rejected_behind_its_head(self) -> None:
        _, told = sent(HEAD % b"/" + SAID + b"Content-Length: 99999999\r\n\r\n")
        assert told == [("Rejected", CLIENT)]

    def test_what_is_rejected_before_that_is_the_proxys(self) -> None:
        _, told = sent(HEAD % b"/" + SAID + b"Broken\r\n\r\n")
        assert told == [("Rejected", f"{PROXY}:50000")]

    def test_streams_of_http2(self) -> None:
        entries = [Entry("/shout", "shout", (b"shout",), Accepts()), Entry("/no", "no", (b"no",), Says(Refuse(403)))]
        made = site(settings=TRUSTING, entries=entries)
        told = heard(made)
        client = Client(made)
        client.tunnel("/shout", headers=[("forwarded", FORWARDED)])
        client.tunnel("/no", "no", headers=[("forwarded", "for=203.0.113.6")])
        client.get(headers=[("content-length", "99999999"), ("forwarded", FORWARDED)])
        client.wire.reset()
        assert ("Refused", "203.0.113.6") in peers(told)
        assert [found for found in peers(told) if found[1] == CLIENT] == [("Switched", CLIENT), ("Ended", CLIENT)]


class TestAfterASwitch:
    """From then on a connection is one client's, and what that says of others is its own word."""

    def test_http_again_in_tls(self, tmp_path: Path) -> None:
        key, certificate = write_certificate(tmp_path)
        clock = Clock()
        options: Any = Tls.Options(certificate=certificate.name, key=key.name)
        entry = Entry("/", "tls", (b"TLS/1.3",), Tls(options, Context(clock, "/", tmp_path)))
        made = Site([entry], settings=TRUSTING, clock=clock)
        clear = made.connect()
        clear.send(HEAD % b"/" + SAID + b"Connection: upgrade\r\nUpgrade: TLS/1.3\r\n\r\n")
        assert clear.take().startswith(b"HTTP/1.1 101")
        wire = TLSWire.over(clear)
        wire.send(HEAD % b"/" + OTHER + b"\r\n")
        assert [events.address(request.client) for request in seen(made)] == [CLIENT, CLIENT]
        wire.reset()


class TestThePROXYProtocol:
    """`haproxy:` endpoints: who is connected is who the header says."""

    V1 = b"PROXY TCP4 198.51.100.7 198.51.100.8 1234 80\r\n"
    V2 = b"\r\n\r\n\0\r\nQUIT\n"
    V2_PROXY = V2 + b"\x21\x11\x00\x0c" + bytes([198, 51, 100, 7, 198, 51, 100, 8]) + b"\x04\xd2\x00\x50"
    V2_LOCAL = V2 + b"\x20\x00\x00\x00"

    def told(self, header: bytes, request: bytes, settings: str = "", tls: bool = False) -> list[tuple[str, str]]:
        made = Site({"/shout": Accepts()}, settings=settings)
        told = heard(made)
        if tls:
            wire: Wire = made.connect(lambda factory, clock: TLSWire(factory, clock, None, client_tls(), header))
        else:
            wire = made.connect(lambda factory, clock: Wire(haproxy.WrappingFactory(factory), clock))
            wire.send(header)
        wire.send(request)
        wire.reset()
        return peers(told)

    @pytest.mark.parametrize("tls", [False, True], ids=["in clear", "in TLS"])
    @pytest.mark.parametrize("header", [V1, V2_PROXY], ids=["v1", "v2"])
    def test_the_client_is_the_headers(self, header: bytes, tls: bool) -> None:
        both = [("Switched", "198.51.100.7:1234"), ("Ended", "198.51.100.7:1234")]
        assert self.told(header, ASK + b"\r\n", tls=tls) == both

    @pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", V2_LOCAL], ids=["UNKNOWN", "LOCAL"])
    def test_of_a_header_that_names_nobody_it_is_who_is_connected(self, header: bytes) -> None:
        assert self.told(header, ASK + b"\r\n")[0] == ("Switched", f"{PROXY}:50000")

    @pytest.mark.parametrize("tls", [False, True], ids=["in clear", "in TLS"])
    def test_whom_it_names_may_be_a_proxy_that_is_trusted(self, tls: bool) -> None:
        assert self.told(self.V1, ASK + SAID + b"\r\n", TRUSTING, tls)[0] == ("Switched", CLIENT)

    def test_who_has_sent_the_header_is_not_believed_for_that(self) -> None:
        trusting = f'[server]\ntrusted_proxies = ["{PROXY}"]\n'
        assert self.told(self.V1, ASK + SAID + b"\r\n", trusting)[0] == ("Switched", "198.51.100.7:1234")


def test_a_farewell_does_not_forget_whose_connection_it_is() -> None:
    made = Site({"/shout": Accepts()}, settings=TRUSTING)
    wire = made.connect()
    wire.send(ASK + SAID + b"\r\n")
    drain(made.factory, 1, made.clock)
    wire.turn()
    assert [event.peer for event in made.told(events.Ended)] == [CLIENT]
