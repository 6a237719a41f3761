"""A whole server, in memory: configuration text in, wires to it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from switchd import config, engine, events
from switchd.factory import Assembly, SwitchFactory
from switchd.interfaces import Accept, Answer, ISwitch, Offer, Request
from switchd.negotiation import Entry
from switchd.routes import Routes
from switchd.testing import Wire

HEAD = b"GET %b HTTP/1.1\r\nHost: example.org\r\n"
UPGRADE = b"Connection: upgrade\r\nUpgrade: shout\r\n"
SWITCH = HEAD % b"/shout" + UPGRADE + b"\r\n"
PLAIN = HEAD % b"/" + b"\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n"


class Shout(Protocol):
    """Says in capitals what it hears."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.reasons: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.transport.write(data.upper())

    def connectionLost(self, reason: Any = None) -> None:
        self.reasons.append(reason)


@implementer(ISwitch)
class Says:
    """A switch that answers what it is told to, and remembers what it was asked."""

    def __init__(self, answer: Callable[[Request, Offer], Any] | Answer = None) -> None:
        self.answer = answer
        self.asked: list[tuple[Request, Offer]] = []

    def offer(self, request: Request, offer: Offer) -> Any:
        self.asked.append((request, offer))
        return self.answer(request, offer) if callable(self.answer) else self.answer


@implementer(ISwitch)
class Accepts:
    """A switch that accepts, at once or (`late`) when told to, and remembers what became of it.

    Attributes:
        arrived: Fires when it is asked for a late decision.
    """

    def __init__(self, protocol: Callable[[], Any] = Shout, late: bool = False, **accept: Any) -> None:
        self.protocol = protocol
        self.late = late
        self.accept = accept
        self.asked: list[Request] = []
        self.built: list[Any] = []
        self.abandoned = 0
        self.cancelled = 0
        self.waiting: list[Deferred[Answer]] = []
        self.arrived: Deferred[None] = Deferred()

    def offer(self, request: Request, offer: Offer) -> Any:
        self.asked.append(request)
        if not self.late:
            return self.answer()
        waiting: Deferred[Answer] = Deferred(self._cancel)
        self.waiting.append(waiting)
        self.arrived.callback(None)
        return waiting

    def answer(self) -> Accept:
        return Accept(**{"build": self._build, "abandon": self._abandon, **self.accept})

    def decide(self) -> None:
        self.waiting.pop(0).callback(self.answer())

    def _cancel(self, deferred: Any) -> None:
        self.cancelled += 1

    def _build(self, session: Any) -> IProtocol:
        self.session = session
        protocol: IProtocol = self.protocol()
        self.built.append(protocol)
        return protocol

    def _abandon(self) -> None:
        self.abandoned += 1


class Page(Resource):
    """Answers with what it was asked, at any path."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []

    def render(self, request: Any) -> bytes:
        self.requests.append(request)
        body = request.content.read()
        return b"%b %b %b" % (request.method, request.uri, body)


class Site:
    """A server with its clock, its events and its connections.

    Args:
        switches: For each path, a switch for the token `shout`, or entries.
        root: What ordinary requests get. None: a `Page`.
        settings: TOML for `[server]` and `[limits]`.
        clock: Time. None: a clock of its own.

    Attributes:
        http2_engine: What all that are made have as `server.http2_engine`; see `having`.
    """

    http2_engine: ClassVar[engine.Name] = config.Server().http2_engine

    def __init__(
        self,
        switches: Mapping[str, Any] | Sequence[Entry] = (),
        root: IResource | None = None,
        settings: str = "",
        clock: Any = None,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        self.page = Page() if root is None else root
        listen = ("tcp:0",)
        parsed, mistakes = config.parse(settings, "test.toml", Path(), listen)
        assert mistakes == ()
        parsed = evolve(parsed, server=evolve(parsed.server, http2_engine=self.http2_engine))
        if isinstance(switches, Mapping):
            switches = [Entry(path, "shout", (b"shout",), switch) for path, switch in switches.items()]
        self.events: list[events.Event] = []
        assembly = Assembly(parsed, Routes(switches, [("/", self.page)]), ())
        self.factory = SwitchFactory(assembly, self.clock, self.events.append)

    def connect(self, kind: Callable[..., Wire] = Wire) -> Wire:
        """A client."""
        return kind(self.factory, self.clock)

    def told(self, event: type[Any]) -> list[Any]:
        """The events of one type."""
        return [one for one in self.events if isinstance(one, event)]


@contextmanager
def having(http2_engine: engine.Name) -> Iterator[None]:
    """All servers that are made in this context have that engine."""
    before, Site.http2_engine = Site.http2_engine, http2_engine
    try:
        yield
    finally:
        Site.http2_engine = before


def answers(data: bytes) -> list[tuple[int, dict[bytes, bytes], bytes]]:
    """Split what a server sent into (status, header fields, body); the body of the last is everything left."""
    found = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            key = name.lower()
            fields[key] = fields[key] + b", " + value if key in fields else value
        body = b""
        if b"content-length" in fields:
            length = int(fields[b"content-length"])
            body, data = data[:length], data[length:]
        status = int(first.split(b" ")[1])
        if status == 101:
            body, data = data, b""
        found.append((status, fields, body))
    return found


def statuses(data: bytes) -> list[int]:
    """The status codes in it, in order."""
    return [status for status, _, _ in answers(data)]
