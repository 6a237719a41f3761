"""The kinds of transport that a switch has to work on, each as a `Wire`."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
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
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from switchd import haproxy
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


def client_tls(
    *,
    alpn: Sequence[bytes] = (),
    oldest: int = SSL.TLS1_2_VERSION,
    newest: int = SSL.TLS1_3_VERSION,
    ciphers: bytes = b"",
    identity: tuple[bytes, bytes] | None = None,
) -> SSL.Context:
    """A client that trusts anybody.

    Args:
        alpn: What it can speak.
        oldest: The oldest TLS that it takes.
        newest: The newest.
        ciphers: Its cipher suites for TLS 1.2, as OpenSSL lists them.
        identity: Its own key and certificate.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(oldest)
    context.set_max_proto_version(newest)
    if alpn:
        context.set_alpn_protos(list(alpn))
    if identity is not None:
        private_key: Any = serialization.load_pem_private_key(identity[0], None)
        context.use_certificate(x509.load_pem_x509_certificate(identity[1]))
        context.use_privatekey(private_key)
    if ciphers:
        context.set_cipher_list(ciphers)
    return context


class PolicyWire(Wire):
    """Behind a protocol wrapper of `twisted.protocols.policies`."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        super().__init__(WrappingFactory(server), clock)


class HAProxyWire(Wire):
    """Behind a proxy that speaks the PROXY protocol."""

    def __init__(self, server: Any, clock: Clock | None = None) -> None:
        super().__init__(haproxy.WrappingFactory(server), clock)
        super().send(PROXY)


class TLSWire(Wire):
    """In a TLS session, with OpenSSL itself as the client.

    Args:
        server: A protocol, or a factory that builds one.
        clock: As for `Wire`.
        creator: The server's end. None: that of `server_tls`.
        client: The client's context: see `client_tls`.
        first: What a proxy in front says in clear.
    """

    def __init__(
        self,
        server: Any,
        clock: Clock | None = None,
        creator: Any = None,
        client: SSL.Context | None = None,
        first: bytes = b"",
    ) -> None:
        clock = Clock() if clock is None else clock
        self._start(client)
        secured: Any = TLSMemoryBIOFactory(creator or server_tls(), False, server, clock)
        super().__init__(haproxy.WrappingFactory(secured) if first else secured, clock)
        if first:
            Wire.send(self, first)
        self._ready = True
        self._talk()

    @classmethod
    def over(cls, wire: Wire, client: SSL.Context | None = None) -> TLSWire:
        """TLS from here on, on a connection that was something else before."""
        self = cls.__new__(cls)
        self._start(client)
        self.clock, self.transport = wire.clock, wire.transport
        self._ready = True
        self._talk()
        return self

    @property
    def alpn(self) -> bytes:
        """What was agreed on by ALPN."""
        return self._engine.get_alpn_proto_negotiated()

    @property
    def version(self) -> str:
        """What is spoken: "TLSv1.3"."""
        return self._engine.get_protocol_version_name()

    @property
    def cipher(self) -> str | None:
        """The cipher suite, as OpenSSL calls it."""
        return self._engine.get_cipher_name()

    @property
    def name(self) -> str:
        """The common name in the server's certificate."""
        return self.names[0]

    @property
    def names(self) -> list[str]:
        """The common names in the certificates that the server has sent."""
        chain = self._engine.get_peer_cert_chain(as_cryptography=True) or []
        return [str(each.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value) for each in chain]

    def _start(self, client: SSL.Context | None) -> None:
        self._engine = SSL.Connection(client_tls() if client is None else client, None)
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
            except SSL.Error:
                pass  # the server has taken leave with an alert; what we have to say to that is sent
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
        super().__init__(haproxy.WrappingFactory(server), clock)
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
