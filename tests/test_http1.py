"""HTTP/1.1 over an in-memory wire: what it answers, when it gives up, and how it switches."""

from __future__ import annotations

import contextlib
import gc
import weakref
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from switchd.events import Dropped, Ended, Rejected, Switched
from switchd.handover import handover
from switchd.http1 import LINGER_BYTES, Channel
from switchd.interfaces import Accept, Early, Refuse
from switchd.negotiation import Entry
from switchd.testing import Wire, cuts
from tests.serving import HEAD, PLAIN, SWITCH, SWITCHED, UPGRADE, Accepts, Page, Says, Shout, Site, answers, statuses
from tests.wires import CLEAR, KINDS, Kind, TLSWire, one, server_tls

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
clear_kind = pytest.mark.parametrize("kind", CLEAR.values(), ids=CLEAR)
in_time = pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])


class TestSwitch:
    @every_kind
    @in_time
    def test_is_the_same_however_the_bytes_are_cut(self, kind: Kind, late: bool) -> None:
        step = 1 if kind is Wire else 17  # every cut in the clear; elsewhere enough of them
        for segments in list(cuts(SWITCH + b"early"))[::step]:
            switch = Accepts(late=late)
            site = Site({"/shout": switch})
            wire = site.connect(kind)
            for segment in segments:
                wire.send(segment)
            if late:
                assert wire.received == b""
                switch.decide()
                wire.turn()
            wire.send(b" late")
            assert wire.received == SWITCHED + b"EARLY LATE"
            assert switch.built[0].heard == b"early late"

    @every_kind
    @in_time
    def test_ends_with_one_connection_lost_and_leaves_nothing(self, kind: Kind, late: bool) -> None:
        switch = Accepts(late=late)
        site = Site({"/shout": switch})
        wire = site.connect(kind)
        channel = weakref.ref(next(iter(site.factory.connections)).protocol)
        wire.send(SWITCH)
        if late:
            switch.decide()
            wire.turn()
        gc.collect()
        assert channel() is None, "HTTP is gone while the switched connection lives"
        assert wire.clock.getDelayedCalls() == [], "and so are its timers"
        wire.reset()
        assert len(switch.built[0].reasons) == 1
        assert switch.abandoned == 0
        assert site.factory.connections == set()
        assert wire.clock.getDelayedCalls() == []

    @every_kind
    def test_200_kb_of_early_bytes_wait_for_a_late_decision_without_being_kept_by_us(self, kind: Kind) -> None:
        switch = Accepts(late=True)
        site = Site({"/shout": switch})
        wire = site.connect(kind)
        wire.send(SWITCH)
        for _ in range(200):
            wire.send(b"x" * 1000)
        (connection,) = site.factory.connections
        kept = sum(map(len, connection.protocol._dataBuffer))
        assert site.factory.listener.limits.early_bytes < kept < site.factory.listener.limits.early_bytes + 10_000
        switch.decide()
        wire.turn()
        assert len(switch.built[0].heard) == 200_000

    def test_stays_open_beyond_every_deadline_of_http(self) -> None:
        site = Site({"/shout": Accepts()})
        wire = site.connect()
        wire.send(PLAIN + SWITCH)
        wire.clock.advance(10_000)
        wire.send(b"still here")
        assert wire.received.endswith(b"STILL HERE")

    def test_is_told_by_one_event_when_it_happens_and_one_when_it_ends(self) -> None:
        site = Site({"/shout": Accepts()})
        wire = site.connect()
        wire.clock.advance(2)
        wire.send(SWITCH)
        wire.clock.advance(5)
        wire.half_close()
        assert site.events == [
            Switched("1", "192.0.2.1:50000", "/shout", ("shout",), 2, route="/shout"),
            Ended("1", "192.0.2.1:50000", "/shout", ("shout",), 5, "client", "closed", route="/shout"),
        ]

    @pytest.mark.parametrize(
        ("end", "by", "why"),
        [
            (lambda wire: wire.half_close(), "client", "closed"),
            (lambda wire: wire.reset(), "network", "connection lost"),
            (lambda wire: wire.transport.loseConnection(), "server", "closed"),
            (lambda wire: wire.transport.abortConnection(), "server", "aborted"),
            (lambda wire: wire.send(b"fail"), "server", "error: no (ValueError)"),
        ],
        ids=["client", "network", "close", "abort", "exception"],
    )
    def test_end_says_who_and_why(self, end: Any, by: str, why: str) -> None:
        class Failing(Shout):
            def dataReceived(self, data: bytes) -> None:
                raise ValueError("no")

        site = Site({"/shout": Accepts(Failing)})
        wire = site.connect()
        wire.send(SWITCH)
        end(wire)
        wire.turn()
        (ended,) = site.told(Ended)
        assert (ended.by, ended.why) == (by, why)

    def test_of_a_protocol_that_fails_with_its_early_bytes_is_closed_with_that_reason(self, logged: list[Any]) -> None:
        class Failing(Shout):
            def dataReceived(self, data: bytes) -> None:
                raise ValueError("no")

        switch = Accepts(Failing, late=True)
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH + b"early")
        switch.decide()
        wire.turn()
        assert wire.received == SWITCHED
        assert wire.closed
        assert switch.built[0].reasons[0].check(ValueError)
        assert logged == [ValueError]
        assert site.told(Ended)[0].why == "error: no (ValueError)"

    def test_request_is_given_to_the_plugin_as_a_value(self) -> None:
        switch = Accepts()
        wire = Site({"/": switch}).connect()
        fields = b"Host: example.org\r\nX-A: 1\r\nConnection: x, Upgrade\r\nx-a:\t2 \r\nUpgrade: SHOUT\r\n"
        wire.send(b"POST /a%20b/c%2Fd?q=1 HTTP/1.1\r\n" + fields + b"Content-Length: 4\r\n\r\nbodyearly")
        (asked,) = switch.asked
        assert asked.method == b"POST"
        assert asked.target == b"/a%20b/c%2Fd?q=1"
        assert asked.path == b"/a b/c/d"
        assert asked.headers == (
            (b"host", b"example.org"),
            (b"x-a", b"1"),
            (b"connection", b"x, Upgrade"),
            (b"x-a", b"2"),
            (b"upgrade", b"SHOUT"),
            (b"content-length", b"4"),
        )
        assert asked.body == b"body"
        assert asked.how == "upgrade"
        assert asked.values(b"x-a") == (b"1", b"2")
        assert not asked.secure
        assert wire.received == SWITCHED + b"EARLY"

    def test_request_in_tls_is_secure(self) -> None:
        switch = Accepts()
        Site({"/": switch}).connect(TLSWire).send(SWITCH)
        assert switch.asked[0].secure

    def test_takes_headers_and_spelling_from_the_plugin(self) -> None:
        switch = Accepts(headers=((b"X-Docker", b"raw"),), upgrade=b"SHOUT, HTTP/1.1")
        wire = Site({"/shout": switch}).connect()
        wire.send(SWITCH)
        assert wire.received == (
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: SHOUT, HTTP/1.1\r\nConnection: Upgrade\r\nX-Docker: raw\r\n\r\n"
        )

    @in_time
    def test_that_refuses_early_bytes_is_400_if_there_are_any(self, late: bool) -> None:
        switch = Accepts(early=Early.REFUSE, late=late)
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH + b"x")
        if late:
            switch.decide()
            wire.turn()
        assert statuses(wire.received) == [400]
        assert (switch.built, switch.abandoned) == ([], 1)
        assert wire.transport.sent_eof

    def test_that_refuses_early_bytes_goes_on_without_any(self) -> None:
        wire = Site({"/shout": Accepts(early=Early.REFUSE)}).connect()
        wire.send(SWITCH)
        wire.send(b"x")
        assert wire.received == SWITCHED + b"X"


