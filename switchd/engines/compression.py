"""Header compression (RFC 7541) of one connection, with a memo for each direction.

Most requests of a connection have the same header fields as one before, and so have most answers. While a table of
header fields is unchanged the same block means the same fields, and the same fields may be sent as the same block. So
what was worked out is kept until the table changes, and no longer.

What is likely to come again enters the table of what we send, what is not is sent as it is, and what is secret is
marked so. Nothing that we send is Huffman-coded: what comes again is a byte, whatever it was. The package hpack has
that code, to read it, and the static table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hpack import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from switchd.engines.bounds import TABLE_BYTES
from switchd.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Violation
from switchd.interfaces import Header

MEMO_BYTES = 16_384
"""How much a memo keeps, as section 4.1 counts fields: some twenty requests, and no more than one may have itself."""

ENTRY_BYTES = 32
"""By which each field counts for more than its name and value (section 4.1)."""

NEVER_INDEXED = frozenset(
    {b"authorization", b"authentication-info", b"proxy-authorization", b"proxy-authentication-info", b"set-cookie"}
)
"""Secrets: they enter no table, here or behind a proxy, where what they are could be guessed (section 7.1)."""

_ONCE = frozenset({b"age", b"content-length", b"content-range", b"etag", b"last-modified", b"location"})
# Those are different in each answer; nghttp2 has such a list too.

_LONGEST_ENTRY = TABLE_BYTES // 4
# A longer one would push out what comes more often.

_STATIC_ENTRIES = 61
# Section 2.3.1.

_LONGEST_INTEGER = 5
# In bytes behind the first: more than 32 bits.


def _size(fields: Sequence[Header]) -> int:
    return sum(len(name) + len(value) + ENTRY_BYTES for name, value in fields)


class Decoder:
    """Reads blocks of header fields.

    Args:
        list_bytes: The longest list that is read, as section 6.5.2 of RFC 9113 counts it.
    """

    __slots__ = ("_bytes", "_changes", "_entries", "_list_bytes", "_memo", "_most", "_room")

    def __init__(self, list_bytes: int) -> None:
        self._list_bytes = list_bytes
        self._entries: list[Header] = []  # the dynamic table, oldest first
        self._bytes = 0
        self._most = TABLE_BYTES
        self._changes = 0  # of the table
        self._memo: dict[bytes, tuple[Header, ...]] = {}
        self._room = MEMO_BYTES

    def decode(self, block: bytes) -> tuple[Header, ...]:
        """The fields in a block.

        Raises:
            Violation: They cannot be read, or are too long; so the table is lost, and the connection with it.
        """
        found = self._memo.get(block)
        if found is not None:
            return found
        changes = self._changes
        try:
            fields = tuple(self._fields(block))
        except (IndexError, HPACKError) as error:  # it ends where something is still to come, or is no Huffman code
            raise _unreadable(str(error)) from error
        if changes != self._changes:
            self._memo.clear()
            self._room = MEMO_BYTES
        else:
            self._keep(block, fields)
        return fields

    def _keep(self, block: bytes, fields: tuple[Header, ...]) -> None:
        size = len(block) + ENTRY_BYTES + _size(fields)
        if size <= self._room:
            self._memo[block] = fields
            self._room -= size

    def _fields(self, block: bytes) -> Iterator[Header]:
        """Section 6, a field at a time, until they are too long together."""
        at, size = 0, 0
        while at < len(block):
            first = block[at]
            if first & 0x80:
                index, at = _read_integer(block, at, 0x7F)
                field = self._entry(index)
            elif first & 0x40:
                field, at = self._literal(block, at, 0x3F)
                self._add(field)
            elif first & 0x20:
                if size:
                    raise _unreadable("the table's size changes behind a field")
                most, at = _read_integer(block, at, 0x1F)
                self._resize(most)
                continue
            else:
                field, at = self._literal(block, at, 0x0F)
            size += len(field[0]) + len(field[1]) + ENTRY_BYTES
            if size > self._list_bytes:
                raise Violation(ENHANCE_YOUR_CALM, f"the header fields have more than {self._list_bytes} bytes")
            yield field

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Header, int]:
        """Section 6.2."""
        index, at = _read_integer(block, at, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _read_string(block, at)
        value, at = _read_string(block, at)
        return (name, value), at

    def _entry(self, index: int) -> Header:
        """Section 2.3.3."""
        if 0 < index <= _STATIC_ENTRIES:
            return _STATIC[index]
        if not 0 < index - _STATIC_ENTRIES <= len(self._entries):
            raise _unreadable(f"there is no entry {index} in the table")
        return self._entries[_STATIC_ENTRIES - index]

    def _add(self, entry: Header) -> None:
        """Section 4.4; one that is too large leaves nothing."""
        size = len(entry[0]) + len(entry[1]) + ENTRY_BYTES
        self._shrink(max(0, self._most - size))
        if size <= self._most:
            self._entries.append(entry)
            self._bytes += size
        self._changes += 1

    def _resize(self, most: int) -> None:
        """Section 6.3."""
        if most > TABLE_BYTES:
            raise _unreadable("the table is larger than we allow")
        self._most = most
        self._shrink(most)
        self._changes += 1

    def _shrink(self, to: int) -> None:
        """Evict the oldest (sections 4.3 and 4.4)."""
        while self._bytes > to:
            self._bytes -= _size((self._entries.pop(0),))


class Encoder:
    """Writes blocks of header fields."""

    __slots__ = ("_added", "_announced", "_bytes", "_entries", "_least", "_memo", "_most", "_room")

    def __init__(self) -> None:
        self._entries: dict[Header, int] = {}  # the dynamic table, oldest first: how many were added before
        self._added = 0
        self._bytes = 0
        self._most = self._announced = self._least = TABLE_BYTES
        self._memo: dict[tuple[int, tuple[Header, ...]], bytes] = {}
        self._room = MEMO_BYTES

    def allow(self, table_bytes: int) -> None:
        """The client allows a table of that size (section 4.2); `TABLE_BYTES` are used at most."""
        self._most = min(table_bytes, TABLE_BYTES)
        self._least = min(self._least, self._most)
        self._shrink(self._most)
        self._forget()

    def encode(self, status: int, fields: Sequence[Header]) -> bytes:
        """The block of an answer's head."""
        key = (status, tuple(fields))
        return self._memo.get(key) or self._write(key)

    def _write(self, key: tuple[int, tuple[Header, ...]]) -> bytes:
        status, fields = key
        added = self._added
        block = b"".join([self._field(b":status", b"%d" % status), *[self._field(*field) for field in fields]])
        size = len(block) + ENTRY_BYTES + _size(fields)
        if added == self._added and size <= self._room:
            self._memo[key] = block
            self._room -= size
        return self._sizes() + block

    def _field(self, name: bytes, value: bytes) -> bytes:
        """One field (section 6)."""
        found = _WHOLE.get((name, value)) or self._index((name, value))
        if found:
            return _integer(0x80, 7, found)
        size = len(name) + len(value) + ENTRY_BYTES
        if name in NEVER_INDEXED:
            return _literal(0x10, 4, name, value)
        if name in _ONCE or size > min(_LONGEST_ENTRY, self._most):
            return _literal(0x00, 4, name, value)
        self._add((name, value), size)
        return _literal(0x40, 6, name, value)

    def _index(self, entry: Header) -> int:
        """Its index in the dynamic table, or 0."""
        before = self._entries.get(entry)
        return 0 if before is None else _STATIC_ENTRIES + self._added - before

    def _add(self, entry: Header, size: int) -> None:
        self._shrink(self._most - size)
        self._entries[entry] = self._added
        self._added += 1
        self._bytes += size
        self._forget()

    def _shrink(self, to: int) -> None:
        """Evict the oldest (section 4.3)."""
        while self._bytes > to:
            oldest = next(iter(self._entries))
            del self._entries[oldest]
            self._bytes -= _size([oldest])

    def _forget(self) -> None:
        self._memo.clear()
        self._room = MEMO_BYTES

    def _sizes(self) -> bytes:
        """What has changed about the table's size: the smallest since the last block, and what it is now."""
        told = [self._least] if self._least < min(self._announced, self._most) else []
        told += [self._most] if told or self._most != self._announced else []
        self._announced = self._least = self._most
        return b"".join(_integer(0x20, 5, size) for size in told)


