"""autobahn's WebSocket protocol with nothing made that nobody has asked for.

autobahn gives each instance some eighty attributes when it is connected, and formats lines for debugging about it.
Here what is the same for all stands on the class, and the rest is made when it is first looked at; nothing is missing.
`channel` puts `Lean` behind a handler's class, so that the handler's `super().connectionMade()` comes here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from autobahn.twisted.util import create_transport_details, peer2str
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats, WebSocketProtocol
from autobahn.websocket.utf8validator import Utf8Validator
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from switchd.protocols.websocket import head

_USUAL = (ConnectionDone, ConnectionLost, ConnectionAborted)


class Lazy:
    """An attribute that is made when it is first read, and may be set like any other.

    Args:
        make: Makes it for an instance.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.make = make
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = self.make(instance)
        setattr(instance, self._name, value)
        return value


class _Sum:
    """A figure of autobahn's statistics, as the sum of another one and of what is counted of it alone.

    The latter has the same name behind "more_".
    """

    def __init__(self, other: str) -> None:
        self._other = other
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = "more_" + name

    def __get__(self, instance: Any, owner: type) -> int:
        figure: int = getattr(instance, self._name) + getattr(instance, self._other)
        return figure

    def __set__(self, instance: Any, figure: int) -> None:
        setattr(instance, self._name, figure - getattr(instance, self._other))


class Statistics(TrafficStats):
    """autobahn's statistics, in which a message of one frame raises two figures of ours instead of four of autobahn's.

    Attributes:
        received: Messages that came in one frame, and not compressed.
        received_octets: What was in them.
        sent: Messages that were sent in one frame.
        sent_octets: What was in them, before it was compressed.
    """

    received = received_octets = sent = sent_octets = 0

    incomingWebSocketFrames = _Sum("received")
    incomingWebSocketMessages = _Sum("received")
    incomingOctetsWebSocketLevel = _Sum("received_octets")
    incomingOctetsAppLevel = _Sum("received_octets")
    outgoingWebSocketFrames = _Sum("sent")
    outgoingWebSocketMessages = _Sum("sent")
    outgoingOctetsWebSocketLevel = _Sum("sent_octets")
    outgoingOctetsAppLevel = _Sum("sent_octets")


def has_been_asked_for(instance: Any, name: str) -> bool:
    """Whether there is such an attribute already, or it would be made now."""
    return name in vars(instance)


class Link:
    """What switchd remembers of one WebSocket. Its names are no names of a handler's.

    Attributes:
        terms: What holds for it, a `Terms`.
        secure: Whether its connection is encrypted.
        head: The head of the request, as bytes; see `head`.
        accepted: The compression that has been agreed on.
        compression: The same at work, a `Compression`, once it is open.
        is_made: Whether autobahn's `connectionMade` has been reached.
        when_open: Its `is_open`, if anybody has asked for that before it was.
        statistics: Its `trafficStats`, once there is something to count.
        send_queue: What leaves piece by piece, for tests, as autobahn does it; None as long as there was nothing.
        behind: Messages for many that wait for the end of the one that is being sent piece by piece, each with whether
            it is binary; None: none is.
        flow: Its way out, a `Flow`, once it is open.
        incoming: Counts what comes in, once that is worth counting.
        lacking: How many bytes the frame that is waited for lacks still; 0: there is none, or it is not known.
        arrived: What has come of it besides what is in `data`.
        is_plain: Whether messages may go past autobahn's frame by frame processing: nobody looks at frames, listens
            for autobahn's events, or has brought statistics of his own.
        deadline: When the connection is closed at the latest, once it is to be.
    """

    __slots__ = (
        "accepted",
        "arrived",
        "behind",
        "compression",
        "deadline",
        "flow",
        "head",
        "incoming",
        "is_made",
        "is_plain",
        "lacking",
        "secure",
        "send_queue",
        "statistics",
        "terms",
        "when_open",
    )

    def __init__(self) -> None:
        self.terms: Any = None
        self.secure = False
        self.head = b""
        self.accepted: Any = None
        self.compression: Any = None
        self.is_made = False
        self.when_open: Deferred[None] | None = None
        self.statistics: Any = None
        self.send_queue: deque[Any] | None = None
        self.behind: deque[tuple[bytes, bool]] | None = None
        self.flow: Any = None
        self.incoming: Any = None
        self.lacking = 0
        self.arrived: list[bytes] | None = None
        self.is_plain = False
        self.deadline: Any = None


def _is_open(protocol: Any) -> Deferred[None]:
    link = protocol._switchd
    opened: Deferred[None] = Deferred()
    if link.flow is None:
        link.when_open = opened
    else:
        opened.callback(None)
    return opened


def _is_closed(protocol: Any) -> Deferred[Any]:
    closed: Deferred[Any] = Deferred()
    if protocol._switchd.is_made and protocol.state == WebSocketProtocol.STATE_CLOSED:
        closed.callback(protocol)
    return closed


def _send_queue(protocol: Any) -> deque[Any]:
    queue = protocol._switchd.send_queue = deque()
    return queue


def details(protocol: Any) -> Any:
    """What `transport_details` tells. The particulars of TLS only where it is not hidden by something around it."""
    seen: Any = protocol.transport if isinstance(protocol.transport, TLSMemoryBIOProtocol) else None
    details = create_transport_details(seen, True)
    details.peer = protocol.peer
    details.is_secure = protocol._switchd.secure
    return details


def _of_the_request(read: Callable[[bytes], object]) -> Any:
    return Lazy(lambda protocol: read(protocol._switchd.head))


def _compression_in_use(protocol: Any) -> list[Any]:
    compression = protocol._perMessageCompress
    return [] if compression is None else [compression]


