"""Certificates for tests, made on the spot."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = START + datetime.timedelta(days=365 * 100)


def key_pem(key: Any, passphrase: bytes = b"") -> bytes:
    """A private key as PEM."""
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    return pem


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """Somebody who signs certificates.

    Attributes:
        pem: Its own certificate.
    """

    def __init__(self, name: str = "authority", by: Authority | None = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.name = name
        issuer = by or self
        signed = issuer._sign(name, self._key.public_key(), is_authority=True)
        self.certificate = signed
        self.pem = pem(signed)

    def issue(self, name: str = "localhost", key: Any = None) -> tuple[bytes, bytes]:
        """A key and its certificate, as PEM."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        return key_pem(key), pem(self._sign(name, key.public_key(), is_authority=False))

    def _sign(self, name: str, key: Any, is_authority: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(self.name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(START)
            .not_valid_after(END)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def write(folder: Path, **files: bytes) -> None:
    """Files called `name`.pem."""
    for name, content in files.items():
        (folder / f"{name}.pem").write_bytes(content)
