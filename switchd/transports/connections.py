"""Twisted's TCP and UNIX connections, sending at the end of the reactor's turn.

Twisted sends nothing inside `write`. It has the poller say when the socket can be written to, which it nearly always
can: two system calls and a further event for each answer. A connection here enters itself in the reactor's `Turn`, and
is sent for when everything that this turn brought has been handled: all that was written in it, in one call. The poller
is asked about what the system does not take, and about nothing else.

All the rest is Twisted's own, and so is all that a protocol sees: nothing leaves out of order, nor inside `write` while
no more waits than a producer may write before it is paused (`bufferSize`, 64 KiB); more is sent at once, not piled up.
A producer is paused and resumed, a connection half-closed, closed or lost where it would have been.

This module knows the inside of Twisted's connections. tests/transports/test_internals.py notices when that changes.
"""

from __future__ import annotations

import socket
import sys
from errno import EWOULDBLOCK
from functools import cached_property, lru_cache, partial
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import log
from twisted.python.failure import Failure
from zope.interface import Attribute, Interface

from switchd.transports.backlog import Backlog

READ_BYTES = 262_144
"""How much is read at once from a peer that has filled `bufferSize`. It sends something long, and each smaller read
would be a turn of the reactor, and a piece to be joined."""

JOINED_BYTES = 16_384
"""Up to which pieces are joined to be sent. For more than that the copy takes longer than to give the system each."""

MOST_PIECES = 1024
"""That the system takes in one call (IOV_MAX on Linux); more are joined."""

_DONE = Failure(CONNECTION_DONE)

PROBED = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
"""When the system asks whether a silent peer is still there (tcp(7)): after so many seconds, so many apart, so often.

A machine that has lost its power, or its way to us, says nothing. A protocol that does not ask, such as ADDONE, would
hold such a connection for ever; so it is lost after two minutes."""

MOST_REMEMBERED = 64
"""Addresses that clients have reached, of which one is made once for all: more than most machines have."""


class IHasTurn(Interface):
    """A reactor that ends its turns itself."""

    turn = Attribute("A `Turn`, whose `end` it calls in each of its turns.")