class Lean(WebSocketServerProtocol):
    """What stands behind a handler's class."""

    # Copied by autobahn for each instance; here they stand on the class that is made for the handler.
    CONFIG_ATTRS: list[str] = []

    autoFragmentSize: int
    autoPingTimeoutCall: Any
    current_frame: Any
    tcpNoDelay: bool
    transport: Any
    _switchd: Link

    # What autobahn's `_connectionMade` and handshake set
    _perMessageCompress: Any = None
    autoPingPending: Any = None
    autoPingPendingCall: Any = None
    autoPingPendingSent: Any = None
    autoPingPendingSeq = 0
    closeHandshakeTimeoutCall: Any = None
    closedByMe = False
    droppedByMe = False
    failedByMe = False
    localCloseCode: Any = None
    localCloseReason: Any = None
    openHandshakeTimeoutCall: Any = None
    remoteCloseCode: Any = None
    remoteCloseReason: Any = None
    send_state = WebSocketProtocol.SEND_STATE_GROUND
    trackedTimings: Any = None
    triggered = False
    wasClean = False
    wasCloseHandshakeTimeout = False
    wasMaxFramePayloadSizeExceeded = False
    wasMaxMessagePayloadSizeExceeded = False
    wasNotCleanReason: Any = None
    wasOpenHandshakeTimeout = False
    wasServerConnectionDropTimeout = False
    wasServingFlashSocketPolicyFile = False
    websocket_protocol_in_use: Any = None
    websocket_version = 13

    _transport_details: Any = Lazy(details)
    is_closed: Any = Lazy(_is_closed)
    is_open: Any = Lazy(_is_open)
    peer: Any = Lazy(lambda self: peer2str(self.transport))
    send_queue: Any = Lazy(_send_queue)
    utf8validator: Any = Lazy(lambda self: Utf8Validator())
    websocket_extensions_in_use: Any = Lazy(_compression_in_use)

    http_headers: Any = _of_the_request(head.fields)
    http_request_data: Any = _of_the_request(bytes)
    http_request_host: Any = _of_the_request(head.host)
    http_request_params: Any = _of_the_request(head.parameters)
    http_request_path: Any = _of_the_request(head.path)
    http_request_uri: Any = _of_the_request(head.target)
    http_status_line: Any = _of_the_request(head.line)
    websocket_extensions: Any = _of_the_request(head.extensions)
    websocket_origin: Any = _of_the_request(head.origin)
    websocket_protocols: Any = _of_the_request(head.subprotocols)

    def __new__(cls, *arguments: object, **keywords: object) -> Lean:
        """Before `__init__`, where a handler may ask for `is_open` already."""
        self = super().__new__(cls)
        self._switchd = Link()
        return self

    def __init__(self) -> None:
        """In autobahn this makes what is made here when it is asked for."""

    @property
    def trafficStats(self) -> Any:
        """See autobahn's."""
        link = self._switchd
        if link.statistics is None:
            link.statistics = Statistics()
        return link.statistics

    @trafficStats.setter
    def trafficStats(self, statistics: Any) -> None:
        link = self._switchd
        link.statistics = statistics
        if not isinstance(statistics, Statistics):
            link.is_plain = False  # autobahn counts in it, frame by frame

    def on(self, event: str, handler: Callable[..., object]) -> None:
        """See autobahn's."""
        if self._valid_events is None:
            self.set_valid_events(["message"])
        self._switchd.is_plain = False
        super().on(event, handler)

    def beginMessage(self, isBinary: bool = False, doNotCompress: bool = False) -> None:
        """See autobahn's."""
        super().beginMessage(isBinary, doNotCompress)
        if self.state == WebSocketProtocol.STATE_OPEN:
            self._switchd.behind = self._switchd.behind or deque()

    def endMessage(self) -> None:
        """See autobahn's."""
        super().endMessage()
        channel: Any = self
        channel._switchd_ended()

    def onConnect(self, request: Any) -> Any:
        """See autobahn's."""
        return None

    def connectionMade(self) -> None:
        """See autobahn's."""
        self.transport.setTcpNoDelay(self.tcpNoDelay)
        self._connectionMade()

    def _connectionMade(self) -> None:
        self._switchd.is_made = True
        # Looked at for each message. What the class has too is found on an instance in more steps, so it has not.
        self.state = WebSocketProtocol.STATE_CONNECTING
        self.data = b""
        self.inside_message = False
        self.current_frame = None
        self.autoPingTimeoutCall = None
        self.autoFragmentSize = self.autoFragmentSize
        for name in self._switchd.terms.hidden:
            made = vars(Lean)[name]
            setattr(self, name, made.__get__(self, Lean) if hasattr(made, "__get__") else made)
        self.factory.countConnections += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See autobahn's."""
        if isinstance(reason.value, _USUAL):
            self._connectionLost(reason)
        else:
            super().connectionLost(reason)

    def _connectionLost(self, reason: Any) -> None:
        if self.state != WebSocketProtocol.STATE_CLOSED and not has_been_asked_for(self, "is_closed"):
            # autobahn would make it, to fire it with the instance as its result: a circle that nobody has asked for.
            self.state = WebSocketProtocol.STATE_CLOSED
        WebSocketProtocol._connectionLost(self, reason)
        self.factory.countConnections -= 1


def hidden(cls: type) -> tuple[str, ...]:
    """What `Lean` has on the class, and a handler's class hides with something of its own.

    autobahn sets these on the instance, and that stands above any class.
    """
    names = [name for name, value in vars(Lean).items() if not (name.startswith("__") or callable(value))]
    return tuple(name for name in names if name != "CONFIG_ATTRS" and _owner(cls, name) is not Lean)


def _owner(cls: type, name: str) -> type:
    return next(owner for owner in cls.__mro__ if name in vars(owner))
