"""The units in conf/systemd: systemd has nothing to say against them, and what they start does as they say."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from switchd.config import Limits
from switchd.notify import SPARE_SECONDS
from tests.e2e.conftest import SECONDS, as_systemd, need, run
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

UNITS = ROOT / "conf" / "systemd"
INSTALLED = "/opt/switchd/bin"
CONFIGURED = "/etc/switchd"

MOST_EXPOSED = 15
"""Of 100, by `systemd-analyze security`: it listens to the network, and makes writable code for TLS."""

CONFIG = """
[[listen]]
endpoint = "systemd:domain=INET6:name=web"
"""


def here(text: str, folder: Path) -> str:
    """A unit's text with the paths of this environment, and of a folder with the configuration."""
    return text.replace(INSTALLED, str(Path(sys.executable).parent)).replace(CONFIGURED, str(folder))


def directives(unit: str, name: str) -> list[str]:
    """The values that a unit gives to one name."""
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """Both, where systemd-analyze can look at them."""
    copies = []
    for unit in sorted(UNITS.iterdir()):
        copies.append(tmp_path / unit.name)
        copies[-1].write_text(here(unit.read_text(), tmp_path))
    return copies


def test_systemd_knows_every_line_of_them(units: list[Path]) -> None:
    assert [unit.name for unit in units] == ["switchd.service", "switchd.socket"]
    assert run(need("systemd-analyze"), "verify", "--man=no", *units) == ""


def test_the_service_is_shut_in(units: list[Path]) -> None:
    run(need("systemd-analyze"), "security", "--offline=true", f"--threshold={MOST_EXPOSED}", units[0])


def test_it_is_not_killed_while_connections_end() -> None:
    (seconds,) = directives("switchd.service", "TimeoutStopSec")
    assert int(seconds) >= Limits().shutdown_seconds + SPARE_SECONDS


class Manager:
    """The service manager: what it starts, and what it is told.

    Args:
        folder: Where the configuration is, and its own socket.
        passed: The socket that it has opened.
    """

    def __init__(self, folder: Path, passed: socket.socket) -> None:
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify"))
        self._told.settimeout(SECONDS)
        (start,) = directives("switchd.service", "ExecStart")
        (name,) = directives("switchd.socket", "FileDescriptorName")
        passing, descriptors = as_systemd({name: passed})
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*passing, *shlex.split(here(start, folder))],
                cwd=folder,
                env={"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "200000", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
            )

    def waits_for(self, name: str) -> dict[str, str]:
        """Wait until something is told, others being told before."""
        while True:
            told = dict(line.split("=", 1) for line in self._told.recv(4096).decode().splitlines())
            if name in told:
                return told

    def close(self) -> None:
        """Leave nothing behind."""
        self._told.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def passed() -> Iterator[socket.socket]:
    """As the socket unit has it: for IPv6 as well as IPv4."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        yield listening


@pytest.fixture
def manager(tmp_path: Path, passed: socket.socket) -> Iterator[Manager]:
    (tmp_path / "switchd.toml").write_text(CONFIG)
    made = Manager(tmp_path, passed)
    yield made
    made.close()


def test_what_the_service_starts_tells_how_it_is(manager: Manager, passed: socket.socket) -> None:
    host, port, *_ = passed.getsockname()
    assert manager.waits_for("READY")["STATUS"] == f"listening on tcp [{host}]:{port}"
    manager.waits_for("WATCHDOG")
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(8) == b"HTTP/1.0"
    manager.process.send_signal(signal.SIGHUP)
    assert int(manager.waits_for("RELOADING")["MONOTONIC_USEC"]) > 0
    manager.waits_for("READY")
    manager.process.send_signal(signal.SIGTERM)
    stopping = manager.waits_for("STOPPING")
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) == (Limits().shutdown_seconds + SPARE_SECONDS) * 1_000_000
    assert manager.process.wait(SECONDS) == -signal.SIGTERM  # which systemd takes for a success
    assert "Server Shut Down" in manager.log.read_text()


@pytest.mark.parametrize("name", ["ExecStartPre", "ExecReload"])
def test_a_broken_file_is_told_before_anything_is_stopped(name: str, tmp_path: Path) -> None:
    file = tmp_path / "switchd.toml"
    file.write_text(CONFIG)
    checks = shlex.split(here(directives("switchd.service", name)[0], tmp_path))
    run(*checks)
    file.write_text("[[listen]]\n")
    done = subprocess.run(checks, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1
    assert "listen[0].endpoint" in done.stdout + done.stderr
