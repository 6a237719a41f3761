"""The client side of a switch: ask a server for another protocol on a new connection, and speak it there.

    protocol = await connect(reactor, "http://127.0.0.1:8080/addone", b"addone", MyProtocol())

`connect` is for URLs; `SwitchClient` is for those who bring a connection of their own.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import h11
from attrs import frozen
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure

from switchd.errors import HandoverError, NotSwitched, Refused
from switchd.handover import handover
from switchd.interfaces import Header
from switchd.negotiation import elements

SECONDS = 30.0
"""How long a connection may take to come about, and then the answer, where the caller does not say."""

HEAD_BYTES = 16_384
"""The longest head of an answer, in bytes: what servers allow for a request. A 101 has a few hundred."""

INTERIM_ANSWERS = 16
"""How many 1xx may precede the answer. Servers send one or two; without a bound they could go on for ever."""

BODY_BYTES = 65_536
"""How much of a refusal's body is read, in bytes: it explains, and is for people."""


@frozen
class Ask:
    """A request for a switch.

    Attributes:
        token: The protocol asked for, for example `b"addone"` or `b"TLS/1.3"`.
        host: The `Host` field.
        target: The request target.
        method: The method.
        headers: Header fields besides `Host`, `Connection`, `Upgrade` and, where there is a body, `Content-Length`.
        body: The content.
    """

    token: bytes
    host: bytes
    target: bytes = b"/"
    method: bytes = b"GET"
    headers: tuple[Header, ...] = ()
    body: bytes = b""


