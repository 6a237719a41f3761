"""What a service manager is told, by a socket such as its own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from switchd import notify


class Manager:
    """The service manager's end.

    Args:
        address: Where it is to be told.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self) -> list[dict[str, str]]:
        """What has come since it was asked last."""
        found: list[dict[str, str]] = []
        while True:
            try:
                lines = self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return found
            found.append(dict(line.split("=", 1) for line in lines))


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    name = f"{tmp_path}/notify"
    listening = Manager(name if request.param == "file" else f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", name if request.param == "file" else f"@{name}")
    with listening.socket:
        yield listening


def test_ready_comes_with_a_line_for_people(manager: Manager) -> None:
    notify.ready("2 listeners")
    assert manager.told() == [{"READY": "1", "STATUS": "2 listeners"}]


def test_reloading_says_when_by_the_managers_clock(manager: Manager) -> None:
    before = time.monotonic_ns() // 1000
    notify.reloading()
    after = time.monotonic_ns() // 1000
    (told,) = manager.told()
    assert told["RELOADING"] == "1"
    assert before <= int(told["MONOTONIC_USEC"]) <= after


def test_stopping_asks_for_the_time_that_it_takes(manager: Manager) -> None:
    notify.stopping(90.0)
    (told,) = manager.told()
    assert told["STOPPING"] == "1"
    assert int(told["EXTEND_TIMEOUT_USEC"]) == (90 + notify.SPARE_SECONDS) * 1_000_000
    assert "90 s" in told["STATUS"]


class TestWatchdog:
    def test_is_told_twice_in_its_time_that_the_reactor_turns(
        self, manager: Manager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WATCHDOG_USEC", "20000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        clock = Clock()
        notify.watchdog(clock)
        clock.pump([10.0] * 3)
        assert manager.told() == [{"WATCHDOG": "1"}] * 4

    @pytest.mark.parametrize(
        "environment",
        [{}, {"WATCHDOG_USEC": "often"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}],
        ids=["none", "no number", "never", "another process"],
    )
    def test_is_left_alone_if_it_does_not_watch_us(
        self, environment: dict[str, str], manager: Manager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        clock = Clock()
        notify.watchdog(clock)
        assert clock.getDelayedCalls() == []
        assert manager.told() == []


@pytest.mark.parametrize("name", [None, "", "/nowhere/notify", "@nobody/there"])
def test_nobody_to_tell_is_no_failure(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)
    notify.ready("")
    notify.reloading()
    notify.stopping(1.0)


def test_a_manager_that_does_not_read_keeps_nobody_waiting(manager: Manager) -> None:
    for _ in range(10_000):  # more than a socket holds
        notify.ready("")
    assert manager.told()
