"""RFC 2817: TLS by Upgrade. Rows 25 and 26 of the checklist, attacks A11, A20 and A21, and what comes inside."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hyperframe.frame import SettingsFrame
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from switchd import config, plugins
from switchd.certificates import LOOK_SECONDS
from switchd.draining import drain
from switchd.errors import UnusableOptions
from switchd.events import Ended, Rejected, Switched
from switchd.http1 import Session
from switchd.interfaces import Accept, Context, Offer
from switchd.negotiation import Entry
from switchd.protocols.addone import AddOne
from switchd.protocols.h2c import H2c
from switchd.protocols.tls import Tls
from switchd.protocols.websocket.switch import WebSocket
from switchd.routes import StaticFiles
from switchd.testing import Wire, assert_plugin_conforms, cuts, request
from tests.authorities import Authority
from tests.http2_client import Client, end_all
from tests.serving import HEAD, PLAIN, SWITCH, SWITCHED, Accepts, Page, Says, Shout, Site, answers, statuses
from tests.transports.loops import REACTORS, loop
from tests.wires import KINDS, Kind, TLSWire, client_tls, write_certificate

(plugin,) = (found.plugin for found in plugins.find().plugins if found.plugin.name == "tls")
ALSO: tuple[bytes, ...] = plugin.also  # type: ignore[attr-defined]
TOKENS = (*plugin.tokens, *ALSO)
OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n"
CLEAR = {name: kind for name, kind in KINDS.items() if "tls" not in name}
TLS = b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"
SAID = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade\r\n\r\n"


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., Tls.Options]:
    """Options of the plugin, with a certificate."""
    key, certificate = write_certificate(tmp_path)
    return lambda **more: Tls.Options(certificate=str(certificate), key=str(key), **more)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines of the log about sessions that there are not."""
    found: list[str] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if "no TLS session" in formatEvent(event):
            found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


Serve = Callable[..., Site]


@pytest.fixture
def serve(options: Callable[..., Tls.Options]) -> Iterator[Serve]:
    """Makes a server with TLS by Upgrade on "/", and ADDONE on "/addone", SHOUT on "/shout"."""
    made: list[Site] = []

    def make(
        *more: Entry, require: bool = False, settings: str = "", path: str = "/", root: Any = None, **given: Any
    ) -> Site:
        clock = Clock()
        switch = Tls(options(**given), Context(clock, path, Path()))
        entries = [
            Entry(path, "tls", plugin.tokens, switch, require=require, also=ALSO),
            Entry("/addone", "addone", (b"addone",), Accepts(lambda: AddOne(AddOne.Options()))),
            Entry("/shout", "shout", (b"shout",), Accepts()),
            *more,
        ]
        made.append(Site(entries, root, settings, clock))
        return made[-1]

    yield make
    end_all()
    for site in made:
        for connection in tuple(site.factory.connections):
            connection.transport.abortConnection()
        Wire(Shout(), site.clock).turn()
        assert site.factory.connections == set()
        assert site.clock.getDelayedCalls() == []


def upgraded(
    site: Site, head: bytes = HEAD % b"/" + TLS, body: bytes = b"", kind: Any = Wire, **client: Any
) -> TLSWire:
    """A client that has come to a session."""
    wire = site.connect(kind)
    wire.send(head + b"\r\n" + body)
    switched, _, rest = wire.take().partition(b"\r\n\r\n")
    assert switched.startswith(b"HTTP/1.1 101 ")
    assert rest == b""  # it is the client that begins
    return TLSWire.over(wire, client_tls(**client) if client else None)


# Row 25: the 101, the handshake, the answer inside


