"""Telling the service manager how the server is: sd_notify(3), for systemd's `Type=notify` and whoever does the same.

Where nobody wants to know (`NOTIFY_SOCKET` is not set), nothing is done. Where it cannot be told, that is no reason for
a server to fail.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any

SPARE_SECONDS = 5.0
"""What stopping may take beyond the time that connections have: for the last answers of `[admin]`, and to exit."""


def ready(status: str) -> None:
    """The server serves, for the first time or again after `reloading`.

    Args:
        status: A line for people, such as `systemctl status` shows.
    """
    _tell("READY=1", f"STATUS={status}")


def reloading() -> None:
    """The configuration is being read again; `ready` is to follow, whatever comes of that."""
    # systemd wants its own clock's time, to tell this reload from one before.
    _tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def stopping(seconds: float) -> None:
    """The server ends.

    Args:
        seconds: How long its connections have; whoever would kill us earlier is asked to wait.
    """
    wait = _microseconds(seconds + SPARE_SECONDS)
    _tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={wait}", f"STATUS=draining, for at most {seconds:g} s")


def watchdog(reactor: Any) -> None:
    """Show, for as long as the reactor turns, that it does, if the service manager watches (`WatchdogSec=`).

    Args:
        reactor: Who is to be alive.
    """
    try:
        seconds = int(os.environ["WATCHDOG_USEC"]) / 1_000_000
        watched = int(os.environ.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return
    if watched == os.getpid() and seconds > 0:
        _be_alive(reactor, seconds / 2)  # as sd_watchdog_enabled(3) advises


def _be_alive(reactor: Any, seconds: float) -> None:
    _tell("WATCHDOG=1")
    reactor.callLater(seconds, _be_alive, reactor, seconds)


def _tell(*assignments: str) -> None:
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name:
        return
    address = f"\0{name[1:]}" if name.startswith("@") else name  # "@": without a file, in Linux' abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto("\n".join(assignments).encode(), address)
    except OSError:
        pass


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
