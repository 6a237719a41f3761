"""Who is measured: a table, and a server of it as a process."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from benchmarks.cache import Cache, Missing
from benchmarks.rows import US

HERE = Path(__file__).parent
ROOT = HERE.parent

START_SECONDS = 20.0
"""How long a server may take until it accepts connections."""

STOP_SECONDS = 3.0
"""How long it may take to end; then it is killed."""


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        name: What it is called.
        command: How it is started. `{port}` and the like are filled in, and a need's name by its path.
        needs: What it needs of the cache.
        environment: Further variables, filled in likewise.
        is_upgraded: Whether it is spoken to over HTTP/1.1, and switched by Upgrade, also in rows about HTTP/2.
    """

    name: str
    command: str
    needs: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    is_upgraded: bool = False


PATHS = {"websocket": "/echo", "deflate": "/echo", "broadcast": "/broadcast", "addone": "/addone"}
"""Where a kind of load is served; any other is at "/"."""

UVICORN = "{uvicorn} -m uvicorn --app-dir {peers} asgi:application --host 127.0.0.1 --port {port} --backlog 1024"
GRANIAN = "{granian} -m granian --interface rsgi --host 127.0.0.1 --port {port} --workers 1 --runtime-threads 1"
TWISTD = "{twistd} -n --pidfile= {reactor}"

HYPERCORN = "{hypercorn} -m hypercorn --bind 127.0.0.1:{port} --backlog 1024 --log-level critical"
SWITCHD = TWISTD + " switchd --config {here}/switchd.toml --listen tcp:{port}:backlog=1024:interface=127.0.0.1"

SERVERS = (
    Server(US, SWITCHD),
    Server("switchd-http1", SWITCHD, is_upgraded=True),
    Server("bare", TWISTD + " -y {peers}/bare.py", environment=(("PORT", "{port}"),)),
    Server("stock", "{twistd} -n --pidfile= -y {peers}/stock.py", environment=(("PORT", "{port}"),)),
    Server("picows", "{picows} {peers}/picows_server.py {port}", ("picows",)),
    Server("aiohttp", "{aiohttp} {peers}/aiohttp_server.py {port}", ("aiohttp",)),
    Server(
        "uvicorn",
        UVICORN + " --loop uvloop --http httptools --ws websockets-sansio --log-level critical --no-access-log",
        ("uvicorn",),
    ),
    Server(
        "granian",
        GRANIAN + " --loop uvloop --backlog 1024 --no-log rsgi:application",
        ("granian",),
        (("PYTHONPATH", "{peers}"),),
    ),
    Server("node", "{node} {peers}/node.js {port}", ("node", "ws"), (("NODE_PATH", "{ws}"),)),
    Server("node-http2", "{node} {peers}/node_http2.js {port}", ("node", "ws"), (("NODE_PATH", "{ws}"),)),
    Server(
        "hypercorn",
        HYPERCORN + " --worker-class uvloop asgi:application",
        ("hypercorn",),
        (("PYTHONPATH", "{peers}"),),
    ),
    Server("go", "{go} {port}", ("go",), (("GOMAXPROCS", "1"),)),
)
BY_NAME = {server.name: server for server in SERVERS}


def cores() -> tuple[int, int]:
    """A core for the servers, and one for their client; the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def reactors() -> set[str]:
    """The reactors that `twistd` knows here."""
    command = [_twistd(), "--help-reactors"]
    done = subprocess.run(command, env=_environment(), capture_output=True, check=False, text=True)
    return {line.split()[0] for line in done.stdout.splitlines() if line.startswith(" ") and line.strip()}


def _environment() -> dict[str, str]:
    """Of a process that is to find this switchd, its plugins and its handlers."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**own, "PYTHONPATH": str(ROOT)}


def _twistd() -> str:
    beside = Path(sys.executable).parent / "twistd"
    path = str(beside) if beside.exists() else shutil.which("twistd")
    if path is None:
        raise Missing("there is no twistd here; install switchd in this environment")
    return path


class Running:
    """A server as a process, on its core, from `with` to the end of its block.

    Args:
        server: Which.
        cache: Where its needs are.
        reactor: For those that run on Twisted in switchd's way: a reactor's name; "": twistd's own choice.

    Attributes:
        port: Where it listens.

    Raises:
        Missing: It cannot be had here, or does not start.
    """

    def __init__(self, server: Server, cache: Cache, reactor: str = "") -> None:
        self.server = server
        self.port = _free_port()
        filled = {
            "port": str(self.port),
            "here": str(HERE),
            "peers": str(HERE / "peers"),
            "twistd": _twistd(),
            "reactor": f"--reactor={reactor}" if reactor else "",
            **{name: str(cache.need(name)) for name in server.needs},
        }
        environment = _environment() | {name: value.format(**filled) for name, value in server.environment}
        # Logs are written, and thrown away. What goes wrong is in the errors.
        self._errors = cache.folder / f"{server.name}.errors"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [filled_in for word in server.command.split() if (filled_in := word.format(**filled))],
                cwd=cache.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                preexec_fn=_at_home,
                start_new_session=True,
            )
        try:
            self._wait()
        except Missing:
            self.stop()
            raise

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise self._ended("did not start")

    def _ended(self, how: str) -> Missing:
        said = self._errors.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        return Missing(f"{self.server.name} {how}: {said[-1]}")

    def pids(self) -> list[int]:
        """Its processes.

        Raises:
            Missing: It has ended.
        """
        if self._process.poll() is not None:
            raise self._ended("has ended")
        found, left = [], [self._process.pid]
        while left:
            pid = left.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                left += map(int, children.read_text().split())
        return found

    def cpu(self) -> float:
        """Seconds that they have run."""
        files = [file for pid in self.pids() for file in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int(file.read_text().split()[0]) for file in files) / 1e9

    def memory(self) -> int:
        """Bytes of memory that are theirs."""
        lines = [line for pid in self.pids() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self) -> None:
        """End it and what it has started, whatever they do."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        with suppress(ProcessLookupError):  # what it has started may outlive it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _at_home() -> None:
    os.sched_setaffinity(0, {cores()[0]})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
