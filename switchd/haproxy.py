"""The PROXY protocol of `haproxy:` endpoints: Twisted's, with a reader that is strict.

Twisted's own takes whatever stands in the place of an address for one, fails where a port is no number, and does not
know that `PROXY UNKNOWN` may be all that there is, as HAProxy's health checks have it. This is the only module that
knows its inside; `tests/test_haproxy.py` fails when that changes.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IStreamServerEndpoint,
)
from twisted.protocols.haproxy._exceptions import InvalidProxyHeader
from twisted.protocols.haproxy._info import ProxyInfo
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper, HAProxyWrappingFactory
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

PREFIX = "haproxy:"
"""What the string of such an endpoint begins with; the rest is another endpoint's."""


class _Reader(V1Parser):
    """See Twisted's; for version 1, which is text. In version 2 there is no room for anything but addresses."""

    @classmethod
    def parse(cls, line: bytes) -> ProxyInfo:
        if line == b"PROXY UNKNOWN":
            return ProxyInfo(line, None, None)
        try:
            info = super().parse(line)
            addresses: tuple[Any, ...] = (info.source, info.destination)
            for address in filter(None, addresses):
                ip_address(address.host)
                address.port.to_bytes(2, "big")
        except (ValueError, OverflowError):
            raise InvalidProxyHeader from None
        return info


class _Wrapper(HAProxyProtocolWrapper):
    """See Twisted's; a header of version 1 may come in pieces, and somebody may be told when it is there.

    Attributes:
        named: Called then, before anything that has come behind it is read.
    """

    named: Callable[[], object] | None = None
    _said: ProxyInfo | None = None

    @property  # where Twisted's keeps what the header says
    def _proxyInfo(self) -> ProxyInfo | None:
        return self._said

    @_proxyInfo.setter
    def _proxyInfo(self, info: ProxyInfo | None) -> None:
        self._said = info
        if info is not None and self.named is not None:
            named, self.named = self.named, None
            named()

    def dataReceived(self, data: bytes) -> None:
        if self._parser is None and data.startswith(V1Parser.PROXYSTR[: len(data)]):
            self._parser = _Reader()
        super().dataReceived(data)


@implementer(IProtocolNegotiationFactory)
class WrappingFactory(HAProxyWrappingFactory):
    """Makes what reads the header, and then gives the connection to the protocol of another factory."""

    protocol = _Wrapper  # type: ignore[assignment]
    noisy = False

    def acceptableProtocols(self) -> list[bytes]:
        """For ALPN, if the header comes inside of TLS. HTTP/2 begins with the end of the handshake, of which nobody
        hears behind the wrapper."""
        return [b"http/1.1"]


@implementer(IStreamServerEndpoint)
@frozen
class Proxied:
    """An endpoint whose connections begin with the header."""

    endpoint: IStreamServerEndpoint

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint`."""
        return self.endpoint.listen(WrappingFactory(protocolFactory))


def when_named(transport: Any, named: Callable[[], object]) -> bool:
    """Have `named` called when a proxy has said whose connection this is. Whether it is still to: until then, it seems
    to be the proxy's."""
    while isinstance(transport, ProtocolWrapper):
        if isinstance(transport, _Wrapper) and transport._proxyInfo is None:
            transport.named = named
            return True
        transport = transport.transport
    return False
