"""How much of an answer is taken, in whichever version of HTTP, and how long the end may take."""

HEAD_BYTES = 16_384
"""The longest head of an answer, in bytes: what servers allow for a request. A 101 has a few hundred."""

INTERIM_ANSWERS = 16
"""How many 1xx may precede the answer. Servers send one or two; without a bound they could go on for ever."""

BODY_BYTES = 65_536
"""How much of a refusal's body is read, in bytes: it explains, and is for people."""

UNREAD_BYTES = 1_048_576
"""How much an HTTP/2 server that has yet to take what was written before is sent in answer to what it says, in bytes:
acknowledgements and window updates. One that sends in pieces of 7 bytes or more has no window for so many of these, and
PING and SETTINGS without end it has no cause for."""

CLOSE_SECONDS = 5.0
"""How long a server that has refused may take to let go of the connection, as it may in TLS; then it is aborted."""
