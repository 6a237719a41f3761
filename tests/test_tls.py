"""Listeners with TLS: what ALPN decides, what becomes of who comes to no session, and what is wrong with a table."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hyperframe.frame import Frame, SettingsFrame
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory

from switchd import config
from switchd.certificates import Certificates, Tls, secured
from switchd.draining import FIRST_SECONDS, drain
from switchd.engine import PREFACE
from switchd.errors import ConfigurationError
from switchd.events import Ended, NoSession, Switched
from switchd.factory import assemble
from switchd.http1 import Channel
from switchd.http2 import Session
from switchd.negotiation import Entry
from switchd.testing import Wire
from tests.http2_client import Client, end_all
from tests.http2_client import site as site_with_h2c
from tests.serving import PLAIN, SWITCH, SWITCHED, Accepts, Says, Site, statuses
from tests.wires import PROXY, TLSWire, client_tls, server_tls, write_certificate

BOTH = (b"h2", b"http/1.1")


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


def wrapped(server: Any, folder: Path, clock: Clock, alpn: Sequence[str]) -> Any:
    """A listener's factory."""
    key, certificate = write_certificate(folder)
    certificates = Certificates(Tls(certificate=certificate.name, key=key.name), folder, clock, alpn)
    return secured(server, certificates, clock)


def wrapping(site: Site) -> Any:
    """What Twisted makes of an `ssl:` endpoint."""
    return TLSMemoryBIOFactory(server_tls(), False, site.factory, site.clock)


def tls(site: Site, theirs: Sequence[bytes] = BOTH, creator: Any = None, first: bytes = b"", **client: Any) -> TLSWire:
    """A client with TLS."""

    def connect(server: Any, clock: Clock) -> TLSWire:
        return TLSWire(server, clock, creator, client_tls(alpn=theirs, **client), first)

    return cast(TLSWire, site.connect(connect))


def http2(site: Site, first: bytes = b"") -> Client:
    """A client that speaks HTTP/2."""

    def connect(server: Any, clock: Clock) -> TLSWire:
        return TLSWire(server, clock, None, client_tls(alpn=BOTH), first)

    return Client(site, kind=connect)


def occupant(site: Site) -> Any:
    """The protocol of the one connection."""
    (connection,) = site.factory.connections
    return connection.protocol


class TestALPN:
    def test_with_h2_the_server_speaks_first(self) -> None:
        site = Site()
        wire = tls(site)
        assert wire.alpn == b"h2"
        assert isinstance(occupant(site), Session)
        frame, length = Frame.parse_frame_header(memoryview(wire.received[:9]))
        assert isinstance(frame, SettingsFrame)
        assert len(wire.received) >= 9 + length
        wire.reset()

    def test_with_h2_requests_are_answered(self) -> None:
        site = Site()
        client = http2(site)
        answer = client.get("/x")
        assert (answer.status, answer.body) == (200, b"GET /x ")
        assert [event.stack for event in site.told(Switched)] == [("h2",)]
        client.wire.reset()
        assert [event.protocol for event in site.told(Ended)] == ["h2"]

    @pytest.mark.parametrize("theirs", [(), (b"http/1.1",), (b"spdy/1", b"http/1.1")])
    def test_with_anything_else_nothing_is_different(self, theirs: tuple[bytes, ...]) -> None:
        site = Site({"/shout": Accepts()})
        wire = tls(site, theirs)
        assert wire.received == b""
        wire.send(PLAIN)
        assert isinstance(occupant(site), Channel)
        assert statuses(wire.take()) == [200]
        wire.send(SWITCH + b"early")
        assert wire.received == SWITCHED + b"EARLY"
        assert [event.stack for event in site.told(Switched)] == [("shout",)]
        wire.reset()

    @pytest.mark.parametrize("theirs", [(), (b"http/1.1",)], ids=["no ALPN", "http/1.1"])
    @pytest.mark.parametrize("h2c", [False, True])
    def test_http2_that_was_not_agreed_on_is_junk(self, theirs: tuple[bytes, ...], h2c: bool) -> None:
        """RFC 9113 section 3.2."""
        site = site_with_h2c() if h2c else Site()
        wire = tls(site, theirs)
        wire.send(PREFACE + b"\0\0\0\4\0\0\0\0\0")
        assert statuses(wire.received)[0] in (400, 505)
        wire.close_notify()
        assert wire.closed

    def test_junk_where_http2_was_agreed_on_is_answered_in_http2(self) -> None:
        site = Site()
        wire = tls(site)
        wire.send(PLAIN * 2)
        assert not wire.received.startswith(b"HTTP/1.1")
        wire.close_notify()
        assert wire.closed
        assert site.clock.getDelayedCalls() == []

    @pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
    def test_is_the_listeners_own(self, tmp_path: Path, version: int) -> None:
        """What Twisted's `ssl:` endpoints would ask the factory for does not count."""
        site = Site()
        for alpn, agreed in ((["http/1.1"], b"http/1.1"), (["h2"], b"h2"), (["http/1.1", "h2"], b"http/1.1")):
            listener = wrapped(site.factory, tmp_path, site.clock, alpn)
            wire = Wire(listener, site.clock)
            client = TLSWire.over(wire, client_tls(alpn=BOTH, oldest=version, newest=version))
            assert client.alpn == agreed
            wire.reset()

    def test_a_path_that_requires_h2c_is_served(self) -> None:
        site = site_with_h2c(entries=[Entry("/", "other", (b"h2c",), Says(), require=True)])
        assert http2(site).get("/").status == 200

    def test_drain_says_goodbye_and_closes(self) -> None:
        site = Site()
        client = http2(site)
        assert client.get("/").status == 200
        over: list[None] = []
        drain(site.factory, 10, site.clock).addCallback(over.append)
        client.wire.turn()
        client.talk()
        assert client.goaways[-1] == (1, 0)
        wire: Any = client.wire
        wire.close_notify()
        assert over == [None]


