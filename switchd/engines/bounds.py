"""What an engine of HTTP/2 says and keeps, whichever it is: each number with its reason."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (RFC 9113 section 3.4)."""

STREAM_WINDOW = 262_144
"""Bytes of one stream's body that a client may send before they are consumed."""

CONNECTION_WINDOW = 1_048_576
"""The same of all streams together."""

HARD_LIMIT = 4
"""A list of header fields so many times too long is not even read, so there is no 431 for it: the connection ends."""

MOST_FRAGMENTS = 64
"""Frames that one list of header fields may come in, HEADERS and CONTINUATION (CVE-2024-27316): h2's number."""

CLOSED_STREAMS = 1000
"""How many streams are remembered after their end, to tell what was on its way from what may not be (section 5.1)."""

TABLE_BYTES = 4096
"""The largest table of header fields that is kept for compression, whatever a client allows (RFC 7541 section 4.2)."""
