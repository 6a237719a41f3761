"""Unmasking (RFC 6455 section 5.3), by what is quickest for a length. Without Twisted.

autobahn has a compiled masker, NVX. Its Python face, `create_xor_masker`, takes longer to set up than most messages
take to unmask; so where it is built, its functions are called without it. This is the only file that knows their names.
"""

from __future__ import annotations

from collections.abc import Callable

from autobahn.websocket import USES_NVX

SMALL = 256
"""Bytes up to which arithmetic is quicker than any call into a library."""


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
    pointer_to, octets = ffi.from_buffer, ffi.typeof("uint8_t[]")

    def by_nvx(data: bytes, start: int, end: int) -> bytes:
        payload = bytearray(memoryview(data)[start:end])  # one copy, not two
        masker = new(data[start - 4 : start])
        process(masker, pointer_to(octets, payload), end - start)
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