@pytest.mark.parametrize("kind", CLEAR.values(), ids=CLEAR)
def test_row_25_the_request_is_answered_inside_tls(serve: Serve, kind: Kind) -> None:
    site = serve()
    wire = site.connect(kind)
    wire.send(HEAD % b"/x" + TLS + b"\r\n")
    assert wire.take() == SAID
    client = TLSWire.over(wire)
    (answer,) = answers(client.take())
    assert (answer[0], answer[2]) == (200, b"GET /x ")
    assert b"upgrade" not in answer[1]
    client.send(PLAIN)
    assert statuses(client.take()) == [200]


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        (b"TLS/1.2", b"TLS/1.2, HTTP/1.1"),
        (b"TLS/1.3", b"TLS/1.3, HTTP/1.1"),
        (b"TLS/1.0", b"TLS/1.0, HTTP/1.1"),
        (b"tls/1.2", b"TLS/1.2, HTTP/1.1"),
        (b"TLS/1.1, TLS/1.0", b"TLS/1.0, HTTP/1.1"),
        (b"TLS/1.2,TLS/1.1,TLS/1.0", b"TLS/1.2, HTTP/1.1"),
        (b"h2c, TLS/1.3", b"TLS/1.3, HTTP/1.1"),
    ],
)
def test_row_25_the_101_is_spelt_as_clients_search_for_it(serve: Serve, offer: bytes, said: bytes) -> None:
    wire = serve().connect()
    wire.send(HEAD % b"/" + b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % offer)
    assert wire.received == SAID.replace(b"TLS/1.2, HTTP/1.1", said)
    wire.reset()


@pytest.mark.parametrize("offer", [b"TLS/1.1", b"TLS", b"TLS/1.4", b"TLS/2.0", b"SSL/3.0", b"TLS/1.2.3", b"XTLS/1.2"])
def test_row_25_other_versions_are_left(serve: Serve, offer: bytes) -> None:
    wire = serve().connect()
    wire.send(HEAD % b"/" + b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % offer)
    assert statuses(wire.received) == [200]
    wire.reset()


@pytest.mark.parametrize(
    ("token", "version"), [(b"TLS/1.0", "TLSv1.2"), (b"TLS/1.2", "TLSv1.2"), (b"TLS/1.3", None)], ids=["0", "2", "3"]
)
def test_a_token_is_the_oldest_version_of_its_session(serve: Serve, token: bytes, version: str | None) -> None:
    """TLS/1.0 is the token for any version, and 1.2 the oldest that there is here."""
    head = HEAD % b"/" + TLS.replace(b"TLS/1.2", token)
    old = upgraded(serve(), head, newest=SSL.TLS1_2_VERSION)
    assert statuses(old.received) == ([200] if version else [])
    assert old.closed == (version is None)
    if version:
        assert old.version == version
    new = upgraded(serve(), head, newest=SSL.TLS1_3_VERSION)
    assert (new.version, statuses(new.received)) == ("TLSv1.3", [200])


def test_a_session_is_not_older_than_configured_whatever_the_token(serve: Serve) -> None:
    for token in (b"TLS/1.0", b"TLS/1.2", b"TLS/1.3"):
        site = serve(minimum_version="1.3")
        client = upgraded(site, HEAD % b"/" + TLS.replace(b"TLS/1.2", token), newest=SSL.TLS1_2_VERSION)
        assert client.closed


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (HEAD % b"/" + b"Upgrade: TLS/1.2\r\n", "no Connection"),
        (HEAD % b"/" + b"Connection: keep-alive\r\nUpgrade: TLS/1.2\r\n", "Connection lists something else"),
        ((HEAD % b"/").replace(b"1.1", b"1.0") + TLS, "HTTP/1.0"),
    ],
)
def test_row_25_without_a_valid_offer_nothing_happens(serve: Serve, head: bytes, version: str) -> None:
    """Rows 1 and 2; Apache, which has this too, does not look at Connection."""
    wire = serve().connect()
    wire.send(head + b"\r\n")
    assert statuses(wire.received) == [200]