class TestDecision:
    def test_that_is_none_goes_to_the_next_candidate_and_at_last_to_http(self) -> None:
        first, second = Says(None), Says(None)
        wire = Site({"/shout": first, "/": second}).connect()
        wire.send(SWITCH)
        assert len(first.asked) == len(second.asked) == 1
        assert answers(wire.received)[0][2] == b"GET /shout "

    def test_refusal_is_the_plugins_own_answer_and_no_other_is_asked(self) -> None:
        other = Accepts()
        refusal = Refuse(403, ((b"X-Why", b"because"),), b"no\n")
        wire = Site({"/shout": Says(refusal), "/": other}).connect()
        wire.send(SWITCH + PLAIN)
        (status, fields, body), after = answers(wire.received)
        assert (status, fields[b"x-why"], body) == (403, b"because", b"no\n")
        assert after[0] == 200, "the connection goes on"
        assert other.asked == []

    def test_refusal_with_a_bad_header_is_500_and_logged(self, logged: list[Any]) -> None:
        wire = Site({"/shout": Says(Refuse(403, ((b"X", b"a\r\nb"),)))}).connect()
        wire.send(SWITCH)
        assert statuses(wire.received) == [500]
        assert [kind.__name__ for kind in logged] == ["BadAnswer"]

    def test_refusal_may_have_no_content(self) -> None:
        wire = Site({"/shout": Says(Refuse(204))}).connect()
        wire.send(SWITCH + PLAIN)
        (status, fields, _), after = answers(wire.received)
        assert (status, after[0]) == (204, 200)
        assert b"content-length" not in fields

    def test_refusal_may_close(self) -> None:
        wire = Site({"/shout": Says(Refuse(401, close=True))}).connect()
        wire.send(SWITCH + PLAIN)
        assert statuses(wire.received) == [401]
        assert answers(wire.received)[0][1][b"connection"] == b"close"
        assert wire.transport.sent_eof

    def test_may_be_a_coroutine(self) -> None:
        decided: Deferred[None] = Deferred()

        async def answer(request: Any, offer: Any) -> Accept:
            await decided
            return Accept(lambda session: Shout())

        wire = Site({"/shout": Says(answer)}).connect()
        wire.send(SWITCH + b"early")
        assert wire.received == b""
        decided.callback(None)
        wire.turn()
        assert wire.received == SWITCHED + b"EARLY"

    def test_is_cancelled_when_the_client_is_gone(self) -> None:
        switch = Accepts(late=True)
        site = Site({"/shout": switch})
        wire = site.connect()
        wire.send(SWITCH)
        wire.reset()
        assert switch.cancelled == 1
        assert wire.clock.getDelayedCalls() == []

    def test_that_comes_in_spite_of_that_is_abandoned(self) -> None:
        switch = Accepts()

        async def stubborn(request: Any, offer: Any) -> Accept:
            with contextlib.suppress(CancelledError):
                await Deferred()
            return switch.answer()

        wire = Site({"/shout": Says(stubborn)}).connect()
        wire.send(SWITCH)
        wire.reset()
        assert (switch.abandoned, switch.built) == (1, [])

    def test_that_is_too_late_is_503_and_closes(self) -> None:
        switch = Accepts(late=True)
        site = Site({"/shout": switch}, settings="limits.switch_seconds = 3")
        wire = site.connect()
        wire.send(SWITCH)
        wire.clock.advance(2.9)
        assert wire.received == b""
        wire.clock.advance(0.2)
        wire.turn()
        assert statuses(wire.received) == [503]
        assert wire.transport.sent_eof
        assert switch.cancelled == 1

    def test_that_raises_is_500_and_logged(self, logged: list[Any]) -> None:
        def fail(request: Any, offer: Any) -> None:
            raise ZeroDivisionError

        wire = Site({"/shout": Says(fail)}).connect()
        wire.send(SWITCH + b"early")
        assert statuses(wire.received) == [500]
        assert wire.transport.sent_eof
        assert logged == [ZeroDivisionError]

    def test_that_is_no_answer_is_500_and_logged(self, logged: list[Any]) -> None:
        wire = Site({"/shout": Says(lambda request, offer: "yes")}).connect()
        wire.send(SWITCH)
        assert statuses(wire.received) == [500]
        assert [kind.__name__ for kind in logged] == ["BadAnswer"]

    @pytest.mark.parametrize("build", [lambda session: 1 / 0, lambda session: None], ids=["raises", "no protocol"])
    def test_whose_build_fails_is_500_and_not_abandoned(self, build: Any, logged: list[Any]) -> None:
        abandoned: list[int] = []
        site = Site({"/shout": Says(Accept(build, abandon=lambda: abandoned.append(1)))})
        wire = site.connect()
        wire.send(SWITCH + b"early")
        assert statuses(wire.received) == [500]
        assert abandoned == []
        assert len(logged) == 1
        assert site.told(Switched) == []

    def test_with_a_bad_header_is_500_and_abandoned(self, logged: list[Any]) -> None:
        switch = Accepts(headers=((b"X", b"a\r\nUpgrade: b"),))
        wire = Site({"/shout": switch}).connect()
        wire.send(SWITCH)
        assert statuses(wire.received) == [500]
        assert (switch.abandoned, switch.built) == (1, [])

    def test_order_is_the_clients_or_the_servers(self) -> None:
        for prefer, expected in (("client", b"b"), ("server", b"a")):
            entries = [
                Entry("/", "a", (b"a",), Accepts(upgrade=b"a")),
                Entry("/", "b", (b"b",), Accepts(upgrade=b"b")),
            ]
            wire = Site(entries, settings=f'server.prefer = "{prefer}"').connect()
            wire.send(HEAD % b"/" + b"Connection: upgrade\r\nUpgrade: b, a\r\n\r\n")
            assert answers(wire.received)[0][1][b"upgrade"] == expected


