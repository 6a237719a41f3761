"""What a request over HTTP/2 must be (RFC 9113 section 8), as a pure function of its header fields.

What is malformed is no request, and its stream is reset; what is well-formed and not served has a status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

from attrs import frozen
from twisted.web.http_headers import Headers

from switchd import messages
from switchd.config import Limits
from switchd.errors import RequestError
from switchd.interfaces import Header
from switchd.memory import SECRETS, Memory

_IS_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch  # a token, and no capitals (section 8.2)
_VALUE_BYTES = bytes([*b"\t", *range(0x20, 0x7F), *range(0x80, 0x100)])
"""No NUL, CR, LF (section 8.2.1); other controls have no place in a field either."""
_BLANKS = b" \t"
_IS_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_IS_PATH = re.compile(rb"/[\x21-\x7e\x80-\xff]*").fullmatch

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""Fields about one connection of HTTP/1.1 (section 8.2.2): malformed in a request, left out of an answer."""

_MEANT = frozenset({b"host", b"cookie", b"content-length", b"expect"})
"""Fields that mean something here."""

_KNOWN = frozenset(
    b"""
    accept accept-charset accept-encoding accept-language access-control-request-headers
    access-control-request-method authorization cache-control content-encoding content-language content-length
    content-type cookie date dnt expect forwarded from host if-match if-modified-since if-none-match if-range
    if-unmodified-since last-event-id max-forwards origin pragma priority proxy-authorization range referer
    sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user
    sec-gpc traceparent tracestate upgrade-insecure-requests user-agent via x-forwarded-for x-forwarded-host
    x-forwarded-proto x-real-ip x-request-id x-requested-with
    """.split()
)
"""Names of which it is known that they are right, whatever their value: most requests have no others."""

FIELD_OVERHEAD = 32
"""Bytes by which each field counts for more than its name and value (section 6.5.2)."""


class Malformed(Exception):
    """The stream is to be reset, with PROTOCOL_ERROR (section 8.1.1)."""


REMEMBERED_HEADS = 256
"""Heads that are remembered because they were right: clients ask for the same things in the same words."""

REMEMBERED_BYTES = 2048
"""The longest that is remembered, counted as section 6.5.2 does: in all they are some two megabytes, then."""

_IS_SECRET = re.compile(b"|".join(SECRETS)).search
"""In the name of a field that may be secret. A head with one is not remembered, nor one with a query, which may be
secret too: nothing of either is in what all connections share. What a connection's engine keeps goes with it."""


@frozen
class Head:
    """A request without its body.

    Attributes:
        method: As sent.
        path: The `:path`: path and query, or `*`.
        headers: Names in lower case; `host` comes first, whether it was sent so or as `:authority`.
        length: The length of its body in bytes, if it says so.
        expects: Whether it waits for a 100 before it sends its body.
        protocol: What an extended CONNECT asks for (RFC 8441 section 4); None: it is none.
    """

    method: bytes
    path: bytes
    headers: tuple[Header, ...]
    length: int | None
    expects: bool = False
    protocol: bytes | None = None


_remembered: Memory[tuple[Header, ...], tuple[Limits, Head]] = Memory(REMEMBERED_HEADS)


def read(fields: tuple[Header, ...], limits: Limits) -> Head:
    """A request's fields, if they are right.

    Raises:
        Malformed: They break a rule of section 8.
        RequestError: They are over a limit (431, 413), or ask for what is not served (400, 501).
    """
    known = _remembered.get(fields)
    if known is not None and known[0] is limits:
        return known[1]
    size = _size(fields)
    head = _read(fields, size, limits)
    if size <= REMEMBERED_BYTES and not _is_private(head):
        _remembered.keep(fields, (limits, head))
    return head


def _is_private(head: Head) -> bool:
    if b"?" in head.path:
        return True
    return any(_IS_SECRET(name) or (name == b"referer" and b"?" in value) for name, value in head.headers)


def _read(fields: tuple[Header, ...], size: int, limits: Limits) -> Head:
    pseudo, headers = _parted(fields)
    if size > limits.head_bytes:
        raise RequestError(431, "the header fields of the request are longer than this server takes")
    if len(fields) > limits.header_count:
        raise RequestError(431, "the request has more header fields than this server takes")
    method = pseudo.get(b":method", b"")
    if not _IS_METHOD(method):
        raise Malformed("no :method")
    _check_connect(method, pseudo)
    if method == b"CONNECT" and b":protocol" not in pseudo:
        raise RequestError(501, "this server is no proxy")
    path = _path(method, pseudo)
    meant = [field for field in headers if field[0] in _MEANT]
    host = _host(pseudo.get(b":authority"), meant)
    length = _length(meant)
    if length is not None and length > limits.body_bytes:
        raise messages.too_long()
    expected = [value.lower() for name, value in meant if name == b"expect"]
    others = [header for header in headers if header[0] not in (b"host", b"cookie")]
    whole = ((b"host", host), *others, *_cookies(meant))
    return Head(method, path, whole, length, expected == [b"100-continue"], pseudo.get(b":protocol"))


