"""Compression: which offer of permessage-deflate is accepted, and how (RFC 7692). Without Twisted.

The parameters go into autobahn's own classes, whose objects compress and inflate. Their parser is given only what is
valid, since it lets pass some things that the RFC forbids, and knows 9 to 15 window bits: zlib has no 8.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from attrs import frozen
from autobahn.websocket.compress import PerMessageDeflate, PerMessageDeflateOffer, PerMessageDeflateOfferAccept

from switchd.protocols.websocket.handshake import Extension

NAME = "permessage-deflate"
LEAST_BITS, MOST_BITS = 9, 15
"""Window sizes that zlib has, as powers of two; the RFC's 8 is not among them."""

MOST_USUAL, MOST_REMEMBERED = 12, 32
"""Lists of extensions that are read only once: the most extensions and parameters in one, and how many lists."""

_IS_BITS = re.compile(r"[89]|1[0-5]").fullmatch  # decimal, without leading zeros (section 7.1.2)


@frozen
class Settings:
    """How this server compresses.

    Attributes:
        window_bits: The most that either side uses, so far as the client lets us say so.
        context_takeover: Whether a message may refer to those before it; false for both sides.
        memory_level: zlib's, for what we send.
        max_bytes: The most that a message may have when it is inflated; inflation stops there.
    """

    window_bits: int
    context_takeover: bool
    memory_level: int
    max_bytes: int


class Compression(PerMessageDeflate):
    """autobahn's compression of one connection, with whole messages."""

    def deflated(self, message: bytes) -> bytes:
        """A message as it is sent; it may refer to those before it."""
        self.start_compress_message()
        data: bytes = self.compress_message_data(message) + self.end_compress_message()
        return data

    def alone(self, message: bytes) -> bytes:
        """A message that refers to no other, so that all clients with such a window understand it."""
        compressor = zlib.compressobj(wbits=-self.server_max_window_bits, memLevel=self.mem_level)
        return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def forget(self) -> None:
        """Something has been sent that was not compressed here: what comes next must not refer to what was before."""
        self._compressor = None


@frozen
class _Offer:
    parsed: PerMessageDeflateOffer
    client_bits: int  # what the client says it will use at most; 0: it does not let us choose

    def accept(self, settings: Settings) -> PerMessageDeflateOfferAccept:
        """The answer, which asks for nothing that was not offered (section 7.1), but to forget the context."""
        ours = min(settings.window_bits, self.parsed.request_max_window_bits or MOST_BITS)
        theirs = min(settings.window_bits, self.client_bits)
        return PerMessageDeflateOfferAccept(
            self.parsed,
            request_no_context_takeover=not settings.context_takeover,
            request_max_window_bits=theirs if LEAST_BITS <= theirs < MOST_BITS else 0,
            no_context_takeover=self.parsed.request_no_context_takeover or not settings.context_takeover,
            window_bits=ours,
            mem_level=settings.memory_level,
            max_message_size=settings.max_bytes,
        )


def negotiate(
    extensions: tuple[Extension, ...], settings: Settings, preferred: Callable[[list[Any]], Any] | None = None
) -> PerMessageDeflateOfferAccept | None:
    """Accept the first offer that can be.

    Args:
        extensions: What the client offers.
        settings: How we compress.
        preferred: Asked first, with autobahn's objects for the offers: a factory's own `perMessageCompressionAccept`.
            What it accepts is bounded by `settings.max_bytes` all the same.

    Returns:
        None: there is no compression on this connection.
    """
    if not extensions:
        return None
    offers = _offers(extensions)
    accepted: PerMessageDeflateOfferAccept | None = None
    if offers and preferred:
        accepted = preferred([one.parsed for one in offers])
    if offers and accepted is None:
        return offers[0].accept(settings)
    if accepted is not None:
        accepted.max_message_size = min(accepted.max_message_size or settings.max_bytes, settings.max_bytes)
    return accepted


def _offers(extensions: tuple[Extension, ...]) -> tuple[_Offer, ...]:
    is_usual = len(extensions) + sum(len(extension.parameters) for extension in extensions) <= MOST_USUAL
    return _usual(extensions) if is_usual else _read(extensions)


def _read(extensions: tuple[Extension, ...]) -> tuple[_Offer, ...]:
    found = []
    for extension in extensions:
        parameters = dict(extension.parameters)
        # An offer with a parameter that is unknown, wrong or there twice is declined, not an error (section 7.1).
        unique = len(parameters) == len(extension.parameters)
        if extension.name == NAME and unique and all(map(_is_valid, parameters, parameters.values())):
            bits = parameters.get("client_max_window_bits") or str(MOST_BITS)
            found.append(_Offer(_parsed(parameters), int(bits) if "client_max_window_bits" in parameters else 0))
    return tuple(found)


# Each kind of client always offers the same.
_usual = lru_cache(MOST_REMEMBERED)(_read)


def _is_valid(name: str, value: str | None) -> bool:
    match name:
        case "client_no_context_takeover" | "server_no_context_takeover":
            return value is None
        case "client_max_window_bits":
            return value is None or bool(_IS_BITS(value))
        case "server_max_window_bits":
            return value is not None and bool(_IS_BITS(value)) and int(value) >= LEAST_BITS
    return False


def _parsed(parameters: dict[str, str | None]) -> PerMessageDeflateOffer:
    # A value of client_max_window_bits is only a hint, which autobahn's parser checks and forgets.
    given = {name: [True if value is None else value] for name, value in parameters.items()}
    if "client_max_window_bits" in given:
        given["client_max_window_bits"] = [True]
    offer: PerMessageDeflateOffer = PerMessageDeflateOffer.parse(given)
    return offer
