"""One stream of an HTTP/2 connection: what waits in either direction, and who is told so.

What it is for, says what is built on it: a request and its answer (`exchange`), or a connection of its own (`tunnel`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IPushProducer
from zope.interface import implementer

from switchd import engine, frames
from switchd.deadlines import Timer
from switchd.interfaces import Header
from switchd.transports.backlog import Backlog

QUEUE_BYTES = 65536
"""How much waits for the peer before its producer is paused; as with a transport of Twisted's."""


class Queue:
    """Bytes that wait, in the pieces in which they came."""

    __slots__ = ("_first", "_others", "size")

    def __init__(self) -> None:
        self._first: bytes | memoryview = b""
        self._others: deque[bytes] | None = None  # an empty one takes more memory than all the rest of a stream
        self.size = 0

    def append(self, data: bytes) -> None:
        """More."""
        kept = data if type(data) is bytes else bytes(memoryview(data))  # which its owner may still change
        if not self.size:
            self._first = kept
        elif self._others is None:
            self._others = deque([kept])
        else:
            self._others.append(kept)
        self.size += len(kept)

    def take(self, room: int) -> bytes:
        """The first `room` bytes, or all that there are."""
        if self._others is None and self.size <= room:
            first, self._first, self.size = self._first, b"", 0
            return first if type(first) is bytes else bytes(first)
        taken = []
        while self.size and room:
            piece = self._first
            if len(piece) > room:
                view = memoryview(piece)
                self._first = view[room:]  # a view, so that a long answer is copied once only
                piece = view[:room]
            else:
                self._first = self._others.popleft() if self._others else b""
            taken.append(piece)
            room -= len(piece)
            self.size -= len(piece)
        if not self._others:
            self._others = None
        return b"".join(taken)

    def clear(self) -> None:
        """Forget them."""
        self._first, self._others, self.size = b"", None, 0


class Held:
    """What has come and is not wanted yet: one piece of bytes, in however many frames it came.

    Attributes:
        data: The bytes.
        length: How much that is as windows count it, with padding.
        end: What came behind them, if it has.
    """

    __slots__ = ("data", "end", "length")

    def __init__(self) -> None:
        self.data = bytearray()
        self.length = 0
        self.end: engine.Ended | None = None


class Connection(Protocol):
    """What a stream needs of the connection that it is in.

    Attributes:
        engine: The frames.
        reactor: The clock.
        addresses: The peer's, and the one at our end.
        secure: Whether it is encrypted.
    """

    engine: engine.Engine
    reactor: Any
    addresses: tuple[IAddress, IAddress]
    secure: bool

    @property
    def buffered_bytes(self) -> int:
        """What may wait to be sent on each stream; 0: any amount."""

    def ready(self, stream: Any) -> None:
        """It has something to send."""

    def closed(self, stream: Any) -> None:
        """It is over."""

    def broken(self, stream: Any) -> None:
        """The peer has broken a rule on it, as its content shows: it is to be reset and lost."""

    def flush_soon(self) -> None:
        """Something is to be sent at the end of this turn."""


