"""h2c: HTTP/2 in clear, by `Upgrade` (RFC 7540 section 3.2; RFC 9113 left it out, and clients still use it).

The request that asks is answered on stream 1. What it says in `HTTP2-Settings` is judged here, by the rules of the
frame that it stands for.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Any

from attrs import frozen
from zope.interface import implementer

from switchd.interfaces import Accept, Answer, Context, IInClear, ISwitch, NoOptions, Offer, Refuse, Request

_IS_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*").fullmatch  # without padding (section 3.2.1)

# RFC 9113 section 6.5.2, RFC 8441 section 3: identifier, and the values that it may have.
_VALUES = {
    2: range(2),  # SETTINGS_ENABLE_PUSH
    4: range(1 << 31),  # SETTINGS_INITIAL_WINDOW_SIZE
    5: range(1 << 14, 1 << 24),  # SETTINGS_MAX_FRAME_SIZE
    8: range(2),  # SETTINGS_ENABLE_CONNECT_PROTOCOL
}


@implementer(ISwitch, IInClear)
@frozen
class H2c:
    """One `[[switch]]` with `protocol = "h2c"`."""

    options: NoOptions
    context: Context

    def offer(self, request: Request, offer: Offer) -> Answer:
        """See `ISwitch`.

        Where the RFC forbids the upgrade the offer is left: in TLS (section 3.3), or unless there is exactly one
        `HTTP2-Settings`, which `Connection` lists (section 3.2.1).
        """
        settings = request.values(b"http2-settings")
        if offer.version is not None or request.how != "upgrade" or request.secure:
            return None
        if len(settings) != 1 or not _is_listed(request):
            return None
        try:
            payload = decoded(settings[0])
        except ValueError as error:
            return Refuse(400, body=f"HTTP2-Settings {error}\n".encode(), close=True)
        return Accept(build=lambda session: session.resume_http(b"h2", payload))


def _is_listed(request: Request) -> bool:
    options = b",".join(request.values(b"connection")).split(b",")
    return any(option.strip(b" \t").lower() == b"http2-settings" for option in options)


def decoded(value: bytes) -> bytes:
    """The payload of a SETTINGS frame, from the field that carries it.

    Raises:
        ValueError: It is none; the text says why.
    """
    if not _IS_BASE64URL(value) or len(value) % 4 == 1:
        raise ValueError("is not base64url without padding")
    payload = urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    if len(payload) % 6:
        raise ValueError("has an incomplete setting in it")
    for start in range(0, len(payload), 6):
        identifier = int.from_bytes(payload[start : start + 2], "big")
        setting: Any = int.from_bytes(payload[start + 2 : start + 6], "big")
        if setting not in _VALUES.get(identifier, (setting,)):
            raise ValueError(f"has the value {setting} for the setting {identifier}")
    return payload
