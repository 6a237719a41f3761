"""What holds for all WebSockets of one class of handlers, and how an instance comes under it.

The settings of autobahn that are the same for all stand on a class that is made for this, with `Channel` in front of
the handler's own class and `Lean` behind it. So they cost an instance nothing, and an opening little.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from attrs import frozen
from autobahn.twisted.websocket import WebSocketServerProtocol

from switchd.deadlines import Deadlines
from switchd.protocols.websocket.channel import Channel
from switchd.protocols.websocket.deflate import Settings
from switchd.protocols.websocket.lean import Lean, Link, hidden

if TYPE_CHECKING:
    from switchd.protocols.websocket.options import Options


MOST_LENGTHS = 8
"""Of waits that share a timer of the reactor's: the settings have three, and few handlers have their own."""


class Timer:
    """Stands for the timer of autobahn's factories, which takes its time from a reactor of its own choice.

    Nearly all WebSockets wait as long as the others, for a ping or for the end, and so they share a timer.

    Args:
        reactor: The clock.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._deadlines: dict[float, Deadlines] = {}

    def call_later(self, seconds: float, late: Callable[[], object]) -> Wait:
        """Call `late` when the time is up, unless what is returned is cancelled first."""
        deadlines = self._deadlines.get(seconds)
        if deadlines is None:
            deadlines = Deadlines(self._reactor, seconds)
            if len(self._deadlines) < MOST_LENGTHS:
                self._deadlines[seconds] = deadlines
        wait = Wait(deadlines)
        deadlines.start(wait, late)
        return wait


class Wait:
    """Something that waits.

    Args:
        deadlines: Where.
    """

    __slots__ = ("_deadlines",)

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines

    def cancel(self) -> None:
        """It does not wait any more, if it did."""
        self._deadlines.stop(self)


@frozen(eq=False)
class Terms:
    """What holds for every WebSocket of one class of handlers behind one `[[switch]]`.

    Attributes:
        options: The bounds.
        reactor: The clock.
        timer: What each waits with.
        opened: Called with each when it is open.
        left: Called with it when it is open no more, at least once.
        lost: Called with it once, when it is over, whether it was ever open or not.
        cls: The handlers' class with `Channel` in front of it, on which their settings stand.
        copied: Those settings that are the factory's, by name.
        read: Reads them from the factory, as `values` at first.
        hidden: See `lean.hidden`.
        asks: Whether they have an `onConnect` of their own.
        initializes: Whether they have an `__init__` of their own.
        sees_frames: Whether they want to see frames, or what they are made of.
        longest: The most bytes of a message in one frame.
        deflate: How they compress; None: they do not.
    """

    options: Options
    reactor: Any
    timer: Timer
    opened: Callable[[Any], object]
    left: Callable[[Any], object]
    lost: Callable[[Any], object]
    cls: Any
    copied: dict[str, Any]
    read: Callable[[Any], tuple[Any, ...]]
    values: tuple[Any, ...]
    hidden: tuple[str, ...]
    asks: bool
    initializes: bool
    sees_frames: bool
    longest: int
    deflate: Settings | None


def terms_for(
    cls: Any,
    factory: Any,
    options: Options,
    reactor: Any,
    timer: Timer,
    opened: Callable[[Any], object],
    left: Callable[[Any], object],
    lost: Callable[[Any], object],
) -> Terms:
    """The terms for handlers of `cls`, made by `factory`; if that is a `Channel` already, it is nobody else's."""
    own = cls if issubclass(cls, Channel) else channel(cls)
    copied = {
        name: getattr(factory, name)
        for name in WebSocketServerProtocol.CONFIG_ATTRS
        if not (name in _ours(options) or hasattr(own, name))
    }
    for name, value in (_ours(options) | copied).items():
        setattr(own, name, value)
    read = attrgetter("isServer", "isServer", *copied)  # two at least, for a tuple
    settings = Settings(
        options.deflate_window_bits,
        options.deflate_context_takeover,
        options.deflate_memory_level,
        min(options.deflate_max_bytes, options.max_message_bytes),
    )
    return Terms(
        options,
        reactor,
        timer,
        opened,
        left,
        lost,
        cls=own,
        copied=copied,
        read=read,
        values=read(factory),
        hidden=hidden(own),
        asks=own.onConnect is not Lean.onConnect,
        initializes=own.__init__ is not Lean.__init__,
        sees_frames=_sees_frames(own),
        longest=min(options.max_message_bytes, options.max_frame_bytes),
        deflate=settings if options.deflate else None,
    )


