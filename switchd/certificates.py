"""TLS for a server: its certificate from files, read again when they change.

    certificates = Certificates(options, folder, reactor, alpn=("h2", "http/1.1"))
    TLSMemoryBIOFactory(certificates, False, factory)

Listeners have it (`secured`), and so may plugins: `Tls` and `HttpTls` are attrs classes that a plugin's options can
inherit. What is wrong with the files is told at start-up, all of it at once. A running server is never worse off for a
file that has become wrong: it goes on with what it had, says so once, and looks again at the next change.

Sessions are TLS 1.2 or later, with what RFC 9113 section 9.2 asks for in HTTP/2, and good for anything else too: no
compression, no renegotiation, and of TLS 1.2 only the cipher suites with ephemeral keys and AEAD.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from switchd import config, events, schema
from switchd.errors import Mistake, UnusableOptions

Tls = config.Tls
HttpTls = config.HttpTls

LOOK_SECONDS = 1.0
"""How often, at most, it is looked whether a file has changed: new connections may come by the thousand."""

FILE_BYTES = 4_194_304
"""The longest file that is read: ten times all the authorities that a browser trusts."""

# Ephemeral keys and AEAD (RFC 9113 section 9.2.2); those of TLS 1.3 are not in this list, and are always there.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL")

_VERSIONS = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}

_Stamp = tuple[int, ...] | None


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """The server's end of TLS sessions, each with the certificate that the files hold when it begins.

    Args:
        options: Where the files are, and so on.
        folder: Where relative names start.
        clock: What `LOOK_SECONDS` are kept by: an `IReactorTime`.
        alpn: What clients may have by ALPN, the best first. A client that can have none of what it offers has no
            session, one that offers nothing does not mind.

    Raises:
        UnusableOptions: With everything that is wrong with the files.
    """

    def __init__(self, options: Tls, folder: Path, clock: Any, alpn: Sequence[str] = ()) -> None:
        self._options = options
        self._files = _Files(options, folder)
        self._clock = clock
        self._alpn = [name.encode("ascii") for name in alpn]
        self._seen = self._files.stamps()  # of what is served
        self._useless: tuple[_Stamp, ...] | None = None  # of what cannot be
        self._told: tuple[_Stamp, ...] | None = None  # of which the log knows that it could not be read
        self._looked = clock.seconds()
        self._contexts = self._made()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return self._connection(self._options.minimum_version, protocol)

    def are_those_of(self, other: Certificates) -> bool:
        """Whether another one serves the same, of the same options."""
        return (self._options, self._alpn, self._seen) == (other._options, other._alpn, other._seen)

    def at_least(self, version: str) -> IOpenSSLServerConnectionCreator:
        """The same, for sessions of TLS "1.2" or "1.3" or later; never older than the options have it."""
        return _AtLeast(self, max(version, self._options.minimum_version))

    def _connection(self, version: str, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        self._look()
        connection: SSL.Connection = self._contexts[version].serverConnectionForTLS(protocol)
        return connection

    def _look(self) -> None:
        """Read the files anew if they have changed, and not half a moment ago."""
        now = self._clock.seconds()
        if 0 <= now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        stamps = self._files.stamps()  # before they are read: what changes in between is seen the next time
        if stamps in (self._seen, self._useless):
            return
        name = str(self._files.certificate)
        try:
            self._contexts = self._made()
        except Exception as error:  # whatever it is, the connection that came is served as those before
            if stamps != self._told:
                events.log(events.NotRenewed(name, str(error)))
            self._told = stamps
            # What could not be read may be readable the next time, though nothing has changed: there was no descriptor.
            self._useless = None if isinstance(error.__cause__, OSError) else stamps
        else:
            self._seen, self._told = stamps, None
            events.log(events.Renewed(name))

    def _made(self) -> dict[str, CertificateOptions]:
        """What makes connections, for each version that may be the oldest.

        Raises:
            UnusableOptions: As the constructor.
        """
        identity = self._files.read()
        return {
            version: self._context(identity, version)
            for version in _VERSIONS
            if version >= self._options.minimum_version
        }

    def _context(self, identity: _Identity, version: str) -> CertificateOptions:
        who = self._options.client_certificates
        try:
            made = CertificateOptions(
                privateKey=identity.key,
                certificate=identity.chain[0],
                extraCertChain=identity.chain[1:],
                raiseMinimumTo=_VERSIONS[version],
                acceptableCiphers=_CIPHERS,
                acceptableProtocols=self._alpn,
                verify=who != "none",
                requireCertificate=who == "required",
                caCerts=identity.authorities,
            )
            made.getContext()  # where OpenSSL says what it thinks of them
        except (SSL.Error, crypto.Error, ValueError) as error:
            raise UnusableOptions(Mistake("certificate", f"OpenSSL does not take it: {in_words(error)}")) from error
        return made


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _AtLeast:
    certificates: Certificates
    version: str

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See `IOpenSSLServerConnectionCreator`."""
        return self.certificates._connection(self.version, protocol)


