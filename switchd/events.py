"""One structured event for each thing that happens to a connection; logs, metrics and pages listen.

An event is a value. `log` is the listener that writes it through `twisted.logger`, with the event's attributes as the
log event's fields, so that an observer sees `log_event["event"]` and a person a line.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Literal

from attrs import field, frozen
from twisted.logger import Logger, LogLevel

_log = Logger(namespace="switchd")


@frozen
class BrokenPlugin:
    """A plugin file, of anybody's, cannot be imported; the plugins in it are left out.

    Attributes:
        path: The file.
        error: What happened, in a line.
    """

    path: str
    error: str

    level = LogLevel.warn
    text = "the plugin file {event.path} is broken and left out: {event.error}"


@frozen
class LeftOut:
    """A listener's TLS does not count, since `--listen` has taken the listener's place: easily what nobody meant.

    Attributes:
        key: The table: "listen[0].tls".
    """

    key: str

    level = LogLevel.warn
    text = "{event.key} does not count beside --listen, which serves in clear unless its endpoint is one with TLS"


@frozen
class Unserved:
    """A listener on a socket of somebody else's is no more; the socket itself lasts as long as this process.

    Attributes:
        name: The endpoint, as configured.
    """

    name: str

    level = LogLevel.warn
    text = "{event.name} is not served any more; its socket stays open until a restart, and who connects there waits"


@frozen
class Listening:
    """A listener is open.

    Attributes:
        address: Where, as in the configuration's endpoints: "tcp 127.0.0.1:8080".
    """

    address: str

    level = LogLevel.info
    text = "listening on {event.address}"


@frozen
class AdminListening:
    """The listener of `[admin]` is open: for metrics, health and the console.

    Attributes:
        address: As for `Listening`.
    """

    address: str

    level = LogLevel.info
    text = "metrics and health are told on {event.address}"


@frozen(kw_only=True)
class Reloaded:
    """The configuration has been read again, and is used.

    Attributes:
        file: The file.
        listeners: How many listeners are as they were.
        opened: Those that are new, as configured.
        closed: Those that are no more.
        switches: How many `[[switch]]` tables say what they said.
        added: Those that are new, as "/path protocol".
        ended: Those that are no more; what has switched there stays.
        others: What else says something else: the names of sections.
    """

    file: str
    listeners: int
    opened: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    switches: int
    added: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    level = LogLevel.info
    text = "reloaded {event.file}: {event.changes}"

    @property
    def changes(self) -> str:
        """What was kept, added and ended, in words."""
        listeners = f"{self.listeners} kept{_listed('opened', self.opened)}{_listed('closed', self.closed)}"
        switches = f"{self.switches} kept{_listed('added', self.added)}{_listed('ended', self.ended)}"
        others = f"; changed: {', '.join(self.others)}" if self.others else ""
        return f"listeners: {listeners}; switches: {switches}{others}"


def _listed(what: str, names: tuple[str, ...]) -> str:
    return f", {what}: {', '.join(names)}" if names else ""


@frozen
class NotReloaded:
    """The configuration has been read again, and cannot be used: everything stays as it was.

    Attributes:
        file: The file.
        why: All that is wrong with it.
    """

    file: str
    why: str

    level = LogLevel.error
    text = "nothing is changed, {event.file} cannot be used: {event.why}"


@frozen
class NoAdmin:
    """The listener of `[admin]` cannot be opened; the server serves without.

    Attributes:
        why: In a few words.
    """

    why: str

    level = LogLevel.critical
    text = "metrics, health and the console are told nowhere: {event.why}"


@frozen
class ControlListening:
    """The control socket is open.

    Attributes:
        address: As for `Listening`.
    """

    address: str

    level = LogLevel.info
    text = "controlled on {event.address}"


@frozen
class Renewed:
    """The files of a certificate have changed; new connections have what is in them now.

    Attributes:
        file: The certificate's.
    """

    file: str

    level = LogLevel.info
    text = "the certificate in {event.file} is read anew"


@frozen
class NotRenewed:
    """The files of a certificate have changed, and are of no use: the one that was read before stays.

    Attributes:
        file: The certificate's.
        why: What is wrong with them.
    """

    file: str
    why: str

    level = LogLevel.warn
    text = "the certificate in {event.file} has changed and cannot be used, the one before is kept: {event.why}"


@frozen
class ExposedKey:
    """Every user of this machine can read a private key.

    Attributes:
        file: Where it is.
    """

    file: str

    level = LogLevel.warn
    text = "everybody on this machine may read the private key in {event.file}"


@frozen
class NoSession:
    """A client did not come to a TLS session with us.

    Attributes:
        id: The connection.
        peer: The client's address.
        why: What OpenSSL says, or how else its connection has ended.
    """

    id: str
    peer: str
    why: str

    level = LogLevel.info
    text = "{event.id} {event.peer} came to no TLS session: {event.why}"


@frozen
class _OfSwitched:
    """What is said of a switched connection in any case.

    Attributes:
        id: The connection.
        peer: The client's address.
        path: The path that its last switch was asked for on, escaped.
        stack: The tokens that the connection has gone through, the newest last.
        route: The path of the `[[switch]]` that took it, as configured; "*" for HTTP/2 that needed none.
    """

    id: str
    peer: str
    path: str
    stack: tuple[str, ...]
    route: str = field(default="*", kw_only=True)

    @property
    def protocol(self) -> str:
        """The stack as people write it."""
        return " > ".join(self.stack)


@frozen
class Switched(_OfSwitched):
    """A connection has changed protocol.

    Attributes:
        seconds: From when it came, or switched before, to this switch.
    """

    seconds: float

    level = LogLevel.info
    text = "{event.id} {event.peer} switched to {event.protocol} on {event.path} after {event.seconds:.3f} s"


@frozen
class Ended(_OfSwitched):
    """A switched connection is over.

    Attributes:
        seconds: From the last switch to the end.
        by: Who ended it: "client", "server", or "network" where neither said so.
        why: In a few words.
    """

    seconds: float
    by: str
    why: str

    level = LogLevel.info
    text = (
        "{event.id} {event.peer} {event.protocol} on {event.path} ended by {event.by}"
        " after {event.seconds:.3f} s: {event.why}"
    )


@frozen
class Rejected:
    """A request broke HTTP's rules or a limit.

    Attributes:
        id: The connection.
        peer: The client's address.
        status: What it was answered.
        why: What the client was told.
    """

    id: str
    peer: str
    status: int
    why: str

    level = LogLevel.info
    text = "{event.id} {event.peer} request rejected with {event.status}: {event.why}"


@frozen
class OverBudget:
    """There is no room for a connection, or for a switch.

    Attributes:
        id: The connection.
        peer: The client's address.
        scope: Where: "server", "listener", "path" or "peer".
        name: Of which listener or path, as configured; "" for the other scopes.
        key: What there is no room for: a key of the configuration.
        status: What it was answered; 0: nothing.
        unlogged: How many like it have not been logged, since one was.
    """

    id: str
    peer: str
    scope: str
    name: str
    key: str
    status: int
    unlogged: int = 0

    level = LogLevel.warn
    text = (
        "{event.id} {event.peer} {event.fate}: over the budget {event.key} of the {event.place}"
        " ({event.unlogged} more since this was last said)"
    )

    @property
    def fate(self) -> str:
        """What has become of it."""
        return f"turned away with {self.status}" if self.status else "cut off without an answer"

    @property
    def place(self) -> str:
        """Where, in words."""
        return f"{self.scope} {self.name}" if self.name else self.scope


LOG_SECONDS = 10.0
"""How seldom the same is said again of which there may be a flood: enough to see when it began and that it lasts."""


class Seldom:
    """Has things said that happen often, each but once in a while.

    Args:
        now: The clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._said: dict[Hashable, tuple[float, int]] = {}

    def due(self, kind: Hashable) -> int | None:
        """One has happened. Whether to say so: how many have not been said before it; None: not now.

        Args:
            kind: What it is like; there are few of these.
        """
        now = self._now()
        said, number = self._said.get(kind, (now - LOG_SECONDS, 0))
        if 0 <= now - said < LOG_SECONDS:
            self._said[kind] = said, number + 1
            return None
        self._said[kind] = now, 0
        return number


