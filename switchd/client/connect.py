"""Asking for a switch in HTTP/2: extended CONNECT (RFC 8441), on a connection that is for this alone."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd import frames
from switchd.client import accepted
from switchd.client.attempt import Asking, Attempt
from switchd.client.bounds import BODY_BYTES, CLOSE_SECONDS, HEAD_BYTES, INTERIM_ANSWERS, UNREAD_BYTES
from switchd.client.errors import NoAnswer, NotSwitched, NoTunnel, Refused, WrongAnswer, in_words
from switchd.deadlines import Timer
from switchd.engines import events
from switchd.engines.asking import Engine
from switchd.interfaces import Header
from switchd.tunnel import Tunnel

WRITE_BYTES = 65_536
"""How much is gathered into one write: as much as a transport takes before it says that it is full."""

_OF_HTTP_1_1 = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"))
"""Fields that have no place in HTTP/2 (RFC 9113 section 8.2.2)."""


@implementer(IPushProducer)
class Connecting(Asking):
    """Asks for a switch when it is connected, and carries what comes of it: a stream, which is a protocol's transport.

    See `Asking`. The request's method and body have no place here.

    Attributes:
        engine: The frames. This and what follows is what a `Tunnel` needs of its connection.
    """

    addresses: tuple[IAddress, IAddress]
    buffered_bytes = 0  # a client's protocols are its own
    linger_seconds = CLOSE_SECONDS
    secure = True

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self.engine: Any = Engine(HEAD_BYTES)
        self.reactor = clock = attempt.clock
        self._stream = 0  # its number, once it is asked for
        self._tunnel: Tunnel | None = None  # the same, once the server has switched it
        self._answer: events.Answered | None = None  # another one
        self._body = b""
        self._interim_answers = 0
        self._full = False
        self._unread = 0  # bytes written since
        self._over = False
        self._in_turn = False
        self._flushing = Timer(clock)
        self._deadline = Timer(clock)  # for the answer; at last, until the connection is gone

    # The connection

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self.addresses = (self.transport.getPeer(), self.transport.getHost())
        self._deadline.start(self.attempt.seconds, self._give_up, "no answer in time")
        self.transport.registerProducer(self, True)
        self.engine.start()
        self._flush()

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        if self._over:
            return
        self._in_turn = True
        try:
            for event in self.engine.receive(data):
                self._happened(event)
        finally:
            self._in_turn = False
        self._flush()
        if self._unread > UNREAD_BYTES:
            self._fail(WrongAnswer("the server takes nothing, and has said too much that is to be acknowledged"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        tunnel, self._over = self._tunnel, True
        if tunnel is not None:
            tunnel.lost(reason)
        elif not self.switched.called:
            self._give_up(f"the connection ended before the answer: {in_words(reason.value)}", reason.value)
        self._deadline.stop()
        self._flushing.stop()

    # What happens

    def _happened(self, event: events.Event) -> None:
        match event:
            case events.Settled():
                self._begin(event.connect)
            case events.Answered():
                self._answered(event)
            case events.Data() if self._tunnel is not None:
                self._tunnel.received(event)
            case events.Ended() if self._tunnel is not None:
                self._tunnel.ended(event)
            case events.Data():
                self.engine.consumed(event.stream, event.length)
                self._body += event.data
                if len(self._body) >= BODY_BYTES:
                    self._give_up()
            case events.Ended():
                self._give_up()
            case events.Reset() if self._tunnel is not None:
                self._tunnel.lost(Failure(ConnectionLost()))
            case events.Reset():
                self._was_reset(event.code)
            case events.Failed():
                self._fail(WrongAnswer(f"the answer is not HTTP/2: {event.why}"))

    def _begin(self, connects: bool) -> None:
        if not connects:
            self._fail(NoTunnel("the server speaks HTTP/2, and does not switch streams of it"))
            return
        pseudo = [(b":method", b"CONNECT"), (b":protocol", self.attempt.ask.token), (b":scheme", b"https")]
        where = [(b":authority", self.attempt.ask.host), (b":path", self.attempt.ask.target)]
        self._stream = self.engine.ask([*pseudo, *where, *_fields(self.attempt.ask.headers)])

    def _answered(self, answer: events.Answered) -> None:
        if answer.status < 200:
            self._interim_answers += 1
            if self._interim_answers > INTERIM_ANSWERS:
                self._fail(WrongAnswer(f"more than {INTERIM_ANSWERS} interim answers"))
        elif answer.status < 300:
            self._deadline.stop()
            self._tunnel = Tunnel(self, self._stream)
            accepted.connect(self._tunnel, self.attempt, b"", self.switched, encrypted=self.secure)
        else:
            self._answer = answer

    def _was_reset(self, code: int) -> None:
        if code == frames.HTTP_1_1_REQUIRED:
            self._fail(NoTunnel("the server switches in HTTP/1.1 only"))
        else:
            self._give_up(f"the server has reset the request, with the code {code}")

    # What a tunnel says

    def ready(self, tunnel: Tunnel) -> None:
        """It has something to send."""
        self.flush_soon()

    def flush_soon(self) -> None:
        """Send at the end of this turn."""
        if not (self._in_turn or self._over or self._flushing.runs):
            self._flushing.start(0, self._flush)

    def broken(self, tunnel: Tunnel) -> None:
        """The server has broken a rule on it."""
        tunnel.cut(frames.PROTOCOL_ERROR)

    def closed(self, tunnel: Tunnel) -> None:
        """It is over, and so is the connection."""
        if not self._over:
            self.reactor.callLater(0, self._close)

    def _flush(self) -> None:
        tunnel, gathered = self._tunnel, 0
        while tunnel is not None and tunnel.waits and not (self._full or self._over):
            sent = tunnel.send_frame()
            if sent is None:
                break
            gathered += sent
            if gathered >= WRITE_BYTES:  # the transport may say that it is full
                self._write()
                gathered = 0
        self._write()

    def _write(self) -> None:
        output = self.engine.take_output()
        if output and not self._over:
            if self._full:
                self._unread += len(output)
            self.transport.write(output)

    def pauseProducing(self) -> None:
        """The transport is full: until it is not, nothing is sent but what is acknowledged. Reading goes on, since a
        server that is full as well may read nothing until it has sent something."""
        self._full = True

    def resumeProducing(self) -> None:
        """It is empty again."""
        self._full, self._unread = False, 0
        if not self._in_turn:
            self._flush()

    def stopProducing(self) -> None:
        """The connection is lost, as `connectionLost` will say."""

    # The end

    def _give_up(self, sentence: str = "", cause: BaseException | None = None) -> None:
        """Nothing more will come, or be waited for: what has come may be a refusal."""
        if self._answer is not None:
            self._fail(Refused(self._answer.status, "", self._answer.fields, self._body[:BODY_BYTES]))
        else:
            error = NoAnswer(sentence)
            error.__cause__ = cause
            self._fail(error)

    def _fail(self, error: NotSwitched) -> None:
        tunnel = self._tunnel
        if tunnel is not None:
            tunnel.lost(Failure(error))  # first: nothing more can be sent on it
            self._close()
        elif not self.switched.called:
            self._close()
            self.switched.errback(error)

    def _cancel(self, switched: Deferred[IProtocol]) -> None:
        self._over = True
        self._deadline.stop()
        self.transport.abortConnection()
        switched.errback(ConnectingCancelledError(self.attempt.address))

    def _close(self) -> None:
        """Say goodbye, and leave the server little time to say so too."""
        if self._over:
            return
        if not self.engine.failed:
            self.engine.goaway(frames.NO_ERROR)
        self._write()
        self._over = True
        self._flushing.stop()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._deadline.start(CLOSE_SECONDS, self.transport.abortConnection)


def _fields(headers: tuple[Header, ...]) -> list[Header]:
    named = [(name.lower(), value) for name, value in headers]
    return [(name, value) for name, value in named if name not in _OF_HTTP_1_1]
