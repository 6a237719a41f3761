"""Unmasking (RFC 6455 section 5.3), by what is quickest for a length. Without Twisted.

websockets has a compiled masker, which is quicker than all else; it is there with the extra `speedups`. autobahn has
another, NVX. Its Python face, `create_xor_masker`, takes longer to set up than most messages take to unmask; so where
it is built, its functions are called without it. This is the only file that knows their names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from autobahn.websocket import USES_NVX

DESK_BYTES = 262_144
"""Payloads up to this length are unmasked in one place, again and again: new memory of such a size often comes from the
system, page by page, which takes longer than unmasking. There is one such place for all connections of a process: right
as long as one thread unmasks, which is the reactor's."""

Unmask = Callable[[bytes | memoryview, bytes], bytes]
"""Gives what is masked, and the four bytes that it is masked with, unmasked."""


class Maskers(NamedTuple):
    """What to unmask with.

    Attributes:
        small: The most bytes that are short.
        short: For those; they are best given as bytes.
        long: For more; they are best given as a view of what they are part of.
    """

    small: int
    short: Unmask
    long: Unmask


_number = int.from_bytes


def by_arithmetic(data: bytes | memoryview, mask: bytes) -> bytes:
    """As one number."""
    length = len(data)
    masks = (mask * (length + 3 >> 2))[:length]
    return (_number(data, "little") ^ _number(masks, "little")).to_bytes(length, "little")


def nvx() -> Unmask:
    """By NVX.

    Raises:
        ImportError: It is not built.
        AttributeError: It is not as it was.
    """
    from _nvx_xormasker import ffi, lib  # type: ignore[import-not-found]

    new, process, free = lib.nvx_xormask_new, lib.nvx_xormask_process, lib.nvx_xormask_free
    desk = memoryview(bytearray(DESK_BYTES))
    on_desk = ffi.from_buffer("uint8_t[]", desk)

    def by_nvx(data: bytes | memoryview, mask: bytes) -> bytes:
        length = len(data)
        masker = new(mask)
        if length <= DESK_BYTES:
            payload = desk[:length]
            payload[:] = data
            process(masker, on_desk, length)
        else:
            payload = memoryview(bytearray(data))
            process(masker, ffi.from_buffer("uint8_t[]", payload), length)
        free(masker)
        return bytes(payload)

    return by_nvx


def speedups() -> Unmask:
    """By the compiled part of websockets.

    Raises:
        ImportError: It is not installed, or not built.
    """
    from websockets.speedups import apply_mask

    return apply_mask


def quickest() -> Maskers:
    """What is quickest here. The lengths are those at which one and the other take the same time."""
    try:
        by_websockets = speedups()
        return Maskers(8192, by_websockets, by_websockets)
    except ImportError:
        pass
    try:
        return Maskers(256, by_arithmetic, nvx() if USES_NVX else by_arithmetic)
    except (ImportError, AttributeError):
        return Maskers(256, by_arithmetic, by_arithmetic)
