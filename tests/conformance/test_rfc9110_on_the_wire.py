"""RFC 9110 section 7.8 on a connection: rows 1, 2, 4, 5, 8 to 10, 12 and 13, attacks A6 to A14.

Each request is sent whole, byte by byte and cut at every place, with something following, over every kind of transport.
"""

from __future__ import annotations

from typing import Any

import pytest

from switchd.interfaces import Accept
from switchd.testing import Wire, cuts
from tests.serving import HEAD, PLAIN, SWITCH, SWITCHED, UPGRADE, Accepts, Page, Says, Shout, Site, answers, statuses
from tests.wires import CLEAR, KINDS, Kind

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def transcripts(data: bytes, kind: Kind = Wire) -> set[bytes]:
    """What a server with a switch at /shout and a page at / answers to `data`, however it is cut."""
    found = set()
    step = 1 if kind is Wire else 23
    for segments in list(cuts(data))[::step]:
        wire = Site({"/shout": Accepts()}).connect(kind)
        for segment in segments:
            wire.send(segment)
        found.add(wire.received)
        wire.reset()
    return found


def transcript(data: bytes, kind: Kind = Wire) -> bytes:
    """The same, which is one and the same for every cut (A8)."""
    (received,) = transcripts(data, kind)
    return received


@every_kind
class TestRows:
    def test_row_01_http_1_0_is_answered_as_if_there_were_no_offer(self, kind: Kind) -> None:
        received = transcript(b"GET /shout HTTP/1.0\r\n" + UPGRADE + b"Expect: 100-continue\r\n\r\n", kind)
        assert statuses(received) == [200], "and no 1xx"
        assert b"Upgrade" not in received

    def test_row_02_without_the_connection_option_it_is_an_ordinary_request(self, kind: Kind) -> None:
        received = transcript(HEAD % b"/shout" + b"Upgrade: shout\r\n\r\n" + PLAIN, kind)
        assert [body for _, _, body in answers(received)] == [b"GET /shout ", b"GET / "]

    def test_row_05_and_10_the_101_names_the_protocol_has_no_content_and_is_followed_by_it(self, kind: Kind) -> None:
        received = transcript(SWITCH + b"x", kind)
        ((status, fields, rest),) = answers(received)
        assert status == 101
        assert fields == {b"upgrade": b"shout", b"connection": b"Upgrade"}
        assert rest == b"X"

    def test_row_08_100_comes_before_101(self, kind: Kind) -> None:
        head = b"POST /shout HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n" + UPGRADE + b"\r\n"
        assert transcript(head, kind) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert transcript(head + b"bodyx", kind) == b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHED + b"X"

    @pytest.mark.parametrize(
        "framed",
        [
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n",
        ],
        ids=["content-length", "chunked"],
    )
    def test_row_09_the_body_is_read_by_http_and_what_follows_is_the_new_protocols(
        self, kind: Kind, framed: bytes
    ) -> None:
        data = b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE + framed
        assert transcript(data + b"early", kind) == SWITCHED + b"EARLY"
        switch = Accepts()
        wire = Site({"/shout": switch}).connect(kind)
        wire.send(data)
        assert switch.asked[0].body == b"hello"
        assert switch.built[0].heard == b""

    def test_row_12_earlier_requests_are_answered_first_and_in_order(self, kind: Kind) -> None:
        received = transcript(PLAIN + HEAD % b"/two" + b"\r\n" + SWITCH + b"early", kind)
        first, second, (status, _, rest) = answers(received)
        assert (first[2], second[2], status, rest) == (b"GET / ", b"GET /two ", 101, b"EARLY")

    def test_row_13_if_declined_the_connection_goes_on_and_the_body_is_the_requests(self, kind: Kind) -> None:
        offer = b"Connection: upgrade\r\nUpgrade: other\r\n"
        declined = b"POST /shout HTTP/1.1\r\nHost: a\r\n" + offer + b"Content-Length: 5\r\n\r\nhello"
        received = transcript(declined + SWITCH + b"early", kind)
        (status, _, body), after = answers(received)
        assert (status, body, after[0]) == (200, b"POST /shout hello", 101)


