"""How much of a server may be taken at once, and by whom: counted here, and nothing is waited for or written.

    scope       whose                                   over it
    server      of all together                         503
    listener    of those that came in through one       503
    path        of what one `[[switch]]` has switched   503
    peer        of one client's address                 429

A connection, and likewise a switch, needs room in each scope that it is in. If one has none, nothing is taken of any
(`Over`); else it is counted in all (`Charge`), until that is given back.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal

from attrs import define, field, frozen

from switchd.memory import Memory

RETRY_SECONDS = 5.0
"""When to try again if there are too many. Nobody knows when one of them ends: this is long enough that those who are
turned away are not a load themselves, and short enough that a place is not free for long."""

IPV6_PREFIX = 64
"""Bits of an IPv6 address that make a client: the rest of them is for everybody to choose for himself (RFC 4291)."""

Scope = Literal["server", "listener", "path", "peer"]
Key = Literal["connections", "switched", "handshakes_per_second", "memory_bytes"]
Network = IPv4Network | IPv6Network


@frozen
class Budget:
    """What may be taken in one scope. 0: as much as there is.

    Attributes:
        connections: At once.
        switched: Those of them that have switched, and those about which it is being decided.
        handshakes_per_second: Requests that plugins are asked about, as many of them at once.
    """

    connections: int = 0
    switched: int = 0
    handshakes_per_second: float = 0.0


UNBOUNDED = Budget()
Path = tuple[Hashable, str, Budget]
"""Of a `[[switch]]` table what it is known by, its path, and its budget."""


@frozen
class Bounds:
    """What a `[[switch]]` says of what is taken on its path.

    Attributes:
        connections: How many that have switched there may be at once; 0: any number.
        handshakes_per_second: How often it may be asked; 0: any number.
        switch_seconds: How long it may take to decide. None, here and below: as everybody may.
        early_bytes: What is kept behind a request meanwhile.
        buffered_bytes: What may wait to be sent on a connection that has switched there; 0: any number.
        idle_seconds: How long nothing may come or go on one; 0: for ever.
    """

    connections: int = 0
    handshakes_per_second: float = 0.0
    switch_seconds: float | None = None
    early_bytes: int | None = None
    buffered_bytes: int | None = None
    idle_seconds: float | None = None

    @property
    def budget(self) -> Budget:
        """The part of it that is counted."""
        return Budget(switched=self.connections, handshakes_per_second=self.handshakes_per_second)


NO_BOUNDS = Bounds()


@frozen
class Over:
    """There is no room.

    Attributes:
        scope: Where.
        name: Of which listener or path; "" for the other scopes.
        key: What there is no room for: a key of the configuration.
        seconds: When to try again.
    """

    scope: Scope
    name: str
    key: Key
    seconds: float = RETRY_SECONDS

    @property
    def status(self) -> int:
        """What it is answered: 429 (RFC 6585) if it is the client's own doing, and 503 if it is that of all."""
        return 429 if self.scope == "peer" else 503

    @property
    def retry_after(self) -> bytes:
        """The `Retry-After` of that answer (RFC 9110 section 10.2.3)."""
        return b"%d" % max(1, math.ceil(self.seconds))

    @property
    def why(self) -> str:
        """What the client is told."""
        if self.scope == "peer":
            return "there is too much from this address already"
        return "the server has no room for more at the moment"


class Rate:
    """So many a second, and as many at once if there were none before.

    It is known by one number, which is when all that were allowed would have come, had they come evenly: the virtual
    scheduling of ITU-T I.371.
    """

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = -math.inf

    def wait(self, per_second: float, now: float) -> float:
        """How many seconds it is until one more is allowed; 0: one is."""
        if not per_second:
            return 0.0
        interval = 1 / per_second
        self._bound(interval, now)
        early = max(0.0, 1.0 - interval)  # so much sooner than evenly
        left = self._due - early - now
        return left if left > interval * 1e-9 else 0.0  # as sums of fractions go

    def take(self, per_second: float, now: float) -> None:
        """One comes."""
        if per_second:
            self._due = max(self._due, now) + 1 / per_second

    def rests(self, per_second: float, now: float) -> bool:
        """Whether it would be the same if there had been none."""
        if not per_second:
            return True
        self._bound(1 / per_second, now)
        return self._due <= now

    def _bound(self, interval: float, now: float) -> None:
        """As late as it can be if all came that were allowed. It is later where the clock has been set back."""
        self._due = min(self._due, now + max(1.0, interval))


