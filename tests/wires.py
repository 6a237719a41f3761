"""The kinds of transport that a switch has to work on, each as a `Wire`."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec

import pytest_twisted  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from switchd.http2 import Session
from switchd.interfaces import Accept
from switchd.negotiation import Entry
from switchd.testing import CLIENT, Wire
from tests import http2_client
from tests.serving import Says

P = ParamSpec("P")

PROXY = b"PROXY TCP4 198.51.100.7 198.51.100.8 1234 80\r\n"


@cache
def certificate() -> tuple[bytes, bytes]:
    """A key and a self-signed certificate for localhost, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=365 * 100))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*form), built.public_bytes(serialization.Encoding.PEM)


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """The same in files, as an `ssl:` endpoint wants them."""
    names = (folder / "key.pem", folder / "cert.pem")
    for name, data in zip(names, certificate(), strict=True):
        name.write_bytes(data)
    return names


def server_tls() -> CertificateOptions:
    """What a server's end of TLS needs."""
    key, cert = certificate()
    # pyOpenSSL takes these and warns of its own types; Twisted's annotations have not followed yet.
    private_key: Any = serialization.load_pem_private_key(key, None)
    loaded: Any = x509.load_pem_x509_certificate(cert)
    return CertificateOptions(privateKey=private_key, certificate=loaded)


class PolicyWire(Wire):
    """Behind a protocol wrapper of `twisted.protocols.policies`."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        super().__init__(WrappingFactory(server), clock)


class HAProxyWire(Wire):
    """Behind a proxy that speaks the PROXY protocol."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        super().__init__(HAProxyWrappingFactory(server), clock)
        super().send(PROXY)


class TLSWire(Wire):
    """In a TLS session, with OpenSSL itself as the client."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        clock = Clock() if clock is None else clock
        self._start()
        super().__init__(TLSMemoryBIOFactory(server_tls(), False, server, clock), clock)
        self._ready = True
        self._talk()

    @classmethod
    def over(cls, wire: Wire) -> TLSWire:
        """TLS from here on, on a connection that was something else before."""
        self = cls.__new__(cls)
        self._start()
        self.clock, self.transport = wire.clock, wire.transport
        self._ready = True
        self._talk()
        return self

    def _start(self) -> None:
        self._engine = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        self._engine.set_connect_state()
        self._plain = bytearray()
        self._ready = False

    def send(self, data: bytes) -> None:
        while data:
            data = data[self._engine.send(data) :]  # a record at a time
        self._talk()

    def send_records(self, *records: bytes) -> None:
        """All in one segment."""
        for record in records:
            self._engine.send(record)
        self._talk()

    def close_notify(self) -> None:
        """Take leave in TLS's own way."""
        self._engine.shutdown()
        self._talk()

    def send_and_take_leave(self, data: bytes) -> None:
        """Both in one segment."""
        self._engine.send(data)
        self.close_notify()

    def half_close(self, data: bytes = b"") -> None:
        if data:
            self._engine.send(data)
            self._talk()
        super().half_close()
        self._talk()

    def turn(self) -> None:
        super().turn()
        if self._ready:
            self._talk()

    @property
    def received(self) -> bytes:
        return bytes(self._plain)

    def take(self) -> bytes:
        data = self.received
        self._plain.clear()
        return data

    def _talk(self) -> None:
        """Exchange records until neither side has any left."""
        while True:
            if self.transport.sent:
                data = bytes(self.transport.sent)
                self.transport.sent.clear()
                self._engine.bio_write(data)
            try:
                while True:
                    self._plain += self._engine.recv(65536)
            except (SSL.WantReadError, SSL.ZeroReturnError):
                pass
            except SSL.SysCallError:
                return
            try:
                data = self._engine.bio_read(65536)
            except SSL.WantReadError:
                if not self.transport.sent:
                    return
                continue
            self.transport.arrive(data)
            super().turn()


class ProxiedTLSWire(TLSWire):
    """`haproxy:ssl`: the PROXY line comes inside the TLS session."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        super().__init__(HAProxyWrappingFactory(server), clock)
        self.send(PROXY)


class TunnelWire(Wire):
    """A stream of HTTP/2, by extended CONNECT."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        made = [server.buildProtocol(CLIENT) if hasattr(server, "buildProtocol") else server]
        del server
        entry = Entry("/", "any", (b"any",), Says(Accept(lambda session: made.pop())))
        self._client = http2_client.Client(http2_client.site(entries=[entry], clock=clock))
        self.clock = self._client.wire.clock
        session = self._client.session
        self._answer = self._client.tunnel("/", "any")
        assert self._answer.status == 200
        self.transport = session._streams[self._answer.stream]
        self._read = 0

    def send(self, data: bytes) -> None:
        self._client.send(self._answer.stream, data)
        self.turn()

    def half_close(self, data: bytes = b"") -> None:
        self._client.tell(self._answer, data, ended=True)
        self.turn()

    def reset(self) -> None:
        self._client.wire.reset()

    def stop_reading(self) -> None:
        self._client.reads = False

    def resume_reading(self) -> None:
        self._client.reads = True
        self._client.h2.increment_flow_control_window(1 << 20, self._answer.stream)
        self.turn()

    def turn(self) -> None:
        super().turn()
        self._client.talk()

    @property
    def received(self) -> bytes:
        return self._answer.body[self._read :]

    def take(self) -> bytes:
        data = self.received
        self._read += len(data)
        return data

    @property
    def closed(self) -> bool:
        return not self.transport.connected


Kind = Callable[..., Wire]
KINDS: dict[str, Kind] = {
    "memory": Wire,
    "policy": PolicyWire,
    "haproxy": HAProxyWire,
    "tls": TLSWire,
    "haproxy over tls": ProxiedTLSWire,
}


def is_paused(wire: Wire) -> bool:
    """Whether what a client sends is left where it is."""
    transport: Any = wire.transport
    return not (transport._wanted if isinstance(wire, TunnelWire) else transport.reading)


def delayed(wire: Wire) -> list[Any]:
    """The calls that its clock still has to make; but for HTTP/2's own, whose connection goes on."""
    calls: list[Any] = list(wire.clock.getDelayedCalls())
    return [call for call in calls if not isinstance(getattr(call.func, "__self__", None), Session)]


STREAMS: dict[str, Kind] = {**KINDS, "tunnel": TunnelWire}
"""Those, and what is one to a protocol only."""
CLEAR = {name: kind for name, kind in KINDS.items() if "tls" not in name}


def with_reactor(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test that awaits what the real reactor does."""
    wrapped: Callable[P, None] = pytest_twisted.ensureDeferred(test)
    return wrapped


def one(build: Callable[[], Any]) -> Factory:
    """A factory that builds its one protocol by `build`."""

    class Once(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            return build()

    return Once()