def channel(cls: Any) -> Any:
    """A class of handlers, as one of `Channel`s."""
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    bases = (cls,) if issubclass(cls, Channel) else (Channel, Lean) if issubclass(Lean, cls) else (Channel, cls, Lean)
    return type(cls.__name__, bases, names)


def _ours(options: Options) -> dict[str, Any]:
    """The settings in which neither a handler nor its factory has a say."""
    return {
        "failByDrop": False,  # who breaks a rule is told which one, by Close
        "openHandshakeTimeout": 0,  # that is over
        "maxFramePayloadSize": 0,  # bounded here: there it also bounds what is sent
        "maxMessagePayloadSize": 0,
        "echoCloseCodeReason": True,  # RFC 6455 section 5.5.1
        "closeHandshakeTimeout": options.close_seconds,
        "autoPingInterval": options.ping_seconds,
        "autoPingTimeout": options.ping_timeout_seconds,
    }


def adopt(protocol: Any, terms: Terms, head: bytes, secure: bool) -> Link:
    """Make a handler's instance a `Channel`, before it is connected to anything.

    Args:
        protocol: The instance. Its class is exchanged if need be: there is no knowing how a user's factory has made it.
        terms: What holds for it.
        head: The head of the request, see `head`.
        secure: Whether its connection is encrypted.

    Returns:
        What is remembered of it.
    """
    if not isinstance(protocol, Channel):
        protocol.__class__ = terms.cls
        protocol._switchd = Link()
    link: Link = protocol._switchd
    link.terms, link.head, link.secure = terms, head, secure
    if protocol._valid_events is not None:
        # autobahn's own __init__ has been there.
        link.when_open = protocol.is_open
        vars(protocol).pop("_transport_details", None)
    _settle(protocol, terms)
    return link


def _settle(protocol: Any, terms: Terms) -> None:
    """Set on an instance what its class has otherwise: its factory has been changed, or it has settings of its own."""
    if terms.read(protocol.factory) != terms.values:
        for name, value in terms.copied.items():
            now = getattr(protocol.factory, name)
            if now != value and name not in vars(protocol):
                setattr(protocol, name, now)
    if terms.initializes:
        for name, value in _ours(terms.options).items():
            if getattr(protocol, name) != value:
                setattr(protocol, name, value)


# Who overrides one of these wants to see frames, or what they are made of.
_OF_FRAMES = (
    "_dataReceived",
    "_onMessage",
    "consumeData",
    "dataReceived",
    "onFrameBegin",
    "onFrameData",
    "onFrameEnd",
    "onMessageBegin",
    "onMessageFrameBegin",
    "onMessageFrameData",
    "onMessageFrameEnd",
    "onMessageFrame",
    "onMessageEnd",
    "processControlFrame",
    "processData",
    "sendData",
    "sendFrame",
    "sendMessage",
)


def _sees_frames(cls: Any) -> bool:
    own = cls.__mro__[cls.__mro__.index(Channel) + 1]
    return any(getattr(own, name) is not getattr(WebSocketServerProtocol, name) for name in _OF_FRAMES)


def set_timer(factory: Any, timer: Timer) -> None:
    """Have a factory's protocols wait with `timer`."""
    factory._batched_timer = timer