class TestRow04:
    @pytest.mark.parametrize("offer", [b"other", b"shout/2", b"shouts", b"shou", b"h2c, websocket"])
    def test_row_04_what_was_not_offered_is_not_switched_to(self, offer: bytes) -> None:
        def only_plain(request: Any, offered: Any) -> Accept | None:
            return Accept(lambda session: Shout()) if offered.version is None else None

        wire = Site({"/shout": Says(only_plain)}).connect()
        wire.send(HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: " + offer + b"\r\n\r\n")
        assert statuses(wire.received) == [200]


class TestA06BodyAsNewProtocol:
    @pytest.mark.parametrize("inner", [PLAIN, b"\x81\x85\x01\x02\x03\x04hello"], ids=["request", "frame"])
    def test_a06_a_body_is_never_input_of_the_new_protocol(self, inner: bytes) -> None:
        length = b"Content-Length: %d\r\n\r\n" % len(inner)
        assert transcript(b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE + length + inner) == SWITCHED
        chunk = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
        assert transcript(b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE + chunk) == SWITCHED

    @pytest.mark.parametrize("order", [0, 1])
    def test_a06_content_length_with_transfer_encoding_is_refused(self, order: int) -> None:
        framing = [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"]
        both = framing[order] + framing[1 - order]
        assert statuses(transcript(b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE + both + b"\r\n0\r\n\r\nx")) == [
            400
        ]

    def test_a06_a_body_over_the_limit_is_413_and_nothing_is_asked(self) -> None:
        chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n4\r\nover\r\n"
        for framed in (b"Content-Length: 9\r\n\r\n", chunked):
            switch = Accepts()
            wire = Site({"/shout": switch}, settings="limits.body_bytes = 8").connect()
            wire.send(b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE + framed)
            assert statuses(wire.received) == [413]
            assert switch.asked == []

    def test_a06_a_body_as_long_as_the_limit_is_taken(self) -> None:
        wire = Site({"/shout": Accepts()}, settings="limits.body_bytes = 8").connect()
        wire.send(b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"Content-Length: 8\r\n\r\n12345678x")
        assert wire.received == SWITCHED + b"X"


class TestA07EarlyBytesAfterADeclinedSwitch:
    DECLINED = HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: other\r\n\r\n"

    def test_a07_a_second_request_is_one_like_any_other(self) -> None:
        received = transcript(self.DECLINED + HEAD % b"/admin" + b"\r\n")
        assert [body for _, _, body in answers(received)] == [b"GET /shout ", b"GET /admin "]

    def test_a07_a_client_hello_is_no_request(self) -> None:
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64))
        received = transcript(self.DECLINED + hello)
        assert statuses(received) == [200, 400]

    def test_a07_a_client_hello_instead_of_a_request_is_answered_at_once(self) -> None:
        wire = Site().connect()
        wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert statuses(wire.received) == [400]
        assert wire.transport.sent_eof

    def test_a07_after_a_refused_connect_nothing_is_read(self) -> None:
        page = Page()
        wire = Site(root=page).connect()
        wire.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n" + PLAIN)
        assert statuses(wire.received) == [501]
        assert wire.transport.sent_eof
        assert page.requests == []


class TestA08SplitAndCoalesce:
    @pytest.mark.parametrize("kind", CLEAR.values(), ids=CLEAR)  # TLS knows no half-close; test_http1 has its end
    def test_a08_a_fin_right_behind_is_answered_the_same_for_each_cut(self, kind: Kind) -> None:
        found = set()
        for segments in cuts(SWITCH + b"early"):
            wire = Site({"/shout": Accepts()}).connect(kind)
            for segment in segments:
                wire.transport.arrive(segment)
            wire.half_close()
            assert wire.closed
            found.add(wire.received)
        assert found == {SWITCHED + b"EARLY"}


