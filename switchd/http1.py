"""HTTP/1.1 that can switch: twisted.web's channel and request, subclassed.

What twisted.web does well stays its own: parsing, pipelining, back-pressure, resources. Here is what it leaves to us:
the switch, deadlines and bounds for everything that a client may send, an answer for a client that half-closes, and
the answers that RFC 9110 and 9112 ask for where it closes or accepts silently. This, `request` and `lazy` are the only
modules that know twisted.web's inside; `tests/test_http1_internals.py` and `tests/test_lazy.py` fail when that changes.

A connection is in one of these phases, each with one deadline (`Waiter._wait`):

    idle ──first byte──► head ──► body ──► busy ──answer written──► idle
     │ keepalive_seconds  │ head_  │ body_  ├─ decision pending: switch_seconds ──► 503
     ▼ close              │ seconds│ seconds├─ client half-closed: half_closed_seconds ──► close
                          ▼ 408    ▼ 408    ├─ switched: this object is garbage
                                            └─ last answer, or an error ──► lingering: linger_seconds ──► close
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _ChunkedTransferDecoder
from twisted.web.http_headers import Headers
from zope.interface import implementer

from switchd import heads, messages, negotiation
from switchd.admission import Admission
from switchd.budgets import Over
from switchd.config import Limits
from switchd.deadlines import Deadlines, Waiter
from switchd.decision import Decision, Foretold, Verdict, abandon, early_bytes_for, prepare, seconds_for
from switchd.errors import OverBudget, RequestError
from switchd.events import escaped
from switchd.forwarded import Proxies, Way
from switchd.handover import handover, pass_half_close
from switchd.interfaces import Accept, Early, Header, ISession, Refuse
from switchd.interfaces import Request as Asked
from switchd.lazy import LazyRequest
from switchd.request import OrdinaryRequest, default_fields

LINGER_BYTES = 64 * 1024 * 1024
"""How much of what a client goes on sending is read and dropped after an error answer: enough that a client which sends
a whole upload before it reads finds the answer, and not for ever."""

_log = Logger()


class Server(Protocol):
    """What a channel needs of whoever made it (`factory.SwitchFactory`)."""

    reactor: Any
    advertise: bool
    header: bytes
    draining: bool
    admission: Admission
    proxies: Proxies | None

    def switches(self, path: bytes) -> tuple[negotiation.Entry, ...]:
        """The `[[switch]]` entries that match a raw path, in the order of asking."""

    def candidates(
        self, asked: Asked, version: bytes, entries: tuple[negotiation.Entry, ...]
    ) -> negotiation.Candidates:
        """See `negotiation.candidates`."""

    def deadlines(self, seconds: float) -> Deadlines:
        """Where to wait for so long."""

    def opened(self, transport: Any, listener: Any = None) -> Any:
        """A connection has come, through a `[[listen]]` or, None, through none; returns what stands for it."""

    def request_id(self, connection: Any) -> str:
        """A name for the next request on it."""

    def way(self, connection: Any, headers: Iterable[Header]) -> Way:
        """How a request with these fields has come on it."""

    def switched(self, connection: Any, asked: Asked, verdict: Verdict) -> None:
        """It is about to change protocol."""

    def rejected(self, connection: Any, error: RequestError, client: IAddress | None = None) -> None:
        """A request on it broke the rules; that of `client`, if that is known."""

    def dropped(self, connection: Any, client: IAddress, path: bytes) -> None:
        """It is closed without an answer, as its path's `[[switch]]` has it."""

    def refused(
        self,
        connection: Any,
        client: IAddress,
        path: bytes,
        found: negotiation.Candidates,
        status: int,
        candidate: negotiation.Candidate | None = None,
    ) -> None:
        """An offer on it is answered by a status; by `candidate`, or by nobody in particular."""

    def ignored(self, connection: Any, client: IAddress, path: bytes, found: negotiation.Candidates) -> None:
        """An offer on it is passed over."""

    def resume(self, connection: Any, asked: Asked) -> Channel:
        """A channel that answers `asked` first."""

    def resume_http2(self, connection: Any, asked: Asked, settings: bytes | None) -> IProtocol:
        """The same in HTTP/2; `settings` are those of h2c by Upgrade."""


