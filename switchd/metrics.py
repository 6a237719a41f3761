"""Metrics, for Prometheus: what events tell is counted, and what can be seen is looked at when somebody asks.

Labels have few values, whatever clients send: of tokens those that are configured, and "other" for all the rest; of
paths those of the `[[switch]]` tables; of outcomes, reasons and ends those that there are. docs/metrics.md tells all.

This is the only module that imports prometheus_client, and it is imported only where metrics are asked for.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from attrs import evolve
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from switchd import events, process
from switchd.deadlines import Timer
from switchd.factory import SwitchFactory
from switchd.handover import bottom
from switchd.negotiation import Entry
from switchd.pressure import State
from switchd.transports import tcp_info

OTHER = "other"
"""A token, or a stack of them, that is nobody's."""

NO_ROUTE = "none"
"""The path of an offer where no `[[switch]]` matches."""

UNSWITCHED = "http/1.1"
"""The stack of a connection that has not switched: it speaks HTTP/1.1, or has said nothing yet."""

MOST_LAYERS = 4
"""Of a stack that is told: TLS, HTTP/2, a protocol in it, and one to spare. Clients may go on switching for ever."""

HANDSHAKE_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0)
"""Seconds: from a switch in the first segment, by way of round trips of TLS and of a database, to the default limits:
10 for a decision, 30 with the head before it. What is above came on a connection that had been used before."""

SWITCHED_BUCKETS = (1.0, 10.0, 60.0, 600.0, 3600.0, 21600.0, 86400.0, 604800.0)
"""Seconds: switched connections last from a moment to a week, and nobody asks for more than the magnitude."""

LAG_BUCKETS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Seconds: from what a timer is late in any case to where clients give up."""

LAG_SECONDS = 1.0
"""Between two looks at how late the reactor is: a few for each time that Prometheus asks, and no load."""


class Names:
    """Which tokens have a label of their own.

    Args:
        entries: The switches that are configured.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._known = {"h2": "h2", "h2c": "h2c"}
        self.learn(entries)

    def learn(self, entries: Iterable[Entry]) -> None:
        """Know those of further switches, too: of the ones before there may be connections."""
        tokens = [token.decode("ascii") for entry in entries for token in (*entry.tokens, *entry.also)]
        self._known |= {token.lower(): token for token in tokens}

    def token(self, token: str) -> str:
        """The label of a token; a configured one without a version stands for all versions."""
        found = self._known.get(token.lower()) or self._known.get(token.partition("/")[0].lower())
        return OTHER if found is None else found

    def first(self, tokens: Iterable[str]) -> str:
        """The label of the first one that has its own."""
        return next((label for label in map(self.token, tokens) if label != OTHER), OTHER)

    def stack(self, stack: tuple[str, ...]) -> str:
        """The label of what a connection has gone through."""
        if len(stack) > MOST_LAYERS:
            return OTHER
        return " > ".join(map(self.token, stack)) if stack else UNSWITCHED


