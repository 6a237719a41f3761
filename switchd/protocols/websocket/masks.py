"""Unmasking (RFC 6455 section 5.3), by what is quickest for a length. Without Twisted.

autobahn has a compiled masker, NVX. Its Python face, `create_xor_masker`, takes longer to set up than most messages
take to unmask; so where it is built, its functions are called without it. This is the only file that knows their names.
"""

from __future__ import annotations

from collections.abc import Callable

from autobahn.websocket import USES_NVX

SMALL = 256
"""Bytes up to which arithmetic is quicker than any call into a library."""

DESK_BYTES = 262_144
"""Payloads up to this length are unmasked in one place, again and again: new memory of such a size often comes from the
system, page by page, which takes longer than unmasking. There is one such place for all connections of a process: right
as long as one thread unmasks, which is the reactor's."""


def by_arithmetic(data: bytes, start: int, end: int) -> bytes:
    """The bytes of `data` from `start` to `end`, whose mask stands in front of them: as one number."""
    length = end - start
    # Little-endian, so that the bytes of the mask that are too many are the highest.
    masks = int.from_bytes((data[start - 4 : start] * (length + 3 >> 2))[:length], "little")
    return (int.from_bytes(data[start:end], "little") ^ masks).to_bytes(length, "little")


def nvx() -> Callable[[bytes, int, int], bytes]:
    """The same by NVX.

    Raises:
        ImportError: It is not built.
        AttributeError: It is not as it was.
    """
    from _nvx_xormasker import ffi, lib  # type: ignore[import-not-found]

    new, process, free = lib.nvx_xormask_new, lib.nvx_xormask_process, lib.nvx_xormask_free
    desk = memoryview(bytearray(DESK_BYTES))
    on_desk = ffi.from_buffer("uint8_t[]", desk)

    def by_nvx(data: bytes, start: int, end: int) -> bytes:
        length = end - start
        masker = new(data[start - 4 : start])
        if length <= DESK_BYTES:
            payload = desk[:length]
            payload[:] = memoryview(data)[start:end]
            process(masker, on_desk, length)
        else:
            payload = memoryview(bytearray(memoryview(data)[start:end]))
            process(masker, ffi.from_buffer("uint8_t[]", payload), length)
        free(masker)
        return bytes(payload)

    return by_nvx


def _quickest() -> Callable[[bytes, int, int], bytes]:
    try:
        return nvx() if USES_NVX else by_arithmetic
    except (ImportError, AttributeError):
        return by_arithmetic


by_library = _quickest()
"""The same by what is quickest for more than `SMALL` bytes."""
