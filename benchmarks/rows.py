"""What is measured, and the goal of each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

US = "switchd"

Figure = Literal["rate", "cpu", "bytes", "p99", "memory", "growth"]

UNITS: dict[Figure, str] = {
    "rate": "per second",
    "cpu": "µs of CPU per operation",
    "bytes": "bytes of an answer",
    "p99": "µs, 99th percentile",
    "memory": "KiB per connection",
    "growth": "bytes per switch",
}


@dataclass(frozen=True)
class Goal:
    """What a figure of ours has to be.

    Attributes:
        figure: Which.
        sign: How it relates to the bound; "=" is within `TOLERANCE` of it.
        bound: A ratio, ours to theirs; without `peer` the figure itself.
        peer: Whose figure; of several names, separated by blanks, the best that was measured.
        is_stretch: Whether it is more than what is asked for.
    """

    figure: Figure
    sign: Literal[">=", "<=", "="]
    bound: float
    peer: str = ""
    is_stretch: bool = False

    def is_met(self, value: float) -> bool:
        """Whether the ratio, or the figure, is as it has to be, with as many digits as are shown."""
        value = round(value, DIGITS)
        if self.sign == ">=":
            return value >= self.bound
        if self.sign == "<=":
            return value <= self.bound
        return round(abs(value - self.bound), DIGITS) <= TOLERANCE


DIGITS = 2
"""Of a ratio, behind the point. More would be noise."""

TOLERANCE = 0.03
"""How far two things may be apart that are to be equal."""


@dataclass(frozen=True)
class Row:
    """One measurement of several servers.

    Attributes:
        name: What it is called.
        kind: What the client speaks: one of its kinds, or "h2load".
        deed: What it does: one of its deeds; "memory" and "growth" are made of several.
        goals: What ours has to be.
        others: Servers to be shown besides those of the goals.
        connections: How many.
        size: Bytes of a message.
        outstanding: Requests on their way, of each connection.
        streams: If not 0, a connection is a stream of HTTP/2, switched by extended CONNECT; so many are in one socket.
        half_of: For "pace": the row whose rate it runs at half of.
    """

    name: str
    kind: str
    deed: Literal["echo", "open", "pace", "broadcast", "memory", "growth"]
    goals: tuple[Goal, ...]
    others: tuple[str, ...] = ()
    connections: int = 64
    size: int = 16
    outstanding: int = 1
    streams: int = 0
    half_of: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """Ours, and those of the goals."""
        return tuple(dict.fromkeys([US, *(name for goal in self.goals for name in goal.peer.split())]))

    @property
    def servers(self) -> tuple[str, ...]:
        """Who is measured, ours first."""
        return tuple(dict.fromkeys([*self.named, *self.others]))


def _at_least(bound: float, peer: str, figure: Figure = "rate", is_stretch: bool = False) -> Goal:
    return Goal(figure, ">=", bound, peer, is_stretch)


def _at_most(figure: Figure, bound: float, peer: str = "", is_stretch: bool = False) -> Goal:
    return Goal(figure, "<=", bound, peer, is_stretch)


_AHEAD = (_at_least(0.9, "picows"), _at_least(1.0, "aiohttp"), _at_least(1.0, "node"))
_FAR_AHEAD = (_at_least(4.0, "picows"), _at_least(5.0, "node"))
_TOGETHER = (_at_least(1.0, "node-http2"), _at_least(1.0, "switchd-http1", is_stretch=True))
_APART = (_at_least(1.0, "node-http2"), _at_least(0.5, "switchd-http1", is_stretch=True))

ROWS = (
    Row("WebSocket handshakes", "websocket", "open", (_at_least(1.0, "picows"), _at_least(2.0, "node")), ("stock",)),
    Row("WebSocket echo, 16 B", "websocket", "echo", _AHEAD, ("stock",)),
    Row("WebSocket echo, 1 KiB", "websocket", "echo", _AHEAD, size=1024),
    Row("WebSocket echo, 16 B, 32 outstanding", "websocket", "echo", _FAR_AHEAD, outstanding=32),
    Row("WebSocket echo, 1 KiB, 32 outstanding", "websocket", "echo", _FAR_AHEAD, size=1024, outstanding=32),
    Row(
        "WebSocket echo, 64 KiB, 4 outstanding",
        "websocket",
        "echo",
        (_at_least(1.0, "aiohttp"),),
        size=65536,
        outstanding=4,
    ),
    Row(
        "WebSocket echo, 1 KiB of JSON, permessage-deflate",
        "deflate",
        "echo",
        (_at_least(1.0, "uvicorn aiohttp"), _at_least(2.5, "node"), _at_most("bytes", 1.0, "uvicorn")),
    ),
    Row("ADDONE handshakes", "addone", "open", (_at_least(1.0, "go"),)),
    Row("ADDONE", "addone", "echo", (_at_least(0.8, "go"), Goal("cpu", "=", 1.0, "bare"))),
    Row(
        "ADDONE, 32 outstanding",
        "addone",
        "echo",
        (_at_least(0.55, "go"), Goal("cpu", "=", 1.0, "bare")),
        outstanding=32,
    ),
    Row(
        "Broadcast of 128 B to 1,000 WebSockets",
        "websocket",
        "broadcast",
        (_at_most("cpu", 1.0, "node"), _at_most("cpu", 1.0, "picows", is_stretch=True)),
        connections=1000,
        size=128,
    ),
    Row(
        "h2c",
        "h2load",
        "echo",
        (_at_least(1.0, "node-http2"), _at_least(1.0, "granian", is_stretch=True)),
    ),
    Row(
        "h2c, 32 streams",
        "h2load",
        "echo",
        (_at_least(1.0, "node-http2"), _at_least(1.0, "granian", is_stretch=True)),
        outstanding=32,
    ),
    Row("ADDONE over HTTP/2, 64 streams on one connection", "addone", "echo", _TOGETHER, streams=64),
    Row("ADDONE over HTTP/2, a stream on each of 64", "addone", "echo", _APART, streams=1),
    Row(
        "WebSocket echo over HTTP/2, 16 B, 64 streams on one connection",
        "websocket",
        "echo",
        (*_TOGETHER, _at_least(1.0, "hypercorn")),
        streams=64,
    ),
    Row(
        "WebSocket echo over HTTP/2, 16 B, a stream on each of 64",
        "websocket",
        "echo",
        (*_APART, _at_least(1.0, "hypercorn")),
        streams=1,
    ),
    Row("GET of a small resource", "http", "echo", (_at_least(2.0, "stock"),), ("go", "node")),
    Row(
        "Latency of a WebSocket echo, 16 B, at half of the load",
        "websocket",
        "pace",
        (_at_most("p99", 1.0, "picows"),),
        ("aiohttp", "node"),
        half_of="WebSocket echo, 16 B",
    ),
    Row("Memory of an idle WebSocket", "websocket", "memory", (_at_most("memory", 5.5),), ("node", "picows")),
    Row("Memory of an idle ADDONE", "addone", "memory", (_at_most("memory", 2.0),), ("go",)),
    Row("Memory of an idle HTTP/2 connection", "h2", "memory", (_at_most("memory", 8.0),), ("node-http2",)),
    Row(
        "Memory of an idle ADDONE over HTTP/2, 64 streams on a connection",
        "addone",
        "memory",
        (_at_most("memory", 1.0, "node-http2"),),
        streams=64,
    ),
    Row("Growth over many switches, 2,000 WebSockets idle", "websocket addone", "growth", (_at_most("growth", 1.0),)),
)
