"""h2c: HTTP/2 in clear, by `Upgrade` (RFC 7540 section 3.2; RFC 9113 left it out, and clients still use it).

The request that asks is answered on stream 1. What it says in `HTTP2-Settings` is judged here, by the rules of the
frame that it stands for; and so is whether there is a proxy in between, which would see that request and none of those
that follow it ("h2c smuggling").
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Any, Literal

from attrs import frozen
from twisted.logger import Logger
from zope.interface import implementer

from switchd.interfaces import Accept, Answer, Context, IInClear, IOptional, ISwitch, Offer, Refuse, Request

_IS_BASE64URL = re.compile(rb"[A-Za-z0-9_-]*").fullmatch  # without padding (section 3.2.1)

_is_a_proxys = re.compile(rb"via|forwarded|x-forwarded-.+|x-real-ip").fullmatch
"""The name of a field that a proxy adds, and no client."""

_GROW = (b"via", b"forwarded", b"x-forwarded-for")
"""Those to which each proxy adds an element."""

_log = Logger()

# RFC 9113 section 6.5.2, RFC 8441 section 3: identifier, and the values that it may have.
_VALUES = {
    2: range(2),  # SETTINGS_ENABLE_PUSH
    4: range(1 << 31),  # SETTINGS_INITIAL_WINDOW_SIZE
    5: range(1 << 14, 1 << 24),  # SETTINGS_MAX_FRAME_SIZE
    8: range(2),  # SETTINGS_ENABLE_CONNECT_PROTOCOL
}


@implementer(ISwitch, IInClear, IOptional)
@frozen
class H2c:
    """One `[[switch]]` with `protocol = "h2c"`."""

    @frozen
    class Options:
        """What a `[[switch]]` entry may set.

        Attributes:
            through_proxies: Whether a request that has come through a proxy may have it: "never"; "trusted", if that is
                so of every proxy that it has come through; or "always". A proxy that judges requests would see this one
                and none of those that follow.
        """

        through_proxies: Literal["never", "trusted", "always"] = "never"

    options: Options
    context: Context

    def offer(self, request: Request, offer: Offer) -> Answer:
        """See `ISwitch`.

        Where the RFC forbids the upgrade the offer is left: in TLS (section 3.3), or unless there is exactly one
        `HTTP2-Settings`, which `Connection` lists (section 3.2.1). So it is if a proxy is in the way.
        """
        settings = request.values(b"http2-settings")
        if offer.version is not None or request.how != "upgrade" or request.secure:
            return None
        if len(settings) != 1 or not _is_listed(request):
            return None
        if not self._is_welcome(request):
            _log.info(
                "{id} asks for h2c through a proxy: it is not taken, as through_proxies says {mode}",
                id=request.id,
                mode=self.options.through_proxies,
            )
            return None
        try:
            payload = decoded(settings[0])
        except ValueError as error:
            return Refuse(400, body=f"HTTP2-Settings {error}\n".encode(), close=True)
        return Accept(build=lambda session: session.resume_http(b"h2", payload))

    def _is_welcome(self, request: Request) -> bool:
        match self.options.through_proxies:
            case "always":
                return True
            case "trusted" if request.proxies:
                return _hops(request) <= len(request.proxies)
            case _:
                return not (request.proxies or any(_is_a_proxys(name) for name, _ in request.headers))


def _hops(request: Request) -> int:
    """How many proxies it has come through at least, as it says itself."""
    return max(b",".join(request.values(name)).count(b",") + 1 for name in _GROW)


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
