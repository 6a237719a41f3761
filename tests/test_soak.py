"""What the soak would notice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.soak.clients import Conversation
from benchmarks.soak.course import MOST_GROWTH, Course
from benchmarks.soak.crowd import Crowd
from benchmarks.soak.found import Found
from benchmarks.soak.languages import Addone, Language, WebSocket, WrongAnswer
from benchmarks.soak.plan import Plan
from benchmarks.soak.server import Look
from tests.websockets import frame


def of_server(payload: bytes, opcode: int = 2) -> bytes:
    return frame(payload, opcode, masked=False)


class TestLanguages:
    @pytest.mark.parametrize(
        ("make", "answer"),
        [(Addone, b"42\n"), (WebSocket, of_server(b"are you there?")), (lambda: WebSocket(b"x" * 300), None)],
    )
    def test_answers_are_counted_however_they_are_cut(self, make: Callable[[], Language], answer: bytes | None) -> None:
        answers = 3 * (answer or of_server(b"x" * 300))
        for size in (1, 2, 7, len(answers)):
            language = make()
            for start in range(0, len(answers), size):
                assert language.take(answers[start : start + size]) == b""
            assert language.answers == 3

    @pytest.mark.parametrize(
        ("make", "answer"),
        [(Addone, b"43\n"), (WebSocket, of_server(b"I am")), (WebSocket, of_server(b"are you there?", 9 + 3))],
    )
    def test_another_answer_is_wrong(self, make: Callable[[], Language], answer: bytes) -> None:
        with pytest.raises(WrongAnswer):
            make().take(answer)

    def test_a_ping_is_answered(self) -> None:
        assert WebSocket().take(of_server(b"now", 9)) == frame(b"now", 10)

    @pytest.mark.parametrize(("code", "is_goodbye"), [(1001, True), (1011, False)])
    def test_a_goodbye_is_1001_and_is_answered(self, code: int, is_goodbye: bool) -> None:
        language = WebSocket()
        assert language.take(of_server(code.to_bytes(2), 8)) == frame(code.to_bytes(2), 8)
        assert language.has_goodbye is is_goodbye


class TestEnds:
    @pytest.mark.parametrize(
        ("language", "why", "found"),
        [
            (Addone, "", ""),
            (Addone, "reset", "reset"),
            (WebSocket, "", "ended without a goodbye"),
        ],
    )
    def test_an_end_without_a_farewell_is_told(self, language: type[Language], why: str, found: str) -> None:
        async def ended() -> str:
            client = Conversation(language())
            client.ended(why)
            return await client.over

        assert asyncio.run(ended()) == found


class TestComparing:
    @pytest.mark.parametrize(("growth", "fails"), [(MOST_GROWTH, 0), (MOST_GROWTH + 1, 1)])
    def test_memory_that_grows_is_told(self, growth: int, fails: int, tmp_path: Path) -> None:
        course = Course(Plan(), tmp_path, print)
        before, busy, after = (Look(10, memory, 0.0, at) for memory, at in ((0, 0.0), (growth, 60.0), (growth, 90.0)))
        crowd = Crowd(Plan(), None, course.found)  # type: ignore[arg-type]
        crowd.visits = 30_000
        course._compare(before, busy, after, crowd, 1.0)
        assert len(course.found.failures) == fails
        assert ("switches of those that come and go", "30,000: 500 a second") in course.found.figures


class TestFound:
    def test_the_same_again_is_counted(self) -> None:
        found = Found()
        for _ in range(3):
            with found.noting("who comes"):
                raise ConnectionResetError(104, "reset")
        found.check(False, "once")
        assert found.failures == ["3 times: who comes: ConnectionResetError(104, 'reset')", "once"]
