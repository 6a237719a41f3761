"""The contract between switchd and a plugin: all that a plugin author needs to read.

The life of a switch, in order:

1. A request arrives that offers another protocol, by `Upgrade` in HTTP/1.1 or by extended CONNECT in
   HTTP/2. Its body has been read, its path has one or more `[[switch]]` entries.
2. Each entry whose plugin knows an offered token is asked: `ISwitch.offer`. It accepts, refuses, or says
   None (not mine), at once or later.
3. On `Accept`, exactly one of `build` and `abandon` is called. After `build` the answer is written (101,
   or 200 on a stream), the protocol gets the transport by `makeConnection`, then the early bytes.
4. From here on switchd is not in the way: the protocol talks to the transport like any Twisted protocol.
5. At shutdown a protocol that provides `IDrain` may say goodbye.

`SwitchPlugin` at the end of this file declares a `Protocol` class, or an `ISwitch` class, in one line.

This module imports nothing of switchd and nothing of Twisted, so that what decides (`negotiation`) can be
read and tested without either. The types of Twisted that appear in it are only named.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from zope.interface import Attribute, Interface, implementer

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.interfaces import IAddress, IProtocol

Header = tuple[bytes, bytes]
"""A header field: its name and its value, as they go on the wire."""


class Early(enum.Enum):
    """What becomes of early bytes: those that arrive behind the request, before the 101 is written."""

    DELIVER = "deliver"
    """They belong to the new protocol and are its first input."""

    REFUSE = "refuse"
    """There must be none: a request that has some is answered 400, and the connection is closed. For
    protocols into which no cleartext may be carried over, such as TLS."""


@frozen
class Offer:
    """One element of an `Upgrade` field, or the value of `:protocol` (RFC 9110 section 7.8).

    Attributes:
        name: The protocol's name, as the client spelt it. Compare it without regard to case.
        version: What follows the slash, or None where there is none.
    """

    name: bytes
    version: bytes | None = None

    def __bytes__(self) -> bytes:
        return self.name if self.version is None else self.name + b"/" + self.version


@frozen
class Request:
    """The request that asks for a switch. A value: it stays true after the connection has moved on.

    Attributes:
        method: As sent, for example `b"GET"`.
        target: The request target as sent: origin form, absolute form or `*`.
        path: The target's path, percent-decoded once, without the query; `b"*"` for `*`.
        headers: In the order sent, with names in lower case.
        body: Complete, and no longer than the limit `body_bytes`. Empty in extended CONNECT.
        how: What the answer will be: "upgrade", a 101 on this connection, or "connect", a 200 on a stream.
        peer: The client's address. Behind proxies that are trusted it is what they say (`server.trusted_proxies`), and
            the transport's is that of the nearest proxy.
        host: The address that it reached.
        secure: Whether the connection is encrypted.
        id: Names this request in events and logs.
        proxies: The trusted proxies that it has come through, the nearest first; empty if the client, or somebody who
            is not trusted, is connected to us.
    """

    method: bytes
    target: bytes
    path: bytes
    headers: tuple[Header, ...]
    body: bytes
    how: Literal["upgrade", "connect"]
    peer: IAddress
    host: IAddress
    secure: bool
    id: str
    proxies: tuple[IAddress, ...] = ()

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """The values of every field line called `name` (in lower case), in order; empty if there is none."""
        return tuple([value for key, value in self.headers if key == name])


@frozen
class Accept:
    """The offer is taken. Exactly one of `build` and `abandon` is called, once.

    Attributes:
        build: Makes the protocol, just before the 101 is written. Raising means 500, logged with its traceback.
        headers: Further header fields for the 101. `Upgrade`, `Connection` and those that frame a body are
            not a plugin's to set: they, and CR, LF or NUL in any value, make the answer a 500.
        upgrade: The 101's `Upgrade` field. None: the plugin's own spelling of the offer. Several layers
            are listed bottom-up (RFC 9110 section 7.8): `b"TLS/1.3, HTTP/1.1"`.
        early: What becomes of early bytes.
        abandon: Called instead of `build` when the peer has gone, the switch deadline has passed, early bytes are
            refused or a header is bad. Frees what `offer` took.
    """

    build: Callable[[ISession], IProtocol]
    headers: tuple[Header, ...] = ()
    upgrade: bytes | None = None
    early: Early = Early.DELIVER
    abandon: Callable[[], object] = lambda: None


@frozen
class Refuse:
    """The offer is turned down with an answer of the plugin's own, and no other switch is asked.

    Attributes:
        status: From 200 to 599. A 426 without an `Upgrade` field gets one (RFC 9110 section 15.5.22).
        headers: Header fields of the answer; those that frame the body are set by switchd.
        body: The answer's content.
        close: Whether the connection is closed afterwards.
    """

    status: int
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    close: bool = False


Answer = Accept | Refuse | None
"""None: not mine. The next candidate is asked; when none is left the request is ordinary HTTP."""


@frozen
class Range:
    """Bounds of an option, for `Annotated[int, Range(1, 100, "digits")]`; checked with the configuration.

    Attributes:
        least: The smallest value allowed.
        most: The greatest value allowed.
        unit: What is counted, in the plural: "bytes", "seconds".
    """

    least: float
    most: float
    unit: str


@frozen
class Context:
    """What surrounds a `[[switch]]` entry when its switch is made.

    Attributes:
        reactor: The reactor: clock, connections, threads. Use it instead of importing one.
        path: The entry's path.
        folder: Where relative file names in the configuration start.
        memory_is_short: Whether the server is about to run out of the memory that it may have
            (`limits.memory_bytes`). A protocol that can do with less per connection should, then; soon nobody new is
            let in. It costs nothing to ask.
    """

    reactor: Any
    path: str
    folder: Path
    memory_is_short: Callable[[], bool] = lambda: False


class ISession(Interface):
    """What a protocol may need of the switch that made it: the argument of `Accept.build`."""

    request: Request = Attribute("The request that asked for the switch.")

    def resume_http(alpn: bytes = b"http/1.1", h2_settings: bytes | None = None) -> IProtocol:
        """A protocol that speaks HTTP again, and answers `request` first: for `handover`.

        "The first action after changing protocol must be a response to the initial request" (RFC 9110
        section 7.8). Where its transport is a TLS session whose handshake is not over, it waits for that.
        The answer is ordinary HTTP; the offers that `request` made are not considered again. HTTP/2 by ALPN has no
        stream for the answer: there the client asks again.

        Args:
            alpn: The HTTP version to speak, by its ALPN name.
            h2_settings: For HTTP/2 by Upgrade, the decoded `HTTP2-Settings`. None for anything else.

        Raises:
            ValueError: `alpn` names nothing that this server speaks.
        """


class ISwitch(Interface):
    """One `[[switch]]` entry: a plugin with its options."""

    def offer(request: Request, offer: Offer) -> Answer | Awaitable[Answer]:
        """Take the offer, refuse it, or leave it.

        Args:
            request: The whole request.
            offer: One offer in it that names a token of this plugin.

        Returns:
            The answer, or an awaitable of it (a Deferred, a coroutine). A late answer is cancelled when the
            connection is lost or the limit `switch_seconds` passes (503); an `Accept` that comes in spite of
            that is abandoned. A Deferred must free what it holds in its canceller.
            Raising means 500, logged with its traceback.
        """


class IInClear(Interface):
    """Optional, of a switch, and without methods: it is for connections in clear. Where they are encrypted, it is in no
    `Upgrade` field of ours."""


class IEncrypts(IInClear):
    """Optional, of a switch, and without methods: what it switches to encrypts the connection.

    `require = true` of its entry then means that a request has to be encrypted, not that it has to switch: one that is
    encrypted already is served, and to one that is not, nothing else is offered.
    """


class IOptional(Interface):
    """Optional, of a switch, and without methods: clients that offer its protocol are as content with an ordinary
    answer, as they are with h2c. Over a budget they get that instead of 503 or 429 (RFC 9110 section 7.8: "A server MAY
    ignore a received Upgrade").

    It is not so where the entry says `require` or `close`.
    """


class ISwitchPlugin(Interface):
    """A kind of switch, as found in `twisted/plugins/`; it must provide `twisted.plugin.IPlugin` too.

    The module that declares it is imported by every `twistd`, so it should import nothing of the protocol:
    that is for `load`, which is called only when a configuration names the plugin.
    """

    name: str = Attribute('What the configuration calls it: protocol = "name".')

    tokens: tuple[bytes, ...] = Attribute(
        """What it answers to, spelt as the 101 shall spell it. `b"websocket"` stands for any version, which
        `ISwitch.offer` finds in `Offer.version`; `b"TLS/1.2"` for that one only."""
    )

    def load() -> tuple[type, Callable[[Any, Context], ISwitch]]:
        """Import the protocol.

        Returns:
            An attrs class of options, each field with a type and, unless it must be given, a default; and a
            callable that makes a switch from an instance of it and the entry's context. The keys `path`,
            `protocol`, `require`, `close`, `drain_seconds`, `connections`, `handshakes_per_second`,
            `switch_seconds`, `early_bytes`, `buffered_bytes` and `idle_seconds` belong to switchd.
        """


class IDrain(Interface):
    """Optional, for the built protocol: a farewell in its own language, at shutdown, or when its connection is idle or
    is closed by whoever runs the server; once."""

    def drain(seconds: float) -> Awaitable[None] | None:
        """Say goodbye.

        Args:
            seconds: How long there is. When the returned awaitable fires, at once if it is None, what was written
                is sent, and the transport is closed; what is left after `seconds` is aborted.
        """


@frozen
class NoOptions:
    """The options of a plugin that has none."""


@implementer(ISwitch)
@frozen
class _AlwaysAccept:
    """Takes every offer of its own tokens. The protocol knows no versions, so an offer of one is left."""

    accept: Accept
    tokens: tuple[bytes, ...]

    def offer(self, request: Request, offer: Offer) -> Answer:
        return self.accept if bytes(offer).lower() in self.tokens else None


def _one_or_more(tokens: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    return (tokens,) if isinstance(tokens, bytes) else tokens


@implementer(ISwitchPlugin)
@frozen
class SwitchPlugin:
    """A plugin in one line: a name, a token, and where its `Protocol` class is.

    In `twisted/plugins/any_name.py`:

        addone = SwitchPlugin("addone", b"addone", "switchd.protocols.addone:AddOne")

    Args:
        name: What the configuration calls it.
        tokens: The token, or a tuple of several.
        target: The `Protocol` class, as "package.module:Class". It is called without arguments or, if it has an attrs
            class `Options` inside, with an instance of that. An `ISwitch` class may stand here too, for a plugin that
            decides on each request; it is called with its options and the `Context`.
        also: Further tokens that it answers to, but does not offer (in a 426, for example): those of old clients.
    """

    name: str
    tokens: tuple[bytes, ...] = field(converter=_one_or_more)
    target: str
    also: tuple[bytes, ...] = ()

    def load(self) -> tuple[type, Callable[[Any, Context], ISwitch]]:
        """See `ISwitchPlugin`."""
        module, _, attribute = self.target.partition(":")
        target = getattr(import_module(module), attribute)
        options = getattr(target, "Options", NoOptions)
        if ISwitch.implementedBy(target):
            return options, target
        tokens = tuple(token.lower() for token in (*self.tokens, *self.also))

        def make(options: Any, context: Context) -> ISwitch:
            arguments = () if isinstance(options, NoOptions) else (options,)
            return _AlwaysAccept(Accept(build=lambda session: target(*arguments)), tokens)

        return options, make

    def __conform__(self, interface: Any) -> SwitchPlugin | None:
        # twisted.plugin looks for things that adapt to its IPlugin. Providing it would mean importing it here.
        return self if interface.__identifier__ == "twisted.plugin.IPlugin" else None
