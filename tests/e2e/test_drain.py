"""SIGTERM, to a real server with clients that are in the middle of something: nobody loses what was written to them."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame, PingFrame
from websockets.sync.client import connect, unix_connect

from tests.e2e.conftest import SECONDS, Client, Server, need, twistd
from tests.wires import PROXY, certificate

pytestmark = pytest.mark.e2e

SIZE = 12_000_000
"""Bytes that wait for a client that does not read: more than the system takes off a server."""

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
endpoint = "haproxy:tcp:0:interface=127.0.0.1"

[[listen]]
endpoint = "unix:http.sock"

[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"
[listen.tls]
certificate = "cert.pem"
key = "key.pem"

[[http]]
path = "/"
resource = "flood:Page"

[[switch]]
path = "/flood"
protocol = "flood"

[[switch]]
path = "/stubborn"
protocol = "stubborn"
drain_seconds = 0.2

[[switch]]
path = "/obstinate"
protocol = "stubborn"

[[switch]]
path = "/addone"
protocol = "addone"

[[switch]]
path = "/websocket"
protocol = "websocket"
handler = "flood:Flood"
send_seconds = 0

[[switch]]
path = "/"
protocol = "h2c"

[[switch]]
path = "/"
protocol = "tls"
certificate = "cert.pem"
key = "key.pem"

[limits]
linger_seconds = 0.1
half_closed_seconds = 0.3
shutdown_seconds = 50.0
"""

PLUGINS = """
from switchd.interfaces import SwitchPlugin

flood = SwitchPlugin("flood", b"flood", "flood:Flood")
stubborn = SwitchPlugin("stubborn", b"stubborn", "flood:Stubborn")
"""

FLOOD = f"""
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.web.resource import Resource
from zope.interface import implementer
from switchd.interfaces import IDrain


@implementer(IDrain)
class Flood(Protocol):
    "Writes much at once, reads nothing, and says goodbye."

    def connectionMade(self):
        self.transport.pauseProducing()
        for _ in range({SIZE} // 60_000):
            self.transport.write(b"0123456789" * 6_000)
        print("flooded")

    def drain(self, seconds):
        self.transport.write(b"goodbye")


@implementer(IDrain)
class Stubborn(Protocol):
    "Never ends its goodbye."

    def connectionMade(self):
        self.transport.write(b"here")

    def drain(self, seconds):
        self.transport.write(b"goodbye in %d" % seconds)
        return Deferred()


class Page(Resource):
    isLeaf = True

    def render(self, request):
        body = request.content.read()
        print("asked", request.path.decode())
        reactor.callLater(1, print, "a second later")
        return b"0123456789" * ({SIZE} // 10) if request.path == b"/much" else b"read %d" % len(body)
"""