def answered(headers: Headers) -> tuple[Header, ...]:
    """The fields of an answer: names in lower case, and none about a connection of HTTP/1.1."""
    named = [(name.lower(), values) for name, values in headers.getAllRawHeaders()]
    return tuple([(name, value) for name, values in named if name not in HOP_BY_HOP for value in values])


def lowered(headers: Iterable[Header]) -> tuple[Header, ...]:
    """The same of fields that are not twisted.web's."""
    named = [(name.lower(), value) for name, value in headers]
    return tuple([(name, value) for name, value in named if name not in HOP_BY_HOP])


def check_trailers(trailers: tuple[Header, ...]) -> None:
    """Whether the fields after a body may be there (section 8.1).

    Raises:
        Malformed: They may not.
    """
    _size(trailers)
    pseudo, _ = _parted(trailers)
    if pseudo:
        raise Malformed("a pseudo-header field in trailers")


def _size(fields: tuple[Header, ...]) -> int:
    """How long the list is (section 6.5.2). Malformed, if there is a control character anywhere in it."""
    whole = b"".join(chain.from_iterable(fields))
    if whole.translate(None, _VALUE_BYTES):
        raise Malformed("a control character")
    return len(whole) + FIELD_OVERHEAD * len(fields)


def _parted(fields: tuple[Header, ...]) -> tuple[dict[bytes, bytes], list[Header]]:
    """Pseudo-header fields, each of which comes once and before all others, and the rest."""
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    for field in fields:
        name, value = field
        if value.strip(_BLANKS) != value:
            raise Malformed("a value with blanks around it")
        if name in _KNOWN:
            headers.append(field)
        elif name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or headers:
                raise Malformed("a pseudo-header field that may not be there")
            pseudo[name] = value
        else:
            _check_name(name, value)
            headers.append(field)
    return pseudo, headers


def _check_name(name: bytes, value: bytes) -> None:
    if not _IS_NAME(name):
        raise Malformed("a field name that is none")
    if name in HOP_BY_HOP or (name == b"te" and value.lower() != b"trailers"):
        raise Malformed("a field about a connection of HTTP/1.1")


def _check_connect(method: bytes, pseudo: dict[bytes, bytes]) -> None:
    """Whether a CONNECT has what makes one (section 8.5), an extended one all else (RFC 8441 section 4), and no other
    request a `:protocol`."""
    if b":protocol" in pseudo:
        if method != b"CONNECT" or pseudo.keys() != _PSEUDO:
            raise Malformed("a :protocol is for a CONNECT with :authority, :scheme and :path")
    elif method == b"CONNECT" and pseudo.keys() != {b":method", b":authority"}:
        raise Malformed("a CONNECT has an :authority, no :scheme and no :path")


def _path(method: bytes, pseudo: dict[bytes, bytes]) -> bytes:
    path = pseudo.get(b":path", b"")
    if not pseudo.get(b":scheme"):
        raise Malformed("no :scheme")
    if not _IS_PATH(path) and not (path == b"*" and method == b"OPTIONS"):
        raise Malformed("a :path that is none")
    return path


def _host(authority: bytes | None, headers: list[Header]) -> bytes:
    """Where it goes: `:authority`, or else `host`, which must say the same (section 8.3.1)."""
    hosts = [value for name, value in headers if name == b"host"]
    if authority is not None and any(host.lower() != authority.lower() for host in hosts):
        raise Malformed(":authority and host are different")
    asked = hosts[:1] if authority is None else [authority]
    messages.check_host(hosts if authority is None else asked, b"HTTP/1.1")
    if not asked[0]:
        raise RequestError(400, "the request does not say for which host it is")
    return asked[0]


def _cookies(headers: list[Header]) -> tuple[Header, ...]:
    """One field of what may come in crumbs (section 8.2.3)."""
    crumbs = [value for name, value in headers if name == b"cookie"]
    return ((b"cookie", b"; ".join(crumbs)),) if crumbs else ()


def _length(headers: list[Header]) -> int | None:
    values = {value for name, value in headers if name == b"content-length"}
    if not values:
        return None
    (value, *others) = values
    if others or not value.isdigit():
        raise Malformed("a content-length that is none")
    messages.check_framing(b"Content-Length", value, b"HTTP/2")
    return int(value.lstrip(b"0") or b"0")  # int() takes only so many digits, zeros or not
