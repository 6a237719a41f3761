"""A stream of HTTP/2 as a connection of its own: a protocol's transport after extended CONNECT (RFC 8441).

It is to a protocol what a TCP connection is: DATA are its bytes, the end of the stream in one direction is a
half-close, RST_STREAM is a reset, and the stream's window is its back-pressure (RFC 9113 section 8.5). So a protocol
that was written for TCP runs here unchanged, and `handover` and what is beside it do what they do on a socket.

    connected ──loseConnection──► disconnecting ──all is sent──► over ──the peer has ended, or linger_seconds──► closed
        │                              │                                                                          ▲
        └──────────────────────────────┴── abortConnection, a reset of the peer's, the connection is lost ────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd import engine, frames
from switchd.deadlines import Timer
from switchd.handover import handover, pass_half_close
from switchd.interfaces import Header, ISession, Request
from switchd.stream import Held, Stream

_log = Logger()


@implementer(ISession)
@frozen
class Session:
    """See `ISession`."""

    request: Request

    def resume_http(self, alpn: bytes = b"http/1.1", h2_settings: bytes | None = None) -> IProtocol:
        """See `ISession`: not here, where the connection has never ceased to speak HTTP."""
        raise ValueError("a stream of HTTP/2 does not speak HTTP again")


@implementer(ITCPTransport, IConsumer, IHalfCloseableDescriptor)
class Tunnel(Stream):
    """A stream whose bytes are a protocol's.

    Args:
        session: The connection: a `stream.Connection` with `linger_seconds`, which is how long the peer may take to end
            its side after ours has ended for good.
        number: The stream's number.

    Attributes:
        reactor: The clock.
        protocol: Whose bytes they are; deleted when it is told of the end.
        connected: Whether it has not been told of that.
        disconnecting: Whether it is to be closed when everything is sent.
    """

    is_patient = True  # for how long its peer may read nothing is for the protocol to say

    protocol: Any

    def __init__(self, session: Any, number: int) -> None:
        super().__init__(session, number)
        self.reactor = session.reactor
        self.protocol = Protocol()  # whose place is taken by the handover
        self.connected = True
        self.disconnecting = False
        self._half_closing = False
        self._ended = False  # our side
        self._gone: Failure | None = None  # why there is nothing left but what is held
        self._lingering = Timer(session.reactor)
        pass_half_close(self)

    @property
    def carrier(self) -> Any:
        """The transport of the connection that it is a stream of."""
        return self._session.transport

    def answer(self, fields: tuple[Header, ...]) -> None:
        """Say to a client that it is one: the head of a 200, with these fields, whose names are in lower case."""
        self._head = 200, fields
        self._session.ready(self)

    def begin(self, protocol: IProtocol, held: Held | None = None) -> None:
        """Give it to a protocol, with what has come for it already."""
        early = b"" if held is None else self._let_go(held)
        self._complete = held is not None and held.end is not None
        handover(self, protocol, early, eof=self._complete)

    # What comes

    @property
    def _listens(self) -> bool:
        return self.connected and not self.disconnecting

    def _take_content(self, data: bytes) -> None:
        if data and self.connected and not self.disconnecting:
            try:
                self.protocol.dataReceived(data)
            except Exception:
                self._fails(Failure())

    def _take_end(self, end: engine.Ended) -> None:
        if end.trailers and not self._ended:
            self._session.broken(self)  # nothing but DATA may be here (RFC 9113 section 8.5)
        elif self._listens:
            self._tell(self.readConnectionLost, Failure(ConnectionDone()))
        self._close_if_over()

    def readConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor`; `pass_half_close` puts what tells the protocol in its place."""

    def resumeProducing(self) -> None:
        """See `IPushProducer`. As with a socket, nothing is received before the next turn."""
        if not self._wanted and self._listens:
            self._wanted = True
            if self._held:
                self.reactor.callLater(0, self._go_on)

    def _go_on(self) -> None:
        if self.connected:
            self._take_held()
            self._session.flush_soon()

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.loseConnection()

    # What is sent

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self.connected and not self._ended:
            Stream.write(self, data)  # which takes less time than super()

    def _overflow(self) -> None:
        self.abortConnection()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.write(b"".join(iovec))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self.producer is not None:
            raise RuntimeError(f"{self.producer!r} is registered already")
        if self.connected:
            super().registerProducer(producer, streaming)
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        super().unregisterProducer()
        if self._is_ending:
            self._session.ready(self)

    @property
    def _is_ending(self) -> bool:
        return self.disconnecting or self._half_closing

    def _is_done(self) -> bool:
        if self._ended or not (self.disconnecting or self._half_closing):
            return False
        # As in Twisted's transports, who is asked for each piece, or has been paused, has something to write still.
        return self.producer is None or (self.streamingProducer and not self._paused)

    def _sent(self) -> None:
        self._ended = True
        if self.disconnecting:
            self._end(Failure(ConnectionDone()))
            self._linger()
        else:
            receiver = IHalfCloseableProtocol(self.protocol, None)
            if receiver is not None:
                self._tell(receiver.writeConnectionLost)
        self._close_if_over()

    def writeConnectionLost(self, reason: Failure) -> None:
        """See `IHalfCloseableDescriptor`."""

    # The end

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`: END_STREAM when everything is sent."""
        if not self._is_ending:
            self._half_closing = True
            self._session.ready(self)

    def loseConnection(self) -> None:
        """See `ITransport`: likewise, and the protocol hears no more."""
        if self._listens:
            self.disconnecting = True
            # Never inside of this.
            if self._gone is not None:
                self.reactor.callLater(0, self._end, self._gone)
            elif self._ended:
                self.reactor.callLater(0, self._sent)
            else:
                self._session.ready(self)

    def abortConnection(self) -> None:
        """See `ITCPTransport`: RST_STREAM with CANCEL. The protocol hears of it in the next turn."""
        if self.open or self._gone is not None:
            self._cancel(frames.CANCEL)
            self.reactor.callLater(0, self._end, Failure(ConnectionAborted()))

    def cut(self, code: int) -> None:
        """End it with a reset."""
        self._reset(code, Failure(ConnectionLost()))

    def lost(self, reason: Failure) -> None:
        """The peer has reset it, or the connection is gone. What it has said to the end is heard all the same."""
        if not self.open:
            return
        held = self._held if self._complete and self._listens else None
        if self._ended and self._complete:
            reason = Failure(ConnectionDone())
        elif reason.check(ConnectionDone) and (self._queue.size or not self._complete):
            reason = Failure(ConnectionLost())  # END_STREAM is the only orderly end, and it has not been said or sent
        self._close()
        if held is None:
            self._end(reason)
        else:
            self._held, self._gone = held, reason

    def connectionLost(self, reason: Failure) -> None:
        """Tell the protocol that it is over. What `handover.when_lost` hooks into."""
        protocol, producer = self.protocol, self.producer
        self.connected = False
        del self.protocol
        super().unregisterProducer()
        if producer is not None:
            self._try(producer.stopProducing)
        protocol.connectionLost(reason)
        if not self.disconnecting:  # then there is nothing to linger for
            self._reset(frames.INTERNAL_ERROR, reason)

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call the protocol. What it raises is its end, as with Twisted's transports."""
        try:
            function(*arguments)
        except Exception:
            self._fails(Failure())

    def _fails(self, failure: Failure) -> None:
        self._failed()
        self._reset(frames.INTERNAL_ERROR, failure)

    def _failed(self) -> None:
        _log.failure("{protocol!r} failed", protocol=getattr(self, "protocol", None))

    def _reset(self, code: int, reason: Failure) -> None:
        if self.open:
            self._cancel(code)
            self._end(reason)

    def _cancel(self, code: int) -> None:
        if self.open:
            self._session.engine.reset(self.id, code)
            self._close()
            self._session.flush_soon()
        self._held = None

    def _close_if_over(self) -> None:
        if self._gone is not None:
            self._end(self._gone)
        elif self.open and self._complete and self._ended and self._held is None:
            self._close()
            self._end(Failure(ConnectionDone()))

    def _end(self, reason: Failure) -> None:
        if self.connected:
            self._try(self.connectionLost, reason)

    def _try(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except Exception:
            self._failed()

    def _linger(self) -> None:
        """Wait for the peer to end its side too, and drop what it still sends."""
        self._wanted = True
        self._take_held()
        if self.open:
            gone = Failure(ConnectionDone())
            self._lingering.start(self._session.linger_seconds, self._reset, frames.NO_ERROR, gone)

    def _close(self) -> None:
        self._lingering.stop()
        super()._close()

    # What a socket has

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`: the streams of a connection do not wait for more to send."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`: whether the connection is alive is not for a stream to find out."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
