"""The console's feed, with wsproto as the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from wsproto.events import BytesMessage, TextMessage

from switchd import config
from switchd.console.console import OPTIONS, Console
from switchd.console.feed import ASKED_SECONDS, BETWEEN_SECONDS, MOST_TRIES, NOT_UNDERSTOOD, Viewer
from switchd.console.history import EVERY_SECONDS, MOST_SAMPLES
from switchd.console.keys import KEY_SECONDS, Keys
from switchd.console.recent import MOST_EVENTS
from switchd.events import Closing
from switchd.factory import Assembly, SwitchFactory
from switchd.interfaces import Refuse
from switchd.overview import MOST_ROWS, Look, Overview, Query
from switchd.routes import Routes
from switchd.testing import Wire
from tests.serving import HEAD, PLAIN, SWITCH, Accepts, Says, Site, answers
from tests.websockets import Client


class Served:
    """A server, and its console."""

    def __init__(self, switches: Any = None, names: tuple[str, ...] = ("example.org",)) -> None:
        self.site = Site({"/shout": Accepts()} if switches is None else switches)
        self.clock: Clock = self.site.clock
        self.why_not = ""
        self.listening = [("tcp:8080", "tcp 192.0.2.1:8080")]
        self.keys = Keys(self.clock)
        overview = Overview(self.site.factory, self.clock, lambda: self.listening, lambda: self.why_not)
        self.console = Console(overview, self.keys, lambda: names, self.clock)
        self.console.start()
        parsed, _ = config.parse("", "test.toml", Path(), ["tcp:0"])
        routes = Routes(self.console.entries, [("/", self.console.resource)])
        self.factory = SwitchFactory(Assembly(parsed, routes, ()), self.clock, lambda event: None)

    def connect(self, kind: Any = Wire) -> Wire:
        wire: Wire = kind(self.factory, self.clock)
        return wire

    def page(self, **request: Any) -> Page:
        return Page(self, **request)


class Page(Client):
    """A page that looks."""

    def __init__(self, served: Served, **request: Any) -> None:
        super().__init__(served, path="/feed", **request)  # type: ignore[arg-type]

    def told(self, kind: str) -> list[Any]:
        """What it has been told of one kind."""
        return [each for each in map(json.loads, self.messages) if each["kind"] == kind]

    def says(self, **said: Any) -> None:
        self.text(json.dumps(said))


def turn(clock: Clock) -> None:
    """A turn of a reactor: what is due when it begins, and not what that has called later."""
    for call in [each for each in clock.calls if each.getTime() <= clock.seconds()]:
        clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)


class TestPage:
    def test_is_told_what_there_is(self) -> None:
        served = Served()
        served.site.connect().send(SWITCH)
        (hello,) = served.page().told("hello")
        assert hello["state"] == "ready"
        assert hello["counts"] == {
            "connections": 1,
            "switched": 1,
            "stacks": [["HTTP/1.1 → shout", 1]],
            "other_stacks": 0,
        }
        assert hello["layout"]["listeners"] == [{"endpoint": "tcp:8080", "address": "tcp 192.0.2.1:8080"}]
        ((path, tokens),) = [(each["path"], each["tokens"]) for each in hello["layout"]["switches"]]
        assert (path, tokens) == ("/shout", ["shout"])
        assert [row["path"] for row in hello["connections"]["rows"]] == ["/shout"]
        assert [event["kind"] for event in hello["events"]] == ["switched"]

    def test_is_told_of_each_sample_and_of_what_has_happened_since(self) -> None:
        served = Served()
        page = served.page()
        page.let_pass(EVERY_SECONDS)
        served.site.connect().send(SWITCH)
        page.let_pass(EVERY_SECONDS)
        page.let_pass(EVERY_SECONDS)
        ticks = page.told("tick")
        assert [len(tick["events"]) for tick in ticks] == [0, 1, 0]
        assert [tick["sample"][1:3] for tick in ticks] == [[0, 0], [1, 1 / EVERY_SECONDS], [1, 0]]
        assert [tick["counts"]["connections"] for tick in ticks] == [0, 1, 1]

    def test_is_told_what_listens_again_only_when_that_has_changed(self) -> None:
        served = Served()
        page = served.page()
        page.let_pass(EVERY_SECONDS)
        served.listening = []
        page.let_pass(EVERY_SECONDS)
        assert ["layout" in tick for tick in page.told("tick")] == [False, True]

    def test_is_told_that_the_server_stops(self) -> None:
        served = Served()
        page = served.page()
        served.why_not = "draining"
        page.let_pass(EVERY_SECONDS)
        assert page.told("tick")[0]["state"] == "draining"

    def test_sees_what_it_asks_for_from_then_on(self) -> None:
        served = Served()
        served.site.connect().send(SWITCH)
        served.site.connect().send(PLAIN)
        page = served.page()
        page.says(show={"path": "/shout"})
        assert page.told("rows") == []
        page.let_pass(ASKED_SECONDS)
        page.let_pass(EVERY_SECONDS)
        (rows,), (tick,) = page.told("rows"), page.told("tick")
        assert [row["path"] for row in rows["connections"]["rows"]] == ["/shout"]
        assert tick["connections"]["matching"] == 1
        assert tick["connections"]["total"] == 2

    def test_that_asks_often_is_answered_once_a_while(self) -> None:
        page = Served().page()
        for _ in range(100):
            page.says(show={})
        page.let_pass(ASKED_SECONDS)
        assert len(page.told("rows")) == 1

    def test_that_asks_again_at_once_waits_longer(self) -> None:
        served = Served()
        page = served.page()
        waited: list[float] = []
        for _ in range(3):
            page.says(show={})
            started = served.clock.seconds()
            while len(page.told("rows")) == len(waited):
                page.let_pass(0.25)
            waited.append(served.clock.seconds() - started)
        assert ASKED_SECONDS <= 0.25
        assert waited == [0.25, BETWEEN_SECONDS, BETWEEN_SECONDS]

    def test_is_told_in_a_turn_of_its_own_and_what_several_see_is_computed_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that others are not kept waiting."""
        served = Served()
        pages = [served.page() for _ in range(3)]
        found: list[Query] = []
        find = Look._found

        def finding(look: Look, query: Query) -> Any:
            found.append(query)
            return find(look, query)

        monkeypatch.setattr(Look, "_found", finding)
        told: list[str] = []
        monkeypatch.setattr(Viewer, "tell", lambda viewer, kind, values: told.append(kind))
        for number, page in enumerate(pages):
            page.says(show={"text": "x" if number else ""})
        served.clock.rightNow += EVERY_SECONDS
        turns = []
        for _ in range(10):
            before = len(told)
            turn(served.clock)
            turns.append(len(told) - before)
        assert told == ["tick", "rows"] * 3
        assert max(turns) == 2
        assert [query.text for query in found] == ["", "x"]

    def test_is_told_no_more_than_waits_for_it(self) -> None:
        """The longest message of all, with what clients say as long as it can be."""
        served = Served()
        long = b"/" + b"%5c\\" * 3_000
        for _ in range(MOST_ROWS):
            served.site.connect().send(SWITCH.replace(b"/shout", b"/shout" + long))
        for _ in range(MOST_EVENTS):
            served.site.connect().send(SWITCH.replace(b"/shout", long).replace(b"shout", b"y" * 3_000))
        page = served.page()
        page.says(show={"most": MOST_ROWS})
        page.let_pass(EVERY_SECONDS)
        longest = max(map(len, page.messages))
        assert 50_000 < longest < 1_500_000 < int(str(OPTIONS["max_buffered_bytes"]))

    def test_gets_the_last_events_and_samples_only(self) -> None:
        served = Served({"/shout": Says(Refuse(403))})
        wire = served.site.connect()
        for _ in range(MOST_EVENTS + 5):
            wire.send(SWITCH)
        for _ in range(MOST_SAMPLES + 5):
            served.clock.advance(EVERY_SECONDS)
        (hello,) = served.page().told("hello")
        assert len(hello["history"]) == MOST_SAMPLES
        assert [event["number"] for event in hello["events"]] == list(range(6, MOST_EVENTS + 6))
        assert hello["missed"] == 5


