"""What listeners are told of offers: each is accepted, refused or ignored, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import fail

from switchd.draining import drain
from switchd.events import Dropped, Event, Ignored, Refused, Rejected, Switched
from switchd.interfaces import Accept, Early, Refuse
from switchd.negotiation import Entry
from tests.http2_client import Client, end_all
from tests.http2_client import site as http2_site
from tests.serving import HEAD, PLAIN, SWITCH, UPGRADE, Accepts, Says, Site


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


def told_of(site: Site) -> list[Event]:
    """What a listener is told from now on of what becomes of offers."""
    events: list[Event] = []
    kinds = (Switched, Refused, Ignored, Dropped, Rejected)
    site.factory.listen(lambda event: events.append(event) if isinstance(event, kinds) else None)
    return events


def asked(switches: Any, *requests: bytes, settings: str = "") -> list[Event]:
    """What is told of these requests, each on a connection of its own."""
    site = Site(switches, settings=settings)
    events = told_of(site)
    for request in requests:
        wire = site.connect()
        wire.send(request)
        wire.turn()
    return events


def refused(
    status: int,
    *offers: str,
    path: str = "/shout",
    route: str = "/shout",
    plugin: str = "shout",
    rule: str = "offered",
) -> Refused:
    offered = offers or ("shout",)
    return Refused("1", "192.0.2.1:50000", path, route, offered, status, plugin=plugin, rule=rule)


def ignored(reason: str, *offers: str, path: str = "/shout", route: str = "/shout") -> Ignored:
    plugin = "shout" if reason == "declined" else ""
    return Ignored("1", "192.0.2.1:50000", path, route, offers, reason, plugin=plugin)


class TestRefused:
    def test_by_the_switch(self) -> None:
        assert asked({"/shout": Says(Refuse(403))}, SWITCH) == [refused(403)]

    @pytest.mark.usefixtures("logged")
    @pytest.mark.parametrize(
        "answer",
        [
            Refuse(99),
            Accept(build=lambda session: 1 / 0),  # type: ignore[arg-type,return-value]
            Accept(build=lambda session: None, headers=((b"Upgrade", b"x"),)),  # type: ignore[arg-type,return-value]
            lambda request, offer: 1 / 0,
            lambda request, offer: fail(ValueError()),
        ],
    )
    def test_because_a_plugin_is_at_fault(self, answer: Any) -> None:
        by = "shout" if isinstance(answer, Refuse) else ""
        assert asked({"/shout": Says(answer)}, SWITCH) == [refused(500, plugin=by)]

    def test_because_the_decision_takes_too_long(self) -> None:
        site = Site({"/shout": Accepts(late=True)})
        events = told_of(site)
        wire = site.connect()
        wire.send(SWITCH)
        assert events == []
        wire.clock.advance(site.factory.listener.limits.switch_seconds)
        assert events == [refused(503, plugin="")]

    def test_because_the_server_stops(self) -> None:
        site = Site({"/shout": Accepts(late=True)})
        events = told_of(site)
        site.connect().send(SWITCH)
        drain(site.factory, 10, site.clock)
        assert events == [refused(503, plugin="")]

    def test_because_the_server_has_been_stopped(self) -> None:
        switch = Accepts()
        site = Site({"/shout": switch})
        events = told_of(site)
        wire = site.connect()
        wire.send(SWITCH[:-2] + b"Content-Length: 1\r\n\r\n")
        drain(site.factory, 10, site.clock)
        wire.send(b"x")
        assert (events, switch.asked) == ([refused(503, plugin="")], [])

    def test_because_of_early_bytes(self) -> None:
        told = asked({"/shout": Accepts(early=Early.REFUSE)}, SWITCH + b"early")
        why = "there may be no bytes behind this request before its answer"
        assert told == [refused(400), Rejected("1", "192.0.2.1:50000", 400, why)]

    def test_because_another_protocol_is_required(self) -> None:
        entry = Entry("/", "shout", (b"shout",), Says(), require=True)
        other = HEAD % b"/x" + b"Connection: upgrade\r\nUpgrade: other, more\r\n\r\n"
        assert asked([entry], other) == [refused(426, "other", "more", path="/x", route="/", plugin="", rule="unknown")]


class TestIgnored:
    @pytest.mark.parametrize(
        ("head", "reason", "offers"),
        [
            (SWITCH.replace(b"Upgrade: shout", b"Upgrade: a/1, b"), "unknown", ("a/1", "b")),
            (SWITCH.replace(b"Connection: upgrade\r\n", b""), "not_in_connection", ()),
            (SWITCH.replace(b"Upgrade: shout", b"Upgrade: @"), "nothing_offered", ()),
            (SWITCH.replace(b"HTTP/1.1", b"HTTP/1.0"), "not_http_1_1", ()),
            (SWITCH, "declined", ("shout",)),
        ],
    )
    def test_for_a_reason(self, head: bytes, reason: str, offers: tuple[str, ...]) -> None:
        assert asked({"/shout": Says(None)}, head) == [ignored(reason, *offers)]

    def test_where_there_is_no_switch(self) -> None:
        told = asked({"/shout": Says(None)}, HEAD % b"/%0a?x" + UPGRADE + b"\r\n")
        assert told == [ignored("no_switch_here", "shout", path="/%0a", route="")]

    def test_and_closed_where_it_is_configured_so(self) -> None:
        told = asked([Entry("/shout", "shout", (b"shout",), Says(), close=True)], SWITCH)
        assert told == [ignored("declined", "shout"), Dropped("1", "192.0.2.1:50000", "/shout")]

    def test_of_a_head_full_of_offers_a_few_are_told(self) -> None:
        many = b", ".join(b"t%d" % number for number in range(500))
        (told,) = asked({"/shout": Says(None)}, SWITCH.replace(b"shout\r\n\r\n", many + b"\r\n\r\n"))
        assert told == ignored("unknown", *(f"t{number}" for number in range(8)))


class TestListeners:
    def test_hear_of_a_switch_also_where_it_is_not_logged(self) -> None:
        site = Site({"/shout": Accepts()}, settings="[server]\nswitch_log = false")
        events = told_of(site)
        site.connect().send(SWITCH)
        assert [type(event) for event in events] == [Switched]
        assert site.events == []

    def test_hear_nothing_of_a_request_that_offers_nothing(self) -> None:
        assert asked({"/": Says()}, PLAIN, HEAD % b"/x" + b"X: upgrade\r\n\r\n") == []

    def test_the_log_hears_nothing_of_what_the_access_log_has(self) -> None:
        site = Site({"/shout": Says(Refuse(403))})
        events = told_of(site)
        site.connect().send(SWITCH)
        site.connect().send(SWITCH.replace(b"shout", b"other"))
        assert len(events) == 2
        assert site.events == []


@pytest.mark.usefixtures("http2_engine")
class TestExtendedConnect:
    def tunnelled(self, switch: Any, token: str = "shout", path: str = "/shout?q") -> list[Event]:
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), switch)])
        events = told_of(site)
        Client(site).tunnel(path, token)
        assert isinstance(events[0], Switched)  # to HTTP/2
        return events[1:]

    def test_is_refused_by_the_switch(self) -> None:
        assert self.tunnelled(Says(Refuse(403))) == [refused(403)]

    @pytest.mark.usefixtures("logged")
    @pytest.mark.parametrize(
        "answer",
        [Refuse(99), Accept(build=lambda session: 1 / 0), lambda request, offer: 1 / 0],  # type: ignore[arg-type,return-value]
    )
    def test_is_refused_because_a_plugin_is_at_fault(self, answer: Any) -> None:
        by = "" if callable(answer) else "shout"
        assert self.tunnelled(Says(answer)) == [refused(500, plugin=by)]

    def test_is_refused_where_nobody_takes_it(self) -> None:
        assert self.tunnelled(Says(None)) == [refused(501, plugin="")]
        assert self.tunnelled(Says(None), "other") == [refused(501, "other", plugin="", rule="unknown")]
        nowhere = refused(501, "other", path="/", route="/", plugin="", rule="unknown")
        assert self.tunnelled(Says(None), "other", "/") == [nowhere]

    def test_is_refused_because_the_server_stops(self) -> None:
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), Accepts(late=True))])
        events = told_of(site)
        client = Client(site)
        client.tunnel("/shout")
        drain(site.factory, 10, site.clock)
        client.let_pass(0)
        assert events[1:] == [refused(503, plugin="")]

    def test_is_refused_because_the_server_has_been_stopped(self) -> None:
        switch = Accepts()
        site = http2_site(entries=[Entry("/shout", "shout", (b"shout",), switch)])
        events = told_of(site)
        client = Client(site)
        client.ask("/", "POST", body=None)  # keeps the connection open
        client.talk()
        drain(site.factory, 10, site.clock)
        client.tunnel("/shout")
        assert (events[1:], switch.asked) == ([refused(503, plugin="")], [])

    def test_is_accepted(self) -> None:
        (switched,) = self.tunnelled(Accepts())
        assert isinstance(switched, Switched)
        assert (switched.route, switched.path, switched.stack) == ("/shout", "/shout", ("h2c", "shout"))
