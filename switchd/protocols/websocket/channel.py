"""autobahn's WebSocket protocol on a connection that has been switched: in the open state, and with bounds.

`terms` puts `Channel` in front of a handler's class. The handler keeps its methods and attributes: what is overridden
here are hooks of autobahn's, and every other name begins with `_switchd`, so that no name of a handler's is taken.

This file, `lean` and `terms` are the only ones that know private names of autobahn's protocol. `deflate` knows one of
its compression, and `masks` those of its masker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen
from autobahn.exception import Disconnected, PayloadCorruptError, PayloadExceededError
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import FrameHeader
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.interfaces import IDrain
from switchd.protocols.websocket.bounds import (
    FAREWELLS,
    GOING_AWAY,
    INTERNAL_ERROR,
    MESSAGE_TOO_BIG,
    TRY_AGAIN_LATER,
    Breach,
    Incoming,
)
from switchd.protocols.websocket.deflate import Compression
from switchd.protocols.websocket.flow import Flow
from switchd.protocols.websocket.frames import (
    BINARY,
    CLOSE,
    COMPRESSED,
    PING,
    PONG,
    TEXT,
    header,
    is_growing,
    missing,
    whole,
)
from switchd.protocols.websocket.lean import Link, Statistics, details, has_been_asked_for

if TYPE_CHECKING:
    from switchd.protocols.websocket.options import Options

_log = Logger()

CLOSED = WebSocketServerProtocol.STATE_CLOSED
CLOSING = WebSocketServerProtocol.STATE_CLOSING
OPEN = WebSocketServerProtocol.STATE_OPEN

WAITED_FOR = 262_144
"""The longest message in one frame that is waited for before it is looked at, in bytes: a few reads."""

MOST_PIECES = 64
"""Pieces of such a message that are kept one by one, with Python's 33 bytes on each, before they are joined."""

MOST_FRAGMENTS_APART = 1000
"""Fragments of a message that are kept one by one, with Python's 33 bytes on each, before they are joined."""

JOINED_BYTES = 16_384
"""Up to which a message is joined with its header; longer ones are written apart from it, which saves a copy."""

MESSAGE_BYTES = 64
"""By which a message that waits for the end of another counts for more than what is in it."""

_OCTET = "payload octet index"  # in what autobahn says of text that is none

# All that autobahn looks at in a control frame that is all there is what it is.
_CONTROL = {first: FrameHeader(first & 15, True, 0, 0, "") for first in (CLOSE, PING, PONG)}


def abandon(protocol: Any) -> None:
    """An adopted handler gets no connection, after all. It hears of it as in autobahn: its connection is lost."""
    if protocol._switchd.is_made:
        protocol.connectionLost(Failure(ConnectionDone()))
    else:
        # Its connectionMade raised before it reached autobahn's, which so has nothing to undo.
        protocol._switchd.terms.lost(protocol)


class _Way(Flow):
    """The way out of a channel, which is let go of when its connection is lost."""

    __slots__ = ("_channel",)

    def __init__(self, channel: Channel, options: Options, reactor: Any) -> None:
        super().__init__(channel.transport, reactor, options.max_buffered_bytes, options.send_seconds)
        self._channel: Channel | None = channel

    def ready(self) -> None:
        if self._channel is not None:
            self._channel._switchd_guarded(self._channel.consumeData)

    def too_slow(self, why: str) -> None:
        if self._channel is not None:
            self._channel._switchd_too_slow(why)

    def lost(self) -> None:
        super().lost()
        self._channel = None


