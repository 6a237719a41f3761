"""The engines of HTTP/2 side by side: whatever a client sends, in whatever pieces, they say the same.

    python -m tests.engines --sessions 100000 --seed 7

A session is made from a number: the frames of a client that mostly keeps to RFC 9113 and now and then does not, cut
anywhere, with what a server does in between. Both engines get the same bytes and the same calls. After each they must
have told the same events, in the same order, failed with the same code, sent frames of the same meaning, and allow the
same to be sent. Only why they failed may be put in other words.

Where they are to be different stands in `EXCEPTIONS`: such frames are left out of sessions, and have a test each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from attrs import define, field, frozen
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from twisted.internet.task import Clock

from switchd import engine
from switchd.engine import Asked, Data, Ended, Engine, Event, Failed, Reset
from tests import frames
from tests.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HAS_PRIORITY,
    HEADER_TABLE_SIZE,
    HEADERS,
    HELLO,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    NO_ERROR,
    PADDED,
    PREFACE,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    raw,
)

HEADER_BYTES = 600
"""So little that lists of fields are too long now and then."""

HARDEST = engine.HARD_LIMIT * HEADER_BYTES
"""Bytes that a list may have to be read at all."""

LARGEST = (1 << 31) - 1

MUCH = 5000
"""Bytes that are not looked at one by one."""

FULL = 200_000
"""Bytes that may fill a window, if the server lets them."""


# Where the engines are different


@frozen
class Form:
    """What a frame looks like (section 4.1)."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def padded_to_the_end(frame: Form) -> bool:
    """HEADERS in which padding leaves no room for fields.

    RFC 9113 section 6.2 forbids padding that is longer than what remains. h2 also refuses padding that leaves an empty
    fragment, and takes padding that reaches into the priority.
    """
    if frame.kind != HEADERS or not frame.flags & PADDED or not frame.payload:
        return False
    padding, rest = frame.payload[0], len(frame.payload) - 1
    if frame.flags & HAS_PRIORITY:
        return rest - 5 < padding < rest and rest >= 5
    return padding == rest > 0


def said_twice(frame: Form) -> bool:
    """SETTINGS with the same setting more than once.

    They count one after the other (section 6.5.3), so none of them may have a wrong value; h2 looks at the last only.
    """
    if frame.kind != SETTINGS or frame.flags & ACK or len(frame.payload) % 6:
        return False
    keys = [frame.payload[at : at + 2] for at in range(0, len(frame.payload), 6)]
    return len(set(keys)) < len(keys)


EXCEPTIONS: tuple[Callable[[Form], bool], ...] = (padded_to_the_end, said_twice)
"""Each with its reason. Besides, which streams are forgotten after `CLOSED_STREAMS` others is not exactly the same: h2
forgets those that have ended when a new one comes."""


def forms(data: bytes) -> Iterator[tuple[Form, bytes]]:
    """The frames in what a client sends after its preface, and the rest, which is none."""
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        end = 9 + int.from_bytes(data[:3], "big")
        yield Form(data[3], data[4], int.from_bytes(data[5:9], "big") & LARGEST, data[9:end]), data[:end]
        data = data[end:]
    yield Form(-1, 0, 0, b""), data


def without_exceptions(data: bytes) -> bytes:
    """The same, but for frames in which the engines are different."""
    start = len(PREFACE) if data.startswith(PREFACE) else len(data)
    kept = [whole for form, whole in forms(data[start:]) if not any(excepted(form) for excepted in EXCEPTIONS)]
    return data[:start] + b"".join(kept)


# A client

NAMES = [b"accept", b"cookie", b"x-a", b"x-long-name-of-a-field", b"user-agent", b"content-length", b"te", b"a"]
VALUES = [b"", b"*/*", b"1", b"gzip, deflate", b"some value", b"x" * 70, b"\xff\0", b"a=b; c=d"]