@define(eq=False)
class Account:
    """What is taken in one scope.

    Attributes:
        scope: Which.
        name: Of which listener or path.
        budget: What may be.
        connections: How many there are.
        switched: Likewise.
    """

    scope: Scope
    name: str
    budget: Budget
    connections: int = 0
    switched: int = 0
    _rate: Rate = field(init=False, factory=Rate)

    def another_connection(self) -> Over | None:
        """Whether there is room for one more."""
        most = self.budget.connections
        return Over(self.scope, self.name, "connections") if most and self.connections >= most else None

    def another_switch(self, now: float) -> Over | None:
        """Likewise. What one `[[switch]]` calls connections are those that it has switched."""
        most = self.budget.switched
        if most and self.switched >= most:
            return Over(self.scope, self.name, "connections" if self.scope == "path" else "switched")
        seconds = self._rate.wait(self.budget.handshakes_per_second, now)
        return Over(self.scope, self.name, "handshakes_per_second", seconds) if seconds else None

    def shake_hands(self, now: float) -> None:
        """A plugin is asked."""
        self._rate.take(self.budget.handshakes_per_second, now)

    def rests(self, now: float) -> bool:
        """Whether it need not be kept."""
        return not (self.connections or self.switched) and self._rate.rests(self.budget.handshakes_per_second, now)


class Charge:
    """What a connection, or a switch, has taken: it is counted in some accounts until it is given back.

    Args:
        accounts: In which.
        what: As what.
    """

    __slots__ = ("_accounts", "_is_taken", "_what")

    def __init__(self, accounts: tuple[Account, ...], what: Literal["connections", "switched"]) -> None:
        self._accounts = accounts
        self._what = what
        self._is_taken = False
        self.take()

    def take(self) -> None:
        """Count it, also if there is no room: it is there. What is counted is not counted twice."""
        if not self._is_taken:
            self._is_taken = True
            self._add(self._accounts, 1)

    def give_back(self) -> None:
        """Count it no more, if it was."""
        if self._is_taken:
            self._is_taken = False
            self._add(self._accounts, -1)

    def is_in(self, account: Account) -> bool:
        """Whether it is counted there."""
        return account in self._accounts

    def move(self, path: Account) -> None:
        """Count it on another path than the one that it was asked for before."""
        left = tuple(one for one in self._accounts if one.scope == "path")
        self._accounts = (*(one for one in self._accounts if one not in left), path)
        self._add(left, -1)
        self._add((path,), 1)

    def _add(self, accounts: tuple[Account, ...], number: int) -> None:
        if self._what == "connections":
            for account in accounts:
                account.connections += number
        else:
            for account in accounts:
                account.switched += number


@frozen
class Peers:
    """What one client may take, and who is one.

    Attributes:
        budget: What each may.
        ipv6_prefix: So many bits of an IPv6 address are one client's.
        exempt: Who may take what there is.
    """

    budget: Budget = UNBOUNDED
    ipv6_prefix: int = IPV6_PREFIX
    exempt: tuple[Network, ...] = ()

    def client(self, host: str) -> str | None:
        """Who is counted as one with all others of that name; None: nobody is counted.

        Args:
            host: An IP address. What is none is nobody's.
        """
        try:
            ip = ip_address(host.partition("%")[0])
        except ValueError:
            return None
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if any(ip in network for network in self.exempt):
            return None
        return str(ip) if ip.version == 4 else str(_network(ip, self.ipv6_prefix))


def _network(ip: IPv4Address | IPv6Address, prefix: int) -> Network:
    return ip_network((int(ip), prefix) if ip.version == 6 else ip, strict=False)


def _bounded(scope: Scope, name: str, budget: Budget) -> Iterator[tuple[Scope, str, Key]]:
    if budget.connections:
        yield scope, name, "connections"
    if budget.switched:
        yield scope, name, "connections" if scope == "path" else "switched"
    if budget.handshakes_per_second:
        yield scope, name, "handshakes_per_second"


def _first_over(accounts: tuple[Account, ...], now: float) -> Over | None:
    """Where there is no room for another switch; None: there is, everywhere."""
    for account in accounts:
        over = account.another_switch(now)
        if over is not None:
            return over
    return None


MOST_REMEMBERED = 4096
"""Addresses of which it is remembered who that is: to read one takes as long as to count its connection."""

MOST_TURNED_AWAY = 100
"""Connections for which there is no room, and that are told so: each of them has a descriptor and some memory for a
moment, or for as long as it is silent (`head_seconds`) or lingers. Those beyond that are cut at once."""

MOST_CONNECTIONS = 1_000_000
"""For so many there are file descriptors, if the system allows that and nobody says how many there may be: more than
one process serves."""

DESCRIPTORS_KEPT = 200
"""File descriptors that are not for connections: for those that are turned away, and for listeners, logs, files that
are served, and what applications open."""


