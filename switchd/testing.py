"""For tests of protocols and plugins: an in-memory wire, ways to cut bytes, and a check of a whole plugin.

    wire = Wire(AddOne(AddOne.Options()))
    wire.send(b"41\\n")
    assert wire.received == b"42\\n"

The transport behaves as Twisted's TCP transport does: what is written leaves in a later turn, `connectionLost` never
comes inside `loseConnection`, a paused transport delivers nothing, an exception in `dataReceived` ends the
connection. The clock is a `task.Clock`; nothing sleeps, and nothing happens but in the methods of `Wire`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableDescriptor,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from switchd import negotiation
from switchd.budgets import Bounds
from switchd.interfaces import Accept, Answer, Context, Header, ISession, ISwitch, ISwitchPlugin, Offer, Refuse, Request

_log = Logger()

CLIENT = IPv4Address("TCP", "192.0.2.1", 50000)
SERVER = IPv4Address("TCP", "192.0.2.2", 80)

TURNS = 10_000
"""Turns of the clock that `Wire.turn` allows before it says that the protocol never comes to rest."""


@implementer(ITCPTransport, IConsumer, IPushProducer, IHalfCloseableDescriptor)
class MemoryTransport:
    """The server's end of a `Wire`: what the protocol under test has as its transport."""

    bufferSize = 65536
    """Bytes that may wait for the client before a streaming producer is paused, as in Twisted."""

    def __init__(self, reactor: Clock, peer: IAddress = CLIENT, host: IAddress = SERVER) -> None:
        self.reactor = reactor
        self.protocol: Any = None
        self.connected = True
        self.disconnected = False
        self.disconnecting = False
        self.reading = True
        self.producer: Any = None
        self.streamingProducer = False
        self.producerPaused = False
        self.noDelay = False
        self.sent = bytearray()
        self.sent_eof = False
        self.client_reads = True
        self.reason: Failure | None = None
        self._peer, self._host = peer, host
        self._buffer = bytearray()
        self._inbox: list[bytes | None] = []  # segments, and None for the client's FIN
        self._half_closing = False
        self._aborting = False
        self._scheduled = False

    # What a protocol calls

    def write(self, data: bytes) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"Data must be bytes, not {type(data).__name__}")
        if self.connected and not self._half_closing and not self._aborting:
            self._buffer += data
            self._pause_producer_if_full()
            self._schedule()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.reading = False
            self._schedule()

    def loseWriteConnection(self) -> None:
        self._half_closing = True
        self._schedule()

    def abortConnection(self) -> None:
        if self.connected and not self._aborting:
            self._aborting = True
            self.reading = False
            self.reactor.callLater(0, lambda: self.connectionLost(Failure(ConnectionAborted())))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self.producer is not None:
            raise RuntimeError(f"{self.producer!r} is registered already")
        if not self.connected:
            producer.stopProducing()
            return
        self.producer, self.streamingProducer = producer, streaming
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        self._schedule()

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.connected and not self.disconnecting:
            self.reading = True
            self._schedule()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> Any:
        return self._peer

    def getHost(self) -> Any:
        return self._host

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.noDelay = enabled

    def getTcpNoDelay(self) -> bool:
        return self.noDelay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return False

    # What a reactor calls

    def readConnectionLost(self, reason: Failure) -> None:
        receiver = IHalfCloseableProtocol(self.protocol, None)
        if receiver is None:
            self.connectionLost(reason)
        else:
            receiver.readConnectionLost()

    def writeConnectionLost(self, reason: Failure) -> None:
        self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected:
            return
        self.connected, self.disconnected, self.reading = False, True, False
        self.reason = reason
        if self.producer is not None:
            self.producer.stopProducing()
            self.producer = None
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(reason)

    # What a Wire calls

    def arrive(self, segment: bytes | None) -> None:
        """A segment from the client, or None for its FIN; it waits while the transport is paused."""
        self._inbox.append(segment)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        """One turn of the reactor for this descriptor: first what came, then what goes, as Twisted does it."""
        self._scheduled = False
        try:
            self._read()
            self._write()
        except Exception:
            failure = Failure()
            _log.failure("Unhandled error in a protocol", failure=failure)
            self.connectionLost(failure)

    def _read(self) -> None:
        if not (self.reading and self._inbox):
            return
        segment = self._inbox.pop(0)
        if segment is None:
            self.reading = False
            self._inbox.insert(0, None)  # whoever resumes reading reads the end of input again
            self.readConnectionLost(Failure(ConnectionDone()))
        else:
            self.protocol.dataReceived(segment)
        if self.reading and self._inbox:
            self._schedule()

    def _write(self) -> None:
        if not self.connected or self._aborting or not self.client_reads:
            return
        self.sent += self._buffer
        self._buffer.clear()
        if self.producer is not None and (self.producerPaused or not self.streamingProducer):
            self.producerPaused = False
            self.producer.resumeProducing()
        elif self.disconnecting:
            self.sent_eof = True
            self.connectionLost(Failure(ConnectionDone()))
        elif self._half_closing and not self.sent_eof:
            self.sent_eof = True
            receiver = IHalfCloseableProtocol(self.protocol, None)
            if receiver is not None:
                receiver.writeConnectionLost()

    def _pause_producer_if_full(self) -> None:
        if self.producer is not None and self.streamingProducer and len(self._buffer) > self.bufferSize:
            self.producerPaused = True
            self.producer.pauseProducing()


