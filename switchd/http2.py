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

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from switchd import engine, fields, messages
from switchd.errors import RequestError
from switchd.handover import pass_half_close
from switchd.interfaces import Header, IDrain
from switchd.interfaces import Request as Asked
from switchd.request import OrdinaryRequest

VERSION = b"HTTP/2"

TOKEN = b"h2c"
"""What HTTP/2 in clear is called in `Upgrade`: a path that requires it is satisfied by every request here."""

QUEUE_BYTES = 65536
"""How much of an answer waits for the client before its producer is paused; as with a transport of Twisted's."""

FRAMES_AT_ONCE = 4
"""How many frames are gathered into one write: as much as a transport takes before it says that it is full."""

_log = Logger()


class Request(OrdinaryRequest):
    """A request over HTTP/2."""

    def process(self) -> None:
        """Called when the request is complete: answer it, unless its path is for a protocol that cannot be here."""
        entries = self.channel.server.switches(self.path)
        unmet = [entry for entry in entries if entry.require and TOKEN not in entry.tokens]
        if unmet:
            # There is no Upgrade in HTTP/2, so 426 would be no help (RFC 9113 section 8.6).
            self.channel.cut(engine.HTTP_1_1_REQUIRED)
        else:
            self.render_ordinary()


@implementer(IPushProducer)
class Stream:
    """One request and its answer: the channel of a twisted.web request, and its transport.

    Attributes:
        id: The stream's number.
        open: Whether anything can still be sent on it.
    """

    def __init__(self, session: Session, number: int, head: fields.Head) -> None:
        self.id = number
        self.open = True
        self.server = self.site = session.server
        self.factory: Any = session.server  # who logs it
        self.transport = self
        self._session = session
        self._head = head
        self._received = 0
        self._complete = False
        self._wanted = True
        self._held: deque[engine.Data] = deque()  # a body that is not wanted yet
        self._answer: tuple[int, list[Header]] | None = None  # its head, until it is sent
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._done = False
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._deadline: IDelayedCall | None = None
        self._request = self._make_request()

    def _make_request(self) -> Request:
        request = Request(self, queued=False)
        for name, value in self._head.headers:
            request.requestHeaders.addRawHeader(name, value)
        request.parseCookies()
        request.gotLength(self._head.length)
        return request

    # The request, as the session hears of it

    def began(self) -> None:
        """Its head is there, and its body may be awaited."""
        late = RequestError(408, "the body of the request took too long")
        self._deadline = self.server.reactor.callLater(self.server.limits.body_seconds, self.refuse, late)
        expected = self._request.requestHeaders.getRawHeaders(b"expect", [])
        if [value.lower() for value in expected] == [b"100-continue"]:
            self._session.engine.respond(self.id, 100, (), False)

    def received(self, data: engine.Data) -> None:
        """Part of its body."""
        self._received += len(data.data)
        if self._head.length is not None and self._received > self._head.length:
            self._session.broken(self)
        elif self._done or not self.open:
            self._session.engine.consumed(self.id, data.length)
        elif self._received > self.server.limits.body_bytes:
            self._session.engine.consumed(self.id, data.length)
            self.refuse(messages.too_long())
        elif self._wanted:
            self._consume(data)
        else:
            self._held.append(data)

    def completed(self) -> None:
        """Its body has ended."""
        self._complete = True
        self._no_deadline()
        if self._head.length not in (None, self._received):
            self._session.broken(self)
        elif self._wanted and not self._done:
            self._process()

    def replayed(self, body: bytes) -> None:
        """It came over HTTP/1.1, whole."""
        self._request.handleContentChunk(body)
        self._received = len(body)
        self.completed()

    def refuse(self, error: RequestError) -> None:
        """Answer a request that is over a limit, as far as it has come."""
        self.server.rejected(self._session.connection, error)
        self._no_deadline()
        self.factory = None
        self._request.method, self._request.clientproto = self._head.method, VERSION
        self._request.answer(error.status, (), error.why.encode() + b"\n")

    def lost(self, reason: Failure) -> None:
        """It can be answered no more: it was reset, or the connection is gone."""
        if self.open:
            producer, self._producer = self._producer, None
            self._close()
            if producer is not None:
                producer.stopProducing()
            if not self._done:
                self._request.connectionLost(reason)

    def _consume(self, data: engine.Data) -> None:
        self._request.handleContentChunk(data.data)
        self._session.engine.consumed(self.id, data.length)

    def _process(self) -> None:
        self._request.requestReceived(self._head.method, self._head.path, VERSION)

    def _close(self) -> None:
        self.open = False
        self._no_deadline()
        self._queue.clear()
        self._queued = 0
        while self._held:
            self._session.engine.consumed(self.id, self._held.popleft().length)
        self._session.closed(self)

    def _no_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    # What a request calls

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """The head of the answer; it goes out with what follows in this turn."""
        named = ((name.lower(), value) for name, values in headers.getAllRawHeaders() for value in values)
        self._answer = (int(code), [field for field in named if field[0] not in fields.HOP_BY_HOP])
        self._session.ready(self)

    def write(self, data: bytes) -> None:
        """Part of the answer."""
        if data and self.open:
            self._queue.append(memoryview(data))
            self._queued += len(data)
            if self._queued > QUEUE_BYTES and self._streaming and not self._paused:
                self._paused = True
                self._producer.pauseProducing()
            self._session.ready(self)

    def writeSequence(self, iovec: Any) -> None:
        """Part of the answer."""
        self.write(b"".join(iovec))

    def requestDone(self, request: Request) -> None:
        """The answer is complete."""
        self._done = True
        self._session.ready(self)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if not self.open:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._paused = producer, streaming, False
        if not streaming:
            self._pull()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None
        self._streaming = False

    def loseConnection(self) -> None:
        """A request wants its client to be gone."""
        self.cut(engine.CANCEL)

    abortConnection = loseConnection

    def close_after(self, request: Request) -> None:
        """An answer after which HTTP/1.1 would be closed. A stream ends anyway."""

    def getPeer(self) -> Any:
        """The client's address."""
        return self._session.transport.getPeer()

    def getHost(self) -> Any:
        """The address that it reached."""
        return self._session.transport.getHost()

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
        while self._held and self._wanted:
            self._consume(self._held.popleft())
        if self._complete and self._wanted and not self._held:
            self._process()
        self._session.flush_soon()

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.cut(engine.CANCEL)

    # The answer, as the session sends it

    @property
    def waits(self) -> bool:
        """Whether something of its answer is not sent."""
        return self.open and (self._answer is not None or self._queued > 0 or self._done)

    def send_frame(self) -> bool:
        """Send a frame of the answer, after its head. Whether it could: if not, a window is closed."""
        if self._answer is not None:
            self._send_head()
        if not self._queued:
            if self._done and self.open:
                self._send(b"")
            return True
        room = self._session.engine.may_send(self.id)
        if room <= 0:
            return False
        self._send(self._take(room))
        self._want_more()
        return True

    def _send_head(self) -> None:
        assert self._answer is not None
        (status, headers), self._answer = self._answer, None
        is_all = self._done and not self._queued
        self._session.engine.respond(self.id, status, headers, is_all)
        if is_all:
            self._sent()

    def _send(self, data: bytes) -> None:
        is_all = self._done and not self._queued
        self._session.engine.send(self.id, data, is_all)
        if is_all:
            self._sent()

    def _sent(self) -> None:
        if not self._complete:
            # The client need not send the rest (RFC 9113 section 8.1).
            self._session.engine.reset(self.id, engine.NO_ERROR)
        self._close()

    def _take(self, room: int) -> bytes:
        """The next bytes of the queue, `room` at most."""
        parts = []
        while self._queue and room:
            part = self._queue.popleft()
            if len(part) > room:
                self._queue.appendleft(part[room:])  # a view, so that a long answer is copied once only
                part = part[:room]
            parts.append(part)
            room -= len(part)
            self._queued -= len(part)
        return b"".join(parts)

    def _want_more(self) -> None:
        if self._producer is None or self._queued > QUEUE_BYTES // 2:
            return
        if not self._streaming:
            self._pull()
        elif self._paused:
            self._paused = False
            self._producer.resumeProducing()

    def _pull(self) -> None:
        """Ask a pull producer for as much as may wait; one that has nothing now is asked again in a later turn."""
        while self._producer is not None and not self._streaming and self._queued <= QUEUE_BYTES // 2:
            queued = self._queued
            self._producer.resumeProducing()
            if self._queued == queued:
                self.server.reactor.callLater(0, self._want_more)
                return