class Channel(WebSocketServerProtocol):
    """A handler on a switched connection. No `Lean` itself: the handler's own classes stand between the two."""

    transport: Any
    autoFragmentSize: int
    autoPingInterval: float
    current_frame: Any
    _perMessageCompress: Any
    message_data: Any = None
    _switchd: Link

    # The switch

    def makeConnection(self, transport: Any) -> None:
        """First what knows addresses only, for `connectionMade` and `onConnect`; at the handover the connection."""
        if self.connected:
            self.transport.replay(transport)
            self.transport = transport
            self._switchd_guarded(self._switchd_begin)
        else:
            super().makeConnection(transport)

    def _switchd_begin(self) -> None:
        """What autobahn does once it has written its 101."""
        link = self._switchd
        terms = link.terms
        link.flow = _Way(self, terms.options, terms.reactor)
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self._transport_details = details(self)  # now, since there is nothing to see any more when it is lost
        if link.accepted is not None:
            link.compression = self._perMessageCompress = Compression.create_from_offer_accept(True, link.accepted)
        link.is_plain = self._switchd_is_plain()
        self.state = OPEN
        if self.autoPingInterval:
            self.autoPingPendingCall = terms.timer.call_later(self.autoPingInterval, self._sendAutoPing)
        if self.trackedTimings:
            self.trackedTimings.track("onOpen")
        terms.opened(self)
        self._onOpen()
        if link.when_open is not None:
            link.when_open.callback(None)

    def _switchd_is_plain(self) -> bool:
        own: Any = self
        observed = (
            own.logOctets or own.logFrames or own.trackTimings or self._switchd.terms.sees_frames or own._listeners
        )
        usual = own.applyMask and own.requireMaskedClientFrames and own.utf8validateIncoming
        counts = isinstance(self._switchd.statistics, Statistics | None)
        return usual and counts and not (observed or own.maskServerFrames)

    # Input

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer; not looked at once it has been failed (RFC 6455 section 7.1.7)."""
        link = self._switchd
        is_plain = link.is_plain
        try:
            if is_plain and self.state == OPEN:
                (link.statistics or self.trafficStats).incomingOctetsWireLevel += len(data)
                if len(data) < link.lacking:
                    self._switchd_wait_with(data)
                else:
                    self._switchd_look(self._switchd_joined(data) if self.data else data)
            elif is_plain and not self.failedByMe:
                self._switchd_settle()
                self._dataReceived(data)  # past autobahn's own, which adds a message for debugging
            elif not self.failedByMe:
                if link.arrived:
                    self._switchd_settle()  # it was plain until now
                super().dataReceived(data)
        except Exception:
            self._switchd_broken(Failure())

    def _switchd_wait_with(self, data: bytes) -> None:
        """More of a frame that is waited for, and not the last of it: kept as it is. If each were joined to what is
        there, that would be copied again and again."""
        link = self._switchd
        link.lacking -= len(data)
        if link.arrived is None:
            link.arrived = []
        link.arrived.append(data)
        if len(link.arrived) >= MOST_PIECES:
            lacking = link.lacking
            self._switchd_settle()
            link.lacking = lacking

    def _switchd_settle(self) -> None:
        """Have all that waits in `data`, where autobahn looks for it."""
        link = self._switchd
        if link.arrived:
            self.data = b"".join((self.data, *link.arrived))
        link.lacking, link.arrived = 0, None

    def _switchd_joined(self, data: bytes) -> bytes:
        """All that waits, and `data` behind it. A frame that was waited for is taken first, by itself, so that what is
        behind it is not copied along with it."""
        link = self._switchd
        lacking, arrived = link.lacking, link.arrived or ()
        link.lacking, link.arrived = 0, None
        if not 0 < lacking < len(data):
            return b"".join((self.data, *arrived, data))
        self._switchd_look(b"".join((self.data, *arrived, data[:lacking])))
        return self.data + data[lacking:]

    def consumeData(self) -> None:
        """Look at what is there, for as long as what comes of it can be sent."""
        self._switchd_settle()
        self._switchd_look(self.data)

    def _switchd_look(self, data: bytes) -> None:
        """Take `data`, all that is there. What is sent because of several messages leaves in one piece."""
        link = self._switchd
        flow = link.flow
        try:
            if link.is_plain and self.current_frame is None and not self.inside_message:
                data = self._switchd_take_whole(data, link, flow)
                if not data:
                    return
                if is_growing(data, min(WAITED_FOR, link.terms.longest)):
                    link.lacking = max(missing(data), 0)
                    return
            else:
                self.data = data
            flow.gather()
            while flow.open and self.state in (OPEN, CLOSING) and not self.failedByMe and self.processData():
                pass
        finally:
            if flow.gathered is not None:
                flow.flush()

    def _switchd_take_whole(self, data: bytes, link: Link, flow: Flow) -> bytes:
        """Frames that are there whole, and are whole messages, leave autobahn's states as they are.

        Returns:
            What is left, which is in `self.data`, too.
        """
        taken, end = 0, len(data)
        handler: Any = self
        try:
            if flow.open and self.state == OPEN:
                for first, payload, taken in whole(data, link.terms.longest, link.compression is not None):
                    if taken < end and flow.gathered is None:  # what one message brings about needs no gathering
                        flow.gather()
                    if first <= BINARY:  # or TEXT, which is less
                        stats: Any = link.statistics or self.trafficStats
                        stats.received += 1
                        stats.received_octets += len(payload)
                        if self.autoPingTimeoutCall and self.autoPingRestartOnAnyTraffic:
                            self._cancelAutoPingTimeoutCall()
                        result = handler.onMessage(payload, first == BINARY)
                        if result is not None:
                            self._switchd_attend(result)
                    elif first & COMPRESSED:
                        self._switchd_inflate(first, payload)
                    else:
                        self._switchd_control(first, payload)
                    if not (flow.open and self.state == OPEN and link.is_plain):
                        break
        finally:
            self.data = left = b"" if taken == end or (self.state != OPEN and self.failedByMe) else data[taken:]
        return left

    def _switchd_inflate(self, first: int, payload: bytes) -> None:
        """A compressed message, judged and counted in autobahn's order, and with its words."""
        compression = self._switchd.compression
        compression.start_decompress_message()
        try:
            message: bytes = compression.decompress_message_data(payload)
            self._switchd_count_octets(len(payload), len(message))
            is_text = first & 1 and not message.isascii()
            is_valid, is_whole, _, index = self._switchd_validated(message) if is_text else (True, True, 0, 0)
            if not is_valid:
                self._invalid_payload(f"encountered invalid UTF-8 while processing text message at {_OCTET} {index}")
                return
            self._switchd_count_frame()
            compression.end_decompress_message()
        except PayloadExceededError:
            self.wasMaxMessagePayloadSizeExceeded = True
            self._max_message_size_exceeded(0, 0, "")
        except PayloadCorruptError as error:
            self._invalid_payload(f"received WebSocket message cannot be decompressed: {error}")
        else:
            if not is_whole:
                self._invalid_payload(f"UTF-8 text message payload ended within Unicode code point at {_OCTET} {index}")
                return
            stats: Any = self.trafficStats
            stats.more_incomingWebSocketMessages += 1
            self._switchd_call(self.onMessage, message, not first & 1)

    def _switchd_validated(self, message: bytes) -> tuple[bool, bool, int, int]:
        validator = self.utf8validator
        validator.reset()
        verdict: tuple[bool, bool, int, int] = validator.validate(message)
        return verdict

    def _switchd_control(self, first: int, payload: bytes) -> None:
        self.current_frame, self.control_frame_data = _CONTROL[first], [payload]
        try:
            self.processControlFrame()
        finally:
            self.current_frame = None

    def _switchd_count_octets(self, received: int, length: int) -> None:
        stats: Any = self.trafficStats
        stats.more_incomingOctetsWebSocketLevel += received
        stats.more_incomingOctetsAppLevel += length

    def _switchd_count_frame(self) -> None:
        stats: Any = self.trafficStats
        stats.more_incomingWebSocketFrames += 1
        if self.autoPingTimeoutCall and self.autoPingRestartOnAnyTraffic:
            self._cancelAutoPingTimeoutCall()

    def _onMessageBegin(self, isBinary: bool) -> None:
        self._switchd_incoming().message()
        super()._onMessageBegin(isBinary)

    def _onMessageFrameBegin(self, length: int) -> None:
        self._switchd_fail_for(self._switchd_incoming().fragment(length))
        super()._onMessageFrameBegin(length)

    def _onMessageFrameEnd(self) -> None:
        super()._onMessageFrameEnd()
        if self.message_data is not None and len(self.message_data) > MOST_FRAGMENTS_APART:
            # Joined in place, so that a byte is copied twice at most, however many fragments there are.
            first, *fragments = self.message_data
            whole = first if isinstance(first, bytearray) else bytearray(first)
            whole += b"".join(fragments)
            self.message_data = [whole]

    def _onPing(self, payload: bytes) -> None:
        if not self._switchd_fail_for(self._switchd_incoming().control()):
            self._switchd_call(self.onPing, payload)

    def _onPong(self, payload: bytes) -> None:
        if not self._switchd_fail_for(self._switchd_incoming().control()):
            self._switchd_call(self.onPong, payload)

    def _switchd_incoming(self) -> Incoming:
        link = self._switchd
        if link.incoming is None:
            options = link.terms.options
            link.incoming = Incoming(options.max_message_bytes, options.max_frame_bytes, link.terms.reactor.seconds)
        incoming: Incoming = link.incoming
        return incoming

    def _switchd_fail_for(self, breach: Breach | None) -> bool:
        if breach is not None:
            self._fail_connection(breach.code, breach.why)
        return self.failedByMe

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        # Only compression gets here, since autobahn's own bounds are off.
        assert self._switchd.accepted is not None
        most = self._switchd.accepted.max_message_size
        self._fail_connection(MESSAGE_TOO_BIG, f"a message has at most {most} bytes here when it is inflated")

    # Callbacks of the handler, which may also be coroutines or return a Deferred

    def _onOpen(self) -> None:
        # autobahn's also looks into TLS, and fails where something is around it; `lean.details` has done that.
        self._switchd_call(self.onOpen)

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._switchd_call(self.onMessage, payload, isBinary)

    def _onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        # autobahn's own bookkeeping comes after this, so nothing may come out of it.
        try:
            self._switchd_call(self.onClose, wasClean, code, reason)
        except Exception:
            self._switchd_broken(Failure())

    def _switchd_guarded(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except Exception:
            self._switchd_broken(Failure())

    def _switchd_call(self, callback: Callable[..., Any], *arguments: object) -> None:
        try:
            result = callback(*arguments)
        except Disconnected:
            if self.state == OPEN:
                raise
            return  # it has something to say behind a Close, of which it need not know
        if result is not None:
            self._switchd_attend(result)

    def _switchd_attend(self, result: Any) -> None:
        if inspect.isawaitable(result):
            waiting = result if isinstance(result, Deferred) else Deferred.fromCoroutine(_wait(result))
            waiting.addErrback(self._switchd_broken)

    def _switchd_handler(self) -> object:
        return self

    def _switchd_broken(self, failure: Failure) -> None:
        """The handler has failed: its own connection ends, with 1011. To have said something too late is no failure."""
        if self.state != OPEN and failure.check(Disconnected):
            return
        name, path = type(self._switchd_handler()).__qualname__, self.http_request_path
        _log.failure("The WebSocket handler {handler} failed on {path!a}", failure, handler=name, path=path)
        if self.state == OPEN:
            self._fail_connection(INTERNAL_ERROR, "internal error")

    # Output

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Every frame goes out here; those that shall leave piece by piece, for tests, as autobahn does it."""
        link = self._switchd
        if sync or chopsize or link.send_queue:
            link.flow.hurry()
            if link.send_queue or not link.flow.full:
                super().sendData(data, sync, chopsize)
                return
        link.flow.write(data)
        self.trafficStats.outgoingOctetsWireLevel += len(data)

    def sendMessage(
        self,
        payload: bytes,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> None:
        """See autobahn's; a message too short to gain by it is not compressed."""
        link, length = self._switchd, len(payload)
        compression = link.compression
        if compression is not None and (doNotCompress or length < link.terms.options.deflate_threshold_bytes):
            compression = None
        if (
            self.state == OPEN
            and link.is_plain
            and type(payload) is bytes
            and type(isBinary) is bool
            and fragmentSize is None
            and not (sync or link.send_queue or 0 < self.autoFragmentSize < length)
        ):
            first = BINARY if isBinary else TEXT
            stats: Any = link.statistics or self.trafficStats
            stats.sent += 1
            stats.sent_octets += length
            if compression is not None:
                first |= COMPRESSED
                payload = compression.deflated(payload)
                stats.more_outgoingOctetsWebSocketLevel += len(payload) - length
                length = len(payload)
            head = header(first, length)
            stats.outgoingOctetsWireLevel += len(head) + length
            if length <= JOINED_BYTES:
                link.flow.write(head + payload)
            else:
                link.flow.write_apart(head, payload)
        else:
            super().sendMessage(payload, isBinary, fragmentSize, sync, compression is None)

    def _switchd_deliver(self, payload: bytes, is_binary: bool) -> None:
        """Send a message that is for many: behind the one that is being sent piece by piece, if there is one."""
        link = self._switchd
        if link.behind is None:
            self._switchd_guarded(self.sendMessage, payload, is_binary)
        elif link.flow.reserve(len(payload) + MESSAGE_BYTES):
            link.behind.append((payload, is_binary))

    def _switchd_ended(self) -> None:
        """The message that was being sent piece by piece has ended."""
        link = self._switchd
        behind, link.behind = link.behind, None
        for payload, is_binary in behind or ():
            if self.state != OPEN:
                break
            link.flow.free(len(payload) + MESSAGE_BYTES)
            self._switchd_deliver(payload, is_binary)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Have `producer` paused while the peer does not read what is sent to it."""
        self._switchd.flow.register(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `registerProducer`."""
        if self._switchd.flow is not None:
            self._switchd.flow.unregister()

    def _switchd_too_slow(self, why: str) -> None:
        if self.failedByMe:
            return
        self.factory.too_slow = getattr(self.factory, "too_slow", 0) + 1
        _log.warn(
            "{peer!a} on {path!a} is too slow: {why}; closed, as number {number} here",
            peer=self.peer,
            path=self.http_request_path,
            why=why,
            number=self.factory.too_slow,
        )
        self._switchd.flow.drop()
        self._fail_connection(TRY_AGAIN_LATER, "too slow")

    # The end

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        """See autobahn's; every Close goes out here."""
        super().sendCloseFrame(code, reasonUtf8, isReply)
        self._switchd.terms.left(self)

    def _fail_connection(self, code: int = GOING_AWAY, reason: str = "going away") -> None:
        was_open = self.state == OPEN
        super()._fail_connection(code, reason)
        self.data, self._switchd.arrived = b"", None
        if was_open:
            self.wasNotCleanReason = f"I have failed the connection with {code}: {reason}"
            self._switchd.flow.end_output()

    def _protocol_violation(self, reason: str) -> bool:
        super()._protocol_violation(reason)
        return True  # autobahn would go on with the frame that broke the rule

    def _invalid_payload(self, reason: str) -> bool:
        super()._invalid_payload(reason)
        return True

    def dropConnection(self, abort: bool = False) -> None:
        """See autobahn's, which makes `is_closed` to fire it, with the instance as its result: a circle, and for nobody
        if nobody has asked for it."""
        if self.state == CLOSED or has_been_asked_for(self, "is_closed"):
            super().dropConnection(abort)
        elif self.wasClean:
            self.unregisterProducer()
            self.droppedByMe = True
            self.state = CLOSED
            self._closeConnection(abort)
        else:
            _ = self.is_closed  # as long as it is not fired by being made
            super().dropConnection(abort)  # also tells the log what was not clean
            del self.is_closed

    def _closeConnection(self, abort: bool = False) -> None:
        link = self._switchd
        link.terms.left(self)
        if link.flow is None:
            self.transport.loseConnection()
        elif abort and not self.wasClean:
            self.transport.abortConnection()
        else:
            # autobahn would reset the connection also where both sides have said goodbye.
            link.flow.close()
            seconds = link.terms.options.close_seconds
            link.deadline = link.terms.timer.call_later(seconds, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is over, or there was never to be one."""
        link = self._switchd
        try:
            super().connectionLost(reason)
        finally:
            for call in (link.deadline, self.closeHandshakeTimeoutCall):
                if call is not None:
                    call.cancel()
            if link.flow is not None:
                link.flow.lost()
            link.behind = None
            link.terms.left(self)
            link.terms.lost(self)

    def __conform__(self, interface: Any) -> Any:
        # By adaptation, so that a handler may have a method `drain` of its own.
        return _Farewell(self) if interface is IDrain and not IDrain.providedBy(self) else None


async def _wait(result: Any) -> Any:
    return await result


@implementer(IDrain)
@frozen
class _Farewell:
    channel: Any

    def drain(self, seconds: float) -> Deferred[None]:
        return farewell(self.channel)


def farewell(channel: Any) -> Deferred[None]:
    """A WebSocket's goodbye: a Close, behind all that is still to be sent. Fires when the peer has answered.

    It has as long for that as there is for the goodbye: `close_seconds` would cut a slow reader that has not come to
    our Close.
    """
    closed: Deferred[None] = Deferred()

    def done(result: Any) -> Any:
        closed.callback(None)
        return result

    channel.is_closed.addCallback(done)
    if channel.state == OPEN:
        channel.closeHandshakeTimeout = 0
        code = channel._switchd.terms.options.drain_code
        channel.sendCloseFrame(code, FAREWELLS[code])
        channel._switchd.flow.release()  # the answer is read also where the handler has paused
    return closed
