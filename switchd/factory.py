"""Builds channels from configuration, plugins and routes; asks the plugins; knows every live connection."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from sys import intern
from typing import Any, cast

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory, ISSLTransport
from twisted.internet.protocol import Factory
from twisted.python import log
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Site
from zope.interface import implementer

from switchd import (
    access,
    certificates,
    config,
    engine,
    events,
    exchange,
    http1,
    http2,
    listeners,
    negotiation,
    plugins,
    process,
    routes,
)
from switchd.admission import Admission
from switchd.changes import NOTHING, Made
from switchd.deadlines import Deadlines
from switchd.decision import Verdict
from switchd.errors import ConfigurationError, Mistake, RequestError
from switchd.first import First, Judged
from switchd.forwarded import Proxies, Way
from switchd.handover import before_lost, bottom, occupant, pass_half_close, when_lost
from switchd.interfaces import Header
from switchd.interfaces import Request as Asked
from switchd.listeners import Prepared
from switchd.memory import Memory
from switchd.negotiation import Entry
from switchd.pressure import Pressure

MOST_REMEMBERED = 256
"""Paths, and combinations of offers, for which it is remembered who is asked: more than there are kinds of clients."""

MOST_OFFERS_TOLD = 8
"""Offers of one request that an event names. Whoever needs a switch offers a handful; a head has room for thousands."""

REMEMBERED_BYTES = 200
"""How long each of them may be: longer ones are nobody's habit."""


@frozen
class Assembly:
    """A configuration with everything in it found, loaded and made.

    Attributes:
        config: The configuration.
        routes: What is served where.
        listeners: Where to listen, in the order of `config.listen`.
        broken: Plugin files that could not be imported, of anybody. Nothing here needs them: no reason not to start.
        admin: Where metrics and health are told; None: nowhere.
        pressure: How it is with the memory of the process, as plugins can ask.
    """

    config: config.Config
    routes: routes.Routes
    listeners: tuple[Prepared, ...]
    broken: tuple[plugins.BrokenFile, ...] = ()
    admin: Prepared | None = None
    pressure: Pressure = field(factory=lambda: Pressure(process.memory_bytes))

    def made(self) -> tuple[Made[Any, Entry], Made[Any, IResource], Made[Any, Prepared]]:
        """What was made of each `[[switch]]`, `[[http]]` and `[[listen]]`."""
        return (
            Made(self.config.switch, self.routes.entries),
            Made(self.config.http, [resource for _, resource in self.routes.resources]),
            Made(self.config.listen, self.listeners),
        )


def assemble(
    configuration: config.Config, mistakes: Iterable[Mistake], reactor: Any, before: Assembly | None = None
) -> Assembly:
    """Make what a configuration names.

    Args:
        configuration: As `config.load` returned it.
        mistakes: Likewise.
        reactor: What plugins and WSGI applications get.
        before: What is in use. What was made of its tables goes on for those that say the same. None: nothing is.

    Raises:
        ConfigurationError: With all mistakes, those of `config.load` and those found here.
    """
    found = plugins.find()
    folder = configuration.folder
    pressure = Pressure(process.memory_bytes) if before is None else before.pressure
    switches, resources, open_ones = (NOTHING, NOTHING, NOTHING) if before is None else before.made()
    entries, in_switches = plugins.bind(configuration.switch, found, reactor, folder, switches, pressure.is_short)
    made, in_resources = routes.resources(configuration.http, folder, reactor, resources)
    prepared, in_listeners = listeners.prepare(configuration.listen, folder, reactor, open_ones)
    admin, in_admin = listeners.private(configuration.admin, folder, reactor)
    everything = (*mistakes, *_log_mistakes(configuration), *in_listeners, *in_resources, *in_switches, *in_admin)
    if everything:
        raise ConfigurationError(configuration.file, everything)
    return Assembly(configuration, routes.Routes(entries, made), prepared, found.broken, admin, pressure)


