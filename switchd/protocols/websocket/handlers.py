"""Whom a configuration may name as `handler`, and the autobahn factory that comes of it.

Whatever is named, it ends as a `WebSocketServerFactory`: that of the user, one for the user's class, or one whose
protocol carries an ordinary Twisted protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory

from switchd.protocols.websocket.carrier import Carrier
from switchd.protocols.websocket.many import broadcast
from switchd.protocols.websocket.terms import channel

KINDS = (
    "an autobahn WebSocketServerProtocol class, a WebSocketServerFactory, a Twisted Protocol class, a Twisted factory,"
    " or a callable that returns a factory"
)


def load(name: str) -> Any:
    """What "package.module:name" names.

    Raises:
        ValueError: It cannot be imported, or can be no handler.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f'expected "package.module:name", got "{name}"')
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise ValueError(f"{name} cannot be imported: {error} ({type(error).__name__})") from error
    if not (callable(found) or IProtocolFactory.providedBy(found)):
        raise ValueError(f"{name} is no handler: expected {KINDS}")
    return found


class HandlerFactory(WebSocketServerFactory):
    """For handlers that are a class.

    Args:
        make: Makes a protocol.
        reactor: The reactor.
    """

    noisy = False

    def __init__(self, make: Callable[[Any], WebSocketServerProtocol | None], reactor: Any) -> None:
        super().__init__(server="", reactor=reactor)
        self._make = make
        # By id: handlers need not be hashable, and two that are equal are two.
        self._open: dict[int, WebSocketServerProtocol] = {}

    @property
    def connections(self) -> tuple[WebSocketServerProtocol, ...]:
        """The handlers of this `[[switch]]` whose WebSocket is open now, in the order in which they were opened."""
        return tuple(self._open.values())

    def broadcast(self, payload: bytes, isBinary: bool = False) -> None:
        """Send a message to all of them, see `broadcast`."""
        broadcast(self._open.values(), payload, isBinary)

    def opened(self, protocol: WebSocketServerProtocol) -> None:
        """It may be sent to."""
        self._open[id(protocol)] = protocol

    def left(self, protocol: WebSocketServerProtocol) -> None:
        """It may not, any more."""
        self._open.pop(id(protocol), None)

    def buildProtocol(self, addr: IAddress | None) -> WebSocketServerProtocol | None:
        """See `IProtocolFactory`."""
        protocol = self._make(addr)
        if protocol is not None:
            protocol.factory = self
        return protocol


def factory(found: Any, reactor: Any, binary: bool) -> WebSocketServerFactory:
    """The factory of a handler.

    Args:
        found: What `load` returned.
        reactor: For factories that are made here.
        binary: Whether what an ordinary Twisted protocol writes goes into binary messages, or into text.

    Raises:
        ValueError: It is none of `KINDS`.
    """
    made = _factory(found, reactor, binary)
    if made is None and callable(found):
        made = _factory(found(), reactor, binary)
    if made is None:
        raise ValueError(f"{found!r} is no handler: expected {KINDS}")
    return made


def _factory(found: Any, reactor: Any, binary: bool) -> WebSocketServerFactory | None:
    is_class = isinstance(found, type)
    if isinstance(found, WebSocketServerFactory):
        return found
    if is_class and issubclass(found, WebSocketServerProtocol):
        made = channel(found)
        return HandlerFactory(lambda addr: made(), reactor)
    if is_class and IProtocol.implementedBy(found):
        # As SwitchPlugin has it: a class with Options is called with an instance of them.
        arguments = (found.Options(),) if hasattr(found, "Options") else ()
        carrier = channel(Carrier)
        return HandlerFactory(lambda addr: carrier(found(*arguments), binary), reactor)
    if not is_class and IProtocolFactory.providedBy(found):
        carrier = channel(Carrier)

        def make(addr: Any) -> Any:
            carried = found.buildProtocol(addr)
            return None if carried is None else carrier(carried, binary)

        return HandlerFactory(make, reactor)
    return None
