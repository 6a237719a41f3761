"""Streams that are not closed, and the windows that a client has (RFC 9113 sections 5.1 and 5.2): a row of values each.

A stream is open, or one side of it is closed: `complete` is the client's, `answered` ours. With both it is closed, and
has no row any more.
"""

from __future__ import annotations


class Inbound:
    """A window of ours: how much a client may send.

    Attributes:
        size: Its size, in bytes, when nothing is outstanding.
        room: What is left of it, as the client knows. Less than nothing: it has sent more than it was allowed.
        used: What has come, is used, and has not been given back.
    """

    __slots__ = ("room", "size", "used")

    def __init__(self, size: int) -> None:
        self.size = self.room = size
        self.used = 0

    def give_back(self) -> int:
        """By how much the window is to be opened: mostly 0, and then half of it at once, unless the client waits."""
        used = self.used
        if 2 * used < self.size and (self.room or used <= _ENOUGH):
            return 0
        self.used = 0
        self.room += used
        return used


_ENOUGH = 1024  # bytes for which a client that waits is given a frame of its own


class Stream:
    """A stream that is not closed.

    Attributes:
        window: How much may be sent on it, in bytes; it can be negative (section 6.9.2).
        inbound: How much may come; None if nothing has.
        complete: Whether the client has ended its side.
        answered: Whether we have ended ours.
    """

    __slots__ = ("answered", "complete", "inbound", "window")

    def __init__(self, window: int, complete: bool) -> None:
        self.window = window
        self.complete = complete
        self.inbound: Inbound | None = None
        self.answered = False
