"""Rules of HTTP/1.1 messages that twisted.web leaves to us (RFC 9112), as pure functions of bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus

from switchd.errors import RequestError
from switchd.interfaces import Header, Request
from switchd.negotiation import lists

_LONGEST_LENGTH = 18
"""Digits of a Content-Length that are looked at; a longer one is over any limit, and int() has one of its own."""

_FIRST = frozenset(b"!#$%&'*+-.^_`|~\r\n0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
is_host = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*").fullmatch
_ABSOLUTE_FORM = re.compile(rb"https?://([^/?#]+)([^#]*)", re.IGNORECASE).fullmatch

SPENT = frozenset((b"connection", b"upgrade", b"http2-settings", b"expect", b"transfer-encoding", b"content-length"))
"""What a request that is answered after the switch no longer says: it was said to the hop that is over."""


def check_first_byte(data: bytes) -> None:
    """Whether a request may begin so. A TLS ClientHello, say, may have no line end in it for a long time.

    Raises:
        RequestError: 400.
    """
    if data[0] not in _FIRST:
        raise RequestError(400, "this is not HTTP")


def check_field_line(line: bytes) -> None:
    """Whether a field line is free of CR, LF and NUL (RFC 9110 section 5.5); older releases of twisted.web let some by.

    Raises:
        RequestError: 400.
    """
    if any(control in line for control in b"\r\n\0"):
        raise RequestError(400, "a header field has a control character in it")


def check_framing(name: bytes, value: bytes, version: bytes) -> None:
    """Whether a field that frames the body is one that is understood (RFC 9112 sections 6.1, 6.2).

    Raises:
        RequestError: 413 for a length that no limit allows; 400 or 501 for a transfer coding.
    """
    if name == b"Content-Length" and value.isdigit() and len(value.lstrip(b"0")) > _LONGEST_LENGTH:
        raise too_long()
    if name == b"Transfer-Encoding" and version == b"HTTP/1.0":
        raise RequestError(400, "an HTTP/1.0 request has no Transfer-Encoding")
    if name == b"Transfer-Encoding" and value.lower() != b"chunked":
        raise RequestError(501, "the only transfer coding that this server knows is chunked")


def check_chunk(length: int, left: int) -> None:
    """Whether a chunk may be that long.

    Args:
        length: What it says that it is, in bytes.
        left: How much of the body's limit is left, in bytes.

    Raises:
        RequestError: 413; 400 if no recipient could count that far (RFC 9112 section 7.1).
    """
    if length >= 1 << 63:
        raise RequestError(400, "a chunk size is too large to be meant")
    if length > left:
        raise too_long()


def too_long() -> RequestError:
    """What is said of a body that is over its limit."""
    return RequestError(413, "the body of the request is longer than this server takes")


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """A request target as path and query or `*`, and the authority that it names, if it does (RFC 9112 section 3.2).

    Raises:
        RequestError: 501 for CONNECT; 400 for what is no target. The connection must be closed: what follows a CONNECT
            was meant for somebody else (RFC 9931).
    """
    if method == b"CONNECT":
        raise RequestError(501, "this server is no proxy")
    absolute = _ABSOLUTE_FORM(target)
    if absolute is None:
        if not target.startswith(b"/") and target != b"*":
            raise RequestError(400, "the request target is no path, no absolute http URL and not *")
        return target, None
    authority, rest = absolute.groups()
    if not rest and method == b"OPTIONS":
        return b"*", authority
    return rest if rest.startswith(b"/") else b"/" + rest, authority


def check_host(hosts: Sequence[bytes], version: bytes) -> None:
    """Whether a request has the `Host` that it must have (RFC 9112 section 3.2).

    Raises:
        RequestError: 400.
    """
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise RequestError(400, "a request has exactly one Host field")
    if hosts and not is_host(hosts[0]):
        raise RequestError(400, "the Host field is no host")


def error_answer(error: RequestError, fields: Iterable[Header]) -> bytes:
    """A whole response that says what was wrong and that the connection is closed."""
    body = error.why.encode() + b"\n"
    lines = [
        b"HTTP/1.1 %d %s" % (error.status, reason(error.status)),
        *(b"%s: %s" % field for field in fields),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    return b"\r\n".join([*lines, b"", body])


def reason(status: int) -> bytes:
    """The reason phrase of a status code."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


def serialised(asked: Request) -> bytes:
    """A request as bytes again, without what was said to the hop that is over."""
    lines = [b"%s %s HTTP/1.1" % (asked.method, asked.target)]
    lines += [b"%s: %s" % field for field in asked.headers if field[0] not in SPENT]
    if lists(asked.values(b"connection"), b"close"):
        lines.append(b"Connection: close")  # for the hop that begins, it holds still
    if asked.body:
        lines.append(b"Content-Length: %d" % len(asked.body))
    return b"\r\n".join([*lines, b"", asked.body])