class Client:
    """What a client sends, frame by frame.

    Args:
        random: What it decides with.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._encoder = Encoder()
        self._next = 1
        self._opened: list[int] = []
        self._ended: set[int] = set()
        self._usual: list[Any] = []  # the fields of a request, again and again
        self._terse = random.random() < 0.4  # it knows few fields, so that the same bytes mean one and then another
        self._wild = random.random() < 0.5  # or it keeps to the rules, so that a session goes on for long

    def hello(self) -> bytes:
        """How it begins: mostly as it should."""
        choice = self._random.random()
        if choice < 0.93:
            return PREFACE + self.settings() if choice < 0.3 else HELLO
        if choice < 0.96:
            return PREFACE
        at = self._random.randrange(len(HELLO))
        return HELLO[:at] + bytes([self._random.randrange(256)]) + HELLO[at + 1 :]

    def frames(self) -> bytes:
        """One frame, or some that belong together."""
        random = self._random
        if self._wild and random.random() < 0.15:
            return self._wrong()
        if not self._opened:
            return self.request()
        usual = [self.request] * 6 + [self.data] * 4 + [self.trailers, self.reset, self.priority, self.ping]
        usual += [self.update] * 3 + [self.settings, self.update_all, self.settled]
        made: bytes = random.choice(usual)()
        return made

    def request(self) -> bytes:
        number = self._next
        self._next += self._random.choice([2, 2, 2, 2, 4])
        self._opened.append(number)
        fields = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")]
        if not self._terse:
            fields[2] = (b":path", self._random.choice([b"/index.html", b"/a/b?c=d"]))
            fields.append((b":authority", b"example.org"))
        if self._random.random() < 0.6:
            self._usual = fields + self._fields()
        return self._list(number, self._usual or fields, self._random.random() < 0.5)

    def trailers(self) -> bytes:
        number = self._unended()
        return b"" if number in self._ended else self._list(number, self._fields(), self._random.random() < 0.99)

    def data(self) -> bytes:
        random = self._random
        content = bytes(random.choice([0, 0, 1, 5, 100, 16_000]))
        number, flags = self._unended(), END_STREAM if random.random() < 0.3 else 0
        self._ended |= {number} if flags else set()
        if random.random() < 0.3:
            return frames.padded(number, content, random.choice([0, 1, 255]), flags)
        return frames.data(number, content, flags)

    def reset(self) -> bytes:
        number = self._stream()
        self._ended |= {number} if self._random.random() < 0.9 else set()
        return frames.reset(number, self._random.choice([0, 8, 0xFACE]))

    def priority(self) -> bytes:
        return frames.priority(self._random.randrange(1, 9), self._random.randrange(9))

    def ping(self) -> bytes:
        return frames.ping(self._random.choice([b"12345678", b"switchd."]), self._random.choice([0, ACK]))

    def update(self) -> bytes:
        return frames.update(self._stream(), self._random.choice([1, 70_000, 1 << 20, 1 << 31 | 5]))

    def update_all(self) -> bytes:
        return frames.update(0, self._random.choice([1, 70_000, 1 << 20]))

    def settled(self) -> bytes:
        return frames.SETTLED

    def settings(self) -> bytes:
        random = self._random
        values = {
            HEADER_TABLE_SIZE: random.choice([0, 100, 4096, 65_536]),
            frames.ENABLE_PUSH: 0,
            INITIAL_WINDOW_SIZE: random.choice([0, 10, 65_535, 1 << 20, LARGEST - 1]),
            MAX_FRAME_SIZE: random.choice([16_384, 1 << 20]),
            random.choice([3, 6, 9, 0xBABA]): random.randrange(1 << 32),
            8: 1,
        }
        return frames.settings(*random.sample(sorted(values.items()), random.randrange(3)))

    def _wrong(self) -> bytes:
        random = self._random
        number, flags = random.choice([0, 1, 2, self._next, self._stream()]), random.randrange(256)
        whole = self.frames()
        return random.choice(
            [
                lambda: raw(random.randrange(12), number, random.randbytes(random.randrange(12)), flags),
                lambda: raw(random.randrange(256), number, random.randbytes(random.randrange(12)), flags),
                lambda: raw(random.randrange(10), number, b"x" * 16_385),
                lambda: raw(HEADERS, number, self._bad_block(), random.choice([4, 5])),
                lambda: self._between(number),
                lambda: self._many_fragments(),
                lambda: raw(HEADERS, self._next, bytes(random.choice([HARDEST, HARDEST + 1]))) + raw(0xBA),
                lambda: raw(HEADERS, self._next, bytes(HARDEST)) + raw(CONTINUATION, self._next, b"x"),
                lambda: frames.update(number, random.choice([0, 1, LARGEST])),
                lambda: frames.reset(number),
                lambda: frames.data(number, bytes(random.choice([0, 10]))),
                lambda: raw(DATA, number, random.choice([b"", b"\x01", b"\x02ab", b"\xff"]), PADDED),
                lambda: raw(RST_STREAM, number, bytes(random.choice([0, 3, 5]))),
                lambda: raw(SETTINGS, random.choice([0, 0, 1]), bytes(random.choice([5, 6, 12, 198])), flags & ACK),
                lambda: frames.settings((random.choice([2, 4, 5, 8]), random.choice([2, 1, LARGEST + 1]))),
                lambda: raw(PUSH_PROMISE, number, bytes(random.randrange(8)), flags),
                lambda: raw(GOAWAY, random.choice([0, 0, 1]), bytes(random.choice([7, 8, 9]))),
                lambda: raw(CONTINUATION, number, b"", random.choice([0, END_HEADERS])),
                lambda: self._list(random.randrange(1, max(2, self._next)), self._fields(), random.random() < 0.5),
                lambda: self._flipped(whole),
            ]
        )()

    def _flipped(self, whole: bytes) -> bytes:
        if not whole:
            return whole
        at = self._random.randrange(min(len(whole), 30))
        return whole[:at] + bytes([whole[at] ^ 1 << self._random.randrange(8)]) + whole[at + 1 :]

    def _bad_block(self) -> bytes:
        good = frames.block(frames.GET)
        random = self._random
        return random.choice(
            [
                lambda: good[: random.randrange(len(good))],
                lambda: random.randbytes(random.randrange(1, 20)),
                lambda: bytes([0x80 | random.randrange(128), random.randrange(256)]),
                lambda: random.choice([b"\x20", b"\x3f\xe1\x1f", b"\x3f\xe2\x1f", b"\x20\x3f\x45"]) + good,
                lambda: good + b"\x20",
                lambda: b"\x40\x01a\x7f\x81\x01" + b"x" * 256 + b"\xbe" * random.choice([1, 5, 20]),
                lambda: b"\xff" + b"\xff" * random.randrange(8) + b"\x01",
                lambda: b"\x82" * random.randrange(90),
            ]
        )()

    def _between(self, number: int) -> bytes:
        """A list of fields with something in it."""
        other = self._random.choice([frames.ping(), frames.data(number), raw(0xBA), raw(CONTINUATION, number), b""])
        start = raw(HEADERS, self._next, b"\x82\x84", END_STREAM)
        number, self._next = self._next, self._next + 2
        return start + other + raw(CONTINUATION, number, b"\x86", END_HEADERS)

    def _many_fragments(self) -> bytes:
        number, self._next = self._next, self._next + 2
        pieces = raw(CONTINUATION, number, b"") * self._random.choice([1, 60, 61, 62, 63])
        return raw(HEADERS, number, b"\x82", END_STREAM) + pieces + raw(CONTINUATION, number, b"\x84", END_HEADERS)

    def _stream(self) -> int:
        return self._random.choice(self._opened[-6:] or [self._next])

    def _unended(self) -> int:
        """One that may go on, as far as that is known here; mostly."""
        usual = [number for number in self._opened[-12:] if number not in self._ended]
        return self._random.choice(usual) if usual and self._random.random() < 0.98 else self._stream()

    def _fields(self) -> list[Any]:
        random = self._random
        if self._terse:
            return random.choices([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")], k=random.choice([0, 1, 1, 2]))
        found = [(random.choice(NAMES), random.choice(VALUES)) for _ in range(random.choice([0, 1, 2, 3, 3, 12]))]
        return [NeverIndexedHeaderTuple(*one) if random.random() < 0.2 else one for one in found]

    def _list(self, number: int, fields: list[Any], ended: bool) -> bytes:
        """HEADERS, perhaps with padding and priority, perhaps in fragments."""
        random = self._random
        self._ended |= {number} if ended else set()
        if random.random() < 0.05:
            self._encoder.header_table_size = random.choice([0, 60, 200, 4096])
        block = self._encoder.encode(fields, huffman=random.random() < 0.5)
        cuts = sorted(random.randrange(len(block) + 1) for _ in range(random.choice([0, 0, 0, 0, 1, 2])))
        pieces = [block[start:end] for start, end in zip([0, *cuts], [*cuts, len(block)], strict=True)]
        first, flags = pieces[0], END_STREAM * ended | END_HEADERS * (not cuts)
        if random.random() < 0.1:
            first, flags = random.randbytes(5) + first, flags | HAS_PRIORITY
        if random.random() < 0.1:
            padding = random.choice([0, 1, 10, len(first)])
            first, flags = bytes([padding % 256]) + first + bytes(padding % 256), flags | PADDED
        rest = [raw(CONTINUATION, number, piece) for piece in pieces[1:-1]]
        rest += [raw(CONTINUATION, number, pieces[-1], END_HEADERS)] if cuts else []
        return raw(HEADERS, number, first, flags) + b"".join(rest)


def flood(random: Random) -> bytes:
    """One thing again and again, which is stopped in the end."""
    one = random.choice(
        [
            frames.ping(),
            frames.settings(),
            frames.priority(1),
            frames.data(1),
            frames.update(0, 1),
            frames.update(1, 1),
            frames.padded(1, b"", 9),
            frames.reset(1),
            frames.goaway(),
            raw(0xBA),
            frames.reset(1) + frames.data(1, b"x"),
            frames.reset(1) + frames.headers(1),
        ]
    )
    return frames.opening(1) + one * random.choice([990, 1200, 2100])


def cuts(count: int) -> bytes:
    """Many streams that are cut short."""
    return b"".join(frames.headers(number) + frames.reset(number) for number in range(1, 2 * count, 2))


def filled(random: Random) -> bytes:
    """As much as the window of a stream or of the connection allows, or more."""
    numbers = [2 * count + 1 for count in range(random.choice([1, 1, 4]))]
    full = b"".join(frames.opening(number) + frames.data(number, bytes(16_384)) * 16 for number in numbers)
    return full + frames.opening(99) + frames.data(random.choice([1, 99]), bytes(random.choice([0, 1])))


# A server


@define
class Row:
    """What a server knows of a stream."""

    responded: bool = False
    answered: bool = False
    complete: bool = False


@define
class Server:
    """What a server does, decided once and done with both engines."""

    random: Random
    pair: tuple[Engine, ...]
    rows: dict[int, Row] = field(factory=dict)
    held: dict[int, int] = field(factory=dict)
    usual: list[tuple[bytes, bytes]] = field(factory=list)
    keeps: bool = False  # all content, for a long time

    def both(self, act: Callable[[Engine], Any]) -> Any:
        """Do it with both, and see that it is the same."""
        first, second = [act(one) for one in self.pair]
        if isinstance(first, Failed) and isinstance(second, Failed):
            assert first.code == second.code
        else:
            assert first == second
        return first

    def hear(self, event: Event) -> None:
        """Something has happened, and may be reacted to."""
        match event:
            case Asked(stream=number):
                self.rows[number] = Row()
                if not self.keeps and self.random.random() < 0.1:
                    self.cut(number, self.random.random() < 0.7)
                elif self.random.random() < 0.1:
                    self.both(lambda one: one.respond(number, 100, (), False))
            case Data(stream=number, length=length):
                self.held[number] = self.held.get(number, 0) + length
                if not self.keeps and self.random.random() < 0.5:
                    self.consume(number)
            case Ended(stream=number) if number in self.rows:
                self.rows[number].complete = True
                self._over(number)
            case Reset(stream=number):
                self.rows.pop(number, None)
        is_last = not isinstance(event, Asked | Data)  # of its frame: behind others there may be `Ended`
        if is_last and not self.keeps and self.random.random() < 0.3:
            self.act()

    def act(self) -> None:
        """Something of its own accord."""
        random = self.random
        for number in random.sample(sorted(self.rows), min(len(self.rows), 2)):
            self._answer(number)
        choice = random.random()
        if choice < 0.1 and self.held:
            self.consume(random.choice(sorted(self.held)))
        elif choice < 0.13:
            self.both(lambda one: one.ping())
        elif choice < 0.15:
            last = random.choice([LARGEST, self.pair[0].last_stream])
            self.both(lambda one: one.goaway(last, NO_ERROR))
        elif choice < 0.17 and self.rows:
            self.cut(random.choice(sorted(self.rows)), random.random() < 0.5)

    def consume(self, number: int) -> None:
        """What came on a stream is used; the stream may be gone."""
        length = self.held.pop(number, 0)
        self.both(lambda one: one.consumed(number, length))

    def cut(self, number: int, blamed: bool) -> None:
        """Reset a stream."""
        del self.rows[number]
        if blamed:
            self.both(lambda one: one.reset_for(number, REFUSED_STREAM))
        else:
            self.both(lambda one: one.reset(number, REFUSED_STREAM))

    def _answer(self, number: int) -> None:
        random, row = self.random, self.rows[number]
        if row.answered:
            return
        ended = random.random() < 0.5
        if not row.responded and random.random() < 0.1:
            self.both(lambda one: one.respond(number, 100, (), False))
        elif not row.responded:
            row.responded = True
            status, fields = random.choice([200, 200, 204, 404, 599]), self._fields()
            self.both(lambda one: one.respond(number, status, fields, ended))
            row.answered = ended
        else:
            room = self.both(lambda one: one.may_send(number))
            data = bytes(max(0, min(room, random.choice([0, 1, 100, 16_384]))))
            self.both(lambda one: one.send(number, data, ended))
            row.answered = ended
        self._over(number)

    def _fields(self) -> list[tuple[bytes, bytes]]:
        random = self.random
        if random.random() < 0.5:
            return self.usual  # the fields of an answer, again and again
        names = [b"server", b"date", b"content-type", b"content-length", b"set-cookie", b"x-new", b"etag", b"vary"]
        values = [b"switchd", b"text/html", b"6", b"a=b", b"x" * 90]
        found = [(name, random.choice(values)) for name in random.sample(names, random.randrange(len(names)))]
        if random.random() < 0.02:
            return [*found, (b"x-long", b"x" * random.choice([1100, 5000, 40_000]))]
        self.usual = found
        return found

    def _over(self, number: int) -> None:
        if self.rows[number].answered and self.rows[number].complete:
            del self.rows[number]

    def check(self) -> None:
        """What can be asked."""
        self.both(lambda one: (one.last_stream, one.failed))
        for number in self.rows:
            self.both(lambda one, number=number: one.may_send(number))  # type: ignore[misc]


class Reader:
    """What a client understands of an engine's output."""

    def __init__(self) -> None:
        self._decoder = Decoder(1 << 20)
        self._block: list[bytes] = []
        self.sizes: list[int] = []

    def read(self, data: bytes) -> list[object]:
        """Each frame: kind, stream, and what it says."""
        found: list[object] = []
        for form, _ in forms(data):
            if form.kind in (HEADERS, CONTINUATION):
                found += self._fields(form)
            elif form.kind == SETTINGS:
                found.append((form.kind, form.flags, self._settings(form)))
            else:
                found.append(form)
        return found

    def _fields(self, form: Form) -> list[object]:
        self._block.append(form.payload)
        if form.kind == HEADERS:
            self._ended = form.flags & END_STREAM
        if not form.flags & END_HEADERS:
            return []
        block, self._block = b"".join(self._block), []
        fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        return [(HEADERS, form.stream, self._ended, fields)]

    def _settings(self, form: Form) -> dict[int, int]:
        """With their defaults; the client's own are in force from the acknowledgement on."""
        if form.flags & ACK:
            size = self.sizes.pop(0)
            if size >= 0:
                self._decoder.max_allowed_table_size = size
            return {}
        told = {HEADER_TABLE_SIZE: 4096, frames.ENABLE_PUSH: 0, MAX_FRAME_SIZE: 16_384, 8: 0}
        for at in range(0, len(form.payload), 6):
            told[int.from_bytes(form.payload[at : at + 2], "big")] = int.from_bytes(
                form.payload[at + 2 : at + 6], "big"
            )
        return told


