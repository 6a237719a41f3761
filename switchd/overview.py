"""What there is to see of a running server, as plain values, and the closing of connections: for `switchd ctl` and for
the console.

Nothing is kept here. Whoever wants to see something makes a `Look`, which computes what it is asked for, and that once:
of 5,000 connections nobody needs the bytes, unless somebody sorts by them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal

from attrs import field, frozen
from twisted.internet.interfaces import ISSLTransport

from switchd import __version__, draining, events
from switchd.factory import Connection, SwitchFactory
from switchd.handover import bottom
from switchd.interfaces import Range
from switchd.routes import configured, segments
from switchd.schema import Text
from switchd.transports import tcp_info

MOST_ROWS = 500
"""Connections that one answer tells of: more than a page shows, and less than a millisecond's worth each hundred."""

MOST_CHARACTERS = 200
"""Of anything that a client has said: of its path, its address behind a proxy, its offers. A path may be of 64 kB."""

MOST_LAYERS = 8
"""Of a stack that is written out. Clients may go on switching for ever."""

MOST_STACKS = 50
"""Kinds of stacks that are counted by themselves; of further ones, only the sum is told."""

SHOWN_IDS = 8
"""Connections that are named in the event of their closing."""

MOST_REMEMBERED = 256
"""Stacks whose text is remembered: clients in order have a few."""

MOST_CLOSED = 1000
"""Connections that may be named in one request to close them. A path closes any number."""

FORGET_SECONDS = 1.0
"""Between two looks whether connections that are being closed are gone."""

Values = dict[str, Any]
"""What JSON can say."""

_NAMES = {"websocket": "WebSocket", "h2": "HTTP/2", "h2c": "HTTP/2"}
_HTTP2 = ("h2", "h2c")

_Words = Annotated[str, Text(r"[^\x00-\x1f\x7f\ud800-\udfff]{0,200}", "text of at most 200 characters")]
_Id = Annotated[str, Text(r"[0-9a-f]{1,16}(\.[0-9a-f]{1,16})?", 'a connection, as "1f" or "1f.2a"')]


@frozen
class Query:
    """Which connections are wanted, and in which order.

    Attributes:
        text: Those that have this in their number, address, path or protocols. "": all.
        path: Those that have switched on this path, or below it: see `is_on`. "": all.
        token: Those that have switched to this. "": all.
        sort: By what they are ordered.
        descending: Whether the greatest comes first.
        first: How many to pass over.
        most: How many to tell of.
    """

    text: _Words = ""
    path: _Words = ""
    token: _Words = ""
    sort: Literal["id", "protocols", "path", "peer", "listener", "age", "received", "sent"] = "age"
    descending: bool = True
    first: Annotated[int, Range(0, 10_000_000, "connections")] = 0
    most: Annotated[int, Range(1, MOST_ROWS, "connections")] = 100


def _not_too_many(order: object, attribute: object, ids: tuple[str, ...]) -> None:
    if len(ids) > MOST_CLOSED:
        raise ValueError(f"expected at most {MOST_CLOSED} connections")


@frozen
class Order:
    """Which connections to close, and how.

    Attributes:
        ids: These; with a connection of HTTP/2, the streams in it.
        path: And all that have switched on this path, or below it. "": no others.
        now: Whether without a farewell.
        seconds: How long a farewell may take; what is left then is aborted.
    """

    ids: tuple[_Id, ...] = field(default=(), validator=_not_too_many)
    path: _Words = ""
    now: bool = False
    seconds: Annotated[float, Range(0, 3_600, "seconds")] = 10.0


