"""The head of a request that needs no thought, read in one piece: what nearly every client sends nearly every time.

This is a second reader, for speed. Whatever it is not sure of it leaves to the first one, which reads line by line
(`http1`): a target in another form than a path, a body, a field that has rules of its own, anything out of place. So it
takes less than that one, and never anything that it refuses; `tests/test_heads.py` compares them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from switchd.interfaces import Header
from switchd.memory import SECRETS, Memory
from switchd.messages import is_host

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]*) HTTP/1\.1(?=\r\n)").match
# One field and the line end before it. No value has CR or LF in it, so a match is one whole line, and what is no field
# is left out: then there are fewer matches than line ends.
# Blanks around a value are stripped afterwards: a pattern with two repeats that both take blanks takes quadratic time.
_FIELD_LINES = re.compile(rb"\r\n([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)(?=\r\n)").findall

_HAVE_RULES = frozenset((b"content-length", b"transfer-encoding", b"expect"))
"""Fields that say how the request goes on."""

MOST_REMEMBERED = 128
"""Blocks of fields that are remembered, as they came and as they were read."""

REMEMBERED_BYTES = 1024
"""How long such a block may be. With a field in every four bytes, all of them would take 5 MiB."""

_SECRETS = (*SECRETS, b"protocol")
"""A block with one of these in it, in the name of a field or wherever, is not remembered."""


class Fields(NamedTuple):
    """Header fields, of which one is `Host`, and none says that there is a body.

    Attributes:
        lines: In order, with names in lower case.
        names: Their names.
    """

    lines: tuple[Header, ...]
    names: tuple[bytes, ...]


# A client sends the same fields with each of its requests, and so do all clients of one kind.
_known: Memory[bytes, Fields] = Memory(MOST_REMEMBERED)


class Head(NamedTuple):
    """The head of a request without a body.

    Attributes:
        method: As sent; not CONNECT.
        target: As sent: a path, and perhaps a query.
        fields: The header fields.
        length: Of the head, in bytes, with the empty line.
    """

    method: bytes
    target: bytes
    fields: Fields
    length: int


def read(data: bytes, most_bytes: int, most_fields: int) -> Head | None:
    """Read the head that `data` begins with.

    Args:
        data: From the first byte of a request on; what follows its head does not matter.
        most_bytes: The longest head that is taken.
        most_fields: The most fields that are.

    Returns:
        The head, or None if the other reader has to look at it.
    """
    end = data.find(b"\r\n\r\n", 0, most_bytes)
    line = _REQUEST_LINE(data)
    if end < 0 or line is None:
        return None
    block = data[line.end() : end + 2]
    found = _known.get(block) or _read_fields(block)
    if found is None or len(found.names) > most_fields or line[1] == b"CONNECT":
        return None
    return Head(line[1], line[2], found, end + 4)


def _read_fields(block: bytes) -> Fields | None:
    found = _fields(block)
    if found is not None and _is_common(block):
        _known.keep(block, found)
    return found


def _is_common(block: bytes) -> bool:
    if len(block) > REMEMBERED_BYTES:
        return False
    lower = block.lower()
    return not any(secret in lower for secret in _SECRETS)


def _fields(block: bytes) -> Fields | None:
    """Read the lines of fields, each with the line end before it, and one line end more."""
    lines = _FIELD_LINES(block)
    if len(lines) != block.count(b"\r\n") - 1:
        return None
    fields = tuple([(name.lower(), value.strip(b" \t")) for name, value in lines])
    names = tuple([name for name, _ in fields])
    if names.count(b"host") != 1 or not _HAVE_RULES.isdisjoint(names):
        return None
    return Fields(fields, names) if is_host(fields[names.index(b"host")][1]) else None