class _BoundedChunks(_ChunkedTransferDecoder):
    """A chunked body that may be so long and no longer."""

    def __init__(self, limits: Limits, chunk: Callable[[bytes], None], finish: Callable[[bytes], None]) -> None:
        super().__init__(self._count, finish)
        self._chunk = chunk
        self._left = limits.body_bytes
        self._maxTrailerHeadersSize = limits.head_bytes

    def _dataReceived_CHUNK_LENGTH(self) -> bool:
        more: bool = super()._dataReceived_CHUNK_LENGTH()
        if more:
            messages.check_chunk(self.length, self._left)
        return more

    def _count(self, data: bytes) -> None:
        self._left -= len(data)
        self._chunk(data)


class _Unswitched(OrdinaryRequest):
    """What a request is that no switch takes."""

    channel: Channel

    def unclaimed(self, entries: tuple[negotiation.Entry, ...], found: negotiation.Candidates | None = None) -> None:
        """No switch takes it.

        Args:
            entries: Those that match its path.
            found: Who was asked about what it offers; None: it has no `Upgrade` field.
        """
        fate = negotiation.unclaimed(entries, () if found is None else found.offers, self.isSecure)
        if found is not None:
            self._tell_of(found, fate)
        if fate is negotiation.Unclaimed.CLOSED:
            self.channel.server.dropped(self.channel.connection, self.client, self.path)
            self.channel.drop()
        elif fate is negotiation.Unclaimed.REQUIRED:
            required = negotiation.required(entries, self.isSecure())
            self.answer(426, negotiation.advertisement(required), b"This path is served by another protocol only.\n")
        else:
            self.render_ordinary()

    def _tell_of(self, found: negotiation.Candidates, fate: negotiation.Unclaimed) -> None:
        server, connection = self.channel.server, self.channel.connection
        if fate is negotiation.Unclaimed.REQUIRED:
            server.refused(connection, self.client, self.path, found, 426)
        else:
            server.ignored(connection, self.client, self.path, found)

    def write(self, data: bytes) -> None:
        """See `twisted.web.server.Request`; the head is complete now, so this is where to add to it."""
        channel = getattr(self, "channel", None)
        if not self.startedWriting and channel is not None and self.code != 101 and self.clientproto == b"HTTP/1.1":
            channel.advertise(self)
        super().write(data)

    def retire(self) -> None:
        """The connection has been switched: nothing more will be written, and nothing of this is kept."""
        content = vars(self).get("content")
        if content is not None:
            content.close()
        del self.channel