@pytest.mark.parametrize(
    ("framing", "body"),
    [(b"Content-Length: 5\r\n", b"hello"), (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")],
    ids=["length", "chunks"],
)
def test_row_25_a_request_with_a_body_is_answered_too(serve: Serve, framing: bytes, body: bytes) -> None:
    client = upgraded(serve(), b"POST /x HTTP/1.1\r\nHost: example.org\r\n" + TLS + framing, body)
    assert answers(client.received)[0][2] == b"POST /x hello"


def test_row_25_with_expect_there_is_a_100_before(serve: Serve) -> None:
    wire = serve().connect()
    wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + TLS + b"\r\n")
    assert statuses(wire.take()) == [100]
    wire.send(b"ab")
    assert wire.take() == SAID
    assert answers(TLSWire.over(wire).received)[0][2] == b"PUT /x ab"


def test_a_request_that_is_to_be_the_last_is_the_last_inside(serve: Serve) -> None:
    client = upgraded(serve(), HEAD % b"/" + TLS.replace(b"Connection: ", b"Connection: close, "))
    ((status, fields, _),) = answers(client.take())
    assert (status, fields[b"connection"]) == (200, b"close")
    client.send(PLAIN)
    assert client.take() == b""
    client.close_notify()
    assert client.closed


def test_row_12_earlier_requests_are_answered_in_clear(serve: Serve) -> None:
    wire = serve().connect()
    wire.send(PLAIN + PLAIN + HEAD % b"/" + TLS + b"\r\n")
    received = wire.take()
    assert statuses(received) == [200, 200, 101]
    assert received.endswith(SAID)
    assert statuses(TLSWire.over(wire).received) == [200]


def test_the_request_may_come_in_any_pieces(serve: Serve) -> None:
    site = serve()
    for segments in cuts(HEAD % b"/" + TLS + b"\r\n"):
        wire = site.connect()
        for segment in segments:
            wire.send(segment)
        assert wire.take() == SAID
        client = TLSWire.over(wire)
        assert statuses(client.received) == [200]
        client.reset()


def test_the_handshake_may_come_in_any_pieces(serve: Serve) -> None:
    class Drips(TLSWire):
        """A byte in a segment."""

        def _talk(self) -> None:
            arrive = self.transport.arrive

            def drip(data: Any) -> None:
                for index in range(len(data)):
                    arrive(data[index : index + 1])

            vars(self.transport)["arrive"] = drip
            super()._talk()
            del vars(self.transport)["arrive"]

    wire = serve().connect()
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    wire.take()
    assert statuses(Drips.over(wire).received) == [200]


# Row 26: required, and OPTIONS *


def test_row_26_options_is_answered_inside_tls(serve: Serve) -> None:
    """RFC 2817 section 3.2: how to ask for TLS before anything is told."""
    client = upgraded(serve(), OPTIONS + TLS)
    (answer,) = answers(client.take())
    assert answer[0] == 200
    client.send(PLAIN)
    assert statuses(client.received) == [200]


@pytest.mark.parametrize(
    "request_",
    [
        PLAIN,
        HEAD % b"/a/b" + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        OPTIONS + b"\r\n",
        HEAD % b"/" + b"Upgrade: TLS/1.2\r\n\r\n",
        HEAD % b"/" + b"Connection: upgrade\r\nUpgrade: TLS/1.1\r\n\r\n",
        SWITCH,
        HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: TLS/1.1, shout\r\n\r\n",
    ],
    ids=["GET", "below", "POST", "OPTIONS", "no Connection", "TLS/1.1", "another switch", "both"],
)
def test_row_26_required_means_that_nothing_is_served_in_clear(serve: Serve, request_: bytes) -> None:
    """A21: who takes the offer away from a request gets no more than who never made it."""
    site = serve(require=True)
    wire = site.connect()
    wire.send(request_)
    ((status, fields, _),) = answers(wire.received)
    assert status == 426
    assert fields[b"upgrade"] == b"TLS/1.3, TLS/1.2"
    assert b"upgrade" in fields[b"connection"].lower()
    page: Any = site.page
    assert page.requests == []
    assert site.told(Switched) == []
    wire.reset()


def test_row_26_required_is_satisfied_inside(serve: Serve) -> None:
    client = upgraded(serve(require=True))
    client.send(PLAIN)
    assert statuses(client.take()) == [200, 200]
    client.send(SWITCH + b"x")
    assert client.take() == SWITCHED + b"X"


@pytest.mark.parametrize("alpn", [(), (b"h2",)], ids=["HTTP/1.1", "HTTP/2"])
def test_row_26_required_is_satisfied_on_a_listener_with_tls(serve: Serve, alpn: Sequence[bytes]) -> None:
    site = serve(require=True)

    def connect(server: Any, clock: Clock) -> TLSWire:
        return TLSWire(server, clock, None, client_tls(alpn=alpn))

    if alpn:
        assert Client(site, kind=connect).get("/").status == 200
    else:
        wire = site.connect(connect)
        wire.send(PLAIN)
        assert statuses(wire.received) == [200]


def test_row_26_required_means_that_of_http2_in_clear_too(serve: Serve) -> None:
    clear = H2c(H2c.Options(), Context(None, "/", Path()))
    site = serve(Entry("/open", "h2c", (b"h2c",), clear), path="/private", require=True)
    client = Client(site)
    assert client.get("/open").status == 200
    assert client.get("/private").reset == 13  # HTTP_1_1_REQUIRED: there the 426 says what to do
    client.wire.reset()


SPELLINGS = [
    "/req/x",
    "/./req/x",
    "/%2e/req/x",
    "/%2e%2freq/x",
    "/req%2f/x",
    "/req%2Fx",
    "//req/x",
    "/%2freq/x",
    "/x/../req/x",
    "/x%2f../req/x",
    "/../req/x",
]


@pytest.fixture
def files(tmp_path: Path) -> StaticFiles:
    """A folder with a file /req/x that is for TLS, and one that is not."""
    folder = tmp_path / "files"
    (folder / "req").mkdir(parents=True)
    (folder / "req" / "x").write_text("secret")
    (folder / "open").write_text("open")
    return StaticFiles(str(folder))


@pytest.mark.parametrize("path", SPELLINGS)
def test_row_26_required_holds_however_the_path_is_spelt(serve: Serve, files: StaticFiles, path: str) -> None:
    wire = serve(path="/req", require=True, root=files).connect()
    wire.send(HEAD % path.encode() + b"\r\n" + b"HEAD /open HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert statuses(wire.received) == [426, 200]


@pytest.mark.parametrize("path", SPELLINGS)
def test_row_26_so_it_does_in_http2_in_clear(serve: Serve, files: StaticFiles, path: str) -> None:
    clear = H2c(H2c.Options(), Context(None, "/", Path()))
    client = Client(serve(Entry("/", "h2c", (b"h2c",), clear), path="/req", require=True, root=files))
    assert client.get(path).reset == 13
    assert client.get("/open").body == b"open"
    client.wire.reset()


def test_row_26_it_is_advertised_in_clear_only(serve: Serve) -> None:
    site = serve(settings="server.advertise = true")
    wire = site.connect()
    wire.send(PLAIN)
    assert answers(wire.received)[0][1][b"upgrade"] == b"TLS/1.3, TLS/1.2"
    wire.reset()
    client = upgraded(site, HEAD % b"/shout" + TLS)
    assert answers(client.received)[0][1][b"upgrade"] == b"shout"


WRONG_VERSION = HEAD % b"/echo" + (
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def with_websocket_and_h2c(serve: Serve, required: bool = False, **given: Any) -> Site:
    """Besides TLS, on one path."""
    options = WebSocket.Options(handler="switchd.protocols.websocket:Echo", origins=("same-origin",))
    echo = WebSocket(options, Context(Clock(), "/echo", Path()))
    clear = H2c(H2c.Options(), Context(None, "/", Path()))
    return serve(
        Entry("/echo", "websocket", (b"websocket",), echo, require=required),
        Entry("/", "h2c", (b"h2c",), clear),
        require=required,
        **given,
    )


@pytest.mark.parametrize("asked", [HEAD % b"/echo" + b"\r\n", WRONG_VERSION], ids=["advertised", "refused"])
def test_row_26_inside_it_is_not_told_of_what_is_for_connections_in_clear(serve: Serve, asked: bytes) -> None:
    site = with_websocket_and_h2c(serve, settings="server.advertise = true")
    wire = site.connect()
    wire.send(asked)
    assert answers(wire.take())[0][1][b"upgrade"] == b"websocket, TLS/1.3, TLS/1.2, h2c"
    wire.reset()
    client = upgraded(site)
    client.take()
    client.send(asked)
    assert answers(client.take())[0][1][b"upgrade"] == b"websocket"


def test_row_26_of_two_that_are_required_tls_comes_first(serve: Serve) -> None:
    site = with_websocket_and_h2c(serve, required=True)
    wire = site.connect()
    wire.send(HEAD % b"/echo" + b"\r\n")
    ((status, fields, _),) = answers(wire.take())
    assert (status, fields[b"upgrade"]) == (426, b"TLS/1.3, TLS/1.2")
    wire.send(HEAD % b"/echo" + TLS + b"\r\n")
    wire.take()
    ((status, fields, _),) = answers(TLSWire.over(wire).take())
    assert (status, fields[b"upgrade"]) == (426, b"websocket")


def test_a_path_without_it_is_not_concerned(serve: Serve) -> None:
    wire = serve(path="/private", require=True).connect()
    wire.send(PLAIN + HEAD % b"/private" + b"\r\n")
    assert statuses(wire.take()) == [200, 426]
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    assert statuses(wire.take()) == [200]
    wire.send(SWITCH)
    assert wire.take() == SWITCHED
    wire.reset()


# A20: no byte of the clear part becomes part of the session


@pytest.mark.parametrize("early", [b"x", PLAIN, b"\x16\x03\x01\x00\x05hello"], ids=["byte", "request", "handshake"])
@pytest.mark.parametrize("kind", CLEAR.values(), ids=CLEAR)
def test_a20_bytes_behind_the_request_are_refused(serve: Serve, early: bytes, kind: Kind) -> None:
    site = serve()
    wire = site.connect(kind)
    wire.send(HEAD % b"/" + TLS + b"\r\n" + early)
    wire.half_close()
    assert statuses(wire.received) == [400]
    assert wire.closed
    assert site.told(Switched) == []
    assert len(site.told(Rejected)) == 1


def test_a20_bytes_behind_a_body_are_refused(serve: Serve) -> None:
    wire = serve().connect()
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + TLS + b"\r\nhi" + PLAIN)
    wire.half_close()
    assert statuses(wire.received) == [400]


def test_a20_what_comes_in_clear_after_the_101_is_no_request(serve: Serve, logged: list[type[BaseException]]) -> None:
    site = serve()
    wire = site.connect()
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    wire.take()
    wire.send(PLAIN)
    assert wire.closed
    assert b"HTTP/1.1" not in wire.received
    page: Any = site.page
    assert page.requests == []
    assert logged == []


# A11: a handshake has a deadline


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "part of it"])
@pytest.mark.parametrize("seconds", [10.0, 3.0])
def test_a11_a_handshake_that_does_not_end_is_aborted(serve: Serve, sent: bytes, seconds: float) -> None:
    site = serve(**({} if seconds == 10 else {"handshake_seconds": seconds}))
    wire = site.connect()
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    for byte in sent:
        wire.send(bytes([byte]))
    wire.clock.advance(seconds - 1)
    wire.turn()
    assert not wire.closed
    wire.clock.advance(1)
    wire.turn()
    assert wire.closed
    assert site.told(Ended)[0].why == "aborted"


