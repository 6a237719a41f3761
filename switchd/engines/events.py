"""What an engine of HTTP/2 tells of: values."""

from __future__ import annotations

from attrs import define, frozen

from switchd.interfaces import Header


@frozen
class Asked:
    """A client has opened a stream.

    Attributes:
        stream: Its number.
        fields: Header fields and pseudo-header fields, in order, as they came: not yet looked at.
    """

    stream: int
    fields: tuple[Header, ...]


@frozen
class Settled:
    """The server's settings have come: the first thing that a client hears.

    Attributes:
        connect: Whether it understands extended CONNECT (RFC 8441 section 3).
    """

    connect: bool


@frozen
class Answered:
    """A server has answered, perhaps not for the last time.

    Attributes:
        stream: On which stream.
        status: The status.
        fields: Header fields, as they came; no pseudo-header fields.
    """

    stream: int
    status: int
    fields: tuple[Header, ...]


@define
class Data:
    """Part of a stream's body. `length` is to be given back by `Engine.consumed`; it counts the padding too.

    Not frozen like the others, as that takes time: it is made for each frame.
    """

    stream: int
    data: bytes
    length: int


@frozen
class Ended:
    """The client has ended its side of a stream, perhaps with trailers: not yet looked at, like `Asked.fields`."""

    stream: int
    trailers: tuple[Header, ...] = ()


@frozen
class Reset:
    """A stream is gone: the client has reset it, or has broken a rule on it (`by_client` false)."""

    stream: int
    code: int
    by_client: bool


@frozen
class Opened:
    """More may be sent: on a stream, or, where it is 0, on all."""

    stream: int


@frozen
class Acknowledged:
    """The client has seen our settings."""


@frozen
class Ponged:
    """Our ping has come back."""


@frozen
class Farewell:
    """The client opens no more streams."""


@frozen
class Failed:
    """The connection is over: the client broke a rule. The output ends with the GOAWAY that says so."""

    code: int
    why: str


Event = Asked | Settled | Answered | Data | Ended | Reset | Opened | Acknowledged | Ponged | Farewell | Failed