class Wire:
    """A client's end of a connection, in memory.

    Args:
        server: A protocol, or a factory that builds one; it is connected at once.
        clock: The clock that protocol and transport share. None: one of its own.

    Attributes:
        clock: Advance it to let time pass.
        transport: The server's end.
    """

    def __init__(
        self,
        server: IProtocol | Factory[Any],
        clock: Clock | None = None,
        peer: IAddress = CLIENT,
        host: IAddress = SERVER,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.transport = MemoryTransport(self.clock, peer, host)
        protocol: Any = server.buildProtocol(peer) if hasattr(server, "buildProtocol") else server
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)
        self.turn()

    def send(self, data: bytes) -> None:
        """Send `data` as one segment, and let everything happen that follows without time passing."""
        self.transport.arrive(data)
        self.turn()

    def half_close(self, data: bytes = b"") -> None:
        """Send FIN, behind `data`: the client has nothing more to say, and still reads."""
        if data:
            self.transport.arrive(data)
        self.transport.arrive(None)
        self.turn()

    def reset(self) -> None:
        """Send RST: the connection is gone."""
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.turn()

    def stop_reading(self) -> None:
        """Leave what the server writes in its buffers."""
        self.transport.client_reads = False

    def resume_reading(self) -> None:
        """Read again."""
        self.transport.client_reads = True
        self.transport._schedule()
        self.turn()

    def turn(self) -> None:
        """Let everything happen that needs no time.

        Raises:
            AssertionError: It did not come to rest within `TURNS` turns.
        """
        # As the reactor does it, and unlike Clock.advance: a call that is made in one turn runs in the next.
        for _ in range(TURNS):
            due = [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]
            if not due:
                return
            for call in due:
                if call.active():
                    self.clock.calls.remove(call)
                    call.called = 1
                    call.func(*call.args, **call.kw)
        raise AssertionError(f"the protocol has not come to rest after {TURNS} turns")

    @property
    def received(self) -> bytes:
        """Everything that the server has sent so far."""
        return bytes(self.transport.sent)

    def take(self) -> bytes:
        """What the server has sent since the last call."""
        data = self.received
        self.transport.sent.clear()
        return data

    @property
    def closed(self) -> bool:
        """Whether the connection is over."""
        return self.transport.disconnected


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """Ways in which `data` may arrive: whole, byte by byte, and in two segments cut at every place."""
    yield [data]
    yield [data[index : index + 1] for index in range(len(data))]
    for index in range(1, len(data)):
        yield [data[:index], data[index:]]


def request(
    *,
    method: bytes = b"GET",
    path: bytes = b"/",
    headers: Sequence[Header] = (),
    body: bytes = b"",
    upgrade: bytes = b"",
) -> Request:
    """A request as `ISwitch.offer` gets it, with the fields of an upgrade to `upgrade` before `headers`.

    As it comes by extended CONNECT it is `attrs.evolve(request(...), how="connect", method=b"CONNECT", headers=...)`.
    """
    offered = ((b"host", b"example.org"), (b"connection", b"upgrade"), (b"upgrade", upgrade))
    return Request(
        method=method,
        target=path,
        path=path,
        headers=(*offered, *headers),
        body=body,
        how="upgrade",
        peer=CLIENT,
        host=SERVER,
        secure=False,
        id="test",
    )


@implementer(ISession)
@attrs.frozen
class Session:
    """A session as `Accept.build` gets it, of a server that speaks nothing but the switch."""

    request: Request

    def resume_http(self, alpn: bytes = b"http/1.1", h2_settings: bytes | None = None) -> IProtocol:
        """See `ISession`."""
        raise ValueError("this session is a test's; it has no HTTP to go back to")