def test_a_handshake_that_succeeds_is_no_line_of_the_log(serve: Serve, lines: list[str]) -> None:
    client = upgraded(serve())
    client.reset()
    assert lines == []


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("stalled", "ConnectionLost"),
        ("junk", "wrong version number"),
        ("refused", "unsupported protocol"),
        ("gone", "ConnectionLost"),
    ],
)
def test_one_that_fails_is_one_line_that_says_why(
    serve: Serve, lines: list[str], logged: list[type[BaseException]], how: str, why: str
) -> None:
    wire = serve(minimum_version="1.3").connect()
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    wire.take()
    if how == "stalled":
        wire.clock.advance(10)
        wire.turn()
    elif how == "junk":
        wire.send(b"\x16junkjunkjunk")
    elif how == "refused":
        TLSWire.over(wire, client_tls(newest=SSL.TLS1_2_VERSION))
    else:
        wire.reset()
    assert wire.closed
    (line,) = lines
    assert line.startswith(f"1.1 came to no TLS session after its upgrade: {why}")
    assert logged == []


def test_after_the_handshake_http_has_its_own_deadlines(serve: Serve) -> None:
    client = upgraded(serve(settings="limits.keepalive_seconds = 30"))
    client.clock.advance(29)
    client.turn()
    client.send(PLAIN)
    assert statuses(client.received) == [200, 200]
    client.clock.advance(30)
    client.turn()
    client.close_notify()
    assert client.closed


