"""A `twistd switchd` as a process, looked at from outside."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import ROOT, cores

ARGUMENTS = ("--reactor", "switchd", "-n", "--pidfile=", "switchd", "--config", "switchd.toml")

START_SECONDS = 30.0
"""How long it may take until it listens."""


@dataclass(frozen=True)
class Look:
    """What it is at one moment.

    Attributes:
        descriptors: How many it has open.
        memory: Bytes that are resident.
        cpu: Seconds that it has run.
        at: When, by `time.monotonic`.
    """

    descriptors: int
    memory: int
    cpu: float
    at: float


class Server:
    """It runs from `with` to the end of the block, whatever happens in it.

    Args:
        folder: Where switchd.toml is; its log goes there too.

    Attributes:
        log: Its file.
    """

    def __init__(self, folder: Path) -> None:
        self.log = folder / "switchd.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("twistd")), *ARGUMENTS],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_on_its_core,
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def ports(self, count: int) -> list[int]:
        """Wait until it listens on so many TCP ports; they, in the order of the configuration.

        Raises:
            TimeoutError: It does not.
        """
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            found = re.findall(r"listening on tcp \S+:(\d+)\n", self.log.read_text())
            if len(found) == count:
                return [int(port) for port in found]
            time.sleep(0.05)
        raise TimeoutError(f"the server does not listen:\n{self.log.read_text()}")

    def look(self) -> Look:
        """What it is now."""
        process = Path(f"/proc/{self._process.pid}")
        (memory,) = re.findall(r"VmRSS:\s+(\d+) kB", (process / "status").read_text())
        return Look(
            len(list((process / "fd").iterdir())),
            int(memory) * 1024,
            int((process / "schedstat").read_text().split()[0]) / 1e9,
            time.monotonic(),
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    @property
    def status(self) -> int | None:
        """How it has ended; None: it has not."""
        return self._process.poll()


def raise_limit(descriptors: int) -> None:
    """Allow this process, and those that it starts, so many descriptors.

    Raises:
        SystemExit: The system does not.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < descriptors:
        raise SystemExit(f"{descriptors} descriptors are needed, and {most} allowed (ulimit -Hn): fewer --connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, most))


def _on_its_core() -> None:
    os.sched_setaffinity(0, {cores()[0]})
