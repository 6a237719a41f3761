"""Connections that send at the end of the turn: what is new about them, and that nothing else is."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from switchd.transports import backlog
from switchd.transports.connections import JOINED_BYTES, MOST_PIECES, Connection, prepare
from tests.transports.loops import REACTORS, TURNS, Loop, loop, read

FAMILIES = {"tcp": socket.AF_INET, "unix": socket.AF_UNIX}
# With Twisted's own connections for comparison: what a test says of all, it says of these first.
WAYS = [f"{name} {family}" for name in ("twisted's own", *REACTORS) for family in FAMILIES]
OURS = [way for way in WAYS if not way.startswith("twisted's own")]


@pytest.fixture
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Loop]:
    """A way: a reactor, a kind of socket, a kind of connection."""
    name, _, family = request.param.rpartition(" ")
    if name in ("twisted's own", "stock", "switchd"):
        pytest.importorskip("twisted.internet.epollreactor")
    with loop(name if name in REACTORS else "stock", FAMILIES[family], tmp_path, name in REACTORS) as made:
        yield made


in_every_way = pytest.mark.parametrize("at", WAYS, indirect=True)
in_all_of_ours = pytest.mark.parametrize("at", OURS, indirect=True)


class Counted:
    """A socket that remembers the sizes that it was asked to send and to receive, and how many options were set."""

    def __init__(self, wrapped: socket.socket) -> None:
        self.asked: list[int] = []
        self.read: list[int] = []
        self.options = 0
        self._wrapped = wrapped

    def send(self, data: bytes) -> int:
        self.asked.append(len(data))
        return self._wrapped.send(data)

    def recv(self, size: int) -> bytes:
        self.read.append(size)
        return self._wrapped.recv(size)

    def sendmsg(self, pieces: list[bytes], *more: Any) -> int:
        self.asked.append(sum(map(len, pieces)))
        return self._wrapped.sendmsg(pieces, *more)

    def setsockopt(self, *arguments: int) -> None:
        self.options += 1
        self._wrapped.setsockopt(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


@implementer(IHalfCloseableProtocol)
class Server(Protocol):
    """Does in `dataReceived` what a test tells it to; remembers what became of it."""

    transport: Any

    def __init__(self, does: Callable[[Any, bytes], object] = lambda server, data: None) -> None:
        self.heard = b""
        self.told: list[Any] = []
        self.busy = False  # in dataReceived, or in a call of ours upon the transport
        self._does = does

    def connectionMade(self) -> None:
        self.transport.socket = self.socket = Counted(self.transport.socket)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.busy = True
        try:
            self._does(self, data)
        finally:
            self.busy = False

    def readConnectionLost(self) -> None:
        self.told.append("end of input")

    def writeConnectionLost(self) -> None:
        self.told.append("end of output")

    def connectionLost(self, reason: Any = None) -> None:
        assert not self.busy, "called inside a call of the protocol's"
        self.told.append(reason.type)

    # As a producer

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def connected(at: Loop, *servers: Server) -> list[socket.socket]:
    """A client for each."""
    waiting = list(servers)
    connect = at.listen(lambda: waiting.pop(0))
    clients = [connect() for _ in servers]
    at.until(lambda: not waiting and all(server.transport for server in servers))
    return clients


def write_parts(server: Server, data: bytes) -> None:
    """Three writes, in two ways."""
    server.transport.write(b"one,")
    server.transport.writeSequence([b"two,", b"three,"])
    server.transport.write(data)


class TestATurn:
    @in_all_of_ours
    @pytest.mark.parametrize("producing", [False, True])
    def test_what_is_written_in_a_read_leaves_in_one_call_and_without_the_poller(
        self, at: Loop, producing: bool
    ) -> None:
        def answer(server: Server, data: bytes) -> None:
            write_parts(server, data)
            writers.extend(at.reactor.getWriters())

        server = Server(answer)
        writers: list[Any] = []
        (client,) = connected(at, server)
        if producing:
            server.transport.registerProducer(server, True)
        for _ in range(3):
            client.send(b"four")
            assert at.receive(client, 18) == b"one,two,three,four"
        assert server.socket.asked == [18] * 3
        assert writers == []
        assert server.told == []

    @in_every_way
    def test_nothing_leaves_inside_a_write(self, at: Loop) -> None:
        def answer(server: Server, data: bytes) -> None:
            server.transport.write(data)
            assert read(client) is None

        (client,) = connected(at, Server(answer))
        client.send(b"x")
        assert at.receive(client, 1) == b"x"

    @in_all_of_ours
    @pytest.mark.parametrize("call", ["callLater", "callFromThread", "callWhenRunning"])
    def test_what_is_written_at_another_time_leaves_in_one_call_too(self, at: Loop, call: str) -> None:
        server = Server()
        (client,) = connected(at, server)
        time = (0,) if call == "callLater" else ()
        getattr(at.reactor, call)(*time, write_parts, server, b"four")
        if call == "callWhenRunning":
            at.reactor.fireSystemEvent("startup")
        assert at.receive(client, 18) == b"one,two,three,four"
        assert server.socket.asked == [18]

    @in_all_of_ours
    def test_who_is_written_to_in_the_read_of_another_is_sent_for_once(self, at: Loop) -> None:
        def tell(server: Server, data: bytes) -> None:
            for other in others:
                write_parts(other, data)

        others = [Server() for _ in range(3)]
        speaker, *clients = connected(at, Server(tell), *others)
        speaker.send(b"four")
        for client in clients:
            assert at.receive(client, 18) == b"one,two,three,four"
        assert [other.socket.asked for other in others] == [[18]] * 3

    @in_all_of_ours
    def test_who_is_to_be_closed_is_closed_also_where_its_peer_has_gone_meanwhile(self, at: Loop) -> None:
        def close(server: Server, data: bytes) -> None:
            server.transport.loseConnection()
            client.close()

        server = Server(close)
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: bool(server.told))
        assert server.told == [ConnectionDone]

    @in_every_way
    def test_a_pull_producer_is_asked_once_a_turn(self, at: Loop) -> None:
        class Pulled(Server):
            def resumeProducing(self) -> None:
                self.told.append("resume")
                self.transport.write(b"%d," % len(self.told))
                if len(self.told) == 100:
                    self.transport.unregisterProducer()

        server = Pulled(lambda server, data: server.transport.registerProducer(server, False))
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.told)
        for _ in range(TURNS):
            before = len(server.told)
            at.turn()
            assert len(server.told) <= before + 1
            if before == 100:
                break
        expected = b"".join(b"%d," % number for number in range(1, 101))
        assert at.receive(client, len(expected)) == expected

    @in_every_way
    def test_what_ends_in_the_turn_of_another_ends_there(self, at: Loop) -> None:
        class Ends(Server):
            def connectionLost(self, reason: Any = None) -> None:
                super().connectionLost(reason)
                other.transport.abortConnection()

        def answer(server: Server, data: bytes) -> None:
            for one in (server, other):
                one.transport.write(b"bye")
            server.transport.loseConnection()

        server, other = Ends(answer), Server()
        clients = connected(at, server, other)
        clients[0].send(b"x")
        at.until(lambda: other.told)
        assert (server.told, other.told) == ([ConnectionDone], [ConnectionAborted])
        assert at.receive(clients[0], 4) == b"bye"


class TestReading:
    @pytest.mark.parametrize("at", [way for way in OURS if way.endswith("tcp")], indirect=True)
    def test_who_sends_much_is_read_from_in_larger_pieces_until_there_is_less(self, at: Loop) -> None:
        server = Server()
        (client,) = connected(at, server)
        sent = b""
        for size in (1, 65536, 100_000, 65535, 1):
            server.transport.pauseProducing()
            more = bytes(index % 251 for index in range(size))
            client.sendall(more)
            sent += more
            server.transport.resumeProducing()
            at.until(lambda: len(server.heard) == len(sent))  # noqa: B023
        assert server.heard == sent
        assert set(server.socket.read) == {65536, 262_144}
        assert (server.socket.read[:2], server.socket.read[-1]) == ([65536, 65536], 65536)


class TestBackPressure:
    @in_all_of_ours
    def test_a_producer_is_not_paused_while_the_system_takes_what_is_more_than_64_kib(self, at: Loop) -> None:
        def write(server: Server, data: bytes) -> None:
            server.transport.registerProducer(server, True)
            server.transport.write(bytes(65536))
            assert server.socket.asked == []
            server.transport.write(b"x")
            assert server.socket.asked == [65537]

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        assert at.receive(client, 65537) == bytes(65536) + b"x"
        assert server.told == []

    @in_every_way
    def test_a_producer_is_paused_over_64_kib_that_it_does_not_take_and_resumed_when_all_is_sent(
        self, at: Loop
    ) -> None:
        written = 0

        def write(server: Server, data: bytes) -> None:
            nonlocal written
            server.transport.registerProducer(server, True)
            while not server.told and written < 64 << 20:
                server.transport.write(bytes(70_000))
                written += 70_000
            assert server.told == ["pause"]

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: written > 0)
        assert len(at.receive(client, written)) == written
        at.until(lambda: len(server.told) > 1)
        assert server.told == ["pause", "resume"]

    @in_every_way
    def test_who_does_not_read_is_written_to_no_more_than_the_system_takes(self, at: Loop) -> None:
        size = 8 << 20
        server = Server(lambda server, data: server.transport.write(data * size))
        (client,) = connected(at, server)
        server.transport.registerProducer(server, True)
        client.send(b"x")
        at.until(lambda: server.heard)
        for _ in range(200):
            at.turn()
        assert server.told == ["pause"]
        assert server.transport in at.reactor.getWriters()
        asked = len(server.socket.asked)
        for _ in range(3):
            server.transport.write(b"y")
            at.turn()
        assert len(server.socket.asked) == asked
        assert at.receive(client, size + 3) == b"x" * size + b"yyy"
        at.until(lambda: server.told[-1] == "resume")
        assert server.transport not in at.reactor.getWriters()

    @in_all_of_ours
    def test_a_long_piece_leaves_in_one_call_with_those_before_it(self, at: Loop) -> None:
        def write(server: Server, data: bytes) -> None:
            server.transport.write(b"header")
            server.transport.write(bytes(70_000))

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        assert at.receive(client, 70_006) == b"header" + bytes(70_000)
        assert server.socket.asked[0] == 70_006

    @in_all_of_ours
    def test_so_do_more_pieces_than_the_system_takes(self, at: Loop) -> None:
        count = MOST_PIECES + 1

        def write(server: Server, data: bytes) -> None:
            for _ in range(count):
                server.transport.write(bytes(20))

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        assert at.receive(client, 20 * count) == bytes(20 * count)
        assert server.socket.asked[0] == 20 * count > JOINED_BYTES

    @in_every_way
    def test_order_is_kept_through_all_sizes(self, at: Loop) -> None:
        pieces = [bytes([number % 256]) * size for number, size in enumerate([1, 70_000, 3, 300_000, 5, 131_072] * 5)]

        def write(server: Server, data: bytes) -> None:
            for piece in pieces[::2]:
                server.transport.write(piece)
            at.reactor.callLater(0, server.transport.writeSequence, pieces[1::2])

        (client,) = connected(at, Server(write))
        client.send(b"x")
        expected = b"".join(pieces[::2]) + b"".join(pieces[1::2])
        assert at.receive(client, len(expected)) == expected


class TestTheEnd:
    @in_every_way
    def test_what_was_written_before_closing_is_sent(self, at: Loop) -> None:
        def answer(server: Server, data: bytes) -> None:
            write_parts(server, data)
            server.transport.loseConnection()

        server = Server(answer)
        (client,) = connected(at, server)
        client.send(b"four")
        assert at.receive(client, 100) == b"one,two,three,four"
        at.until(lambda: server.told)
        assert server.told == [ConnectionDone]

    @in_all_of_ours
    def test_closing_sends_nothing_where_nothing_was_written(self, at: Loop) -> None:
        server = Server(lambda server, data: server.transport.loseConnection())
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.told)
        assert (server.told, server.socket.asked) == ([ConnectionDone], [])

    @in_every_way
    def test_closing_waits_for_a_producer(self, at: Loop) -> None:
        def answer(server: Server, data: bytes) -> None:
            server.transport.registerProducer(server, False)
            server.transport.write(data)
            server.transport.loseConnection()

        server = Server(answer)
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: len(server.told) == 2)
        for _ in range(3):
            at.turn()
        assert server.told == ["resume", "resume"]
        server.transport.write(b"last")
        server.transport.unregisterProducer()
        assert at.receive(client, 100) == b"xlast"
        at.until(lambda: len(server.told) == 3)
        assert server.told[-1] is ConnectionDone

    @in_every_way
    def test_aborting_drops_what_was_written(self, at: Loop) -> None:
        def answer(server: Server, data: bytes) -> None:
            server.transport.write(data)
            server.transport.abortConnection()
            server.transport.write(data)

        server = Server(answer)
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.told)
        assert server.told == [ConnectionAborted]
        assert server.socket.asked == []
        at.turn()
        assert not at.reactor.getWriters()

    @in_every_way
    @pytest.mark.parametrize("writing", [False, True])
    def test_who_aborts_and_then_closes_has_aborted(self, at: Loop, logged: list[Any], writing: bool) -> None:
        def answer(server: Server, data: bytes) -> None:
            other.transport.write(data)  # so that there is something to be sent at the end of this turn already
            if writing:
                server.transport.write(data)
            server.transport.abortConnection()
            server.transport.loseConnection()

        server, other = Server(answer), Server()
        client, _ = connected(at, server, other)
        client.send(b"x")
        at.until(lambda: server.told)
        for _ in range(3):
            at.turn()
        assert (server.told, logged) == ([ConnectionAborted], [])
        if at.sockets == socket.AF_INET:  # elsewhere there are no resets
            with pytest.raises(ConnectionResetError):
                client.recv(1)

    @in_every_way
    def test_half_closing_comes_behind_what_was_written_and_input_goes_on(self, at: Loop) -> None:
        def answer(server: Server, data: bytes) -> None:
            if data == b"x":
                server.transport.write(b"bye")
                server.transport.loseWriteConnection()

        server = Server(answer)
        (client,) = connected(at, server)
        client.send(b"x")
        assert at.receive(client, 100) == b"bye"
        at.until(lambda: server.told)
        for number, data in enumerate((b"y", b"z"), 2):
            client.send(data)
            at.until(lambda number=number: len(server.heard) == number)  # type: ignore[misc]
        assert server.told == ["end of output"]
        client.close()
        at.until(lambda: len(server.told) == 2)
        server.transport.loseConnection()
        at.until(lambda: len(server.told) == 3)
        assert server.told == ["end of output", "end of input", ConnectionDone]

    @in_every_way
    def test_a_client_that_half_closes_is_answered(self, at: Loop) -> None:
        class Answers(Server):
            def readConnectionLost(self) -> None:
                self.transport.write(b"answer")
                self.transport.loseConnection()

        server = Answers()
        (client,) = connected(at, server)
        client.shutdown(socket.SHUT_WR)
        assert at.receive(client, 100) == b"answer"
        at.until(lambda: server.told)
        assert server.told == [ConnectionDone]

    @in_every_way
    def test_writing_to_who_is_gone_loses_the_connection(self, at: Loop) -> None:
        server = Server()
        (client,) = connected(at, server)
        server.transport.pauseProducing()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server.transport.write(b"x")
        at.until(lambda: server.told)
        assert server.told == [ConnectionLost]


class TestMistakes:
    @in_every_way
    def test_an_exception_in_a_read_is_logged_and_the_reason(self, at: Loop, logged: list[Any]) -> None:
        def answer(server: Server, data: bytes) -> None:
            server.transport.write(data)
            raise ZeroDivisionError

        server = Server(answer)
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.told)
        assert (server.told, logged) == ([ZeroDivisionError], [ZeroDivisionError])
        assert server.socket.asked == []

    @in_every_way
    def test_so_is_one_of_a_producer(self, at: Loop, logged: list[Any]) -> None:
        class Pulled(Server):
            def resumeProducing(self) -> None:
                raise ZeroDivisionError

        server, other = Pulled(), Server()
        (_, client) = connected(at, server, other)
        server.transport.write(b"x")
        server.transport.producer = server  # registering would ask it
        other.transport.write(b"y")
        at.until(lambda: server.told)
        assert server.told[-1] is ZeroDivisionError
        assert logged == [ZeroDivisionError]
        assert at.receive(client, 1) == b"y"

    @in_every_way
    def test_one_in_connection_lost_is_logged_and_touches_no_other(self, at: Loop, logged: list[Any]) -> None:
        class Raises(Server):
            def connectionLost(self, reason: Any = None) -> None:
                raise ZeroDivisionError

        servers = [Raises(lambda server, data: server.transport.loseConnection()) for _ in range(3)]
        *clients, client = connected(at, *servers, Server(lambda server, data: server.transport.write(data)))
        for one in (*clients, client):
            one.send(b"x")
        assert at.receive(client, 1) == b"x"
        at.until(lambda: len(logged) == 3)
        assert logged == [ZeroDivisionError] * 3

    @in_every_way
    @pytest.mark.parametrize("data", ["x", 1, None, bytearray(b"x"), memoryview(b"x")], ids=repr)
    def test_only_bytes_are_written(self, at: Loop, data: Any) -> None:
        server = Server()
        (client,) = connected(at, server)
        with pytest.raises(TypeError, match="Data must be bytes"):
            server.transport.write(data)
        server.transport.write(b"")
        server.transport.write(b"x")
        assert at.receive(client, 1) == b"x"

    @in_every_way
    def test_writing_when_all_is_over_does_nothing(self, at: Loop) -> None:
        server = Server(lambda server, data: server.transport.loseConnection())
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.told)
        server.transport.write(b"x")
        server.transport.loseConnection()
        at.turn()
        assert not any(server.socket.asked)
        assert at.reactor.getWriters() == []

    @in_all_of_ours
    def test_half_closing_when_all_is_over_does_nothing(self, at: Loop, logged: list[Any]) -> None:
        server = Server(lambda server, data: server.transport.loseConnection())
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.told)
        server.transport.loseWriteConnection()
        at.turn()
        at.turn()
        assert (logged, server.told) == ([], [ConnectionDone])
        assert at.reactor.getWriters() == []


class TestFileDescriptors:
    @pytest.mark.parametrize("at", [way for way in WAYS if way.endswith("unix")], indirect=True)
    def test_they_are_sent_with_the_bytes_around_them(self, at: Loop) -> None:
        def send(server: Server, data: bytes) -> None:
            server.transport.write(b"before,")
            server.transport.sendFileDescriptor(server.transport.fileno())
            server.transport.write(b"after")

        server = Server(send)
        (client,) = connected(at, server)
        client.send(b"x")
        at.until(lambda: server.heard)
        at.turn()
        data, descriptors, _, _ = socket.recv_fds(client, 100, 1)
        assert len(descriptors) == 1
        socket.socket(fileno=descriptors[0]).close()
        assert data + at.receive(client, 12 - len(data)) == b"before,after"


class TestPrepare:
    @in_all_of_ours
    def test_a_port_of_twisteds_makes_connections_of_ours(self, at: Loop) -> None:
        server = Server()
        connected(at, server)
        assert isinstance(server.transport, Connection)

    @pytest.mark.skipif(sys.platform != "linux", reason="where a socket has its listener's options by promise")
    @pytest.mark.parametrize("at", [way for way in OURS if way.endswith("tcp")], indirect=True)
    def test_its_tcp_connections_have_no_delay_from_the_beginning(self, at: Loop) -> None:
        server = Server()
        connected(at, server)
        server.transport.setTcpNoDelay(True)
        assert server.socket.options == 0
        for enabled in (True, False, False, True):
            server.transport.setTcpNoDelay(enabled)
            assert server.transport.getTcpNoDelay() == enabled

    @pytest.mark.skipif(sys.platform != "linux", reason="where a socket has its listener's options by promise")
    @pytest.mark.parametrize("at", [way for way in OURS if way.endswith("tcp")], indirect=True)
    def test_its_tcp_clients_are_missed_when_they_are_gone(self, at: Loop) -> None:
        server = Server()
        connected(at, server)
        assert server.transport.getTcpKeepAlive()
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        idle, interval, count = (
            server.transport.socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names
        )
        assert idle + interval * count == 120

    def test_any_other_is_left_as_it_is(self) -> None:
        class Port(tcp.Port):
            pass

        class Server(tcp.Server):
            pass

        of_another_kind = Port(0, None)  # type: ignore[arg-type]
        with_other_connections = tcp.Port(0, None)  # type: ignore[arg-type]
        with_other_connections.transport = Server
        for port in (of_another_kind, with_other_connections, object()):
            prepare(port)
        assert of_another_kind.transport is tcp.Server
        assert with_other_connections.transport is Server


class TestABound:
    """`buffered_bytes`, on what waits to be sent."""

    @in_all_of_ours
    @pytest.mark.parametrize("how", ["write", "parts", "sequence"])
    def test_who_has_more_waiting_and_takes_nothing_is_aborted(
        self, at: Loop, how: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backlog, "LOOK_SECONDS", 0.01)
        data = b"x" * (16 << 20)  # more than the system takes

        def write(server: Server, asked: bytes) -> None:
            server.transport.buffered_bytes = 4 << 20
            ways: dict[str, Callable[[], object]] = {
                "write": lambda: server.transport.write(data),
                "parts": lambda: write_parts(server, data),
                "sequence": lambda: server.transport.writeSequence([data, b"y"]),
            }
            ways[how]()
            assert server.told == [], "never inside of a write"

        server = Server(write)
        (client,) = connected(at, server)
        transport = server.transport
        client.send(b"x")
        at.until(lambda: server.told)
        assert server.told == [ConnectionAborted]
        assert transport.has_overflowed

    @in_all_of_ours
    def test_an_answer_that_is_longer_comes_whole_to_who_reads_it(self, at: Loop) -> None:
        def write(server: Server, asked: bytes) -> None:
            server.transport.buffered_bytes = 1 << 20
            server.transport.write(b"head")
            server.transport.write(bytes(16 << 20))

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        assert len(at.receive(client, 4 + (16 << 20))) == 4 + (16 << 20)
        at.turn()
        assert (server.told, server.transport.has_overflowed) == ([], False)

    @in_all_of_ours
    def test_who_has_too_much_waiting_is_not_written_to_for_ever(self, at: Loop) -> None:
        server = Server(lambda server, asked: setattr(server.transport, "buffered_bytes", 1 << 20))
        (client,) = connected(at, server)
        transport = server.transport
        client.send(b"x")
        at.until(lambda: transport.buffered_bytes)

        def flooded() -> bool:
            transport.write(bytes(1 << 20))
            return bool(server.told)

        at.until(flooded)
        assert server.told == [ConnectionAborted]

    @in_all_of_ours
    def test_who_is_read_may_send_any_amount(self, at: Loop) -> None:
        class Feeds:
            def __init__(self, server: Server) -> None:
                self.server, self.left = server, 200

            def resumeProducing(self) -> None:
                self.left -= 1
                self.server.transport.write(bytes(65_536))
                if not self.left:
                    self.server.transport.unregisterProducer()

            def stopProducing(self) -> None: ...

        def write(server: Server, asked: bytes) -> None:
            server.transport.buffered_bytes = 1 << 20
            server.transport.registerProducer(Feeds(server), False)

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        assert len(at.receive(client, 200 * 65_536)) == 200 * 65_536
        assert not server.transport.has_overflowed

    @in_all_of_ours
    def test_what_is_sent_waits_no_more(self, at: Loop) -> None:
        def write(server: Server, asked: bytes) -> None:
            server.transport.buffered_bytes = 16 << 20
            server.transport.write(bytes(15 << 20))

        server = Server(write)
        (client,) = connected(at, server)
        client.send(b"x")
        at.receive(client, 14 << 20)
        server.transport.write(bytes(2 << 20))
        assert not server.transport.has_overflowed

    @in_all_of_ours
    def test_without_a_bound_all_waits(self, at: Loop) -> None:
        server = Server(lambda server, asked: server.transport.write(bytes(16 << 20)))
        (client,) = connected(at, server)
        client.send(b"x")
        assert len(at.receive(client, 16 << 20)) == 16 << 20