def test_a_client_that_leaves_in_its_handshake_leaves_nothing(serve: Serve) -> None:
    for end in ("reset", "half_close"):
        site = serve()
        wire = site.connect()
        wire.send(HEAD % b"/" + TLS + b"\r\n")
        wire.send(b"\x16\x03")
        getattr(wire, end)()
        assert wire.closed
        assert site.clock.getDelayedCalls() == []


# Inside: everything again


def test_http1_tls_http1_and_another_protocol_are_one_chain(serve: Serve) -> None:
    site = serve()
    client = upgraded(site)
    client.take()
    client.send(HEAD % b"/addone" + b"Connection: upgrade\r\nUpgrade: addone\r\n\r\n41\n")
    assert client.take().endswith(b"\r\n\r\n42\n")
    client.send(b"1\n")
    assert client.take() == b"2\n"
    assert [event.protocol for event in site.told(Switched)] == ["TLS/1.2", "TLS/1.2 > addone"]
    client.close_notify()
    assert client.closed
    (ended,) = site.told(Ended)
    assert (ended.protocol, ended.path, ended.by, ended.why) == ("TLS/1.2 > addone", "/addone", "client", "closed")


def test_http1_tls_http1_websocket(serve: Serve) -> None:
    options = WebSocket.Options(handler="switchd.protocols.websocket:Echo", origins=("same-origin",))
    switch = WebSocket(options, Context(Clock(), "/echo", Path()))
    site = serve(Entry("/echo", "websocket", (b"websocket",), switch), require=True)
    client = upgraded(site)
    client.take()
    client.send(
        HEAD % b"/echo" + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://example.org\r\n\r\n"
    )
    head, _, _ = client.take().partition(b"\r\n\r\n")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    client.send(b"\x82\x82\0\0\0\0hi")
    assert client.take() == b"\x82\x02hi"
    assert site.told(Switched)[-1].protocol == "TLS/1.2 > websocket"


