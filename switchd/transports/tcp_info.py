"""How many bytes a TCP connection has carried, as Linux counts them: nobody else need look at each read and write."""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Any

from attrs import frozen

IS_COUNTED = sys.platform == "linux"
"""Whether the system tells. Others have a TCP_INFO of another form, or none."""

# struct tcp_info of linux/tcp.h, which only ever grows at its end: tcpi_bytes_received is at 128, tcpi_notsent_bytes
# at 144, tcpi_bytes_sent and tcpi_bytes_retrans at 200, since Linux 4.19.
_FIELDS = Struct("=128xQ8xI52xQQ")


@frozen
class Carried:
    """How many bytes a connection, or many of them, have carried; in TLS, of the encrypted ones.

    Attributes:
        received: From the client. The end of its input counts as one.
        sent: To the client, or given to the system for it.
    """

    received: int = 0
    sent: int = 0

    def __add__(self, other: Carried) -> Carried:
        return Carried(self.received + other.received, self.sent + other.sent)


NOTHING = Carried()


def carried(transport: Any) -> Carried:
    """What a transport that is still open has carried; `NOTHING` if that is not known: a UNIX socket, another system.

    Args:
        transport: What carries the connection, below TLS and all other wrappers.
    """
    if not IS_COUNTED:
        return NOTHING
    try:
        info = transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
    except (AttributeError, OSError):  # no socket any more, or none of TCP
        return NOTHING
    return parsed(info)


def parsed(info: bytes) -> Carried:
    """The same for what the system says: as much of `struct tcp_info` as it knows of."""
    if len(info) < _FIELDS.size:
        return NOTHING
    received, unsent, sent, repeated = _FIELDS.unpack_from(info)
    return Carried(received, sent - repeated + unsent)
