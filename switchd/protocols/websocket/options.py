"""What a `[[switch]]` table with `protocol = "websocket"` may set."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from attrs import Attribute, field, frozen

from switchd.interfaces import Range
from switchd.protocols.websocket import origins
from switchd.protocols.websocket.handlers import load
from switchd.protocols.websocket.handshake import TOKEN, is_token

_IS_HEADER = re.compile(rf"{TOKEN}:[ \t]*[\x20-\x7e\t]*").fullmatch

_Bytes = Annotated[int, Range(1, 2**31 - 1, "bytes")]
_Seconds = Annotated[float, Range(0, 86400, "seconds")]

MIB = 1048576


def _each(is_valid: Callable[[str], object], expected: str) -> Callable[[Any, Attribute[Any], tuple[str, ...]], None]:
    """A validator of lists."""

    def validate(instance: Any, attribute: Attribute[Any], values: tuple[str, ...]) -> None:
        for value in values:
            if not is_valid(value):
                raise ValueError(f'expected {expected}, got "{value}"')

    return validate


def _is_origin(text: str) -> bool:
    return text in (origins.SAME, origins.ANY, origins.NULL) or origins.parse(text) is not None


def _is_handler(instance: Any, attribute: Attribute[Any], name: str) -> None:
    load(name)


@frozen
class Options:
    """One `[[switch]]` table. What a factory has set itself by `setProtocolOptions` stands where a key is left out.

    Attributes:
        handler: Who speaks, as "package.module:name": an autobahn `WebSocketServerProtocol` class, a
            `WebSocketServerFactory`, any Twisted `Protocol` class or factory, or a callable that returns a factory.
        subprotocols: Those that are served, where the handler does not choose itself.
        origins: The pages that may connect: "same-origin", "https://example.org", "null", or "*" for all.
        headers: Further fields of the answer that accepts, each as "Name: value".
        max_connections: At the same time; one more is refused with 503.
        max_message_bytes: The longest message that is taken; over it: 1009.
        max_frame_bytes: The longest frame, likewise.
        max_buffered_bytes: What may wait for one client that does not read it; over it, the client is closed with 1013.
        send_seconds: How long such a client may read nothing; then it is closed, too. 0: for ever.
        deflate: Whether permessage-deflate is accepted.
        deflate_window_bits: The window of either side, as a power of two.
        deflate_context_takeover: Whether a message may refer to earlier ones: smaller on the wire, more memory.
        deflate_memory_level: zlib's, for what is sent.
        deflate_threshold_bytes: Shorter messages are sent as they are.
        deflate_max_bytes: The most that a message may inflate to; it is closed with 1009 as soon as it does.
        ping_seconds: Between two pings; 0: none.
        ping_timeout_seconds: For the answer to one; then the connection is dropped. 0: for ever.
        close_seconds: For the peer's part of the closing handshake; then the connection is dropped.
        drain_code: What clients are told when the server stops: 1001, it goes away; 1012, it restarts, so that
            they may come back.
        messages: What a Twisted protocol's writes become: "binary" messages, or "text".
    """

    handler: str = field(validator=_is_handler)
    subprotocols: tuple[str, ...] = field(default=(), validator=_each(is_token, "a subprotocol's name, a token"))
    origins: tuple[str, ...] = field(
        default=(origins.SAME,),
        validator=_each(_is_origin, '"same-origin", "*", "null" or an origin such as "https://example.org"'),
    )
    headers: tuple[str, ...] = field(default=(), validator=_each(_IS_HEADER, '"Name: value"'))
    max_connections: Annotated[int, Range(1, 10_000_000, "connections")] = 100_000
    max_message_bytes: _Bytes = 16 * MIB
    max_frame_bytes: _Bytes = 16 * MIB
    max_buffered_bytes: _Bytes = 16 * MIB
    send_seconds: _Seconds = 60.0
    deflate: bool = True
    deflate_window_bits: Annotated[int, Range(9, 15, "bits")] = 12
    deflate_context_takeover: bool = True
    deflate_memory_level: Annotated[int, Range(1, 9, "levels")] = 5
    deflate_threshold_bytes: Annotated[int, Range(0, 2**31 - 1, "bytes")] = 256
    deflate_max_bytes: _Bytes = 16 * MIB
    ping_seconds: _Seconds = 20.0
    ping_timeout_seconds: _Seconds = 20.0
    close_seconds: Annotated[float, Range(0.1, 86400, "seconds")] = 5.0
    drain_code: Literal[1001, 1012] = 1001
    messages: Literal["binary", "text"] = "binary"
