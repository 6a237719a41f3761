"""Metrics, as Prometheus' own parser reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor

from switchd import metrics
from switchd.budgets import Bounds
from switchd.draining import FIRST_SECONDS, drain
from switchd.events import (
    Dropped,
    Ended,
    Event,
    Idled,
    Ignored,
    NoSession,
    OverBudget,
    Overflowed,
    Refused,
    Rejected,
    Switched,
)
from switchd.interfaces import Refuse
from switchd.metrics import LAG_SECONDS, Lag, Metrics, Names
from switchd.negotiation import Entry
from switchd.transports import tcp_info
from tests.http2_client import Client, end_all
from tests.http2_client import site as http2_site
from tests.serving import HEAD, PLAIN, SWITCH, Accepts, Says, Site
from tests.test_sockets import serving
from tests.wires import with_reactor

DASHBOARD = Path(metrics.__file__).parent.parent / "conf" / "grafana-switchd.json"

PEER = ("1", "192.0.2.1:5")

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


def parsed(text: str) -> Samples:
    """What a text says: of each name with the values of its labels (in the order of the labels' names), the value.

    Not when counting began.
    """
    return {
        (sample.name, tuple(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def told(measured: Metrics) -> Samples:
    return parsed(measured.exposition("")[1].decode())


def of(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """What there is of one name, apart from what is zero."""
    return {labels: value for (found, labels), value in samples.items() if found == name and value}


def heard(*events: Event, entries: Iterable[Entry] = ()) -> Samples:
    """What is told after these events."""
    site = Site(tuple(entries))
    measured = Metrics(site.factory)
    for event in events:
        site.factory._tell(event)
    return told(measured)


class TestNames:
    NAMES = Names(
        [Entry("/", "tls", (b"TLS/1.3", b"TLS/1.2"), Says(), also=(b"TLS/1.0",)), Entry("/", "s", (b"Shout",), Says())]
    )

    @pytest.mark.parametrize(
        ("token", "label"),
        [
            ("shout", "Shout"),
            ("SHOUT/17", "Shout"),
            ("TLS/1.2", "TLS/1.2"),
            ("TLS/1.0", "TLS/1.0"),
            ("TLS/9", "other"),
            ("h2c", "h2c"),
            ("", "other"),
            ('x"} 1\nevil 1', "other"),
        ],
    )
    def test_of_tokens_those_are_told_that_are_configured(self, token: str, label: str) -> None:
        assert self.NAMES.token(token) == label

    def test_of_several_the_first_that_is_known_counts(self) -> None:
        assert self.NAMES.first(["x", "TLS/9", "tls/1.3", "shout"]) == "TLS/1.3"
        assert self.NAMES.first([]) == "other"

    def test_a_stack_is_told_as_deep_as_one_is_meant_to_be(self) -> None:
        assert self.NAMES.stack(()) == "http/1.1"
        assert self.NAMES.stack(("TLS/1.3", "h2", "shout")) == "TLS/1.3 > h2 > Shout"
        assert self.NAMES.stack(("shout",) * 4) == " > ".join(["Shout"] * 4)
        assert self.NAMES.stack(("shout",) * 5) == "other"


class TestEvents:
    SHOUT = Entry("/shout", "shout", (b"shout",), Says())

    def test_a_token_can_be_seen_before_anybody_has_it(self) -> None:
        assert heard(entries=[self.SHOUT])["switchd_switches_total", ("accepted", "/shout", "shout")] == 0

    def test_a_switch(self) -> None:
        event = Switched(*PEER, "/shout/x", ("h2", "shout"), 0.7, route="/shout")
        samples = heard(event, entries=[self.SHOUT])
        assert of(samples, "switchd_switches_total") == {("accepted", "/shout", "shout"): 1}
        assert samples["switchd_handshake_seconds_sum", ("shout",)] == 0.7
        assert of(samples, "switchd_handshake_seconds_bucket") == {
            ("2.0", "shout"): 1,
            ("10.0", "shout"): 1,
            ("30.0", "shout"): 1,
            ("+Inf", "shout"): 1,
        }

    def test_the_end_of_one(self) -> None:
        event = Ended(*PEER, "/shout/x", ("h2", "shout"), 7200, "server", "error: x\ny (E)", route="/shout")
        samples = heard(event, event, entries=[self.SHOUT])
        assert of(samples, "switchd_ended_total") == {("server", "error"): 2}
        assert samples["switchd_switched_seconds_sum", ("shout",)] == 14400
        assert samples["switchd_switched_seconds_bucket", ("3600.0", "shout")] == 0
        assert samples["switchd_switched_seconds_bucket", ("21600.0", "shout")] == 2

    def test_offers_that_led_to_none(self) -> None:
        samples = heard(
            Refused(*PEER, "/shout/x", "/shout", ("y", "shout/1"), 403),
            Ignored(*PEER, "/z", "", ("y",), "no_switch_here"),
            Ignored(*PEER, "/z", "", (), "not_http_1_1"),
            entries=[self.SHOUT],
        )
        assert of(samples, "switchd_switches_total") == {
            ("refused:403", "/shout", "shout"): 1,
            ("ignored:no_switch_here", "none", "other"): 1,
            ("ignored:not_http_1_1", "none", "other"): 1,
        }

    def test_who_was_turned_away(self) -> None:
        samples = heard(
            OverBudget(*PEER, "peer", "", "switched", 429),
            OverBudget(*PEER, "path", "/shout", "connections", 503),
            OverBudget(*PEER, "path", "/shout", "connections", 503),
        )
        assert of(samples, "switchd_over_budget_total") == {
            ("switched", "", "peer"): 1,
            ("connections", "/shout", "path"): 2,
        }

    def test_what_is_bounded_is_there_from_the_beginning(self) -> None:
        bounds = Bounds(connections=1, handshakes_per_second=1)
        entry = Entry("/shout", "shout", (b"shout",), Accepts(), bounds=bounds)
        site = Site([entry], settings="[limits]\nswitched = 5\nmemory_bytes = 1000\n[peers]\nconnections = 2")
        samples = told(Metrics(site.factory))
        assert {labels for name, labels in samples if name == "switchd_over_budget_total"} == {
            ("connections", "", "server"),
            ("memory_bytes", "", "server"),
            ("switched", "", "server"),
            ("connections", "/shout", "path"),
            ("handshakes_per_second", "/shout", "path"),
            ("connections", "", "peer"),
        }

    def test_what_was_dropped_or_rejected(self) -> None:
        samples = heard(
            Dropped(*PEER, "/x"),
            NoSession(*PEER, "why"),
            NoSession(*PEER, "why"),
            Overflowed(*PEER),
            Idled(*PEER, "/x", 5.0),
            Rejected(*PEER, 408, ""),
        )
        drops = {("unclaimed",): 1, ("no_session",): 2, ("overflowed",): 1, ("idle",): 1}
        assert of(samples, "switchd_drops_total") == drops
        assert of(samples, "switchd_rejected_total") == {("408",): 1}


class TestConnections:
    def test_are_told_by_what_they_have_gone_through(self) -> None:
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), Accepts())])
        measured = Metrics(site.factory)
        silent, plain, switched = (site.connect() for _ in range(3))
        plain.send(PLAIN)
        switched.send(SWITCH)
        Client(site).tunnel("/shout")
        assert of(told(measured), "switchd_connections") == {
            ("http/1.1",): 2,
            ("shout",): 1,
            ("h2c",): 1,
            ("h2c > shout",): 1,
        }
        for wire in (silent, plain, switched):
            wire.reset()
        assert of(told(measured), "switchd_connections") == {("h2c",): 1, ("h2c > shout",): 1}

    def test_are_told_by_how_they_end_when_the_server_stops(self) -> None:
        site = Site({"/shout": Accepts()})
        measured = Metrics(site.factory)
        site.connect().send(SWITCH)
        idle = site.connect()
        assert told(measured)["switchd_drained_total", ("cut",)] == 0
        drain(site.factory, 10, site.clock)
        site.clock.advance(FIRST_SECONDS)
        idle.turn()
        assert of(told(measured), "switchd_drained_total") == {("farewell",): 1, ("idle",): 1}

    def test_without_sockets_carry_nothing_that_is_known_of(self) -> None:
        site = Site()
        measured = Metrics(site.factory)
        site.connect().send(PLAIN)
        assert of(told(measured), "switchd_bytes_total") == {}


@pytest.mark.skipif(not tcp_info.IS_COUNTED, reason="only Linux counts them")
class TestBytes:
    @with_reactor
    async def test_are_counted_while_a_connection_lives_and_once_it_is_gone(self, tmp_path: Path) -> None:
        site = Site({"/shout": Accepts()}, clock=reactor)
        measured = Metrics(site.factory)
        async with serving(site, "tcp", tmp_path) as connect:
            for number in (1, 2):
                client = await connect()
                client.transport.write(SWITCH + b"x" * 10_000)
                await client.until(lambda client=client: client.received.endswith(b"X" * 10_000))
                received, sent = number * (len(SWITCH) + 10_000), number * len(client.received)
                carried = of(told(measured), "switchd_bytes_total")
                # The end of a client's input counts as a byte.
                assert received <= carried[("received",)] <= received + number
                assert carried[("sent",)] == sent
                client.transport.loseConnection()
                await site.factory.when_empty()
                after = of(told(measured), "switchd_bytes_total")
                assert received <= after[("received",)] <= received + number
                assert after[("sent",)] == sent

    @pytest.mark.parametrize("kind", ["tcp", "stock:tcp", "haproxy:tcp", "ssl", "tls:tcp", "tls:haproxy:tcp"])
    @with_reactor
    async def test_are_those_below_tls_and_other_wrappers(self, kind: str, tmp_path: Path) -> None:
        site = Site({"/shout": Accepts()}, clock=reactor)
        measured = Metrics(site.factory)
        async with serving(site, kind, tmp_path) as connect:
            client = await connect()
            client.transport.write(SWITCH + b"x" * 10_000)
            await client.until(lambda: client.received.endswith(b"X" * 10_000))
            alive = of(told(measured), "switchd_bytes_total")
            assert len(SWITCH) + 10_000 <= alive[("received",)] < 20_000
            assert len(client.received) <= alive[("sent",)] < 20_000
            client.transport.loseConnection()
            await site.factory.when_empty()
            gone = of(told(measured), "switchd_bytes_total")
            assert alive[("received",)] <= gone[("received",)] < 20_000
            assert alive[("sent",)] <= gone[("sent",)] < 20_000

    @pytest.mark.parametrize("kind", ["unix", "haproxy:unix"])
    @with_reactor
    async def test_of_unix_sockets_are_left_out(self, kind: str, tmp_path: Path) -> None:
        site = Site({"/shout": Accepts()}, clock=reactor)
        measured = Metrics(site.factory)
        async with serving(site, kind, tmp_path) as connect:
            client = await connect()
            client.transport.write(SWITCH)
            await client.until(lambda: b"\r\n\r\n" in client.received)
            assert of(told(measured), "switchd_bytes_total") == {}
            client.transport.loseConnection()
            await site.factory.when_empty()
            assert of(told(measured), "switchd_bytes_total") == {}


class TestCardinality:
    def test_is_bounded_whatever_clients_send(self) -> None:
        """Thousands of tokens and paths, with bytes in them that would end a label or a line."""
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), Says(Refuse(403)))])
        measured = Metrics(site.factory)

        def send(number: int) -> None:
            wire = site.connect()
            path = b"/%d%%22%%7d%%0aswitchd_evil_total%%20%d" % (number, number)
            for token in (
                b"t%d/%d" % (number, number),
                b'a"%d\\n}' % number,
                b"shout/%d" % number,
                b"\xff\xfe%d" % number,
            ):
                wire.send(HEAD % path + b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % token)
                wire.send(HEAD % (b"/shout" + path) + b"Connection: upgrade\r\nUpgrade: %b\r\n\r\n" % token)
            wire.reset()

        send(0)
        Client(site).tunnel("/shout", "u0")
        few = set(told(measured))
        for number in range(1, 500):
            send(number)
        client = Client(site)
        for number in range(1, 100):
            client.tunnel(f"/shout/{number}", f"u{number}")
        samples = told(measured)
        assert set(samples) == few
        assert {labels[1:] for labels in of(samples, "switchd_switches_total")} == {
            ("/shout", "shout"),
            ("/shout", "other"),
            ("/", "shout"),
            ("/", "other"),
            ("*", "h2c"),
        }

    def test_is_bounded_for_stacks(self) -> None:
        site = Site()
        measured = Metrics(site.factory)
        for _ in range(1000):
            site.connect().send(PLAIN)
        for number, connection in enumerate(site.factory.connections):
            connection.stack = (f"t{number}",)
        assert of(told(measured), "switchd_connections") == {("other",): 1000}


def test_memory_is_what_there_is_and_how_it_is() -> None:
    site = Site(settings="[limits]\nmemory_bytes = 1")
    measured = Metrics(site.factory)
    assert of(told(measured), "switchd_memory_state") == {("easy",): 1}
    site.factory.admission.look_at_memory()
    samples = told(measured)
    assert of(samples, "switchd_memory_state") == {("full",): 1}
    assert samples["switchd_memory_bytes", ()] > 1_000_000


class TestLag:
    def test_is_how_late_a_timer_is(self) -> None:
        site = Site()
        measured = Metrics(site.factory)
        lag = Lag(site.clock, measured)
        lag.start()
        assert told(measured)["switchd_reactor_lag_seconds_count", ()] == 0
        site.clock.advance(LAG_SECONDS / 2)
        lag.start()  # as with every reload: it goes on
        site.clock.advance(LAG_SECONDS / 2)
        samples = told(measured)
        assert samples["switchd_reactor_lag_seconds_count", ()] == 1
        assert samples["switchd_reactor_lag_seconds_bucket", ("0.001",)] == 1
        site.clock.advance(LAG_SECONDS + 0.3)
        samples = told(measured)
        assert samples["switchd_reactor_lag_seconds_sum", ()] == pytest.approx(0.3)
        assert samples["switchd_reactor_lag_seconds_bucket", ("0.1",)] == 1
        lag.stop()
        lag.stop()
        assert site.clock.getDelayedCalls() == []


def test_openmetrics_is_told_to_whoever_wants_that() -> None:
    measured = Metrics(Site({"/shout": Accepts()}).factory)
    media_type, content = measured.exposition("application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert media_type.startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics.text_string_to_metric_families(content.decode())} >= {
        "switchd_switches",
        "switchd_connections",
    }
    assert measured.exposition("")[0].startswith("text/plain")


class TestDashboard:
    BOARD = json.loads(DASHBOARD.read_text("utf-8"))
    EXPRESSIONS = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]

    def metrics(self) -> set[str]:
        """The names that there are, once everything has happened."""
        entry = TestEvents.SHOUT
        samples = heard(
            Switched(*PEER, "/x", ("shout",), 1, route="/shout"),
            Ended(*PEER, "/x", ("shout",), 1, "client", "closed", route="/shout"),
            Rejected(*PEER, 400, ""),
            OverBudget(*PEER, "path", "/shout", "connections", 503),
            entries=[entry],
        )
        return {name for name, _ in samples} | {"switchd_connections"}

    def test_asks_for_what_there_is_and_for_all_of_it(self) -> None:
        asked = {name for expression in self.EXPRESSIONS for name in re.findall(r"\bswitchd_\w+", expression)}
        there = self.metrics()
        assert asked <= there
        of_histogram = re.compile(r"_(bucket|sum|count)$")
        assert {of_histogram.sub("", name) for name in there} == {of_histogram.sub("", name) for name in asked}

    def test_groups_by_labels_that_there_are(self) -> None:
        used = {
            label for text in self.EXPRESSIONS for by in re.findall(r"by \(([^)]*)\)", text) for label in by.split(", ")
        }
        assert used <= {
            "le",
            "token",
            "path",
            "outcome",
            "stack",
            "direction",
            "by",
            "why",
            "status",
            "reason",
            "ending",
            "scope",
            "name",
            "budget",
            "state",
        }
        for expression in self.EXPRESSIONS:
            assert expression.count("(") == expression.count(")")

    def test_has_panels_that_do_not_overlap(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in self.BOARD["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells
        assert len({panel["id"] for panel in self.BOARD["panels"]}) == len(self.BOARD["panels"])