class TestNoSession:
    """Who comes to no TLS session is let go, and nobody else notices."""

    def deadline(self, wire: Wire, seconds: float = 20) -> None:
        wire.clock.advance(seconds)
        wire.turn()

    @pytest.mark.parametrize("sent", [[], [b"\x16"], [b"\x16\x03\x01\x02\x00", b"\x01\x00\x01\xfc\x03\x03"]])
    def test_a_handshake_that_does_not_go_on_is_aborted(self, sent: list[bytes]) -> None:
        site = Site()
        wire = Wire(wrapping(site), site.clock)
        for data in sent:
            wire.send(data)
        self.deadline(wire, 19)
        assert not wire.closed
        self.deadline(wire, 1)
        assert wire.closed
        assert len(site.told(NoSession)) == len(site.events) == 1
        assert site.clock.getDelayedCalls() == []
        assert site.factory.connections == set()

    def test_a_handshake_at_a_byte_a_second_is_aborted(self) -> None:
        site = Site()
        wire = Wire(wrapping(site), site.clock)
        client = SSL.Connection(client_tls(), None)
        client.set_connect_state()
        with pytest.raises(SSL.WantReadError):
            client.do_handshake()
        hello = client.bio_read(65536)
        for byte in hello[:20]:
            assert not wire.closed
            wire.send(bytes([byte]))
            self.deadline(wire, 1)
        assert wire.closed

    def test_a_client_that_says_nothing_inside_its_session_is_closed(self) -> None:
        site = Site()
        wire = tls(site, ())
        self.deadline(wire)
        wire.close_notify()
        assert wire.closed
        assert site.events == []

    @pytest.mark.parametrize(
        "junk",
        [PLAIN, PREFACE, b"\0" * 100, b"\xff" * 100_000, b"\x15\x03\x01\0\2\2\x28"],
        ids=["HTTP/1.1", "HTTP/2", "zeros", "ones", "alert"],
    )
    def test_junk_is_one_line_of_the_log(self, junk: bytes, logged: list[type[BaseException]]) -> None:
        site = Site()
        bystander = tls(site, ())
        wire = Wire(wrapping(site), site.clock)
        wire.send(junk)
        assert wire.closed
        assert len(site.told(NoSession)) == len(site.events) == 1
        assert logged == []
        bystander.send(PLAIN)
        assert statuses(bystander.received) == [200]
        bystander.reset()

    def test_the_line_says_why(self) -> None:
        site = Site()
        Wire(wrapping(site), site.clock).send(PLAIN)
        assert site.told(NoSession)[0].why == "http request"

    def test_a_client_in_clear_that_says_nothing_is_no_news(self) -> None:
        site = Site()
        wire = site.connect()
        self.deadline(wire)
        assert wire.closed
        assert site.events == []

    def test_a_client_that_leaves_in_its_handshake_is_no_news(self) -> None:
        site = Site()
        for end in ("reset", "half_close"):
            wire = Wire(wrapping(site), site.clock)
            wire.send(b"\x16\x03\x01")
            getattr(wire, end)()
            assert wire.closed
        assert site.events == []
        assert site.clock.getDelayedCalls() == []

    def test_drain_waits_for_handshakes_no_longer_than_a_round_trip_takes(self) -> None:
        site = Site()
        wire = Wire(wrapping(site), site.clock)
        wire.send(b"\x16\x03\x01")
        over: list[None] = []
        drain(site.factory, 10, site.clock).addCallback(over.append)
        site.clock.advance(FIRST_SECONDS)
        wire.turn()
        assert over == [None]


