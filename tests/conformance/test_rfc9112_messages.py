"""RFC 9112, what stock twisted.web leaves to us: row 14, and an answer where it accepts or closes silently.

Every request here offers a switch as well: the rules hold on upgrade requests too.
"""

from __future__ import annotations

import pytest

from switchd.testing import Wire, cuts
from tests.serving import HEAD, PLAIN, SWITCHED, UPGRADE, Accepts, Page, Site, answers, statuses

GET = b"GET /shout HTTP/1.1\r\n"
POST = b"POST /shout HTTP/1.1\r\nHost: a\r\n" + UPGRADE


def answer(data: bytes, settings: str = "") -> list[int]:
    """The status codes for `data`, the same for every cut; with each of them nothing is switched."""
    found = set()
    for segments in list(cuts(data))[:400]:
        switch = Accepts()
        wire = Site({"/shout": switch}, settings=settings).connect()
        for segment in segments:
            wire.send(segment)
        found.add(tuple(statuses(wire.received)))
        wire.reset()
    (only,) = found
    return list(only)


class TestRow14Host:
    @pytest.mark.parametrize(
        "hosts",
        [
            b"",
            b"Host: a\r\nHost: a\r\n",
            b"Host: a\r\nHost: b\r\n",
            b"Host: a/b\r\n",
            b"Host: a b\r\n",
            b"Host: a@b\r\n",
        ],
        ids=["missing", "twice", "two", "slash", "blank", "userinfo"],
    )
    def test_row_14_a_host_that_is_missing_repeated_or_no_host_is_400(self, hosts: bytes) -> None:
        assert answer(GET + hosts + UPGRADE + b"\r\n") == [400]

    @pytest.mark.parametrize("host", [b"a", b"a:80", b"[::1]:8080", b"", b"xn--bcher-kva.example"])
    def test_row_14_a_host_is_taken(self, host: bytes) -> None:
        assert answer(GET + b"Host: " + host + b"\r\n" + UPGRADE + b"\r\n") == [101]

    def test_row_14_http_1_0_needs_none(self) -> None:
        assert answer(b"GET / HTTP/1.0\r\n\r\n") == [200]
        assert answer(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n") == [400]


class TestRow14Framing:
    @pytest.mark.parametrize(
        "fields",
        [
            b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 1\r\nContent-Length: 2\r\n",
            b"Content-Length: 1, 2\r\n",
            b"Content-Length: +1\r\n",
            b"Content-Length: 0x1\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Length: 1_0\r\n",
            b"Content-Length:\r\n",
        ],
    )
    def test_row_14_framing_that_can_be_read_in_two_ways_is_400(self, fields: bytes) -> None:
        assert answer(POST + fields + b"\r\n") == [400]

    @pytest.mark.parametrize("coding", [b"identity", b"gzip", b"gzip, chunked", b"chunked, identity", b"x"])
    def test_row_14_a_transfer_coding_that_we_do_not_know_is_501(self, coding: bytes) -> None:
        assert answer(POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n") == [501]

    def test_row_14_a_transfer_coding_in_http_1_0_is_400(self) -> None:
        assert answer(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == [400]

    @pytest.mark.parametrize(
        "body",
        [
            b"1" * 17 + b"\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"1_0\r\n",
            b"\r\n",
            b"1\r\nxyz",
            b"1\r\nxyz\r\n",
            b"1;\x00\r\nx\r\n",
        ],
        ids=["17 digits", "no digit", "minus", "underscore", "empty", "no end", "too long", "control"],
    )
    def test_row_14_a_malformed_chunk_is_400(self, body: bytes) -> None:
        assert answer(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body) == [400]

    def test_row_14_a_long_trailer_section_is_400(self) -> None:
        trailer = b"".join(b"T%d: x\r\n" % index for index in range(400))
        sent = POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailer
        wire = Site(settings="limits.head_bytes = 1024").connect()
        wire.send(sent)
        assert statuses(wire.received) == [400]


class TestRow14Fields:
    @pytest.mark.parametrize(
        "line",
        [
            b"Upgrade : shout",
            b"Up grade: shout",
            b": x",
            b"no colon",
            b"X\x00: y",
            b"X: \x00",
            b"X: a\rb",
            b" folded: first",
        ],
    )
    def test_row_14_a_malformed_field_line_is_400(self, line: bytes) -> None:
        assert answer(GET + line + b"\r\nHost: a\r\n\r\n") == [400]

    def test_row_14_a_folded_line_is_one_value(self) -> None:
        assert answer(GET + b"Host: a\r\nConnection: keep-alive,\r\n upgrade\r\nUpgrade:\r\n\tshout\r\n\r\n") == [101]


class TestRequestLine:
    @pytest.mark.parametrize(
        "line",
        [
            b"GET /",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/2.0",
            b"GET / http/1.1",
            b"GET / HTTP/1.10",
            b"G(T / HTTP/1.1",
            b"GET a HTTP/1.1",
            b"GET ftp://a/ HTTP/1.1",
            b"PRI * HTTP/2.0",
        ],
    )
    def test_malformed_is_400(self, line: bytes) -> None:
        assert answer(line + b"\r\nHost: a\r\n\r\n") == [400]

    def test_too_long_is_414(self) -> None:
        settings = "limits.head_bytes = 1024"
        for line in (b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n", b"GET /" + b"x" * 2000):
            wire = Site(settings=settings).connect()
            wire.send(line)
            assert statuses(wire.received) == [414]
            assert wire.transport.sent_eof

    def test_absolute_form_has_a_route_and_its_host_counts(self) -> None:
        switch = Accepts()
        wire = Site({"/shout": switch}).connect()
        wire.send(b"GET http://real.example:81/shout?q HTTP/1.1\r\nHost: other\r\n" + UPGRADE + b"\r\n")
        assert wire.received == SWITCHED
        assert switch.asked[0].target == b"http://real.example:81/shout?q"
        assert switch.asked[0].path == b"/shout"
        assert switch.asked[0].values(b"host") == (b"real.example:81",)

    @pytest.mark.parametrize("target", [b"http://a", b"HTTP://a/", b"http://a?q"])
    def test_absolute_form_without_a_path_is_the_root(self, target: bytes) -> None:
        wire = Site().connect()
        wire.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        ((status, _, body),) = answers(wire.received)
        assert (status, body.split(b"?")[0].strip()) == (200, b"GET /")

    def test_options_star_is_answered_for_the_server(self) -> None:
        page = Page()
        wire = Site(root=page).connect()
        wire.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab" + PLAIN)
        (status, fields, _), after = answers(wire.received)
        assert (status, fields[b"content-length"], after[0]) == (200, b"0", 200)
        assert b"GET" in fields[b"allow"]
        assert len(page.requests) == 1, "it does not reach the resources"

    def test_options_star_can_be_switched_where_the_root_has_a_switch(self) -> None:
        switch = Accepts()
        wire = Site({"/": switch}).connect()
        wire.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + UPGRADE + b"\r\nabx")
        assert wire.received == SWITCHED + b"X"
        assert (switch.asked[0].path, switch.asked[0].body) == (b"*", b"ab")
        wire = Site({"/shout": Accepts()}).connect()
        wire.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n" + UPGRADE + b"\r\n")
        assert statuses(wire.received) == [200]

    def test_star_for_another_method_is_400(self) -> None:
        assert answer(b"GET * HTTP/1.1\r\nHost: a\r\n\r\n") == [400]


class TestHeaderFields:
    def test_too_long_together_are_431(self) -> None:
        settings = "limits.head_bytes = 1024"
        lines = b"".join(b"X%d: %b\r\n" % (index, b"x" * 90) for index in range(20))
        for head in (
            HEAD % b"/" + lines,
            HEAD % b"/" + b"X: " + b"x" * 2000,
            HEAD % b"/" + b"X: " + b"x" * 2000 + b"\r\n\r\n",
        ):
            wire = Site(settings=settings).connect()
            wire.send(head)
            assert statuses(wire.received) == [431]
            assert wire.transport.sent_eof

    def test_too_many_are_431(self) -> None:
        for count, expected in ((10, 200), (11, 431)):
            wire = Site(settings="limits.header_count = 10").connect()
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * (count - 1) + b"\r\n")
            assert statuses(wire.received) == [expected]

    def test_limits_hold_for_each_request_anew(self) -> None:
        wire = Site(settings="limits.header_count = 2\nlimits.head_bytes = 1024").connect()
        wire.send((HEAD % b"/" + b"X: " + b"x" * 900 + b"\r\n\r\n") * 3)
        assert statuses(wire.received) == [200, 200, 200]


class TestBody:
    @pytest.mark.parametrize(
        "length", [b"9", b"1" * 18, b"9" * 5000, b"0" * 100 + b"9"], ids=["9", "18 digits", "5000 digits", "zeros"]
    )
    def test_over_the_limit_is_413_and_not_100(self, length: bytes) -> None:
        wire = Site(settings="limits.body_bytes = 8").connect()
        wire.send(HEAD % b"/" + b"Expect: 100-continue\r\nContent-Length: " + length + b"\r\n\r\n")
        assert statuses(wire.received) == [413]

    def test_expecting_100_gets_it_when_the_length_is_allowed(self) -> None:
        wire = Site(settings="limits.body_bytes = 8").connect()
        wire.send(HEAD % b"/" + b"Expect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        assert wire.received == b"HTTP/1.1 100 Continue\r\n\r\n"

    def test_a_chunk_that_announces_too_much_is_413_at_once(self) -> None:
        wire = Site(settings="limits.body_bytes = 8").connect()
        wire.send(HEAD % b"/" + b"Transfer-Encoding: chunked\r\n\r\n9\r\n")
        assert statuses(wire.received) == [413]

    # The parser that twisted.web uses for forms leaves a temporary file to the garbage collector.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_form_that_is_none_is_400(self) -> None:
        form = b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
        assert answer(b"POST / HTTP/1.1\r\nHost: a\r\n" + form) == [400]


class TestAnyBytes:
    @pytest.mark.parametrize("first", range(0, 256, 5))
    def test_a_first_byte_that_begins_no_request_is_answered_or_waited_with_but_nothing_breaks(
        self, first: int
    ) -> None:
        wire = Wire(Site().factory)
        wire.send(bytes([first]))
        wire.send(b"\r\n\r\n")
        assert set(statuses(wire.received)) <= {400}