# A session


def session(random: Random) -> tuple[bytes | None, bytes]:
    """The payload of `HTTP2-Settings`, and what a client sends."""
    client = Client(random)
    choice = random.random()
    if choice < 0.002:
        return None, HELLO + without_exceptions(PREFACE + flood(random))[len(PREFACE) :]
    if choice < 0.003:
        return None, HELLO + cuts(1100)
    if choice < 0.015:
        return None, HELLO + filled(random)
    upgrade = client.settings()[9:] if choice < 0.15 else None
    if upgrade is not None:
        client._next, client._opened, client._ended = 3, [1], {1}
    whole = client.hello() + b"".join(client.frames() for _ in range(random.randrange(40)))
    return upgrade, without_exceptions(whole)


def sizes(data: bytes) -> list[int]:
    """For each SETTINGS frame in it that is acknowledged, the size of the table, or -1."""
    found = []
    for form, _ in forms(data[len(PREFACE) :]):
        if form.kind == SETTINGS and not form.flags & ACK:
            pairs = [form.payload[at : at + 6] for at in range(0, len(form.payload), 6)]
            of = [int.from_bytes(pair[2:], "big") for pair in pairs if pair[:2] == b"\0\1"]
            found.append(of[-1] if of else -1)
    return found


def compare(seed: int) -> None:
    """Run one session with both engines.

    Raises:
        AssertionError: They are not the same.
    """
    random = Random(seed)
    clock = Clock()
    upgrade, data = session(random)
    pair = tuple(engine.named(name)(100, HEADER_BYTES, clock.seconds) for name in engine.NAMES)
    readers = Reader(), Reader()
    for reader in readers:
        reader.sizes = sizes(data)
    server = Server(random, pair, keeps=len(data) > FULL and random.random() < 0.7)
    server.both(lambda one: one.start(upgrade))
    if upgrade is not None:
        server.rows[1] = Row(complete=True)
        for reader in readers:
            reader._decoder.max_allowed_table_size = LARGEST
    longest = random.choice([1, 20, 1000, len(data) + 1] if len(data) < MUCH else [1000, MUCH, len(data)])
    while data and not pair[0].failed:
        end = random.randint(1, longest) if longest > 1 else 1
        piece, data = data[:end], data[end:]
        _receive(server, piece)
        if not pair[0].failed:
            _between(server, clock)
        if random.random() < 0.5 or pair[0].failed:
            _same_output(pair, readers)
    _same_output(pair, readers)