class Overview:
    """A server as those see it who run it.

    Args:
        factory: Its connections.
        reactor: The clock.
        listening: Where it listens: of each place the endpoint as configured, and the address.
        why_not_ready: In a word, why the server is not to be sent new clients; "" if it is.
    """

    def __init__(
        self,
        factory: SwitchFactory,
        reactor: Any,
        listening: Callable[[], Iterable[tuple[str, str]]],
        why_not_ready: Callable[[], str],
    ) -> None:
        self.factory = factory
        self.why_not_ready = why_not_ready
        self._reactor = reactor
        self._listening = listening
        self._since = reactor.seconds()

    def state(self) -> str:
        """How it is, in a word: "ready", "starting" or "draining"."""
        return self.why_not_ready() or "ready"

    def status(self) -> Values:
        """How it is, in short."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "state": self.state(),
            "seconds": round(self._reactor.seconds() - self._since, 1),
            **self.look().counts(),
            **self.layout(),
        }

    def layout(self) -> Values:
        """What listens, and which paths take which tokens."""
        return {
            "listeners": [{"endpoint": endpoint, "address": address} for endpoint, address in self._listening()],
            "switches": [
                {
                    "path": entry.path,
                    "protocol": entry.name,
                    "tokens": [token.decode("ascii") for token in (*entry.tokens, *entry.also)],
                    "require": entry.require,
                    "close": entry.close,
                }
                for entry in self.factory.entries
            ],
        }

    def look(self) -> Look:
        """Look at the connections that there are now."""
        return Look(self.factory.connections, self._reactor.seconds())

    def close(self, order: Order, by: str) -> Values:
        """Close connections.

        Args:
            order: Which.
            by: Who says so: see `events.Closing`.

        Returns:
            How many are being closed, and which of those that were named there are not.
        """
        live = {connection.id: connection for connection in self.factory.connections}
        named = {live[id] for id in order.ids if id in live}
        carriers = {connection.id for connection in named}
        few = named | {one for one in live.values() if one.id.partition(".")[0] in carriers}
        if order.path:
            few.update(filter(is_on(order.path), live.values()))
        if few:
            self.factory.tell(events.Closing(_what(order), len(few), by))
        if order.now:
            draining.cut(few)
        elif few:
            self._forget(few, draining.close(self.factory, few, order.seconds, self._reactor))
        return {"connections": len(few), "missing": [id for id in order.ids if id not in live]}

    def _forget(self, few: set[Connection], aborting: list[Any]) -> None:
        """Cancel what is to abort some connections when all of them are gone."""
        if few & self.factory.connections:
            self._reactor.callLater(FORGET_SECONDS, self._forget, few, aborting)
        else:
            for call in aborting:
                if call.active():
                    call.cancel()


def _what(order: Order) -> str:
    ids = ", ".join(order.ids[:SHOWN_IDS]) + ("..." if len(order.ids) > SHOWN_IDS else "")
    path = f"all on {events.escaped(order.path)}" if order.path else ""
    return " and ".join(filter(None, (ids, path)))


class Look:
    """What there is to see of connections at one moment. What is computed is computed once, whoever asks for it.

    Args:
        connections: They.
        now: The moment, in the reactor's seconds.

    Attributes:
        now: As given.
    """

    def __init__(self, connections: Iterable[Connection], now: float) -> None:
        self.now = now
        self._connections = tuple(connections)
        self._rows: dict[Query, Values] = {}

    def counts(self) -> Values:
        """How many there are, how many have switched, and how many of which stack, the most frequent first."""
        return self._counts

    @cached_property
    def _counts(self) -> Values:
        stacks = Counter(connection.stack for connection in self._connections)
        often = stacks.most_common(MOST_STACKS)
        return {
            "connections": len(self._connections),
            "switched": len(self._connections) - stacks[()],
            "stacks": [[written(stack), number] for stack, number in often],
            "other_stacks": len(self._connections) - sum(number for _, number in often),
        }

    def rows(self, query: Query) -> Values:
        """Those that are wanted."""
        if query not in self._rows:
            self._rows[query] = self._found(query)
        return self._rows[query]

    def _found(self, query: Query) -> Values:
        matching = self._matching(query)
        matching.sort(key=_SINCE)  # who is equal is in order of coming, lest rows jump from one look to the next
        matching.sort(key=self._key(query.sort), reverse=query.descending)
        shown = matching[query.first : query.first + query.most]
        return {
            "total": len(self._connections),
            "matching": len(matching),
            "first": query.first,
            "rows": [self._row(connection) for connection in shown],
        }

    def _matching(self, query: Query) -> list[Connection]:
        found: Iterable[Connection] = self._connections
        if query.path:
            found = filter(is_on(query.path), found)
        if query.token:
            token = query.token.lower()
            found = [one for one in found if token in map(str.lower, one.stack)]
        if query.text:
            text = query.text.lower()
            found = [one for one in found if self._has(one, text)]
        return list(found)

    def _has(self, connection: Connection, text: str) -> bool:
        return (
            text in connection.path.lower()
            or text in connection.id
            or text in self._peers[connection]
            or text in _protocols(connection).lower()
        )

    @cached_property
    def _peers(self) -> dict[Connection, str]:
        return {connection: connection.peer for connection in self._connections}

    @cached_property
    def _carried(self) -> dict[Connection, tuple[int, int]]:
        return {connection: _carried(connection) or (-1, -1) for connection in self._connections}

    def _key(self, sort: str) -> Callable[[Connection], Any]:
        keys: dict[str, Callable[[Connection], Any]] = {
            "id": lambda one: _number(one.id),
            "protocols": _protocols,
            "path": attrgetter("path"),
            "peer": lambda one: self._peers[one],
            "listener": attrgetter("listener.name"),
            "age": lambda one: self.now - one.since,
            "received": lambda one: self._carried[one][0],
            "sent": lambda one: self._carried[one][1],
        }
        return keys[sort]

    def _row(self, connection: Connection) -> Values:
        received, sent = _carried(connection) or (None, None)
        return {
            "id": connection.id,
            "protocols": _protocols(connection),
            "path": clipped(connection.path),
            "peer": clipped(connection.peer),
            "listener": connection.listener.name,
            "age": round(max(0.0, self.now - connection.since), 1),
            "received": received,
            "sent": sent,
            "closing": connection.ending is not None,
        }


_SINCE = attrgetter("since")


def clipped(text: str) -> str:
    """What a client has said, so that it can be told to those who look, by the hundred."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def is_on(path: str) -> Callable[[Connection], bool]:
    """Says of connections whether they have switched on a path, or below it.

    That is the path which a client has asked for, or the one of the `[[switch]]` that took it. As for routing, it ends
    where a segment does, and segments are compared decoded: a client may spell them as it likes.
    """
    prefix = configured(path)
    asked = segments(b"/" + b"/".join(prefix)) if prefix else ()

    def on(connection: Connection) -> bool:
        if not connection.path.startswith("/"):
            return False  # it has not switched, or on no path: HTTP/2 from the first byte
        below = segments(connection.path.encode())[: len(asked)] == asked
        return below or configured(connection.route)[: len(prefix)] == prefix

    return on


@lru_cache(MOST_REMEMBERED)
def written(stack: tuple[str, ...], secure: bool = False) -> str:
    """A stack as people write it: "HTTP/1.1 → TLS/1.3 → WebSocket".

    Args:
        stack: The tokens that a connection has gone through.
        secure: Whether its listener speaks TLS.
    """
    layers = ["TLS"] if secure else []
    if not stack or stack[0] not in _HTTP2:
        layers.append("HTTP/1.1")
    layers += [_NAMES.get(token.lower(), token) for token in stack[:MOST_LAYERS]]
    return " → ".join(layers if len(stack) <= MOST_LAYERS else [*layers, "…"])


def _protocols(connection: Connection) -> str:
    # A stream of HTTP/2 is as secure as what it is a stream of, and says so.
    return written(connection.stack, bool(ISSLTransport.providedBy(connection.transport)))


def _carried(connection: Connection) -> tuple[int, int] | None:
    return tcp_info.read(bottom(connection.transport))


def _number(id: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in id.split("."))
