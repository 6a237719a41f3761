"""Floods over HTTP/2: what asks for nothing is counted, a frame at a time (RFC 9113 section 10.5).

Two buckets: streams that are cut short, and frames that carry neither a request nor content.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from switchd.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    Frame,
    Violation,
)


@define
class Bucket:
    """Allows `burst` at once, and `rate` a second from then on."""

    burst: float
    rate: float
    _left: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.burst

    def take(self, now: float) -> bool:
        """One more. Whether it is allowed."""
        refilled = min(self.burst, self._left + (now - self._at) * self.rate)
        self._left = max(self._left, refilled) - 1  # it may have been given more than a burst
        self._at = now
        return self._left >= 0

    def give(self, number: float) -> None:
        """As many more are allowed, whenever they come."""
        self._left = min(self._left + number, self.burst + MOST_CREDIT)


RESETS = (1000, 33)
"""Streams that may be cut short, burst and rate: by the client, or by us because of it. Each has cost the work of a
request, and no room in `streams` (CVE-2023-44487, CVE-2025-8671). Someone who scrolls through a page of pictures cuts
some hundreds within seconds; these are nghttp2's figures, which have proved themselves."""

IDLE_FRAMES = (2000, 200)
"""Frames that carry no request and no content: settings, pings, priorities, unknown and empty ones. A client that
watches its connection sends one or two a second."""

UPDATES_PER_FRAME = 4
"""Such frames that each answer and each DATA frame of ours allows: a WINDOW_UPDATE for the stream and one for the
connection, or a ping that measures the way, and as much again."""

BYTES_PER_UPDATE = 512
"""Each so many bytes of DATA allow one more. Go's client gives credit for both windows with each read of 4096 bytes;
others, with windows of 1024 bytes, for each of those."""

MOST_CREDIT = 100_000
"""What is allowed by DATA is remembered to that number: the credit for some 50 MB on their way to the client."""

MOST_SETTINGS = 32
"""Settings in one frame: there are ten, and looking at as many as fit in would take 20 ms (CVE-2020-11080)."""


class Calm:
    """Counts the frames of one connection (section 10.5).

    Args:
        now: The clock, in seconds.
        block_bytes: The longest list of header fields that is read, compressed.
    """

    __slots__ = ("_block", "_block_bytes", "_earned", "_idle", "_now", "_resets")

    def __init__(self, now: Callable[[], float], block_bytes: int) -> None:
        self._now = now
        self._resets = Bucket(*RESETS)
        self._idle = Bucket(*IDLE_FRAMES)
        self._earned = 0.0  # such frames, which `_idle` has not been given yet
        self._block_bytes = block_bytes
        self._block = 0  # so much of a list has come

    def before(self, frame: Frame, is_answered: bool) -> None:
        """A frame has come. CONTINUATIONs count as what they end in; there are so many bytes of them, and h2 takes 64.

        Args:
            frame: The frame.
            is_answered: Whether there is nothing to be cut short on its stream any more.

        Raises:
            Violation: There are too many of its kind.
        """
        if frame.kind == RST_STREAM and not is_answered:
            self.cut()
        elif frame.kind in (HEADERS, CONTINUATION):
            self.fragment(frame.length, frame.kind == HEADERS)
        elif frame.kind == SETTINGS:
            self.settings(frame.length)
        elif frame.kind != DATA or (frame.is_empty and not frame.flags & END_STREAM):
            self.idle()

    def nothing(self, frame: Frame) -> None:
        """It had no effect: if it is DATA or a list of header fields, then for a stream that is gone (section 5.1)."""
        if frame.kind == DATA or (frame.kind in (HEADERS, CONTINUATION) and frame.flags & END_HEADERS):
            self.idle()

    def fragment(self, length: int, first: bool) -> None:
        """Part of a list of header fields has come, in so many bytes."""
        self._block = length if first else self._block + length
        if self._block > self._block_bytes:
            raise Violation(ENHANCE_YOUR_CALM, "the header fields are too long")

    def settings(self, length: int) -> None:
        """Settings have come, in so many bytes."""
        if length > 6 * MOST_SETTINGS:
            raise Violation(ENHANCE_YOUR_CALM, "too many settings at once")
        self.idle()

    def idle(self) -> None:
        """A frame that asks for nothing has come."""
        self._idle.give(self._earned)
        self._earned = 0.0
        if not self._idle.take(self._now()):
            raise Violation(ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def cut(self) -> None:
        """A stream was cut short by the client, or because of it."""
        if not self._resets.take(self._now()):
            raise Violation(ENHANCE_YOUR_CALM, "too many streams were cut short")

    def sent(self, length: int, short: bool) -> None:
        """We have sent something that the client may give credit for.

        Args:
            length: Bytes of content.
            short: Whether it was the window that made it so short. Whoever gives credit for a byte at a time, to have
                each in a frame (CVE-2019-9511), shall not earn the next.
        """
        self._earned += length / BYTES_PER_UPDATE
        if not short:
            self._earned += UPDATES_PER_FRAME