@frozen
class MemoryPressure:
    """It has changed how it is with the memory that the server may have.

    Attributes:
        state: "easy"; "short", new connections do with less; or "full", there are no new ones.
        used: How many bytes are in use.
        most: How many may be.
    """

    state: str
    used: int
    most: int

    text = "memory is {event.state}: {event.used} of {event.most} bytes are in use"

    @property
    def level(self) -> Any:
        """How bad that is."""
        return LogLevel.info if self.state == "easy" else LogLevel.warn


@frozen
class FewDescriptors:
    """The system allows fewer file descriptors than all connections would need.

    Attributes:
        wanted: How many connections there may be, as configured.
        allowed: How many there can be.
    """

    wanted: int
    allowed: int

    level = LogLevel.warn
    text = (
        "limits.connections is {event.wanted}, but the system allows file descriptors for {event.allowed} only:"
        " raise its limit (ulimit -n, LimitNOFILE)"
    )


@frozen
class Dropped:
    """A connection is closed without an answer, because nobody took its offer and the path's `[[switch]]` says so.

    Attributes:
        id: The connection.
        peer: The client's address.
        path: The path of the request, escaped.
    """

    id: str
    peer: str
    path: str

    level = LogLevel.info
    text = "{event.id} {event.peer} closed without an answer: nobody took its offer on {event.path}"


@frozen
class Overflowed:
    """More than may was waiting for a client that speaks HTTP: its connection, or its stream of HTTP/2, is cut off. Of
    one that had switched, `Ended` says so.

    Attributes:
        id: The connection.
        peer: The client's address.
    """

    id: str
    peer: str

    level = LogLevel.info
    text = "{event.id} {event.peer} cut off: more waited to be sent than limits.buffered_bytes"