def in_words(error: BaseException | None) -> str:
    """What OpenSSL says."""
    match error:
        case SSL.Error(args=([*_, (_, _, str(reason))], *_)):
            return reason
        case _:
            return schema.in_words(error) if error is not None else "nothing"


def secured(factory: Any, certificates: Certificates, clock: Any) -> TLSMemoryBIOFactory:
    """A factory whose connections begin with TLS; in it they are those of `factory`, whose names for ALPN do not count.

    Behind a `haproxy:` endpoint, what the proxy says comes first.
    """
    return TLSMemoryBIOFactory(certificates, False, _Silent(factory), clock)


class _Silent(Factory):
    """Another factory, which is not asked for names for ALPN: Twisted would offer them besides those that we offer."""

    noisy = False

    def __init__(self, factory: Any) -> None:
        self.doStart = factory.doStart  # type: ignore[method-assign]
        self.doStop = factory.doStop  # type: ignore[method-assign]
        self.buildProtocol = factory.buildProtocol  # type: ignore[method-assign]
        self.logPrefix = factory.logPrefix  # type: ignore[method-assign]


# The files


@frozen
class _Identity:
    """What was read."""

    chain: list[Any]
    key: Any
    authorities: list[crypto.X509]


class _Wrong(Exception):
    """A file is of no use. The text says which, and why."""


class _Files:
    """The files that options name."""

    def __init__(self, options: Tls, folder: Path) -> None:
        self.certificate = folder / options.certificate
        self.key = folder / options.key if options.key else self.certificate
        self._authorities = folder / options.client_ca if options.client_ca else None
        self._options = options

    def stamps(self) -> tuple[_Stamp, ...]:
        """Differ when a file has changed. A link is followed: renewal often sets a link to new files."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self._authorities) if path is not None)

    def read(self) -> _Identity:
        """Read them all.

        Raises:
            UnusableOptions: With everything that is wrong. Its cause is an OSError where a file could not be read.
        """
        mistakes: list[Mistake] = []
        causes: list[BaseException | None] = []
        chain, key, authorities = [], None, []
        try:
            chain = _certificates(self.certificate)
        except _Wrong as wrong:
            mistakes.append(Mistake("certificate", str(wrong)))
            causes.append(wrong.__cause__)
        if chain or self._options.key:  # else it is in the file that is wrong already
            try:
                key = _private_key(self.key)
            except _Wrong as wrong:
                mistakes.append(Mistake("key", str(wrong)))
                causes.append(wrong.__cause__)
        if chain and key and not _belong_together(chain[0], key):
            mistakes.append(Mistake("key", f"{self.key} holds another key than that of the certificate"))
        try:
            authorities = self._read_authorities()
        except _Wrong as wrong:
            mistakes.append(Mistake("client_ca", str(wrong)))
            causes.append(wrong.__cause__)
        if mistakes:
            raise UnusableOptions(*mistakes) from next((each for each in causes if isinstance(each, OSError)), None)
        return _Identity(chain, key, authorities)

    def _read_authorities(self) -> list[crypto.X509]:
        asks = self._options.client_certificates != "none"
        if self._authorities is None:
            if asks:
                raise _Wrong("missing; client certificates are asked for: expected a file of who vouches for them")
            return []
        if not asks:
            raise _Wrong('of no use while client_certificates is "none"; expected "optional" or "required" there')
        return [crypto.X509.from_cryptography(each) for each in _certificates(self._authorities)]


def _stamp(path: Path) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _content(path: Path, is_secret: bool = False) -> bytes:
    try:
        with open(path, "rb") as opened:
            content = opened.read(FILE_BYTES + 1)
            mode = os.fstat(opened.fileno()).st_mode
    except OSError as error:
        raise _Wrong(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > FILE_BYTES:
        raise _Wrong(f"{path} is longer than {FILE_BYTES} bytes")
    if is_secret and mode & stat.S_IROTH:  # a group may well be meant to: it is often one that is there for this
        events.log(events.ExposedKey(str(path)))
    return content


def _certificates(path: Path) -> list[x509.Certificate]:
    content = _content(path)
    try:
        return x509.load_pem_x509_certificates(content)
    except Exception as error:  # ValueError, or one of its own, such as InvalidVersion
        raise _Wrong(f"{path} holds no sound certificate in PEM; expected -----BEGIN CERTIFICATE-----") from error


def _private_key(path: Path) -> Any:
    content = _content(path, is_secret=True)
    try:
        return load_pem_private_key(content, None)
    except TypeError as error:
        raise _Wrong(f"{path} is locked with a passphrase, which nobody could type; expected a key without") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _Wrong(f"{path} holds no sound private key in PEM; expected -----BEGIN PRIVATE KEY-----") from error


def _belong_together(certificate: x509.Certificate, key: Any) -> bool:
    try:
        return bool(certificate.public_key() == key.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return False
