"""HTTP/2: a connection whose streams are answered by the same resources as requests over HTTP/1.1.

A `Session` is the protocol of a connection, between its transport and an `engine.Engine`. For each request there is a
`Stream`, which is what twisted.web's request has as its channel. What goes where:

    transport ─► Session.dataReceived ─► engine ─► Stream ─► request ─► resource
    transport ◄─ Session._flush ◄─ engine ◄─ Stream's queue ◄─ request ◄─ resource, or its producer

Everything that a turn of the reactor brings about goes out at its end, a frame of each stream in turn, for as long as
the transport takes it. A stream's queue is bounded by pausing its producer, as a transport's would be; a client that
reads nothing is not read from.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from switchd import engine, fields, frames, messages
from switchd.errors import RequestError
from switchd.events import escaped
from switchd.handover import pass_half_close
from switchd.interfaces import Header, IDrain
from switchd.interfaces import Request as Asked
from switchd.lazy import LazyRequest
from switchd.negotiation import Entry

VERSION = b"HTTP/2"

TOKEN = b"h2c"
"""What HTTP/2 in clear is called in `Upgrade`: a path that requires it is satisfied by every request here."""

QUEUE_BYTES = 65536
"""How much of an answer waits for the client before its producer is paused; as with a transport of Twisted's."""

WRITE_BYTES = 65536
"""How much is gathered into one write: as much as a transport takes before it says that it is full."""

_log = Logger()


def _demands(entries: Iterable[Entry], secure: bool = False) -> bool:
    """Whether any of the entries requires a protocol that cannot be here."""
    return any(entry.demands(secure) and TOKEN not in entry.tokens for entry in entries)


class Request(LazyRequest):
    """A request over HTTP/2."""

    def process(self) -> None:
        """Called when the request is complete: answer it, unless its path is for a protocol that cannot be here."""
        if self.channel.demands and _demands(self.channel.server.switches(self.path), self.channel.isSecure()):
            # There is no Upgrade in HTTP/2, so 426 would be no help (RFC 9113 section 8.6).
            self.channel.cut(frames.HTTP_1_1_REQUIRED)
        else:
            self.render_ordinary()


class _Timer:
    """Something that happens after some time, unless it is stopped."""

    __slots__ = ("_call", "_reactor")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._call: IDelayedCall | None = None

    @property
    def runs(self) -> bool:
        """Whether it is still to happen."""
        return self._call is not None and bool(self._call.active())

    def start(self, seconds: float, late: Callable[..., object], *arguments: Any) -> None:
        """Start it; if it runs, anew."""
        self.stop()
        self._call = self._reactor.callLater(seconds, late, *arguments)

    def put_off(self, seconds: float) -> bool:
        """If it runs, have it happen later than it would have, which costs less than to start it anew. Whether it
        runs."""
        if self._call is None or not self._call.active():
            return False
        self._call.reset(seconds)
        return True

    def stop(self) -> None:
        """It shall not happen."""
        if self._call is not None:
            if self._call.active():
                self._call.cancel()
            self._call = None