FLOODED = b"0123456789" * (SIZE // 10) + b"goodbye"

SWITCH = b"GET /%b HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n"
TO_TLS = b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: TLS/1.2\r\n\r\n"


class Site:
    """The server, and connections to it."""

    def __init__(self, server: Server, folder: Path, ports: dict[str, int]) -> None:
        self.server = server
        self.folder = folder
        self.ports = ports

    def connect(self, port: str = "tcp") -> socket.socket:
        if port == "unix":
            client = socket.socket(socket.AF_UNIX)
        else:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(SECONDS)
        client.connect(str(self.folder / "http.sock") if port == "unix" else ("127.0.0.1", self.ports[port]))
        if port == "haproxy":
            client.sendall(PROXY)
        return client

    def switched(self, path: str, token: str, port: str = "tcp") -> socket.socket:
        client = self.connect(port)
        if port == "tls":
            client = encrypted(client)
        return switched(client, path, token)

    def stop(self) -> None:
        self.server.signal(signal.SIGTERM)
        self.server.wait_for("draining: ")

    def endings(self, number: int = signal.SIGTERM) -> dict[str, int]:
        """How its connections have ended, by its last line; it has stopped, by that signal."""
        assert self.server.end() == -number
        found = re.search(
            r"drained in [\d.]+ s: (\d+) idle, (\d+) after an answer, (\d+) after a farewell, (\d+) cut, (\d+) lost",
            self.server.log,
        )
        assert found, self.server.log
        counts = zip(("idle", "answered", "farewell", "cut", "lost"), map(int, found.groups()), strict=True)
        return {name: count for name, count in counts if count}


def head(client: socket.socket) -> bytes:
    """The head of an answer, and nothing behind it."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        assert data, received
        received += data
    return received


def switched(client: socket.socket, path: str, token: str) -> socket.socket:
    client.sendall(SWITCH % (path.encode(), token.encode()))
    assert head(client).startswith(b"HTTP/1.1 101 ")
    return client


def encrypted(client: socket.socket) -> socket.socket:
    context = ssl.create_default_context(cadata=certificate()[1].decode())
    # Without close_notify, the end raises.
    return context.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=False)


def rest(client: socket.socket) -> bytes:
    """What comes until the end, which has to be an orderly one."""
    pieces = []
    with client:
        while piece := client.recv(1 << 20):
            pieces.append(piece)
    return b"".join(pieces)


@contextmanager
def serving(folder: Path, text: str = CONFIG, reactor: str = "") -> Iterator[Site]:
    key, cert = certificate()
    (folder / "key.pem").write_bytes(key)
    (folder / "key.pem").chmod(0o600)
    (folder / "cert.pem").write_bytes(cert)
    (folder / "switchd.toml").write_text(text)
    (folder / "flood.py").write_text(FLOOD)
    (folder / "twisted" / "plugins").mkdir(parents=True)
    (folder / "twisted" / "plugins" / "flood_plugin.py").write_text(PLUGINS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(folder))
        with twistd(folder, "--config", "switchd.toml", reactor=reactor) as server:
            ports = {"tcp": server.port}
            for name in ("haproxy", "tls"):
                ports[name] = int(server.wait_for(r"listening on tcp [\d.]+:(\d+)")[1])
            yield Site(server, folder, ports)


@pytest.fixture(params=["", "switchd"], ids=["twistd's reactor", "ours"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    with serving(tmp_path, reactor=request.param) as running:
        yield running


def over_upgraded_tls(site: Site) -> socket.socket:
    client = site.connect()
    client.sendall(TO_TLS)
    head(client)
    client = encrypted(client)
    head(client)
    return switched(client, "flood", "flood")


WAYS: dict[str, Callable[[Site], socket.socket]] = {
    "tcp": lambda site: site.switched("flood", "flood"),
    "haproxy": lambda site: site.switched("flood", "flood", "haproxy"),
    "unix": lambda site: site.switched("flood", "flood", "unix"),
    "tls": lambda site: site.switched("flood", "flood", "tls"),
    "upgraded to tls": over_upgraded_tls,
}


class TestBytes:
    @pytest.mark.parametrize("unread", [b"", b"nobody reads this" * 10_000], ids=["", "unread input"])
    def test_all_that_a_protocol_has_written_comes_to_a_slow_reader(self, site: Site, unread: bytes) -> None:
        clients = {name: way(site) for name, way in WAYS.items()}
        for client in clients.values():
            client.sendall(unread)
        site.stop()
        for name, client in clients.items():
            # A UNIX socket tells, behind everything, of what nobody has read.
            assert (until_any_end if name == "unix" else rest)(client) == FLOODED, name
        assert site.endings() == {"farewell": len(WAYS)}

    def test_addone_answers_what_it_has_read_and_nothing_by_half(self, site: Site) -> None:
        questions = b"".join(b"%d\n" % number for number in range(3_000_000))
        client = site.switched("addone", "addone")
        sent = flood(client, questions)
        idle = site.switched("addone", "addone")
        idle.sendall(b"1\n2\n3")
        assert (idle.recv(2), idle.recv(2)) == (b"2\n", b"3\n")
        site.stop()
        assert rest(idle) == b""  # "3" is no line yet
        received = rest(client)
        answers = received.splitlines(keepends=True)
        assert answers == [b"%d\n" % number for number in range(1, len(answers) + 1)]
        assert 0 < len(answers) <= questions[:sent].count(b"\n")
        assert site.endings() == {"farewell": 2}

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    def test_websocket_has_its_close_behind_all_messages(self, site: Site, kind: str) -> None:
        opening: Any = connect if kind == "tcp" else unix_connect
        uri = f"ws://127.0.0.1:{site.ports['tcp']}/websocket"
        arguments = {"uri": uri} if kind == "tcp" else {"uri": uri, "path": str(site.folder / "http.sock")}
        with opening(**arguments, max_size=None, max_queue=1) as client:
            site.server.wait_for("flooded")
            site.stop()
            received = list(client)  # until an orderly Close
        assert client.close_code == 1001
        assert b"".join(message for message in received if isinstance(message, bytes)) == FLOODED
        assert site.endings() == {"farewell": 1}

    @pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
    def test_an_answer_comes_whole(self, site: Site, version: str) -> None:
        url = f"http://127.0.0.1:{site.ports['tcp']}/much"
        curl = Client(
            need("curl"), "-sS", "--fail", version, "--limit-rate", "4M", "-o", str(site.folder / "much"), url
        )
        try:
            site.server.wait_for("asked /much")
            site.stop()
            curl.end()
        finally:
            curl.kill()
        assert (site.folder / "much").read_bytes() == FLOODED[:SIZE]
        (ending,) = site.endings()
        assert ending in ("idle", "answered", "farewell")

    def test_an_answer_over_http1_1_has_as_long_as_there_is(self, site: Site) -> None:
        client = site.connect()
        client.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        site.stop()
        site.server.wait_for("a second later")  # than `linger_seconds` and `half_closed_seconds`
        assert rest(client).endswith(b"\r\n\r\n" + FLOODED[:SIZE])
        assert site.endings() in ({"idle": 1}, {"answered": 1})

    def test_an_answer_over_http2_has_as_long_as_there_is(self, site: Site) -> None:
        client = site.connect()
        h2 = H2Connection()
        h2.initiate_connection()
        h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1 << 30})
        h2.increment_flow_control_window(1 << 30)
        fields = [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/much")]
        h2.send_headers(1, fields, end_stream=True)
        client.sendall(h2.data_to_send())
        site.server.wait_for("asked /much")
        site.stop()
        received = bytearray()
        while len(received) < SIZE - 500_000:  # the rest is with the system
            received += client.recv(65536)
        site.server.wait_for("a second later")
        client.sendall(PingFrame(0, b"8 octets").serialize())
        received += rest(client)
        assert content(received) == FLOODED[:SIZE]
        assert site.endings() == {"farewell": 1}


def content(received: bytearray) -> bytes:
    """What the DATA frames of a connection with one stream hold."""
    view = memoryview(received)
    pieces = []
    while view:
        frame, length = Frame.parse_frame_header(view[:9])
        if isinstance(frame, DataFrame):
            pieces.append(bytes(view[9 : 9 + length]))
        view = view[9 + length :]
    return b"".join(pieces)


def until_any_end(client: socket.socket) -> bytes:
    """What comes until the end, or a reset."""
    pieces = []
    with client:
        try:
            while piece := client.recv(1 << 20):
                pieces.append(piece)
        except ConnectionResetError:
            pass
    return b"".join(pieces)


def flood(client: socket.socket, data: bytes) -> int:
    """Send as much as goes without waiting for long; how much that was."""
    sent = 0
    client.settimeout(0.5)
    try:
        while sent < len(data):
            sent += client.send(data[sent : sent + 65536])
    except TimeoutError:
        pass
    client.settimeout(SECONDS)
    return sent


class TestHttp:
    def test_a_request_that_is_under_way_is_answered_and_an_idle_connection_closed(self, site: Site) -> None:
        idle, busy, half = site.connect(), site.connect(), site.connect()
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Connection: close" not in head(idle) + idle.recv(6)
        busy.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n")
        site.server.signal(signal.SIGTERM)
        site.server.wait_for("draining: 3 connections, 0 of them switched")
        busy.sendall(b"llo")
        answer = rest(busy)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(b"read 5")
        assert (rest(idle), rest(half)) == (b"", b"")
        assert site.endings() == {"idle": 2, "answered": 1}

    def test_a_switch_that_is_asked_for_meanwhile_is_503(self, site: Site) -> None:
        client = site.connect()
        switch = SWITCH.replace(b"GET", b"POST") % (b"flood", b"flood")
        client.sendall(switch[:-2] + b"Content-Length: 2\r\n\r\n1")
        site.stop()
        client.sendall(b"2")
        assert rest(client).startswith(b"HTTP/1.1 503 ")
        assert site.endings() == {"answered": 1}

    def test_who_has_come_before_the_signal_is_served(self, site: Site) -> None:
        site.server.signal(signal.SIGSTOP)
        clients = [site.connect("tcp") for _ in range(20)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        site.server.signal(signal.SIGTERM)
        site.server.signal(signal.SIGCONT)
        for client in clients:
            answer = rest(client)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close\r\n" in answer
        assert site.endings() == {"answered": 20}


class TestDeadlines:
    def test_each_protocol_has_its_own(self, site: Site) -> None:
        stubborn, slow = site.switched("stubborn", "stubborn"), site.switched("flood", "flood")
        assert stubborn.recv(4) == b"here"
        site.stop()
        assert until_any_end(stubborn) == b"goodbye in 0"
        assert rest(slow) == FLOODED
        assert site.endings() == {"farewell": 1, "cut": 1}

    def test_at_the_end_of_the_time_all_that_is_left_is_cut(self, tmp_path: Path) -> None:
        with serving(tmp_path, CONFIG.replace("= 50.0", "= 0.5")) as site:
            clients = [site.switched("obstinate", "stubborn", port) for port in ("tcp", "haproxy", "unix", "tls")]
            slow = site.switched("flood", "flood")
            site.stop()
            assert site.endings() == {"cut": len(clients) + 1}
            for client in (*clients, slow):
                client.close()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_second_signal_waits_for_nobody(self, site: Site, number: signal.Signals) -> None:
        client = site.switched("obstinate", "stubborn")
        site.stop()
        site.server.signal(number)
        site.server.wait_for("stopped once more")
        assert site.endings() == {"cut": 1}
        client.close()

    def test_nor_does_one_that_comes_before_the_first_is_dealt_with(self, site: Site) -> None:
        client = site.switched("obstinate", "stubborn")
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            site.server.signal(number)
        site.server.wait_for("stopped once more")
        assert site.endings(signal.SIGINT) == {"cut": 1}
        client.close()
