"""TLS by `Upgrade` (RFC 2817): a connection that began in clear goes on encrypted, as HTTP again.

    client: OPTIONS * with Upgrade: TLS/1.2          server: 101 with Upgrade: TLS/1.2, HTTP/1.1
            the handshake                                    the handshake
                                                             the answer to that request, inside

Inside, the connection is what ALPN has agreed on, HTTP/1.1 without it, and may switch again. A token is the oldest
version that its session may have. `TLS/1.0`, which is all that RFC 2817 knows, has come to mean any: TLS 1.2 or later
here. Nothing that was sent in clear comes into the session: bytes behind the request are refused.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from attrs import frozen
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLServerConnectionCreator,
    IProtocol,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from switchd.certificates import Certificates, HttpTls, in_words
from switchd.deadlines import Timer
from switchd.handover import handover
from switchd.interfaces import Accept, Answer, Context, Early, IEncrypts, ISession, ISwitch, Offer, Range, Request

_log = Logger()

_OLDEST = {b"1.0": "1.2", b"1.2": "1.2", b"1.3": "1.3"}
"""The oldest version of a session, by that in the token."""


@implementer(ISwitch, IEncrypts)
class Tls:
    """One `[[switch]]` with `protocol = "tls"`.

    Raises:
        UnusableOptions: The certificate, or another file, is of no use.
    """

    @frozen(kw_only=True)
    class Options(HttpTls):
        """The options of the plugin: those of `[listen.tls]`, and one more.

        Attributes:
            handshake_seconds: How long the handshake may take, from the 101 on; then the connection is aborted. Default
                10.
        """

        handshake_seconds: Annotated[float, Range(0.1, 3_600, "seconds")] = 10.0

    def __init__(self, options: Options, context: Context) -> None:
        self._seconds = options.handshake_seconds
        self._reactor = context.reactor
        certificates = Certificates(options, context.folder, context.reactor, options.alpn)
        self._creators = {version: certificates.at_least(oldest) for version, oldest in _OLDEST.items()}

    def offer(self, request: Request, offer: Offer) -> Answer:
        """See `ISwitch`. On a connection that is encrypted already, or on a stream of one, there is no use for it."""
        creator = self._creators.get(offer.version or b"")
        if creator is None or request.secure or request.how != "upgrade":
            return None
        # Spelt and spaced as clients search for it.
        upgrade = b"TLS/%b, HTTP/1.1" % (offer.version or b"")
        return Accept(partial(self._build, creator), upgrade=upgrade, early=Early.REFUSE)

    def _build(self, creator: IOpenSSLServerConnectionCreator, session: ISession) -> IProtocol:
        inside = _Inside(_Handshake(session, self._reactor, self._seconds))
        return TLSMemoryBIOFactory(creator, False, inside, self._reactor).buildProtocol(session.request.peer)


class _Inside(Factory):
    """What is inside one TLS session at first; it is not kept for longer."""

    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocols = [protocol]

    def buildProtocol(self, addr: Any) -> Any:
        return self._protocols.pop()


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Waits for the end of the handshake, when it is known what comes next."""

    transport: Any

    def __init__(self, session: ISession, reactor: Any, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self._deadline = Timer(reactor)

    def connectionMade(self) -> None:
        self._deadline.start(self._seconds, self.transport.abortConnection)

    def handshakeCompleted(self) -> None:
        """See `IHandshakeListener`: it can be written to, so the request that asked for all this can be answered."""
        self._deadline.stop()
        handover(self.transport, self._session.resume_http(self.transport.negotiatedProtocol or b"http/1.1"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadline.stop()
        id, why = self._session.request.id, in_words(reason.value)
        _log.info("{id} came to no TLS session after its upgrade: {why}", id=id, why=why)
