"""Whole messages in one frame, read and written in one pass: what nearly all traffic is made of. Without Twisted.

Everything else is autobahn's to judge: fragments, control frames, compression, and whatever breaks a rule. `whole`
stops in front of it, and says nothing about it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]  # no __all__

TEXT, BINARY = 0x81, 0x82
"""The first byte of a message in one frame: FIN, and the opcode (RFC 6455 section 5.2)."""

SMALL = 192
"""Bytes up to which unmasking by arithmetic is quicker than to set up autobahn's masker."""

_LENGTH_16, _LENGTH_64 = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack
# What begins a frame of 125 bytes or less, for each length: made once, since most frames are short.
_SHORT = {first: [bytes((first, length)) for length in range(126)] for first in (TEXT, BINARY)}


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
        if first not in _SHORT or length < 0:
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
        payload = _unmasked(data[start:position], data[start - 4 : start]) if length else b""
        if first == TEXT and not _is_utf8(payload):
            return
        yield payload, first == BINARY, position


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    if length > SMALL:
        unmasked: bytes = create_xor_masker(mask, length).process(payload)
        return unmasked
    # Little-endian, so that the bytes of the mask that are too many are the highest.
    masks = int.from_bytes((mask * ((length + 3) // 4))[:length], "little")
    return (int.from_bytes(payload, "little") ^ masks).to_bytes(length, "little")


def _is_utf8(payload: bytes) -> bool:
    if payload.isascii():
        return True
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
    first, length = BINARY if binary else TEXT, len(payload)
    if length < 126:
        return _SHORT[first][length] + payload
    if length < 65536:
        return _LENGTH_16(first, 126, length) + payload
    return _LENGTH_64(first, 127, length) + payload