class _Queue:
    """Bytes that wait, in the pieces in which they came."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: deque[bytes | memoryview] = deque()
        self.size = 0

    def append(self, data: bytes) -> None:
        """More."""
        kept = data if type(data) is bytes else bytes(memoryview(data))  # which its owner may still change
        self._pieces.append(kept)
        self.size += len(kept)

    def take(self, room: int) -> bytes:
        """The first `room` bytes, or all that there are."""
        if len(self._pieces) == 1 and self.size <= room:
            self.size = 0
            return bytes(self._pieces.pop())  # as it came, if it came so
        taken = []
        while self._pieces and room:
            piece = self._pieces.popleft()
            if len(piece) > room:
                view = memoryview(piece)
                self._pieces.appendleft(view[room:])  # a view, so that a long answer is copied once only
                piece = view[:room]
            taken.append(piece)
            room -= len(piece)
            self.size -= len(piece)
        return b"".join(taken)

    def clear(self) -> None:
        """Forget them."""
        self._pieces.clear()
        self.size = 0


@implementer(IPushProducer)
class Stream:
    """One request and its answer: the channel of a twisted.web request, and its transport.

    Whatever of the application is called from here may fail, write, finish or cut the stream while it is called.

    Attributes:
        id: The stream's number.
        open: Whether anything can still be sent on it.
    """

    __slots__ = (
        "__dict__",  # what an application may put on its request's channel
        "__weakref__",
        "_answer",
        "_complete",
        "_deadline",
        "_done",
        "_head",
        "_held",
        "_paused",
        "_producer",
        "_pull_again",
        "_queue",
        "_received",
        "_request",
        "_session",
        "_streaming",
        "_wanted",
        "factory",
        "id",
        "open",
        "server",
        "site",
    )

    def __init__(self, session: Session, number: int, head: fields.Head) -> None:
        self.id = number
        self.open = True
        self.server = self.site = session.server
        self.factory: Any = session.server  # who logs it
        self._session = session
        self._head = head
        self._deadline: _Timer | None = None
        self._held: deque[engine.Data | engine.Ended] | None = None  # what is not wanted yet
        self._wanted = True
        self._received = 0
        self._complete = False
        self._answer: tuple[int, tuple[Header, ...]] | None = None  # its head, until it is sent
        self._queue = _Queue()
        self._done = False
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._pull_again: _Timer | None = None
        self._request = Request(
            self, self, head.headers, head.length
        )  # until the stream is closed: the request knows its stream for ever

    @property
    def transport(self) -> Stream:
        """What a request has as its transport."""
        return self

    @property
    def demands(self) -> bool:
        """Whether some path requires a protocol that cannot be here."""
        return self._session.demands

    # The request, as the session hears of it

    def began(self) -> None:
        """Its head is there, and its body may be awaited."""
        if self._head.expects:
            self._session.engine.respond(self.id, 100, (), False)

    def await_rest(self) -> None:
        """There is no more of it for now: if that is not all, the rest has so much time."""
        if self.open and not (self._complete or self._done):
            late = RequestError(408, "the body of the request took too long")
            self._deadline = _Timer(self.server.reactor)
            self._deadline.start(self.server.limits.body_seconds, self.refuse, late)

    def received(self, part: engine.Data | engine.Ended) -> None:
        """Part of its body, or its end."""
        if isinstance(part, engine.Ended):
            self._complete = True
            self._stop_deadline()
        if self._wanted and not self._held:
            self._take(part)
        else:
            self._held = self._held or deque()
            self._held.append(part)

    def refuse(self, error: RequestError) -> None:
        """Answer a request that is over a limit, as far as it has come."""
        self.server.rejected(self._session.connection, error)
        self._stop_deadline()
        self.factory = None
        self._request.method, self._request.clientproto = self._head.method, VERSION
        self._request.answer(error.status, (), error.why.encode() + b"\n")

    def lost(self, reason: Failure) -> None:
        """It can be answered no more: it was reset, or the connection is gone."""
        if self.open:
            producer, request = self._producer, self._request
            self.unregisterProducer()
            self._close()
            if producer is not None:
                self._call(producer.stopProducing)
            if not self._done:
                self._call(request.connectionLost, reason)

    def _take_held(self) -> None:
        while self._held and self._wanted:
            self._take(self._held.popleft())

    def _take(self, part: engine.Data | engine.Ended) -> None:
        if isinstance(part, engine.Data):
            self._session.engine.consumed(self.id, part.length)
            self._take_content(part.data)
        elif not self._done:
            self._process(part)

    def _take_content(self, data: bytes) -> None:
        self._received += len(data)
        if self._done:
            pass  # it was refused before it was complete
        elif self._head.length is not None and self._received > self._head.length:
            self._session.broken(self)
        elif self._received > self.server.limits.body_bytes:
            self.refuse(messages.too_long())
        else:
            self._call(self._request.handleContentChunk, data)

    def _process(self, end: engine.Ended) -> None:
        try:
            if end.trailers:
                fields.check_trailers(end.trailers)
            if self._head.length not in (None, self._received):
                raise fields.Malformed("a body shorter than its content-length")
        except fields.Malformed:
            self._session.broken(self)
        else:
            self._call(self._request.requestReceived, self._head.method, self._head.path, VERSION)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.stop()

    def _close(self) -> None:
        self.open = False
        self._stop_deadline()
        self._queue.clear()
        if self._held:
            length = sum(part.length for part in self._held if isinstance(part, engine.Data))
            self._session.engine.consumed(self.id, length)
            self._held.clear()
        self._session.closed(self)
        del self._request

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call the application: if that fails it is this stream's end, and not that of the others."""
        try:
            function(*arguments)
        except Exception:
            _log.failure("An application failed on {path}", path=escaped(self._head.path))
            self.cut(frames.INTERNAL_ERROR)

    # What a request calls

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """The head of the answer, as twisted.web's request says it."""
        self.begin(int(code), headers)

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer; it goes out with what follows in this turn."""
        self._answer = status, fields.answered(headers)
        self._session.ready(self)

    def write(self, data: bytes) -> None:
        """Part of the answer."""
        if data and self.open:
            self._queue.append(data)
            if self._answer is None:  # else its head waits, and the session knows of it
                self._session.ready(self)
            if self._queue.size > QUEUE_BYTES and self._streaming and not self._paused:
                self._paused = True
                self._call(self._producer.pauseProducing)

    def requestDone(self, request: Request) -> None:
        """The answer is complete."""
        self._done = True
        if self._answer is None:
            self._session.ready(self)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self.open:
            self._producer, self._streaming, self._paused = producer, streaming, False
            self._want_more()
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer, self._streaming, self._paused = None, False, False

    def loseConnection(self) -> None:
        """A request wants its client to be gone; as with any transport not in this turn, which sends what it can."""
        self.server.reactor.callLater(0, self.cut, frames.CANCEL)

    def abortConnection(self) -> None:
        """A request wants its client to be gone at once."""
        self.cut(frames.CANCEL)

    def close_after(self, request: Request) -> None:
        """An answer after which HTTP/1.1 would be closed. A stream ends anyway."""

    def getPeer(self) -> Any:
        """The client's address."""
        return self._session.addresses[0]

    def getHost(self) -> Any:
        """The address that it reached."""
        return self._session.addresses[1]

    def isSecure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._session.secure

    def cut(self, code: int) -> None:
        """End it with a reset."""
        if self.open:
            self._session.engine.reset(self.id, code)
            self.lost(Failure(ConnectionLost()))
            self._session.flush_soon()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(RequestError(400, "the form in the body of the request is malformed"))

    # IPushProducer: for whoever wants the body of the request later

    def pauseProducing(self) -> None:
        """Hold what comes of the body. The client may send no more than its window, and the others do not notice."""
        self._wanted = False

    def resumeProducing(self) -> None:
        """Take it again."""
        self._wanted = True
        self._take_held()
        self._session.flush_soon()

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.cut(frames.CANCEL)

    # The answer, as the session sends it

    @property
    def waits(self) -> bool:
        """Whether something of its answer can be sent, windows permitting."""
        return self.open and (self._answer is not None or self._queue.size > 0 or self._done)

    def send_frame(self) -> int | None:
        """Send a frame of the answer, after its head. How much of its content that was; None if a window is closed."""
        if self._answer is not None:
            (status, headers), self._answer = self._answer, None
            is_all = self._is_all
            self._session.engine.respond(self.id, status, headers, is_all)
            if is_all:
                self._sent()
                return 0
        if not self._queue.size:
            if self.waits:
                self._send(b"")
            return 0
        room = self._session.engine.may_send(self.id)
        if room <= 0:
            return None
        data = self._queue.take(room)
        self._send(data)
        if self._producer is not None:
            self._want_more()
        return len(data)

    @property
    def _is_all(self) -> bool:
        """Whether nothing will be left to send after this."""
        return self._done and not self._queue.size

    def _send(self, data: bytes) -> None:
        is_all = self._is_all
        self._session.engine.send(self.id, data, is_all)
        if is_all:
            self._sent()

    def _sent(self) -> None:
        if not self._complete:
            # The client need not send the rest (RFC 9113 section 8.1).
            self._session.engine.reset(self.id, frames.NO_ERROR)
        self._close()

    def _want_more(self) -> None:
        """Have the producer go on if little waits. One that has nothing when it is asked is asked again next turn."""
        if self._paused and self._queue.size <= QUEUE_BYTES // 2:
            self._paused = False
            self._call(self._producer.resumeProducing)
        if self._pull_again is None and self._pulls:
            self._pull_again = _Timer(self.server.reactor)
        while self._pulls and self._pull_again is not None and not self._pull_again.runs:
            before = self._queue.size
            self._call(self._producer.resumeProducing)
            if self._queue.size == before and self._pulls:
                self._pull_again.start(0, self._want_more)

    @property
    def _pulls(self) -> bool:
        return self._producer is not None and not self._streaming and self._queue.size <= QUEUE_BYTES // 2