class TestBadPages:
    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "1", '{"show": 1}', '{"show": {"most": 1000000}}', '{"show": {"sort": "x"}}', '{"steal": 1}'],
    )
    def test_are_closed(self, text: str) -> None:
        page = Served().page()
        page.text(text)
        assert page.closed[0] == NOT_UNDERSTOOD

    def test_that_send_binary_messages_are_closed(self) -> None:
        page = Served().page()
        page.send(BytesMessage(b"{}"))
        assert page.closed[0] == NOT_UNDERSTOOD

    def test_that_nest_deeply_are_closed(self) -> None:
        page = Served().page()
        page.send(TextMessage("[" * 30_000))
        assert page.closed[0] == NOT_UNDERSTOOD

    def test_that_do_not_read_are_dropped(self) -> None:
        served = Served()
        page = served.page()
        page.wire.stop_reading()
        for _ in range(int(4 * float(str(OPTIONS["send_seconds"])) / EVERY_SECONDS)):
            served.clock.advance(EVERY_SECONDS)
            page.wire.turn()
        assert served.factory.connections == set()

    def test_of_other_origins_are_refused(self) -> None:
        page = Served().page(extra_headers=[(b"Origin", b"https://evil.example")])
        assert page.rejected[0] == 403

    def test_under_names_that_are_not_ours_are_refused(self) -> None:
        page = Served(names=()).page()
        assert page.rejected[0] == 421

    def test_are_no_more_than_there_may_be(self) -> None:
        served = Served()
        for _ in range(int(str(OPTIONS["max_connections"]))):
            assert served.page().told("hello")
        assert served.page().rejected[0] == 503


