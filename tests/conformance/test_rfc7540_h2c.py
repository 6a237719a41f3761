"""RFC 7540 sections 3.2 to 3.4, h2c: rows 19 to 24, attacks A1 to A3."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator

import pytest
from hyperframe.frame import SettingsFrame
from zope.interface import implementer

from switchd import events
from switchd.interfaces import Answer, ISwitch, Offer, Refuse, Request
from switchd.negotiation import Entry
from switchd.protocols.h2c import decoded
from switchd.testing import cuts
from tests.frames import (
    END_STREAM,
    GET,
    HELLO,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS_TIMEOUT,
    SETTLED,
    STREAM_CLOSED,
    Connect,
    Rooms,
    data,
    headers,
    many,
    payload,
    peers,
    request,
    requests,
    reset,
    settings,
    site,
    update,
)
from tests.serving import Site, answers, statuses
from tests.wires import TLSWire

pytestmark = pytest.mark.usefixtures("http2_engine")

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"


def coded(*values: tuple[int, int]) -> bytes:
    """What is in `HTTP2-Settings`."""
    return urlsafe_b64encode(payload(*values)).rstrip(b"=")


def upgrade(
    target: bytes = b"/",
    method: bytes = b"GET",
    version: bytes = b"1.1",
    connection: bytes = b"Upgrade, HTTP2-Settings",
    token: bytes = b"h2c",
    settings: bytes = b"HTTP2-Settings: " + coded((3, 100)) + b"\r\n",
    more: bytes = b"",
    body: bytes = b"",
) -> bytes:
    """A request that asks for h2c, right or wrong."""
    head = b"%b %b HTTP/%b\r\nHost: example.org\r\nConnection: %b\r\nUpgrade: %b\r\n"
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return head % (method, target, version, connection, token) + settings + more + length + b"\r\n" + body


def with_settings(*values: bytes) -> bytes:
    """The same with these fields of settings."""
    return upgrade(settings=b"".join(b"HTTP2-Settings: %b\r\n" % value for value in values))


@pytest.fixture
def connect() -> Iterator[Connect]:
    with peers() as made:
        yield made


def plainly(asked: bytes, server: Site | None = None) -> list[int]:
    """The status codes of an HTTP/1.1 connection on which it is asked, and then something else."""
    wire = (server or site()).connect()
    wire.send(asked)
    wire.send(b"GET /after HTTP/1.1\r\nHost: example.org\r\n\r\n")
    wire.reset()
    assert wire.clock.getDelayedCalls() == []
    return statuses(wire.received)


# The switch


def test_row_22_the_request_is_answered_on_stream_1(connect: Connect) -> None:
    peer = connect(hello=upgrade(b"/a?b"))
    assert peer.before == SWITCHED
    peer.send(HELLO)
    answer = peer.answers[1]
    assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"GET /a?b ", True, None)


def test_row_22_the_first_bytes_after_the_101_are_a_settings_frame(connect: Connect) -> None:
    peer = connect(hello=upgrade())
    assert isinstance(peer.frames[0], SettingsFrame)
    assert "ACK" not in peer.frames[0].flags
    assert peer.settings


def test_row_22_stream_1_is_half_closed_by_the_client(connect: Connect) -> None:
    for frame in (data(1, b"x"), headers(1)):
        peer = connect(hello=upgrade(b"/later"))
        peer.send(HELLO, frame)
        assert peer.resets == {1: STREAM_CLOSED}
        assert peer.works


def test_row_22_it_may_be_reset_and_be_given_credit(connect: Connect) -> None:
    peer = connect(hello=upgrade(b"/many/100000"))
    peer.send(HELLO, update(1, 100_000), update(0, 100_000))
    assert len(peer.answers[1].body) == 100_000
    peer = connect(hello=upgrade(b"/later"))
    peer.send(HELLO, reset(1), headers(3))
    assert peer.requests[0]._disconnected
    assert peer.answers[3].status == 200


def test_row_22_the_next_streams_are_3_and_so_on(connect: Connect) -> None:
    peer = connect(hello=upgrade())
    peer.send(HELLO, headers(3), many(5, 10))
    assert [peer.answers[number].status for number in (1, 3, 5)] == [200, 200, 200]


def test_row_22_1_is_taken(connect: Connect) -> None:
    peer = connect(hello=upgrade())
    peer.send(HELLO)
    peer.send(headers(1))
    assert peer.failed in (STREAM_CLOSED, PROTOCOL_ERROR)


def test_row_22_head_has_no_content(connect: Connect) -> None:
    peer = connect(hello=upgrade(method=b"HEAD") + HELLO)
    assert (peer.answers[1].status, peer.answers[1].body, peer.answers[1].ended) == (200, b"", True)


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
def test_row_22_its_body_is_read_by_the_rules_of_http_1_1(connect: Connect, framing: bytes) -> None:
    asked = upgrade(method=b"POST")[:-2] + framing
    for number, segments in enumerate(cuts(asked + HELLO + headers(3))):
        if number < 2 or number > len(asked) - 70 and number % 3 == 0:
            peer = connect(hello=b"")
            peer.send_each(segments)
            assert peer.before == SWITCHED
            assert peer.answers[1].body == b"POST / body"
            assert peer.answers[3].body == b"GET / "


def test_row_22_options_with_a_body_as_nghttp_sends_it(connect: Connect) -> None:
    """`nghttp -u -d file` upgrades by `OPTIONS *` and posts afterwards; a body of the first is not in its way."""
    peer = connect(hello=upgrade(b"*", method=b"OPTIONS", body=b"body"))
    peer.send(HELLO, headers(3, request((b":method", b"POST")), 4), data(3, b"file", END_STREAM))
    assert (peer.answers[1].status, peer.answers[3].body) == (200, b"POST / file")


def test_row_22_continue_is_said_before_the_switch(connect: Connect) -> None:
    wire = site().connect()
    wire.send(upgrade(method=b"POST", more=b"Expect: 100-continue\r\nContent-Length: 4\r\n"))
    assert wire.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.send(b"body")
    assert wire.take().startswith(SWITCHED)
    wire.reset()


def test_row_22_its_fields_say_nothing_of_the_switch_any_more(connect: Connect) -> None:
    peer = connect(hello=upgrade(more=b"X-Other: kept\r\n") + HELLO)
    (asked,) = peer.requests
    assert sorted(name for name, _ in asked.requestHeaders.getAllRawHeaders()) == [b"Host", b"X-Other"]
    assert asked.clientproto == b"HTTP/2"


def test_row_22_an_earlier_request_is_answered_first(connect: Connect) -> None:
    wire = site().connect()
    wire.send(b"GET /first HTTP/1.1\r\nHost: example.org\r\n\r\n" + upgrade())
    (first, _, body), (second, _, _) = answers(wire.received)
    assert (first, body, second) == (200, b"GET /first ", 101)
    wire.reset()


# The client's settings


def test_row_20_they_hold_from_the_start(connect: Connect) -> None:
    peer = connect(hello=upgrade(b"/many/100", settings=b"HTTP2-Settings: %b\r\n" % coded((INITIAL_WINDOW_SIZE, 10))))
    assert peer.answers[1].body == b"x" * 10
    peer.send(PREFACE + settings((INITIAL_WINDOW_SIZE, 100)))
    assert peer.answers[1].ended


def test_row_20_they_are_not_acknowledged(connect: Connect) -> None:
    peer = connect(hello=upgrade())
    assert [frame for frame in peer.of(SettingsFrame) if "ACK" in frame.flags] == []
    peer.send(HELLO)
    assert len([frame for frame in peer.of(SettingsFrame) if "ACK" in frame.flags]) == 1


@pytest.mark.parametrize("value", [b"", coded((0xBABA, 1)), coded((2, 0)), coded((4, (1 << 31) - 1), (5, 16384))])
def test_row_20_none_and_unknown_ones_are_right(connect: Connect, value: bytes) -> None:
    peer = connect(hello=with_settings(value) + HELLO)
    assert (peer.before, peer.answers[1].status) == (SWITCHED, 200)


WRONG = {
    "padded": urlsafe_b64encode(payload((3, 1), (4, 1), (5, 16384), (2, 0)) + bytes(6)) + b"==",
    "base64 that is not for URLs": b"AAMAAAB+/+8",
    "one character too many": b"AAMAAABkA",
    "a setting cut short": b"AAMAAAB",
    "blanks inside": b"AAMA AABk",
    "no base64": b"!",
    "a list": coded((3, 1)) + b", " + coded((3, 1)),
    "ENABLE_PUSH of 2": coded((2, 2)),
    "a window of 2^31": coded((INITIAL_WINDOW_SIZE, 1 << 31)),
    "a frame size that is too small": coded((5, 16383)),
    "a frame size that is too large": coded((5, 1 << 24)),
    "wrong, and then right": coded((2, 2), (2, 0)),
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_row_20_a3_wrong_ones_are_400(value: bytes) -> None:
    server = site()
    assert plainly(with_settings(value), server) == [400]
    assert requests(server) == []


def test_row_20_a3_64_kilobytes_of_them_are_431() -> None:
    assert plainly(with_settings(coded(*[(3, 1)] * 8192))) == [431]


def test_row_20_as_many_as_a_head_may_hold_are_read(connect: Connect) -> None:
    value = coded(*((key, 1) for key in range(1000, 2900)))
    peer = connect(hello=with_settings(value) + HELLO)
    assert peer.answers[1].status == 200


def test_row_20_what_is_decoded_is_the_payload() -> None:
    for values in ([], [(3, 1)], [(3, 1), (4, 2)], [(3, 1), (4, 2), (0xFFFF, (1 << 32) - 1)]):
        assert decoded(coded(*values)) == payload(*values)


@pytest.mark.parametrize("value", [b"A", b"AAMAAABkA", b"AA==", b"AA MA", b"+/+/+/+/"])
def test_row_20_what_is_no_base64url_is_never_decoded(value: bytes) -> None:
    with pytest.raises(ValueError, match="^is not base64url without padding$"):
        decoded(value)


# Where there is no switch

DECLINED = {
    "row 19 no settings": upgrade(settings=b""),
    "row 19 two of them": with_settings(coded((3, 1)), coded((3, 1))),
    "row 19 not listed in Connection": upgrade(connection=b"Upgrade"),
    "row 19 a1 a2 nothing listed": upgrade(connection=b"keep-alive"),
    "row 19 only the settings listed": upgrade(connection=b"HTTP2-Settings"),
    "row 21 h2": upgrade(token=b"h2"),
    "row 21 h2c with a version": upgrade(token=b"h2c/2"),
    "h2c-14": upgrade(token=b"h2c-14"),
}


@pytest.mark.parametrize("asked", DECLINED.values(), ids=DECLINED)
def test_rows_19_and_21_otherwise_it_is_an_ordinary_request(asked: bytes) -> None:
    assert plainly(asked) == [200, 200]


def test_row_1_nor_is_there_a_switch_in_http_1_0() -> None:
    assert plainly(upgrade(version=b"1.0"))[:1] == [200]


@pytest.mark.parametrize(
    "connection", [b"upgrade,http2-settings", b"HTTP2-Settings\t,\tUPGRADE", b"x, Upgrade ,http2-settings,"]
)
def test_row_19_connection_is_read_as_the_list_that_it_is(connect: Connect, connection: bytes) -> None:
    peer = connect(hello=upgrade(connection=connection) + HELLO)
    assert peer.answers[1].status == 200


def test_row_19_connection_may_come_in_two_lines(connect: Connect) -> None:
    asked = upgrade(connection=b"Upgrade", more=b"Connection: HTTP2-Settings\r\n")
    peer = connect(hello=asked + HELLO)
    assert peer.answers[1].status == 200


def test_row_19_nothing_that_we_send_has_http2_settings(connect: Connect) -> None:
    peer = connect(hello=upgrade() + HELLO)
    assert b"http2-settings" not in peer.before.lower()
    assert b"http2-settings" not in peer.answers[1].heads[0]


def test_row_21_there_is_no_h2c_in_tls() -> None:
    server = site()
    wire = server.connect(TLSWire)
    wire.send(upgrade())
    assert statuses(wire.received) == [200]
    wire.reset()


def test_row_21_nor_prior_knowledge() -> None:
    """There, HTTP/2 is agreed on by ALPN (RFC 9113 section 3.2)."""
    server = site()
    wire = server.connect(TLSWire)
    wire.send(HELLO)
    assert statuses(wire.received)[:1] in ([400], [505])
    assert server.told(events.Switched) == []
    wire.reset()
    assert wire.clock.getDelayedCalls() == []


def test_row_21_h2c_is_no_choice_of_alpn() -> None:
    assert site().factory.acceptableProtocols() == [b"h2", b"http/1.1"]


def test_row_24_without_a_switch_there_is_no_prior_knowledge() -> None:
    server = Site(root=Rooms())
    wire = server.connect()
    wire.send(HELLO + headers(1))
    assert statuses(wire.received)[:1] in ([400], [505])
    assert requests(server) == []


def test_without_a_switch_the_offer_is_ignored() -> None:
    assert plainly(upgrade(), Site()) == [200, 200]


# After the 101


@pytest.mark.parametrize("wrong", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", settings(), PREFACE + headers(3)])
def test_row_23_the_preface_must_still_come(connect: Connect, wrong: bytes) -> None:
    for segments in ([wrong], [wrong[index : index + 1] for index in range(len(wrong))]):
        peer = connect(hello=upgrade(b"/later"))
        peer.send_each(segments)
        assert peer.failed == PROTOCOL_ERROR


def test_row_23_a11_and_in_time(connect: Connect) -> None:
    peer = connect("limits.head_seconds = 3", hello=upgrade(b"/later"))
    peer.send(PREFACE[:10])
    peer.let_pass(3)
    assert peer.failed == SETTINGS_TIMEOUT


def test_row_23_in_any_split(connect: Connect) -> None:
    for segments in cuts(HELLO + SETTLED):
        peer = connect(hello=upgrade())
        peer.send_each(segments)
        peer.let_pass(20)
        assert peer.works


def test_row_23_early_bytes_belong_to_http_2(connect: Connect) -> None:
    for number, segments in enumerate(cuts(upgrade() + HELLO + headers(3))):
        if number < 2 or number % 4 == 0:
            peer = connect(hello=b"")
            peer.send_each(segments)
            assert (peer.answers[1].status, peer.answers[3].status) == (200, 200)


# Attack A1: the same access rules and log, per stream


@implementer(ISwitch)
class Never:
    """A switch that takes nothing."""

    def offer(self, request: Request, offer: Offer) -> Answer:
        return Refuse(403)


@pytest.mark.parametrize("hello", [HELLO, upgrade() + HELLO], ids=["prior knowledge", "upgrade"])
def test_a1_each_stream_goes_the_way_of_any_request(connect: Connect, hello: bytes) -> None:
    """A path that requires another protocol gives nothing away over HTTP/2 (its 426 has no meaning there)."""
    closed = Entry("/closed", "shout", (b"shout",), Never(), require=True)
    server = site(switches=[closed])
    peer = connect(server, hello)
    peer.send(headers(3, request((b":path", b"/closed/room"))), headers(5))
    assert peer.resets == {3: 13}  # HTTP_1_1_REQUIRED
    assert peer.answers[5].status == 200
    assert [asked.path for asked in requests(server) if asked.path != b"/"] == []


def test_the_connection_is_told_of_as_switched(connect: Connect) -> None:
    for hello in (HELLO, upgrade() + HELLO):
        server = site()
        connect(server, hello).over()
        (switched,) = server.told(events.Switched)
        (ended,) = server.told(events.Ended)
        assert (switched.stack, ended.stack) == (("h2c",), ("h2c",))


def test_the_fields_of_a_request_are_those_of_the_helper() -> None:
    assert request() == GET
