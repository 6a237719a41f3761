"""Any Twisted protocol inside a WebSocket: what it writes becomes messages, and messages are what it receives.

A stream has no message boundaries, so none are promised: one write is one message, and each message is one
`dataReceived`. Both kinds of message are taken; text arrives as UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.interfaces import IDrain
from switchd.protocols.websocket.channel import Channel, farewell
from switchd.protocols.websocket.flow import Flow
from switchd.protocols.websocket.lean import Lean

_CLEAN = ConnectionDone()


@implementer(ITransport, IConsumer, IPushProducer)
class MessageTransport:
    """What a carried protocol has as its transport.

    There is no half-close in WebSocket, but a closing handshake: a side that has sent Close sends nothing more, and may
    still receive until it is answered. So `loseWriteConnection` sends Close and goes on receiving, and an
    `IHalfCloseableProtocol` is told of the peer's Close in time to write its last words.
    """

    disconnecting = False

    def __init__(self, carrier: Carrier, flow: Flow, binary: bool) -> None:
        self._carrier = carrier
        self._flow = flow
        self._binary = binary

    def write(self, data: bytes) -> None:
        """Send a message; nothing, if there is nothing in it or the WebSocket is closing.

        Raises:
            UnicodeDecodeError: Messages are text, and this is none.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"Data must be bytes, not {type(data).__name__}")
        if data and self._carrier.state == WebSocketServerProtocol.STATE_OPEN:
            if not self._binary:
                data.decode("utf-8")
            self._carrier.sendMessage(data, self._binary)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send one message."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Send what is written, then close, with 1000."""
        self.disconnecting = True
        self.loseWriteConnection()

    def loseWriteConnection(self) -> None:
        """Send what is written, then Close, with 1000."""
        if self._carrier.state == WebSocketServerProtocol.STATE_OPEN:
            self._carrier.sendClose(1000)

    def abortConnection(self) -> None:
        """Close the connection at once, without a word."""
        self.disconnecting = True
        self._carrier.dropConnection(abort=True)

    def getPeer(self) -> IAddress:
        """Who is connected to us: the client or, if there are any, the nearest proxy."""
        peer: IAddress = self._carrier.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """The address that it reached."""
        host: IAddress = self._carrier.transport.getHost()
        return host

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        self._carrier.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._carrier.unregisterProducer()

    def pauseProducing(self) -> None:
        """Deliver nothing for now, and stop reading."""
        self._flow.hold()

    def resumeProducing(self) -> None:
        """Deliver again."""
        self._flow.release()

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.loseConnection()


@implementer(IDrain)
class Carrier(Channel, Lean):
    """Carries a Twisted protocol.

    Args:
        carried: The protocol, not yet connected.
        binary: See `MessageTransport`.
    """

    def __init__(self, carried: IProtocol, binary: bool) -> None:
        super().__init__()
        self.carried: Any = carried
        self._stream: MessageTransport | None = None
        self._binary = binary
        self._failure: Failure | None = None

    def onOpen(self) -> None:
        """The WebSocket is open: so is the stream."""
        self._stream = MessageTransport(self, self._switchd.flow, self._binary)
        self._told(self.carried.makeConnection, self._stream)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message is input."""
        if self._stream is not None and not self._stream.disconnecting:
            self._told(self.carried.dataReceived, payload)

    def onCloseFrame(self, code: int, reasonRaw: bytes) -> Any:
        """The peer's Close is the end of input."""
        if self.state == self.STATE_OPEN and IHalfCloseableProtocol.providedBy(self.carried):
            self._told(self.carried.readConnectionLost)
        return super().onCloseFrame(code, reasonRaw)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, which is clean only if both sides have sent Close."""
        super().connectionLost(reason)
        if self._stream is None:
            return
        if self._failure is None:
            self._failure = Failure(_CLEAN if self.wasClean else self._unclean(reason))
        self.carried.connectionLost(self._failure)

    async def drain(self, seconds: float) -> None:
        """The carried protocol's own farewell, if it has one, then WebSocket's."""
        drains = IDrain(self.carried, None)
        said = None if drains is None else drains.drain(seconds)
        if said is not None:
            await said
        if self._stream is not None:
            self._stream.disconnecting = True  # it hears no more
        await farewell(self)

    def _switchd_handler(self) -> object:
        return self.carried

    def _told(self, method: Any, *arguments: Any) -> None:
        try:
            method(*arguments)
        except Exception:
            self._failure = Failure()
            raise

    def _unclean(self, reason: Failure) -> BaseException:
        clean = reason.check(ConnectionDone)
        return ConnectionLost(self.wasNotCleanReason or "") if clean else reason.value or ConnectionLost()