class Metrics:
    """What there is to tell about a server, from now on.

    Args:
        factory: Whose connections.
    """

    def __init__(self, factory: SwitchFactory) -> None:
        self._factory = factory
        self._names = names = Names(())
        self._registry = registry = CollectorRegistry()
        self._live = live = _Live(factory, names)
        registry.register(live)
        self._switches = Counter(
            "switchd_switches",
            "Offers to switch, by what became of them.",
            ("token", "path", "outcome"),
            registry=registry,
        )
        self._handshakes = Histogram(
            "switchd_handshake_seconds",
            "From when a connection came, or switched before, to its switch.",
            ("token",),
            buckets=HANDSHAKE_BUCKETS,
            registry=registry,
        )
        self._switched = Histogram(
            "switchd_switched_seconds",
            "From a connection's last switch to its end.",
            ("token",),
            buckets=SWITCHED_BUCKETS,
            registry=registry,
        )
        self._ended = Counter("switchd_ended", "Switched connections that are over.", ("by", "why"), registry=registry)
        self._rejected = Counter(
            "switchd_rejected", "Requests that broke HTTP's rules or a limit.", ("status",), registry=registry
        )
        self._drops = Counter("switchd_drops", "Connections closed without an answer.", ("reason",), registry=registry)
        self._over = Counter(
            "switchd_over_budget",
            "Connections and switches for which there was no room.",
            ("scope", "name", "budget"),
            registry=registry,
        )
        self._lag = Histogram(
            "switchd_reactor_lag_seconds",
            f"How late the reactor is with a timer, asked every {LAG_SECONDS:g} seconds.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self._reloads = Counter(
            "switchd_reloads", "How often the configuration was read again.", ("outcome",), registry=registry
        )
        # From the beginning, so that the first one is seen as an increase.
        self._learn()
        for outcome in ("done", "failed"):
            self._reloads.labels(outcome)
        for reason in ("idle", "no_session", "overflowed", "unclaimed"):
            self._drops.labels(reason)
        factory.listen(self._heard)
        factory.listen_to_closing(live.closing)

    def _learn(self) -> None:
        """See which switches and budgets are configured."""
        self._names.learn(self._factory.entries)
        for entry in self._factory.entries:
            for token in entry.tokens:
                self._switches.labels(self._names.token(token.decode("ascii")), entry.path, "accepted")
        for labels in self._factory.admission.bounded(self._factory.entries):
            self._over.labels(*labels)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """All of it, and the media type of that.

        Args:
            accept: Which ones are wanted: an `Accept` field, or "".
        """
        encode, media_type = choose_encoder(accept)
        return media_type, encode(self._registry)

    def late(self, seconds: float) -> None:
        """The reactor was, with a timer."""
        self._lag.observe(seconds)

    def _heard(self, event: events.Event) -> None:
        match event:
            case events.Switched(stack=(*_, token), route=route, seconds=seconds):
                label = self._names.token(token)
                self._switches.labels(label, route, "accepted").inc()
                self._handshakes.labels(label).observe(seconds)
            case events.Refused(offers=offers, route=route, status=status):
                self._switches.labels(self._names.first(offers), route or NO_ROUTE, f"refused:{status}").inc()
            case events.Ignored(offers=offers, route=route, reason=reason):
                self._switches.labels(self._names.first(offers), route or NO_ROUTE, f"ignored:{reason}").inc()
            case events.Ended(stack=(*_, token), seconds=seconds, by=by, why=why):
                self._switched.labels(self._names.token(token)).observe(seconds)
                self._ended.labels(by, why.partition(":")[0]).inc()  # "error: ..." may be any text
            case events.Rejected(status=status):
                self._rejected.labels(status).inc()
            case events.Dropped():
                self._drops.labels("unclaimed").inc()
            case events.OverBudget(scope=scope, name=name, key=key):
                self._over.labels(scope, name, key).inc()
            case events.Idled():
                self._drops.labels("idle").inc()
            case events.Overflowed():
                self._drops.labels("overflowed").inc()
            case events.NoSession():
                self._drops.labels("no_session").inc()
            case events.Reloaded():
                self._reloads.labels("done").inc()
                self._learn()
            case events.NotReloaded():
                self._reloads.labels("failed").inc()


class _Live(Collector):
    """What can be seen of the connections that there are; and how much those carried that there are no more."""

    def __init__(self, factory: SwitchFactory, names: Names) -> None:
        self._factory = factory
        self._names = names
        self._before = tcp_info.Carried()

    def closing(self, transport: Any) -> None:
        """What carries a connection is about to be closed."""
        self._before.add(transport)

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        connections = GaugeMetricFamily(
            "switchd_connections",
            "Connections, and streams of HTTP/2 that have switched, by what they have gone through.",
            labels=("stack",),
        )
        for stack, number in Tally(self._names.stack(one.stack) for one in self._factory.connections).items():
            connections.add_metric((stack,), number)
        yield connections
        drained = CounterMetricFamily(
            "switchd_drained",
            "Connections that were there when the server was told to stop, by how they have ended.",
            labels=("ending",),
        )
        for ending in get_args(events.Ending):
            drained.add_metric((ending,), self._factory.endings[ending])
        yield drained
        yield from self._memory()
        if tcp_info.IS_COUNTED:
            carried = evolve(self._before)
            for connection in self._factory.connections:
                carried.add(bottom(connection.transport))
            bytes_each_way = CounterMetricFamily(
                "switchd_bytes", "What TCP connections have carried, in bytes.", labels=("direction",)
            )
            bytes_each_way.add_metric(("received",), carried.received)
            bytes_each_way.add_metric(("sent",), carried.sent)
            yield bytes_each_way

    def _memory(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("switchd_memory_bytes", "Memory of the process.", value=process.memory_bytes())
        state = GaugeMetricFamily("switchd_memory_state", "How it is with limits.memory_bytes.", labels=("state",))
        for each in get_args(State):
            state.add_metric((each,), each == self._factory.admission.pressure.state)
        yield state


class Lag:
    """Looks how late the reactor is with its timers.

    Args:
        clock: The reactor.
        metrics: Who is told.
    """

    def __init__(self, clock: Any, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._due = 0.0
        self._next = Timer(clock)

    def start(self) -> None:
        """Look from now on, if that is not done."""
        if not self._next.runs:
            self._due = self._clock.seconds() + LAG_SECONDS
            self._next.start(LAG_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._next.stop()

    def _look(self) -> None:
        self._metrics.late(max(0.0, self._clock.seconds() - self._due))  # a reactor's clock may be set back
        self.start()