def _log_mistakes(configuration: config.Config) -> Iterator[Mistake]:
    """Found now, with all the others."""
    path = _log_path(configuration)
    if path is None:
        return
    folder = os.path.dirname(path)
    if os.path.exists(path):
        if not (os.path.isfile(path) and os.access(path, os.W_OK)):
            yield Mistake("server.access_log", f"{path} is no file that can be written to")
    elif not os.access(folder, os.W_OK):
        yield Mistake("server.access_log", f"{folder} is no folder that can be written to")


def _log_path(configuration: config.Config) -> str | None:
    """The file of the access log; None: there is none of its own."""
    log = configuration.server.access_log
    return None if log in ("", "-") else str(configuration.folder / log)


@define(eq=False)
class Listener:
    """Where connections come in, and what they may take. Who came before it was exchanged keeps the one before.

    It is that of one port, whatever that is called.

    Attributes:
        name: Its endpoint, as configured; "" for what no `[[listen]]` is about.
        limits: The limits.
        drain_seconds: How long what has switched may take to say goodbye, if its `[[switch]]` does not say. None: as
            long as there is.
        is_closed: Whether nobody listens there any more: HTTP ends with the next answer.
    """

    name: str
    limits: config.Limits
    drain_seconds: float | None = None
    is_closed: bool = False


@define(eq=False)
class Connection:
    """A live connection, as logs, events and shutdown see it.

    Attributes:
        id: Unique in this process.
        transport: Its transport, until it is lost.
        listener: Where it came in; with its limits.
        since: When it came, or when it last switched; in the reactor's seconds.
        stack: The tokens that it has gone through; empty while it has only spoken HTTP.
        path: The path of its last switch, escaped; empty before.
        route: The path of the `[[switch]]` that took it, as configured; "*" for HTTP/2 that needed none.
        drain_seconds: How long the protocol that it last switched to may take to say goodbye. None: as long as there
            is.
        ending: How it is to end, now that the server stops, or that it is to be closed. None: neither.
        left: Whether we have shut down our side of it, for that reason.
        way: How the request came by which it last switched: from then on it is that client's, and what is said in it of
            others is the client's own word. None: each request may be another client's; or no proxies are trusted.
    """

    id: str
    transport: Any
    listener: Listener
    since: float
    _lost: Callable[[Connection, Failure], object]
    stack: tuple[str, ...] = ()
    path: str = ""
    route: str = "*"
    drain_seconds: float | None = None
    ending: events.Ending | None = None
    left: bool = False
    way: Way | None = None

    @property
    def port(self) -> Any:
        """The listening port that has accepted it; None if it came by none, as a stream of HTTP/2 does."""
        return getattr(bottom(self.transport), "server", None)

    @property
    def client(self) -> IAddress:
        """Whose it is: the client's address or, as long as it may be that of several, the nearest proxy's."""
        address: IAddress = self.transport.getPeer() if self.way is None else self.way.client
        return address

    @property
    def peer(self) -> str:
        """The same, for people."""
        return events.address(self.client)

    @property
    def protocol(self) -> Any:
        """The protocol that it speaks now."""
        return occupant(self.transport)

    def lost(self, reason: Failure) -> None:
        """It is over."""
        self._lost(self, reason)


