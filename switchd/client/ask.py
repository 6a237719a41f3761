"""What a client asks for, in whichever version of HTTP."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from switchd.interfaces import Header
from switchd.negotiation import offers

OURS = (b"host", b"upgrade", b"content-length", b"transfer-encoding")
"""The fields that the other attributes of an `Ask` say, in lower case: a second one would say something else."""


def _is_protocol(ask: Ask, attribute: Any, token: bytes) -> None:
    if [bytes(offer) for offer in offers([token])] != [token]:
        raise ValueError(f"{_shown(token)} is no protocol name, with or without a version")


def _is_no_tunnel(ask: Ask, attribute: Any, method: bytes) -> None:
    if method.upper() == b"CONNECT":
        raise ValueError("CONNECT asks for a tunnel, which is no switch")


def _are_others(ask: Ask, attribute: Any, headers: tuple[Header, ...]) -> None:
    for name, _ in headers:
        if name.lower() in OURS:
            raise ValueError(f"the header field {_shown(name)} is not among those that can be added")


def _shown(text: bytes) -> str:
    return repr(text.decode("ascii", "backslashreplace"))


@frozen
class Ask:
    """A request for a switch.

    Attributes:
        token: The protocol asked for, for example `b"addone"` or `b"TLS/1.3"`.
        host: The `Host` field.
        target: The request target.
        method: The method.
        headers: Header fields besides `Host`, `Connection`, `Upgrade` and, where there is a body, `Content-Length`.
            Another `Connection` adds to ours.
        body: The content.

    Raises:
        ValueError: The token is no protocol's name, the method is CONNECT, or a header field is there twice.
    """

    token: bytes = field(validator=_is_protocol)
    host: bytes
    target: bytes = b"/"
    method: bytes = field(default=b"GET", validator=_is_no_tunnel)
    headers: tuple[Header, ...] = field(default=(), validator=_are_others)
    body: bytes = b""
