"""Back-pressure between a WebSocket and its transport.

Twisted's transports keep whatever is written to them. Here what waits for a peer is bounded: as soon as the transport
is full (64 KiB in Twisted's), reading from that peer stops, the handler's producer is paused, and further frames wait
in a queue of `max_bytes` at most. Queued frames are references, so that one message for many readers is there once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Any

from twisted.internet.interfaces import IPushProducer, ISSLTransport
from zope.interface import implementer

GATHERED_BYTES = 65536
"""How much is gathered at most: what the transport takes before it says that it is full."""


@implementer(IPushProducer)
class Flow(ABC):
    """What stands between one WebSocket and its transport, as the transport's producer.

    Args:
        transport: The transport; it is full and drained as its `registerProducer` says.
        reactor: The clock.
        max_bytes: What may wait here.
        seconds: How long the transport may take nothing while something waits; 0: for ever.

    Attributes:
        full: Whether the transport takes nothing now.
        gathered: What has been written since `gather`; None: everything is written at once.
        open: Whether input is looked at: there is room for what it may bring about, and the protocol wants it.
    """

    __slots__ = (
        "_gathered_bytes",
        "_held",
        "_max_bytes",
        "_producer",
        "_queue",
        "_queued",
        "_reactor",
        "_seconds",
        "_timer",
        "_transport",
        "full",
        "gathered",
        "open",
    )

    def __init__(self, transport: Any, reactor: Any, max_bytes: int, seconds: float) -> None:
        self.full = False
        self.open = True
        self._held = False
        self._transport = transport
        self._reactor = reactor
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._queue: deque[bytes] | None = None
        self._queued = 0
        self.gathered: list[bytes] | None = None
        self._gathered_bytes = 0
        self._timer: Any = None
        self._producer: Any = None
        transport.registerProducer(self, True)

    # Said by a subclass, which knows whom it is for: bound methods kept for each connection would take memory

    @abstractmethod
    def too_slow(self, why: str) -> None:
        """More would wait than may, or those seconds have passed."""

    @abstractmethod
    def ready(self) -> None:
        """There is room again, and input may be looked at."""

    # Output

    def gather(self) -> None:
        """Keep what is written until `flush`, to give it to the transport in one piece."""
        if self.gathered is None:
            self.gathered = []

    def flush(self) -> None:
        """See `gather`."""
        gathered, self.gathered = self.gathered, None
        self._gathered_bytes = 0
        if gathered:
            self._transport.write(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def hurry(self) -> None:
        """Send what is gathered so far."""
        if self.gathered:
            self.flush()
            self.gather()

    def write(self, data: bytes) -> None:
        """Send, or queue."""
        if self.full:
            self._hold_back(data)
        elif self.gathered is None:
            self._transport.write(data)
        else:
            self.gathered.append(data)
            self._gathered_bytes += len(data)
            if self._gathered_bytes > GATHERED_BYTES:
                self.flush()
                self.gather()

    def write_apart(self, header: bytes, payload: bytes) -> None:
        """Send or queue a frame that is so long that to join its parts would take longer than to write them."""
        if self.full:
            self._hold_back(header + payload)
        else:
            self.hurry()
            self._transport.write(header)
            self._transport.write(payload)

    def _hold_back(self, data: bytes) -> None:
        if self.reserve(len(data)):
            if self._queue is None:
                self._queue = deque()
            self._queue.append(data)

    def reserve(self, size: int) -> bool:
        """Count bytes that are to wait, here or elsewhere. False: so many may not."""
        if self._queued + size > self._max_bytes:
            self.too_slow(f"more than {self._max_bytes} bytes wait for it")
            return False
        self._queued += size
        return True

    def free(self, size: int) -> None:
        """So many of them do not wait elsewhere any more."""
        self._queued -= size

    def drop(self) -> None:
        """Forget what waits here; the transport still sends what it has."""
        self._queue = None
        self._queued = 0

    def hold(self) -> None:
        """The protocol wants no input for now."""
        self._held, self.open = True, False
        self._transport.pauseProducing()

    def release(self) -> None:
        """It wants input again, which it gets in a later turn."""
        self._held = False
        if not self.full:
            self.open = True
            self._transport.resumeProducing()
            self._reactor.callLater(0, self._go_on)

    def register(self, producer: Any, streaming: bool) -> None:
        """Pause and resume `producer` as there is room; one that is not `streaming` is asked for each piece."""
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered already")
        self._producer = producer if streaming else _Pulled(producer, self._reactor)
        if not streaming:
            self._producer.resumeProducing()
        if self.full:
            self._producer.pauseProducing()

    def unregister(self) -> None:
        """See `register`."""
        producer, self._producer = self._producer, None
        if isinstance(producer, _Pulled):
            producer.pauseProducing()

    # IPushProducer: called by the transport

    def pauseProducing(self) -> None:
        """The transport is full."""
        if not self.full:
            self.full, self.open = True, False
            self._transport.pauseProducing()
            self._wait()
            if self._producer is not None:
                self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport has sent everything."""
        self.full, self.open = False, not self._held
        self._stop_waiting()
        while self._queue and not self.full:
            data = self._queue.popleft()
            self._queued -= len(data)
            self._transport.write(data)
        if self.full:
            return
        if not self._held:
            self._transport.resumeProducing()
        if self._producer is not None:
            self._producer.resumeProducing()
        self._go_on()

    def stopProducing(self) -> None:
        """The connection is lost."""
        if self._producer is not None:
            self._producer.stopProducing()

    # The end

    def close(self) -> None:
        """Close the connection when everything is sent."""
        self._give_everything()
        self._transport.loseConnection()

    def end_output(self) -> None:
        """Say that nothing more comes, and leave the rest to the peer.

        Closing at once would be a reset if the peer is still sending, and that can overtake our last words. Inside TLS
        there is no half-close, and Twisted closes there as soon as the peer has taken leave too.
        """
        self._give_everything()
        if ISSLTransport.providedBy(self._transport) or not hasattr(self._transport, "loseWriteConnection"):
            self._transport.loseConnection()
        else:
            self._transport.resumeProducing()  # what comes is dropped, its end is not
            self._transport.loseWriteConnection()

    def lost(self) -> None:
        """The connection is lost: let go of everything."""
        self._stop_waiting()
        self.unregister()
        self.drop()

    def _give_everything(self) -> None:
        self._stop_waiting()
        self.flush()
        self._transport.unregisterProducer()
        if self._queue:
            self._transport.writeSequence(list(self._queue))
        self.drop()

    def _go_on(self) -> None:
        if self.open:
            self.ready()

    def _wait(self) -> None:
        if self._seconds:
            self._timer = self._reactor.callLater(self._seconds, self._time_is_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        self.too_slow(f"it has read nothing for {self._seconds:g} seconds")


class _Pulled:
    """A pull producer as a push producer: asked once a turn for as long as there is room."""

    def __init__(self, producer: Any, reactor: Any) -> None:
        self._producer = producer
        self._reactor = reactor
        self._next: Any = None

    def pauseProducing(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def resumeProducing(self) -> None:
        if self._next is None:
            self._next = self._reactor.callLater(0, self._ask)

    def stopProducing(self) -> None:
        self.pauseProducing()
        self._producer.stopProducing()

    def _ask(self) -> None:
        # Before asking: asked, it may unregister itself, which ends this.
        self._next = self._reactor.callLater(0, self._ask)
        self._producer.resumeProducing()
