"""The reactor of ours: what it does differently, that our own tests of sockets hold on it, and how it is chosen."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.reactors import getReactorTypes
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall

from tests.transports.loops import Loop, loop
from tests.transports.processes import run

pytest.importorskip("twisted.internet.epollreactor")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Loop]:
    with loop("switchd", socket.AF_INET, tmp_path) as made:
        yield made


class Server(Protocol):
    """Answers, and closes."""

    transport: Any
    gone = False

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self.gone = True


def run_until_stopped(at: Loop) -> None:
    """Run the reactor; it has to be stopped."""
    late: list[None] = []

    def stop() -> None:
        late.append(None)
        at.reactor.stop()

    deadline = at.reactor.callLater(30, stop)
    at.reactor.run(installSignalHandlers=False)
    assert late == []
    deadline.cancel()


class TestATurn:
    def test_who_closes_is_closed_in_it(self, at: Loop) -> None:
        server = Server()
        client = at.listen(lambda: server)()
        at.until(lambda: server.transport)
        client.send(b"x")
        at.reactor.doIteration(10)
        assert not server.gone
        at.reactor.runUntilCurrent()
        assert server.gone
        assert client.recv(10) == b"x"
        assert client.recv(10) == b""

    def test_who_stops_the_reactor_at_its_end_is_not_waited_for(self, at: Loop) -> None:
        class Last(Server):
            def connectionLost(self, reason: Any = None) -> None:
                at.reactor.stop()

        client = at.listen(Last)()
        client.send(b"x")
        run_until_stopped(at)

    def test_what_is_due_at_its_end_is_not_waited_for(self, at: Loop) -> None:
        class Last(Server):
            def connectionLost(self, reason: Any = None) -> None:
                at.reactor.callLater(0, at.reactor.stop)

        client = at.listen(Last)()
        client.send(b"x")
        run_until_stopped(at)

    def test_a_producer_that_always_has_more_keeps_nobody_waiting(self, at: Loop) -> None:
        class Endless(Server):
            def connectionMade(self) -> None:
                self.transport.registerProducer(self, False)

            def resumeProducing(self) -> None:
                self.transport.write(b"x")
                client.recv(10) if received else received.append(None)

            def stopProducing(self) -> None: ...

        received: list[None] = []
        counted: list[None] = []

        def count() -> None:
            counted.append(None)
            if len(counted) == 10:
                at.reactor.stop()

        client = at.listen(Endless)()
        counting = LoopingCall(count)
        counting.clock = at.reactor
        counting.start(0.001)
        run_until_stopped(at)
        counting.stop()


# Whatever we test of sockets.
TESTS = ("tests/test_sockets.py", "tests/protocols/test_websocket_transports.py")


def test_our_tests_of_sockets_hold_on_it() -> None:
    run("-m", "pytest", "-q", "-p", "tests.transports.ours", "-p", "no:cacheprovider", "-k", "not stock", *TESTS)


class TestChoosing:
    def test_it_is_found_by_its_name(self) -> None:
        (found,) = [one for one in getReactorTypes() if one.shortName == "switchd"]
        assert "epoll" in found.description

    def twistd(self, *arguments: str, without_epoll: bool) -> subprocess.CompletedProcess[str]:
        """Run `twistd`, if need be as on a system that has no epoll."""
        hide = "import select; del select.epoll, select.EPOLLIN\n" if without_epoll else ""
        program = (
            hide + f"import sys; sys.argv = {['twistd', *arguments]!r}\nfrom twisted.scripts.twistd import run; run()"
        )
        return subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
            text=True,
            timeout=60,
        )

    @pytest.mark.parametrize("without_epoll", [False, True])
    def test_it_is_listed(self, without_epoll: bool) -> None:
        done = self.twistd("--help-reactors", without_epoll=without_epoll)
        assert done.returncode == 0, done.stderr
        working, _, others = done.stdout.partition("reactors not available")
        (line,) = [line for line in (others if without_epoll else working).splitlines() if "switchd" in line]
        assert ("it needs epoll, which only Linux has" in line) == without_epoll

    def test_where_there_is_no_epoll_that_is_said(self) -> None:
        done = self.twistd("--reactor", "switchd", "-n", "switchd", without_epoll=True)
        told = done.stdout + done.stderr
        assert "The specified reactor cannot be used, failed with error: it needs epoll, which only Linux has" in told
        assert "Traceback" not in told
