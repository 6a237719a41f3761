"""Streams that are not closed, and the windows that a client has (RFC 9113 sections 5.1 and 5.2): a row of values each.

A stream is open, or one side of it is closed: `complete` is the client's, `answered` ours. With both it is closed, and
has no row any more.
"""

from __future__ import annotations

from switchd.frames import FLOW_CONTROL_ERROR, Violation


class Inbound:
    """A window of ours: how much a client may send.

    Args:
        size: Its size, in bytes, when nothing is outstanding.
    """

    __slots__ = ("_room", "_size", "_used")

    def __init__(self, size: int) -> None:
        self._size = size
        self._room = size  # the client's, as it knows
        self._used = 0  # and not given back

    def take(self, length: int) -> None:
        """So much has come.

        Raises:
            Violation: More than was allowed (section 6.9.1).
        """
        self._room -= length
        if self._room < 0:
            raise Violation(FLOW_CONTROL_ERROR, "the client has sent more than its window")

    def give_back(self, length: int) -> int:
        """So much of it is used. By how much the window is to be opened: mostly 0, and then half of it at once, unless
        the client waits."""
        self._used += length
        waits = self._room == 0 and self._used > _ENOUGH
        if self._used < self._size // 2 and not waits:
            return 0
        increment, self._used = self._used, 0
        self._room += increment
        return increment


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
