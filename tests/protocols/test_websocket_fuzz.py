"""The same streams three ways: what comes of them is what comes of them in autobahn alone."""

from __future__ import annotations

import os

import pytest

from tests.websocket_streams import Outcome, Quick, Slow, Stream, Writer, by_autobahn, switched, through_switchd

STREAMS = int(os.environ.get("SWITCHD_STREAMS", "400"))
"""How many; `SWITCHD_STREAMS=50000 pytest tests/protocols/test_websocket_fuzz.py` for as many as one likes."""

FIRST = int(os.environ.get("SWITCHD_FIRST_STREAM", "0"))

CHUNK = 50


@pytest.fixture(scope="module")
def ways() -> tuple[object, object]:
    return switched(Quick), switched(Slow)


@pytest.mark.parametrize("first", range(FIRST, FIRST + STREAMS, CHUNK))
def test_what_comes_of_a_stream_does_not_depend_on_the_way(first: int, ways: tuple[object, object]) -> None:
    for seed in range(first, first + CHUNK):
        stream = Writer(seed).stream()
        quick, slow = (through_switchd(way, stream) for way in ways)
        assert quick == slow, seed
        assert comparable(quick) == comparable(by_autobahn(stream)), seed


def comparable(outcome: Outcome) -> object:
    """An outcome, without what switchd does otherwise once it has failed a connection: it looks at nothing any more."""
    failed = outcome.closed[3]
    calls = [call for call in outcome.calls if call[0] != "close"] if failed else outcome.calls
    return outcome.received, calls, outcome.statistics, outcome.closed[: 4 if failed else None]


def test_streams_are_of_all_kinds() -> None:
    streams: list[Stream] = [Writer(seed).stream() for seed in range(200)]
    outcomes = [by_autobahn(stream) for stream in streams]
    codes = {outcome.closed[0] for outcome in outcomes}
    assert codes >= {None, 1000, 1002, 1007, 1009, 4000}
    assert any(outcome.statistics["incomingWebSocketMessages"] > 5 for outcome in outcomes)
    assert any(0 < (outcome.statistics["outgoingCompressionRatio"] or 1) < 0.5 for outcome in outcomes)