@implementer(IProtocolNegotiationFactory)
class Through(Factory):
    """What a listener leads to: HTTP/1.1 that can switch.

    Args:
        factory: Serves what comes.
        listener: Where it comes in.
    """

    noisy = False

    def __init__(self, factory: SwitchFactory, listener: Listener) -> None:
        self._factory = factory
        self._listener = listener

    def buildProtocol(self, addr: IAddress | None) -> First:
        """The protocol that gets a connection's first bytes."""
        return self._factory.first(self._listener)

    def acceptableProtocols(self) -> list[bytes]:
        """For ALPN."""
        return self._factory.acceptableProtocols()

    def doStart(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStart()

    def doStop(self) -> None:
        """See `IProtocolFactory`."""
        self._factory.doStop()


class SwitchFactory(Site):
    """What every listener has: HTTP/1.1 that can switch.

    Args:
        assembly: What is served.
        reactor: The reactor.
        publish: Called with each event that is for the log.

    Attributes:
        listener: For connections that come through no `[[listen]]`.
        entries: All switches, in the order of the file: for resources that tell what there is (`request.site.entries`).
        draining: Whether the server stops: requests that have begun are answered, and nothing is switched any more.
        endings: How many connections have ended in which way since then.
        admission: Who is let in.
        opens_log: Whether the access log is opened as soon as somebody listens. If not, it is by `open_log`.
    """

    noisy = False

    def __init__(
        self, assembly: Assembly, reactor: Any, publish: Callable[[events.Logged], object] = events.log
    ) -> None:
        super().__init__(
            routes.Root(assembly.routes),
            requestFactory=http1.Request,
            timeout=None,
            logFormatter=access.combined,
            reactor=reactor,
        )
        self.connections: set[Connection] = set()
        self.draining = False
        self.endings: Counter[events.Ending] = Counter()
        self._log = publish
        self._listeners: tuple[events.Listener, ...] = ()
        self._closing: tuple[Callable[[Any], object], ...] = ()
        self._forget = self._lost  # one bound method for all connections
        self._forget_tunnel = self._tunnel_lost
        self._deadlines: dict[float, Deadlines] = {}  # as many as `limits` has different times
        self._ids = count(1)
        self._requests = count(1)
        self._waiting: list[Deferred[None]] = []
        self.admission = Admission(self.connections, reactor.seconds, assembly.pressure, publish, self._tell)
        self.opens_log = True
        self._use(assembly)

    def use(self, assembly: Assembly) -> None:
        """Go on with another configuration: for all that is asked from now on, also on connections that there are.

        What has switched is left alone, as are the limits of those who are here. The access log is opened anew.

        Raises:
            OSError: The access log cannot be opened. Nothing has been changed.
        """
        if not self.numPorts:
            self._use(assembly)
            return
        path = _log_path(assembly.config)
        opened = self._openLogFile(path) if path else log.logfile
        before, had_own = self.logFile, self.logPath is not None
        self._use(assembly)
        self.logFile = opened
        if had_own:
            before.close()
        # Of other limits there may be other waits.
        self._deadlines = {seconds: waits for seconds, waits in self._deadlines.items() if not waits.is_idle}

    def _use(self, assembly: Assembly) -> None:
        settings = assembly.config.server
        self.resource = routes.Root(assembly.routes)
        self.listener = Listener("", assembly.config.limits)
        self.prefer = settings.prefer
        self.advertise = settings.advertise
        self.header = settings.header.encode("latin-1")
        self.proxies = Proxies.named(settings.trusted_proxies, settings.forwarded_header)
        self.engine = engine.named(settings.http2_engine)
        self.extended_connect = settings.extended_connect
        self.entries = assembly.routes.entries
        self.demands = exchange.demands(self.entries)
        h2c = [entry for entry in self.entries if http2.TOKEN in entry.tokens]
        self.speaks_h2c = bool(h2c)
        self._h2c_drain_seconds = h2c[0].drain_seconds if h2c else None  # by prior knowledge there is no path
        self.admission.proxies = self.proxies
        self.admission.allow(assembly.config, self.entries)
        self._routes = assembly.routes
        self._candidates: Memory[Any, negotiation.Candidates] = Memory(MOST_REMEMBERED)
        self._switches: Memory[bytes, tuple[Entry, ...]] = Memory(MOST_REMEMBERED)
        self.logPath = _log_path(assembly.config)
        self._logs_access = settings.access_log != ""
        self._logs_switches = settings.switch_log

    def buildProtocol(self, addr: IAddress | None) -> First:  # type: ignore[override]
        """The protocol that gets a connection's first bytes."""
        return self.first(self.listener)

    def first(self, listener: Listener) -> First:
        """The same of one that comes in through a listener."""
        admission = self.admission
        if admission.budgets is None and len(self.connections) < admission.most_connections:
            return First(self, listener)
        return Judged(self, listener)

    def channel(self) -> http1.Channel:
        """A channel that speaks HTTP/1.1."""
        channel: Any = http1.Channel()
        channel.factory = channel.site = channel.server = self
        channel.requestFactory = self.requestFactory
        channel.callLater = self.reactor.callLater
        channel.timeOut = None
        return cast(http1.Channel, channel)

    def acceptableProtocols(self) -> list[bytes]:
        """For ALPN: what we speak, whatever twisted.web could. Listeners with `[listen.tls]` ask that instead."""
        return [name.encode("ascii") for name in config.SPOKEN]

    def getResourceFor(self, request: Any) -> IResource:
        """See `Site`; the head's fields are ours from here on, before the resource can see or change them."""
        request.default_headers()
        resource: IResource = super().getResourceFor(request)
        return resource

    def log(self, request: Any) -> None:
        """See `Site`."""
        if self._logs_access:
            super().log(request)

    def startFactory(self) -> None:
        """See `Site`."""
        path, self.logPath = self.logPath, self.logPath if self.opens_log else None
        super().startFactory()
        self.logPath = path

    def open_log(self) -> None:
        """Open the access log, if it has a file of its own and is not open yet.

        Raises:
            OSError: It cannot be opened.
        """
        if self.logPath and self.numPorts and not self.opens_log:
            self.logFile = self._openLogFile(self.logPath)
        self.opens_log = True

    def stopFactory(self) -> None:
        """Nothing listens any more. Who is answered still is logged still, so the log is closed after the last."""
        self.when_empty().addCallback(lambda _: None if self.numPorts else Site.stopFactory(self))

    def when_empty(self) -> Deferred[None]:
        """Fires when there is no connection: at once, or when the last one is lost."""
        if not self.connections:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._waiting.append(empty)
        return empty

    def listen(self, listener: events.Listener) -> None:
        """Have a listener told of every event from now on, whatever is logged."""
        self._listeners += (listener,)

    def listen_to_closing(self, closing: Callable[[Any], object]) -> None:
        """Have `closing` called with what carries each connection, just before it is closed."""
        if not self._closing:
            for connection in self.connections:
                if connection.port is not None:
                    before_lost(bottom(connection.transport), self._is_closing)
        self._closing += (closing,)

    def _is_closing(self, transport: Any) -> None:
        for closing in self._closing:
            closing(transport)

    def tell(self, event: events.Logged) -> None:
        """Something has happened, to a connection or to the server as a whole: for the log, and for who listens."""
        self._log(event)
        self._tell(event)

    def _publish_switch(self, event: events.Switched | events.Ended) -> None:
        if self._logs_switches:
            self._log(event)
        self._tell(event)

    def _tell(self, event: events.Event) -> None:
        for listener in self._listeners:
            listener(event)

    # http1.Server

    def candidates(self, asked: Asked, version: bytes, entries: tuple[Entry, ...]) -> negotiation.Candidates:
        """Remembered, because nearly all clients offer the same few things in the same few ways."""
        upgrade, connection = asked.values(b"upgrade"), asked.values(b"connection")
        key = (entries, version, upgrade, connection, asked.secure)
        found = self._candidates.get(key)
        if found is None:
            found = negotiation.candidates(asked, version, entries, self.prefer)
            if sum(map(len, upgrade + connection)) <= REMEMBERED_BYTES:
                self._candidates.keep(key, found)
        return found

    def switches(self, path: bytes) -> tuple[Entry, ...]:
        """Remembered likewise."""
        found = self._switches.get(path)
        if found is None:
            found = self._routes.switches(path)
            if len(path) <= REMEMBERED_BYTES:
                self._switches.keep(path, found)
        return found

    def deadlines(self, seconds: float) -> Deadlines:
        found = self._deadlines.get(seconds)
        if found is None:
            found = self._deadlines[seconds] = Deadlines(self.reactor, seconds)
        return found

    def opened(self, transport: Any, listener: Listener | None = None) -> Connection:
        connection = Connection(
            f"{next(self._ids):x}", transport, listener or self.listener, self.reactor.seconds(), self._forget
        )
        self.connections.add(connection)
        if self._closing:
            before_lost(bottom(transport), self._is_closing)
        when_lost(transport, connection.lost)
        return connection

    def request_id(self, connection: Connection) -> str:
        return f"{connection.id}.{next(self._requests):x}"

    def way(self, connection: Connection, headers: Iterable[Header]) -> Way:
        if connection.way is not None:
            return connection.way
        peer = connection.transport.getPeer()
        return Way(peer) if self.proxies is None else self.proxies.way(peer, headers)

    def switched(self, connection: Connection, asked: Asked, verdict: Verdict) -> None:
        entry = verdict.candidate.entry
        if self.proxies is not None:
            connection.way = Way(asked.peer, asked.proxies)
        self._became(connection, verdict.candidate.upgrade, asked.path, entry.path, entry.drain_seconds)
        if self.admission.binds:
            self.admission.switched(connection, asked, entry)

    def _became(
        self,
        connection: Connection,
        token: bytes,
        path: bytes,
        route: str = "*",
        drain_seconds: float | None = None,
    ) -> None:
        now = self.reactor.seconds()
        # Interned, because there are few of them and many connections.
        connection.stack += (intern(token.decode("ascii")),)
        connection.path = intern(events.escaped(path))
        connection.route = route
        connection.drain_seconds = drain_seconds
        seconds, connection.since = now - connection.since, now
        if self._logs_switches or self._listeners:
            self._publish_switch(events.Switched(*_switched(connection), seconds, route=route))

    def tunnelled(self, connection: Connection, tunnel: Any, asked: Asked, verdict: Verdict, since: float) -> None:
        """A stream of an HTTP/2 connection is about to become a connection of its own.

        Args:
            connection: What it is a stream of.
            tunnel: The stream, as a transport.
            asked: The request for it.
            verdict: Who has accepted that.
            since: When it came, in the reactor's seconds.
        """
        own = Connection(asked.id, tunnel, connection.listener, since, self._forget_tunnel, connection.stack)
        self.connections.add(own)
        self.admission.tunnels += 1
        if self.proxies is not None:
            own.way = Way(asked.peer, asked.proxies)
        when_lost(tunnel, own.lost)
        # What it is a stream of will not be there for longer than that may be.
        entry = verdict.candidate.entry
        both = connection.drain_seconds, entry.drain_seconds
        least = min((seconds for seconds in both if seconds is not None), default=None)
        self._became(own, verdict.candidate.upgrade, asked.path, entry.path, least)
        if self.admission.binds:
            self.admission.switched(own, asked, entry)

    def rejected(self, connection: Connection, error: RequestError, client: IAddress | None = None) -> None:
        peer = events.address(client or connection.client)
        self.tell(events.Rejected(connection.id, peer, error.status, events.escaped(error.why)))

    def dropped(self, connection: Connection, client: IAddress, path: bytes) -> None:
        self.tell(events.Dropped(connection.id, events.address(client), events.escaped(path)))

    def refused(
        self,
        connection: Connection,
        client: IAddress,
        path: bytes,
        found: negotiation.Candidates,
        status: int,
        candidate: negotiation.Candidate | None = None,
    ) -> None:
        if self._listeners:
            plugin = candidate.entry.name if candidate else ""
            offered = self._offered(connection, client, path, found, candidate)
            self._tell(events.Refused(*offered, status, plugin=plugin, rule=found.rule.name.lower()))

    def ignored(self, connection: Connection, client: IAddress, path: bytes, found: negotiation.Candidates) -> None:
        if self._listeners:
            asked = found.found[0].entry.name if found.found else ""
            reason = "declined" if asked else found.rule.name.lower()
            self._tell(events.Ignored(*self._offered(connection, client, path, found, None), reason, plugin=asked))

    def _offered(
        self,
        connection: Connection,
        client: IAddress,
        path: bytes,
        found: negotiation.Candidates,
        candidate: negotiation.Candidate | None,
    ) -> tuple[str, str, str, str, tuple[str, ...]]:
        """What an event says of an offer. Several may have been asked, and none be to blame: then it is the first."""
        asked = candidate or next(iter(found.found), None)
        matching = (asked.entry,) if asked else self.switches(path)
        offers = (candidate.upgrade,) if candidate else tuple(map(bytes, found.offers[:MOST_OFFERS_TOLD]))
        route = matching[0].path if matching else ""
        return connection.id, events.address(client), events.escaped(path), route, tuple(map(events.escaped, offers))

    def resume(self, connection: Connection, asked: Asked) -> http1.Channel:
        connection.way = Way(asked.peer, asked.proxies)  # whoever will be trusted after the next reload
        channel = self.channel()
        channel.connection = connection
        channel.replay = asked
        return channel

    def resume_http2(self, connection: Connection, asked: Asked, settings: bytes | None) -> http2.Session:
        connection.way = Way(asked.peer, asked.proxies)
        if settings is None:
            # Agreed on by ALPN, which opens no stream for an answer: the client asks again, on one of its own.
            self._became(connection, b"h2", asked.path)
            if self.admission.binds:
                self.admission.bind(connection)
            return http2.Session(self, connection)
        return http2.Session(self, connection, asked, settings)

    def began_http2(self, connection: Connection) -> http2.Session:
        """A connection speaks HTTP/2 from its first byte."""
        in_clear = not ISSLTransport.providedBy(connection.transport)
        seconds = self._h2c_drain_seconds if in_clear else None
        self._became(connection, http2.TOKEN if in_clear else b"h2", b"*", drain_seconds=seconds)
        if self.admission.binds:
            self.admission.bind(connection)
        return http2.Session(self, connection)

    def overflowed(self, connection: Connection) -> None:
        """More than may was waiting to be sent, as an answer."""
        self.tell(events.Overflowed(connection.id, connection.peer))

    def turned_away_http2(self, connection: Connection) -> http2.Session:
        """A session for a connection that is to be told in HTTP/2 that there is no room for it."""
        return http2.Session(self, connection)

    def no_session(self, connection: Connection, reason: Failure) -> None:
        why = certificates.in_words(reason.value)
        self.tell(events.NoSession(connection.id, connection.peer, events.escaped(why)))

    def _tunnel_lost(self, connection: Connection, reason: Failure) -> None:
        self.admission.tunnels -= 1
        self._lost(connection, reason)

    def _lost(self, connection: Connection, reason: Failure) -> None:
        self.connections.discard(connection)
        if self.admission.binds:
            self.admission.left(connection)
        if connection.ending is not None and self.draining:
            as_expected = connection.ending == "cut" or reason.check(ConnectionDone)
            self.endings[connection.ending if as_expected else "lost"] += 1
        if connection.stack and (self._logs_switches or self._listeners):
            seconds = self.reactor.seconds() - connection.since
            by, why = _cause(connection, reason, self.draining)
            self._publish_switch(events.Ended(*_switched(connection), seconds, by, why, route=connection.route))
        elif not connection.stack and reason.check(ConnectionAborted) and _has_overflowed(connection):
            self.overflowed(connection)
        if not self.connections:
            waiting, self._waiting = self._waiting, []
            for empty in waiting:
                empty.callback(None)


def _switched(connection: Connection) -> tuple[str, str, str, tuple[str, ...]]:
    """What an event says of a switched connection."""
    return connection.id, connection.peer, connection.path, connection.stack


def _cause(connection: Connection, reason: Failure, stopping: bool) -> tuple[str, str]:
    """Who ended a connection, and why; `stopping`: the server was."""
    transport = connection.transport
    if reason.check(ConnectionAborted):
        return "server", "too much unsent" if _has_overflowed(connection) else "aborted"
    if reason.check(ConnectionLost):
        return "network", "connection lost"
    if not reason.check(ConnectionDone):
        return "server", f"error: {events.escaped(reason.getErrorMessage())} ({type(reason.value).__name__})"
    if not connection.left and (pass_half_close(transport) or not getattr(transport, "disconnecting", False)):
        return "client", "closed"
    return "server", "shutdown" if stopping and connection.ending is not None else "closed"


def _has_overflowed(connection: Connection) -> bool:
    """Whether more waited to be sent on it than may."""
    return bool(getattr(bottom(connection.transport), "has_overflowed", False))
