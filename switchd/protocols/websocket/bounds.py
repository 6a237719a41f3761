"""What a peer may send: counted frame by frame, with the close code for one that goes too far. Without Twisted."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
MESSAGE_TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
"""Close codes (RFC 6455 section 7.4.1 and the registry that it founds)."""

FAREWELLS = {GOING_AWAY: b"the server is shutting down", 1012: b"the server restarts"}
"""Those of a server that stops, with what it says."""

MOST_EMPTY_FRAGMENTS = 100
"""Fragments with nothing in them, of one message. The size of a message does not bound them; nobody needs any."""

MOST_CONTROL_FRAMES = 1000
"""Pings and pongs within `CONTROL_SECONDS`. A client that watches its connection sends one or two in that time."""

CONTROL_SECONDS = 10.0


@frozen
class Breach:
    """A bound has been passed.

    Attributes:
        code: The close code.
        why: What the peer is told.
    """

    code: int
    why: str


@define
class Incoming:
    """Counts what comes from one peer.

    Args:
        message_bytes: The most for a message. What it inflates to is bounded where it is inflated.
        frame_bytes: The most for a frame.
        now: The clock, in seconds.
    """

    message_bytes: int
    frame_bytes: int
    now: Callable[[], float]
    _bytes: int = field(default=0, init=False)
    _empty: int = field(default=0, init=False)
    _control: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)

    def message(self) -> None:
        """A message begins."""
        self._bytes = self._empty = 0

    def fragment(self, length: int) -> Breach | None:
        """A fragment of it begins."""
        self._bytes += length
        self._empty += not length
        if self._bytes > self.message_bytes:
            return Breach(MESSAGE_TOO_BIG, f"a message has at most {self.message_bytes} bytes here")
        if length > self.frame_bytes:
            return Breach(MESSAGE_TOO_BIG, f"a frame has at most {self.frame_bytes} bytes here")
        if self._empty > MOST_EMPTY_FRAGMENTS:
            return Breach(POLICY_VIOLATION, f"a message has at most {MOST_EMPTY_FRAGMENTS} empty fragments here")
        return None

    def control(self) -> Breach | None:
        """A ping or pong has come."""
        now = self.now()
        if now - self._since > CONTROL_SECONDS:
            self._since, self._control = now, 0
        self._control += 1
        if self._control > MOST_CONTROL_FRAMES:
            why = f"at most {MOST_CONTROL_FRAMES} pings and pongs in {CONTROL_SECONDS:.0f} seconds here"
            return Breach(POLICY_VIOLATION, why)
        return None