class SwitchClient(Protocol):
    """Asks for a switch when it is connected, and hands the connection over when that is granted.

    Args:
        ask: The request.
        protocol: Who gets the connection, early bytes included; see `handover`.
        clock: Where the deadline is kept.
        seconds: How long the answer may take, from the moment of being connected.

    Attributes:
        switched: Fires with `protocol` after that was connected. Fails with `Refused` for an answer that is no 101, and
            with `NotSwitched` for anything else that went wrong. The connection is closed then; and when cancelled.

    Raises:
        ValueError: Something in `ask` may not be in a request.
    """

    transport: Any

    def __init__(self, ask: Ask, protocol: IProtocol, clock: IReactorTime, seconds: float = SECONDS) -> None:
        self.switched: Deferred[IProtocol] = Deferred(lambda _: self._close(abort=True))
        self._token = ask.token
        self._protocol = protocol
        self._clock = clock
        self._seconds = seconds
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        self._request = _serialised(self._http, ask)
        self._deadline: Any = None
        self._over = False
        self._interim_answers = 0
        self._answer: h11.Response | None = None
        self._body = b""

    def connectionMade(self) -> None:
        """See `IProtocol`."""
        self._deadline = self._clock.callLater(self._seconds, self._give_up, f"no answer in {self._seconds:g} seconds")
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        try:
            if not self._over:
                self._http.receive_data(data)
            while not self._over and self._take(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._fail(NotSwitched(f"the answer is not HTTP/1.1: {error}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `IProtocol`."""
        self._give_up(f"the connection ended before the answer: {in_words(reason.value)}")

    def _take(self, event: Any) -> bool:
        """Whether another event may follow at once."""
        match event:
            case h11.InformationalResponse(status_code=101):
                self._switch([value for name, value in event.headers if name == b"upgrade"])
            case h11.InformationalResponse():
                self._interim_answers += 1
                if self._interim_answers > INTERIM_ANSWERS:
                    self._fail(NotSwitched(f"more than {INTERIM_ANSWERS} interim answers"))
            case h11.Response():
                self._answer = event
            case h11.Data():
                self._body += event.data
                if len(self._body) >= BODY_BYTES:
                    self._give_up("")
            case h11.EndOfMessage():
                self._give_up("")
            case _:  # more bytes are needed
                return False
        return True

    def _switch(self, upgrade: list[bytes]) -> None:
        named = elements(upgrade)
        # Layers are named bottom-up (RFC 9110 section 7.8), so the first is what comes next on this connection.
        if not named or named[0].lower() != self._token.lower():
            self._fail(NotSwitched("the server switched to something that it was not asked for"))
            return
        early, _ = self._http.trailing_data
        self._end()
        try:
            handover(self.transport, self._protocol, early)
        except HandoverError:
            self.transport.abortConnection()
            self.switched.errback(Failure())
        else:
            self.switched.callback(self._protocol)

    def _give_up(self, sentence: str) -> None:
        """Nothing more will come, or be waited for: what has come may be a refusal."""
        if self._answer is None:
            self._fail(NotSwitched(sentence))
        else:
            reason = self._answer.reason.decode("ascii", "backslashreplace")
            headers = tuple(self._answer.headers)
            self._fail(Refused(self._answer.status_code, reason, headers, self._body[:BODY_BYTES]))

    def _fail(self, error: NotSwitched) -> None:
        if not self._over:
            self._close(abort=not isinstance(error, Refused))
            self.switched.errback(error)

    def _close(self, abort: bool) -> None:
        self._end()
        if self.transport is not None:
            self.transport.abortConnection() if abort else self.transport.loseConnection()

    def _end(self) -> None:
        self._over = True
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


def in_words(error: object) -> str:
    """Why a connection was lost, for people: what OpenSSL and service_identity say is for debuggers."""
    match error:
        case SSL.Error(args=[[*_, (*_, words)]]):
            return f"TLS: {words}"
        case VerificationError():
            return "TLS: the certificate is for another host"
        case _:
            return str(error)


def _serialised(http: h11.Connection, ask: Ask) -> bytes:
    length = [(b"Content-Length", b"%d" % len(ask.body))] if ask.body else []
    fields = [(b"Host", ask.host), (b"Connection", b"Upgrade"), (b"Upgrade", ask.token), *length, *ask.headers]
    try:
        head = h11.Request(method=ask.method, target=ask.target, headers=fields)
        body = [h11.Data(data=ask.body)] if ask.body else []
        return b"".join(http.send(event) or b"" for event in (head, *body, h11.EndOfMessage()))
    except h11.LocalProtocolError as error:
        raise ValueError(f"the request cannot be sent: {error}") from error


def connect(
    reactor: Any,
    url: str,
    token: bytes,
    protocol: IProtocol,
    *,
    method: bytes = b"GET",
    headers: tuple[Header, ...] = (),
    body: bytes = b"",
    seconds: float = SECONDS,
) -> Deferred[IProtocol]:
    """Connect to a URL, ask for a switch, and give the connection to a protocol.

    Args:
        reactor: The reactor.
        url: `http://…`; `https://…`, where the certificate must be one that the platform trusts, for that host; or
            `unix:/path/of/socket:/target`, where the target may be missing. A fragment is left out.
        token: The protocol asked for; see `Ask`, as for `method`, `headers` and `body`.
        protocol: Who gets the connection.
        seconds: How long the connection may take to come about, and then the answer.

    Returns:
        What `SwitchClient.switched` is. Where no connection comes about, it fails with what Twisted's endpoints fail
        with, or with `NotSwitched` after `seconds`.

    Raises:
        ValueError: The URL is of another kind, or something may not be in a request. The text says which.
    """
    endpoint, host, target = _located(reactor, url)
    client = SwitchClient(Ask(token, host, target, method, headers, body), protocol, reactor, seconds)
    connecting: Deferred[Any] = connectProtocol(endpoint, client)
    connecting.addTimeout(seconds, reactor, _too_late)
    return connecting.addCallback(lambda _: client.switched)


def _too_late(result: object, seconds: float) -> Failure:
    return Failure(NotSwitched(f"no connection in {seconds:g} seconds"))


def _located(reactor: Any, url: str) -> tuple[IStreamClientEndpoint, bytes, bytes]:
    """An endpoint without a time-out of its own, the `Host` field and the request target."""
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError("a URL has no blanks and only ASCII: percent-encode its path, and write its host in punycode")
    if url.startswith("unix:"):
        path, _, target = url.removeprefix("unix:").partition(":")
        return UNIXClientEndpoint(reactor, path, timeout=None), b"localhost", target.encode() or b"/"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(f"expected http://HOST…, https://HOST… or unix:/PATH, without a user's name, got {url}")
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    # Its annotation forgets None, which is what connectTCP takes for "as long as it needs".
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, parts.hostname, port, timeout=None)  # type: ignore[arg-type]
    if parts.scheme == "https":
        options = optionsForClientTLS(parts.hostname, acceptableProtocols=[b"http/1.1"])
        endpoint = wrapClientTLS(options, endpoint)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return endpoint, parts.netloc.encode(), target.encode()
