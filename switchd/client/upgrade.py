"""Asking for a switch in HTTP/1.1: `Upgrade`, and what may answer it (RFC 9110 section 7.8)."""

from __future__ import annotations

from typing import Any

import h11
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from switchd.client import accepted
from switchd.client.ask import Ask
from switchd.client.attempt import Asking, Attempt
from switchd.client.bounds import BODY_BYTES, CLOSE_SECONDS, HEAD_BYTES, INTERIM_ANSWERS
from switchd.client.errors import NoAnswer, NotSwitched, Refused, WrongAnswer, in_words
from switchd.deadlines import Timer
from switchd.negotiation import elements, lists

QUOTED_CHARACTERS = 120
"""How much is said of an answer that is not HTTP: some of it is in there."""


class Upgrading(Asking):
    """Asks for a switch when it is connected, and hands the connection over when that is granted; see `Asking`."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(attempt)
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._deadline = Timer(attempt.clock)  # for the answer; at last, until the connection is gone
        self._over = False
        self._interim_answers = 0
        self._answer: h11.Response | None = None
        self._body = b""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._deadline.start(self.attempt.seconds, self._give_up, "no answer in time")
        self.transport.write(_serialised(self._http, self.attempt.ask))

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        try:
            if not self._over:
                self._http.receive_data(data)
            while not self._over and self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            if self._answer is None:
                self._fail(WrongAnswer(f"the answer is not HTTP/1.1: {error}"[:QUOTED_CHARACTERS]))
            else:
                self._give_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._give_up(f"the connection ended before the answer: {in_words(reason.value)}", reason.value)
        self._deadline.stop()

    def _take(self, event: Any) -> bool:
        """Whether another event may follow at once."""
        match event:
            case h11.InformationalResponse(status_code=101):
                self._switch(event)
            case h11.InformationalResponse():
                self._interim_answers += 1
                if self._interim_answers > INTERIM_ANSWERS:
                    self._fail(WrongAnswer(f"more than {INTERIM_ANSWERS} interim answers"))
            case h11.Response():
                self._answer = event
            case h11.Data():
                self._body += event.data
                if len(self._body) >= BODY_BYTES:
                    self._give_up()
            case h11.EndOfMessage():
                self._give_up()
            case _:  # more bytes are needed
                return False
        return True

    def _switch(self, answer: h11.InformationalResponse) -> None:
        wrong = _wrong(answer, self.attempt.ask.token)
        if wrong:
            self._fail(WrongAnswer(wrong))
            return
        early, _ = self._http.trailing_data
        self._over = True
        self._deadline.stop()
        encrypted = ISSLTransport.providedBy(self.transport)
        accepted.connect(self.transport, self.attempt, early, self.switched, encrypted=encrypted)

    def _give_up(self, sentence: str = "", cause: BaseException | None = None) -> None:
        """Nothing more will come, or be waited for: what has come may be a refusal."""
        if self._answer is None:
            error = NoAnswer(sentence)
            error.__cause__ = cause
            self._fail(error)
        else:
            reason = self._answer.reason.decode("ascii", "backslashreplace")
            headers = tuple(self._answer.headers)
            self._fail(Refused(self._answer.status_code, reason, headers, self._body[:BODY_BYTES]))

    def _fail(self, error: NotSwitched) -> None:
        if self._over:
            return
        self._close(abort=not isinstance(error, Refused))
        self.switched.errback(error)

    def _cancel(self, switched: Deferred[IProtocol]) -> None:
        self._close(abort=True)
        switched.errback(ConnectingCancelledError(self.attempt.address))

    def _close(self, abort: bool) -> None:
        self._over = True
        self._deadline.stop()
        if abort:
            self.transport.abortConnection()
        else:
            self._deadline.start(CLOSE_SECONDS, self.transport.abortConnection)
            self.transport.loseConnection()


def check(ask: Ask) -> None:
    """See whether a request can be sent.

    Raises:
        ValueError: Something in it may not be in a request of HTTP/1.1. The text says what.
    """
    _serialised(h11.Connection(h11.CLIENT), ask)


def _serialised(http: h11.Connection, ask: Ask) -> bytes:
    length = [(b"Content-Length", b"%d" % len(ask.body))] if ask.body else []
    fields = [(b"Host", ask.host), (b"Connection", b"Upgrade"), (b"Upgrade", ask.token), *length, *ask.headers]
    try:
        head = h11.Request(method=ask.method, target=ask.target, headers=fields)
        body = [h11.Data(data=ask.body)] if ask.body else []
        return b"".join(http.send(event) or b"" for event in (head, *body, h11.EndOfMessage()))
    except h11.LocalProtocolError as error:
        raise ValueError(f"the request cannot be sent: {error}") from error


def _wrong(answer: h11.InformationalResponse, token: bytes) -> str:
    """Why a 101 is not the one that was asked for; empty if it is."""
    fields = list(answer.headers)
    named = [name.lower() for name in elements(value for field, value in fields if field == b"upgrade")]
    # Layers are named bottom-up: HTTP/1.1, which the request itself was in, may be inside (RFC 2817 section 3.3).
    if named not in ([token.lower()], [token.lower(), b"http/1.1"]):
        return "the server switched to something that it was not asked for"
    # Without it, whoever is between may have passed on Upgrade without a word of it understood.
    if not lists((value for field, value in fields if field == b"connection"), b"upgrade"):
        return "the server's 101 does not name Upgrade in its Connection"
    if answer.http_version != b"1.1":
        return f"the server's 101 is in HTTP/{answer.http_version.decode()}, which has none"
    return ""
