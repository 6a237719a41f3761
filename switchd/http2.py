"""HTTP/2: a connection whose streams are answered by the same resources as requests over HTTP/1.1, or are switched.

A `Session` is the protocol of a connection, between its transport and an `engine.Engine`. For each request there is an
`Exchange`, which is what twisted.web's request has as its channel; after extended CONNECT a `Tunnel`, which is what a
plugin's protocol has as its transport, takes its place. What goes where:

    transport ─► Session.dataReceived ─► engine ─► Exchange ─► request ─► resource
        │                                   │  └─► Tunnel ─► protocol
    transport ◄─ Session._write ◄─ engine ◄─ stream's queue ◄─ request ◄─ resource, or a producer, or the protocol

Everything that a turn of the reactor brings about goes out at its end, a frame of each stream in turn, for as long as
the transport takes it. A stream's queue is bounded by pausing its producer, as a transport's would be; a client that
reads nothing is not read from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd import engine, fields, frames, messages
from switchd.config import Limits
from switchd.deadlines import Timer
from switchd.errors import OverBudget, RequestError
from switchd.exchange import TOKEN, VERSION, Exchange
from switchd.handover import LOOK_SECONDS, is_under_way, pass_half_close
from switchd.interfaces import IDrain
from switchd.interfaces import Request as Asked
from switchd.stream import QUEUE_BYTES

__all__ = ["QUEUE_BYTES", "TOKEN", "VERSION", "WRITE_BYTES", "Session"]

WRITE_BYTES = 65536
"""How much is gathered into one write: as much as a transport takes before it says that it is full."""

_log = Logger()


@implementer(IPushProducer, IDrain, IHalfCloseableProtocol)
class Session(Protocol):
    """One connection that speaks HTTP/2.

    Args:
        server: What is served.
        connection: What stands for the connection in logs, events and at shutdown.
        replay: For h2c by Upgrade, the request that asked for it, to be answered on stream 1.
        settings: For h2c by Upgrade, the payload of its `HTTP2-Settings`.

    Attributes:
        engine: The frames.
        reactor: The clock.
        secure: Whether the connection is encrypted.
        limits: What it may take.
        addresses: The client's, and the one that it reached.
    """

    transport: Any
    addresses: tuple[IAddress, IAddress]

    def __init__(
        self, server: Any, connection: Any, replay: Asked | None = None, settings: bytes | None = None
    ) -> None:
        self.server = server
        self.connection = connection
        self.reactor = server.reactor
        self.secure = False
        self.limits: Limits = connection.listener.limits
        limits = self.limits
        self._may_connect = server.extended_connect  # as the client is told
        self.engine: engine.Engine = server.engine(
            limits.streams, limits.head_bytes, server.reactor.seconds, self._may_connect
        )
        self._replay = replay
        self._settings = settings
        self._streams: dict[int, Any] = {}
        # Those that can perhaps send, in the order of their turns. The first of a dict is found in a time that grows
        # with the number of those that were taken out before it.
        self._ready: OrderedDict[Any, None] = OrderedDict()
        self._blocked: dict[Any, None] = {}  # those whose window is closed, or that of the connection
        self._begun: list[Exchange] = []  # in this turn
        self._idle = False  # it has asked for nothing since its last answer
        self._full = False
        self._in_turn = False
        self._last = frames.LAST_STREAM  # later ones are refused
        self._leaving = False
        self._closing = False
        self._flushing = Timer(server.reactor)
        self._settled = Timer(server.reactor)  # until the client has seen our settings
        self._patience = Timer(server.reactor)  # until it asks for something
        self._stalled = Timer(server.reactor)  # until it takes something
        self._goodbye = Timer(server.reactor)  # until it has heard our goodbye; at last, until it is gone
        self._drained: list[Deferred[None]] = []

    # With more attributes than CPython shares the names of, each session would have a kilobyte of its own for them.

    @property
    def buffered_bytes(self) -> int:
        """What may wait to be sent on each stream; 0: any amount."""
        return self.limits.buffered_bytes

    @property
    def linger_seconds(self) -> float:
        """For how long a client that has been told of the end is listened to."""
        return self.limits.linger_seconds

    # The connection

    def connectionMade(self) -> None:
        pass_half_close(self.transport)
        # Looked up now: a stream may be asked for them when the connection is gone.
        self.addresses = (self.transport.getPeer(), self.transport.getHost())
        self.connection.transport = self.transport  # which may be a TLS session upon the one before
        self.secure = ISSLTransport.providedBy(self.transport)
        self.transport.registerProducer(self, True)
        # Preface and settings have to come in that time, too.
        self._settled.start(self.limits.head_seconds, self.fail, frames.SETTINGS_TIMEOUT, "no SETTINGS")
        self._turn(self._begin)
        if self.connection.listener.is_closed:
            self.leave()

    def dataReceived(self, data: bytes) -> None:
        if not self._closing:
            self._turn(self._receive, data)

    def readConnectionLost(self) -> None:
        """The client has half-closed: what it has asked for is answered, as far as its windows reach."""
        if self._closing:
            self._lose()
        else:
            self._turn(self._hear_end)

    def writeConnectionLost(self) -> None:
        """We have half-closed, lingering; nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self._stop_timers()
        self._lose_streams(reason)
        drained, self._drained = self._drained, []
        for one in drained:
            one.callback(None)

    def _turn(self, work: Callable[..., object] = lambda: None, *arguments: Any) -> None:
        """Do something, and send what comes of it and of what came before: once, at the end."""
        self._in_turn = True
        try:
            work(*arguments)
            progress = self._send_frames()
        except Exception:
            # A fault of ours or of the engine's: this connection ends, and no other.
            _log.failure("HTTP/2 failed")
            self.fail(frames.INTERNAL_ERROR, "internal error")
        finally:
            self._in_turn = False
        if not self._closing:
            self._watch(progress)

    def _begin(self) -> None:
        self.engine.start(self._settings)
        if self._replay is not None:
            self._answer_replay(self._replay)
            self._replay = None

    def _answer_replay(self, asked: Asked) -> None:
        """The request that was an Upgrade is stream 1."""
        spent = fields.HOP_BY_HOP | messages.SPENT - {b"content-length"}
        headers = tuple(field for field in asked.headers if field[0] not in spent)
        path, _ = messages.origin_form(asked.method, asked.target)
        stream = self._open(1, fields.Head(asked.method, path, headers, len(asked.body)))
        stream.received(engine.Data(1, asked.body, 0))
        stream.ended(engine.Ended(1))

    # What happens

    def _receive(self, data: bytes) -> None:
        streams = self._streams
        for event in self.engine.receive(data):
            if type(event) is engine.Data:  # looked at first, as there are most of them
                stream = streams.get(event.stream)
                if stream is not None:
                    stream.received(event)
            else:
                self._happened(event)
        # Most requests are whole by now, and need no deadline.
        if self._begun:
            for stream in self._begun:
                stream.await_rest()
            self._begun.clear()

    def _happened(self, event: engine.Event) -> None:
        match event:
            case engine.Asked():
                self._asked(event)
            case engine.Ended() if event.stream in self._streams:
                self._streams[event.stream].ended(event)
            case engine.Reset() if event.stream in self._streams:
                self._streams[event.stream].lost(Failure(ConnectionLost()))
            case engine.Opened():
                self._opened(event.stream)
            case engine.Acknowledged():
                self._settled.stop()
            case engine.Ponged() | engine.Farewell():
                self._say_last()
            case engine.Failed():
                self._failed(event)

    def _asked(self, event: engine.Asked) -> None:
        number = event.stream
        if number > self._last or len(self._streams) >= self.limits.streams:
            self._reset(number, frames.REFUSED_STREAM)
            return
        try:
            head = fields.read(event.fields, self.limits)
            if head.protocol is not None and not self._may_connect:
                raise fields.Malformed(":protocol, which has not been offered")  # RFC 8441 section 3
            if head.protocol is not None and self._leaving and not self.server.draining:
                self._reset(number, frames.REFUSED_STREAM)  # it would have to be left at once
                return
        except fields.Malformed:
            self._reset(number, frames.PROTOCOL_ERROR)
        except RequestError as error:
            method = dict(event.fields).get(b":method", b"GET")
            self._open(number, fields.Head(method, b"/", (), None)).refuse(error)
        else:
            stream = self._open(number, head)
            self._begun.append(stream)
            stream.began()

    def _open(self, number: int, head: fields.Head) -> Exchange:
        self._idle = False
        stream = self._streams[number] = Exchange(self, number, head)
        return stream

    def _opened(self, number: int) -> None:
        opened = list(self._blocked) if number == 0 else [self._streams.get(number)]
        for stream in opened:
            if stream in self._blocked:
                del self._blocked[stream]
                self._ready[stream] = None

    def _reset(self, number: int, code: int) -> None:
        failed = self.engine.reset_for(number, code)
        if failed is not None:
            self._failed(failed)

    # What streams say

    def replace(self, exchange: Exchange, tunnel: Any) -> None:
        """A request has become a connection of its own."""
        self.closed(exchange)
        self._streams[tunnel.id] = tunnel

    def ready(self, stream: Any) -> None:
        """It has something to send."""
        if stream.open and stream not in self._blocked:
            self._ready[stream] = None
            if not self._in_turn:
                self.flush_soon()

    def broken(self, stream: Any) -> None:
        """Its request is malformed, as its body shows."""
        self._reset(stream.id, frames.PROTOCOL_ERROR)
        stream.lost(Failure(ConnectionLost()))

    def closed(self, stream: Any) -> None:
        """It is over."""
        self._ready.pop(stream, None)
        self._blocked.pop(stream, None)
        self._streams.pop(stream.id, None)

    # The way out

    def flush_soon(self) -> None:
        """Send at the end of this turn."""
        if not (self._in_turn or self._closing or self._flushing.runs):
            self._flushing.start(0, self._turn)

    def _send_frames(self) -> bool:
        """A frame of each stream in turn, for as long as the transport takes them. Whether there was any."""
        progress = False
        gathered = 0
        ready = self._ready
        while ready and not (self._full or self._closing):
            stream, _ = ready.popitem(False)  # the first
            sent = stream.send_frame()
            if sent is None:
                self._blocked[stream] = None
                continue
            progress = True
            gathered += sent
            if stream.goes_on():
                ready[stream] = None
            if gathered >= WRITE_BYTES:
                self._write()
                gathered = 0
        self._write()
        return progress

    def _write(self) -> None:
        output = self.engine.take_output()
        if output and not self._closing:
            self.transport.write(output)

    def _watch(self, progress: bool) -> None:
        """After a turn: what the connection waits for, and how long."""
        limits = self.limits
        waits = bool(self._ready or (self._blocked and not all(stream.is_patient for stream in self._blocked)))
        if progress or not waits:
            self._stalled.stop()
        if waits and not self._stalled.runs:
            self._stalled.start(limits.stalled_seconds, self._stall)
        if not self._streams and self._last != frames.LAST_STREAM:
            self._close()
        elif not (self._streams or self._leaving or self._idle):
            self._idle = True
            if not self._patience.put_off(limits.keepalive_seconds):
                self._patience.start(limits.keepalive_seconds, self._lose_patience)

    def _stall(self) -> None:
        """Nothing has been taken for long. Where it is the connection's window that is closed, its protocols, which may
        wait, shall not end for the requests that may not."""
        late = [stream for stream in self._blocked if not stream.is_patient]
        if self._full or self._ready or len(self._streams) == len(late):
            self.transport.abortConnection()
        else:
            for stream in late:
                stream.cut(frames.CANCEL)

    def _lose_patience(self) -> None:
        if self._idle:
            self.leave()

    def pauseProducing(self) -> None:
        """The transport is full: until it is not, nothing is read that would need an answer."""
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It is empty again."""
        self._full = False
        self.transport.resumeProducing()
        if not self._in_turn:
            self._turn()

    def stopProducing(self) -> None:
        """The connection is lost, as `connectionLost` will say."""

    # The end

    def leave(self) -> None:
        """Say goodbye twice (RFC 9113 section 6.8): first that there will be an end, then, when the client knows that,
        which streams are the last. Those that are open are answered."""
        if not (self._leaving or self._closing):
            self._leaving = True
            self.engine.goaway(frames.LAST_STREAM, frames.NO_ERROR)
            self.engine.ping()
            self._goodbye.start(self.limits.linger_seconds, self._turn, self._say_last)
            self.flush_soon()

    def _hear_end(self) -> None:
        self._say_last()
        self._goodbye.start(self.limits.half_closed_seconds, self._close)

    def _say_last(self) -> None:
        if self._last == frames.LAST_STREAM:
            self._goodbye.stop()
            self._leaving = True
            self._last = self.engine.last_stream
            self.engine.goaway(self._last, frames.NO_ERROR)

    def drain(self, seconds: float) -> Deferred[None]:
        """See `IDrain`. It ends with the connection, which lingers for the client's sake."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        for stream in tuple(self._streams.values()):
            if isinstance(stream, Exchange):
                stream.decline()
        self.leave()
        return drained

    def fail(self, code: int, why: str) -> None:
        """End the connection, with an error."""
        if not self._closing:
            self.engine.goaway(self.engine.last_stream, code)
            self._failed(engine.Failed(code, why))

    def turn_away(self, error: OverBudget) -> None:
        """There is no room for this connection: no stream of it is answered, and all may be asked for again elsewhere,
        or later."""
        self.server.admission.turned_away(self.connection, error.over)
        self.engine.goaway(0, frames.ENHANCE_YOUR_CALM)
        self._close()

    def _failed(self, failed: engine.Failed) -> None:
        self.server.rejected(self.connection, RequestError(400, f"HTTP/2 error {failed.code}: {failed.why}"))
        self._close()

    def _close(self) -> None:
        """Everything is said. What the client still sends is dropped, since a reset could overtake our last frame."""
        self._write()
        if self._closing:
            return
        self._closing = True
        self._stop_timers()
        self._lose_streams(Failure(ConnectionLost()))
        self.transport.unregisterProducer()
        if self.secure or pass_half_close(self.transport):
            self._lose()
        else:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()
            self._goodbye.start(self.limits.linger_seconds, self._end_lingering)

    def _end_lingering(self) -> None:
        """The client has had its time, but for a slow reader of a server that stops, which has all that there is."""
        if self._drained and is_under_way(self.transport):
            self._goodbye.start(LOOK_SECONDS, self._end_lingering)
        else:
            self._lose()

    def _lose(self) -> None:
        self.transport.loseConnection()
        self._goodbye.start(self.limits.half_closed_seconds, self.transport.abortConnection)

    def _lose_streams(self, reason: Failure) -> None:
        for stream in tuple(self._streams.values()):
            stream.lost(reason)

    def _stop_timers(self) -> None:
        for timer in (self._flushing, self._settled, self._patience, self._stalled, self._goodbye):
            timer.stop()