class Turn:
    """Who has something to send at the end of this turn of a reactor.

    Args:
        reactor: Any that keeps time: what is due at once is called in its next turn, before it waits for anything.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: dict[Connection, None] = {}

    @property
    def is_over(self) -> bool:
        """Whether there is nobody."""
        return not self._waiting

    def add(self, connection: Connection) -> None:
        """It has something to send, or to be done once all is sent."""
        if not self._waiting:
            self._schedule()
        self._waiting[connection] = None

    def discard(self, connection: Connection) -> None:
        """It no longer has."""
        self._waiting.pop(connection, None)

    def end(self) -> None:
        """Send for all who are here now. Who comes meanwhile is of the next turn."""
        try:
            for connection in tuple(self._waiting):
                if connection in self._waiting:  # it has not been taken back
                    del self._waiting[connection]
                    if not connection.send():
                        self._unsent(connection)
        finally:
            if self._waiting:
                self._schedule()

    def _schedule(self) -> None:
        self._reactor.callLater(0, self.end)

    def _unsent(self, connection: Connection) -> None:
        if connection.connected and not connection.end():
            # The reactor waits for the system, does what comes after the last byte, meets an error again.
            self._reactor.addWriter(connection)


class Connection(tcp.Server):
    """A connection of a TCP listener.

    Args:
        sock: Its socket; and so on, as a port gives it to `tcp.Server`.
        turn: The reactor's.
        is_undelayed: Whether it has TCP_NODELAY from its listener.

    Attributes:
        buffered_bytes: How much may wait to be sent: over it, a peer that takes nothing is aborted. 0: any amount.
            Whoever serves sets it.
        has_overflowed: Whether that has happened.
    """

    buffered_bytes = 0
    has_overflowed = False
    _backlog: Backlog | None = None
    _read_bytes = tcp.Server.bufferSize

    def __init__(
        self,
        sock: Any,
        protocol: Any,
        client: Any,
        server: Any,
        sessionno: int,
        reactor: Any,
        *,
        turn: Turn,
        is_undelayed: bool = False,
    ) -> None:
        # Not that of tcp.Server, which makes two texts for the log at once: half of what a connection costs there.
        tcp.Connection.__init__(self, sock, protocol, reactor)
        self._turn = turn
        self._is_undelayed = is_undelayed
        if len(client) > 2:
            self._addressType = IPv6Address
        self.client, self.hostname = client, client[0]
        self.server, self.sessionno = server, sessionno
        self.startReading()
        self.connected = 1

    @cached_property
    def logstr(self) -> str:  # type: ignore[override]
        """The prefix of log lines, for whoever asks."""
        return f"{self._getLogPrefix(self._occupant)},{self.sessionno},{self.hostname}"

    @cached_property
    def repstr(self) -> str:  # type: ignore[override]
        """What `repr` says."""
        return f"<{type(self._occupant).__name__} #{self.sessionno} on {self.server._realPortNumber}>"

    def getHost(self) -> Any:
        """See `ITransport`."""
        return _address(*self.socket.getsockname()) if self._addressType is IPv4Address else super().getHost()

    @property
    def _occupant(self) -> Any:
        return getattr(self, "protocol", None)  # once the connection is lost there is none

    def doRead(self) -> ConnectionDone | ConnectionLost | None:  # type: ignore[override]
        """Read once, and hand it to the protocol."""
        size = self._read_bytes
        try:
            data = self.socket.recv(size)
        except OSError as error:
            return None if error.errno == EWOULDBLOCK else CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        if len(data) == size:
            self._read_bytes = READ_BYTES
        elif size == READ_BYTES and len(data) < self.bufferSize:
            self._read_bytes = self.bufferSize
        self.protocol.dataReceived(data)
        return None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`. The system is not asked for what the socket has had from the beginning."""
        if not (enabled and self._is_undelayed):
            self._is_undelayed = False
            super().setTcpNoDelay(enabled)

    def write(self, data: bytes) -> None:
        """See `ITransport`. What is rare is left to Twisted."""
        if type(data) is not bytes or not data or self.TLS or not self.connected or self._writeDisconnected:
            super().write(data)
            self._bound()
            return
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        if self.dataBuffer or self._tempDataLen > self.bufferSize:
            self._pile_up()
        else:
            self._turn.add(self)

    def writeSequence(self, iovec: Any) -> None:
        """See `ITransport`."""
        super().writeSequence(iovec)
        self._bound()

    def _bound(self) -> None:
        """If there is more than may be that waits, see what becomes of it."""
        if not 0 < self.buffered_bytes < self._unsent():
            return
        if self._backlog is None or self._backlog.is_over:
            self._backlog = Backlog(self.reactor, self.buffered_bytes, self._unsent, self._overflow)
        else:
            self._backlog.grow()

    def _unsent(self) -> int:
        """How much waits for a peer that is there."""
        return self._tempDataLen + len(self.dataBuffer) - self.offset if self.connected and not self._aborting else 0

    def _overflow(self) -> None:
        self.has_overflowed = True
        self.abortConnection()

    def _pile_up(self) -> None:
        """The system has not taken all, or more waits than may: a producer is to wait if it cannot be sent now."""
        if self._tempDataLen + len(self.dataBuffer) > self.bufferSize:
            if self.send():
                self._turn.discard(self)
                return
            self._maybePauseProducer()
        self.startWriting()
        self._bound()

    def startWriting(self) -> None:
        """There is something to send, or to be done once all is sent."""
        if self.dataBuffer:
            super().startWriting()  # the poller has been asked already
        else:
            self._turn.add(self)

    def stopWriting(self) -> None:
        """There no longer is."""
        self._turn.discard(self)
        super().stopWriting()

    @property
    def _is_done(self) -> bool:
        """Whether nothing is left but to close."""
        if not self.disconnecting or self._aborting:
            return False
        return not (self._tempDataBuffer or self.dataBuffer or self.producer is not None)

    def doWrite(self) -> Any:
        """See `IWriteDescriptor`. Where nothing is left but to close, Twisted's asks the system to send nothing."""
        if self._is_done:
            self.stopWriting()
            return self._postLoseConnection()
        return super().doWrite()

    def end(self) -> bool:
        """Close, if that is all that is left to do. Whether it was.

        Left to the poller, it could be told first that the peer has closed, too, and take that for a loss.
        """
        if not self._is_done or self.TLS:
            return False
        try:
            self.connectionLost(_DONE)
        except Exception:
            log.err(system=self.logPrefix())
        return True

    def send(self) -> bool:
        """Send what is there, if sending is all there is to do.

        Returns:
            Whether that is done. If not, `doWrite` does the rest, and tells of errors; if `dataBuffer` has anything
            in it now, then only when the socket can be written to again.
        """
        # Are there bytes for one call, none left of an earlier one, and nothing to be done once they are sent, but for
        # closing: nobody to resume, no half to close?
        length = self._tempDataLen
        if (
            not 0 < length <= self.SEND_LIMIT
            or self.dataBuffer
            or (self.producer is not None and (self.producerPaused or not self.streamingProducer))
            or self._aborting
            or self._writeDisconnecting
        ):
            return False
        pieces = self._tempDataBuffer
        try:
            if len(pieces) == 1:
                sent = self.socket.send(pieces[0])
            elif length <= JOINED_BYTES or len(pieces) > MOST_PIECES:
                sent = self.socket.send(b"".join(pieces))
            else:
                sent = self.socket.sendmsg(pieces)
        except Exception:
            return False
        self._tempDataBuffer = []
        self._tempDataLen = 0
        if sent < length:
            self.dataBuffer, self.offset = b"".join(pieces), sent
            return False
        return not self.disconnecting