class TestBehindAProxy:
    @pytest.mark.parametrize("theirs", [BOTH, ()], ids=["h2", "http/1.1"])
    def test_what_it_says_comes_before_tls(self, theirs: tuple[bytes, ...]) -> None:
        switch = Accepts()
        site = Site({"/shout": switch})
        if theirs:
            client = http2(site, first=PROXY)
            assert client.get("/").status == 200
            page: Any = site.page
            peer = page.requests[0].getClientAddress()
        else:
            wire = tls(site, (), first=PROXY)
            wire.send(SWITCH + b"x")
            assert wire.received == SWITCHED + b"X"
            peer = switch.asked[0].peer
            assert switch.asked[0].secure
            wire.reset()
        assert (peer.host, peer.port) == ("198.51.100.7", 1234)


def test_a_connection_leaves_nothing_behind() -> None:
    site = Site({"/shout": Accepts()})
    gc.collect()
    gc.disable()
    try:
        client = http2(site)
        client.get("/")
        client.wire.reset()
        wire = tls(site, ())
        wire.send(SWITCH)
        wire.reset()
    finally:
        gc.enable()
    assert site.factory.connections == set()
    assert site.clock.getDelayedCalls() == []


class TestTable:
    """`[listen.tls]`, as an operator sees it."""

    def wrong(self, folder: Path, table: str, endpoint: str = "tcp:0") -> list[str]:
        text = f'[[listen]]\nendpoint = "{endpoint}"\n[listen.tls]\n{table}\n'
        parsed = config.parse(text, "f", folder)
        with pytest.raises(ConfigurationError) as caught:
            assemble(*parsed, reactor)
        return str(caught.value).splitlines()

    def test_names_every_mistake_at_once(self, tmp_path: Path) -> None:
        table = 'certificate = "no.pem"\nkey = "no.key"\nclient_certificates = "required"'
        assert self.wrong(tmp_path, table) == [
            f"f: listen[0].tls.certificate: {tmp_path}/no.pem cannot be read: No such file or directory",
            f"f: listen[0].tls.key: {tmp_path}/no.key cannot be read: No such file or directory",
            "f: listen[0].tls.client_ca: missing; client certificates are asked for: expected a file of who vouches"
            " for them",
        ]

    @pytest.mark.parametrize(
        ("endpoint", "said"),
        [
            ("endpoint = 8080", 'expected a Twisted endpoint, for example "tcp:8080", got 8080'),
            ("", 'missing; expected a Twisted endpoint, for example "tcp:8080"'),
            ('endpoint = ""', 'expected a Twisted endpoint, for example "tcp:8080", got ""'),
            ('endpoint = "nope:1"', "\"nope:1\" is no endpoint: Unknown endpoint type: 'nope'"),
        ],
    )
    def test_is_looked_at_whatever_is_wrong_with_its_endpoint(self, tmp_path: Path, endpoint: str, said: str) -> None:
        text = f'[[listen]]\n{endpoint}\n[listen.tls]\ncertificate = "no.pem"\n'
        with pytest.raises(ConfigurationError) as caught:
            assemble(*config.parse(text, "f", tmp_path), reactor)
        problem = f"{tmp_path}/no.pem cannot be read: No such file or directory"
        lines = [f"f: listen[0].endpoint: {said}", f"f: listen[0].tls.certificate: {problem}"]
        assert str(caught.value).splitlines() == lines

    @pytest.mark.parametrize("endpoint", ["ssl:0:privateKey={key}:certKey={cert}", "haproxy:ssl:0:privateKey={key}"])
    def test_is_not_for_endpoints_that_speak_tls(self, tmp_path: Path, endpoint: str) -> None:
        key, certificate = write_certificate(tmp_path)
        found = self.wrong(
            tmp_path,
            'certificate = "cert.pem"\nkey = "key.pem"',
            endpoint.format(key=key, cert=certificate),
        )
        problem = "an ssl: endpoint speaks TLS already; expected a tcp: endpoint with this table"
        assert f"f: listen[0].tls: {problem}" in found

    def test_makes_an_endpoint_that_speaks_tls(self, tmp_path: Path) -> None:
        write_certificate(tmp_path)
        tables = '[[listen]]\nendpoint = "tcp:0"\n[listen.tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
        plain, with_tls = assemble(
            *config.parse('[[listen]]\nendpoint = "tcp:0"\n' + tables, "f", tmp_path), reactor
        ).listeners
        assert plain.certificates is None
        assert with_tls.certificates is not None

    def test_does_not_count_with_listen(self, tmp_path: Path) -> None:
        """As all `[[listen]]` tables do not; what is wrong in the text is told still."""
        text = '[[listen]]\nendpoint = "tcp:0"\n[listen.tls]\ncertificate = "no.pem"\n'
        made = assemble(*config.parse(text, "f", tmp_path, ["tcp:0"]), reactor)
        assert len(made.listeners) == 1