class TestA09TokenConfusion:
    @pytest.mark.parametrize(
        "upgrade",
        [
            b"",
            b"shouting",
            b"notshout",
            b"shout;q=1",
            b'"shout"',
            b"shout shout",
            b"shout/",
            b"/shout",
            b"sh\xc3\xb6ut",
            b"shout/1/2",
        ],
    )
    def test_a09_what_is_not_the_token_is_ignored(self, upgrade: bytes) -> None:
        received = transcript(HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n" + PLAIN)
        assert statuses(received) == [200, 200]

    @pytest.mark.parametrize("upgrade", [b"SHOUT", b"\tshout\t", b",,shout,,", b"other, Shout", b"other,\r\n\tshout"])
    def test_a09_what_is_the_token_is_answered_in_our_spelling(self, upgrade: bytes) -> None:
        received = transcript(HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")
        assert received == SWITCHED

    @pytest.mark.parametrize("upgrade", [b"sh\x00out", b"shout\rX: y", b"shout\nX: y"])
    def test_a09_controls_make_the_request_invalid(self, upgrade: bytes) -> None:
        received = transcript(HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")
        assert statuses(received) == [400]

    def test_a09_a_thousand_tokens_find_the_known_one(self) -> None:
        many = b", ".join(b"token%d" % index for index in range(1000))
        wire = Site({"/shout": Accepts()}).connect()
        wire.send(HEAD % b"/shout" + b"Connection: upgrade\r\nUpgrade: " + many + b", shout\r\n\r\n")
        assert wire.received == SWITCHED


class TestA10HeaderInjectionByAPlugin:
    @pytest.mark.parametrize(
        "header",
        [
            (b"X", b"a\r\nY: b"),
            (b"X", b"a\nY: b"),
            (b"X\r\nY", b"b"),
            (b"Upgrade", b"other"),
            (b"connection", b"close"),
            (b"Content-Length", b"3"),
        ],
    )
    def test_a10_nothing_of_it_is_written(self, header: tuple[bytes, bytes]) -> None:
        switch = Accepts(headers=((b"X-Good", b"1"), header))
        wire = Site({"/shout": switch}).connect()
        wire.send(SWITCH)
        ((status, fields, _),) = answers(wire.received)
        assert status == 500
        assert b"x-good" not in fields
        assert b"y" not in fields
        assert switch.abandoned == 1


class TestA11SlowHandshake:
    @every_kind
    def test_a11_a_head_that_drips_is_408_when_its_time_is_up(self, kind: Kind) -> None:
        switch = Accepts()
        wire = Site({"/shout": switch}, settings="limits.head_seconds = 20").connect(kind)
        for index in range(25):
            wire.send(SWITCH[index : index + 1])
            wire.clock.advance(1)
        wire.turn()
        assert statuses(wire.received) == [408]
        assert switch.asked == []


class TestA12TimerLeftArmed:
    def test_a12_a_switch_behind_a_request_outlives_every_deadline(self) -> None:
        site = Site({"/shout": Accepts()})
        wire = site.connect()
        wire.send(PLAIN + SWITCH)
        assert wire.clock.getDelayedCalls() == []
        wire.clock.advance(86_400)
        wire.send(b"x")
        assert wire.received.endswith(b"X")


class TestA13PipelinedAfterUpgrade:
    @every_kind
    def test_a13_a_request_behind_the_upgrade_is_input_of_the_new_protocol(self, kind: Kind) -> None:
        assert transcript(SWITCH + PLAIN, kind) == SWITCHED + PLAIN.upper()


class TestA14SwitchRace:
    @every_kind
    @pytest.mark.parametrize("end", ["reset", "half_close"])
    def test_a14_switch_and_end_together_make_one_connection_lost(self, kind: Kind, end: str) -> None:
        switch = Accepts()
        wire = Site({"/shout": switch}).connect(kind)
        wire.send(SWITCH)
        getattr(wire, end)()
        assert len(switch.built) == len(switch.built[0].reasons) == 1
        assert switch.abandoned == 0

    @every_kind
    def test_a14_lost_during_a_decision_nothing_is_half_made(self, kind: Kind) -> None:
        switch = Accepts(late=True)
        site = Site({"/shout": switch})
        wire = site.connect(kind)
        wire.send(SWITCH)
        wire.reset()
        assert (switch.built, switch.cancelled) == ([], 1)
        assert site.factory.connections == set()
        assert wire.clock.getDelayedCalls() == []

    def test_a14_a_second_switch_is_not_http_any_more(self) -> None:
        assert transcript(SWITCH + SWITCH) == SWITCHED + SWITCH.upper()
