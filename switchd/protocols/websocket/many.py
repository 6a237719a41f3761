"""One message for many."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from switchd.protocols.websocket import frames
from switchd.protocols.websocket.channel import OPEN


def broadcast(connections: Iterable[Any], payload: bytes, isBinary: bool = False) -> None:
    """Send one message to many handlers: to those whose WebSocket is open.

    It is made into a frame once. Where compression has been agreed on it is compressed once, too, for each size of
    window; each client's own compression starts anew after that. Whoever overrides `sendMessage`, or looks at frames in
    another way, gets it by `sendMessage`. Whoever is sending a message of its own piece by piece, by `beginMessage` and
    so on, gets it when that has ended; until then it is part of what `max_buffered_bytes` bounds.

    Args:
        connections: Handlers.
        payload: The message.
        isBinary: Whether it is binary; otherwise it is text, in UTF-8.

    Raises:
        TypeError: It is no bytes.
    """
    if not isinstance(payload, bytes):
        raise TypeError(f"a message is bytes, not {type(payload).__name__}")
    first, length = frames.BINARY if isBinary else frames.TEXT, len(payload)
    plain = frames.frame(first, payload)
    compressed: dict[int, bytes] = {}
    for connection in tuple(connections):
        if connection.state != OPEN:
            continue
        link = connection._switchd
        if not link.is_plain or link.behind is not None or link.send_queue or 0 < connection.autoFragmentSize < length:
            connection._switchd_deliver(payload, isBinary)
            continue
        data = plain
        compression = link.compression
        if compression is not None and length >= link.terms.options.deflate_threshold_bytes:
            bits = compression.server_max_window_bits
            if bits not in compressed:
                compressed[bits] = frames.frame(first | frames.COMPRESSED, compression.alone(payload))
            compression.forget()
            data = compressed[bits]
        link.flow.write(data)
        (link.statistics or connection.trafficStats).outgoingOctetsWireLevel += len(data)
