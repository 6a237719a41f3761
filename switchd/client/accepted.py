"""What follows when a server has switched, in whichever version of HTTP."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IHandshakeListener, IProtocol

from switchd.client.attempt import Attempt
from switchd.handover import handover


def connect(transport: Any, attempt: Attempt, early: bytes, switched: Deferred[IProtocol], *, encrypted: bool) -> None:
    """Have a protocol built, and give it the connection.

    What a program sees is what it sees with Twisted's own endpoints: `connectionMade`, then its Deferred, then
    `handshakeCompleted` in TLS, and only then the first bytes.

    Args:
        transport: The connection; its present protocol has nothing more to do with it.
        attempt: For whom it was asked.
        early: What has been read already.
        switched: Fires with the protocol. Fails with `NoProtocol`, with what the factory raised, or with
            `HandoverError`; the connection is closed then.
        encrypted: Whether it is in TLS. A stream of HTTP/2 does not know.
    """

    def connected(protocol: IProtocol) -> None:
        if not switched.called:
            switched.callback(protocol)
        if encrypted:
            listener = IHandshakeListener(protocol, None)
            if listener is not None:
                listener.handshakeCompleted()

    try:
        protocol = attempt.factory.buildProtocol(attempt.address)
        if protocol is None:
            raise NoProtocol()
        handover(transport, protocol, early, connected=partial(connected, protocol))
    except Exception:
        transport.abortConnection()
        switched.errback()
        return
    if not switched.called:
        # Its connectionMade has failed: it has the connection for as long as that takes to close, and hears the reason.
        switched.callback(protocol)
