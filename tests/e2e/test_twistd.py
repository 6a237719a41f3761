"""`twistd switchd` as a command: its own options and twistd's, how it starts and how it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


def start(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `twistd` that ends by itself, or whose parent does because it is a daemon."""
    return subprocess.run(
        [TWISTD, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )


@contextmanager
def daemon(folder: Path, *arguments: str) -> Iterator[Path]:
    """Run `twistd` as a daemon, which has to start and, at the end, to stop; its log file."""
    pidfile, log = folder / "switchd.pid", folder / "switchd.log"
    parent = start(folder, f"--pidfile={pidfile}", f"--logfile={log}", *arguments)
    assert (parent.returncode, parent.stdout, parent.stderr) == (0, "", "")
    process = os.pidfd_open(int(pidfile.read_text()))  # it is no child of ours: there is no other way to wait for it

    def ended(seconds: float) -> bool:
        return bool(select.select([process], [], [], seconds)[0])

    try:
        yield log
        signal.pidfd_send_signal(process, signal.SIGTERM)
        assert ended(SECONDS)
        assert not pidfile.exists()
    finally:
        if not ended(0):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)


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

    def test_listen_takes_the_place_of_the_endpoints_in_the_file(self, tmp_path: Path, config: Path) -> None:
        path = tmp_path / "http.sock"
        config.write_text(CONFIG.replace("tcp:0:interface=127.0.0.1", f"unix:{path}"))
        with twistd(tmp_path, "--config", str(config), *ANY_PORT) as server, switched(server.host, server.port):
            assert not path.exists()

    def test_a_unix_socket_is_listened_on(self, tmp_path: Path, config: Path) -> None:
        path = tmp_path / "http.sock"
        with twistd(tmp_path, "--config", str(config), "--listen", f"unix:{path}", *ANY_PORT) as server:
            assert f"listening on unix {path}\n" in server.log
            assert path.is_socket()
        assert not path.exists()

    @pytest.mark.parametrize("options", [(), ("--reactor", "switchd")], ids=["twistd's reactor", "ours"])
    def test_a_daemon_serves_writes_its_log_and_ends(
        self, tmp_path: Path, config: Path, options: tuple[str, ...]
    ) -> None:
        with daemon(tmp_path, *options, "switchd", "--config", config.name) as log:
            found = re.search(r"listening on tcp ([\d.]+):(\d+)", log.read_text())
            assert found
            with switched(found[1], int(found[2])):
                pass
        assert "Traceback" not in log.read_text()


class TestStart:
    FOREGROUND = ("-n", "--pidfile=")
    DAEMON = ("--pidfile=switchd.pid", "--logfile=switchd.log")

    @pytest.mark.parametrize("options", [FOREGROUND, DAEMON], ids=["foreground", "daemon"])
    def test_ends_with_one_sentence_if_the_port_is_taken(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = start(tmp_path, *options, "switchd", "--listen", f"tcp:{port}:interface=127.0.0.1")
        sentence = f"switchd: cannot listen on tcp:{port}:interface=127.0.0.1: Address already in use"
        log = tmp_path / "switchd.log"
        told = log.read_text() if log.exists() else done.stderr
        assert done.returncode == 1
        assert sentence in told
        assert f"tcp:{port}:" in done.stderr  # twistd itself tells of a daemon's failure, in at most 100 characters
        assert "Traceback" not in done.stdout + done.stderr + told
        assert not (tmp_path / "switchd.pid").exists()

    @pytest.mark.parametrize("options", [FOREGROUND, DAEMON], ids=["foreground", "daemon"])
    def test_reports_every_mistake_before_anything_is_done(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        file = tmp_path / "wrong.toml"
        file.write_text(CONFIG.replace("= 1000", '= "much"').replace('protocol = "addone"', 'protocol = "adone"'))
        done = start(tmp_path, *options, "switchd", "--config", "wrong.toml")
        assert (done.returncode, done.stdout) == (1, "")
        mistakes = done.stderr.splitlines()
        assert [line.split(": ")[:2] for line in mistakes] == [
            ["wrong.toml", "limits.body_bytes"],
            ["wrong.toml", "switch[0].protocol"],
        ]
        assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("reactor", ["", "switchd"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
class TestEnd:
    def test_a_signal_ends_it(self, tmp_path: Path, config: Path, number: signal.Signals, reactor: str) -> None:
        with twistd(tmp_path, "--config", str(config), reactor=reactor) as server:
            server.signal(number)
            assert server.end(SHUTDOWN_SECONDS) == -number

    def test_a_switched_connection_does_not_hold_it_up(
        self, tmp_path: Path, config: Path, number: signal.Signals, reactor: str
    ) -> None:
        with (
            twistd(tmp_path, "--config", str(config), reactor=reactor) as server,
            switched(server.host, server.port) as connection,
        ):
            server.signal(number)
            assert connection.recv(1) == b""
            assert server.end(SHUTDOWN_SECONDS) == -number


def test_a_broken_plugin_file_of_anybody_is_a_warning_and_no_more(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "other" / "twisted" / "plugins"
    folder.mkdir(parents=True)
    (folder / "other_plugin.py").write_text("from nowhere import nothing\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "other"))
    with twistd(tmp_path, "--config", config.name) as server:
        server.tracebacks = True  # one, of twisted.plugin itself
    file = re.escape(str(folder / "other_plugin.py"))
    assert re.search(rf"the plugin file {file} is broken and left out: ModuleNotFoundError: .*nowhere", server.log)
