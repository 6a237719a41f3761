"""The program is exchanged under load, behind sockets that are somebody else's: nobody is refused."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

import pytest

from tests.e2e.conftest import SECONDS, Server, need, twistd
from tests.wires import certificate, write_certificate

pytestmark = pytest.mark.e2e

RESTARTS = 4
CLIENTS = 3
"""Of each kind, at each socket, at the same time."""

ANSWERS = 200
"""Connections that are answered between two restarts, at least."""

MOST = 100_000
"""Connections that one client makes, at most."""

CONFIG = """
[[listen]]
endpoint = "systemd:domain=INET:name=web"

[[listen]]
endpoint = "systemd:domain=INET:name=tls"
[listen.tls]
certificate = "cert.pem"
key = "key.pem"

[[listen]]
endpoint = "systemd:domain=UNIX:name=local"

[[http]]
path = "/"
resource = "switchd.pages:index"

[[switch]]
path = "/addone"
protocol = "addone"

[limits]
shutdown_seconds = 20.0
"""

CONFIG_BY_INDEX = """
[[listen]]
endpoint = "systemd:domain=INET:index=0"

[[listen]]
endpoint = "systemd:domain=UNIX:index=1"

[[switch]]
path = "/addone"
protocol = "addone"
"""

SWITCH = b"GET /addone HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n41\n"
PLAIN = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[dict[str, socket.socket]]:
    """Those that systemd would open: by name, as in the configuration."""
    anywhere = ("127.0.0.1", 0)
    with (
        socket.create_server(anywhere) as web,
        socket.create_server(anywhere) as tls,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(str(tmp_path / "http.sock"))
        (tmp_path / "http.sock").chmod(0o600)
        for each in (web, tls, local):
            each.listen(1000)
        yield {"web": web, "tls": tls, "local": local}


class Load:
    """Clients that come again and again, each in a thread.

    Attributes:
        seen: What they have seen: "answered"; "refused", by a 503; "said goodbye", having switched and stayed. All else
            is a failure, by its name.
    """

    def __init__(self, sockets: dict[str, socket.socket]) -> None:
        self.seen: Counter[str] = Counter()
        self._is_over = Event()
        self._more = Condition()
        self._context = ssl.create_default_context(cadata=certificate()[1].decode())
        deeds = (self._asks, self._switches, self._stays)
        self._threads = [
            Thread(target=self._comes_again, args=(name, listening.getsockname(), deed))
            for name, listening in sockets.items()
            for deed in deeds
            for _ in range(CLIENTS)
        ]

    @contextmanager
    def running(self) -> Iterator[Load]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join(SECONDS)

    def _comes_again(self, name: str, address: Any, deed: Any) -> None:
        for _ in range(MOST):
            if self._is_over.is_set():
                return
            try:
                with closing(self._connected(name, address)) as client:
                    saw = deed(client)
            except Exception as error:
                saw = f"{name}: {deed.__name__}: {error!r}"
            with self._more:
                self.seen[saw] += 1
                self._more.notify()

    def wait_for(self, answers: int) -> None:
        """Until so many more connections have been answered."""
        with self._more:
            enough = self.seen["answered"] + answers
            assert self._more.wait_for(lambda: self.seen["answered"] >= enough, SECONDS), self.seen

    def _connected(self, name: str, address: Any) -> socket.socket:
        client = socket.socket(socket.AF_UNIX if name == "local" else socket.AF_INET)
        client.settimeout(SECONDS)
        client.connect(address)
        if name == "tls":
            client = self._context.wrap_socket(client, server_hostname="localhost")
        return client

    def _asks(self, client: socket.socket) -> str:
        client.sendall(PLAIN)
        received = until(client, None)
        return how(received, rb"HTTP/1\.1 200 OK\r\n.*</html>\s*")

    def _switches(self, client: socket.socket) -> str:
        client.sendall(SWITCH)
        received = until(client, b"\n42\n")
        return how(received, rb"HTTP/1\.1 101 .*\n42\n")

    def _stays(self, client: socket.socket) -> str:
        saw = self._switches(client)
        while saw == "answered":
            if self._is_over.wait(0.01):
                return saw
            try:
                client.sendall(b"1\n")
                answer = until(client, b"2\n")
            except (BrokenPipeError, ConnectionResetError):
                if client.family != socket.AF_UNIX:
                    raise
                answer = b""  # it tells, behind the end, that our question will not be read
            if not answer:
                return "said goodbye"
            assert answer == b"2\n"
        return saw


def until(client: socket.socket, end: bytes | None) -> bytes:
    received = b""
    while not (end and received.endswith(end)):
        data = client.recv(65536)
        if not data:
            break
        received += data
    return received


def how(received: bytes, whole: bytes) -> str:
    if re.fullmatch(whole, received, re.DOTALL):
        return "answered"
    return "refused" if received.startswith(b"HTTP/1.1 503 ") else f"in part: {received!r}"


@pytest.mark.parametrize("reactor", ["", "switchd"])
def test_nobody_is_refused_while_it_is_restarted(
    sockets: dict[str, socket.socket], tmp_path: Path, reactor: str
) -> None:
    write_certificate(tmp_path)
    (tmp_path / "switchd.toml").write_text(CONFIG)
    load = Load(sockets)
    with ExitStack() as stack:
        for time in range(RESTARTS + 1):
            with twistd(tmp_path, "--config", "switchd.toml", reactor=reactor, sockets=sockets):
                if time == 0:
                    stack.enter_context(load.running())
                load.wait_for(ANSWERS)
                if time == RESTARTS:
                    stack.close()
    assert load.seen.keys() <= {"answered", "refused", "said goodbye"}
    assert load.seen["said goodbye"] >= RESTARTS * CLIENTS * len(sockets)
    file = tmp_path / "http.sock"
    assert file.is_socket()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_socket_of_another_domain_is_told_in_a_sentence(sockets: dict[str, socket.socket], tmp_path: Path) -> None:
    (tmp_path / "switchd.toml").write_text('[[listen]]\nendpoint = "systemd:domain=UNIX:name=web"\n')
    server = Server(tmp_path, "--config", "switchd.toml", sockets=sockets)
    try:
        assert server.end() == 1
    finally:
        server.kill()
    sentence = "cannot listen on systemd:domain=UNIX:name=web: the socket that was passed is of domain INET, not UNIX"
    assert sentence in server.log
    assert "Traceback" not in server.log


def test_systemds_own_activator_passes_its_sockets(tmp_path: Path) -> None:
    (tmp_path / "switchd.toml").write_text(CONFIG_BY_INDEX)
    path = tmp_path / "http.sock"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [need("systemd-socket-activate"), "-l", f"127.0.0.1:{port}", "-l", str(path), "--fdname=web:local"]
    server = Server(tmp_path, "--config", "switchd.toml", before=command)
    try:
        server.wait_for("Listening on .*http.sock as 4")
        for address in (("127.0.0.1", port), str(path)):
            with socket.socket(socket.AF_UNIX if address == str(path) else socket.AF_INET) as client:
                client.settimeout(SECONDS)
                client.connect(address)
                client.sendall(SWITCH)
                assert how(until(client, b"\n42\n"), rb"HTTP/1\.1 101 .*\n42\n") == "answered"
        server.signal(signal.SIGTERM)
        assert server.end() == -signal.SIGTERM
    finally:
        server.kill()
    assert path.is_socket()
    assert "Traceback" not in server.log
