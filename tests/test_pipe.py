"""A connection with standard input and output at its other end, in memory: both are wires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from switchd.pipe import CLOSE_SECONDS, Pipe
from switchd.testing import Wire
from tests.wires import TLSWire, one

MUCH = b"x" * 100_000


class Piped:
    """A pipe between `wire`, the connection, and `console`, standard input and output."""

    def __init__(self, kind: Callable[..., Wire] = Wire, wait: float = 2) -> None:
        self.clock = Clock()
        self.ends: list[Any] = []
        pipe = Pipe(self._attach, self.clock, wait)
        pipe.ended.addBoth(self.ends.append)
        self.wire = kind(one(lambda: pipe), self.clock)

    def _attach(self, protocol: IProtocol) -> Any:
        self.console = Wire(protocol, self.clock)
        return self.console.transport

    def turn(self) -> None:
        self.wire.turn()
        self.console.turn()


@pytest.fixture(params=[Wire, TLSWire], ids=["clear", "tls"])
def piped(request: pytest.FixtureRequest) -> Piped:
    return Piped(request.param)


def test_what_is_typed_goes_to_the_connection(piped: Piped) -> None:
    piped.console.send(b"41\n")
    piped.turn()
    assert piped.wire.received == b"41\n"


def test_what_comes_over_the_connection_is_written_out(piped: Piped) -> None:
    piped.wire.send(b"42\n")
    piped.turn()
    assert piped.console.received == b"42\n"


def test_the_end_of_input_half_closes_the_connection() -> None:
    piped = Piped()
    piped.console.send(b"41\n")
    piped.console.half_close()
    piped.turn()
    assert (piped.wire.received, piped.wire.transport.sent_eof, piped.wire.closed) == (b"41\n", True, False)
    piped.wire.send(b"42\n")
    piped.wire.half_close()
    piped.turn()
    assert piped.console.received == b"42\n"
    assert piped.ends == [None]


def test_the_end_of_input_half_closes_also_when_the_input_had_to_wait() -> None:
    piped = Piped()
    piped.wire.stop_reading()
    piped.console.send(MUCH)
    assert not piped.console.transport.reading
    piped.console.half_close()
    piped.wire.resume_reading()
    piped.turn()
    assert (piped.wire.received, piped.wire.transport.sent_eof) == (MUCH, True)


def test_in_tls_the_connection_is_closed_after_a_time_without_output() -> None:
    piped = Piped(TLSWire, wait=2)
    piped.console.half_close()
    for _ in range(3):
        piped.clock.advance(1.9)
        piped.wire.send(b"42\n")
    assert piped.ends == []
    piped.clock.advance(2)
    piped.turn()
    assert piped.console.received == b"42\n" * 3
    piped.wire.half_close()
    assert piped.ends == [None]
    assert piped.clock.getDelayedCalls() == []


def test_in_tls_a_server_that_says_no_goodbye_is_not_waited_for() -> None:
    piped = Piped(TLSWire, wait=2)
    piped.wire.stop_reading()
    piped.console.half_close()
    piped.clock.advance(2)
    piped.clock.advance(CLOSE_SECONDS)
    piped.turn()
    assert piped.ends == [None]


def test_input_waits_for_a_server_that_does_not_read() -> None:
    piped = Piped()
    piped.wire.stop_reading()
    piped.console.send(MUCH)
    assert not piped.console.transport.reading
    piped.wire.resume_reading()
    assert piped.console.transport.reading
    assert piped.wire.received == MUCH


def test_the_server_waits_for_an_output_that_is_not_read() -> None:
    piped = Piped()
    piped.console.stop_reading()
    piped.wire.send(MUCH)
    assert not piped.wire.transport.reading
    piped.console.resume_reading()
    assert piped.wire.transport.reading
    assert piped.console.received == MUCH


def test_the_end_of_the_connection_is_the_end_when_everything_is_written_out() -> None:
    piped = Piped()
    piped.console.stop_reading()
    piped.wire.send(b"42\n")
    piped.wire.half_close()
    assert piped.ends == []
    piped.console.resume_reading()
    assert piped.console.received == b"42\n"
    assert piped.ends == [None]


def test_a_lost_connection_is_an_error_after_everything_is_written_out(piped: Piped) -> None:
    piped.wire.send(b"42\n")
    piped.wire.transport.connectionLost(Failure(ConnectionLost()))
    piped.turn()
    assert piped.console.received == b"42\n"
    assert piped.ends[0].check(ConnectionLost)


def test_an_output_that_nobody_reads_any_more_ends_the_connection(piped: Piped) -> None:
    piped.console.transport.protocol.writeConnectionLost()  # as StandardIO tells of a closed pipe
    piped.turn()
    assert piped.wire.closed
    assert piped.ends[0].check(BrokenPipeError)


def test_without_standard_output_there_is_an_error() -> None:
    def attach(protocol: IProtocol) -> Any:
        raise OSError("closed")

    ends: list[Any] = []
    pipe = Pipe(attach, Clock(), 2)
    pipe.ended.addBoth(ends.append)
    with pytest.raises(OSError, match="closed"):
        Wire(pipe)
    pipe.connectionLost(Failure(OSError("closed")))
    assert ends[0].check(OSError)
