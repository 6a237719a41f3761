"""Where to connect and what to ask, from a URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from switchd.client.ask import Ask
from switchd.client.endpoint import SECONDS, SwitchClientEndpoint
from switchd.interfaces import Header

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def client_from_url(
    reactor: Any,
    url: str,
    token: bytes,
    *,
    method: bytes = b"GET",
    headers: tuple[Header, ...] = (),
    body: bytes = b"",
    timeout: float = SECONDS,
    trust: Any = None,
    http2: bool = True,
) -> SwitchClientEndpoint:
    """The endpoint that connects to a URL and asks for a protocol there.

    Args:
        reactor: The reactor.
        url: `http://…`; `https://…`, where the certificate must be one that is trusted, for that host; or
            `unix:/path/of/socket:/target`, where the target may be missing. A fragment is left out.
        token: The protocol asked for; see `Ask`, as for `method` and `body`.
        headers: The same. One `Host` among them takes the place of the URL's.
        timeout: How long it may take until the server has switched, in seconds, the connection included.
        trust: Whose certificates are trusted, as `optionsForClientTLS` has it; see `trust_root`. None: those that the
            platform trusts.
        http2: Whether a server of `https` may choose HTTP/2; see `SwitchClientEndpoint`.

    Raises:
        ValueError: The URL is of another kind, or something may not be in a request. The text says which.
    """
    endpoint, in_http2, host, target = _located(reactor, url, trust)
    hosts = [value for name, value in headers if name.lower() == b"host"]
    if len(hosts) > 1:
        raise ValueError("there is one Host, or none")
    others = tuple(header for header in headers if header[0].lower() != b"host")
    ask = Ask(token, hosts[0] if hosts else host, target, method, others, body)
    return SwitchClientEndpoint(reactor, endpoint, ask, timeout, in_http2 if http2 else None)


def trust_root(path: str) -> Any:
    """Trust in certificates that are in files, as PEM: in one file, or in those of a folder whose names end in `.pem`.

    Raises:
        ValueError: One cannot be read, or there is no certificate. The text says where.
    """
    place = Path(path)
    files = sorted(place.glob("*.pem")) if place.is_dir() else [place]
    certificates = [certificate for file in files for certificate in _certificates(file)]
    if not certificates:
        raise ValueError(f"there is no certificate in {path}")
    return trustRootFromCertificates(certificates)


def _certificates(file: Path) -> list[Certificate]:
    try:
        return [Certificate.loadPEM(text) for text in _PEM.findall(file.read_bytes())]
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    except Exception as error:  # OpenSSL's own, or its binding's, in no common class
        raise ValueError(f"{file} has a certificate that cannot be read") from error


def _located(
    reactor: Any, url: str, trust: Any
) -> tuple[IStreamClientEndpoint, IStreamClientEndpoint | None, bytes, bytes]:
    """An endpoint without a time-out of its own; one that offers HTTP/2, if there is; the `Host` field and the request
    target."""
    if not re.fullmatch(r"[!-~]+", url):
        raise ValueError("a URL has no blanks and only ASCII: percent-encode its path, and write its host in punycode")
    if url.startswith("unix:"):
        path, _, target = url.removeprefix("unix:").partition(":")
        return UNIXClientEndpoint(reactor, path, timeout=None), None, b"localhost", target.encode() or b"/"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(f"expected http://HOST…, https://HOST… or unix:/PATH, without a user's name, got {url}")
    port = {"http": 80, "https": 443}[parts.scheme] if parts.port is None else parts.port
    # Its annotation forgets None, which is what connectTCP takes for "as long as it needs".
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, parts.hostname, port, timeout=None)  # type: ignore[arg-type]
    in_http2: IStreamClientEndpoint | None = None
    if parts.scheme == "https":
        both, one = (
            optionsForClientTLS(parts.hostname, trust, acceptableProtocols=alpn)
            for alpn in ((b"h2", b"http/1.1"), (b"http/1.1",))
        )
        in_http2, endpoint = wrapClientTLS(both, endpoint), wrapClientTLS(one, endpoint)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return endpoint, in_http2, parts.netloc.encode(), target.encode()
