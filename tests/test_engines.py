"""The engines of HTTP/2 side by side (`tests.engines`), and by themselves where they are to be different."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from switchd import engine
from switchd.engine import Asked, Engine, Event, Failed
from tests import engines, frames
from tests.frames import (
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    GET,
    HAS_PRIORITY,
    HEADERS,
    HELLO,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PROTOCOL_ERROR,
    block,
    data,
    raw,
    reset,
    update,
)

SESSIONS = int(os.environ.get("SWITCHD_SESSIONS", "300"))
"""How many are compared: a few seconds; many more by `python -m tests.engines`."""


def new(name: engine.Name) -> Engine:
    made = engine.named(name)(100, 16_384, Clock().seconds)
    made.start()
    return made


@pytest.mark.parametrize("tenth", range(10))
def test_they_say_the_same_whatever_a_client_sends(tenth: int) -> None:
    for seed in range(tenth, SESSIONS, 10):
        engines.compare(seed)


# Exceptions

LAST = END_STREAM | END_HEADERS


@pytest.mark.parametrize(
    ("frame", "exception", "lean", "h2"),
    [
        pytest.param(
            raw(HEADERS, 1, b"\x03" + bytes(3), LAST | PADDED), 0, None, PROTOCOL_ERROR, id="nothing but padding"
        ),
        pytest.param(
            raw(HEADERS, 1, b"\x06" + bytes(5) + b"\x82\x84", LAST | PADDED | HAS_PRIORITY),
            0,
            PROTOCOL_ERROR,
            None,
            id="padding that reaches into the priority",
        ),
        pytest.param(
            frames.settings((INITIAL_WINDOW_SIZE, 1 << 31), (INITIAL_WINDOW_SIZE, 5)),
            1,
            FLOW_CONTROL_ERROR,
            None,
            id="a wrong setting and then a right one",
        ),
    ],
)
def test_where_they_are_different(frame: bytes, exception: int, lean: int | None, h2: int | None) -> None:
    ((form, _), _) = engines.forms(frame)
    assert [excepted(form) for excepted in engines.EXCEPTIONS].index(True) == exception
    for name, code in zip(engine.NAMES, (lean, h2), strict=True):
        last = list(new(name).receive(HELLO + frame))[-1]
        assert (last.code if isinstance(last, Failed) else None) == code


@pytest.mark.parametrize(
    "frame",
    [
        frames.headers(1),
        raw(HEADERS, 1, b"\x03" + block(GET) + bytes(3), LAST | PADDED),
        raw(HEADERS, 1, b"\xff" + block(GET), LAST | PADDED),
        raw(HEADERS, 1, bytes(5) + block(GET), LAST | HAS_PRIORITY),
        frames.settings((INITIAL_WINDOW_SIZE, 5)),
        raw(frames.SETTINGS, payload=bytes(5)),
    ],
)
def test_other_frames_are_no_exceptions(frame: bytes) -> None:
    assert engines.without_exceptions(HELLO + frame + data(1)) == HELLO + frame + data(1)


# Any bytes at all

KINDS = st.one_of(st.integers(0, 10), st.integers(0, 255))
BLOCKS = st.one_of(
    st.sampled_from([block(GET), block(frames.request((b":method", b"POST"), (b"content-length", b"3"))), b""]),
    st.binary(max_size=40),
)
ANY = st.builds(raw, KINDS, st.integers(0, 9), st.binary(max_size=20), st.integers(0, 255))
FRAMES = st.one_of(
    ANY,
    st.builds(raw, st.just(frames.HEADERS), st.integers(0, 9), BLOCKS, st.sampled_from([0, 1, 4, 5, 0x2D])),
    st.builds(raw, st.just(frames.CONTINUATION), st.integers(0, 9), BLOCKS, st.sampled_from([0, END_HEADERS])),
    st.builds(data, st.integers(0, 9), st.binary(max_size=9), st.sampled_from([0, END_STREAM, PADDED])),
    st.builds(update, st.integers(0, 9), st.sampled_from([0, 1, 1 << 30, (1 << 31) - 1, (1 << 32) - 1])),
    st.builds(reset, st.integers(0, 9), st.integers(0, 20)),
    st.builds(frames.priority, st.integers(0, 9), st.integers(0, 9)),
    st.builds(lambda key, value: frames.settings((key, value)), st.integers(0, 10), st.integers(0, (1 << 32) - 1)),
)
SESSIONS_OF_ANY = st.lists(FRAMES, max_size=12).map(b"".join)


@settings(max_examples=600, deadline=None)
@given(name=st.sampled_from(engine.NAMES), session=SESSIONS_OF_ANY, cut=st.integers(1, 60), answers=st.booleans())
def test_any_bytes_mean_the_same_however_they_are_cut(
    name: engine.Name, session: bytes, cut: int, answers: bool
) -> None:
    """And all that can come of them are events: nothing is raised, also where streams are answered."""

    def outcome(segments: list[bytes]) -> tuple[list[Event], bytes]:
        made = new(name)
        found = list(made.receive(HELLO))
        for segment in segments:
            for event in made.receive(segment):
                found.append(event)
                if answers and isinstance(event, Asked):
                    made.respond(event.stream, 200, [], event.stream == 3)
            if made.failed:
                break
        return found, made.take_output()

    whole = outcome([session])
    assert whole == outcome([session[at : at + 1] for at in range(len(session))])
    assert whole == outcome([session[at : at + cut] for at in range(0, len(session), cut)])
