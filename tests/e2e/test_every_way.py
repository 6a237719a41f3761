"""One plugin of a third party, installed with pip, through every way of `conf/examples/every-way.toml`."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from attrs import define, field
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from tests.e2e.conftest import SECONDS, Server
from tests.e2e.documents import Terminal, installed
from tests.e2e.processes import ROOT
from tests.wires import PROXY, certificate

pytestmark = pytest.mark.e2e

SWITCH = """
[[switch]]
path     = "/journal"
protocol = "journal"
folder   = "pages"
"""

HEAD = b"%b HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade%b\r\nUpgrade: %b\r\n"


@define
class Served:
    """The server, and where it listens.

    Attributes:
        server: The process.
        places: The address of each of the listeners, by its name.
        pages: Where the plugin writes.
    """

    server: Server
    places: dict[str, Any]
    pages: Path
    seen: set[Path] = field(factory=set)

    def page(self) -> str:
        """What the plugin has written since the last look, once it has."""
        self.server.wait_for("journal on /journal ended by server")
        (page,) = set(self.pages.iterdir()) - self.seen
        self.seen.add(page)
        return page.read_text()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    installation = installed(tmp_path_factory.getbasetemp())
    folder = tmp_path_factory.mktemp("every-way")
    package = copytree(Path(__file__).with_name("journal"), folder / "journal")
    terminal = Terminal(folder, installation.programs)
    terminal.run(f"pip install -q {package}")
    key, cert = certificate()
    (folder / "every-way.key").write_bytes(key)
    (folder / "every-way.crt").write_bytes(cert)
    (folder / "pages").mkdir()
    example = (ROOT / "conf" / "examples" / "every-way.toml").read_text()
    # Any port that is free, and the plugin beside ADDONE.
    (folder / "every-way.toml").write_text(re.sub(r"tcp:\d+", "tcp:0", example) + SWITCH)
    server = Server(folder, "--config", "every-way.toml", program=installation.programs / "twistd")
    try:
        yield Served(server, _places(server, folder), folder / "pages")
        server.signal(signal.SIGTERM)
        server.end()
        assert not re.search("Traceback|Unhandled", server.log), server.log
    finally:
        server.kill()
        terminal.run("pip uninstall -q -y switchd-journal")


def _places(server: Server, folder: Path) -> dict[str, Any]:
    """Where it listens, in the order of the file."""
    places: dict[str, Any] = {}
    for name in ("tcp", "haproxy", "unix", "tcp+tls", "haproxy+tls", "unix+tls"):
        found = server.wait_for(r"listening on (\w+) (\S+)")
        host, _, port = found[2].partition(":")
        places[name] = (host, int(port)) if found[1] == "tcp" else str(folder / found[2])
    return places


class Line:
    """A connection in HTTP/1.1, and whatever it becomes."""

    def __init__(self, place: Any, proxied: bool) -> None:
        if isinstance(place, tuple):
            self.socket = socket.create_connection(place, timeout=SECONDS)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(SECONDS)
            self.socket.connect(place)
        self.heard = b""
        if proxied:
            self.send(PROXY)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """What comes, up to and with `mark`."""
        while mark not in self.heard:
            data = self.socket.recv(65536)
            assert data, self.heard
            self.heard += data
        before, _, self.heard = self.heard.partition(mark)
        return before + mark

    def encrypt(self, *alpn: str) -> None:
        context = ssl.create_default_context(cadata=certificate()[1].decode())
        context.set_alpn_protocols(alpn)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == alpn[0]

    def upgrade_to_tls(self, *alpn: str) -> None:
        self.send(HEAD % (b"OPTIONS *", b"", b"TLS/1.2") + b"\r\n")
        assert b"\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n" in self.until(b"\r\n\r\n")
        assert self.heard == b""
        self.encrypt(*alpn)
        if alpn[0] == "http/1.1":
            assert self.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")

    def upgrade(self, early: bytes) -> None:
        self.send(HEAD % (b"GET /journal", b"", b"journal") + b"\r\n" + early)
        assert self.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")

    def end(self) -> None:
        """The server ends the connection."""
        assert self.heard + self.socket.recv(1) == b""
        self.close()

    def close(self) -> None:
        if isinstance(self.socket, ssl.SSLSocket):
            self.socket = self.socket.unwrap()  # which TLS asks of both sides
        self.socket.close()


class Stream:
    """A stream of HTTP/2 on a connection, switched by extended CONNECT."""

    def __init__(self, line: Line, early: bytes, settings: bool = False) -> None:
        self.line = line
        self.heard = b""
        self.ended = False
        self.status = ""
        self.number = 0
        self.h2 = H2Connection(H2Configuration(header_encoding="utf-8"))
        if settings:
            offer = self.h2.initiate_upgrade_connection()
            assert offer is not None
            head = HEAD % (b"GET /", b", HTTP2-Settings", b"h2c")
            line.send(head + b"HTTP2-Settings: %b\r\n\r\n" % offer.rstrip(b"="))
            assert line.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        else:
            self.h2.initiate_connection()
        self.flush()
        while not self.h2.remote_settings.enable_connect_protocol:
            self.turn()
        self.number = self.h2.get_next_available_stream_id()
        pseudo = [(":method", "CONNECT"), (":protocol", "journal"), (":scheme", "https"), (":authority", "localhost")]
        self.h2.send_headers(self.number, [*pseudo, (":path", "/journal")])
        self.send(early)
        while not self.status:
            self.turn()
        assert self.status == "200"

    def flush(self) -> None:
        self.line.send(self.h2.data_to_send())

    def turn(self) -> None:
        data, self.line.heard = self.line.heard or self.line.socket.recv(65536), b""
        assert data
        for event in self.h2.receive_data(data):
            if not self.number or getattr(event, "stream_id", None) != self.number:
                continue  # about the connection, or what asked for h2c
            if isinstance(event, ResponseReceived):
                self.status = str(dict[Any, Any](event.headers)[":status"])
            elif isinstance(event, DataReceived):
                self.heard += event.data
            elif isinstance(event, StreamEnded):
                self.ended = True
            assert not isinstance(event, StreamReset)
        self.flush()

    def send(self, data: bytes) -> None:
        self.h2.send_data(self.number, data)
        self.flush()

    def until(self, mark: bytes) -> bytes:
        while mark not in self.heard:
            self.turn()
        before, _, self.heard = self.heard.partition(mark)
        return before + mark

    def end(self) -> None:
        while not self.ended:
            self.turn()
        assert self.heard == b""
        self.h2.end_stream(self.number)
        self.flush()
        self.line.socket.close()


EARLY = b"first\n"


def upgrade(line: Line) -> Any:
    line.upgrade(EARLY)
    return line


def upgrade_in_tls(line: Line) -> Any:
    line.encrypt("http/1.1")
    return upgrade(line)


def upgrade_after_tls(line: Line) -> Any:
    line.upgrade_to_tls("http/1.1")
    return upgrade(line)


def connect_by_prior_knowledge(line: Line) -> Any:
    return Stream(line, EARLY)


def connect_after_h2c(line: Line) -> Any:
    return Stream(line, EARLY, settings=True)


def connect_by_alpn(line: Line) -> Any:
    line.encrypt("h2", "http/1.1")
    return Stream(line, EARLY)


def connect_after_tls(line: Line) -> Any:
    line.upgrade_to_tls("h2", "http/1.1")
    return Stream(line, EARLY)


IN_CLEAR = (upgrade, upgrade_after_tls, connect_by_prior_knowledge, connect_after_h2c, connect_after_tls)
IN_TLS = (upgrade_in_tls, connect_by_alpn)
WAYS = [
    pytest.param(place + suffix, way, id=f"{way.__name__} on {place + suffix}")
    for place in ("tcp", "haproxy", "unix")
    for suffix, ways in (("", IN_CLEAR), ("+tls", IN_TLS))
    for way in ways
]


@pytest.mark.parametrize(("place", "way"), WAYS)
def test_the_plugin_sees_the_same(served: Served, place: str, way: Callable[[Line], Any]) -> None:
    talk = way(Line(served.places[place], place.startswith("haproxy")))
    talk.send(b"second\n")
    assert talk.until(b"2 second\n") == b"1 first\n2 second\n"
    talk.send(b"quit\n")
    assert talk.until(b"\n") == b"3 quit\n"
    talk.end()
    assert served.page().split("\n") == ["made", "first", "second", "quit", "ConnectionDone"]