@frozen
class Idled:
    """Nothing has come or gone on a switched connection for longer than may be: it is told goodbye.

    Attributes:
        id: The connection.
        peer: The client's address.
        path: The path of its last switch, escaped.
        seconds: How long it may be idle.
    """

    id: str
    peer: str
    path: str
    seconds: float

    level = LogLevel.info
    text = "{event.id} {event.peer} on {event.path} is closed: nothing came or went for {event.seconds:g} s"


Ending = Literal["idle", "answered", "farewell", "cut", "lost"]
"""How a connection ends that is there when the server stops: the counts of `Drained`."""


@frozen
class Draining:
    """The server stops: it listens no more, and ends its connections.

    Attributes:
        connections: How many there are.
        switched: How many of them have switched, and are told goodbye in their own language.
        seconds: How long they have, at most.
    """

    connections: int
    switched: int
    seconds: float

    level = LogLevel.info
    text = (
        "draining: {event.connections} connections, {event.switched} of them switched, have {event.seconds:g} s to end"
    )


@frozen(kw_only=True)
class Drained:
    """All connections have ended, and the server can stop.

    Attributes:
        seconds: How long it took.
        idle: How many were closed that spoke HTTP and waited for nothing.
        answered: How many were closed after an answer that was being made.
        farewell: How many had switched, and were closed after their goodbye.
        cut: How many were aborted when their time was over.
        lost: How many were lost before that: the client or the network broke them off, or the protocol failed.
    """

    seconds: float
    idle: int = 0
    answered: int = 0
    farewell: int = 0
    cut: int = 0
    lost: int = 0

    level = LogLevel.info
    text = (
        "drained in {event.seconds:.3f} s: {event.idle} idle, {event.answered} after an answer,"
        " {event.farewell} after a farewell, {event.cut} cut, {event.lost} lost"
    )


@frozen
class _OfOffer:
    """What is said in any case of an offer that did not lead to a switch. It is answered as a request, which the access
    log has: so the log is not told.

    Attributes:
        id: The connection.
        peer: The client's address.
        path: The path of the request, escaped.
        route: The path of the `[[switch]]` that was asked, or was nearest, as configured; "" if none matches.
        offers: What was offered and refused, or, if that was nobody's in particular, what was offered first; escaped.
        plugin: The name of the one that decided, or was asked first; "" if none has.
    """

    id: str
    peer: str
    path: str
    route: str
    offers: tuple[str, ...]
    plugin: str = field(default="", kw_only=True)


@frozen
class Refused(_OfOffer):
    """An offer has been answered by an error, or by whatever its switch answers instead.

    Attributes:
        status: By which.
        rule: By which rule plugins were asked, or were not: its name (`negotiation.Rule`) in lower case.
    """

    status: int
    rule: str = field(default="", kw_only=True)


@frozen
class Ignored(_OfOffer):
    """A request that offers something is answered as if it did not.

    Attributes:
        reason: "declined", or the name of the rule (`negotiation.Rule`) in lower case.
    """

    reason: str


@frozen
class Closing:
    """Whoever runs the server has connections closed.

    Attributes:
        what: Which: "connection 1f", or "all on /echo", escaped.
        connections: How many that are.
        by: Where it was said: "control", at the control socket, or "console", on the page.
    """

    what: str
    connections: int
    by: str

    level = LogLevel.info
    text = "{event.by} closes {event.what}; connections: {event.connections}"


Logged = (
    AdminListening
    | BrokenPlugin
    | Closing
    | ControlListening
    | Drained
    | Draining
    | Dropped
    | Ended
    | ExposedKey
    | FewDescriptors
    | Idled
    | LeftOut
    | Listening
    | MemoryPressure
    | NoAdmin
    | NoSession
    | NotReloaded
    | NotRenewed
    | OverBudget
    | Overflowed
    | Rejected
    | Reloaded
    | Renewed
    | Switched
    | Unserved
)
"""What the log is told."""

Event = Logged | Refused | Ignored

Listener = Callable[[Event], object]
"""Who is told of events. It may not raise, nor wait for anything."""


def log(event: Logged) -> None:
    """Write an event to the log. Its sentence is made here: in Twisted's way that takes as long as all the rest."""
    _log.emit(event.level, "{sentence}", sentence=event.text.format(event=event), event=event)


def escaped(data: bytes | str) -> str:
    """What a client sent, fit for one line of a log or page: ASCII, with everything else as in a Python literal."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    return ascii(text)[1:-1]


def address(value: Any) -> str:
    """An `IAddress` in a few words: "127.0.0.1:8080", "[::1]:8080", a path, or "unknown"; without a port if it has
    none. It may come from a proxy, which says what it likes."""
    host = getattr(value, "host", None)
    if host is not None:
        port = f":{value.port}" if value.port else ""
        return escaped(f"[{host}]{port}" if ":" in host else f"{host}{port}")
    name = getattr(value, "name", None)
    return escaped(name) if name else "unix" if hasattr(value, "name") else "unknown"
