"""The console's feed: what there is to see, told to each page that looks, through a WebSocket.

A handler like any other of the plugin `websocket`, whose bounds hold for it. What a page says is JSON, read as strictly
as a configuration; what it is told, too:

- `hello`, once: everything that is remembered;
- `tick`, with each sample: that, what has happened since, and the connections that it wants to see;
- `rows`: the connections, because it wants to see others;
- `may`, `closed`, `not_closed`: the answers to a key, and to an order to close something.

The longest of these, with 500 rows and 400 events, is less than 1.5 MB, whatever clients have said; mostly they are of
some 20 kB. To compute one may take some 20 ms. So pages are told one after another, and others have their turn between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny

from switchd import __version__, schema
from switchd.console.history import EVERY_SECONDS, MOST_SAMPLES, Sample, columns
from switchd.console.keys import Keys
from switchd.console.page import NOT_OURS, is_ours
from switchd.console.recent import Recent
from switchd.deadlines import Timer
from switchd.overview import Look, Order, Overview, Query, Values

ASKED_SECONDS = 0.2
"""How long a page waits for connections that it has asked for: those that ask meanwhile are answered by one look."""

BETWEEN_SECONDS = 1.0
"""Between two answers to one page, at least: 20 pages that ask all the time get less than half of the server's."""

MOST_TRIES = 5
"""Keys that are no good, from one page; then it is closed."""

REASON_CHARACTERS = 100
"""Of the reason that a Close gives: it has room for 123 bytes."""

NOT_UNDERSTOOD = 4000
"""The code of the Close for a page that says what nobody understands, or tries too many keys. One of those that are
anybody's own (RFC 6455 section 7.4.2)."""


@frozen
class Said:
    """What a page says, any of it.

    Attributes:
        show: Which connections it wants to see from now on.
        key: What allows it to close connections.
        close: Which it wants to be closed.
    """

    show: Query | None = None
    key: str | None = None
    close: Order | None = None


class Viewer(WebSocketServerProtocol):
    """One page."""

    factory: Any

    def onConnect(self, request: Any) -> None:
        """See autobahn's."""
        if not is_ours(self.http_headers.get("host", ""), self.factory.names()):
            raise ConnectionDeny(421, NOT_OURS)

    def onOpen(self) -> None:
        """See autobahn's."""
        self.query = Query()
        self.told = 0
        self.layout: Values = {}
        self.asked = False
        self.next = Timer(self.factory.reactor)
        self.answered = -BETWEEN_SECONDS
        self._key = ""
        self._tries = 0
        self.factory.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """See autobahn's."""
        if isBinary:
            self.sendClose(NOT_UNDERSTOOD, "text is expected")
            return
        try:
            table = json.loads(payload)
        except (ValueError, RecursionError):
            self.sendClose(NOT_UNDERSTOOD, "JSON is expected")
            return
        said, mistakes = schema.options(Said, table, "message")
        if said is None:
            self.sendClose(NOT_UNDERSTOOD, _ascii(f"{mistakes[0].key}: {mistakes[0].problem}"))
            return
        if said.key is not None:
            self._try(said.key)
        if said.show is not None:
            self.query = said.show
            self.factory.ask(self)
        if said.close is not None:
            self._close(said.close)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """See autobahn's."""
        self.factory.left(self)

    def tell(self, kind: str, values: Values) -> None:
        """Tell it something, unless it is being closed."""
        if self.state == self.STATE_OPEN:
            self.sendMessage(json.dumps({"kind": kind, **values}, separators=(",", ":")).encode("ascii"))

    def _try(self, key: str) -> None:
        seconds = self.factory.keys.seconds(key)
        self._key = key if seconds else ""
        self._tries += not seconds
        if self._tries > MOST_TRIES:
            self.sendClose(NOT_UNDERSTOOD, "too many keys that are no good")
        else:
            self.tell("may", {"seconds": seconds})

    def _close(self, order: Order) -> None:
        if not self.factory.keys.seconds(self._key):
            self.tell("not_closed", {"why": "it needs a key that is still good: see `switchd ctl console`"})
        else:
            self.tell("closed", self.factory.overview.close(order, "console"))


