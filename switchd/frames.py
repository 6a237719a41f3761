"""HTTP/2's frames, as far as they are looked at without an engine (RFC 9113 sections 4.1, 6 and 7)."""

from __future__ import annotations

from attrs import frozen

NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FLOW_CONTROL_ERROR = 0x3
SETTINGS_TIMEOUT = 0x4
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
ENHANCE_YOUR_CALM = 0xB
HTTP_1_1_REQUIRED = 0xD
"""Error codes (section 7)."""

FRAME_BYTES = 16384
"""The longest frame that is taken or sent: the least that section 4.2 allows, which keeps streams fair."""

LAST_STREAM = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20
HEAD_BYTES = 9
"""Types, flags, and how long the head of a frame is (sections 6 and 4.1)."""


@frozen
class Frame:
    """A frame as it came (section 4.1)."""

    kind: int
    flags: int
    stream: int
    data: bytes

    @classmethod
    def of(cls, data: bytes) -> Frame:
        """Read its head."""
        return cls(data[3], data[4], int.from_bytes(data[5:HEAD_BYTES], "big") & LAST_STREAM, data)

    @property
    def length(self) -> int:
        """Bytes after the head."""
        return len(self.data) - HEAD_BYTES

    @property
    def is_empty(self) -> bool:
        """Of DATA: whether there is no content in it, but perhaps padding (section 6.1)."""
        padding = 1 + self.data[HEAD_BYTES] if self.flags & PADDED and self.length else 0
        return self.length <= padding

    def harmless(self) -> bytes:
        """The same for h2, without that for which it would end the connection and RFC 9113 does not."""
        if self.kind == GOAWAY or self.kind > CONTINUATION:
            # It would answer nothing any more (section 6.8), and look into an ALTSVC. It ignores what it does not know.
            return self.data[:3] + b"\xff" + self.data[4:]
        if self.kind == WINDOW_UPDATE and self.length:
            # The first bit is reserved (section 6.9), and not a part of the number.
            return self.data[:HEAD_BYTES] + bytes([self.data[HEAD_BYTES] & 0x7F]) + self.data[HEAD_BYTES + 1 :]
        if self.kind == PRIORITY or (self.kind == HEADERS and self.flags & HAS_PRIORITY):
            # Priorities mean nothing any more (section 5.3.2), not even that of a stream over itself.
            start = HEAD_BYTES + (1 if self.kind == HEADERS and self.flags & PADDED else 0)
            if len(self.data) >= start + 5:
                return self.data[:start] + bytes(4) + self.data[start + 4 :]
        return self.data


class Violation(Exception):
    """The client broke a rule, and the connection is over (section 5.4.1)."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