class Request(_Unswitched):
    """A request, read line by line, that may turn out to be a switch.

    Attributes:
        target: The request target as sent.
        fields: The header fields in the order in which they came, with names in lower case.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.target = b""
        self.fields: list[Header] = []

    def process(self) -> None:
        """Called when the request is complete: let the switches have it, or else render it."""
        foretold, self.channel.foretold = self.channel.foretold, None
        if foretold is not None:
            self.channel.go_on(self, foretold)
            return
        entries = self.channel.server.switches(self.path)
        if not self.requestHeaders.hasHeader(b"Upgrade"):
            self.unclaimed(entries)
            return
        asked = self.asked()
        found = self.channel.server.candidates(asked, self.clientproto, entries)
        if found.found:
            self.channel.decide(self, asked, found)
        else:
            self.unclaimed(entries, found)

    def asked(self) -> Asked:
        """This request as a value, for plugins."""
        channel = self.channel
        body = self.content.read()
        self.content.seek(0)
        return Asked(
            method=self.method,
            target=self.target,
            path=unquote_to_bytes(self.path),
            headers=tuple(self.fields),
            body=body,
            how="upgrade",
            peer=self.client,
            host=channel.getHost(),
            secure=channel.isSecure(),
            id=channel.server.request_id(channel.connection),
            proxies=self.proxies,
        )


class QuickRequest(_Unswitched, LazyRequest):
    """A request without a body that offers nothing, read in one piece (`heads`)."""

    def process(self) -> None:
        """Called when the request is complete."""
        self.unclaimed(self.channel.server.switches(self.path))

    def _is_plain(self) -> bool:
        # Without a length, twisted.web sends chunks.
        return b"Content-Length" in self.responseHeaders._rawHeaders and super()._is_plain()

    def _begin(self, data: bytes) -> None:
        self.channel.writeHeaders(b"HTTP/1.1", b"%d" % self.code, self.code_message, self.responseHeaders, data)


def _is_in_handshake(transport: Any) -> bool:
    """Whether it is a TLS session that is not open yet. Written to now, it would never be."""
    if not isinstance(transport, TLSMemoryBIOProtocol):
        return False
    try:
        transport.getHandle().do_handshake()  # once it is done there is nothing to do
    except SSL.Error:
        return True
    return False


@implementer(ISession)
@frozen
class Session:
    """See `ISession`."""

    request: Asked
    channel_server: Server
    connection: Any

    def resume_http(self, alpn: bytes = b"http/1.1", h2_settings: bytes | None = None) -> IProtocol:
        """See `ISession`."""
        if alpn == b"h2":
            return self.channel_server.resume_http2(self.connection, self.request, h2_settings)
        if alpn != b"http/1.1":
            raise ValueError(f"{alpn!r} is not spoken by this server")
        return self.channel_server.resume(self.connection, self.request)


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class Channel(HTTPChannel, Waiter):
    """One connection, as long as it speaks HTTP/1.1.

    Attributes:
        server: Who made it. Set, like `site` and `factory`, before it is connected.
        connection: What stands for the connection in logs, events and at shutdown.
        limits: What it may take.
        replay: A request to answer before any that the client sends; None for an ordinary connection.
        foretold: What has been asked already about the first request; None: nothing.
    """

    server: Server
    transport: Any
    _networkProducer: Any
    connection: Any = None
    limits: Limits
    replay: Asked | None = None
    foretold: Foretold | None = None
    # Counted by us, with an answer: so not by twisted.web, which has none.
    maxHeaders = totalHeadersSize = 1 << 62

    def __init__(self) -> None:
        super().__init__()
        self._idle = True
        self._eof = False
        self._lingering = False
        self._dropped = 0
        self._decision: Decision | None = None

    # The connection

    def connectionMade(self) -> None:
        if self.connection is None:
            self.connection = self.server.opened(self.transport)
        else:
            self.connection.transport = self.transport  # which may be a TLS session upon the one before
        self.limits = limits = self.connection.listener.limits
        self.MAX_LENGTH = limits.head_bytes
        self._optimisticEagerReadSize = limits.early_bytes
        super().connectionMade()
        pass_half_close(self.transport)
        self._wait(limits.head_seconds, self.drop)
        if self.replay is not None and not _is_in_handshake(self.transport):
            self._answer_replay()

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`: only now may a TLS session be written to."""
        if self.replay is not None:
            self._answer_replay()

    def _answer_replay(self) -> None:
        replay, self.replay = self.replay, None
        assert replay is not None
        self.dataReceived(messages.serialised(replay))

    def dataReceived(self, data: bytes) -> None:
        if self._lingering:
            self._drop(data)
            return
        try:
            if self._idle and not (self._buffer or self._busyReceiving):
                data = self._take_whole(data)
                if not data or self._lingering or (self.transport is not None and self.transport.disconnecting):
                    return
            if self._idle:
                self._begin_head(data)
            super().dataReceived(data)
            if self._idle and self._buffer:
                self._begin_head(self._buffer)
        except RequestError as error:
            self.reject(error)

    def readConnectionLost(self) -> None:
        """The client has half-closed: what it has asked so far is answered, then the connection is closed."""
        self._eof = True
        if self._lingering or not self._handlingRequest:
            self._close()
        elif self._decision is None:
            self._wait(self.limits.half_closed_seconds, self.drop)

    def writeConnectionLost(self) -> None:
        """We have half-closed, lingering; nothing to do."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wait(None)
        if self._decision is not None:
            self._decision.withdraw()
        super().connectionLost(reason)

    def loseConnection(self) -> None:
        """Close after the last answer, without losing it.

        A connection that is closed while the client still sends is reset, and a reset may overtake the answer. So we
        say that we are done, and read and drop what comes until the client is done too (RFC 9112 section 9.6).
        """
        if self._lingering or self.transport is None:
            return
        self._lingering = True
        self.clearLineBuffer()
        self._dataBuffer = []
        self._networkProducer.unregisterProducer()
        if self._eof or self.isSecure():
            # TLS reads on by itself until the client has taken leave.
            self._close()
        else:
            self._networkProducer.resumeProducing()
            self.transport.loseWriteConnection()
            self._wait(self.limits.linger_seconds, self._close)

    def drop(self) -> None:
        """Close without an answer, as soon as what was written before is sent."""
        self._lingering = True
        self._networkProducer.unregisterProducer()
        self._close()

    def finish(self, patiently: bool = False) -> bool:
        """Close when idle, otherwise after the answer that is being made, or whose request has its head here and its
        body under way.

        Args:
            patiently: Whether a decision that is pending may lead to a switch still. If not, it is 503: the server
                stops.

        Returns:
            Whether there is such an answer.
        """
        self.persistent = False
        if self._lingering:
            self._close()
        elif self._decision is not None:
            if not patiently:
                self._decline(self.requests[0])
        elif self.line_mode:
            self.drop()
            return False
        elif not self.requests[0].startedWriting:
            self.requests[0].responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return True

    def _forget_unanswered(self) -> None:
        """Let go of a request that came in part only."""
        for request in self.requests:
            if request.content is not None:
                request.content.close()

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        self.transport.loseConnection()
        # A server that stops has a time of its own for all, which a slow reader may use.
        seconds = None if self.server.draining else self.limits.half_closed_seconds
        self._wait(seconds, self.transport.abortConnection)

    # A head

    def _take_whole(self, data: bytes) -> bytes:
        """Answer the requests in front that have come whole and need no thought; the rest is for the line reader."""
        if self.requestFactory is not Request or self.server.draining or self.connection.listener.is_closed:
            return data  # somebody wants to make them; or they are the last
        limits = self.limits
        self._busyReceiving = True  # what comes meanwhile goes behind these, as it does there
        self._buffer = data
        try:
            while self._buffer and self._idle and not (self._lingering or self.transport.disconnecting):
                head = heads.read(self._buffer, limits.head_bytes, limits.header_count)
                if head is None or b"upgrade" in head.fields.names:
                    break
                self._buffer = self._buffer[head.length :]
                self._take(head)
        finally:
            self._busyReceiving = False
        rest: bytes = self.clearLineBuffer()
        return rest

    def _take(self, head: heads.Head) -> None:
        """What the line reader comes to with the lines of a head and a body that is empty."""
        request = QuickRequest(self, self.transport, head.fields.lines, 0)
        if self.server.proxies is not None:
            request.client, request.proxies = self.server.way(self.connection, head.fields.lines)
        self.requests.append(request)
        self.persistent = b"connection" not in head.fields.names or self.checkPersistence(request, b"HTTP/1.1")
        self._idle = False
        self._handlingRequest = True
        self.setRawMode()
        request.requestReceived(head.method, head.target, b"HTTP/1.1")
        if not (self._idle or self._lingering):
            self._wait(None)  # for the next request: this one is not answered yet
            request.keep_addresses()

    def _begin_head(self, data: bytes) -> None:
        messages.check_first_byte(data)
        self._idle = False
        self._wait(self.limits.head_seconds, partial(self._late, "the head of the request took too long"))

    def _late(self, why: str) -> None:
        self.reject(RequestError(408, why))

    def lineReceived(self, line: bytes) -> None:
        if self._idle:
            self._begin_head(line + self.delimiter)
        if self._receivedHeaderSize + len(line) > self.limits.head_bytes:
            self.lineLengthExceeded(line)
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        if hasattr(self, "_command"):
            raise RequestError(431, "the header fields of the request are longer than this server takes")
        raise RequestError(414, "the request line is longer than this server takes")

    def headerReceived(self, line: bytes) -> bool:
        if self._receivedHeaderCount >= self.limits.header_count:
            raise RequestError(431, "the request has more header fields than this server takes")
        messages.check_field_line(line)
        valid: bool = super().headerReceived(line)
        name, _, value = line.partition(b":")
        self.requests[-1].fields.append((name.lower(), value.strip(b" \t")))
        return valid

    def _respondToBadRequestAndDisconnect(self) -> None:
        raise RequestError(400, "the request is not well-formed HTTP/1.1")

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        messages.check_framing(header, data, self._version)
        chosen: bool = super()._maybeChooseTransferDecoder(header, data)
        if header == b"Transfer-Encoding":
            chunk = self.requests[-1].handleContentChunk
            self._transferDecoder = _BoundedChunks(self.limits, chunk, self._finishRequestBody)
        return chosen

    def allHeadersReceived(self) -> None:
        request = self.requests[-1]
        self._settle_target(request)
        if self.server.proxies is not None:
            request.client, request.proxies = self.server.way(self.connection, request.fields)
        if self.length is not None and self.length > self.limits.body_bytes:
            raise messages.too_long()
        if self.length != 0:
            self._wait(self.limits.body_seconds, partial(self._late, "the body of the request took too long"))
        super().allHeadersReceived()

    def _settle_target(self, request: Request) -> None:
        """Check target and `Host`; what an absolute-form target names is the host (RFC 9112 section 3.2.2)."""
        request.target = self._path
        messages.check_host(request.requestHeaders.getRawHeaders(b"Host", []), self._version)
        self._path, authority = messages.origin_form(self._command, request.target)
        if authority is not None:
            messages.check_host([authority], self._version)
            request.requestHeaders.setRawHeaders(b"Host", [authority])
            request.fields = [(b"host", authority), *(field for field in request.fields if field[0] != b"host")]

    def checkPersistence(self, request: OrdinaryRequest, version: bytes) -> bool:
        """Whether the connection outlives this request: read as the list that Connection is. It does not outlive the
        server, nor its listener."""
        connection = request.requestHeaders.getRawHeaders(b"Connection", [])
        is_last = self.server.draining or self.connection.listener.is_closed
        if version == b"HTTP/1.1" and not (is_last or negotiation.lists(connection, b"close")):
            return True
        request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return False

    def allContentReceived(self) -> None:
        self._wait(None)
        super().allContentReceived()

    # An answer

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers, body: bytes = b"") -> None:
        """See `HTTPChannel`; in one piece, of which a transport makes less work than of many, perhaps with the body."""
        fields = [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.transport.write(b"%b %b %b\r\n%b\r\n%b" % (version, code, reason, b"".join(fields), body))

    def requestDone(self, request: OrdinaryRequest) -> None:
        self._idle = True
        self._wait(self.limits.keepalive_seconds, self.drop)
        super().requestDone(request)
        if self._eof:
            # In a turn of its own: there may be more requests in the line buffer, which are answered first.
            self.callLater(0, self._close_if_done)

    def _close_if_done(self) -> None:
        if not (self._handlingRequest or self._lingering):
            self.drop()

    def reject(self, error: RequestError) -> None:
        """Answer a request that broke the rules, as far as it came, and close."""
        fields = default_fields(self.server)
        if isinstance(error, OverBudget):
            self.server.admission.turned_away(self.connection, error.over)
            fields = (*fields, (b"Retry-After", error.over.retry_after))
        else:
            self.server.rejected(self.connection, error, self.requests[-1].client if self.requests else None)
        self.transport.write(messages.error_answer(error, fields))
        self._forget_unanswered()
        self.loseConnection()

    def close_after(self, request: OrdinaryRequest) -> None:
        """Close the connection when `request`, whose answer is about to be written, is answered."""
        self.persistent = False
        request.responseHeaders.addRawHeader(b"Connection", b"close")

    def advertise(self, request: OrdinaryRequest) -> None:
        """Say which protocols the path has, if we are configured to (RFC 9110 section 7.8)."""
        if self.server.advertise and not request.responseHeaders.hasHeader(b"Upgrade"):
            served = negotiation.served(self.server.switches(request.path), request.isSecure())
            for name, value in negotiation.advertisement(served) if served else ():
                request.responseHeaders.addRawHeader(name, value)

    # A switch

    def go_on(self, request: Request, foretold: Foretold) -> None:
        """Go on with a decision from where it has been taken already."""
        if foretold.failed:
            self.fail(request, foretold.found)
        elif not foretold.found.found:
            request.unclaimed(self.server.switches(request.path), foretold.found)
        else:
            self.decide(request, foretold.asked, foretold.found, foretold)

    def decide(
        self, request: Request, asked: Asked, found: negotiation.Candidates, foretold: Foretold | None = None
    ) -> None:
        """Ask the candidates; meanwhile bytes are kept, bounded by `early_bytes`. A server that stops asks nobody."""
        if self.server.draining and foretold is None:
            self._unavailable(request, found)
            return
        admission = self.server.admission
        room = admission.reserve(self.connection, asked, found) if foretold is None else found
        if isinstance(room, Over):
            self._turn_away(request, found, room)
            return
        if not room.found:
            request.unclaimed(self.server.switches(request.path), room)
            return
        found = room
        self._decision = decision = Decision(
            asked,
            found,
            partial(self._decided, request, asked, found),
            partial(self._undecided, request, found),
            self.transport.abortConnection,
            foretold,
            partial(self._settle, asked),
            partial(admission.may_ask, asked),
        )
        self._optimisticEagerReadSize = early_bytes_for(found, self.limits.early_bytes)
        decision.start()
        if decision.pending:
            seconds = seconds_for(found, self.limits.switch_seconds)
            self._wait(seconds, partial(self._overdue, request, seconds))

    def _turn_away(self, request: Request, found: negotiation.Candidates, over: Over) -> None:
        """There is no room for another switch. What has come behind the request may be meant for its protocol, which
        will not be there to read it."""
        self.server.admission.turned_away(self.connection, over, request.client)
        self.server.refused(self.connection, request.client, request.path, found, over.status)
        early = bool(self._dataBuffer or self._buffer)
        retry = ((b"Retry-After", over.retry_after),)
        request.answer(over.status, retry, over.why.encode() + b"\n", close=early)

    def _settle(self, asked: Asked) -> None:
        """It has been decided."""
        self.server.admission.release(asked)
        self._optimisticEagerReadSize = self.limits.early_bytes

    def _overdue(self, request: Request, seconds: float) -> None:
        path = escaped(request.path)
        _log.warn("no decision about a switch on {path} in {seconds} seconds", path=path, seconds=seconds)
        self._decline(request)

    def _decline(self, request: Request) -> None:
        """Wait for the decision no longer: it is overdue, or the server stops."""
        assert self._decision is not None
        self._decision.withdraw()
        found, self._decision = self._decision.found, None
        self._unavailable(request, found)

    def _unavailable(self, request: Request, found: negotiation.Candidates) -> None:
        self.server.refused(self.connection, request.client, request.path, found, 503)
        request.answer(503, (), b"The server could not decide about the switch in time.\n", close=True)

    def _undecided(self, request: Request, found: negotiation.Candidates) -> None:
        self._decision = None
        self.fail(request, found)

    def _decided(self, request: Request, asked: Asked, found: negotiation.Candidates, verdict: Verdict | None) -> None:
        self._decision = None
        self._wait(None)
        if verdict is None:
            if self._eof:
                self._wait(self.limits.half_closed_seconds, self.drop)
            request.unclaimed(self.server.switches(request.path), found)
        elif isinstance(verdict.answer, Refuse):
            self._refuse(request, found, verdict.candidate, verdict.answer)
        else:
            self._accept(request, asked, found, verdict, verdict.answer)

    def _refuse(
        self, request: Request, found: negotiation.Candidates, candidate: negotiation.Candidate, refuse: Refuse
    ) -> None:
        served = negotiation.served(self.server.switches(request.path), request.isSecure())
        try:
            headers = negotiation.refusal(candidate, refuse, served)
        except Exception:
            _log.failure("A plugin's answer cannot be sent")
            self.fail(request, found, candidate)
        else:
            client = request.client
            self.server.refused(self.connection, client, request.path, found, refuse.status, candidate)
            request.answer(refuse.status, headers, refuse.body, refuse.close)

    def _accept(
        self, request: Request, asked: Asked, found: negotiation.Candidates, verdict: Verdict, accept: Accept
    ) -> None:
        early = self.take_early()
        if early and accept.early is Early.REFUSE:
            abandon(accept)
            self.server.refused(self.connection, asked.peer, request.path, found, 400, verdict.candidate)
            self.reject(RequestError(400, "there may be no bytes behind this request before its answer"))
            return
        ready = prepare(verdict, Session(asked, self.server, self.connection), negotiation.switching_head)
        if ready is None:
            self.fail(request, found, verdict.candidate)
            return
        head, protocol = ready
        self.server.switched(self.connection, asked, verdict)
        transport = self._detach()
        transport.write(head)
        handover(transport, protocol, early, eof=self._eof)

    def fail(
        self, request: Request, found: negotiation.Candidates, candidate: negotiation.Candidate | None = None
    ) -> None:
        """A plugin is at fault. What the client sends from now on may be meant for its protocol, so close."""
        self.server.refused(self.connection, request.client, request.path, found, 500, candidate)
        request.answer(500, (), b"The switch failed.\n", close=True)

    def take_early(self) -> bytes:
        """The bytes that are kept behind the request, which are the caller's from now on."""
        early: bytes = b"".join(self._dataBuffer) + self.clearLineBuffer()
        self._dataBuffer = []
        return early

    def _detach(self) -> Any:
        """Take everything of HTTP off the transport. This object is garbage afterwards."""
        self._wait(None)
        self._networkProducer.unregisterProducer()
        for request in self.requests:
            request.retire()
        self.requests = []
        transport, self.transport = self.transport, None
        self._networkProducer = None
        return transport

    def _protocolUpgradeForWebsockets(self, protocol: IProtocol) -> None:
        """twisted.web.websocket's own way out of HTTP, with the early frames that it would lose.

        It writes its 101 after this, so the frames have to wait until the next turn: the protocol is connected paused.
        """
        connect = protocol.makeConnection

        def connect_paused(transport: Any) -> None:
            connect(transport)
            transport.pauseProducing()
            self.callLater(0, transport.resumeProducing)

        vars(protocol)["makeConnection"] = connect_paused
        early = self.take_early()
        handover(self._detach(), protocol, early, eof=self._eof)
        del vars(protocol)["makeConnection"]