def test_the_new_protocol_sees_an_encrypted_connection(serve: Serve) -> None:
    asked = Says()
    client = upgraded(serve(Entry("/x", "x", (b"x",), asked)))
    client.send(HEAD % b"/x" + b"Connection: upgrade\r\nUpgrade: x\r\n\r\n")
    assert [request.secure for request, _ in asked.asked] == [True]


def test_resources_see_an_encrypted_connection(serve: Serve) -> None:
    class Tells(Page):
        def render(self, request: Any) -> bytes:
            return b"%r" % request.isSecure()

    assert answers(upgraded(serve(root=Tells())).received)[0][2] == b"True"


@pytest.mark.parametrize("token", TOKENS)
def test_tls_in_tls_is_left(serve: Serve, token: bytes) -> None:
    site = serve()
    again = HEAD % b"/" + TLS.replace(b"TLS/1.2", token) + b"\r\n"
    inside = upgraded(site)
    inside.take()
    inside.send(again)
    assert statuses(inside.take()) == [200]
    wire = site.connect(TLSWire)
    wire.send(again)
    assert statuses(wire.received) == [200]


def test_h2c_in_tls_is_left(serve: Serve) -> None:
    """RFC 7540 section 3.3; row 21."""
    site = serve(Entry("/", "h2c", (b"h2c",), H2c(H2c.Options(), Context(None, "/", Path()))))
    client = upgraded(site)
    client.take()
    client.send(HEAD % b"/" + b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n")
    assert statuses(client.take()) == [200]


@pytest.mark.parametrize("require", [False, True])
def test_alpn_may_ask_for_http2(serve: Serve, require: bool) -> None:
    """It has no stream for the answer to the request that was an Upgrade; the client asks again."""

    def connect(server: Any, clock: Clock) -> TLSWire:
        wire = Wire(server, clock)
        wire.send(OPTIONS + TLS + b"\r\n")
        assert bytes(wire.take()) == SAID
        return TLSWire.over(wire, client_tls(alpn=[b"h2", b"http/1.1"]))

    site = serve(require=require)
    client = Client(site, kind=connect)
    assert client.frames[:1] == client.of(SettingsFrame)[:1]
    first, second = client.ask("/a"), client.ask("/b")
    client.talk()
    assert (first.body, second.body) == (b"GET /a ", b"GET /b ")
    assert client.goaways == []
    assert [event.protocol for event in site.told(Switched)] == ["TLS/1.2", "TLS/1.2 > h2"]


def test_alpn_is_as_configured(serve: Serve) -> None:
    client = upgraded(serve(alpn=("http/1.1",)), alpn=[b"h2", b"http/1.1"])
    assert client.alpn == b"http/1.1"
    assert statuses(client.received) == [200]


def test_on_a_stream_it_is_left(options: Callable[..., Tls.Options]) -> None:

    switch = Tls(options(), Context(Clock(), "/", Path()))
    asked = request(upgrade=b"TLS/1.2")
    assert switch.offer(asked, Offer(b"TLS", b"1.2")) is not None
    assert switch.offer(evolve(asked, how="connect"), Offer(b"TLS", b"1.2")) is None
    assert switch.offer(evolve(asked, secure=True), Offer(b"TLS", b"1.2")) is None


def test_client_certificates_may_be_asked_for(serve: Serve, tmp_path: Path) -> None:
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    asks = {"client_certificates": "required", "client_ca": str(tmp_path / "ca.pem")}
    assert statuses(upgraded(serve(**asks), identity=authority.issue("me")).received) == [200]
    assert upgraded(serve(**asks), identity=Authority("other").issue("me")).closed


def test_a_certificate_is_renewed_here_too(serve: Serve, tmp_path: Path) -> None:
    site = serve()
    key, certificate = Authority().issue("new")
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "cert.pem").write_bytes(certificate)
    site.clock.advance(LOOK_SECONDS)
    assert upgraded(site).name == "new"