def _receive(server: Server, piece: bytes) -> None:
    """Both engines go on in step, since what is done about an event comes before the next."""
    first, second = [one.receive(piece) for one in server.pair]
    while True:
        ours, theirs = next(first, None), next(second, None)
        if isinstance(ours, Failed) and isinstance(theirs, Failed):
            assert ours.code == theirs.code, (ours, theirs)
        else:
            assert ours == theirs, (ours, theirs)
        if ours is None:
            return server.check() if not server.pair[0].failed else None
        if not server.pair[0].failed:
            server.hear(ours)


def _between(server: Server, clock: Clock) -> None:
    for _ in range(0 if server.keeps else server.random.choice([0, 1, 3])):
        if not server.pair[0].failed:
            server.act()
    clock.advance(server.random.choice([0, 0, 0.01, 5]))


def _same_output(pair: tuple[Engine, ...], readers: tuple[Reader, Reader]) -> None:
    ours, theirs = (reader.read(one.take_output()) for one, reader in zip(pair, readers, strict=True))
    assert ours == theirs, (ours, theirs)


def main() -> None:
    """Run many."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    chosen = parser.parse_args()
    for seed in range(chosen.seed, chosen.seed + chosen.sessions):
        try:
            compare(seed)
        except Exception:
            print(f"session {seed}", file=sys.stderr)
            raise
    print(f"{chosen.sessions} sessions from {chosen.seed} on: the same")


if __name__ == "__main__":
    main()
