"""One promise for any bytes: they are answered or waited with, the same for any cut, and nothing of ours fails."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from switchd.testing import Wire
from tests.conftest import FailureObserver
from tests.serving import Accepts, Site

PIECES = [
    b"GET ",
    b"POST ",
    b"OPTIONS * ",
    b"CONNECT a:1 ",
    b"/shout ",
    b"/ ",
    b"http://h/shout ",
    b"HTTP/1.1\r\n",
    b"HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"Connection: upgrade\r\n",
    b"Connection: close, Upgrade\r\n",
    b"Upgrade: shout\r\n",
    b"Upgrade: other, SHOUT/1\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 99999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: x\r\n",
    b"Content-Type: multipart/form-data; boundary=x\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"abc",
    b"\0",
    b"\x16\x03\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]
FULL = b"GET /shout HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n"
streams = st.one_of(
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=20).map(b"".join),
    # Near a request that is right: one with something put in somewhere.
    st.builds(
        lambda at, what: FULL[:at] + what + FULL[at:],
        st.integers(0, len(FULL)),
        st.sampled_from([*PIECES, b"\r", b"\xff"]),
    ),
)


def received(segments: list[bytes]) -> tuple[bytes, bool]:
    site = Site({"/shout": Accepts()}, settings="limits.body_bytes = 100\nlimits.head_bytes = 1024")
    wire: Wire = site.connect()
    for segment in segments:
        wire.send(segment)
    answer = wire.received, wire.transport.sent_eof
    for _ in range(4):  # idle or head, linger, close
        wire.clock.advance(1_000)
        wire.turn()
    assert wire.closed or b"101 Switching" in wire.received, "every wait of HTTP ends"
    wire.reset()
    assert site.factory.connections == set()
    assert wire.clock.getDelayedCalls() == []
    return answer


# Of a form that is none, the parser that twisted.web uses leaves a temporary file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream=streams, cut=st.integers(1, 40))
def test_any_bytes_are_answered_the_same_however_they_are_cut(stream: bytes, cut: int) -> None:
    observer = FailureObserver()
    globalLogPublisher.addObserver(observer)
    try:
        whole = received([stream] if stream else [])
        bytewise = received([stream[index : index + 1] for index in range(len(stream))])
        pieces = received([stream[index : index + cut] for index in range(0, len(stream), cut)])
    finally:
        globalLogPublisher.removeObserver(observer)
    assert whole == bytewise == pieces
    assert observer.found == []
