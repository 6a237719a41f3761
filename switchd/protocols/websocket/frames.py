"""Whole messages in one frame, read and written in one pass: what nearly all traffic is made of. Without Twisted.

Everything else is autobahn's to judge: fragments, control frames, compression, and whatever breaks a rule. `whole`
stops in front of it, and says nothing about it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from switchd.protocols.websocket.masks import SMALL, by_arithmetic, by_library

TEXT, BINARY = 0x81, 0x82
"""The first byte of a message in one frame: FIN, and the opcode (RFC 6455 section 5.2)."""

_FIRST = frozenset((TEXT, BINARY))
_LENGTH_16, _LENGTH_64 = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack
# What begins a frame of 125 bytes or less, for each length: made once, since most frames are short.
_SHORT = [[bytes((first, length)) for length in range(126)] for first in (TEXT, BINARY)]


def whole(data: bytes, longest: int) -> Iterator[tuple[bytes, bool, int]]:
    """The messages at the beginning of `data` that are there in one frame each, whole and right.

    Args:
        data: What a client has sent, from the beginning of a frame on.
        longest: The most bytes that a message may have.

    Yields:
        The message, whether it is binary, and where it ends in `data`.
    """
    position, end = 0, len(data)
    while end - position >= 6:
        first, length = data[position], data[position + 1] - 0x80  # below 0: not masked
        if first not in _FIRST or length < 0:
            return
        start = position + 6
        if length > 125:
            start += 2 if length == 126 else 8
            extended = int.from_bytes(data[position + 2 : start - 4], "big")
            if end < start or extended < (126 if length == 126 else 65536):
                return
            length = extended
        position = start + length
        if position > end or length > longest:
            return
        payload = by_arithmetic(data, start, position) if length <= SMALL else by_library(data, start, position)
        if first == TEXT and not (payload.isascii() or _is_utf8(payload)):
            return
        yield payload, first == BINARY, position


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_growing(data: bytes, longest: int) -> bool:
    """Whether `data` is the beginning of a binary message in one frame that is not all there, and may be waited for.

    Text is not: it has to be refused at the first byte that is wrong, not at the end.

    Args:
        data: What is there, from the beginning of a frame on.
        longest: The most bytes that may be waited for.
    """
    if len(data) < 2:
        return True
    length = data[1] - 0x80
    if data[0] != BINARY or length < 0:
        return False
    if length < 126:
        return len(data) < 6 + length
    size = 2 if length == 126 else 8
    if len(data) < 2 + size:
        return True
    length = int.from_bytes(data[2 : 2 + size], "big")
    return (126 if size == 2 else 65536) <= length <= longest and len(data) < 6 + size + length


def frame(payload: bytes, binary: bool) -> bytes:
    """A message in one frame, as a server sends it."""
    length = len(payload)
    if length < 126:
        return _SHORT[binary][length] + payload
    first = BINARY if binary else TEXT
    if length < 65536:
        return _LENGTH_16(first, 126, length) + payload
    return _LENGTH_64(first, 127, length) + payload
