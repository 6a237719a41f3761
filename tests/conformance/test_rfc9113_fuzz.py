"""RFC 9113: one promise for any bytes. They are answered, refused or waited with, nothing of ours fails, and nothing is
left of the connection when it is over: no timer, no stream, no entry among the live connections."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from switchd import engine
from tests import frames
from tests.frames import END_HEADERS, END_STREAM, HELLO, INITIAL_WINDOW_SIZE, PADDED, PREFACE, SETTLED, request
from tests.serving import having

ENGINES = st.sampled_from(engine.NAMES)

LIMITS = """
limits.streams = 3
limits.head_bytes = 300
limits.body_bytes = 20
limits.keepalive_seconds = 60
"""

NUMBERS = st.integers(0, 11)
PATHS = st.sampled_from([b"/", b"/later", b"/many/100000", b"/status/204", b"/status/304", b"*", b"no path"])
FIELDS = st.builds(
    lambda path, method, more: request((b":path", path), (b":method", method), *more),
    PATHS,
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT"]),
    st.lists(
        st.sampled_from(
            [
                (b"content-length", b"3"),
                (b"content-length", b"21"),
                (b"expect", b"100-continue"),
                (b"te", b"gzip"),
                (b"host", b"example.org"),
                (b"content-type", b"multipart/form-data; boundary=x"),
                (b":status", b"100"),
                (b"a", b"x" * 200),
            ]
        ),
        max_size=2,
    ),
)
FLAGS = st.sampled_from([0, END_STREAM, END_HEADERS, END_STREAM | END_HEADERS, 0xFF])
FRAMES = st.one_of(
    st.builds(frames.headers, NUMBERS, FIELDS, st.sampled_from([END_HEADERS, END_STREAM | END_HEADERS])),
    st.builds(frames.headers, NUMBERS, FIELDS, FLAGS),
    st.builds(frames.data, NUMBERS, st.binary(max_size=9), st.sampled_from([0, END_STREAM, PADDED])),
    st.builds(frames.update, NUMBERS, st.sampled_from([0, 1, 10_000, (1 << 31) - 1])),
    st.builds(frames.reset, NUMBERS, st.integers(0, 20)),
    st.builds(frames.priority, NUMBERS, NUMBERS),
    st.builds(lambda value: frames.settings((INITIAL_WINDOW_SIZE, value)), st.sampled_from([0, 10, 1 << 20, 1 << 31])),
    st.sampled_from([SETTLED, frames.ping(), frames.ping(flags=1), frames.goaway(), PREFACE]),
    st.builds(frames.raw, st.integers(0, 255), NUMBERS, st.binary(max_size=20), st.integers(0, 255)),
    st.binary(max_size=12),
)
UPGRADE = (
    b"POST /later HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n\r\nbody"
)


# Of a form that is none, the parser that twisted.web uses leaves a temporary file to the garbage collector.
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hello=st.sampled_from([HELLO, HELLO, UPGRADE + HELLO, b""]),
    session=st.lists(FRAMES, max_size=12).map(b"".join),
    cut=st.integers(1, 400),
    seconds=st.sampled_from([0, 0, 21, 61]),
    http2_engine=ENGINES,
)
def test_any_bytes_end_well(hello: bytes, session: bytes, cut: int, seconds: float, http2_engine: engine.Name) -> None:
    with having(http2_engine), frames.peers() as connect:
        whole, in_pieces = connect(LIMITS, hello), connect(LIMITS, hello)
        whole.send(session)
        for at in range(0, len(session), cut):
            in_pieces.send(session[at : at + cut])
            in_pieces.let_pass(seconds)
        for peer in (whole, in_pieces):
            for request in peer.requests:
                if not request._disconnected and not request.finished:
                    request.write(b"late")
                    request.finish()
            peer.wire.turn()
            for _ in range(6):  # body, idle, ping, stalled, linger
                peer.let_pass(61)
            assert peer.wire.closed, "every wait ends"


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, 400), what=st.binary(min_size=1, max_size=3), put_in=st.booleans(), http2_engine=ENGINES)
def test_a_right_session_with_something_wrong_in_it_ends_well(
    at: int, what: bytes, put_in: bool, http2_engine: engine.Name
) -> None:
    right = (
        HELLO
        + SETTLED
        + frames.opening(1)
        + frames.padded(1, b"body", 3)
        + frames.headers(1, [(b"a", b"b")])
        + frames.headers(3, flags=END_STREAM)
        + frames.raw(frames.CONTINUATION, 3, b"", END_HEADERS)
        + frames.update(0, 7)
        + frames.reset(3)
    )
    at %= len(right)
    wrong = right[:at] + what + right[at if put_in else at + len(what) :]
    with having(http2_engine), frames.peers() as connect:
        whole, bytewise = connect(hello=wrong), connect(hello=b"")
        bytewise.send_each(wrong[index : index + 1] for index in range(len(wrong)))
        for peer in (whole, bytewise):
            for _ in range(6):
                peer.let_pass(61)
            assert peer.wire.closed
