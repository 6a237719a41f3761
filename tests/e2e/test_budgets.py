"""Budgets of a real server: a flood is turned away, who comes later is let in, and all of it can be seen."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import SECONDS, TWISTD, Server, twistd

pytestmark = pytest.mark.e2e

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[switch]]
path = "/addone"
protocol = "addone"
connections = 3

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"

[limits]
linger_seconds = 1.0
shutdown_seconds = 5.0

[admin]
endpoint = "tcp:0:interface=127.0.0.1"
"""

ADDONE = b"GET /addone HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
WEBSOCKET = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


MOST_ATTEMPTS = 500
"""After so many, each a round trip, what a test waits for is not going to happen."""

PLUGIN = """
from switchd.interfaces import SwitchPlugin

flood = SwitchPlugin("flood", b"flood", "flood:Flood")
"""

FLOOD = """
from twisted.internet.protocol import Protocol


class Flood(Protocol):
    "Writes more than the system takes, and has nobody ask it to stop."

    def connectionMade(self):
        for _ in range(200):
            self.transport.write(bytes(100_000))
"""

WRITTEN = 200 * 100_000


def head(connection: socket.socket) -> bytes:
    """The head of an answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(65536)
        assert data, received
        received += data
    return received.partition(b"\r\n\r\n")[0]


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


class Clients:
    """Clients of a server, each of which asks for something at once."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack

    def ask(self, request: bytes) -> tuple[socket.socket, bytes]:
        """A client, and the head of its answer."""
        address = (self._server.host, self._server.port)
        connection = self._stack.enter_context(socket.create_connection(address, timeout=SECONDS))
        connection.sendall(request)
        return connection, head(connection)


@contextmanager
def served(folder: Path, text: str) -> Iterator[tuple[Server, Clients, str, int]]:
    """A server, its clients, and where its private listener is."""
    file = folder / "switchd.toml"
    file.write_text(text)
    with twistd(folder, "--config", str(file)) as server, ExitStack() as stack:
        found = server.wait_for(r"metrics and health are told on tcp ([\d.]+):(\d+)")
        yield server, Clients(server, stack), found[1], int(found[2])


def metrics(host: str, port: int) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels, in the order of the labels' names."""
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    families = text_string_to_metric_families(received.partition(b"\r\n\r\n")[2].decode())
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_path_that_is_full_has_room_again_when_somebody_leaves(tmp_path: Path) -> None:
    with served(tmp_path, CONFIG) as (server, clients, host, port):
        flood = [clients.ask(ADDONE) for _ in range(20)]
        assert [status(answer) for _, answer in flood] == [101] * 3 + [503] * 17
        assert re.search(rb"(?m)^Retry-After: 5\r?$", flood[-1][1])
        samples = metrics(host, port)
        assert samples["switchd_over_budget_total", "connections", "/addone", "path"] == 17
        assert samples["switchd_switches_total", "refused:503", "/addone", "addone"] == 17
        gone, _ = flood[0]
        gone.close()
        # It is noticed as soon as the system says so.
        attempts = (clients.ask(ADDONE) for _ in range(MOST_ATTEMPTS))
        again = next(connection for connection, answer in attempts if status(answer) == 101)
        again.sendall(b"41\n")
        assert again.recv(100) == b"42\n"
        server.wait_for(r"turned away with 503: over the budget connections of the path /addone \(0 more")
        assert server.log.count("turned away") == 1


def test_a_server_that_is_full_says_so_and_its_health_is_told_still(tmp_path: Path) -> None:
    text = CONFIG.replace("[limits]", "[limits]\nconnections = 5")
    with served(tmp_path, text) as (_, clients, host, port):
        first = [clients.ask(ADDONE) for _ in range(3)]
        others = [clients.ask(WEBSOCKET) for _ in range(2)]
        assert [status(answer) for _, answer in (*first, *others)] == [101] * 5
        for _ in range(10):
            _, answer = clients.ask(GET)
            assert status(answer) == 503
            assert b"\r\nConnection: close" in answer
        assert metrics(host, port)["switchd_over_budget_total", "connections", "", "server"] == 10
        others[0][0].close()
        assert any(status(clients.ask(GET)[1]) != 503 for _ in range(MOST_ATTEMPTS))


