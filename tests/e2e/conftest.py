"""A real `twistd` in a process of its own, and the clients of others that talk to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, NoReturn

import pytest

from tests.e2e.processes import Output

TWISTD = str(Path(sys.executable).with_name("twistd"))

SCRIPTS = Path(__file__).with_name("clients")

SECONDS = 60
"""How long anything here may take. Generous: it is there to end a test that hangs, not to measure."""

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[http]]
path = "/"
resource = "switchd.pages:index"

[[switch]]
path = "/addone"
protocol = "addone"

[limits]
body_bytes = 1000
shutdown_seconds = 5.0
"""


def need(client: str) -> str:
    """The path of a program that a test cannot do without; where it is missing the test is `left_out`."""
    return shutil.which(client) or left_out(f"This test uses {client}, which is not installed here.")


def left_out(sentence: str) -> NoReturn:
    """Skip a test, and say what is missing; with SWITCHD_NO_SKIPS in the environment it fails."""
    if os.environ.get("SWITCHD_NO_SKIPS"):
        pytest.fail(sentence)
    pytest.skip(sentence)


def run(*command: str | Path, stdin: str = "", environment: Mapping[str, str] | None = None) -> str:
    """What a program prints on standard output; its exit status has to be 0."""
    done = subprocess.run(
        command,
        input=stdin,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PASS = """
import fcntl, os, sys
names, numbers, *command = sys.argv[1:]
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers.split()]
for place, number in enumerate(high, 3):
    os.dup2(number, place)
    os.close(number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names}
os.execv(command[0], command)
"""
"""What systemd does between fork and exec (sd_listen_fds(3)): descriptors from 3 on, and who is meant by that."""


def as_systemd(sockets: Mapping[str, socket.socket]) -> tuple[list[str], list[int]]:
    """What stands before a command that is to be given sockets, and the descriptors to be left open for that."""
    if not sockets:
        return [], []
    passed = [each.fileno() for each in sockets.values()]
    return [sys.executable, "-c", PASS, ":".join(sockets), " ".join(map(str, passed))], passed


class Server:
    """A `twistd switchd` in the foreground.

    Args:
        folder: Where it is started.
        arguments: switchd's own.
        reactor: Which of twistd's reactors it runs on. Empty: the one that is twistd's choice.
        program: The twistd. None: that of the environment in which the tests run.
        sockets: Listening ones that it is given, by name, as systemd would.
        before: A command that is to start it.
        options: Further options of twistd's.

    Attributes:
        host: Where it listens, by the last line of the log that said so.
        port: The same.
        tracebacks: Whether the test expects some in the log.
        status: How the process ended, negative for a signal; None while nobody has waited for that.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        reactor: str = "",
        program: Path | None = None,
        sockets: Mapping[str, socket.socket] | None = None,
        before: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        self.host = ""
        self.port = 0
        self.tracebacks = False
        self.status: int | None = None
        choice = [*options, *(["--reactor", reactor] if reactor else [])]
        passing, passed = as_systemd(sockets or {})
        self._process = subprocess.Popen(
            [*before, *passing, program or TWISTD, *choice, "-n", "--pidfile=", "switchd", *arguments],
            cwd=folder,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._output = Output(self._process.stdout)

    @property
    def id(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed, as far as it has been read."""
        return self._output.text

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until a line of the log matches."""
        end = monotonic() + SECONDS
        while True:
            line = self._output.line(end)
            assert line, f"was not printed: {pattern}\n{self.log}"
            found = re.search(pattern, line)
            if found:
                return found

    def listens(self) -> None:
        """Read on until the log names a port, and wait until it is served."""
        found = self.wait_for(r"listening on tcp ([\d.]+):(\d+)")
        self.host, self.port = found[1], int(found[2])
        # The log says so before the reactor runs; a signal that came now would not find its handler.
        with socket.create_connection((self.host, self.port), timeout=SECONDS) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            connection.recv(1)  # an answer; where it listens for TLS, the end

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def child(self) -> int:
        """The process that `before` has started."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(children.read_text())

    def end(self, seconds: float = SECONDS) -> int:
        """Wait for the end."""
        self.status = self._process.wait(seconds)
        self._output.take_rest(SECONDS)
        return self.status

    def kill(self) -> None:
        """Leave nothing behind, whatever has happened."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Client:
    """A client in a process of its own; standard input stays open until its end."""

    def __init__(self, *command: str | Path, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._output = Output(self._process.stdout)

    def line(self) -> str:
        """The next line that it prints."""
        line = self._output.line(monotonic() + SECONDS)
        assert line, self._output.text
        return line.rstrip("\n")

    def type(self, line: str) -> None:
        """A line of standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def ready(self) -> None:
        """Wait for the step of that name."""
        assert self.line() == "ready"

    def end(self, status: int = 0) -> str:
        """Wait for the end; what it has printed."""
        try:
            ended = self._process.wait(SECONDS)
        finally:
            self.kill()
            self._output.take_rest(SECONDS)
        assert ended == status, self._output.text
        return self._output.text

    def seen(self) -> dict[str, Any]:
        """Wait for the end; what a script says that it saw."""
        seen: dict[str, Any] = json.loads(self.end().splitlines()[-1])
        return seen

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


@contextmanager
def twistd(
    folder: Path,
    *arguments: str,
    reactor: str = "",
    sockets: Mapping[str, socket.socket] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Server]:
    """Run `twistd switchd` in a folder, from when it listens until after its end, which has to be an orderly one."""
    server = Server(folder, *arguments, reactor=reactor, sockets=sockets, options=options)
    try:
        server.listens()
        yield server
        if server.status is None:
            server.signal(signal.SIGTERM)
            assert server.end() == -signal.SIGTERM
        # At the very end twistd dies of the signal that it got; this tells that from dying of it at once.
        assert "Server Shut Down" in server.log
        if not server.tracebacks:
            assert not re.search("Traceback|Unhandled", server.log), server.log
    finally:
        server.kill()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration file, alone in a folder."""
    file = tmp_path / "switchd.toml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module; an indirect parameter is the reactor that it runs on."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "switchd.toml").write_text(CONFIG)
    with twistd(folder, "--config", "switchd.toml", reactor=getattr(request, "param", "")) as running:
        yield running


@pytest.fixture(scope="session")
def node_modules(pytestconfig: pytest.Config) -> Path:
    """The packages of `clients/package.json`. They are kept in pytest's cache, which git ignores."""
    npm = need("npm")
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("clients")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SCRIPTS / name, folder)
    run(npm, "ci", "--prefix", folder, "--no-audit", "--no-fund")
    return folder / "node_modules"