def assert_plugin_conforms(
    plugin: Any,
    options: Any = None,
    *,
    method: bytes = b"GET",
    path: str = "/",
    headers: Sequence[Header] = (),
    body: bytes = b"",
) -> None:
    """Assert that a plugin keeps the contract of `switchd.interfaces`, as far as that can be seen from outside.

    It is loaded and made as a configuration would do it, then asked about each of its tokens, by an upgrade and by
    extended CONNECT, with time passing until it answers. A protocol that it builds is connected to a `Wire`, fed
    nothing, and disconnected; then it is asked once more, and what it accepts is abandoned.

    Args:
        plugin: The object that `twisted/plugins/` holds.
        options: An instance of its options. None: made without arguments, which needs defaults for all of them.
        method: What a request must be for the plugin to accept it.
        path: The path of the entry, and of the request.
        headers: The request's header fields besides the offer.
        body: The request's body.

    Raises:
        AssertionError: One sentence that says what the contract asks and what was found.
        Exception: Whatever the plugin raises.
    """
    _assert_declares(plugin)
    clock = Clock()
    cls, make = plugin.load()
    switch = make(cls() if options is None else options, Context(clock, path, Path()))
    verifyObject(ISwitch, switch)
    for token in plugin.tokens:
        asked = request(method=method, path=path.encode(), headers=headers, body=body, upgrade=token)
        connect = attrs.evolve(asked, method=b"CONNECT", how="connect", body=b"", headers=(asked.headers[0], *headers))
        _assert_accepts(switch, token, asked, clock)
        _assert_accepts(switch, token, connect, clock)


def _assert_declares(plugin: Any) -> None:
    verifyObject(ISwitchPlugin, plugin)
    _assert(IPlugin(plugin, None) is not None, "a plugin provides twisted.plugin.IPlugin too")
    _assert(isinstance(plugin.name, str) and plugin.name != "", f"name is a text, not {plugin.name!r}")
    _assert(isinstance(plugin.tokens, tuple) and plugin.tokens != (), "tokens is a tuple with one token or more")
    for token in plugin.tokens:
        _assert(len(negotiation.offers([token])) == 1, f"{token!r} is a protocol name with or without a version")
    loaded = plugin.load()
    _assert(isinstance(loaded, tuple) and len(loaded) == 2, "load() returns (class of options, callable)")
    _assert(attrs.has(loaded[0]), f"the options are an attrs class, not {loaded[0]!r}")
    for reserved in ("path", "protocol", "require", "close", "drain_seconds", *attrs.fields_dict(Bounds)):
        _assert(reserved not in attrs.fields_dict(loaded[0]), f"the option {reserved!r} belongs to switchd")


def _assert_accepts(switch: ISwitch, token: bytes, asked: Request, clock: Clock) -> None:
    (offer,) = negotiation.offers([token])
    candidate = negotiation.Candidate(negotiation.Entry("/", "plugin", (token,), switch), offer, token)
    answer = _answer(switch, asked, offer, clock)
    if isinstance(answer, Refuse):
        negotiation.refusal(candidate, answer, token)
    elif isinstance(answer, Accept):
        negotiation.switching_head(candidate, answer)
        negotiation.connected_fields(candidate, answer)
        _assert_connects(answer.build(Session(asked)))
        again = _answer(switch, asked, offer, clock)
        if isinstance(again, Accept):
            again.abandon()


def _assert_connects(protocol: IProtocol) -> None:
    _assert(IProtocol.providedBy(protocol), f"build() returns an IProtocol, not {protocol!r}")
    wire = Wire(protocol)
    wire.reset()


PATIENCE = 3600
"""Seconds, of a clock that only counts, for which `assert_plugin_conforms` waits for an answer before it cancels it."""


def _answer(switch: ISwitch, asked: Request, offer: Offer, clock: Clock) -> Answer:
    answer: Any = switch.offer(asked, offer)
    if inspect.isawaitable(answer):
        waiting = Deferred.fromCoroutine(_awaited(answer))
        answers: list[Any] = []
        waiting.addBoth(answers.append)
        clock.pump([0] if answers else [1] * PATIENCE)
        if not answers:
            waiting.cancel()
            return None
        (answer,) = answers
        if isinstance(answer, Failure):
            answer.raiseException()
    right = answer is None or isinstance(answer, Accept | Refuse)
    _assert(right, f"offer() answers Accept, Refuse or None, not {answer!r}")
    return cast(Answer, answer)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def _assert(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)
