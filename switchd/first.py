"""Who a connection's first bytes go to: HTTP/2, HTTP/1.1, or, past both, the protocol that they ask for.

In TLS a connection is HTTP/2 if that was agreed on by ALPN, and then it is from the end of the handshake.

A connection that is to be switched says so in its first segment, whole, nearly always. Then there is no need for all
that HTTP/1.1 has for the requests that come after a first one: the head is read in one piece (`heads`), the first
candidate is asked, and if it accepts at once, that is it. Everything else goes to the HTTP/1.1 channel, which reads the
same bytes from the beginning, and goes on from the answer that was given, if it was.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener, ISSLTransport, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd import heads, http1, http2
from switchd.budgets import Over
from switchd.deadlines import Waiter
from switchd.decision import Foretold, Verdict, first_answer, prepare
from switchd.engine import PREFACE
from switchd.errors import OverBudget
from switchd.handover import bottom, handover, pass_half_close
from switchd.haproxy import when_named
from switchd.interfaces import Accept, Early, Request
from switchd.negotiation import switching_head


class Server(http1.Server, Protocol):
    """What is needed of whoever made it (`factory.SwitchFactory`), besides what a channel needs."""

    speaks_h2c: bool

    def channel(self) -> http1.Channel:
        """A channel that speaks HTTP/1.1."""

    def began_http2(self, connection: Any) -> http2.Session:
        """A connection speaks HTTP/2 from its first byte."""

    def turned_away_http2(self, connection: Any) -> http2.Session:
        """A session for a connection that is to be told in HTTP/2 that there is no room for it."""

    def no_session(self, connection: Any, reason: Failure) -> None:
        """It came to no TLS session."""


@implementer(IHandshakeListener)
class First(TwistedProtocol, Waiter):
    """Tells by its first bytes what a connection is to become.

    Args:
        server: Who made it.
        listener: Where the connection came in.
    """

    server: Server
    transport: Any
    _has_session = False  # in TLS; or it is none of the client's doing that there is none

    def __init__(self, server: Server, listener: Any) -> None:
        self.server = server
        self._listener = listener
        self._received = b""
        self._is_over = False

    def connectionMade(self) -> None:
        server, transport = self.server, self.transport
        carrier = bottom(transport)
        if ITCPTransport.providedBy(carrier):
            carrier.setTcpNoDelay(True)
        carrier.buffered_bytes = self._listener.limits.buffered_bytes
        pass_half_close(transport)
        self._connection = server.opened(transport, self._listener)
        self._wait(self._listener.limits.head_seconds, self.finish)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`. Our SETTINGS need not wait for the client's preface (RFC 9113 section 3.4)."""
        self._has_session = True
        if self.transport.negotiatedProtocol == b"h2" and not self._is_over:
            self._become(self.server.began_http2(self._connection), b"")

    def finish(self) -> bool:
        """Nothing has been asked in time, or the server stops: close. In TLS that waits for the client, for so long.

        Returns:
            False: there is nothing to be answered.
        """
        self._is_over = True
        self.transport.loseConnection()
        self._wait(self._listener.limits.half_closed_seconds, self.transport.abortConnection)
        return False

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        if self._received:
            data = self._received + data
        if self._may_be_http2(data):
            if len(data) < len(PREFACE):
                self._received = data
            else:
                self._become(self.server.began_http2(self._connection), data)
        elif self._received or self.server.draining or not self._switch(data):
            self._become_http1(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wait(None)
        late = self._is_over and not self._has_session and ISSLTransport.providedBy(self.transport)
        if late or reason.check(SSL.Error):
            self.server.no_session(self._connection, reason)

    def _may_be_http2(self, data: bytes) -> bool:
        """Whether a client that speaks HTTP/2 at once ("prior knowledge", RFC 9113 section 3.3) may begin so. In TLS it
        is agreed on by ALPN (section 3.2)."""
        if not self.server.speaks_h2c or data[:1] != PREFACE[:1] or ISSLTransport.providedBy(self.transport):
            return False
        return data.startswith(PREFACE) or PREFACE.startswith(data)

    def _become(self, protocol: Any, data: bytes) -> None:
        self._wait(None)
        if self.server.draining:
            self._connection.ending = "answered"
        handover(self.transport, protocol, data)

    def _become_http1(self, data: bytes, foretold: Foretold | None = None) -> None:
        channel = self.server.channel()
        channel.connection = self._connection
        channel.foretold = foretold
        self._become(channel, data)

    def _switch(self, data: bytes) -> bool:
        """Switch, if these bytes are a request to. Returns whether they are taken care of."""
        limits = self._listener.limits
        head = heads.read(data, limits.head_bytes, limits.header_count) if b"pgrade" in data else None
        if head is None or b"upgrade" not in head.fields.names or len(data) - head.length > limits.early_bytes:
            return False
        path = head.target.partition(b"?")[0]
        asked = self._asked(head, path)
        found = self.server.candidates(asked, b"HTTP/1.1", self.server.switches(path))
        admission = self.server.admission
        if admission.budgets is not None and found.found:
            room = admission.reserve(self._connection, asked, found)
            if isinstance(room, Over):
                return False  # as is said in HTTP/1.1
            found = room
        answer = first_answer(asked, found) if found.found else None
        early = data[head.length :]
        if not isinstance(answer, Accept) or (early and answer.early is Early.REFUSE):
            self._become_http1(data, Foretold(asked, found, answer))
            return True
        verdict = Verdict(found.found[0], answer)
        ready = prepare(verdict, http1.Session(asked, self.server, self._connection), switching_head)
        if ready is None:
            admission.release(asked)
            self._become_http1(data, Foretold(asked, found, answer, failed=True))
            return True
        self.server.switched(self._connection, asked, verdict)
        self._wait(None)
        switching, protocol = ready
        self.transport.write(switching)
        handover(self.transport, protocol, early)
        return True

    def _asked(self, head: heads.Head, path: bytes) -> Request:
        server, transport = self.server, self.transport
        peer: IAddress = transport.getPeer()
        proxies: tuple[IAddress, ...] = ()
        if server.proxies is not None:
            peer, proxies = server.way(self._connection, head.fields.lines)
        return Request(
            method=head.method,
            target=head.target,
            path=unquote_to_bytes(path),
            headers=head.fields.lines,
            body=b"",
            how="upgrade",
            peer=peer,
            host=transport.getHost(),
            secure=ISSLTransport.providedBy(transport),
            id=server.request_id(self._connection),
            proxies=proxies,
        )


class Judged(First):
    """The same where there may be no room for a connection: it is told so when it has said something, in its own
    version of HTTP, as it would not understand anything that came before that."""

    def connectionMade(self) -> None:
        super().connectionMade()
        # A proxy says, before anything else, for whom it connects.
        self._judge(is_anybodys=when_named(self.transport, self._judge))

    def _judge(self, is_anybodys: bool = False) -> None:
        admission = self.server.admission
        self._over = admission.admit(self._connection, is_anybodys)
        if self._over is not None and not admission.may_turn_away():
            self._wait(None)
            self._is_over = self._has_session = True
            admission.turned_away(self._connection, self._over, answered=False)
            self.transport.abortConnection()
        elif admission.knows_clients and not is_anybodys:
            self._obey(admission.listener(self._connection))

    def _obey(self, listener: Any) -> None:
        """What holds for a client may be something else than what holds where it has come in."""
        self._listener = self._connection.listener = listener
        bottom(self.transport).buffered_bytes = listener.limits.buffered_bytes
        self._wait(listener.limits.head_seconds, self.finish)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`."""
        if self._over is None:
            super().handshakeCompleted()
            return
        self._has_session = True
        if self.transport.negotiatedProtocol == b"h2" and not self._is_over:
            self._turn_away_http2(self._over)

    def dataReceived(self, data: bytes) -> None:
        if self._over is None:
            super().dataReceived(data)
        elif not self._is_over:
            self._turn_away(self._received + data, self._over)

    def _turn_away(self, data: bytes, over: Over) -> None:
        if not self._may_be_http2(data):
            channel = self.server.channel()
            channel.connection = self._connection
            self._become(channel, b"")
            channel.reject(OverBudget(over))
        elif len(data) < len(PREFACE):
            self._received = data
        else:
            self._turn_away_http2(over)

    def _turn_away_http2(self, over: Over) -> None:
        session = self.server.turned_away_http2(self._connection)
        self._become(session, b"")
        session.turn_away(OverBudget(over))
