"""The end of a server: every connection is told, in the language that it speaks, and has its time.

HTTP is closed when it waits for nothing, or after the answer that is being made. A protocol that has switched says
goodbye (`IDrain`), what it has written until then is sent for as long as there is time, and the connection is closed.
What is left then is aborted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd import events
from switchd.deadlines import Timer
from switchd.errors import HandoverError
from switchd.factory import Connection, SwitchFactory
from switchd.first import First
from switchd.handover import LOOK_SECONDS, close_when_sent, handover, is_under_way, pass_half_close
from switchd.http1 import Channel
from switchd.http2 import Session
from switchd.interfaces import IDrain

FIRST_SECONDS = 1.0
"""How long a client that has come just before, and has asked for nothing yet, may take to end its TLS handshake and to
ask: that is on its way, and a connection that is closed meanwhile is reset. Ample for a round trip."""

_log = Logger()


def drain(factory: SwitchFactory, seconds: float, reactor: Any) -> Deferred[None]:
    """End every connection: HTTP after the answer that is being made, a switched protocol after its farewell.

    Args:
        factory: Whose connections.
        seconds: What is left then is aborted; a connection whose switch has less, after that.
        reactor: The clock.

    Returns:
        Fires when the last one is gone.
    """
    since = reactor.seconds()
    factory.draining = True
    empty = factory.when_empty()
    connections = frozenset(factory.connections)
    switched = sum(1 for connection in connections if connection.stack)
    factory.tell(events.Draining(len(connections), switched, seconds))
    new = {connection for connection in connections if isinstance(connection.protocol, First)}
    for connection in new:
        connection.ending = "idle"  # unless it asks
    deadlines = _tell(factory, connections - new, seconds, reactor)
    first_seconds = min(FIRST_SECONDS, seconds)

    def tell_new() -> None:
        deadlines.extend(_tell(factory, factory.connections & new, seconds - first_seconds, reactor))

    if new:
        deadlines.append(reactor.callLater(first_seconds, tell_new))
    deadlines.append(reactor.callLater(seconds, cut, factory.connections))

    def over(_: None) -> None:
        for deadline in deadlines:
            if deadline.active():
                deadline.cancel()
        counts: dict[Any, int] = dict(factory.endings)
        factory.tell(events.Drained(seconds=reactor.seconds() - since, **counts))

    return empty.addCallback(over)


def _tell(factory: SwitchFactory, connections: Iterable[Connection], seconds: float, reactor: Any) -> list[Any]:
    """Say goodbye to some. Returns the calls, still to come, that cut those which have less time than `seconds`."""
    have_less: dict[float, set[Connection]] = defaultdict(set)
    for connection in connections:
        own = _say_goodbye(connection, seconds, reactor)
        if own < seconds:
            have_less[own].add(connection)

    def cut_those(few: set[Connection]) -> None:
        cut(factory.connections & few)

    return [reactor.callLater(own, cut_those, few) for own, few in have_less.items()]


def close(factory: SwitchFactory, connections: Iterable[Connection], seconds: float, reactor: Any) -> list[Any]:
    """End some connections, each in its own language.

    Args:
        factory: Whose they are.
        connections: Which.
        seconds: As for `drain`.
        reactor: The clock.

    Returns:
        The calls, still to come, that abort what is left.
    """
    few = set(connections)
    return [
        *_tell(factory, few, seconds, reactor),
        reactor.callLater(seconds, lambda: cut(factory.connections & few)),
    ]


def dismiss(connections: Iterable[Connection]) -> None:
    """Close those that speak HTTP, each after what it is being answered: nobody listens any more where they came in.

    What has switched stays, and so do the streams of HTTP/2 that are open. Who has not asked for anything yet has
    something to ask, and leaves when that is answered; as does what switches back to HTTP.
    """
    for connection in tuple(connections):
        connection.listener.is_closed = True
        match connection.protocol:
            case Channel() as channel:
                channel.finish(patiently=True)
            case Session() as session:
                session.leave()


def cut(connections: Iterable[Connection]) -> None:
    """Abort connections that live: their time is over."""
    for connection in tuple(connections):
        connection.ending = "cut"
        connection.transport.abortConnection()


def _say_goodbye(connection: Connection, seconds: float, reactor: Any) -> float:
    """Returns how many seconds it has."""
    protocol = connection.protocol
    if isinstance(protocol, First | Channel):
        # Said before, as it may be gone when this is over.
        connection.ending = "answered"
        if not protocol.finish():
            connection.ending = "idle"
        return seconds
    if connection.drain_seconds is not None:
        seconds = min(seconds, connection.drain_seconds)
    if connection.ending == "farewell":
        return seconds  # said already: it was idle, or somebody has it closed
    connection.ending = "farewell"
    said = Deferred.fromCoroutine(_farewell(protocol, seconds))
    said.addErrback(lambda failure: _log.failure("{protocol!r} failed to drain", failure=failure, protocol=protocol))
    said.addCallback(lambda _: _close(connection, protocol, reactor))
    said.addErrback(lambda failure: _log.failure("{protocol!r} cannot be closed", failure=failure, protocol=protocol))
    return seconds


async def _farewell(protocol: Any, seconds: float) -> None:
    drains = IDrain(protocol, None)
    said = None if drains is None else drains.drain(seconds)
    if said is not None:
        await said


def _close(connection: Connection, protocol: Any, reactor: Any) -> None:
    """Close, and lose nothing of what was written.

    A TCP connection that is closed while there is something that nobody has read, or when more of it comes, is reset,
    and the reset takes away what is under way to the client. So we say that we are done, and read and drop until the
    client has all, or is done too. TLS does so by itself, as long as somebody reads.
    """
    # The protocol's own transport may be a TLS session upon the connection's.
    transport = getattr(protocol, "transport", None) or connection.transport
    if connection.left or not getattr(transport, "connected", True):
        return  # that has been done, or was its end
    in_tls = ISSLTransport.providedBy(transport)
    if getattr(transport, "disconnecting", False) or not (in_tls or is_under_way(transport)):
        close_when_sent(transport)
    elif pass_half_close(transport):
        close_when_sent(transport)  # there is nothing more to be read
    else:
        connection.left = True
        try:
            handover(transport, _Leaving(protocol, in_tls, reactor))
        except HandoverError:
            close_when_sent(transport)


class _Leaving(Protocol):
    """In the place of a protocol that has said goodbye: drops what comes, and closes when the client has everything.

    Args:
        protocol: Whose place it is; it is told of the end.
        in_tls: Whether it is in a TLS session.
        reactor: The clock.
    """

    transport: Any

    def __init__(self, protocol: Any, in_tls: bool, reactor: Any) -> None:
        self._protocol = protocol
        self._in_tls = in_tls
        self._look = Timer(reactor)

    def connectionMade(self) -> None:
        if self._in_tls:
            close_when_sent(self.transport)
            return
        if self.transport.producer is not None and self.transport.streamingProducer:
            self.transport.unregisterProducer()  # see `close_when_sent`
        self.transport.loseWriteConnection()
        self._await_delivery()

    def _await_delivery(self) -> None:
        if is_under_way(self.transport):
            self._look.start(LOOK_SECONDS, self._await_delivery)
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._look.stop()
        self._protocol.connectionLost(reason)
