"""`twistd switchd` as a command: its own options and twistd's, how it starts and how it ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import CONFIG, SECONDS, TWISTD, twistd

pytestmark = pytest.mark.e2e

ANY_PORT = ("--listen", "tcp:0:interface=127.0.0.1")

SHUTDOWN_SECONDS = 5.0
"""As in the configuration of these tests."""

SWITCH = b"GET /addone HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n41\n"


@contextmanager
def switched(host: str, port: int) -> Iterator[socket.socket]:
    """A connection that has switched to ADDONE and has had an answer."""
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        connection.sendall(SWITCH)
        received = b""
        while not received.endswith(b"\n42\n"):
            data = connection.recv(65536)
            assert data, received
            received += data
        assert received.startswith(b"HTTP/1.1 101 ")
        yield connection


def started(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A `twistd` that ends by itself, or whose parent does."""
    return subprocess.run(
        [TWISTD, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )


class TestOptions:
    def test_without_config_there_is_a_built_in_default(self, tmp_path: Path) -> None:
        with twistd(tmp_path, *ANY_PORT) as server, switched(server.host, server.port):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_listen_may_be_repeated(self, tmp_path: Path) -> None:
        with twistd(tmp_path, *ANY_PORT, *ANY_PORT) as server:
            first = server.port
            server.listens()
            assert server.port != first
            for port in (first, server.port):
                with switched(server.host, port):
                    pass

    def test_listen_takes_the_place_of_what_the_file_says(self, tmp_path: Path) -> None:
        path = tmp_path / "http.sock"
        file = tmp_path / "switchd.toml"
        file.write_text(CONFIG.replace("tcp:0:interface=127.0.0.1", f"unix:{path}"))
        with twistd(tmp_path, "--config", str(file), *ANY_PORT) as server, switched(server.host, server.port):
            assert not path.exists()

    def test_logfile_gets_the_log(self, tmp_path: Path, config: Path) -> None:
        log = tmp_path / "switchd.log"
        with running_daemon(tmp_path, "--logfile", str(log), "switchd", "--config", str(config)):
            assert "listening on tcp" in log.read_text()


@contextmanager
def running_daemon(folder: Path, *arguments: str) -> Iterator[int]:
    """Run twistd as a daemon, which has to come up and, after SIGTERM, to go; its process id."""
    pidfile = folder / "switchd.pid"
    parent = started(folder, f"--pidfile={pidfile}", *arguments)
    # Its parent waits until it has started.
    assert (parent.returncode, parent.stdout, parent.stderr) == (0, "", "")
    pid = int(pidfile.read_text())
    process = os.pidfd_open(pid)  # it is no child of ours, so we cannot wait for it in the ordinary way
    try:
        yield pid
        signal.pidfd_send_signal(process, signal.SIGTERM)
        assert select.select([process], [], [], SECONDS)[0], "SIGTERM did not end it"
        assert not pidfile.exists()
    finally:
        if not select.select([process], [], [], 0)[0]:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)


class TestStart:
    def test_as_a_daemon(self, tmp_path: Path, config: Path) -> None:
        pass
