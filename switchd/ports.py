"""The ports that are open, and how they become others when the configuration is read again: without a gap in accepting.

A port that is called the same in both configurations stays as it is; only what it leads to is exchanged. One that has
become something else at the same address (`tcp:80` that becomes `haproxy:tcp:80`, say) goes on under the new name: its
socket is never closed. All the others are opened before anything is changed, so that what cannot be opened changes
nothing, and closed afterwards.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import directlyProvides, implementer, providedBy

from switchd import events
from switchd.changes import match
from switchd.inherited import IInherited
from switchd.listeners import Prepared, has_own_tls, is_inherited, made
from switchd.transports.connections import prepare


def described(port: IListeningPort) -> str:
    """Where a port listens: "tcp 127.0.0.1:8080"."""
    host = port.getHost()
    return f"{getattr(host, 'type', 'unix').lower()} {events.address(host)}"


class CannotListen(Exception):
    """A listener cannot be opened; nothing has been changed.

    Args:
        name: The listener.
        cause: Why.
        taken_by: The listener of ours that is in its way, if there is one.
    """

    def __init__(self, name: str, cause: BaseException, taken_by: str = "") -> None:
        ours = f", by our own {taken_by}" if taken_by else ""
        super().__init__(f"cannot listen on {name}: {_plainly(cause)}{ours}")


def _plainly(cause: BaseException) -> str:
    """What the operating system said, without the class names around it."""
    cause = getattr(cause, "socketError", cause)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


@implementer(IProtocolNegotiationFactory)
class Door(Factory):
    """What a port has as its factory, as long as it is open.

    Args:
        inside: Where it leads: makes the protocols.
    """

    noisy = False

    def __init__(self, inside: Any) -> None:
        self._inside = inside

    def lead_to(self, inside: Any) -> None:
        """From now on it leads somewhere else."""
        inside.doStart()
        before, self._inside = self._inside, inside
        before.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory`."""
        return self._inside.buildProtocol(addr)

    def acceptableProtocols(self) -> Any:
        """For ALPN, if the endpoint sees to TLS by itself. Without an answer Twisted turns away whoever offers any."""
        return self._inside.acceptableProtocols()

    def logPrefix(self) -> str:
        """What Twisted's lines about the port begin with."""
        return "switchd"

    def doStart(self) -> None:
        """See `IProtocolFactory`."""
        self._inside.doStart()

    def doStop(self) -> None:
        """See `IProtocolFactory`."""
        self._inside.doStop()


@define(eq=False)
class Open:
    """A listener that is open.

    Attributes:
        name: Its endpoint, as configured.
        port: What listens.
        door: Where that leads.
    """

    name: str
    port: IListeningPort
    door: Door


class Ports:
    """The open listeners of one kind.

    Args:
        reactor: Where to listen.

    Attributes:
        open: They, in the order of the configuration.
    """

    def __init__(self, reactor: Any) -> None:
        self.open: tuple[Open, ...] = ()
        self._reactor = reactor

    async def change(self, wanted: Iterable[Prepared], inside: Callable[[Prepared], Any]) -> Change:
        """Open what is to be open and is not. All the rest of it is for the caller to do (`use`), or to undo.

        Args:
            wanted: All that are to be open.
            inside: Makes the factory that one leads to.

        Raises:
            CannotListen: One cannot be opened. Nothing has been changed.
        """
        change = Change(self.open, wanted, inside, self._reactor)
        for place, prepared in enumerate(change.wanted):
            if change.now[place] is None:
                door = Door(inside(prepared))
                try:
                    port: Any = await maybeDeferred(self._listen, prepared, door, change.heir)
                except Exception as error:
                    change.undo()
                    raise CannotListen(prepared.name, error, self._taken_by(error)) from error
                prepare(port)
                change.now[place] = Open(prepared.name, port, door)
        return change

    def _taken_by(self, error: BaseException) -> str:
        """Which of our own listeners has the number of a port that could not be had; "" if none has."""
        if getattr(getattr(error, "socketError", None), "errno", None) != errno.EADDRINUSE:
            return ""
        number = getattr(error, "port", None)
        return next((one.name for one in self.open if getattr(one.port.getHost(), "port", None) == number), "")

    def _listen(self, prepared: Prepared, door: Door, heir: Heir) -> Any:
        if heir.is_poor or is_inherited(prepared.name):
            return prepared.endpoint.listen(door)
        heir.name = prepared.name
        return made(prepared.name, heir).listen(door)

    def use(self, change: Change) -> list[Deferred[Any]]:
        """Do what is left of a change. Returns what fires when each port that has no place in it is closed."""
        for one, prepared in change.kept:
            one.door.lead_to(change.inside(prepared))
        self.open = tuple(one for one in change.now if one is not None)
        change.heir.settle()
        return [maybeDeferred(stop_listening, one.port) for one in change.ended]

    def close(self) -> list[Deferred[Any]]:
        """Close all. Who waits to be accepted is accepted, and nobody else."""
        closing, self.open = self.open, ()
        return [maybeDeferred(stop_listening, each.port) for each in closing]


