"""The switch itself: another protocol on a live transport. The only code of switchd that swaps one for another.

It stands alone: any Twisted program may use it, inside `dataReceived` of the old protocol or at any later time.

    early = self.clearLineBuffer()               # what was read but belongs to the new protocol
    self.setTimeout(None)                        # the old protocol takes its own timers and producers off
    handover(self.transport, NewProtocol(), early)

It works on TCP and UNIX connections, in TLS sessions (from `ssl:` endpoints, from `startTLS`, or made by hand), behind
protocol wrappers (`twisted.protocols.policies`, `haproxy:` endpoints), and on anything else that keeps its protocol in
an attribute `protocol`. What the new protocol sees is what it would have seen had it been there from the start:

- `makeConnection` with the same transport, which is reading;
- the early bytes, in one `dataReceived`; held while the protocol has paused its transport, dropped if it closed it;
- the end of input, if that had been read already;
- `connectionLost`, once. If connecting it or giving it the early bytes raised, then that is the reason.

Some smaller things live here because they, too, know how transports are built: `when_lost`, `before_lost`,
`pass_half_close`, `close_when_sent`, `is_under_way`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableDescriptor, IHalfCloseableProtocol, IProtocol
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.errors import HandoverError

CLOSE_SECONDS = 5.0
"""How long a connection whose new protocol failed may take to send what was written before; then it is aborted."""

LOOK_SECONDS = 0.05
"""How often to look whether a peer has all that was sent to it: nobody notices that its end is so much late."""

_UNDER_WAY = frozenset({1, 4, 8, 9, 11})
"""States of a TCP connection in Linux in which something that we send, be it only the end, is not known to have come:
ESTABLISHED, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING (include/net/tcp_states.h)."""

_log = Logger()


def handover(
    transport: Any,
    protocol: IProtocol,
    early: bytes = b"",
    *,
    eof: bool = False,
    connected: Callable[[], object] | None = None,
) -> None:
    """Give `transport` to `protocol`.

    The caller has taken its own timers and its own producer off the transport, and does not use it afterwards.
    An exception of `protocol` does not come back: it is logged, closes the connection, and is the reason that
    `protocol.connectionLost` gets.

    Args:
        transport: The old protocol's transport; reading may be paused, and is resumed.
        protocol: The new protocol, not yet connected.
        early: Bytes that were read but not used by the old protocol.
        eof: Whether the peer has half-closed already. The new protocol is told after the early bytes: by
            `readConnectionLost` if it is an `IHalfCloseableProtocol`, otherwise by closing once what it wrote is sent.
        connected: Called when the new protocol has been connected, before it is given any bytes; not if that failed.
            None: nobody is told.

    Raises:
        HandoverError: The transport has no place for a protocol, or it is closed. Nothing has been changed.
    """
    slot = _slot(transport)
    eof = pass_half_close(transport) or eof
    if not (early or eof or connected or isinstance(slot, _Slot) or isinstance(slot.protocol, _Gate)):
        transport.resumeProducing()
        slot.protocol = protocol
        _connect(transport, protocol)
        return
    gate = _Gate(transport, protocol, [early] if early else [], eof)
    if isinstance(slot.protocol, _Gate):
        slot.protocol.retire_for(gate)
    if not eof:
        # Twisted would read the end of input once more and report it again.
        transport.resumeProducing()
    slot.protocol = gate
    gate.connect(connected)


def _connect(transport: Any, protocol: IProtocol) -> None:
    """Without anything to be given to it before what comes from the network, and on a transport that can be paused at
    once, which a TLS session or another wrapper cannot, a protocol needs nobody in between."""
    try:
        protocol.makeConnection(transport)
    except Exception:
        _Gate(transport, protocol, [], False).fail(Failure())


def occupant(transport: Any) -> IProtocol | None:
    """The protocol that `transport` serves now, below which nothing is but wrappers; None once it is closed."""
    try:
        protocol = _slot(transport).protocol
    except HandoverError:
        return None
    while isinstance(protocol, ProtocolWrapper):
        protocol = protocol.wrappedProtocol
    return protocol.protocol if isinstance(protocol, _Gate) else protocol


def when_lost(transport: Any, callback: Callable[[Failure], object]) -> None:
    """Have `callback` called once with the reason when the connection is lost, after the protocol was told.

    It belongs to the transport, not to a protocol: it survives any number of handovers and costs nothing until then.
    There may be several; they are called in the order in which they were set.
    """
    hook = transport.connectionLost
    if not isinstance(hook, _Lost):
        hook = transport.connectionLost = _Lost(transport)
    hook.callbacks += (callback,)


def before_lost(transport: Any, callback: Callable[[Any], object]) -> None:
    """Have `callback` called once with `transport` just before its connection is lost, while its socket is still open.

    Unlike that of `when_lost` it has to be set on what carries the connection, its `bottom`. It must not raise.
    """
    transport.connectionLost = _Closing(transport.connectionLost, transport, callback)


class _Closing:
    """Takes the place of a transport's `connectionLost`."""

    __slots__ = ("_callback", "_original", "_transport")

    def __init__(
        self, original: Callable[[Failure], object], transport: Any, callback: Callable[[Any], object]
    ) -> None:
        self._original = original
        self._transport = transport
        self._callback = callback

    def __call__(self, reason: Failure) -> None:
        if self._transport.connectionLost is self:  # there is no cycle then, as with `_Lost`
            del self._transport.connectionLost
        self._callback(self._transport)
        self._original(reason)


