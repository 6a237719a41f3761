"""Endpoints, start and drain, as a Twisted service."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import deferLater
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd import events, signals
from switchd.draining import cut, drain
from switchd.factory import Assembly, SwitchFactory
from switchd.transports.connections import prepare
from switchd.upkeep import Upkeep

FD_SETSIZE = 1024
"""File descriptors that `select` takes; Windows, where it is 64 KiB, has no limits to be raised."""

ADMIN_SECONDS = 1.0
"""How long the last answers of the private listener may take to be sent, at the end: they are short."""

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
    """

    def __init__(self, assembly: Assembly, reactor: Any) -> None:
        self.factory = SwitchFactory(assembly, reactor)
        self.ports: list[IListeningPort] = []
        self._assembly = assembly
        self._reactor = reactor
        self._failed: StartUpError | None = None
        self._upkeep = Upkeep(self.factory, reactor)
        self._admin: Any = None
        self._private: IListeningPort | None = None
        if assembly.admin is not None:
            from switchd.admin import Admin  # with prometheus_client, which nobody else needs

            self._admin = Admin(assembly, self.factory, reactor, self._why_not_ready)

    def privilegedStartService(self) -> None:
        """Listen, before twistd gives up the right to low ports.

        Raises:
            StartUpError: An endpoint cannot be listened on. A server without one of its listeners is not started at
            all.
        """
        super().privilegedStartService()
        self.factory.admission.raise_descriptors(_descriptors(self._reactor))
        for file in self._assembly.broken:
            events.log(events.BrokenPlugin(file.path, file.error))
        for key in self._assembly.config.left_out:
            events.log(events.LeftOut(key))
        for table, endpoint in zip(self._assembly.config.listen, self._assembly.endpoints, strict=True):
            self._listen(endpoint, self.factory, table.endpoint, self._listening)
        if self._assembly.admin is not None:
            text = self._assembly.config.admin.endpoint
            self._listen(self._assembly.admin, self._admin.factory, text, self._listening_privately)

    def startService(self) -> None:
        """Look after what is served, from now on."""
        super().startService()
        self._upkeep.start()

    def _listen(
        self, endpoint: IStreamServerEndpoint, factory: SwitchFactory, text: str, opened: Callable[[Any], object]
    ) -> None:
        listening = maybeDeferred(endpoint.listen, factory)
        listening.addCallbacks(opened, self._cannot_listen, errbackArgs=(text,))
        if self._failed is not None:
            raise self._failed

    def _listening_privately(self, port: IListeningPort) -> None:
        self._private = port
        self._admin.start()
        events.log(events.AdminListening(_described(port)))

    def _why_not_ready(self) -> str:
        if not self.running:
            return "draining"
        return "" if len(self.ports) == len(self._assembly.endpoints) else "starting"

    def _listening(self, port: IListeningPort) -> None:
        prepare(port)
        self.ports.append(port)
        events.log(events.Listening(_described(port)))

    def _cannot_listen(self, failure: Failure, endpoint: str) -> None:
        sentence = f"switchd: cannot listen on {endpoint}: {_plainly(failure)}"
        _log.critical("{sentence}", sentence=sentence)
        if sys.__stderr__ is not None:
            print(sentence, file=sys.__stderr__)
        self._failed = StartUpError(sentence)
        if self.running:
            # An endpoint that takes its time (none of Twisted's own does): too late to raise.
            self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Stop listening, then drain. A further signal cuts that short.

        The listener of `[admin]` tells about it, and is closed last.
        """
        super().stopService()
        self._upkeep.stop()
        self.factory.draining = True
        stopped = [maybeDeferred(_stop_listening, port) for port in self.ports]
        self.ports = []
        give_back = signals.on_another(self._reactor, self._hurry)
        # Whoever has come before us is served: in this one turn what the system has received of them is read.
        drained = deferLater(self._reactor, 0).addCallback(lambda _: self._drain())
        everything = DeferredList([*stopped, drained], consumeErrors=True)
        everything.addCallback(lambda results: give_back())
        return everything.addCallback(lambda _: self._stop_admin())

    def _drain(self) -> Deferred[None]:
        return drain(self.factory, self._assembly.config.limits.shutdown_seconds, self._reactor)

    def _hurry(self) -> None:
        _log.warn("stopped once more: what is left of the connections is cut")
        cut(self.factory.connections)

    def _stop_admin(self) -> Deferred[None]:
        port, self._private = self._private, None
        if port is None:
            return succeed(None)
        self._admin.stop()
        stopped: list[Deferred[Any]] = [
            maybeDeferred(port.stopListening),
            drain(self._admin.factory, ADMIN_SECONDS, self._reactor),
        ]
        return DeferredList(stopped, consumeErrors=True).addCallback(lambda results: None)


def _descriptors(reactor: Any) -> int | None:
    """How many file descriptors a reactor can have. None: as many as there are."""
    return FD_SETSIZE if isinstance(reactor, SelectReactor) else None


def _stop_listening(port: Any) -> Any:
    """Accept those who are waiting for it, whom the system would turn away, and nobody else."""
    if isinstance(port, Port):
        port.numberAccepts = port.backlog + 1
        port.doRead()
    return port.stopListening()


def _described(port: IListeningPort) -> str:
    host = port.getHost()
    return f"{getattr(host, 'type', 'unix').lower()} {events.address(host)}"


def _plainly(failure: Failure) -> str:
    """What the operating system said, without the class names around it."""
    cause = getattr(failure.value, "socketError", failure.value)
    return getattr(cause, "strerror", None) or failure.getErrorMessage()