def _integer(pattern: int, bits: int, value: int) -> bytes:
    """An integer behind a pattern (section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((pattern | value,))
    found = bytearray((pattern | most,))
    value -= most
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _literal(pattern: int, bits: int, name: bytes, value: bytes) -> bytes:
    """A field that is no entry of a table, its name perhaps being that of one (section 6.2)."""
    index = _NAMES.get(name, 0)
    spelled = b"" if index else _integer(0, 7, len(name)) + name
    return _integer(pattern, bits, index) + spelled + _integer(0, 7, len(value)) + value


def _read_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """An integer whose first bits are in the byte there, and where it ends (section 5.1)."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, _LONGEST_INTEGER * 7, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _unreadable("an integer is too long")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    """A string, and where it ends (section 5.2)."""
    is_coded = block[at] & 0x80
    length, at = _read_integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise _unreadable("a string is not complete")
    return decode_huffman(block[at:end]) if is_coded else block[at:end], end


def _unreadable(why: str) -> Violation:
    return Violation(COMPRESSION_ERROR, why)  # RFC 9113 section 4.3


_STATIC = ((b"", b""), *HeaderTable.STATIC_TABLE)
_WHOLE = {entry: index for index, entry in enumerate(_STATIC) if index}
_NAMES = {name: index for (name, _), index in reversed(_WHOLE.items())}  # of several, the first