# The end


def test_the_end_of_the_client_reaches_the_protocol_once(serve: Serve) -> None:
    shout = Accepts()
    site = serve(Entry("/again", "shout", (b"again",), shout))
    client = upgraded(site)
    client.send(HEAD % b"/again" + b"Connection: upgrade\r\nUpgrade: again\r\n\r\n")
    client.reset()
    assert len(shout.built[0].reasons) == 1
    assert [(event.by, event.why) for event in site.told(Ended)] == [("network", "connection lost")]


def test_a_client_that_half_closes_gets_what_was_written(serve: Serve) -> None:
    """TLS knows no half-close: it is answered, then its session ends."""
    client = upgraded(serve())
    client.take()
    client.send(SWITCH + b"x")
    client.half_close()
    assert client.received == SWITCHED + b"X"
    assert client.closed


@pytest.mark.parametrize("where", ["handshake", "HTTP", "protocol"])
def test_drain_takes_leave_inside(serve: Serve, where: str) -> None:
    site = serve()
    wire = site.connect()
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    wire.take()
    client = None
    if where != "handshake":
        client = TLSWire.over(wire)
        if where == "protocol":
            client.send(SWITCH)
    over: list[None] = []
    drain(site.factory, 10, site.clock).addCallback(over.append)
    wire.turn()
    if client is not None:
        client.turn()
        assert client._engine.get_shutdown() & SSL.RECEIVED_SHUTDOWN  # a close_notify, and no mere end
        client.close_notify()
        assert [event.why for event in site.told(Ended)] == ["shutdown"]
    assert over == [None]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
