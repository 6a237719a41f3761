"""Listening sockets that are somebody else's, and outlive this process: those of `systemd:` endpoints.

Twisted finds them; how they are listened on is said here. They are left as they were passed, for whoever serves them
next: of a UNIX socket, Twisted gives the file mode 666 as it begins, and at its end removes it and shuts the socket
down for all who have it. And they stay open until the process ends: Twisted closes the descriptor, whose number is then
another's when a listener comes back by a reload.

This module knows the inside of Twisted's UNIX port. tests/test_inherited.py notices when that changes.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from attrs import frozen
from twisted.internet import unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import Interface, alsoProvides, implementer


class IInherited(Interface):
    """Provided by a listening port whose socket is somebody else's: who waits in it is served by who comes next."""


@implementer(IStreamServerEndpoint)
@frozen
class Inherited:
    """Listens on a socket that is open already.

    Attributes:
        reactor: Where to listen.
        descriptor: The socket's.
        family: What it was said to be, such as `socket.AF_INET`.
    """

    reactor: Any
    descriptor: int
    family: socket.AddressFamily

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint`. Fails with a ValueError if the socket is not what it was said to be."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: Any) -> Any:
        with socket.socket(fileno=os.dup(self.descriptor)) as passed:
            _check(passed, self.family)
            passed.setblocking(False)
        os.set_inheritable(self.descriptor, False)
        if self.family == socket.AF_UNIX:
            port = _unix_port(self.reactor, self.descriptor, factory)
        else:
            port = self.reactor.adoptStreamPort(self.descriptor, self.family, factory)
        alsoProvides(port, IInherited)
        return port


def _check(passed: socket.socket, family: socket.AddressFamily) -> None:
    if passed.family != family:
        raise ValueError(f"the socket that was passed is of domain {_domain(passed.family)}, not {_domain(family)}")
    if not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ValueError("the socket that was passed does not listen; expected one with Accept=no")


def _domain(family: int) -> str:
    return socket.AddressFamily(family).name.removeprefix("AF_")


def _unix_port(reactor: Any, descriptor: int, factory: Any) -> Any:
    port: Any = unix.Port._fromListeningDescriptor(reactor, descriptor, factory)
    # What has no file has none that is changed or removed: names in Linux' abstract namespace begin so.
    name = path_of(port)
    setattr(port, name, b"\0" + getattr(port, name))
    port._shouldShutdown = False  # at its end: the socket, for all who have it
    # It calls listen(2) again, which says anew how many may wait. The system has a bound of its own.
    port.backlog = socket.SOMAXCONN
    port.startListening()
    return port


def path_of(port: Any) -> str:
    """The attribute of Twisted's UNIX port that has its file's name. Twisted 26.4 has another than later ones."""
    return "_bindPath" if hasattr(port, "_bindPath") else "port"
