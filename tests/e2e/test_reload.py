"""SIGHUP, to a real server with clients that come all the time: none is refused, and whoever is here stays."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import pytest

from tests.e2e.conftest import SECONDS, Server, twistd

pytestmark = pytest.mark.e2e

ADDONE = '[[switch]]\npath = "/addone"\nprotocol = "addone"\n'
ASK = b"GET /addone HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n"
RELOADED = r"reloaded .*switchd\.toml: (.*)"


@pytest.fixture(params=["", "switchd"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """On a listener whose port is known, on each reactor."""
    listen(tmp_path)
    with twistd(tmp_path, "--config", "switchd.toml", reactor=request.param) as running:
        listen(tmp_path, f"tcp:{running.port}:interface=127.0.0.1")
        reload(running)
        yield running


def listen(folder: Path, *endpoints: str, further: str = ADDONE) -> None:
    """Write the file."""
    tables = "".join(f'[[listen]]\nendpoint = "{name}"\n' for name in endpoints or ["tcp:0:interface=127.0.0.1"])
    (folder / "switchd.toml").write_text(tables + further)


def reload(server: Server) -> str:
    """Have it read again; what the log says of it."""
    server.signal(signal.SIGHUP)
    return server.wait_for(RELOADED)[1]


class Switched:
    """A client whose connection has switched to ADDONE."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._lines = self.socket.makefile("rb")
        self.socket.sendall(ASK)
        assert self._lines.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        while self._lines.readline() != b"\r\n":
            pass

    def asks(self, number: int) -> int:
        """One more than that."""
        self.socket.sendall(b"%d\n" % number)
        return int(self._lines.readline())

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


@contextmanager
def arrivals(port: int) -> Iterator[Callable[[], None]]:
    """Clients that come one after the other, for as long as this lasts; gives what waits for one more to be served."""
    over, served = Event(), SimpleQueue[Exception | None]()

    def come() -> None:
        try:
            while not over.is_set():
                client = Switched(port)
                assert client.asks(1) == 2
                client.close()
                served.put(None)
        except Exception as error:
            served.put(error)

    def one_more() -> None:
        while not served.empty():
            check(served.get())
        check(served.get(timeout=SECONDS))

    def check(failure: Exception | None) -> None:
        if failure is not None:
            raise failure

    thread = Thread(target=come)
    thread.start()
    try:
        yield one_more
    finally:
        over.set()
        thread.join(SECONDS)
    while not served.empty():
        check(served.get())


def test_nobody_is_refused_while_listeners_come_and_go(server: Server, tmp_path: Path) -> None:
    tcp, unix = f"tcp:{server.port}:interface=127.0.0.1", f"unix:{tmp_path}/s"
    stays = Switched(server.port)
    with arrivals(server.port) as one_more:
        for turn in range(10):
            listen(tmp_path, tcp, unix, further=ADDONE + f"max_digits = {turn + 1}\n")
            assert reload(server) == (
                f"listeners: 1 kept, opened: {unix}; switches: 0 kept, added: /addone addone, ended: /addone addone"
            )
            listen(tmp_path, tcp + ":backlog=99", further=ADDONE)
            assert reload(server).startswith(f"listeners: 0 kept, opened: {tcp}:backlog=99, closed: {tcp}, {unix}; ")
            listen(tmp_path, tcp, further=ADDONE)
            reload(server)
            assert stays.asks(10**turn) == 10**turn + 1
            one_more()
    stays.close()


def test_a_file_that_is_broken_changes_nothing(server: Server, tmp_path: Path) -> None:
    stays = Switched(server.port)
    (tmp_path / "switchd.toml").write_text('[[listen]]\nendpoint = 1\n[limits]\nhead_bytes = "x"\n' + ADDONE)
    server.signal(signal.SIGHUP)
    server.wait_for(r"nothing is changed, .*switchd\.toml cannot be used: .*listen\[0\]\.endpoint: expected a Twisted")
    server.wait_for(r"limits\.head_bytes: expected ")
    assert stays.asks(1) == 2
    stays.close()
    comes = Switched(server.port)
    assert comes.asks(1) == 2
    comes.close()


def test_a_daemon_finds_its_file_again(tmp_path: Path) -> None:
    """It has gone to another folder by then."""
    listen(tmp_path)
    with twistd(tmp_path, "--config", "switchd.toml") as running:
        (tmp_path / "switchd.toml").write_text('listen = [{ endpoint = "tcp:0:interface=127.0.0.1" }]\n')
        assert reload(running) == "listeners: 1 kept; switches: 0 kept, ended: /addone addone"