@pytest.mark.parametrize("reactor", REACTORS)
@pytest.mark.parametrize("by", ["clients", "server"])
def test_several_handshakes_that_are_closed_in_one_turn_end_once_each(
    serve: Serve, tmp_path: Path, logged: list[type[BaseException]], reactor: str, family: socket.AddressFamily, by: str
) -> None:
    """Twisted aborts a session that does not exist yet, and the connection below it is closed besides."""
    if reactor in ("stock", "switchd"):
        pytest.importorskip("twisted.internet.epollreactor")
    site = serve()
    with loop(reactor, family, tmp_path) as at:
        connect = at.listen(lambda: site.factory.buildProtocol(None))
        clients = [connect() for _ in range(3)]
        for client in clients:
            client.send(HEAD % b"/" + TLS + b"\r\n")
            assert at.receive(client, len(SAID)) == SAID
        if by == "clients":
            for client in clients:
                client.shutdown(socket.SHUT_WR)
        else:
            at.reactor.callLater(0, drain, site.factory, 10, site.clock)
        at.until(lambda: not site.factory.connections)
        at.turn()
    assert [event.why for event in site.told(Ended)] == ["aborted"] * 3
    assert logged == []


def test_a_client_that_does_not_answer_the_farewell_is_aborted(serve: Serve) -> None:
    site = serve()
    upgraded(site)
    over: list[None] = []
    drain(site.factory, 10, site.clock).addCallback(over.append)
    site.clock.advance(10)
    Wire(Shout(), site.clock).turn()
    assert over == [None]


def test_nothing_that_came_before_is_kept(serve: Serve) -> None:
    forgets = Says(lambda request, offer: Accept(lambda session: Shout()))
    site = serve(Entry("/loud", "loud", (b"loud",), forgets))
    wire = site.connect()
    wire.send(PLAIN)
    (connection,) = site.factory.connections
    first = weakref.ref(connection.protocol)
    wire.send(HEAD % b"/" + TLS + b"\r\n")
    wire.take()
    client = TLSWire.over(wire)
    client.send(PLAIN)
    second = weakref.ref(connection.protocol)
    client.send(HEAD % b"/loud" + b"Connection: upgrade\r\nUpgrade: loud\r\n\r\n")
    gc.collect()
    assert first() is None
    assert second() is None
    of_ours = [each for each in gc.get_objects() if isinstance(each, Session) and each.connection is connection]
    assert of_ours == []  # and with it the request that asked for TLS
    session = weakref.ref(connection.transport)
    client.reset()
    page: Any = site.page
    page.requests.clear()
    del client, wire, connection
    gc.collect()
    assert session() is None


# The plugin


def test_the_plugin_keeps_the_contract(options: Callable[..., Tls.Options]) -> None:
    assert_plugin_conforms(plugin, options())


def test_mistakes_in_its_options_are_told_as_those_of_the_file(tmp_path: Path) -> None:
    text = '[[switch]]\npath = "/"\nprotocol = "tls"\ncertificate = "no.pem"\nkey = "no.key"\n'
    parsed, mistakes = config.parse(text, "f", tmp_path, ["tcp:0"])
    assert mistakes == ()
    _, found = plugins.bind(parsed.switch, plugins.find(), Clock(), tmp_path)
    assert [mistake.key for mistake in found] == ["switch[0].certificate", "switch[0].key"]


def test_what_is_required_is_only_the_certificate(tmp_path: Path) -> None:
    with pytest.raises(UnusableOptions):
        Tls(Tls.Options(certificate="no.pem"), Context(Clock(), "/", tmp_path))
