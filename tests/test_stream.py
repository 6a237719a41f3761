"""What waits in a stream. What becomes of it, `test_http2` and `test_tunnel` hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from switchd.stream import Queue


@given(some.lists(some.binary(min_size=1, max_size=9) | some.integers(0, 12)))
def test_bytes_leave_a_queue_in_their_order_and_as_many_as_there_is_room_for(steps: list[bytes | int]) -> None:
    queue, waiting = Queue(), b""
    for step in steps:
        if isinstance(step, bytes):
            queue.append(step)
            waiting += step
        else:
            assert queue.take(step) == waiting[:step]
            waiting = waiting[step:]
        assert queue.size == len(waiting)
    assert queue.take(queue.size) == waiting


def test_what_its_owner_changes_afterwards_waits_as_it_was() -> None:
    queue, changing = Queue(), bytearray(b"first")
    queue.append(changing)  # type: ignore[arg-type]  # as with a transport of Twisted's
    changing[:] = b"other"
    taken = queue.take(3) + queue.take(3)
    assert (taken, type(taken)) == (b"first", bytes)


def test_a_queue_can_be_used_again_when_it_has_been_cleared() -> None:
    queue = Queue()
    for _ in range(2):
        queue.append(b"ab")
        queue.append(b"cd")
        assert queue.take(3) == b"abc"
        queue.clear()
        assert (queue.size, queue.take(3)) == (0, b"")