@lru_cache(MOST_REMEMBERED)
def _address(host: str, port: int) -> IPv4Address:
    """One of ours, of which there are few."""
    return IPv4Address("TCP", host, port)


class UNIXConnection(Connection, unix.Server):
    """The same of a UNIX listener."""

    getHost = unix.Server.getHost

    def __init__(
        self, sock: Any, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any, *, turn: Turn
    ) -> None:
        self._sendmsgQueue: list[int] = []  # file descriptors to be sent
        super().__init__(sock, protocol, (client, None), server, sessionno, reactor, turn=turn)

    doRead = unix.Server.doRead  # which may read file descriptors, too

    def send(self) -> bool:
        """See `Connection`."""
        return not self._sendmsgQueue and super().send()

    @property
    def _is_done(self) -> bool:
        return super()._is_done and not self._sendmsgQueue


_KINDS: dict[tuple[Any, Any], type[Connection]] = {
    (tcp.Port, tcp.Server): Connection,
    (unix.Port, unix.Server): UNIXConnection,
}


def prepare(port: Any) -> None:
    """Have a listening port make connections of this module's from now on.

    A port that is of another kind than Twisted's own, or makes other connections than those, is left as it is.
    """
    kind = _KINDS.get((type(port), getattr(port, "transport", None)))
    if kind is not None:
        reactor = port.reactor
        turn = reactor.turn if IHasTurn.providedBy(reactor) else Turn(reactor)
        listen(port)
        port.transport = partial(kind, turn=turn, **_settled(port))


def listen(port: Any) -> None:
    """Have a port that listens accept by a `Listener`."""
    port.socket = Listener(port.socket)
    port.fileno = port.socket.fileno


class Listener(socket.socket):
    """A listening socket that remembers of what family those are that it accepts. Python's works it out each time.

    Args:
        listening: One of Python's, which is let go of.
    """

    def __init__(self, listening: socket.socket) -> None:
        self._kind = (listening.family, listening.type, listening.proto)
        super().__init__(*self._kind, fileno=listening.detach())
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, Any]:
        """See Python's."""
        accepting: Any = self
        descriptor, address = accepting._accept()
        return socket.socket(*self._kind, fileno=descriptor), address


def _settled(port: Any) -> dict[str, bool]:
    """Options that all connections are to have: on Linux those of their listener, so that it is enough to say so once.

    Who sends once a turn has nothing to gain by TCP's delay.
    """
    if sys.platform != "linux" or port.addressFamily not in (socket.AF_INET, socket.AF_INET6):
        return {}
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
    for name, value in PROBED:
        port.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return {"is_undelayed": True}
