"""Start, reload and stop, as a Twisted service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.internet.interfaces import IListeningPort
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd import config, events, notify, signals
from switchd.certificates import secured
from switchd.changes import match, say_the_same
from switchd.draining import cut, dismiss, drain
from switchd.errors import ConfigurationError, SwitchdError
from switchd.factory import Assembly, Listener, SwitchFactory, Through, assemble
from switchd.inherited import IInherited
from switchd.listeners import Prepared
from switchd.overview import Overview
from switchd.ports import CannotListen, Change, Ports, described
from switchd.private import Private
from switchd.schema import in_words
from switchd.upkeep import Upkeep

FD_SETSIZE = 1024
"""File descriptors that `select` takes; Windows, where it is 64 KiB, has no limits to be raised."""

_log = Logger()


class StartUpError(SystemExit, Exception):
    """Start-up has failed, and the sentence that says why has been written.

    Being an Exception, it makes twistd remove its pidfile and tell the process that waits for a daemon; being a
    SystemExit, it ends the process with status 1 and without a traceback.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.code = 1


class SwitchService(Service):
    """Listens while it runs; at the end lets every connection finish, within `shutdown_seconds`.

    Args:
        assembly: What is served, and where.
        reactor: The reactor.
        load: Reads the configuration again, as `config.load`. None: it cannot be.
    """

    def __init__(self, assembly: Assembly, reactor: Any, load: Callable[[], config.Outcome] | None = None) -> None:
        self.factory = SwitchFactory(assembly, reactor)
        self._assembly = assembly
        self._reactor = reactor
        self._load = load
        self._public = Ports(reactor)
        overview = Overview(self.factory, reactor, self._places, self._why_not_ready)
        self._private = Private(overview, lambda: self._assembly.config.admin.hosts, self.reload, reactor)
        self._one_at_a_time = DeferredLock()
        self._has_opened = False
        self._failed: StartUpError | None = None
        self._upkeep = Upkeep(self.factory, reactor)
        self._given_back: list[Callable[[], None]] = []  # what gives signals back
        self._hurried: Deferred[None] = Deferred()

    @property
    def ports(self) -> tuple[IListeningPort, ...]:
        """What is listened on for clients, in the order of the configuration."""
        return tuple(one.port for one in self._public.open)

    @property
    def private_ports(self) -> tuple[IListeningPort, ...]:
        """What is listened on for those who run the server: one port at most."""
        return tuple(one.port for one in self._private.ports.open)

    def _places(self) -> Iterable[tuple[str, str]]:
        """Where we listen: the endpoint as configured, and the address."""
        return ((one.name, described(one.port)) for one in self._public.open)

    def _why_not_ready(self) -> str:
        if not self.running:
            return "draining"
        return "" if self._has_opened else "starting"

    # The start

    def privilegedStartService(self) -> None:
        """Listen, before twistd gives up the right to low ports.

        Raises:
            StartUpError: An endpoint cannot be listened on. A server without one of its listeners is not started at
            all.
        """
        super().privilegedStartService()
        self.factory.opens_log = False  # else it is root's, and nobody could open it at a reload
        self.factory.admission.raise_descriptors(_descriptors(self._reactor))
        for file in self._assembly.broken:
            events.log(events.BrokenPlugin(file.path, file.error))
        for key in self._assembly.config.left_out:
            events.log(events.LeftOut(key))
        opening = self._one_at_a_time.run(Deferred.fromCoroutine, self._open(self._assembly))
        opening.addCallback(self._opened).addErrback(self._cannot_open)
        if self._failed is not None:
            raise self._failed
        self._given_back.append(signals.on_hangup(self._reactor, self._hang_up))

    def _opened(self, changes: _Changes) -> None:
        self._use(changes)
        self._has_opened = True
        if self.running:
            self._tell_if_ready()  # an endpoint that took its time

    def _cannot_open(self, failure: Failure) -> None:
        sentence = f"switchd: {failure.getErrorMessage()}"
        _log.critical("{sentence}", sentence=sentence)
        if sys.__stderr__ is not None:
            print(sentence, file=sys.__stderr__)
        self._failed = StartUpError(sentence)
        if self.running:
            # An endpoint that takes its time (none of Twisted's own does): too late to raise.
            self._reactor.stop()

    def startService(self) -> None:
        """From here on we are who we shall be: the access log and the control socket are theirs. What is served is
        looked after.

        The service manager is told once the reactor runs, as only then a signal finds its handler.

        Raises:
            StartUpError: One of the two cannot be opened.
        """
        try:
            self._open_log()
            self._private.use_control(self._private.control_of(self._assembly))
        except (CannotListen, _Cannot):
            self._cannot_open(Failure())
        if self._failed is not None:
            raise self._failed
        super().startService()
        self._upkeep.start()
        notify.watchdog(self._reactor)
        self._reactor.callLater(0, self._runs)

    def _open_log(self) -> None:
        try:
            self.factory.open_log()
        except OSError as error:
            raise _Cannot(f"the access log cannot be opened: {error.strerror}") from error

    def _runs(self) -> None:
        if self.running:
            self._given_back.append(signals.on_another(self._reactor, lambda: not self.running, self._hurry))
        self._tell_if_ready()

    def _tell_if_ready(self) -> None:
        if not self._why_not_ready():
            notify.ready(f"listening on {', '.join(map(described, self.ports))}")

    # Listeners

    async def _open(self, assembly: Assembly) -> _Changes:
        """Open what is new in a configuration.

        Raises:
            CannotListen: Something cannot be opened. Nothing has been changed.
        """
        public = await self._public.change(assembly.listeners, partial(self._way_in, assembly))
        try:
            private = await self._private.change(assembly)
        except BaseException as error:
            is_new = assembly.config.admin.endpoint != self._assembly.config.admin.endpoint
            if is_new or not isinstance(error, CannotListen):
                public.undo()
                raise
            # At the start, and from then on: clients are served also by a server that those who run it cannot ask.
            events.log(events.NoAdmin(str(error)))
            private = await self._private.change(evolve(assembly, admin=None))
        return public, private

    def _way_in(self, assembly: Assembly, prepared: Prepared) -> Any:
        """What a listener leads to."""
        limits = assembly.config.limits_of(prepared.table)
        through = Through(self.factory, Listener(prepared.name, limits, prepared.table.drain_seconds))
        return secured(through, prepared.certificates, self._reactor) if prepared.certificates else through

    def _use(self, changes: _Changes) -> list[Deferred[None]]:
        """Do what is left of them. Returns what fires when what has no place any more is closed."""
        public, private = changes
        closing = self._public.use(public)
        for port in public.opened:
            events.log(events.Listening(described(port)))
        if public.ended:
            # In this turn what the system has received of them is read, as at the end.
            self._reactor.callLater(0, self._dismiss, [one.port for one in public.ended])
        for one in public.ended:
            if IInherited.providedBy(one.port):
                events.log(events.Unserved(one.name))
        return [*map(_seen_to, closing), *map(_seen_to, self._private.use(private, self._assembly))]

    def _dismiss(self, closed: list[IListeningPort]) -> None:
        dismiss(one for one in self.factory.connections if one.port in closed)

    # Reload

    def _hang_up(self) -> None:
        if not self._one_at_a_time.waiting:  # else the next one reads what this one would
            self.reload()

    def reload(self) -> Deferred[events.Reloaded | events.NotReloaded]:
        """Read the configuration again, and use it, or else change nothing. The log is told how it went."""
        reloading = self._one_at_a_time.run(Deferred.fromCoroutine, self._reload())
        return reloading.addErrback(self._not_reloaded).addCallback(self._tell)

    def _not_reloaded(self, failure: Failure) -> events.NotReloaded:
        why = failure.getErrorMessage()
        if not failure.check(ConfigurationError, CannotListen, _Cannot):
            _log.failure("reading the configuration again has failed", failure=failure)
            why = f"{in_words(cast(BaseException, failure.value))}; the traceback is in the log"
        return events.NotReloaded(self._assembly.config.file, why)

    def _tell(self, outcome: events.Reloaded | events.NotReloaded) -> events.Reloaded | events.NotReloaded:
        self.factory.tell(outcome)
        self._tell_if_ready()
        return outcome

    async def _reload(self) -> events.Reloaded:
        """Raises whatever is the reason not to. Nothing has been changed then."""
        if self._load is None:
            raise _Cannot("it is not read from a file")
        if not self.running:
            raise _Cannot("the server stops")
        notify.reloading()
        before = self._assembly.config
        assembly = assemble(*self._load(), self._reactor, self._assembly)
        changes = await self._open(assembly)
        try:
            self._adopt(assembly)
        except BaseException:
            for change in changes:
                change.undo()
            raise
        await DeferredList(self._use(changes))
        return _compared(before, assembly.config)

    def _adopt(self, assembly: Assembly) -> None:
        """Serve by another configuration."""
        if not self.running:
            raise _Cannot("the server stops")
        control = self._private.control_of(assembly)
        try:
            self.factory.use(assembly)
        except BaseException as error:
            self._private.forget(control)
            if not isinstance(error, OSError):
                raise
            raise _Cannot(f"the access log cannot be opened: {error.strerror}") from error
        self._private.use_control(control)
        self.factory.admission.raise_descriptors(_descriptors(self._reactor))
        self._assembly = assembly

    # The end

    def stopService(self) -> Deferred[None]:
        """Stop listening, then drain. A further signal cuts that short; at SIGHUP nothing is read any more.

        The listener of `[admin]` tells about it, and is closed last.
        """
        super().stopService()
        self._upkeep.stop()
        notify.stopping(self._assembly.config.limits.shutdown_seconds)
        self.factory.draining = True
        stopped = self._public.close()
        # Whoever has come before us is served: in this one turn what the system has received of them is read.
        drained = deferLater(self._reactor, 0).addCallback(lambda _: self._drain())
        everything = DeferredList([*stopped, drained], consumeErrors=True)
        everything.addCallback(lambda results: self._private.stop())
        return everything.addCallback(lambda _: self._give_back())

    def _drain(self) -> Deferred[None]:
        drained = drain(self.factory, self._assembly.config.limits.shutdown_seconds, self._reactor)
        self._hurried.addCallback(lambda _: cut(self.factory.connections))
        return drained

    def _hurry(self) -> None:
        if not self._hurried.called:
            _log.warn("stopped once more: what is left of the connections is cut")
            self._hurried.callback(None)

    def _give_back(self) -> None:
        for give_back in self._given_back:
            give_back()


