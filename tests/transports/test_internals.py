"""Twisted's inside, as `switchd.transports` relies on it: when a new Twisted changes it, this says so first."""

from __future__ import annotations

import inspect
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import abstract, tcp, unix
from twisted.internet.base import ReactorBase
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from switchd.transports.connections import Connection, Listener, Turn, UNIXConnection

epollreactor = pytest.importorskip("twisted.internet.epollreactor")


class Reactor:
    """Watches nothing."""

    def addReader(self, reader: Any) -> None: ...

    def addWriter(self, writer: Any) -> None: ...

    def removeReader(self, reader: Any) -> None: ...

    def removeWriter(self, writer: Any) -> None: ...


@pytest.fixture(params=[tcp.Server, unix.Server])
def connection(request: pytest.FixtureRequest) -> Any:
    """A connection of Twisted's own, whose client is in the attribute `client_end`."""
    ours, theirs = socket.socketpair()
    made = request.param(ours, Protocol(), ("a", 1), None, 0, Reactor())
    made.client_end = theirs
    yield made
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (abstract.FileDescriptor, "write", ["self", "data"]),
        (abstract.FileDescriptor, "doWrite", ["self"]),
        (abstract.FileDescriptor, "startWriting", ["self"]),
        (abstract.FileDescriptor, "stopWriting", ["self"]),
        (abstract.FileDescriptor, "_maybePauseProducer", ["self"]),
        (tcp.Connection, "doRead", ["self"]),
        (tcp.Connection, "_dataReceived", ["self", "data"]),
        (abstract.FileDescriptor, "_postLoseConnection", ["self"]),
        (tcp.Server, "setTcpNoDelay", ["self", "enabled"]),
        (epollreactor.EPollReactor, "addReader", ["self", "reader"]),
        (epollreactor.EPollReactor, "removeReader", ["self", "reader"]),
        (epollreactor.EPollReactor, "removeWriter", ["self", "writer"]),
        (tcp.Server, "__init__", ["self", "sock", "protocol", "client", "server", "sessionno", "reactor"]),
        (unix.Server, "__init__", ["self", "sock", "protocol", "client", "server", "sessionno", "reactor"]),
        (ReactorBase, "runUntilCurrent", ["self"]),
        (epollreactor.EPollReactor, "doPoll", ["self", "timeout"]),
        (epollreactor.EPollReactor, "_doReadOrWrite", ["self", "selectable", "fd", "event"]),
        (epollreactor.EPollReactor, "_disconnectSelectable", ["self", "selectable", "why", "isRead", "faildict"]),
    ],
)
def test_it_has_the_method(owner: Any, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_a_connection_that_has_written_nothing_has_these_attributes(connection: Any) -> None:
    assert connection.connected
    assert (connection._tempDataBuffer, connection._tempDataLen) == ([], 0)
    assert (connection.dataBuffer, connection.offset) == (b"", 0)
    assert not any((connection.TLS, connection.disconnecting))
    assert not any((connection._writeDisconnecting, connection._writeDisconnected))
    assert (connection.producer, connection.producerPaused, connection.streamingProducer) == (None, False, False)
    assert (connection.bufferSize, connection.SEND_LIMIT) == (64 * 1024, 128 * 1024)
    assert getattr(connection, "_sendmsgQueue", []) == []


def test_what_was_written_is_in_the_list_until_it_is_tried_and_then_in_the_buffer(connection: Any) -> None:
    connection.write(b"a")
    connection.writeSequence([b"b", b"c"])
    assert (connection._tempDataBuffer, connection._tempDataLen, connection.dataBuffer) == ([b"a", b"b", b"c"], 3, b"")
    connection.writeSomeData = lambda data: 1
    assert connection.doWrite() is None
    assert (connection._tempDataBuffer, connection._tempDataLen) == ([], 0)
    assert (connection.dataBuffer, connection.offset) == (b"abc", 1)


@pytest.mark.parametrize(("twisteds", "ours"), [(tcp.Server, Connection), (unix.Server, UNIXConnection)])
def test_a_connection_of_ours_is_made_as_twisteds_is(twisteds: Any, ours: Any) -> None:
    client: Any = ("2001:db8::1", 1, 0, 0) if twisteds is tcp.Server else "/a/path"
    one, other = socket.socketpair()
    with one, other:
        protocol, reactor, port = Protocol(), Reactor(), tcp.Port(0, None)  # type: ignore[arg-type]
        turn = Turn(reactor)
        arguments = (one, protocol, client, port, 7, reactor)
        expected = vars(twisteds(*arguments))
        made = ours(*arguments, turn=turn)
        found = dict(vars(made))
        assert (found.pop("_turn"), found.pop("_is_undelayed")) == (turn, False)
        assert (expected.pop("logstr"), expected.pop("repstr")) == (made.logPrefix(), repr(made))
        assert found == expected


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_a_listener_of_ours_accepts_as_pythons_does(family: socket.AddressFamily, tmp_path: Path) -> None:
    made: list[tuple[object, ...]] = []
    for kind in (lambda listening: listening, Listener):
        with socket.socket(family) as one, socket.socket(family) as client:
            hosts = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
            name: Any = (hosts[family], 0) if family in hosts else str(tmp_path / str(len(made)))
            one.bind(name)
            one.listen()
            one.setblocking(False)
            listening = kind(one)
            with listening:
                with pytest.raises(BlockingIOError):
                    listening.accept()
                client.connect(listening.getsockname())
                accepted, address = listening.accept()
                with accepted:
                    assert address == client.getsockname()
                    kinds = (type(accepted), accepted.family, accepted.type, accepted.proto)
                    made.append((*kinds, accepted.gettimeout(), accepted.get_inheritable()))
                assert listening.gettimeout() == 0
    assert made[0] == made[1]


def test_losing_a_connection_stops_its_writing(connection: Any) -> None:
    stopped: list[None] = []
    connection.stopWriting = lambda: stopped.append(None)
    connection.connectionLost(Failure(ConnectionDone()))
    assert stopped == [None]
    assert not connection.connected


def test_a_port_makes_connections_by_its_attribute_transport() -> None:
    assert (tcp.Port.transport, unix.Port.transport) == (tcp.Server, unix.Server)
    assert "self.transport(" in inspect.getsource(tcp.Port.doRead)


def test_the_epoll_reactor_keeps_what_it_watches_by_descriptor() -> None:
    reactor: Any = epollreactor.EPollReactor()
    watched = set(reactor._selectables.values())
    assert watched == reactor._internalReaders
    assert reactor._reads == set(reactor._selectables)
    assert reactor._writes == set()
    assert not reactor._justStopped
    assert reactor._poller.poll(0, len(watched)) == []
    for reader in watched:
        reader.connectionLost(None)
    reactor._poller.close()
