"""What the console remembers, who may close, and under which names it is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock

from switchd.console.history import EVERY_SECONDS, MOST_READ, MOST_SAMPLES, History, Sample, Traffic, columns
from switchd.console.keys import KEY_SECONDS, MOST_KEYS, Keys
from switchd.console.page import is_ours
from switchd.console.recent import MOST_EVENTS, Recent, in_words
from switchd.events import Dropped, Ended, Ignored, OverBudget, Refused, Rejected, Switched
from switchd.interfaces import Refuse
from switchd.overview import MOST_CHARACTERS
from switchd.transports import tcp_info
from tests.serving import HEAD, SWITCH, UPGRADE, Accepts, Says, Site
from tests.test_sockets import serving
from tests.wires import with_reactor

PEER = ("1", "192.0.2.1:5")

LONG = "\\" * 60_000
"""What a client says, in characters of which each becomes two in JSON."""


class TestKeys:
    def test_are_good_for_a_while(self) -> None:
        clock = Clock()
        kept = Keys(clock)
        key = kept.new()
        assert kept.seconds(key) == KEY_SECONDS
        clock.advance(KEY_SECONDS - 1)
        assert kept.seconds(key) == 1
        clock.advance(1)
        assert kept.seconds(key) == 0

    @pytest.mark.parametrize("key", ["", "x", "ü", "\ud800"])
    def test_are_not_what_somebody_makes_up(self, key: str) -> None:
        kept = Keys(Clock())
        kept.new()
        assert kept.seconds(key) == 0

    def test_are_few(self) -> None:
        kept = Keys(Clock())
        made = [kept.new() for _ in range(MOST_KEYS + 1)]
        assert len(set(made)) == MOST_KEYS + 1
        assert [bool(kept.seconds(key)) for key in made] == [False] + [True] * MOST_KEYS


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.0.0.1:9180",
            "[::1]:9180",
            "localhost",
            "LOCALHOST:1",
            "localhost.",
            "a.example",
            "A.Example:1",
        ],
    )
    def test_are_addresses_and_those_that_are_ours(self, host: str) -> None:
        assert is_ours(host, ["A.example"])

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[localhost]",
            "1.2.3",
            "a b",
            "x@localhost",
            "localhost:port",
        ],
    )
    def test_are_no_others(self, host: str) -> None:
        assert not is_ours(host, ["a.example"])


class TestRecent:
    def test_tells_what_is_new_as_far_as_it_is_kept(self) -> None:
        clock = Clock()
        kept = Recent(clock.seconds)
        for _ in range(MOST_EVENTS + 10):
            clock.advance(1)
            kept.heard(Dropped(*PEER, "/"))
        assert [each["number"] for each in kept.since(0)] == list(range(11, MOST_EVENTS + 11))
        assert [(each["number"], each["time"]) for each in kept.since(MOST_EVENTS + 9)] == [(MOST_EVENTS + 10, 210)]
        assert kept.since(MOST_EVENTS + 10) == []

    def test_keeps_refusals_whatever_else_happens(self) -> None:
        kept = Recent(Clock().seconds)
        switched = Switched(*PEER, "/x", ("shout",), 0.0)
        kept.heard(switched)
        kept.heard(Dropped(*PEER, "/"))
        for _ in range(MOST_EVENTS):
            kept.heard(switched)
        kept.heard(Dropped(*PEER, "/"))
        told = kept.since(0)
        assert [each["number"] for each in told if each["kind"] == "dropped"] == [2, MOST_EVENTS + 3]
        assert [each["number"] for each in told] == list(range(2, MOST_EVENTS + 4))
        assert len(kept.since(MOST_EVENTS + 1)) == 2

    @pytest.mark.parametrize(
        "event",
        [
            Refused("1", LONG, LONG, "/", (LONG, LONG), 403),
            Ignored("1", LONG, LONG, "/", (LONG, LONG), "unknown"),
            Ended("1", LONG, LONG, ("shout",) * 60_000, 1.5, "client", LONG),
            Rejected("1", LONG, 400, LONG),
        ],
    )
    def test_is_short_whatever_clients_say(self, event: Any) -> None:
        told = in_words(event)
        assert len(json.dumps(told)) < 2_000
        assert LONG[:MOST_CHARACTERS] + "…" in told["what"]

    def test_says_what_the_log_says(self) -> None:
        event = Ended(*PEER, "/x", ("shout",), 1.5, "client", "closed", route="/x")
        assert in_words(event) == {"kind": "ended", "what": event.text.format(event=event), "why": ""}

    @pytest.mark.parametrize(
        ("event", "why"),
        [
            (Refused(*PEER, "/x", "/", ("y",), 403, plugin="shout", rule="offered"), "the plugin shout answered so"),
            (Refused(*PEER, "/x", "/", ("y",), 500, plugin="shout", rule="offered"), "the plugin shout failed"),
            (
                Refused(*PEER, "/x", "/", ("y",), 426, rule="unknown"),
                "the path requires a switch; no offered protocol is served on this path (RFC 9110 section 7.8)",
            ),
            (
                Refused(*PEER, "/x", "/", ("y",), 501, rule="no_protocol"),
                "nobody takes the offer; the :protocol of the request is none (RFC 8441 section 4)",
            ),
            (
                Ignored(*PEER, "/x", "/", ("y",), "not_in_connection"),
                "Upgrade is ignored because Connection does not list it (RFC 9110 section 7.6.1)",
            ),
            (
                Ignored(*PEER, "/x", "/", ("y",), "declined", plugin="shout"),
                "the plugin shout was asked, and did not take it",
            ),
        ],
    )
    def test_says_which_rule_has_decided(self, event: Any, why: str) -> None:
        told = in_words(event)
        assert told["why"] == why
        assert told["what"].startswith("1 192.0.2.1:5 offered y on /x: ")

    def test_says_it_of_a_servers_own_events(self) -> None:
        site = Site({"/shout": Says(Refuse(403)), "/none": Says()})
        kept = Recent(site.clock.seconds)
        site.factory.listen(kept.heard)
        for request in (SWITCH, HEAD % b"/none" + UPGRADE + b"\r\n", HEAD % b"/x<b>" + UPGRADE + b"\r\n"):
            site.connect().send(request)
        refused, declined, nowhere = kept.since(0)
        assert (refused["kind"], refused["why"]) == ("refused", "the plugin shout answered so")
        assert (declined["kind"], declined["why"]) == ("ignored", "the plugin shout was asked, and did not take it")
        assert nowhere["why"] == "the path has no [[switch]] (RFC 9110 section 7.8)"


OVER = OverBudget(*PEER, "server", "", "connections", 503)


class TestHistory:
    def taken(self, site: Site) -> tuple[History, list[Sample]]:
        samples: list[Sample] = []
        made = History(site.factory, site.clock, samples.append)
        made.start()
        return made, samples

    def test_takes_a_sample_every_few_seconds(self) -> None:
        site = Site({"/shout": Accepts()})
        made, samples = self.taken(site)
        site.connect().send(SWITCH)
        site.connect().send(SWITCH)
        site.clock.advance(EVERY_SECONDS)
        site.clock.advance(EVERY_SECONDS + 0.5)
        first, second = samples
        assert (first.time, first.connections, first.switches, first.lag) == (EVERY_SECONDS, 2, 2 / EVERY_SECONDS, 0)
        assert (second.connections, second.switches, second.lag) == (2, 0, 0.5)
        made.stop()
        assert not [call for call in site.clock.getDelayedCalls() if "Timer" in repr(call) or "_take" in repr(call)]

    def test_goes_on_where_it_is_started_again(self) -> None:
        """As with every reload."""
        site = Site({"/shout": Accepts()})
        made, samples = self.taken(site)
        site.connect().send(SWITCH)
        site.clock.advance(EVERY_SECONDS - 0.5)
        made.start()
        site.clock.advance(0.5)
        assert [(sample.time, sample.switches) for sample in samples] == [(EVERY_SECONDS, 1 / EVERY_SECONDS)]

    def test_begins_anew_after_a_stop(self) -> None:
        site = Site({"/shout": Accepts()})
        made, samples = self.taken(site)
        made.stop()
        site.connect().send(SWITCH)
        made.start()
        site.clock.advance(EVERY_SECONDS)
        assert [sample.switches for sample in samples] == [0]

    def test_counts_refusals_of_every_kind(self) -> None:
        site = Site()
        _, samples = self.taken(site)
        offer = (*PEER, "/", "/", ())
        for event in (
            Refused(*offer, 403),
            Ignored(*offer, "unknown"),
            Rejected(*PEER, 400, ""),
            Dropped(*PEER, "/"),
            OVER,
        ):
            site.factory._tell(event)
        site.clock.advance(EVERY_SECONDS)
        assert samples[0].refusals == 5 / EVERY_SECONDS

    def test_is_bounded(self) -> None:
        site = Site()
        made, samples = self.taken(site)
        for _ in range(MOST_SAMPLES + 3):
            site.clock.advance(EVERY_SECONDS)
        assert list(made.samples) == samples[3:]

    @pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
    def test_knows_the_memory(self) -> None:
        site = Site()
        _, samples = self.taken(site)
        site.clock.advance(EVERY_SECONDS)
        assert 1e6 < (samples[0].memory or 0) < 1e12

    def test_is_told_without_names(self) -> None:
        assert columns(Sample(1.23456, 2, 0.0, 1 / 3, None, 5.0, 0.25, 7)) == (1.235, 2, 0, 0.333, None, 5, 0.25, 7)


@pytest.mark.skipif(not tcp_info.IS_COUNTED, reason="only Linux counts them")
class TestTraffic:
    @with_reactor
    async def test_is_what_was_carried_between_two_times(self, tmp_path: Path) -> None:
        site = Site({"/shout": Accepts()}, clock=reactor)
        traffic = Traffic(site.factory)
        async with serving(site, "tcp", tmp_path) as connect:
            assert traffic.rates(0) == (None, None)
            client = await connect()
            client.transport.write(SWITCH + b"x" * 1000)
            await client.until(lambda: client.received.endswith(b"X" * 1000))
            assert traffic.rates(2) == ((len(SWITCH) + 1000) / 2, len(client.received) / 2)
            assert traffic.rates(4) == (0, 0)
            client.transport.loseConnection()
            await site.factory.when_empty()
            received, sent = traffic.rates(6)  # the end of input counts as a byte
            assert received in (0, 0.5)
            assert sent == 0

    def test_is_read_less_often_where_there_are_many_connections(self) -> None:
        site = Site()
        traffic = Traffic(site.factory)
        looked: list[Any] = []

        class Many(set[Any]):
            def __len__(self) -> int:
                return MOST_READ * 2

            def __iter__(self) -> Any:
                looked.append(1)
                return iter(())

        site.factory.connections = Many()
        for second in range(6):
            traffic.rates(second)
        assert len(looked) == 2
