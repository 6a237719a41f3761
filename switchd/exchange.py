"""A request over HTTP/2 and its answer, or, by extended CONNECT (RFC 8441), the stream's way to another protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.error import ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from switchd import engine, fields, frames, messages, negotiation
from switchd.budgets import Over
from switchd.deadlines import Timer
from switchd.decision import Decision, Verdict, abandon, prepare, seconds_for
from switchd.errors import RequestError
from switchd.events import escaped
from switchd.interfaces import Accept, Early, Refuse
from switchd.interfaces import Request as Asked
from switchd.lazy import LazyRequest
from switchd.negotiation import Entry
from switchd.request import default_fields
from switchd.stream import Stream
from switchd.tunnel import Session, Tunnel

VERSION = b"HTTP/2"

TOKEN = b"h2c"
"""What HTTP/2 in clear is called in `Upgrade`: a path that requires it is satisfied by every request here."""

_log = Logger()


def demands(entries: Iterable[Entry], secure: bool = False) -> bool:
    """Whether any of the entries requires a protocol that an ordinary request cannot change to here."""
    return any(entry.demands(secure) and TOKEN not in entry.tokens for entry in entries)


class Request(LazyRequest):
    """A request over HTTP/2."""

    channel: Any

    def process(self) -> None:
        """Called when the request is complete: answer it, unless its path is for a protocol that cannot be here."""
        if self.channel.token is not None:
            self.channel.decide(self)
        elif self.channel.demands and demands(self.channel.server.switches(self.path), self.channel.isSecure()):
            # There is no Upgrade in HTTP/2, so 426 would be no help (RFC 9113 section 8.6).
            self.channel.cut(frames.HTTP_1_1_REQUIRED)
        else:
            self.render_ordinary()


class Exchange(Stream):
    """One request and its answer: the channel of a twisted.web request, and its transport.

    Args:
        session: The connection.
        number: The stream's number.
        head: The request.
    """

    __slots__ = (
        "__dict__",  # what an application may put on its request's channel
        "__weakref__",
        "_answered",
        "_deadline",
        "_decision",
        "_received",
        "_request",
        "_requested",
        "factory",
        "server",
        "site",
    )

    def __init__(self, session: Any, number: int, head: fields.Head) -> None:
        super().__init__(session, number)
        self.server = self.site = session.server
        self.factory: Any = session.server  # who logs it
        self._requested = head
        self._deadline: Timer | None = None
        self._decision: Decision | None = None
        self._received = 0
        self._answered = False
        # Until the stream is closed: the request knows its stream for ever.
        self._request = request = Request(self, self, head.headers, head.length)
        if self.server.proxies is not None:
            request.client, request.proxies = self.server.way(session.connection, head.headers)

    @property
    def transport(self) -> Exchange:
        """What a request has as its transport."""
        return self

    @property
    def demands(self) -> bool:
        """Whether some path requires a protocol that cannot be here."""
        return bool(self.server.demands)

    @property
    def token(self) -> bytes | None:
        """The protocol that it asks for."""
        return self._requested.protocol

    @property
    def _path(self) -> bytes:
        return self._requested.path.partition(b"?")[0]

    def isSecure(self) -> bool:
        """Whether the connection is encrypted."""
        return bool(self._session.secure)

    # The request, as the session hears of it

    def began(self) -> None:
        """Its head is there, and its body may be awaited."""
        if self.token is not None:
            self._wanted = False  # what comes is for the protocol
            self._call(self._request.requestReceived, self._requested.method, self._requested.path, VERSION)
        elif self._requested.expects:
            self._session.engine.respond(self.id, 100, (), False)

    def await_rest(self) -> None:
        """There is no more of it for now: if that is not all, the rest has so much time."""
        if self.open and self.token is None and not (self._complete or self._answered):
            late = RequestError(408, "the body of the request took too long")
            self._wait(self._session.limits.body_seconds, self.refuse, late)

    def ended(self, end: engine.Ended) -> None:
        """The end of its body."""
        if self._decision is None:
            self._stop_deadline()
        super().ended(end)

    def refuse(self, error: RequestError) -> None:
        """Answer a request that is over a limit, as far as it has come."""
        self.server.rejected(self._session.connection, error, self._request.client)
        self._stop_deadline()
        self.factory = None
        self._request.method, self._request.clientproto = self._requested.method, VERSION
        self._request.answer(error.status, (), error.why.encode() + b"\n")

    def lost(self, reason: Failure) -> None:
        """It can be answered no more: it was reset, or the connection is gone."""
        if self.open:
            producer, request = self.producer, self._request
            self.unregisterProducer()
            self._close()
            if producer is not None:
                self._call(producer.stopProducing)
            if not self._answered:
                self._call(request.connectionLost, reason)

    def _take_content(self, data: bytes) -> None:
        self._received += len(data)
        if self._answered:
            pass  # it was refused before it was complete
        elif self._requested.length is not None and self._received > self._requested.length:
            self._session.broken(self)
        elif self._received > self._session.limits.body_bytes:
            self.refuse(messages.too_long())
        else:
            self._call(self._request.handleContentChunk, data)

    def _take_end(self, end: engine.Ended) -> None:
        if self._answered or self.token is not None:
            return
        try:
            if end.trailers:
                fields.check_trailers(end.trailers)
            if self._requested.length not in (None, self._received):
                raise fields.Malformed("a body shorter than its content-length")
        except fields.Malformed:
            self._session.broken(self)
        else:
            self._call(self._request.requestReceived, self._requested.method, self._requested.path, VERSION)

    def _wait(self, seconds: float, late: Callable[..., object], *arguments: Any) -> None:
        self._deadline = Timer(self._session.reactor)
        self._deadline.start(seconds, late, *arguments)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.stop()

    def _close(self) -> None:
        self._stop_deadline()
        if self._decision is not None:
            self._decision.withdraw()
        super()._close()
        del self._request

    def _failed(self) -> None:
        _log.failure("An application failed on {path}", path=escaped(self._path))

    # What a request calls

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """The head of the answer, as twisted.web's request says it."""
        self.begin(int(code), headers)

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer; it goes out with what follows in this turn."""
        self._head = status, fields.answered(headers)
        self._session.ready(self)

    def requestDone(self, request: Request) -> None:
        """The answer is complete."""
        self._answered = True
        if self._head is None:
            self._session.ready(self)

    def loseConnection(self) -> None:
        """A request wants its client to be gone; as with any transport not in this turn, which sends what it can."""
        self._session.reactor.callLater(0, self.cut, frames.CANCEL)

    def _overflow(self) -> None:
        self.server.overflowed(self._session.connection)
        self.cut(frames.CANCEL)

    def abortConnection(self) -> None:
        """A request wants its client to be gone at once."""
        self.cut(frames.CANCEL)

    def close_after(self, request: Request) -> None:
        """An answer after which HTTP/1.1 would be closed. A stream ends anyway."""

    def cut(self, code: int) -> None:
        """End it with a reset."""
        if self.open:
            self._session.engine.reset(self.id, code)
            self.lost(Failure(ConnectionLost()))
            self._session.flush_soon()

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.cut(frames.CANCEL)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(RequestError(400, "the form in the body of the request is malformed"))

    def _is_done(self) -> bool:
        return self._answered

    def _sent(self) -> None:
        if not self._complete:
            # The client need not send the rest (RFC 9113 section 8.1).
            self._session.engine.reset(self.id, frames.NO_ERROR)
        self._close()

    # A switch, which is what extended CONNECT asks for

    def decide(self, request: Request) -> None:
        """Ask the switches of its path; meanwhile what comes is kept, as much as the stream's window allows. A server
        that stops asks nobody."""
        asked = self._asked()
        found = negotiation.connecting(self.token or b"", self.server.switches(request.path), asked.secure)
        if self.server.draining:
            self._unavailable(request, found)
            return
        if not found.found:
            self._unclaimed(request, found)
            return
        admission = self.server.admission
        room = admission.reserve(self._session.connection, asked, found)
        if isinstance(room, Over):
            self._turn_away(request, found, room)
            return
        found = room
        since = self._session.reactor.seconds()
        decided = partial(self._decided, request, asked, found, since)
        undecided = partial(self._undecided, request, found)
        broken, settled = partial(self.cut, frames.INTERNAL_ERROR), partial(admission.release, asked)
        may_ask = partial(admission.may_ask, asked)
        self._decision = decision = Decision(asked, found, decided, undecided, broken, settled=settled, may_ask=may_ask)
        decision.start()
        if decision.pending:
            seconds = seconds_for(found, self._session.limits.switch_seconds)
            self._wait(seconds, self._overdue, seconds)

    def _turn_away(self, request: Request, found: negotiation.Candidates, over: Over) -> None:
        """There is no room for another switch."""
        self.server.admission.turned_away(self._session.connection, over, request.client)
        self._tell(found, over.status)
        request.answer(over.status, ((b"Retry-After", over.retry_after),), over.why.encode() + b"\n")

    def decline(self) -> None:
        """Wait for a decision no longer, if one is pending: the server stops."""
        if self._decision is not None:
            self._decision.withdraw()
            found, self._decision = self._decision.found, None
            self._stop_deadline()
            self._unavailable(self._request, found)

    def _unavailable(self, request: Request, found: negotiation.Candidates) -> None:
        self._tell(found, 503)
        request.answer(503, (), b"The server could not decide about the switch in time.\n")

    def _asked(self) -> Asked:
        return Asked(
            method=self._requested.method,
            target=self._requested.path,
            path=unquote_to_bytes(self._path),
            headers=self._requested.headers,
            body=b"",
            how="connect",
            peer=self._request.client,
            host=self.getHost(),
            secure=self.isSecure(),
            id=self.server.request_id(self._session.connection),
            proxies=self._request.proxies,
        )

    def _overdue(self, seconds: float) -> None:
        path = escaped(self._path)
        _log.warn("no decision about a switch on {path} in {seconds} seconds", path=path, seconds=seconds)
        self.decline()

    def _tell(self, found: negotiation.Candidates, status: int, candidate: negotiation.Candidate | None = None) -> None:
        client = self._request.client
        self.server.refused(self._session.connection, client, self._path, found, status, candidate)

    def _undecided(
        self, request: Request, found: negotiation.Candidates, candidate: negotiation.Candidate | None = None
    ) -> None:
        self._decision = None
        self._tell(found, 500, candidate)
        request.answer(500, (), b"The switch failed.\n")

    def _unclaimed(self, request: Request, found: negotiation.Candidates) -> None:
        self._tell(found, 501)
        # It cannot be ignored, as an Upgrade can: there is nothing else that it might mean (RFC 9220 section 3).
        request.answer(501, (), b"This protocol is not served on this path.\n")

    def _decided(
        self, request: Request, asked: Asked, found: negotiation.Candidates, since: float, verdict: Verdict | None
    ) -> None:
        self._decision = None
        self._stop_deadline()
        if verdict is None:
            self._unclaimed(request, found)
        elif isinstance(verdict.answer, Refuse):
            self._refuse(request, found, verdict.candidate, verdict.answer)
        else:
            self._accept(request, asked, found, since, verdict, verdict.answer)

    def _refuse(
        self, request: Request, found: negotiation.Candidates, candidate: negotiation.Candidate, refuse: Refuse
    ) -> None:
        try:
            headers = negotiation.refusal(candidate, refuse, candidate.upgrade)
        except Exception:
            _log.failure("A plugin's answer cannot be sent")
            self._undecided(request, found, candidate)
        else:
            self._tell(found, refuse.status, candidate)
            request.answer(refuse.status, headers, refuse.body)

    def _accept(
        self,
        request: Request,
        asked: Asked,
        found: negotiation.Candidates,
        since: float,
        verdict: Verdict,
        accept: Accept,
    ) -> None:
        held = self._held
        if accept.early is Early.REFUSE and held is not None and held.data:
            abandon(accept)
            self._tell(found, 400, verdict.candidate)
            request.answer(400, (), b"There may be no bytes behind this request before its answer.\n")
            return
        ready = prepare(verdict, Session(asked), negotiation.connected_fields)
        if ready is None:
            self._undecided(request, found, verdict.candidate)
            return
        added, protocol = ready
        headers = fields.lowered((*default_fields(self.server), *added))
        tunnel = Tunnel(self._session, self.id)
        self._session.replace(self, tunnel)
        self.server.tunnelled(self._session.connection, tunnel, asked, verdict, since)
        self.open = False
        del self._request
        tunnel.answer(headers)
        tunnel.begin(protocol, held)