@implementer(IPushProducer, IDrain)
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
    """

    transport: Any

    def __init__(
        self, server: Any, connection: Any, replay: Asked | None = None, settings: bytes | None = None
    ) -> None:
        self.server = server
        self.connection = connection
        self.secure = False
        self.engine = engine.Engine(server.limits.streams, server.limits.head_bytes, server.reactor.seconds)
        self._replay = replay
        self._settings = settings
        self._streams: dict[int, Stream] = {}
        self._ready: dict[Stream, None] = {}  # those that can perhaps send, in the order of their turns
        self._blocked: dict[Stream, None] = {}  # those whose window is closed, or that of the connection
        self._full = False
        self._in_turn = False
        self._last = engine.LAST_STREAM  # later ones are refused
        self._leaving = False
        self._closing = False
        self._flushing: IDelayedCall | None = None
        self._settled: IDelayedCall | None = None  # until the client has seen our settings
        self._patience: IDelayedCall | None = None  # until it asks for something
        self._stalled: IDelayedCall | None = None  # until it takes something
        self._goodbye: IDelayedCall | None = None  # until it has heard our goodbye
        self._drained: list[Deferred[None]] = []

    # The connection

    def connectionMade(self) -> None:
        pass_half_close(self.transport)
        self.secure = ISSLTransport.providedBy(self.transport)
        self.transport.registerProducer(self, True)
        self.engine.start(self._settings)
        # Preface and settings have to come in that time, too.
        self._settled = self._later(self.server.limits.head_seconds, self.fail, engine.SETTINGS_TIMEOUT, "no SETTINGS")
        self._idle()
        if self._replay is not None:
            self._answer_replay(self._replay)
            self._replay = None
        self._flush()

    def _answer_replay(self, asked: Asked) -> None:
        """The request that was an Upgrade is stream 1."""
        spent = fields.HOP_BY_HOP | messages.SPENT
        headers = tuple(field for field in asked.headers if field[0] not in spent)
        head = fields.Head(asked.method, asked.target, headers, len(asked.body))
        stream = self._streams[1] = Stream(self, 1, head)
        stream.replayed(asked.body)

    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            return
        self._in_turn = True
        try:
            for event in self.engine.receive(data):
                self._happened(event)
        except Exception:
            # A fault of ours or of the engine's: this connection ends, and no other.
            _log.failure("HTTP/2 failed")
            self.fail(engine.INTERNAL_ERROR, "internal error")
        self._in_turn = False
        self._flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self._cancel_all()
        _cancel(self._flushing)
        for stream in tuple(self._streams.values()):
            stream.lost(reason)
        self._tell_drained()

    def _later(self, seconds: float, call: Any, *arguments: Any) -> IDelayedCall:
        later: IDelayedCall = self.server.reactor.callLater(seconds, call, *arguments)
        return later

    # What happens

    def _happened(self, event: engine.Event) -> None:
        match event:
            case engine.Asked():
                self._asked(event)
            case engine.Data():
                self._received(event)
            case engine.Ended() if event.stream in self._streams:
                self._streams[event.stream].completed()
            case engine.Reset() if event.stream in self._streams:
                self._streams[event.stream].lost(Failure(ConnectionLost()))
            case engine.Opened():
                self._opened(event.stream)
            case engine.Acknowledged():
                _cancel(self._settled)
            case engine.Ponged():
                self._say_last()
            case engine.Farewell():
                self._leaving = True
                self._say_last()
            case engine.Failed():
                self._failed(event)

    def _asked(self, event: engine.Asked) -> None:
        number = event.stream
        if number > self._last or len(self._streams) >= self.server.limits.streams:
            self._reset(number, engine.REFUSED_STREAM)
            return
        try:
            head = fields.read(event.fields, self.server.limits)
        except fields.Malformed:
            self._reset(number, engine.PROTOCOL_ERROR)
        except RequestError as error:
            method = dict(event.fields).get(b":method", b"GET")
            self._begin(number, fields.Head(method, b"/", (), None)).refuse(error)
        else:
            self._begin(number, head).began()

    def _begin(self, number: int, head: fields.Head) -> Stream:
        _cancel(self._patience)
        stream = self._streams[number] = Stream(self, number, head)
        return stream

    def _received(self, event: engine.Data) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            self.engine.consumed(event.stream, event.length)
        else:
            stream.received(event)

    def _opened(self, number: int) -> None:
        blocked = tuple(self._blocked) if number == 0 else tuple(one for one in self._blocked if one.id == number)
        for stream in blocked:
            del self._blocked[stream]
            self._ready[stream] = None

    def _reset(self, number: int, code: int) -> None:
        failed = self.engine.reset_for(number, code)
        if failed is not None:
            self._failed(failed)

    def broken(self, stream: Stream) -> None:
        """A request that is malformed, as its body shows."""
        self._reset(stream.id, engine.PROTOCOL_ERROR)
        stream.lost(Failure(ConnectionLost()))

    # What streams say

    def ready(self, stream: Stream) -> None:
        """It has something to send."""
        if stream not in self._blocked:
            self._ready[stream] = None
        self.flush_soon()

    def closed(self, stream: Stream) -> None:
        """It is over."""
        self._ready.pop(stream, None)
        self._blocked.pop(stream, None)
        if self._streams.pop(stream.id, None) is not None:
            self._idle()

    # The way out

    def flush_soon(self) -> None:
        """Send at the end of this turn."""
        if not (self._in_turn or self._closing) and (self._flushing is None or not self._flushing.active()):
            self._flushing = self._later(0, self._flush)

    def _flush(self) -> None:
        self._in_turn = True  # what producers write goes into the same turn
        try:
            progress = self._send_frames()
        finally:
            self._in_turn = False
        if not self._closing:
            self.transport.write(self.engine.take_output())
        self._watch(progress)

    def _send_frames(self) -> bool:
        """A frame of each stream in turn, for as long as the transport takes them. Whether there was any."""
        frames = 0
        while self._ready and not (self._full or self._closing):
            stream = next(iter(self._ready))
            del self._ready[stream]
            if not stream.send_frame():
                self._blocked[stream] = None
                continue
            frames += 1
            if stream.waits:
                self._ready[stream] = None
            if frames % FRAMES_AT_ONCE == 0:
                self.transport.write(self.engine.take_output())
        return frames > 0

    def _watch(self, progress: bool) -> None:
        """Have an eye on a client that does not take what waits for it."""
        if progress or not (self._ready or self._blocked):
            _cancel(self._stalled)
            self._stalled = None
        if self._stalled is None and (self._ready or self._blocked) and not self._closing:
            self._stalled = self._later(self.server.limits.stalled_seconds, self.transport.abortConnection)

    def pauseProducing(self) -> None:
        """The transport is full: until it is not, nothing is read that would need an answer."""
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It is empty again."""
        self._full = False
        self.transport.resumeProducing()
        self._flush()

    def stopProducing(self) -> None:
        """The connection is lost, as `connectionLost` will say."""

    # The end

    def _idle(self) -> None:
        """Nothing is asked: the client may wait for some time, or is done."""
        if self._closing or self._streams:
            return
        if self._last != engine.LAST_STREAM:
            self._later(0, self._close)  # after what this turn has to say
        elif not self._leaving:
            _cancel(self._patience)
            self._patience = self._later(self.server.limits.keepalive_seconds, self.leave)

    def leave(self) -> None:
        """Say goodbye twice (RFC 9113 section 6.8): first that there will be an end, then, when the client knows that,
        which streams are the last. Those that are open are answered."""
        if not (self._leaving or self._closing):
            self._leaving = True
            self.engine.goaway(engine.LAST_STREAM, engine.NO_ERROR)
            self.engine.ping()
            self._goodbye = self._later(self.server.limits.linger_seconds, self._say_last)
            self.flush_soon()

    def _say_last(self) -> None:
        if self._last == engine.LAST_STREAM and not self._closing:
            _cancel(self._goodbye)
            self._last = self.engine.last_stream
            self.engine.goaway(self._last, engine.NO_ERROR)
            self._idle()
            self.flush_soon()

    def drain(self, seconds: float) -> Deferred[None]:
        """See `IDrain`."""
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        if self._closing:
            self._tell_drained()
        else:
            self.leave()
        return drained

    def _tell_drained(self) -> None:
        while self._drained:
            self._drained.pop().callback(None)

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
        if self._closing:
            return
        self._closing = True
        self._cancel_all()
        for stream in tuple(self._streams.values()):
            stream.lost(Failure(ConnectionLost()))
        self.transport.write(self.engine.take_output())
        self.transport.unregisterProducer()
        self._tell_drained()
        self._goodbye = self._later(self.server.limits.linger_seconds, self.transport.abortConnection)
        if self.secure:
            self.transport.loseConnection()
        else:
            self.transport.resumeProducing()
            self.transport.loseWriteConnection()

    def _cancel_all(self) -> None:
        for call in (self._settled, self._patience, self._stalled, self._goodbye):
            _cancel(call)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