def test_a_client_that_asks_too_often_is_told_429_until_a_reload_lets_it(tmp_path: Path) -> None:
    text = CONFIG + "\n[peers]\nhandshakes_per_second = 0.01\n"
    with served(tmp_path, text) as (server, clients, host, port):
        assert [status(clients.ask(ADDONE)[1]) for _ in range(3)] == [101, 429, 429]
        assert metrics(host, port)["switchd_over_budget_total", "handshakes_per_second", "", "peer"] == 2
        (tmp_path / "switchd.toml").write_text(CONFIG)
        server.signal(signal.SIGHUP)
        server.wait_for("peers")
        assert [status(clients.ask(ADDONE)[1]) for _ in range(3)] == [101, 101, 503], "the first one is still counted"


def test_memory_that_is_short_is_had_by_doing_without_compression(tmp_path: Path) -> None:
    """How much the server has is read off it first; then it may have a little more, or less, than that."""
    with served(tmp_path, CONFIG) as (_, clients, host, port):
        _, answer = clients.ask(WEBSOCKET)
        assert b"permessage-deflate" in answer
        used = int(metrics(host, port)["switchd_memory_bytes",])
    short = CONFIG.replace("[limits]", f"[limits]\nmemory_bytes = {used * 10 // 9}")  # of which 90 % are used
    with served(tmp_path, short) as (server, clients, host, port):
        server.wait_for("memory is short")
        _, answer = clients.ask(WEBSOCKET)
        assert status(answer) == 101
        assert b"permessage-deflate" not in answer
        assert metrics(host, port)["switchd_memory_state", "short"] == 1
        (tmp_path / "switchd.toml").write_text(CONFIG.replace("[limits]", f"[limits]\nmemory_bytes = {used // 2}"))
        server.signal(signal.SIGHUP)
        server.wait_for("memory is full")
        assert status(clients.ask(WEBSOCKET)[1]) == 503


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit, and what is in /proc, are Linux's")
def test_there_are_as_many_connections_as_file_descriptors_and_no_accept_fails(tmp_path: Path) -> None:
    file = tmp_path / "switchd.toml"
    file.write_text(CONFIG.replace("connections = 3", "connections = 0"))
    program = tmp_path / "twistd"
    program.write_text(
        f"#!{sys.executable}\nimport os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 220))\n"
        f"os.execv({TWISTD!r}, [{TWISTD!r}, *sys.argv[1:]])\n"
    )
    program.chmod(0o755)
    server = Server(tmp_path, "--config", str(file), program=program)
    try:
        server.listens()
        with ExitStack() as stack:
            clients = Clients(server, stack)
            found = [status(clients.ask(ADDONE)[1]) for _ in range(40)]
        assert found == [101] * 20 + [503] * 20
        server.signal(signal.SIGTERM)
        assert server.end() == -signal.SIGTERM
        assert "Too many open files" not in server.log
    finally:
        server.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long ago a byte came")
def test_a_connection_that_is_idle_is_told_goodbye(tmp_path: Path) -> None:
    text = CONFIG.replace('Echo"', 'Echo"\nidle_seconds = 1.0\nping_seconds = 0')
    with served(tmp_path, text) as (server, clients, *_):
        connection, answer = clients.ask(WEBSOCKET)
        assert status(answer) == 101
        received = connection.recv(100)
        assert (received[:1], received[2:4]) == (b"\x88", b"\x03\xe9"), "Close, 1001"
        server.wait_for(r"on /echo is closed: nothing came or went for 1 s")


def test_who_does_not_read_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twisted" / "plugins").mkdir(parents=True)
    (tmp_path / "twisted" / "plugins" / "flood_plugin.py").write_text(PLUGIN)
    (tmp_path / "flood.py").write_text(FLOOD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    text = CONFIG + '\n[[switch]]\npath = "/flood"\nprotocol = "flood"\nbuffered_bytes = 5000000\n'
    with served(tmp_path, text) as (server, clients, host, port):
        connection, answer = clients.ask(ADDONE.replace(b"addone", b"flood"))
        assert status(answer) == 101
        server.wait_for("flood on /flood ended by server after .* s: too much unsent")
        assert metrics(host, port)["switchd_ended_total", "server", "too much unsent"] == 1
        assert len(connection.recv(WRITTEN, socket.MSG_WAITALL)) < WRITTEN - 5_000_000
