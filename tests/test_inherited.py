"""Sockets that were passed to this process, and are left as they were."""

from __future__ import annotations

import inspect
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import endpoints, reactor, tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.systemd import ListenFDs

from switchd import config, listeners
from switchd.inherited import IInherited, Inherited, path_of
from tests.wires import with_reactor


class Greets(Protocol):
    """Says hello to who comes."""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()


class Hears(Protocol):
    """Waits for the end."""

    def __init__(self) -> None:
        self.heard = b""
        self.over: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.over.callback(self.heard)


@pytest.fixture(params=["INET", "INET6", "UNIX"])
def passed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd would open it."""
    family = getattr(socket, f"AF_{request.param}")
    addresses: dict[str, Any] = {"INET": ("127.0.0.1", 0), "INET6": ("::1", 0), "UNIX": str(tmp_path / "http.sock")}
    with socket.socket(family) as listening:
        listening.bind(addresses[request.param])
        if family == socket.AF_UNIX:
            (tmp_path / "http.sock").chmod(0o600)
        listening.listen()
        yield listening


async def listen(passed: socket.socket) -> Any:
    return await Inherited(reactor, passed.fileno(), passed.family).listen(Factory.forProtocol(Greets))


async def heard(passed: socket.socket) -> bytes:
    where = passed.getsockname()
    endpoint: Any
    if passed.family == socket.AF_UNIX:
        endpoint = UNIXClientEndpoint(reactor, where)
    else:
        endpoint = TCP4ClientEndpoint(reactor, where[0], where[1])
    client: Hears = await connectProtocol(endpoint, Hears())
    return await client.over


@with_reactor
async def test_it_is_listened_on_again_and_again(passed: socket.socket) -> None:
    for _ in range(3):
        port = await listen(passed)
        is_inherited = IInherited.providedBy(port)
        assert is_inherited
        assert await heard(passed) == b"hello"
        await port.stopListening()


@with_reactor
async def test_who_comes_in_between_waits(passed: socket.socket) -> None:
    await (await listen(passed)).stopListening()
    waiting = heard(passed)
    port = await listen(passed)
    assert await waiting == b"hello"
    await port.stopListening()


@with_reactor
async def test_the_file_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(file))
        file.chmod(0o600)
        passed.listen()
        port = await listen(passed)
        assert port.getHost().name == os.fsencode(file)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        await port.stopListening()
        assert file.is_socket()


class TestMistakes:
    @with_reactor
    async def test_a_socket_of_another_domain_is_told(self) -> None:
        with (
            socket.create_server(("::1", 0), family=socket.AF_INET6) as passed,
            pytest.raises(ValueError, match="the socket that was passed is of domain INET6, not INET$"),
        ):
            await Inherited(reactor, passed.fileno(), socket.AF_INET).listen(Factory())

    @with_reactor
    async def test_a_connection_is_told(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(ValueError, match="does not listen; expected one with Accept=no$"):
            await Inherited(reactor, ours.fileno(), socket.AF_UNIX).listen(Factory())


def endpoint_of(text: str) -> Any:
    (made,), mistakes = listeners.prepare([config.Listen(endpoint=text, key="listen[0]")], Path(), reactor)
    assert mistakes == ()
    return made.endpoint


class TestEndpoints:
    @pytest.fixture(autouse=True)
    def _two_are_passed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(endpoints._SystemdParser, "_sddaemon", ListenFDs([3, 4], ["web", "local"]))

    @pytest.mark.parametrize(
        ("text", "descriptor", "family"),
        [
            ("systemd:domain=INET:index=0", 3, socket.AF_INET),
            ("systemd:domain=INET6:name=web", 3, socket.AF_INET6),
            ("systemd:domain=UNIX:name=local", 4, socket.AF_UNIX),
        ],
    )
    def test_twisted_finds_them_and_they_are_listened_on_here(
        self, text: str, descriptor: int, family: socket.AddressFamily
    ) -> None:
        assert endpoint_of(text) == Inherited(reactor, descriptor, family)

    def test_behind_a_proxy_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        listened: list[Inherited] = []
        monkeypatch.setattr(Inherited, "listen", lambda self, factory: listened.append(self))
        endpoint_of("haproxy:systemd:domain=INET:name=web").listen(Factory())
        assert listened == [Inherited(reactor, 3, socket.AF_INET)]


def test_twisteds_unix_port_is_as_it_was() -> None:
    assert list(inspect.signature(unix.Port._fromListeningDescriptor).parameters) == ["reactor", "fd", "factory"]
    source = inspect.getsource(unix.Port)
    path = path_of(unix.Port(b"/nowhere", Factory(), reactor=reactor))
    assert source.count(f"if _inFilesystemNamespace(self.{path}):") == 2  # before chmod, and before unlink
    assert f"os.chmod(self.{path}" in source
    assert f"os.unlink(self.{path}" in source
    assert "skt.listen(self.backlog)" in source
    assert "if self._shouldShutdown:\n" in inspect.getsource(tcp._SocketCloser._closeSocket)