class TestUnclaimedOffer:
    @pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"HEAD"])
    def test_changes_nothing_in_the_answer(self, method: bytes) -> None:
        received = []
        for offer in (b"", b"Connection: upgrade\r\nUpgrade: h2c, foo/1\r\nHTTP2-Settings: AAMAAABk\r\n"):
            wire = Site({"/shout": Accepts()}).connect()
            wire.send(method + b" /shout HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n" + offer + b"\r\nabc" + PLAIN)
            received.append(wire.received)
        assert received[0] == received[1]

    def test_on_a_path_that_requires_the_switch_is_426_with_what_is_served(self) -> None:
        entries = [Entry("/shout", "shout", (b"shout", b"SHOUT/2"), Says(None), require=True)]
        wire = Site(entries).connect()
        wire.send(SWITCH + HEAD % b"/shout" + b"\r\n" + PLAIN)
        offered, plain, elsewhere = answers(wire.received)
        for status, fields, _ in (offered, plain):
            assert status == 426
            assert fields[b"upgrade"] == b"shout, SHOUT/2"
            assert fields[b"connection"] == b"Upgrade"
        assert elsewhere[0] == 200

    def test_on_a_path_that_closes_gets_no_answer(self) -> None:
        entries = [Entry("/shout", "shout", (b"shout",), Says(None), close=True)]
        for head in (SWITCH, HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: other\r\n\r\n"):
            site = Site(entries)
            wire = site.connect()
            wire.send(head)
            assert wire.received == b""
            assert wire.closed
            assert site.events == [Dropped("1", "192.0.2.1:50000", "/shout")]
        wire = Site(entries).connect()
        wire.send(HEAD % b"/shout" + b"\r\n")
        assert statuses(wire.received) == [200], "a request without an offer is an ordinary one"

    def test_close_is_not_read_out_of_a_list_that_has_it_not(self) -> None:
        wire = Site().connect()
        wire.send(HEAD % b"/" + b"Connection: closed, x-close\r\n\r\n" + PLAIN)
        assert statuses(wire.received) == [200, 200]

    @pytest.mark.parametrize("value", [b"close, upgrade", b"upgrade,close", b"Upgrade\r\nConnection: CLOSE"])
    def test_with_close_in_connection_is_answered_and_closed(self, value: bytes) -> None:
        wire = Site().connect()
        wire.send(HEAD % b"/" + b"Upgrade: shout\r\nConnection: " + value + b"\r\n\r\n" + PLAIN)
        assert statuses(wire.received) == [200]
        assert answers(wire.received)[0][1][b"connection"] == b"close"
        assert wire.transport.sent_eof


class TestAdvertisement:
    def test_adds_the_paths_tokens_to_ordinary_responses_if_configured(self) -> None:
        entries = [Entry("/shout", "s", (b"shout",), Says()), Entry("/", "t", (b"TLS/1.3",), Says())]
        wire = Site(entries, settings="server.advertise = true").connect()
        wire.send(HEAD % b"/shout" + b"\r\n" + PLAIN)
        first, second = answers(wire.received)
        assert first[1][b"upgrade"] == b"shout, TLS/1.3"
        assert second[1][b"upgrade"] == b"TLS/1.3"
        assert first[1][b"connection"] == second[1][b"connection"] == b"Upgrade"

    def test_is_not_sent_by_default_nor_to_http_1_0_nor_where_nothing_is_served(self) -> None:
        wire = Site({"/": Says()}).connect()
        wire.send(PLAIN)
        assert b"Upgrade" not in wire.received
        wire = Site({"/": Says()}, settings="server.advertise = true").connect()
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Upgrade" not in wire.received
        wire = Site({"/shout": Says()}, settings="server.advertise = true").connect()
        wire.send(PLAIN)
        assert b"Upgrade" not in wire.received


class TestDeadline:
    def test_of_a_connection_that_says_nothing_closes_it_silently(self) -> None:
        wire = Site(settings="limits.head_seconds = 4").connect()
        wire.clock.advance(4)
        wire.turn()
        assert (wire.received, wire.closed) == (b"", True)

    def test_of_a_head_is_one_for_the_whole_and_answers_408(self) -> None:
        wire = Site(settings="limits.head_seconds = 4").connect()
        for byte in b"GET /":
            wire.send(bytes([byte]))
            wire.clock.advance(1)
        wire.turn()
        assert statuses(wire.received) == [408]
        assert wire.transport.sent_eof

    def test_of_a_body_is_one_for_the_whole_and_answers_408(self) -> None:
        wire = Site(settings="limits.body_seconds = 4").connect()
        wire.send(HEAD % b"/" + b"Content-Length: 100\r\n\r\n")
        for _ in range(5):
            wire.send(b"x")
            wire.clock.advance(1)
        wire.turn()
        assert statuses(wire.received) == [408]

    def test_between_requests_closes_silently(self) -> None:
        wire = Site(settings="limits.keepalive_seconds = 7\nlimits.head_seconds = 4").connect()
        wire.send(PLAIN)
        wire.clock.advance(6)
        wire.send(PLAIN)
        wire.clock.advance(6.9)
        assert not wire.closed
        wire.clock.advance(0.2)
        wire.turn()
        assert statuses(wire.received) == [200, 200]
        assert wire.closed

    def test_of_a_second_head_begins_with_its_first_byte(self) -> None:
        wire = Site(settings="limits.keepalive_seconds = 100\nlimits.head_seconds = 4").connect()
        wire.send(PLAIN)
        wire.clock.advance(50)
        wire.send(b"G")
        wire.clock.advance(4)
        wire.turn()
        assert statuses(wire.received) == [200, 408]

    def test_does_not_run_while_a_resource_takes_its_time(self) -> None:
        class Slow(Resource):
            isLeaf = True

            def render(self, request: Any) -> int:
                self.request = request
                return NOT_DONE_YET

        slow = Slow()
        wire = Site(root=slow).connect()
        wire.send(PLAIN)
        wire.clock.advance(100_000)
        slow.request.finish()
        wire.turn()
        assert wire.received.startswith(b"HTTP/1.1 200 OK\r\n")


class TestErrorAnswer:
    def test_reads_and_drops_what_the_client_still_sends_so_that_it_is_not_lost(self) -> None:
        wire = Site(settings="limits.body_bytes = 10\nlimits.linger_seconds = 3").connect()
        wire.send(HEAD % b"/" + b"Content-Length: 5000\r\n\r\n")
        assert statuses(wire.received) == [413]
        assert wire.transport.sent_eof, "we have said that we are done"
        for _ in range(5):
            wire.send(b"x" * 1000)
        assert not wire.closed
        wire.half_close()
        assert wire.closed

    def test_does_not_wait_longer_than_it_says(self) -> None:
        wire = Site(settings="limits.body_bytes = 10\nlimits.linger_seconds = 3").connect()
        wire.send(HEAD % b"/" + b"Content-Length: 5000\r\n\r\n")
        wire.clock.advance(3)
        wire.turn()
        assert wire.closed
        assert wire.clock.getDelayedCalls() == []

    def test_does_not_drop_more_than_it_says(self) -> None:
        wire = Site(settings="limits.body_bytes = 10").connect()
        wire.send(HEAD % b"/" + b"Content-Length: 5000\r\n\r\n")
        megabyte = b"x" * 1_000_000
        for _ in range(LINGER_BYTES // len(megabyte) + 1):
            assert not wire.closed
            wire.send(megabyte)
        assert wire.closed

    def test_does_not_answer_anything_behind_it(self) -> None:
        page = Page()
        wire = Site(root=page).connect()
        wire.send(b"BAD\r\n\r\n" + PLAIN)
        wire.send(PLAIN)
        assert statuses(wire.received) == [400]
        assert page.requests == []

    def test_is_an_event(self) -> None:
        site = Site()
        site.connect().send(b"BAD\r\n\r\n")
        (rejected,) = site.told(Rejected)
        assert (rejected.id, rejected.status) == ("1", 400)

    @every_kind
    def test_comes_on_every_kind_of_transport(self, kind: Kind) -> None:
        wire = Site().connect(kind)
        wire.send(b"BAD\r\n\r\n")
        assert statuses(wire.received) == [400]
        if isinstance(wire, TLSWire):
            wire.close_notify()
        wire.half_close()
        assert wire.closed
        assert wire.clock.getDelayedCalls() == []


class TestHalfClose:
    """A client that says FIN behind its bytes is still answered."""

    @clear_kind
    def test_after_a_request(self, kind: Kind) -> None:
        wire = Site().connect(kind)
        wire.transport.arrive(PLAIN)
        wire.half_close()
        assert statuses(wire.received) == [200]
        assert wire.closed

    @clear_kind
    def test_after_pipelined_requests(self, kind: Kind) -> None:
        wire = Site().connect(kind)
        wire.transport.arrive(PLAIN * 3)
        wire.half_close()
        assert statuses(wire.received) == [200] * 3
        assert wire.closed

    @clear_kind
    def test_during_a_pending_decision(self, kind: Kind) -> None:
        switch = Accepts(late=True)
        site = Site({"/shout": switch})
        wire = site.connect(kind)
        wire.transport.arrive(SWITCH + b"early")
        wire.half_close()
        assert not wire.closed
        switch.decide()
        wire.turn()
        assert wire.received == SWITCHED + b"EARLY"
        assert wire.closed
        assert switch.built[0].reasons[0].check(ConnectionDone)
        assert site.told(Ended)[0].by == "client"

    @clear_kind
    def test_after_a_switch_and_its_input(self, kind: Kind) -> None:
        wire = Site({"/shout": Accepts()}).connect(kind)
        wire.transport.arrive(SWITCH + b"early")
        wire.half_close()
        assert wire.received == SWITCHED + b"EARLY"
        assert wire.closed

    @clear_kind
    def test_is_told_to_a_protocol_that_wants_to_know(self, kind: Kind) -> None:
        @implementer(IHalfCloseableProtocol)
        class Polite(Shout):
            def readConnectionLost(self) -> None:
                self.transport.write(b"bye")
                self.transport.loseConnection()

            def writeConnectionLost(self) -> None: ...

        switch = Accepts(Polite, late=True)
        wire = Site({"/shout": switch}).connect(kind)
        wire.transport.arrive(SWITCH + b"early")
        wire.half_close()
        switch.decide()
        wire.turn()
        assert wire.received == SWITCHED + b"EARLYbye"

    @clear_kind
    def test_during_a_slow_answer_with_more_requests_behind_it(self, kind: Kind) -> None:
        class Slow(Resource):
            isLeaf = True
            requests: list[Any] = []

            def render(self, request: Any) -> int:
                self.requests.append(request)
                return NOT_DONE_YET

        slow = Slow()
        slow.requests = []
        wire = Site(root=slow).connect(kind)
        wire.transport.arrive(PLAIN * 3)
        wire.half_close()
        for answered in range(3):
            assert not wire.closed
            assert len(slow.requests) == answered + 1
            slow.requests[-1].setHeader(b"content-length", b"0")
            slow.requests[-1].finish()
            wire.turn()
        assert statuses(wire.received) == [200] * 3
        assert wire.closed
        assert wire.clock.getDelayedCalls() == []

    @clear_kind
    def test_during_a_decision_that_nobody_takes(self, kind: Kind) -> None:
        decided: Deferred[None] = Deferred()
        wire = Site({"/shout": Says(lambda request, offer: decided)}).connect(kind)
        wire.transport.arrive(SWITCH)
        wire.half_close()
        decided.callback(None)
        wire.turn()
        assert answers(wire.received)[0][2] == b"GET /shout "
        assert wire.closed

    def test_in_the_middle_of_a_request_closes(self) -> None:
        for part in (b"GET", HEAD % b"/", HEAD % b"/" + b"Content-Length: 9\r\n\r\nabc"):
            wire = Site().connect()
            wire.send(part)
            wire.half_close()
            assert wire.closed
            assert wire.received == b""

    def test_is_waited_for_so_long_and_no_longer(self) -> None:
        class Never(Resource):
            isLeaf = True

            def __init__(self) -> None:
                super().__init__()
                self.gone: list[Any] = []

            def render(self, request: Any) -> int:
                request.notifyFinish().addErrback(self.gone.append)
                return NOT_DONE_YET

        never = Never()
        wire = Site(root=never, settings="limits.half_closed_seconds = 5").connect()
        wire.send(PLAIN)
        wire.half_close()
        assert not wire.closed
        wire.clock.advance(5)
        wire.turn()
        assert wire.closed
        assert len(never.gone) == 1

    @pytest.mark.parametrize("kind", [TLSWire, KINDS["haproxy over tls"]], ids=["tls", "haproxy over tls"])
    @pytest.mark.parametrize("data", [PLAIN, SWITCH + b"early"], ids=["request", "switch"])
    def test_in_tls_sends_what_was_answered_before_the_client_took_leave(self, kind: Any, data: bytes) -> None:
        wire: Any = Site({"/shout": Accepts()}).connect(kind)
        wire.send_and_take_leave(data)
        assert wire.received.startswith(b"HTTP/1.1 200 OK" if data == PLAIN else SWITCHED + b"EARLY")
        assert wire.closed

    @pytest.mark.parametrize("kind", [TLSWire, KINDS["haproxy over tls"]], ids=["tls", "haproxy over tls"])
    def test_in_tls_sends_what_was_answered(self, kind: Kind) -> None:
        wire = Site({"/shout": Accepts()}).connect(kind)
        wire.send(SWITCH + b"early")
        wire.half_close()
        assert wire.received == SWITCHED + b"EARLY"
        assert wire.closed


class TestResume:
    """`ISession.resume_http`: HTTP again, with an answer to the request that asked for the switch."""

    def test_answers_the_request_without_its_offers(self) -> None:
        page = Page()
        switch = Says(lambda request, offer: Accept(lambda session: session.resume_http()))
        site = Site({"/shout": switch}, root=page)
        wire = site.connect()
        wire.send(
            b"POST /shout?q HTTP/1.1\r\nHost: example.org\r\nX: 1\r\nTransfer-Encoding: chunked\r\n"
            + UPGRADE
            + b"\r\n3\r\nabc\r\n0\r\n\r\n"
            + PLAIN
        )
        switched, rest = wire.received.split(b"\r\n\r\n", 1)
        assert switched.startswith(b"HTTP/1.1 101")
        (first, second) = answers(rest)
        assert first[2] == b"POST /shout?q abc"
        assert second[2] == b"GET / "
        assert page.requests[0].getHeader(b"x") == b"1"
        assert len(switch.asked) == 1
        assert len(site.factory.connections) == 1

    def test_in_tls_waits_for_the_handshake(self) -> None:
        page = Page()

        def build(session: Any) -> Any:
            return TLSMemoryBIOFactory(server_tls(), False, one(session.resume_http), site.clock).buildProtocol(None)

        outer = Entry("/", "tls", (b"TLS",), Says(lambda request, offer: Accept(build, early=Early.REFUSE)))
        inner = Accepts()
        site = Site([outer, Entry("/shout", "shout", (b"shout",), inner)], root=page)
        wire = site.connect()
        wire.send(HEAD % b"/" + b"Connection: upgrade\r\nUpgrade: TLS\r\n\r\n")
        assert statuses(wire.take()) == [101]
        client = TLSWire.over(wire)
        assert answers(client.take())[0][2] == b"GET / "
        client.send(SWITCH + b"early")
        assert client.received == SWITCHED + b"EARLY"
        assert inner.asked[0].secure
        assert [event.stack for event in site.told(Switched)] == [("TLS",), ("TLS", "shout")]
        client.reset()
        assert len(site.told(Ended)) == 1
        assert site.clock.getDelayedCalls() == []

    def test_of_something_that_is_not_spoken_is_refused(self) -> None:
        switch = Accepts()
        Site({"/shout": switch}).connect().send(SWITCH)
        with pytest.raises(ValueError, match="h3"):
            switch.session.resume_http(alpn=b"h3")


class TestTakenByAResource:
    def test_protocol_may_be_handed_over_by_hand(self) -> None:
        """`handover` works from a Resource, too: it is public."""

        class Takes(Resource):
            isLeaf = True

            def render(self, request: Any) -> int:
                transport = request.channel._detach()
                transport.write(b"mine\n")
                handover(transport, Shout())
                return NOT_DONE_YET

        wire = Site(root=Takes()).connect()
        wire.send(PLAIN)
        wire.send(b"hello")
        assert wire.received == b"mine\nHELLO"


def test_the_channel_provides_what_it_says() -> None:
    channel = Channel()
    assert IHalfCloseableProtocol.providedBy(channel)
    assert isinstance(channel, Protocol)