@implementer(IPushProducer, IDrain, IHalfCloseableProtocol)
class Session(Protocol):
    """One connection that speaks HTTP/2.

    Args:
        server: What is served, and the limits.
        connection: What stands for the connection in logs, events and at shutdown.
        replay: For h2c by Upgrade, the request that asked for it, to be answered on stream 1.
        settings: For h2c by Upgrade, the payload of its `HTTP2-Settings`.

    Attributes:
        engine: The frames.
        secure: Whether the connection is encrypted.
        addresses: The client's, and the one that it reached.
        demands: Whether some path requires a protocol that cannot be here.
    """

    transport: Any
    addresses: tuple[IAddress, IAddress]

    def __init__(
        self, server: Any, connection: Any, replay: Asked | None = None, settings: bytes | None = None
    ) -> None:
        self.server = server
        self.connection = connection
        self.secure = False
        limits = server.limits
        self.engine: engine.Engine = server.engine(limits.streams, limits.head_bytes, server.reactor.seconds)
        self._replay = replay
        self._settings = settings
        self._streams: dict[int, Stream] = {}
        # Those that can perhaps send, in the order of their turns. The first of a dict is found in a time that grows
        # with the number of those that were taken out before it.
        self._ready: OrderedDict[Stream, None] = OrderedDict()
        self._blocked: dict[Stream, None] = {}  # those whose window is closed, or that of the connection
        self.demands = _demands(server.entries)
        self._begun: list[Stream] = []  # in this turn
        self._idle = False  # it has asked for nothing since its last answer
        self._full = False
        self._in_turn = False
        self._last = frames.LAST_STREAM  # later ones are refused
        self._leaving = False
        self._closing = False
        self._flushing = _Timer(server.reactor)
        self._settled = _Timer(server.reactor)  # until the client has seen our settings
        self._patience = _Timer(server.reactor)  # until it asks for something
        self._stalled = _Timer(server.reactor)  # until it takes something
        self._goodbye = _Timer(server.reactor)  # until it has heard our goodbye; at last, until it is gone
        self._drained: list[Deferred[None]] = []

    # The connection

    def connectionMade(self) -> None:
        pass_half_close(self.transport)
        # Looked up now: a stream may be asked for them when the connection is gone.
        self.addresses = (self.transport.getPeer(), self.transport.getHost())
        self.connection.transport = self.transport  # which may be a TLS session upon the one before
        self.secure = ISSLTransport.providedBy(self.transport)
        self.transport.registerProducer(self, True)
        # Preface and settings have to come in that time, too.
        self._settled.start(self.server.limits.head_seconds, self.fail, frames.SETTINGS_TIMEOUT, "no SETTINGS")
        self._turn(self._begin)

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
        stream.received(engine.Ended(1))

    # What happens

    def _receive(self, data: bytes) -> None:
        for event in self.engine.receive(data):
            self._happened(event)
        # Most requests are whole by now, and need no deadline.
        for stream in self._begun:
            stream.await_rest()
        self._begun.clear()

    def _happened(self, event: engine.Event) -> None:
        match event:
            case engine.Asked():
                self._asked(event)
            case engine.Data() | engine.Ended() if event.stream in self._streams:
                self._streams[event.stream].received(event)
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
        if number > self._last or len(self._streams) >= self.server.limits.streams:
            self._reset(number, frames.REFUSED_STREAM)
            return
        try:
            head = fields.read(event.fields, self.server.limits)
        except fields.Malformed:
            self._reset(number, frames.PROTOCOL_ERROR)
        except RequestError as error:
            method = dict(event.fields).get(b":method", b"GET")
            self._open(number, fields.Head(method, b"/", (), None)).refuse(error)
        else:
            stream = self._open(number, head)
            stream.began()
            self._begun.append(stream)

    def _open(self, number: int, head: fields.Head) -> Stream:
        self._idle = False
        stream = self._streams[number] = Stream(self, number, head)
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

    def ready(self, stream: Stream) -> None:
        """It has something to send."""
        if stream.open and stream not in self._blocked:
            self._ready[stream] = None
            self.flush_soon()

    def broken(self, stream: Stream) -> None:
        """Its request is malformed, as its body shows."""
        self._reset(stream.id, frames.PROTOCOL_ERROR)
        stream.lost(Failure(ConnectionLost()))

    def closed(self, stream: Stream) -> None:
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
        while self._ready and not (self._full or self._closing):
            stream, _ = self._ready.popitem(last=False)
            sent = stream.send_frame()
            if sent is None:
                self._blocked[stream] = None
                continue
            progress = True
            gathered += sent
            if stream.waits:
                self._ready[stream] = None
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
        limits = self.server.limits
        if progress or not (self._ready or self._blocked):
            self._stalled.stop()
        if (self._ready or self._blocked) and not self._stalled.runs:
            self._stalled.start(limits.stalled_seconds, self.transport.abortConnection)
        if not self._streams and self._last != frames.LAST_STREAM:
            self._close()
        elif not (self._streams or self._leaving or self._idle):
            self._idle = True
            if not self._patience.put_off(limits.keepalive_seconds):
                self._patience.start(limits.keepalive_seconds, self._lose_patience)

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
            self._goodbye.start(self.server.limits.linger_seconds, self._turn, self._say_last)
            self.flush_soon()

    def _hear_end(self) -> None:
        self._say_last()
        self._goodbye.start(self.server.limits.half_closed_seconds, self._close)

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
        self.leave()
        return drained

    def fail(self, code: int, why: str) -> None:
        """End the connection, with an error."""
        if not self._closing:
            self.engine.goaway(self.engine.last_stream, code)
            self._failed(engine.Failed(code, why))

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
            self._goodbye.start(self.server.limits.linger_seconds, self._lose)

    def _lose(self) -> None:
        self.transport.loseConnection()
        self._goodbye.start(self.server.limits.half_closed_seconds, self.transport.abortConnection)

    def _lose_streams(self, reason: Failure) -> None:
        for stream in tuple(self._streams.values()):
            stream.lost(reason)

    def _stop_timers(self) -> None:
        for timer in (self._flushing, self._settled, self._patience, self._stalled, self._goodbye):
            timer.stop()