class TestClosing:
    def test_needs_a_key(self) -> None:
        served = Served()
        wire = served.site.connect()
        wire.send(SWITCH)
        page = served.page()
        page.says(close={"ids": ["1"]})
        assert "key" in page.told("not_closed")[0]["why"]
        assert not wire.closed

    def test_is_done_with_a_good_one_and_told_as_an_event(self) -> None:
        served = Served()
        wire = served.site.connect()
        wire.send(SWITCH)
        page = served.page()
        page.says(key=served.keys.new())
        assert page.told("may") == [{"kind": "may", "seconds": KEY_SECONDS}]
        page.says(close={"ids": ["1", "2"]})
        assert page.told("closed") == [{"kind": "closed", "connections": 1, "missing": ["2"]}]
        wire.turn()
        assert wire.closed
        assert served.site.told(Closing) == [Closing("1, 2", 1, "console")]

    def test_is_over_when_the_key_is(self) -> None:
        served = Served()
        served.site.connect().send(SWITCH)
        page = served.page()
        page.says(key=served.keys.new())
        for _ in range(int(KEY_SECONDS)):
            page.let_pass(1.0)
        page.says(close={"path": "/"})
        assert len(page.told("not_closed")) == 1

    def test_is_not_for_whoever_guesses(self) -> None:
        page = Served().page()
        for number in range(MOST_TRIES):
            page.says(key=str(number))
        assert page.told("may") == [{"kind": "may", "seconds": 0}] * MOST_TRIES
        page.says(key="once more")
        assert page.closed[0] == NOT_UNDERSTOOD


class TestFiles:
    def ask(self, path: bytes, host: bytes = b"example.org", method: bytes = b"GET") -> tuple[int, Any, bytes]:
        wire = Served().connect()
        wire.send((HEAD % path).replace(b"example.org", host).replace(b"GET", method) + b"Connection: close\r\n\r\n")
        wire.turn()
        (answer,) = answers(wire.received)
        return answer

    @pytest.mark.parametrize("path", [b"/", b"/colours.css", b"/console.css", b"/console.js"])
    def test_are_served_and_nothing_else_may_be_loaded(self, path: bytes) -> None:
        status, fields, body = self.ask(path)
        assert status == 200
        assert fields[b"content-security-policy"].startswith(
            b"default-src 'none'; script-src 'self'; style-src 'self';"
        )
        assert fields[b"x-content-type-options"] == b"nosniff"
        assert b"http" not in body.replace(b"http://www.w3.org/2000/svg", b"").replace(b'"http", "ws"', b"").replace(
            b"HTTP", b""
        )

    @pytest.mark.parametrize("path", [b"/console.py", b"/page.html", b"/../setup.cfg", b"/console.css/x", b"/x"])
    def test_are_no_others(self, path: bytes) -> None:
        assert self.ask(path)[0] == 404

    @pytest.mark.parametrize("path", [b"/", b"/colours.css", b"/console.css", b"/console.js"])
    def test_are_not_for_names_that_are_not_ours(self, path: bytes) -> None:
        status, _, body = self.ask(path, b"evil.example")
        assert status == 421
        assert b"<" not in body


def test_nothing_is_left_when_it_stops() -> None:
    served = Served()
    served.page().says(show={})
    calls = set(served.clock.getDelayedCalls())
    served.console.stop()
    assert {call.getTime() for call in calls - set(served.clock.getDelayedCalls())} == {ASKED_SECONDS, EVERY_SECONDS}
