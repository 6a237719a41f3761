"""The switch: who asks is read, judged and shown to the handler, and what the handler says becomes the answer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import attrs
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.interfaces import IReactorCore
from zope.interface import implementer

from switchd.interfaces import Accept, Answer, Context, Header, ISwitch, Offer, Refuse, Request
from switchd.protocols.websocket import deflate, handlers, handshake, head, options, origins
from switchd.protocols.websocket.opening import Opening, Welcome, fields
from switchd.protocols.websocket.terms import Terms, Timer, adopt, set_timer, terms_for

_AT_ONCE = (Welcome, Refuse)

# What autobahn's factories and classes can set themselves: our option, and its name there.
_SAME = {
    "max_connections": "maxConnections",
    "max_message_bytes": "maxMessagePayloadSize",
    "max_frame_bytes": "maxFramePayloadSize",
    "ping_seconds": "autoPingInterval",
    "ping_timeout_seconds": "autoPingTimeout",
    "close_seconds": "closeHandshakeTimeout",
}


@implementer(ISwitch)
class WebSocket:
    """One `[[switch]]` with `protocol = "websocket"`.

    Raises:
        ValueError: The handler is none, or has set what only the configuration can.
    """

    Options = options.Options

    def __init__(self, settings: options.Options, context: Context) -> None:
        self._reactor = context.reactor
        self._memory_is_short = context.memory_is_short
        found = handlers.load(settings.handler)
        self._factory: Any = handlers.factory(found, context.reactor, settings.messages == "binary")
        self._stock = WebSocketServerFactory(reactor=context.reactor)
        self._options = settings
        self._terms: dict[type, Terms] = {}
        self._most: int | None = None
        self._headers = (*fields(self._factory.headers), *map(_field, settings.headers))
        self._count = 0
        if self._factory.allowedOrigins != ["*"]:
            raise ValueError("its factory has allowedOrigins, which are not used here: set origins instead")
        self._timer = Timer(context.reactor)
        set_timer(self._factory, self._timer)

    def offer(self, request: Request, offer: Offer) -> Any:
        """See `ISwitch`."""
        if offer.version is not None:
            return None  # RFC 6455 has its version in a field of its own
        try:
            asked = handshake.read(request)
        except handshake.BadHandshake as bad:
            return bad.refusal
        if not origins.welcome(asked.origin, request, self._options.origins):
            return handshake.refusal(403, "pages of this origin may not open a WebSocket here")
        if self._most is None:
            self._most = self._options_for(WebSocketServerProtocol).max_connections
        if self._count >= self._most:
            return handshake.refusal(503, "there are as many WebSockets as there may be")
        return self._ask(request, asked)

    def _ask(self, request: Request, asked: handshake.Handshake) -> Any:
        self._start()
        protocol = self._factory.buildProtocol(request.peer)
        if protocol is None:
            return handshake.refusal(503, "the handler takes no connection")
        self._count += 1
        link = adopt(protocol, self._terms_for(type(protocol)), head.written(request), request.secure)
        opening = Opening(protocol, link, request, asked, self._factory.trustXForwardedFor)
        said = opening.ask()
        if isinstance(said, _AT_ONCE):
            return self._answer(said, opening, asked)
        return self._later(said, opening, asked)

    async def _later(self, said: Awaitable[Welcome | Refuse], opening: Opening, asked: handshake.Handshake) -> Answer:
        return self._answer(await said, opening, asked)

    def _answer(self, said: Welcome | Refuse, opening: Opening, asked: handshake.Handshake) -> Answer:
        if isinstance(said, Refuse):
            return said
        link = opening.link
        terms = link.terms
        try:
            # Compression is what takes most of a connection's memory, and what a client can best do without.
            if asked.extensions and terms.deflate is not None and not self._memory_is_short():
                preferred = self._factory.perMessageCompressionAccept
                link.accepted = deflate.negotiate(asked.extensions, terms.deflate, preferred)
        except Exception:  # the factory's own perMessageCompressionAccept
            opening.abandon()
            raise
        subprotocol = said.subprotocol or handshake.chosen(asked.subprotocols, terms.options.subprotocols)
        extension = None if link.accepted is None else link.accepted.get_extension_string()
        if subprotocol is not None:
            opening.protocol.websocket_protocol_in_use = subprotocol
        headers = (*handshake.headers(asked, subprotocol, extension), *self._headers, *said.headers)
        return Accept(lambda session: opening.protocol, headers, abandon=opening.abandon)

    def _terms_for(self, cls: type) -> Terms:
        found = self._terms.get(cls)
        if found is None:
            factory, settings = self._factory, self._options_for(cls)
            opened, left = _nothing, _nothing
            if isinstance(factory, handlers.HandlerFactory):
                opened, left = factory.opened, factory.left
            found = self._terms[cls] = terms_for(
                cls, factory, settings, self._reactor, self._timer, opened, left, self._lost
            )
        return found

    def _options_for(self, cls: type) -> options.Options:
        return _merged(self._options, (cls, self._factory), self._stock)

    def _start(self) -> None:
        if not self._factory.numPorts:
            self._factory.doStart()
            if IReactorCore.providedBy(self._reactor):
                self._reactor.addSystemEventTrigger("after", "shutdown", self._factory.doStop)

    def _lost(self, protocol: Any) -> None:
        self._count -= 1


def _nothing(protocol: Any) -> None:
    """For factories of a user's, which see to it themselves."""


def _merged(settings: options.Options, owners: tuple[Any, ...], stock: Any) -> options.Options:
    """Options, with what a handler has set itself wherever the configuration says nothing.

    Args:
        settings: From the configuration.
        owners: The handler's class and its factory: the class comes first, as in autobahn.
        stock: A factory on which nobody has set anything.
    """
    changed = {}
    for key, name in _SAME.items():
        values = (getattr(owner, name, None) for owner in owners)
        own = [value for value in values if value and value != getattr(stock, name)]
        if own and getattr(settings, key) == getattr(attrs.fields(options.Options), key).default:
            changed[key] = own[0]
    return attrs.evolve(settings, **changed)


def _field(line: str) -> Header:
    name, _, value = line.partition(":")
    return name.encode(), value.strip().encode()
