"""Endpoints, start and drain, as a Twisted service."""

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from switchd import events
from switchd.factory import Assembly, Connection, SwitchFactory
from switchd.first import First
from switchd.handover import close_when_sent
from switchd.http1 import Channel
from switchd.interfaces import IDrain
from switchd.transports.connections import prepare

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
            listening = maybeDeferred(endpoint.listen, self.factory)
            listening.addCallbacks(self._listening, self._cannot_listen, errbackArgs=(table.endpoint,))
            if self._failed is not None:
                raise self._failed

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
        """Stop listening, then drain."""
        super().stopService()
        stopped: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in self.ports]
        self.ports = []
        seconds = self._assembly.config.limits.shutdown_seconds
        drained = drain(self.factory, seconds, self._reactor)
        return DeferredList([*stopped, drained], consumeErrors=True).addCallback(lambda results: None)


def _described(port: IListeningPort) -> str:
    host = port.getHost()
    return f"{getattr(host, 'type', 'unix').lower()} {events.address(host)}"


def _plainly(failure: Failure) -> str:
    """What the operating system said, without the class names around it."""
    cause = getattr(failure.value, "socketError", failure.value)
    return getattr(cause, "strerror", None) or failure.getErrorMessage()


def drain(factory: SwitchFactory, seconds: float, reactor: Any) -> Deferred[None]:
    """End every connection: HTTP after the answer that is being made, a switched protocol after its farewell.

    Args:
        factory: Whose connections.
        seconds: What is left then is aborted.
        reactor: The clock.

    Returns:
        Fires when the last one is gone.
    """
    empty = factory.when_empty()
    for connection in tuple(factory.connections):
        connection.draining = True
        _say_goodbye(connection, seconds)
    deadline = reactor.callLater(seconds, _abort_all, factory)
    return empty.addCallback(lambda _: deadline.cancel() if deadline.active() else None)


def _say_goodbye(connection: Connection, seconds: float) -> None:
    protocol = connection.protocol
    if isinstance(protocol, First | Channel):
        protocol.finish()
        return
    said = Deferred.fromCoroutine(_farewell(protocol, seconds))
    said.addErrback(lambda failure: _log.failure("{protocol!r} failed to drain", failure=failure, protocol=protocol))
    # The protocol's own transport may be a TLS session upon the connection's.
    transport = getattr(protocol, "transport", None) or connection.transport
    said.addCallback(lambda _: close_when_sent(transport))


async def _farewell(protocol: Any, seconds: float) -> None:
    drains = IDrain(protocol, None)
    said = None if drains is None else drains.drain(seconds)
    if said is not None:
        await said


def _abort_all(factory: SwitchFactory) -> None:
    for connection in tuple(factory.connections):
        connection.transport.abortConnection()