class Budgets:
    """All accounts of a server, and what may be in them.

    Args:
        now: The clock, in seconds.
        memory_is_full: Whether nothing more may be taken, whoever asks.

    Attributes:
        listeners: What each listener may take, by its name; of those that are not named, nothing is known.
        peers: What clients may.
    """

    def __init__(self, now: Callable[[], float], memory_is_full: Callable[[], bool] = lambda: False) -> None:
        self._now = now
        self._memory_is_full = memory_is_full
        self._server = Account("server", "", UNBOUNDED)
        self._accounts: dict[Hashable, Account] = {}
        # The first of a dict is found in a time that grows with the number of those that were taken out before it.
        self._clients: OrderedDict[str, Account] = OrderedDict()
        self._pending: dict[str, tuple[Charge, Charge | None]] = {}
        self._names: Memory[str, str | None] = Memory(MOST_REMEMBERED)  # what clients are called, by address
        self.listeners: Mapping[str, Budget] = {}
        self.peers = Peers()

    def allow(self, server: Budget, listeners: Mapping[str, Budget], peers: Peers) -> None:
        """Set what may be taken, from now on: what is taken already stays so. Paths have theirs with them."""
        self._server.budget = server
        self.listeners = listeners
        self.peers = peers
        self._names.clear()
        for account in self._clients.values():
            account.budget = peers.budget

    def bounded(self, paths: Iterable[Path]) -> Iterator[tuple[Scope, str, Key]]:
        """Where anything is bounded: the scope, the name, and by which key.

        Args:
            paths: Those that there are.
        """
        yield from _bounded("server", "", self._server.budget)
        for name, budget in self.listeners.items():
            yield from _bounded("listener", name, budget)
        for _, name, budget in paths:
            yield from _bounded("path", name, budget)
        yield from _bounded("peer", "", self.peers.budget)

    def connect(self, listener: str, address: Any) -> Charge | Over:
        """A connection has come.

        Args:
            listener: Where.
            address: The client's, an `IAddress`. That of a UNIX socket, which all clients share, is nobody's.
        """
        if self._memory_is_full():
            return Over("server", "", "memory_bytes")
        accounts = self._places(listener, address)
        for account in accounts:
            over = account.another_connection()
            if over is not None:
                return over
        return Charge(accounts, "connections")

    def ask(
        self,
        request: str,
        listener: str,
        address: Any,
        paths: Sequence[Path],
        before: Charge | None = None,
    ) -> Over | int:
        """Plugins are to be asked about a switch. If they may, then exactly one of `keep` and `release` follows.

        Args:
            request: The request's id.
            listener: Where its connection came in.
            address: The client's.
            paths: The tables that are to be asked, in that order.
            before: What the connection has taken as it switched before. It is given back meanwhile: nobody needs
                two places.

        Returns:
            Where there is no room; or how many of `paths` have none, before the one that is asked first. There, and in
            the other scopes, it is taken.
        """
        if self._memory_is_full():
            return Over("server", "", "memory_bytes")
        accounts = self._places(listener, address)
        if before is not None:
            before.give_back()
        now = self._now()
        on_paths = [self._path(path) for path in paths]
        overs = [account.another_switch(now) for account in on_paths]
        full = overs.index(None) if None in overs else 0
        over = _first_over(accounts, now) or (overs[full] if overs else None)
        if over is not None:
            if before is not None:
                before.take()
            return over
        accounts = (*accounts, *on_paths[full : full + 1])
        for account in accounts:
            account.shake_hands(now)
        self._pending[request] = Charge(accounts, "switched"), before
        return full

    def go_on(self, request: str, path: Path) -> bool:
        """Another table is to be asked about it. Whether there is room on its path: then its place is there."""
        if request not in self._pending:
            return True  # it came before anybody counted
        charge, _ = self._pending[request]
        account = self._path(path)
        if charge.is_in(account):
            return True
        now = self._now()
        if account.another_switch(now) is not None:
            return False
        account.shake_hands(now)
        charge.move(account)
        return True

    def keep(self, request: str) -> Charge | None:
        """The switch of a request has come about, by the table that was asked last. What it has taken; None: it was not
        asked about here."""
        charge, _ = self._pending.pop(request, (None, None))
        return charge

    def release(self, request: str) -> None:
        """It has not, or it is over already."""
        charge, before = self._pending.pop(request, (None, None))
        if charge is not None:
            charge.give_back()
        if before is not None:
            before.take()

    def count(self, listener: str, address: Any, path: Path | None = None) -> Charge:
        """Count what is here already: a connection, or, if it is said on which path, a switch."""
        accounts = self._places(listener, address)
        if path is None:
            return Charge(accounts, "connections")
        return Charge((*accounts, self._path(path)), "switched")

    def _places(self, listener: str, address: Any) -> tuple[Account, ...]:
        budget = self.listeners.get(listener, UNBOUNDED)
        places = [self._server, self._account(("listener", listener), "listener", listener, budget)]
        client = self._client(getattr(address, "host", ""))
        if client is not None:
            places.append(self._clients.get(client) or self._new_client(client))
        return tuple(places)

    def _path(self, path: Path) -> Account:
        key, name, budget = path
        return self._account(("path", key), "path", name, budget)

    def _account(self, key: Hashable, scope: Scope, name: str, budget: Budget) -> Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(scope, name, budget)
        account.budget = budget
        return account

    def _client(self, host: str) -> str | None:
        if host not in self._names:
            self._names.keep(host, self.peers.client(host))
        return self._names[host]

    def _new_client(self, client: str) -> Account:
        """Of those who have been here longest two are looked at for each that comes, so that there are never many more
        than have something."""
        now = self._now()
        for _ in range(min(2, len(self._clients))):
            oldest, account = self._clients.popitem(last=False)
            if not account.rests(now):
                self._clients[oldest] = account
        account = self._clients[client] = Account("peer", "", self.peers.budget)
        return account