class _Lost:
    """Takes the place of a transport's `connectionLost`."""

    __slots__ = ("_original", "_transport", "callbacks")

    def __init__(self, transport: Any) -> None:
        self.callbacks: tuple[Callable[[Failure], object], ...] = ()
        self._transport = transport
        # Its class's own is found again without being kept, which there may be a hundred thousand of.
        original = transport.connectionLost
        is_of_class = getattr(original, "__func__", None) is getattr(type(transport), "connectionLost", None)
        self._original = None if is_of_class else original

    def __call__(self, reason: Failure) -> None:
        # Gone before it is used, so that transport and hook are no cycle and a second call finds the transport's own.
        if self._transport.connectionLost is self:
            del self._transport.connectionLost
        elif not self.callbacks:
            return  # somebody has kept it, and calls it once more
        gate = _slot(self._transport).protocol
        failure = gate.failure if isinstance(gate, _Gate) else None
        try:
            # Not the transport's own attribute: somebody may have set another hook, which calls this one.
            if self._original is None:
                type(self._transport).connectionLost(self._transport, reason)
            else:
                self._original(reason)
        finally:
            callbacks, self.callbacks = self.callbacks, ()
            for callback in callbacks:
                callback(failure or reason)


def pass_half_close(transport: Any) -> bool:
    """Let a client that half-closes be answered, whatever the protocol and the wrappers around it know of that.

    An `IHalfCloseableProtocol` is told, also behind wrappers, which Twisted's do not pass on. For any other protocol
    the connection is closed when what it has written is sent; Twisted by itself would drop that, since it reads the
    end of input before it writes. In TLS, whose sessions Twisted ends when the client takes leave, it is always the
    latter.

    Calling it again changes nothing. `handover` calls it.

    Returns:
        Whether the client has half-closed already, as far as has been seen since the first call.
    """
    carrier: Any = transport
    while isinstance(carrier, ProtocolWrapper):
        if isinstance(carrier, BufferingTLSTransport):
            _flush_before_shutdown(carrier)
        carrier = carrier.transport
    if isinstance(getattr(carrier, "readConnectionLost", None), _HalfClose):
        return bool(carrier.readConnectionLost.seen)
    if not IHalfCloseableDescriptor.providedBy(carrier):
        return False
    carrier.readConnectionLost = _HalfClose(carrier)  # type: ignore[method-assign]  # on the instance
    return False