@implementer(IPushProducer)
class Stream(ABC):
    """A stream.

    Whatever of the application is called from here may fail, write, finish or cut the stream while it is called.

    Args:
        session: The connection.
        number: Its number.

    Attributes:
        id: Its number.
        open: Whether anything can still be sent on it.
        producer: Who is asked for more as there is room; None: nobody.
        streamingProducer: Whether that is a push producer.
        has_overflowed: Whether more was waiting to be sent than may.
    """

    __slots__ = (
        "_backlog",
        "_complete",
        "_head",
        "_held",
        "_paused",
        "_pull_again",
        "_queue",
        "_session",
        "_wanted",
        "has_overflowed",
        "id",
        "open",
        "producer",
        "streamingProducer",
    )

    buffered_bytes: int | None = None
    """How much may wait to be sent; over it, the stream is reset. 0: any amount; None: what its connection allows."""

    is_patient = False
    """Whether it is no sign of a dead peer that this stream waits for its window."""

    def __init__(self, session: Any, number: int) -> None:
        self.id = number
        self.open = True
        self.producer: Any = None
        self.streamingProducer = False
        self.has_overflowed = False
        self._session = session
        self._held: Held | None = None
        self._wanted = True
        self._complete = False  # the peer has ended its side
        self._head: tuple[int, tuple[Header, ...]] | None = None  # of what we send, until it is sent
        self._queue = Queue()
        self._paused = False
        self._pull_again: Timer | None = None
        self._backlog: Backlog | None = None

    def getPeer(self) -> Any:
        """The peer's address."""
        return self._session.addresses[0]

    def getHost(self) -> Any:
        """The address at our end."""
        return self._session.addresses[1]

    # What comes

    def received(self, part: engine.Data) -> None:
        """Part of its content."""
        if self._wanted and self._held is None:
            self._session.engine.consumed(self.id, part.length)
            self._take_content(part.data)
        else:
            held = self._held = self._held or Held()
            held.data += part.data
            held.length += part.length
            # Else a few streams that hold something would stop all the others of the connection.
            self._session.engine.kept(part.length)

    def ended(self, end: engine.Ended) -> None:
        """Its end."""
        self._complete = True
        if self._wanted and self._held is None:
            self._take_end(end)
        else:
            self._held = self._held or Held()
            self._held.end = end

    def _take_held(self) -> None:
        while self._wanted and self._held is not None:
            data, end = self._let_go(self._held), self._held.end
            if data:
                self._take_content(data)
            else:
                self._held = None
                if end is not None:
                    self._take_end(end)

    def _let_go(self, held: Held) -> bytes:
        """The bytes that are held, which are not any more."""
        self._session.engine.used(self.id, held.length)
        data, held.data, held.length = bytes(held.data), bytearray(), 0
        return data

    @abstractmethod
    def _take_content(self, data: bytes) -> None:
        """What has come, and is wanted."""

    @abstractmethod
    def _take_end(self, end: engine.Ended) -> None:
        """Likewise the end."""

    def pauseProducing(self) -> None:
        """Hold what comes. The peer may send no more than its window, and the other streams do not notice."""
        self._wanted = False

    def resumeProducing(self) -> None:
        """Take it again."""
        self._wanted = True
        self._take_held()
        self._session.flush_soon()

    @abstractmethod
    def stopProducing(self) -> None:
        """No more of it is wanted: see `IProducer`."""

    # What is sent

    def write(self, data: bytes) -> None:
        """Send this, as the windows allow."""
        if data and self.open:
            queue = self._queue
            if not queue.size and self._head is None:  # else something waits, and the session knows of it
                self._session.ready(self)
            queue.append(data)
            if queue.size > QUEUE_BYTES:
                self._pile_up()

    def _pile_up(self) -> None:
        """More waits than should, or even more than may."""
        if self.streamingProducer and not self._paused:
            self._paused = True
            self._call(self.producer.pauseProducing)
        most = self._session.buffered_bytes if self.buffered_bytes is None else self.buffered_bytes
        if not 0 < most < self._queue.size:
            return
        if self._backlog is None or self._backlog.is_over:
            self._backlog = Backlog(self._session.reactor, most, self._unsent, self._give_up)
        else:
            self._backlog.grow()

    def _unsent(self) -> int:
        return self._queue.size

    def _give_up(self) -> None:
        self.has_overflowed = True
        self._overflow()

    @abstractmethod
    def _overflow(self) -> None:
        """End it, since more waits than may, and the peer does not take it."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self.open:
            self.producer, self.streamingProducer, self._paused = producer, streaming, False
            self._want_more()
        else:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self.producer, self.streamingProducer, self._paused = None, False, False

    @property
    def waits(self) -> bool:
        """Whether something can be sent, windows permitting."""
        return self.open and (self._head is not None or self._queue.size > 0 or self._is_done())

    def goes_on(self) -> bool:
        """Whether content is left behind a frame that was sent. Of anything else to send the session is told."""
        return self._queue.size > 0

    def send_frame(self) -> int | None:
        """Send a frame of content, after the head. How much of the content that was; None if a window is closed."""
        queue, session = self._queue, self._session
        if self._head is not None:
            (status, headers), self._head = self._head, None
            is_all = not queue.size and self._is_done()
            session.engine.respond(self.id, status, headers, is_all)
            if is_all:
                self._sent()
                return 0
        if not queue.size:
            if self.open and self._is_done():
                session.engine.send(self.id, b"", True)
                self._sent()
            return 0
        room = session.engine.may_send(self.id)
        if room <= 0:
            return None
        data = queue.take(room)
        is_all = not queue.size and self._is_done()
        session.engine.send(self.id, data, is_all)
        if is_all:
            self._sent()
        if self.producer is not None and (self._paused or not self.streamingProducer):
            self._want_more()
        return len(data)

    @abstractmethod
    def _is_done(self) -> bool:
        """Whether nothing will be written any more."""

    @abstractmethod
    def _sent(self) -> None:
        """Everything is."""

    def _want_more(self) -> None:
        """Have the producer go on if little waits. One that has nothing when it is asked is asked again next turn."""
        if self._paused and self._queue.size <= QUEUE_BYTES // 2:
            self._paused = False
            # As a frame is shorter than that, something is left to send: an end that has waited for this comes with it.
            self._call(self.producer.resumeProducing)
        if self._pull_again is None and self._pulls:
            self._pull_again = Timer(self._session.reactor)
        while self._pulls and self._pull_again is not None and not self._pull_again.runs:
            before = self._queue.size
            self._call(self.producer.resumeProducing)
            if self._queue.size == before and self._pulls:
                self._pull_again.start(0, self._want_more)

    @property
    def _pulls(self) -> bool:
        return self.producer is not None and not self.streamingProducer and self._queue.size <= QUEUE_BYTES // 2

    # The end

    @abstractmethod
    def cut(self, code: int) -> None:
        """End it with a reset."""

    def _close(self) -> None:
        """It is over, for the connection too."""
        self.open = False
        self._queue.clear()
        if self._backlog is not None:
            self._backlog.stop()
        self._held = None
        self._session.closed(self)

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call the application: if that fails it is this stream's end, and not that of the others."""
        try:
            function(*arguments)
        except Exception:
            self._failed()
            self.cut(frames.INTERNAL_ERROR)

    @abstractmethod
    def _failed(self) -> None:
        """Log what the application has raised."""
