"""HTTP/2 without I/O: bytes in, events out, and back. The seam: what an engine is, and which there are.

The words are those of RFC 9113. There are two engines, which do the same (`tests/engines.py` compares them): `lean` is
our own, `h2` wraps the package of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, get_args

from switchd.engines.bounds import (
    CLOSED_STREAMS,
    CONNECTION_WINDOW,
    HARD_LIMIT,
    PREFACE,
    STREAM_WINDOW,
    TABLE_BYTES,
)
from switchd.engines.events import (
    Acknowledged,
    Asked,
    Data,
    Ended,
    Event,
    Failed,
    Farewell,
    Opened,
    Ponged,
    Reset,
)
from switchd.interfaces import Header

__all__ = [
    "CLOSED_STREAMS",
    "CONNECTION_WINDOW",
    "HARD_LIMIT",
    "NAMES",
    "PREFACE",
    "STREAM_WINDOW",
    "TABLE_BYTES",
    "Acknowledged",
    "Asked",
    "Data",
    "Ended",
    "Engine",
    "Event",
    "Failed",
    "Farewell",
    "Make",
    "Name",
    "Opened",
    "Ponged",
    "Reset",
    "named",
]


class Engine(Protocol):
    """One connection, the server's side. It is made by a `Make`.

    Attributes:
        last_stream: The last that the client has opened.
        failed: Whether the client has broken a rule, so that the connection is over.
    """

    last_stream: int
    failed: bool

    def start(self, settings: bytes | None = None) -> None:
        """Say hello.

        Args:
            settings: For h2c, the payload of `HTTP2-Settings`: stream 1 is then open, and its request complete.
        """

    def receive(self, data: bytes) -> Iterator[Event]:
        """What the client's bytes mean, a frame at a time: what is done about one comes before the next is looked at.

        To be iterated to its end, which comes with `Failed` if there is one.
        """

    def respond(self, stream: int, status: int, fields: Sequence[Header], ended: bool) -> None:
        """Send the head of an answer; names are in lower case. A status below 200 is not the last."""

    def may_send(self, stream: int) -> int:
        """How many bytes of a stream's answer may go into one frame now."""

    def send(self, stream: int, data: bytes, ended: bool) -> None:
        """Send one frame of an answer, no longer than `may_send`."""

    def consumed(self, stream: int, length: int) -> None:
        """So much of a stream's body is used: the client may send as much again."""

    def kept(self, length: int) -> None:
        """So much of a stream's body is kept for later: the client may send as much again, but not on that stream."""

    def used(self, stream: int, length: int) -> None:
        """So much of what was kept is used: on that stream, too."""

    def reset(self, stream: int, code: int) -> None:
        """Cut a stream short, unless it is closed already."""

    def reset_for(self, stream: int, code: int) -> Failed | None:
        """The same because of what the client did, which it may not have us do for ever."""

    def ping(self) -> None:
        """Ask for a `Ponged`."""

    def goaway(self, last: int, code: int) -> None:
        """Say that no streams after `last` are answered, nor those after an earlier one's (section 6.8)."""

    def take_output(self) -> bytes:
        """What is to be sent."""


class Make(Protocol):
    """Makes the engine of a connection."""

    def __call__(self, streams: int, header_bytes: int, now: Callable[[], float], connect: bool = False) -> Engine:
        """Make one.

        Args:
            streams: How many a client may have open at the same time; it is told, and refusing more is the caller's.
            header_bytes: The longest list of header fields, as section 6.5.2 counts it. What is over it is refused by
                the caller; a list `HARD_LIMIT` times that long ends the connection.
            now: The clock, in seconds.
            connect: Whether to tell the client that extended CONNECT is understood (RFC 8441 section 3).
        """


Name = Literal["lean", "h2"]

NAMES: tuple[Name, ...] = get_args(Name)
"""The engines there are."""


def named(name: Name) -> Make:
    """An engine; what is not asked for is not imported."""
    if name == "h2":
        from switchd.engines import hyper

        return hyper.Engine
    from switchd.engines import lean

    return lean.Engine