def bottom(transport: Any) -> Any:
    """What carries the bytes of a transport in the end, below TLS and all other wrappers."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def is_under_way(transport: Any) -> bool:
    """Whether its peer does not have all yet, as the system knows. False also where that cannot tell: of a UNIX socket,
    which loses nothing, of a stream, of what is no socket, and elsewhere than on Linux."""
    try:
        info = bottom(transport).getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    except (AttributeError, OSError):
        return False
    return info[0] in _UNDER_WAY


def _flush_before_shutdown(session: Any) -> None:
    """Have a TLS session send what it gathers, for one turn, also when the client's close_notify comes in that turn."""
    if "_shutdownTLS" in vars(session):
        return
    shutdown = session._shutdownTLS

    def flush_and_shut_down() -> None:
        session._aggregator.flush()
        shutdown()

    session._shutdownTLS = flush_and_shut_down


def close_when_sent(transport: Any) -> None:
    """Close for a protocol that does not do so itself: what it has written is sent, and what a pull producer still has.

    A push producer is not waited for, as `loseConnection` would do: it may never end, least of all when it is the
    transport itself, registered so that a client which does not read is not read from either.
    """
    if getattr(transport, "producer", None) is not None and transport.streamingProducer:
        transport.unregisterProducer()
    transport.loseConnection()


class _HalfClose:
    """Takes the place of a transport's `readConnectionLost`."""

    __slots__ = ("_bottom", "seen")

    def __init__(self, bottom: Any) -> None:
        self._bottom = bottom
        self.seen = False

    def __call__(self, reason: Failure) -> None:
        if self.seen:
            # Whoever resumes reading after a half-close reads the end of input again.
            return
        self.seen = True
        layers = [self._bottom, *_wrappers(self._bottom.protocol)]
        try:
            if len(layers) == 1:  # and so it is its own slot
                _end_input(self._bottom, self._bottom.protocol)
            elif any(isinstance(layer, TLSMemoryBIOProtocol) for layer in layers):
                for layer in reversed(layers):
                    close_when_sent(layer)
            else:
                _end_input(layers[-1], _slot(layers[-1]).protocol)
        except Exception:
            failure = Failure()
            _log.failure("A protocol failed at the end of its input", failure=failure)
            self._bottom.connectionLost(failure)


def _end_input(transport: Any, protocol: Any) -> None:
    receiver = IHalfCloseableProtocol(protocol, None)
    if receiver is None:
        close_when_sent(transport)
    else:
        receiver.readConnectionLost()


def _wrappers(protocol: Any) -> Iterator[Any]:
    while isinstance(protocol, ProtocolWrapper):
        yield protocol
        protocol = protocol.wrappedProtocol


class _Slot:
    """The attribute of some object that holds a transport's protocol."""

    __slots__ = ("_name", "_owner")

    def __init__(self, owner: Any, name: str) -> None:
        self._owner = owner
        self._name = name

    @property
    def protocol(self) -> Any:
        return getattr(self._owner, self._name, None)

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        setattr(self._owner, self._name, protocol)


def _slot(transport: Any) -> Any:
    """Where the protocol of `transport` is: what has it as its attribute `protocol`, or stands for that.

    Raises:
        HandoverError: It is nowhere.
    """
    slot = transport
    if isinstance(transport, ProtocolWrapper):
        slot = _Slot(transport, "wrappedProtocol")
    elif getattr(transport, "TLS", False):
        # After startTLS the connection's own slot holds the TLS layer; writing there would cut it out.
        slot = _Slot(transport.protocol, "wrappedProtocol")
    if getattr(slot, "protocol", None) is None:
        raise HandoverError(f"{transport!r} has no protocol to take the place of: it keeps none, or it is closed")
    return slot


# What a protocol does to its transport that decides whether it can be given its early bytes.
_WATCHED = ("pauseProducing", "resumeProducing", "loseConnection", "abortConnection")


