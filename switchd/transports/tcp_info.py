"""How many bytes a TCP connection has carried, and how long ago, as Linux knows: nobody else need look at each read and
write."""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Any

from attrs import define

IS_COUNTED = sys.platform == "linux"
"""Whether the system tells. Others have a TCP_INFO of another form, or none."""

# struct tcp_info of linux/tcp.h, which only ever grows at its end: tcpi_bytes_received is at 128, tcpi_notsent_bytes
# at 144, tcpi_bytes_sent and tcpi_bytes_retrans at 200, since Linux 4.19.
_FIELDS = Struct("=128xQ8xI52xQQ")

# tcpi_last_data_sent is at 44, tcpi_last_data_recv at 52; in milliseconds, since Linux 2.4.
_LAST = Struct("=44xI4xI")


@define
class Carried:
    """How many bytes connections have carried; in TLS, of the encrypted ones.

    Attributes:
        received: From clients. The end of a client's input counts as one.
        sent: To clients, or given to the system for them.
    """

    received: int = 0
    sent: int = 0

    def add(self, transport: Any) -> None:
        """Add what a connection has carried that is still open; nothing if that is not known: of a UNIX socket, say.

        Args:
            transport: What carries the connection, below TLS and all other wrappers.
        """
        carried = read(transport)
        if carried is not None:
            self.received += carried[0]
            self.sent += carried[1]


def read(transport: Any) -> tuple[int, int] | None:
    """Bytes received and sent by a connection that is still open; None if that is not known.

    Args:
        transport: As for `Carried.add`.
    """
    if not IS_COUNTED:
        return None
    try:
        info = transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    except (AttributeError, OSError):  # no socket any more, or none of TCP
        return None
    return parsed(info)


def parsed(info: bytes) -> tuple[int, int]:
    """Bytes received and sent, by as much of `struct tcp_info` as the system knows of; none if that is too little."""
    if len(info) < _FIELDS.size:
        return 0, 0
    received, unsent, sent, repeated = _FIELDS.unpack_from(info)
    return received, sent - repeated + unsent


def idle_seconds(transport: Any) -> float | None:
    """How long ago a byte came or went, on a connection that is still open; None if that is not known.

    Args:
        transport: As for `Carried.add`.
    """
    if not IS_COUNTED:
        return None
    try:
        info = transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST.size)
    except (AttributeError, OSError):
        return None
    return min(_LAST.unpack_from(info)) / 1000 if len(info) >= _LAST.size else None