class _Cannot(SwitchdError):
    """Why something cannot be done: a sentence."""


_Changes = tuple[Change, Change]
"""Of the listeners for clients, and of the private one."""


def _descriptors(reactor: Any) -> int | None:
    """How many file descriptors a reactor can have. None: as many as there are."""
    return FD_SETSIZE if isinstance(reactor, SelectReactor) else None


def _compared(before: config.Config, now: config.Config) -> events.Reloaded:
    """What a reload has changed."""
    switches = match(before.switch, now.switch, say_the_same)
    listen = match(before.listen, now.listen, lambda one, other: one.endpoint == other.endpoint)
    http = match(before.http, now.http, say_the_same)
    sections = ("server", "limits", "peers", "admin")
    others = [name for name in sections if getattr(before, name) != getattr(now, name)]
    if any(one.tls != other.tls for one, other in listen.kept):
        others.append("listen.tls")
    if any(one.limits != other.limits for one, other in listen.kept):
        others.append("listen.limits")
    if any(one.drain_seconds != other.drain_seconds for one, other in listen.kept):
        others.append("listen.drain_seconds")
    if http.added or http.ended:
        others.append("http")
    return events.Reloaded(
        file=now.file,
        listeners=len(listen.kept),
        opened=tuple(table.endpoint for table in listen.added),
        closed=tuple(table.endpoint for table in listen.ended),
        switches=len(switches.kept),
        added=tuple(f"{table.path} {table.protocol}" for table in switches.added),
        ended=tuple(f"{table.path} {table.protocol}" for table in switches.ended),
        others=tuple(others),
    )


def _seen_to(closing: Deferred[Any]) -> Deferred[Any]:
    """A port that is being closed: whatever goes wrong is logged."""
    return closing.addErrback(lambda failure: _log.failure("a listener could not be closed", failure=failure))