def _ascii(text: str) -> str:
    return ascii(text)[1:-1][:REASON_CHARACTERS]


class Viewers(WebSocketServerFactory):
    """All pages that look.

    Args:
        overview: What they see.
        recent: What has happened.
        samples: Tells the samples that are remembered.
        keys: What allows them to close connections.
        names: Tells the names under which they may come: see `page.is_ours`.
        reactor: The clock.
    """

    noisy = False
    protocol = Viewer

    def __init__(
        self,
        overview: Overview,
        recent: Recent,
        samples: Callable[[], Iterable[Sample]],
        keys: Keys,
        names: Callable[[], Iterable[str]],
        reactor: Any,
    ) -> None:
        super().__init__(server="", reactor=reactor)
        self.overview = overview
        self.keys = keys
        self.names = names
        self._recent = recent
        self._samples = samples
        self._clock = reactor
        self._turn = Timer(reactor)
        self._viewers: dict[Viewer, None] = {}  # in the order of their coming
        self._due: dict[Viewer, Sample | None] = {}  # who is to be told something, in this order, and of which sample
        self._look: Look | None = None  # as long as somebody is to be told

    def opened(self, viewer: Viewer) -> None:
        """It looks from now on."""
        self._viewers[viewer] = None
        known = {
            "version": __version__,
            "every": EVERY_SECONDS,
            "most": MOST_SAMPLES,
            "history": [columns(sample) for sample in self._samples()],
        }
        viewer.tell("hello", {**known, **self._news(viewer, self.overview.look())})

    def left(self, viewer: Viewer) -> None:
        """It looks no more, if it ever did."""
        if viewer in self._viewers:
            del self._viewers[viewer]
            self._due.pop(viewer, None)
            viewer.next.stop()
            self._go_on()

    def ask(self, viewer: Viewer) -> None:
        """It wants to see other connections, soon."""
        if not viewer.next.runs:
            since = self._clock.seconds() - viewer.answered
            viewer.next.start(max(ASKED_SECONDS, BETWEEN_SECONDS - max(0.0, since)), self._is_due, viewer)

    def tick(self, sample: Sample) -> None:
        """There is a new sample."""
        self._look = None
        for viewer in self._viewers:
            self._due[viewer] = sample
        self._go_on()

    def stop(self) -> None:
        """Nobody looks any more."""
        self._due.clear()
        self._go_on()
        for viewer in self._viewers:
            viewer.next.stop()

    def _is_due(self, viewer: Viewer) -> None:
        viewer.asked = True
        self._due.setdefault(viewer, None)
        self._go_on()

    def _go_on(self) -> None:
        if not self._due:
            self._turn.stop()
            self._look = None
        elif not self._turn.runs:
            self._turn.start(0, self._tell_next)

    def _tell_next(self) -> None:
        """Tell one page what it is to be told. For the next one, there is another turn of the reactor."""
        viewer = next(iter(self._due))
        sample = self._due.pop(viewer)
        look = self._fresh()
        if sample is not None:
            viewer.tell("tick", {"sample": columns(sample), **self._news(viewer, look)})
        if viewer.asked:
            viewer.asked, viewer.answered = False, self._clock.seconds()
            viewer.tell("rows", {"now": _rounded(look.now), "connections": look.rows(viewer.query)})
        self._go_on()

    def _fresh(self) -> Look:
        """A look for those who are told in one moment."""
        if self._look is None or not 0 <= self._clock.seconds() - self._look.now < ASKED_SECONDS:
            self._look = self.overview.look()
        return self._look

    def _news(self, viewer: Viewer, look: Look) -> Values:
        """What it does not know yet."""
        happened = self._recent.since(viewer.told)
        missed = self._recent.count - viewer.told - len(happened)
        viewer.told = self._recent.count
        news: Values = {
            "now": _rounded(look.now),
            "state": self.overview.state(),
            "events": happened,
            "missed": missed,
            "counts": look.counts(),
            "connections": look.rows(viewer.query),
        }
        layout = self.overview.layout()
        if layout != viewer.layout:
            news["layout"] = viewer.layout = layout
        return news


def _rounded(seconds: float) -> float:
    return round(float(seconds), 3)
