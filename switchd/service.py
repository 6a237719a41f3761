"""Endpoints, start and drain, as a Twisted service."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd import config, events, signals
from switchd.draining import cut, drain
from switchd.errors import SwitchdError
from switchd.factory import Assembly, SwitchFactory
from switchd.transports.connections import prepare

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
        self._admin: Any = None
        self._private: IListeningPort | None = None
        self._control: Any = None
        settings = assembly.config.admin
        if settings.endpoint or settings.control:
            self._watched(settings)

    def _watched(self, settings: config.Admin) -> None:
        """What `[admin]` asks for: imported only then."""
        from switchd.console.keys import Keys
        from switchd.overview import Overview

        overview = Overview(self.factory, self._reactor, self._places, self._why_not_ready)
        keys = Keys(self._reactor)
        if settings.endpoint:
            from switchd.admin import Admin  # with prometheus_client, which nobody else needs

            self._admin = Admin(self._assembly, overview, keys, self._reactor)
        if settings.control:
            from switchd.control import Control

            self._control = Control(self._assembly, overview, keys, self._console, self._reload, self._reactor)

    def privilegedStartService(self) -> None:
        """Listen, before twistd gives up the right to low ports.

        Raises:
            StartUpError: An endpoint cannot be listened on. A server without one of its listeners is not started at
            all.
        """
        super().privilegedStartService()
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
        """Listen on the control socket, as whoever we are from now on.

        Raises:
            StartUpError: It cannot be opened.
        """
        if self._control is not None:
            file = str(self._control.file)
            listening = maybeDeferred(self._control.listen)
            listening.addCallbacks(
                lambda _: events.log(events.ControlListening(file)), self._cannot_listen, errbackArgs=(file,)
            )
            if self._failed is not None:
                raise self._failed
        super().startService()

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

    def _places(self) -> Iterable[tuple[str, str]]:
        """Where we listen: the endpoint as configured, and the address."""
        endpoints = (table.endpoint for table in self._assembly.config.listen)
        return zip(endpoints, map(_described, self.ports), strict=False)

    def _console(self) -> str:
        """The address of the console for a browser on this machine; "" if there is none."""
        host = None if self._private is None else self._private.getHost()
        if not isinstance(host, IPv4Address | IPv6Address):
            return ""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.host, host.host)
        return f"http://[{here}]:{host.port}/" if ":" in here else f"http://{here}:{host.port}/"

    def _reload(self) -> str:
        raise SwitchdError("it cannot reload")

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
        stopped: list[Deferred[Any]] = []
        if port is not None:
            self._admin.stop()
            stopped += maybeDeferred(port.stopListening), drain(self._admin.factory, ADMIN_SECONDS, self._reactor)
        if self._control is not None:
            stopped.append(self._control.stop(ADMIN_SECONDS))
        return DeferredList(stopped, consumeErrors=True).addCallback(lambda results: None)


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
