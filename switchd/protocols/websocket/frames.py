"""Whole messages in one frame, read and written in one pass: what nearly all traffic is made of. Without Twisted.

Everything else is autobahn's to judge: fragments, and whatever breaks a rule. `whole` stops in front of it, and says
nothing about it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from switchd.protocols.websocket.masks import quickest

TEXT, BINARY = 0x81, 0x82
CLOSE, PING, PONG = 0x88, 0x89, 0x8A
"""The first byte of a message in one frame, or of a control frame: FIN, and the opcode (RFC 6455 section 5.2)."""

COMPRESSED = 0x40
"""RSV1, which is added to it where the message is compressed (RFC 7692 section 6)."""

_CONTROL = frozenset((CLOSE, PING, PONG))
_PLAIN = _CONTROL | {TEXT, BINARY}
_ALL = _PLAIN | {TEXT | COMPRESSED, BINARY | COMPRESSED}
_LENGTH_16, _LENGTH_64 = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack
# What begins a frame of 125 bytes or less, for each length: made once, since most frames are short.
_SHORT = {first: [bytes((first, length)) for length in range(126)] for first in _ALL - _CONTROL}

_SMALL, _unmask_short, _unmask_long = quickest()


def whole(data: bytes, longest: int, compressed: bool = False) -> Iterator[tuple[int, bytes, int]]:
    """The frames at the beginning of `data` that are there whole, and each right by itself: messages, control frames.

    Args:
        data: What a client has sent, from the beginning of a frame on, and of a message.
        longest: The most bytes that a message may have.
        compressed: Whether messages may be compressed. What is wrong with one of those shows when it is inflated.

    Yields:
        The first byte of the frame, what is in it, and where it ends in `data`.
    """
    position, end, known = 0, len(data), _ALL if compressed else _PLAIN
    while end - position >= 6:
        first, length = data[position], data[position + 1] - 0x80  # below 0: not masked
        if first not in known or length < 0:
            return
        start = position + 6
        if length > 125:
            start += 2 if length == 126 else 8
            extended = int.from_bytes(data[position + 2 : start - 4], "big")
            if first in _CONTROL or end < start or extended < (126 if length == 126 else 65536):
                return
            length = extended
        position = start + length
        if position > end or (length > longest and first not in _CONTROL) or (length == 1 and first == CLOSE):
            return
        if length <= _SMALL:
            payload = _unmask_short(data[start:position], data[start - 4 : start])
        else:
            payload = _unmask_long(memoryview(data)[start:position], data[start - 4 : start])
        if first == TEXT and not (payload.isascii() or is_utf8(payload)):
            return
        yield first, payload, position


def is_utf8(payload: bytes) -> bool:
    """Whether it is text."""
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


def missing(data: bytes) -> int:
    """How many bytes `data` lacks of the frame that it begins with; 0 or less: none, or not known yet."""
    if len(data) < 2:
        return 0
    length, size = data[1] & 0x7F, 0
    if length > 125:
        size = 2 if length == 126 else 8
        if len(data) < 2 + size:
            return 0
        length = int.from_bytes(data[2 : 2 + size], "big")
    return 6 + size + length - len(data)


def header(first: int, length: int) -> bytes:
    """What stands before a message of this length in one frame, as a server sends it; `first` is its first byte."""
    if length < 126:
        return _SHORT[first][length]
    if length < 65536:
        return _LENGTH_16(first, 126, length)
    return _LENGTH_64(first, 127, length)


def frame(first: int, payload: bytes) -> bytes:
    """Such a message."""
    return header(first, len(payload)) + payload
