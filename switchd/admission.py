"""Who is let in: budgets and memory, as they hold for live connections, and what is kept of these for that.

Most servers have no such bounds: then `budgets` is None and `binds` is False, and a connection costs nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import ip_network
from typing import Any

from attrs import evolve
from twisted.internet.interfaces import IAddress

from switchd import config, events, negotiation, process
from switchd.budgets import (
    DESCRIPTORS_KEPT,
    MOST_CONNECTIONS,
    MOST_TURNED_AWAY,
    NO_BOUNDS,
    UNBOUNDED,
    Bounds,
    Budget,
    Budgets,
    Charge,
    Key,
    Over,
    Path,
    Peers,
    Scope,
)
from switchd.forwarded import Proxies
from switchd.handover import bottom
from switchd.interfaces import Request
from switchd.negotiation import Candidate, Candidates, Entry, Rule
from switchd.pressure import Pressure
from switchd.tunnel import Tunnel


class Admission:
    """Lets connections and switches in, or not.

    Args:
        connections: Those that live, streams of HTTP/2 that have switched among them.
        now: The clock, in seconds.
        pressure: How it is with the memory.
        log: Told of each event that is for the log.
        tell: Told of each event, for whoever else listens.

    Attributes:
        budgets: What may be taken; None: as much as there is.
        binds: Whether anything may be kept here of connections.
        most_connections: How many there may be, streams apart.
        shutdown_seconds: How long a farewell may take.
        may_idle: For how many seconds nothing may come or go on connections that have switched, of those for which that
            is said.
        pressure: As given.
        proxies: Whose connections are nobody's in particular; None: there are no such.
        tunnels: How many of the connections are streams.
    """

    def __init__(
        self,
        connections: Collection[Any],
        now: Callable[[], float],
        pressure: Pressure,
        log: Callable[[Any], object],
        tell: Callable[[Any], object],
    ) -> None:
        self.pressure = pressure
        self.budgets: Budgets | None = None
        self.binds = False
        self.most_connections: float = math.inf
        self.shutdown_seconds = 0.0
        self.may_idle: dict[Any, float] = {}
        self.proxies: Proxies | None = None
        self.tunnels = 0
        self._connections = connections
        self._now = now
        self._log = log
        self._tell = tell
        self._seldom = events.Seldom(now)
        self._wanted = math.inf
        self._descriptors = math.inf  # connections that there are some for
        self._turned_away: set[Any] = set()
        # Not in the connections themselves, where a place for them would cost everybody memory.
        self._admitted: dict[Any, Charge] = {}
        self._switched: dict[Any, Charge] = {}
        self._peers = config.Peers()
        self._clients = Peers()
        self._for_clients: dict[Any, Any] = {}  # listeners, as they are for clients of whom `[peers]` says more

    # What is allowed

    def allow(self, configuration: config.Config, entries: Iterable[Entry]) -> None:
        """Set what may be taken from now on. If it was not counted before, then who is here is counted now.

        Args:
            configuration: Of servers, listeners and clients.
            entries: Of paths.
        """
        limits, its, entries = configuration.limits, configuration.peers, tuple(entries)
        self.shutdown_seconds = limits.shutdown_seconds
        self._wanted = limits.connections or math.inf
        self.most_connections = min(self._wanted, self._descriptors)
        self.pressure.most = limits.memory_bytes
        server = Budget(0, limits.switched, limits.handshakes_per_second)  # connections are counted anyway
        listeners = {listen.endpoint: _budget(configuration.limits_of(listen)) for listen in configuration.listen}
        exempt = tuple(ip_network(network, strict=False) for network in its.exempt)
        self._peers, self._clients = its, Peers(_budget(its), its.ipv6_prefix, exempt)
        self._for_clients = {}
        self._count(server, listeners, self._clients, entries)
        tables = configuration.listen
        said = [table.drain_seconds is not None or configuration.limits_of(table).idle_seconds for table in tables]
        special = [entry for entry in entries if entry.bounds != NO_BOUNDS]
        clients = its.drain_seconds is not None or its.idle_seconds
        if self.budgets is not None or special or any(said) or clients or limits.idle_seconds:
            self.binds = True

    def _count(self, server: Budget, listeners: dict[str, Budget], peers: Peers, entries: tuple[Entry, ...]) -> None:
        allowed = (server, peers.budget, *listeners.values(), *(entry.bounds.budget for entry in entries))
        if not (self.pressure.most or self.knows_clients) and all(budget == UNBOUNDED for budget in allowed):
            self.budgets = None
            return
        counts_already = self.budgets is not None
        self.budgets = self.budgets or Budgets(self._now, self.pressure.is_full)
        self.budgets.allow(server, listeners, peers)
        if not counts_already:
            for connection in self._connections:
                self._count_late(connection, self.budgets, entries)

    def _count_late(self, connection: Any, counting: Budgets, entries: tuple[Entry, ...]) -> None:
        """A connection that has come before anybody counted."""
        where = self._where(connection)
        if not isinstance(connection.transport, Tunnel):
            self._admitted[connection] = counting.count(*where)
        if connection.stack:
            found = negotiation.offers([connection.stack[-1].encode("ascii")])
            taken = [entry for entry in entries if entry.path == connection.route and any(map(entry.spelling, found))]
            if taken:
                self._switched[connection] = counting.count(*where, _path(taken[0]))

    def bounded(self, entries: Iterable[Entry]) -> Iterator[tuple[Scope, str, Key]]:
        """What there may be no room for, as events tell it: in which scope, of which name, by which key."""
        yield "server", "", "connections"
        if self.pressure.most:
            yield "server", "", "memory_bytes"
        if self.budgets is not None:
            yield from self.budgets.bounded(map(_path, entries))

    def raise_descriptors(self, most: int | None = None) -> None:
        """Have file descriptors for as many connections as there may be, and no more connections than those are for.

        Args:
            most: Those that the reactor can have. None: any number.
        """
        wanted = self._wanted
        needed = MOST_CONNECTIONS if wanted == math.inf else int(wanted)
        allowed = process.raise_descriptors(needed + DESCRIPTORS_KEPT)
        few = [number for number in (allowed, most) if number is not None]
        if few:
            self._descriptors = max(1, min(few) - DESCRIPTORS_KEPT)
        self.most_connections = min(wanted, self._descriptors)
        if self.most_connections < wanted < math.inf:
            self._log(events.FewDescriptors(int(wanted), int(self.most_connections)))

    def look_at_memory(self) -> None:
        """See how it is with the memory."""
        if self.pressure.look():
            event = events.MemoryPressure(self.pressure.state, self.pressure.used, self.pressure.most)
            self._log(event)
            self._tell(event)

    # Connections

    def admit(self, connection: Any, is_anybodys: bool = False) -> Over | None:
        """Whether there is room for a connection that has come, and is among the others.

        Args:
            connection: The connection.
            is_anybodys: Whether it is not known yet whose it is. Ask again when it is.
        """
        self._turned_away.discard(connection)
        self._give_back(self._admitted.pop(connection, None))
        outcome: Over | Charge | None = None
        if len(self._connections) - self.tunnels - len(self._turned_away) > self.most_connections:
            outcome = Over("server", "", "connections")
        elif self.budgets is not None:
            listener, address = self._where(connection)
            outcome = self.budgets.connect(listener, None if is_anybodys else address)
        if isinstance(outcome, Over):
            self._turned_away.add(connection)
            self.binds = True
            return outcome
        if outcome is not None:
            self._admitted[connection] = outcome
        return None

    @property
    def knows_clients(self) -> bool:
        """Whether something else holds for clients than where they come in."""
        return bool(self._peers.limits) or self._peers.drain_seconds is not None

    def listener(self, connection: Any) -> Any:
        """Where a connection has come in, as that is for its client."""
        listener, address = connection.listener, self._where(connection)[1]
        if self._clients.client(getattr(address, "host", "")) is None:
            return listener
        found = self._for_clients.get(listener)
        if found is None:
            its = self._peers
            seconds = listener.drain_seconds if its.drain_seconds is None else its.drain_seconds
            limits = evolve(listener.limits, **its.limits)
            found = self._for_clients[listener] = evolve(listener, limits=limits, drain_seconds=seconds)
        return found

    def _where(self, connection: Any) -> tuple[str, IAddress | None]:
        """Through which listener it has come, and whose it is; None: a proxy's, which connects for many."""
        address: IAddress = connection.client
        is_proxy = self.proxies is not None and self.proxies.trust(address)
        return connection.listener.name, None if is_proxy else address

    def may_turn_away(self) -> bool:
        """Whether those who are turned away, the last one included, are few enough to be told so."""
        return len(self._turned_away) <= MOST_TURNED_AWAY

    def turned_away(self, connection: Any, over: Over, client: IAddress | None = None, answered: bool = True) -> None:
        """A connection is, or a request of `client`'s on it: with an answer, or without."""
        status, peer = over.status if answered else 0, events.address(client or connection.client)
        event = events.OverBudget(connection.id, peer, over.scope, over.name, over.key, status)
        unlogged = self._seldom.due((over.scope, over.name, over.key))
        if unlogged is not None:
            self._log(evolve(event, unlogged=unlogged))
        self._tell(event)

    def left(self, connection: Any) -> None:
        """It is over, and has nothing any more."""
        self._turned_away.discard(connection)
        self.may_idle.pop(connection, None)
        for charges in (self._admitted, self._switched):
            self._give_back(charges.pop(connection, None))

    @staticmethod
    def _give_back(charge: Charge | None) -> None:
        if charge is not None:
            charge.give_back()

    # Switches

    def reserve(self, connection: Any, asked: Request, found: Candidates) -> Candidates | Over:
        """Plugins are to be asked about a request.

        Returns:
            Who is asked first and who after that: there is room for the first, and `release` follows, be it after
            `switched`. Nobody, where an offer for which there is no room is ignored. `Over`, where it is refused.
        """
        if self.budgets is None:
            return found
        is_upgrade = asked.how == "upgrade"
        before = self._switched.get(connection) if is_upgrade else None
        paths = [_path(candidate.entry) for candidate in found.found]
        full = self.budgets.ask(asked.id, connection.listener.name, asked.peer, paths, before)
        if not isinstance(full, Over):
            return evolve(found, found=found.found[full:]) if full else found
        if is_upgrade and all(candidate.entry.may_ignore for candidate in found.found):
            return Candidates((), Rule.OVER_BUDGET, found.offers)
        return full

    def may_ask(self, asked: Request, candidate: Candidate) -> bool:
        """Whether there is room for a request on the path of a candidate, which is to be asked after others."""
        return self.budgets is None or self.budgets.go_on(asked.id, _path(candidate.entry))

    def release(self, asked: Request) -> None:
        """It has been decided about; if it did not switch, what was reserved is free again."""
        if self.budgets is not None:
            self.budgets.release(asked.id)

    def switched(self, connection: Any, asked: Request, entry: Entry) -> None:
        """It did, on a connection or to one: what is said of the entry holds for that from now on."""
        if self.budgets is not None:
            # If it came before anybody counted, then it may even have another place as well.
            charge = self.budgets.keep(asked.id) or self.budgets.count(
                connection.listener.name, asked.peer, _path(entry)
            )
            self._give_back(self._switched.get(connection))
            self._switched[connection] = charge
        self.bind(connection, entry.bounds)

    def bind(self, connection: Any, bounds: Bounds = NO_BOUNDS) -> None:
        """Have a connection that has switched obey `bounds` and its listener's."""
        listener, idle = connection.listener, bounds.idle_seconds
        if connection.drain_seconds is None:
            connection.drain_seconds = listener.drain_seconds
        most = bounds.buffered_bytes
        bottom(connection.transport).buffered_bytes = listener.limits.buffered_bytes if most is None else most
        seconds = listener.limits.idle_seconds if idle is None else idle
        if seconds:
            self.may_idle[connection] = seconds
        else:
            self.may_idle.pop(connection, None)


def _budget(bounds: config.Limits | config.Peers) -> Budget:
    """What of it is a budget."""
    return Budget(bounds.connections, bounds.switched, bounds.handshakes_per_second)


def _path(entry: Entry) -> Path:
    """What it is known by is the same before and after a reload."""
    return (entry.path, entry.name), entry.path, entry.bounds.budget