@implementer(IHalfCloseableProtocol)
class _Gate:
    """Stands in the slot until the new protocol has had its early bytes, or until the connection is lost if it failed.

    Meanwhile, and no longer, the transport's methods that pause, resume and close are watched: there is no public way
    to ask a transport whether it is paused.
    """

    def __init__(self, transport: Any, protocol: IProtocol, held: list[bytes], eof: bool) -> None:
        self.transport = transport
        self.protocol = protocol
        self.failure: Failure | None = None
        self._held = held
        self._eof = eof
        self._paused = False
        self._closed = False
        self._busy = False
        self._watching = False
        self._abort: IDelayedCall | None = None

    def connect(self, connected: Callable[[], object] | None) -> None:
        self._watch()
        self._busy = True
        self._guard(self.protocol.makeConnection, self.transport)
        if connected is not None and self.failure is None:
            self._guard(connected)
        self._busy = False
        self._deliver()

    def retire_for(self, successor: _Gate) -> None:
        """The protocol has handed the transport on, while it was being connected: so do we, with what came after."""
        self._unwatch()
        self._closed = True
        successor._held += self._held
        successor._eof |= self._eof
        self._held = []

    def dataReceived(self, data: bytes) -> None:
        # A TLS session hands out what it had read already although its transport is paused.
        if not self._closed:
            self._held.append(data)
            self._deliver()

    def readConnectionLost(self) -> None:
        self._eof = True
        self._deliver()

    def writeConnectionLost(self) -> None:
        receiver = IHalfCloseableProtocol(self.protocol, None)
        if receiver is not None:
            receiver.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        self._closed = True
        self._unwatch()
        if self._abort is not None and self._abort.active():
            self._abort.cancel()
        self.protocol.connectionLost(self.failure or reason)

    def _deliver(self) -> None:
        """Give what is held, and step aside when nothing is left."""
        if self._busy:
            return
        self._busy = True
        while self._held and not (self._paused or self._closed):
            data, self._held = b"".join(self._held), []
            self._guard(self.protocol.dataReceived, data)
        self._busy = False
        if not (self._paused or self.failure):
            self._step_aside()

    def _step_aside(self) -> None:
        self._unwatch()
        slot = self._place()
        if slot is None or slot.protocol is not self:
            return
        slot.protocol = self.protocol
        if self._eof and not self._closed:
            self._guard(_end_input, self.transport, self.protocol)

    def _place(self) -> Any:
        """Looked up each time: startTLS may have wrapped us, or the protocol given the transport on or lost it."""
        try:
            return _slot(self.transport)
        except HandoverError:
            return None

    def _guard(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except Exception:
            self.fail(Failure())

    def fail(self, failure: Failure) -> None:
        """The protocol has failed: close, and stay in its place to tell it so."""
        _log.failure("{protocol!r} failed as it took its connection", failure=failure, protocol=self.protocol)
        self.failure = failure
        self._closed = True
        self._held = []
        self._unwatch()
        slot = self._place()
        if slot is None:
            return
        if slot.protocol is self.protocol:
            slot.protocol = self
        if getattr(self.transport, "producer", None) is not None:
            # Left registered, it would keep the connection open.
            self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._abort = _call_later(self.transport, CLOSE_SECONDS, self.transport.abortConnection)

    def _watch(self) -> None:
        self._watching = True
        for name in _WATCHED:
            setattr(self.transport, name, self._watched(name, getattr(self.transport, name)))

    def _unwatch(self) -> None:
        if self._watching:
            self._watching = False
            for name in _WATCHED:
                delattr(self.transport, name)

    def _watched(self, name: str, original: Callable[[], object]) -> Callable[[], object]:
        def call() -> None:
            original()
            if name == "pauseProducing":
                self._paused = True
            elif name == "resumeProducing":
                self._resumed()
            else:
                self._closed = True

        return call

    def _resumed(self) -> None:
        if self._paused:
            self._paused = False
            # In a turn of its own, as bytes from the network would come: never inside the protocol's resumeProducing.
            _call_later(self.transport, 0, self._deliver)


def _call_later(transport: Any, seconds: float, function: Callable[[], object]) -> IDelayedCall:
    clock: Any = getattr(transport, "reactor", None)
    if clock is None:
        from twisted.internet import reactor as clock  # a transport that does not say whose it is: the installed one's
    call: IDelayedCall = clock.callLater(seconds, function)
    return call