class Change:
    """A change whose new ports are open, and which has not happened yet.

    Args:
        before: What is open.
        wanted: What is to be open.
        inside: Makes the factory that one leads to.
        reactor: Where to listen.

    Attributes:
        wanted: As given.
        inside: As given.
        now: What is open then, in the same order; None as long as it is to be opened.
        kept: What is open already, and the listener whose it is now.
    """

    def __init__(
        self, before: tuple[Open, ...], wanted: Iterable[Prepared], inside: Callable[[Prepared], Any], reactor: Any
    ) -> None:
        self.wanted = tuple(wanted)
        self.inside = inside
        matched = match(before, self.wanted, lambda one, prepared: one.name == prepared.name)
        # An endpoint that has read its files is made anew, upon the port that there is.
        self.kept = [(one, new) for one, new in matched.kept if not has_own_tls(new.name)]
        self._before = before
        stays = {id(new): one for one, new in self.kept}
        self.now: list[Open | None] = [stays.get(id(new)) for new in self.wanted]
        self.heir = Heir(reactor, [one for one in before if one not in stays.values()])

    @property
    def opened(self) -> tuple[IListeningPort, ...]:
        """Ports that were not there before."""
        before = {one.port for one in self._before}
        return tuple(one.port for one in self.now if one is not None and one.port not in before)

    @property
    def ended(self) -> tuple[Open, ...]:
        """What has no place any more: its port is to be closed."""
        ports = {one.port for one in self.now if one is not None}
        return tuple(one for one in self._before if one.port not in ports)

    def undo(self) -> None:
        """Leave everything as it was."""
        self.heir.undo()
        for port in self.opened:
            maybeDeferred(port.stopListening)


class Heir:
    """A reactor on which an endpoint that listens gets a port that is open at that address already, if there is one.

    Args:
        reactor: The reactor, which does all the rest.
        left: Whose ports may be had.

    Attributes:
        name: What listens now is called. What has been called the same, at whatever address, is its port.
    """

    def __init__(self, reactor: Any, left: Iterable[Open]) -> None:
        self.name = ""
        self._reactor = reactor
        self._left = list(left)
        self._taken: list[tuple[Any, Any]] = []  # ports, with the factories that they had
        self._modes: list[tuple[str, int]] = []
        directlyProvides(self, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def is_poor(self) -> bool:
        """Whether there is nothing left to be had."""
        return not self._left

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        found = self._take(lambda host: _is_at(host, port, interface), factory)
        if found is None:
            return self._reactor.listenTCP(port, factory, backlog, interface)
        _wait_for(found, backlog)
        return found

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorSSL`."""
        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: int = 0) -> Any:
        """See `IReactorUNIX`."""
        found = self._take(lambda host: getattr(host, "name", None) == os.fsencode(address), factory)
        if found is None:
            return self._reactor.listenUNIX(address, factory, backlog, mode, wantPID)
        self._modes.append((address, os.stat(address).st_mode & 0o7777))
        os.chmod(address, mode)
        _wait_for(found, backlog)
        return found

    def _take(self, is_there: Callable[[IAddress], bool], factory: Any) -> Any:
        for one in self._left:
            port: Any = one.port
            if isinstance(port, Port) and (one.name == self.name or is_there(port.getHost())):
                self._left.remove(one)
                self._taken.append((port, port.factory))
                factory.doStart()
                port.factory = factory
                return port
        return None

    def settle(self) -> None:
        """It is for good."""
        for _, factory in self._taken:
            factory.doStop()

    def undo(self) -> None:
        """It is not: everybody gets back what they had."""
        for port, factory in self._taken:
            port.factory.doStop()
            port.factory = factory
        for address, mode in self._modes:
            os.chmod(address, mode)


_ANY = {"": "0.0.0.0"}


def _wait_for(port: Any, backlog: int) -> None:
    """Have so many wait for being accepted."""
    port.backlog = backlog
    port.socket.listen(backlog)


def _is_at(host: Any, port: int, interface: str) -> bool:
    return (getattr(host, "port", None), getattr(host, "host", None)) == (port, _ANY.get(interface, interface))


def stop_listening(port: Any) -> Any:
    """Accept those who are waiting for it, whom the system would turn away, and nobody else.

    Where the socket outlives us they are left to who comes next.
    """
    if isinstance(port, Port) and not IInherited.providedBy(port):
        port.numberAccepts = port.backlog + 1
        port.doRead()
    return port.stopListening()
