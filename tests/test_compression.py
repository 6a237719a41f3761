"""RFC 7541, against the package hpack: it reads what we write, and we read what it reads."""

from __future__ import annotations

from random import Random
from typing import Any

import hpack
import pytest
from hpack import HPACKError, NeverIndexedHeaderTuple, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from switchd.engines import compression
from switchd.engines.bounds import TABLE_BYTES
from switchd.engines.compression import ENTRY_BYTES, MEMO_BYTES, Decoder, Encoder
from switchd.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Violation

GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com"))


def test_what_is_used_of_hpack_is_what_it_was() -> None:
    """It promises neither: if this fails, look at what `compression` takes from there."""
    assert len(HeaderTable.STATIC_TABLE) == 61
    assert HeaderTable.STATIC_TABLE[0] == (b":authority", b"")
    assert HeaderTable.STATIC_TABLE[7] == (b":status", b"200")
    assert HeaderTable.STATIC_TABLE[60] == (b"www-authenticate", b"")
    assert decode_huffman(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"
    for wrong in (b"\xff\xff\xff\xff", b"\x1c"):
        with pytest.raises(HPACKError):
            decode_huffman(wrong)


# Reading


def test_appendix_c_4_requests() -> None:
    decoder = Decoder(1000)
    assert decoder.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")) == GET
    assert decoder.decode(bytes.fromhex("828684be5886a8eb10649cbf")) == (*GET, (b"cache-control", b"no-cache"))
    third = decoder.decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    assert third[1:4] == ((b":scheme", b"https"), (b":path", b"/index.html"), GET[3])
    assert third[4] == (b"custom-key", b"custom-value")


def test_the_same_bytes_mean_something_else_when_the_table_is_another() -> None:
    decoder = Decoder(1000)
    decoder.decode(b"\x40\x01a\x011")
    assert decoder.decode(b"\xbe") == decoder.decode(b"\xbe") == ((b"a", b"1"),)
    decoder.decode(b"\x40\x01b\x012")
    assert decoder.decode(b"\xbe") == ((b"b", b"2"),)
    decoder.decode(b"\x20")  # a table of no size
    with pytest.raises(Violation):
        decoder.decode(b"\xbe")


def test_what_is_kept_is_bounded() -> None:
    decoder = Decoder(MEMO_BYTES)
    for number in range(10_000):
        decoder.decode(b"\x00\x02%b\x00" % number.to_bytes(2, "big"))
        decoder.decode(b"\x82" * (number % 50))
    kept = sum(len(block) + ENTRY_BYTES + compression._size(fields) for block, fields in decoder._memo.items())
    assert MEMO_BYTES * 0.9 < kept <= MEMO_BYTES
    encoder = Encoder()
    for number in range(10_000):
        encoder.encode(200, [(b"content-length", b"%d" % number)])
    assert MEMO_BYTES / 200 < len(encoder._memo) < MEMO_BYTES / ENTRY_BYTES


NAMES = [b"a", b":path", b"x-b", b"cookie", b"accept", b"n" * 60]
VALUES = [b"", b"1", b"/", b"v" * 50, b"w" * 300, b"\xff\0\1", b"GET"]


def blocks(random: Random, encoder: Any) -> bytes:
    """A block, which may be wrong."""
    if random.random() < 0.1:
        encoder.header_table_size = random.choice([0, 40, 100, 500, 4096])
    fields: list[Any] = [(random.choice(NAMES), random.choice(VALUES)) for _ in range(random.randrange(8))]
    fields = [NeverIndexedHeaderTuple(*one) if random.random() < 0.2 else one for one in fields]
    right: bytes = encoder.encode(fields, huffman=random.random() < 0.5)
    at = random.randrange(len(right)) if right else 0
    wrongs = [
        right[:at] + bytes([right[at] ^ 1 << random.randrange(8)]) + right[at + 1 :] if right else b"\x80",
        right[:at],
        random.randbytes(random.randrange(1, 12)) + right,
        right + random.randbytes(random.randrange(1, 12)),
        bytes([random.choice([0x3F, 0x7F, 0xFF, 0x0F, 0x1F])]) + b"\xff" * random.randrange(7) + b"\x05" + right,
        b"\x20" * random.randrange(3) + right,
    ]
    return random.choice(wrongs) if random.random() < 0.3 else right


@pytest.mark.parametrize("seed", range(10))
def test_the_same_is_read_as_by_hpack(seed: int) -> None:
    """Block after block, each once or twice; with the same verdict, and the same table afterwards."""
    random = Random(seed)
    for _ in range(100):
        limit = random.choice([300, 2400, 65_536])
        ours, theirs, encoder = Decoder(limit), hpack.Decoder(limit), hpack.Encoder()
        for _ in range(random.randrange(1, 25)):
            block = blocks(random, encoder)
            for _ in range(random.choice([1, 1, 2])):
                expected = by_hpack(theirs, block)
                assert by_us(ours, block) == expected
            if isinstance(expected, int):
                break
            assert ours._entries[::-1] == list(theirs.header_table.dynamic_entries)
            assert ours._bytes == theirs.header_table._current_size


def by_hpack(decoder: Any, block: bytes) -> int | list[Any]:
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except OversizedHeaderListError:
        return ENHANCE_YOUR_CALM
    except HPACKError:
        return COMPRESSION_ERROR


def by_us(decoder: Decoder, block: bytes) -> int | list[Any]:
    try:
        return list(decoder.decode(block))
    except Violation as violation:
        return violation.code


# Writing

ANSWER = [(b"server", b"switchd"), (b"date", b"Sat, 21 Nov 2026 13:00:00 GMT"), (b"content-type", b"text/plain")]


def test_what_comes_again_is_a_byte() -> None:
    encoder, decoder = Encoder(), hpack.Decoder()
    for expected in (100, 4, 4):
        block = encoder.encode(200, ANSWER)
        assert len(block) <= expected
        assert by_hpack(decoder, block) == [(b":status", b"200"), *ANSWER]


def test_what_is_different_each_time_enters_no_table() -> None:
    encoder = Encoder()
    encoder.encode(200, ANSWER)
    for number in range(1000):
        changing = [(b"content-length", b"%d" % number), (b"etag", b'"%d"' % number), (b"x", b"%03d" % number * 400)]
        encoder.encode(200, changing)
    assert len(encoder.encode(200, ANSWER)) == 4


def test_secrets_are_marked() -> None:
    for name in sorted(compression.NEVER_INDEXED):
        (_, field) = hpack.Decoder().decode(Encoder().encode(200, [(name, b"secret")]), raw=True)
        assert isinstance(field, NeverIndexedHeaderTuple)


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        ([4096], b""),
        ([65_536], b""),
        ([100], b"\x3f\x45"),
        ([0], b"\x20"),
        ([0, 4096], b"\x20\x3f\xe1\x1f"),
        ([100, 50, 200], b"\x3f\x13\x3f\xa9\x01"),
    ],
)
def test_section_4_2_the_tables_size_is_told_the_smallest_first(allowed: list[int], told: bytes) -> None:
    encoder = Encoder()
    encoder.encode(200, ANSWER)
    for size in allowed:
        encoder.allow(size)
    assert encoder.encode(200, []) == told + b"\x88"
    assert encoder.encode(200, []) == b"\x88"


def test_hpack_reads_what_we_write_whatever_it_is() -> None:
    random = Random(1)
    for _ in range(300):
        encoder, decoder = Encoder(), hpack.Decoder(1 << 20)
        for _ in range(30):
            if random.random() < 0.1:
                size = random.choice([0, 60, 500, 4096, 1 << 20])
                encoder.allow(size)
                decoder.max_allowed_table_size = min(size, TABLE_BYTES)
            status = random.choice([200, 204, 404, 599])
            names = [b"server", b"x-a", b"set-cookie", b"etag", b"vary"]
            fields = [(random.choice(names), random.choice(VALUES)) for _ in range(random.randrange(5))]
            assert by_hpack(decoder, encoder.encode(status, fields)) == [(b":status", b"%d" % status), *fields]
