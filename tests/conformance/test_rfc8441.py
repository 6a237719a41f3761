"""RFC 8441, extended CONNECT: a stream of HTTP/2 that changes protocol. Rows 32 to 35, and A22.

The client is h2's; what that refuses to send is said in raw frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from h2.settings import SettingCodes
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost

from switchd import events
from switchd.interfaces import Accept, Context, Early, Refuse, SwitchPlugin
from switchd.negotiation import Entry
from switchd.protocols.addone import AddOne
from switchd.protocols.websocket.options import Options
from switchd.protocols.websocket.switch import WebSocket
from tests import frames
from tests.http2_client import Client, site
from tests.serving import Accepts, Says, Shout
from tests.websockets import frame

pytestmark = pytest.mark.usefixtures("http2_engine")

UPGRADE = b"GET / HTTP/1.1\r\nHost: example.org\r\n"
VERSION = ("sec-websocket-version", "13")


def shouts(switch: Any, settings: str = "") -> Client:
    """A client of a server with a switch for `shout` at /shout."""
    return Client(site(settings=settings, entries=[Entry("/shout", "shout", (b"shout",), switch)]))


def addone() -> Client:
    made = SwitchPlugin("addone", b"addone", "switchd.protocols.addone:AddOne").load()[1]
    return Client(site(entries=[Entry("/", "addone", (b"addone",), made(AddOne.Options(), None))]))  # type: ignore[arg-type]


def sockets(handler: str = "switchd.protocols.websocket:Echo", **options: Any) -> Client:
    """A client of a server with WebSockets that echo, at /echo."""
    made = site()
    settings = Options(handler, **options)
    switch = WebSocket(settings, Context(made.clock, "/echo", Path()))
    entries = [Entry("/echo", "websocket", (b"websocket",), switch)]
    return Client(site(entries=entries, clock=made.clock))


# Section 3: the setting


@pytest.mark.parametrize("upgrade", [None, UPGRADE], ids=["prior knowledge", "upgrade"])
def test_3_the_setting_is_announced(upgrade: bytes | None) -> None:
    client = Client(site(), upgrade=upgrade)
    assert client.h2.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] == 1


def test_3_it_can_be_turned_off_and_then_a_protocol_is_malformed() -> None:
    client = shouts(Accepts(), "[server]\nextended_connect = false")
    assert client.h2.remote_settings.enable_connect_protocol == 0
    assert client.tunnel("/shout").reset == frames.PROTOCOL_ERROR
    assert client.get().status == 200, "the others go on"


# Section 4: the request


def test_4_a_stream_is_switched_and_is_then_the_protocols_transport() -> None:
    switch = Accepts(headers=((b"X-Room", b"7"),))
    client = shouts(switch)
    answer = client.tunnel("/shout?loud", headers=[("x-who", "me")])
    assert (answer.status, answer.fields[b"x-room"], answer.ended) == (200, b"7", False)
    assert {b"date", b"server"} < answer.fields.keys()
    assert not {b"upgrade", b"connection", b"content-length", b"transfer-encoding"} & answer.fields.keys()
    client.tell(answer, b"hear ")
    client.tell(answer, b"me")
    assert answer.body == b"HEAR ME"
    (asked,) = switch.asked
    assert (asked.method, asked.how, asked.target, asked.path) == (b"CONNECT", "connect", b"/shout?loud", b"/shout")
    assert (asked.body, asked.headers) == (b"", ((b"host", b"example.org"), (b"x-who", b"me")))


def test_4_what_comes_behind_the_request_is_delivered() -> None:
    switch = Accepts(late=True)
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.tell(answer, b"early", ended=True)
    assert answer.status == 0
    switch.decide()
    client.let_pass(0)
    assert (answer.status, answer.body, answer.ended) == (200, b"EARLY", True)


def test_4_a_client_may_end_its_side_with_the_request() -> None:
    switch = Accepts()
    client = shouts(switch)
    answer = client.tunnel("/shout", ended=True)
    assert (answer.status, answer.body, answer.ended, answer.reset) == (200, b"", True, None)
    assert switch.built[0].reasons[0].check(ConnectionDone)


@pytest.mark.parametrize("token", ["unknown", "h2c", "HTTP/2", "a b", "", "shout, other"])
@pytest.mark.parametrize("path", ["/shout", "/elsewhere"])
def test_4_a_protocol_that_is_not_served_is_501(token: str, path: str) -> None:
    client = shouts(Accepts())
    answer = client.tunnel(path, token)
    assert (answer.status, answer.ended) == (501, True)
    assert client.get().status == 200


def test_4_a_switch_that_leaves_the_offer_makes_it_501_after_all_are_asked() -> None:
    first, second = Says(), Says()
    entries = [Entry("/", "a", (b"shout",), first), Entry("/", "b", (b"Shout",), second)]
    answer = Client(site(entries=entries)).tunnel("/")
    assert (answer.status, len(first.asked), len(second.asked)) == (501, 1, 1)


def test_4_tokens_have_no_case_and_may_have_versions() -> None:
    switch = Accepts()
    answer = shouts(switch).tunnel("/shout", "SHOUT/7")
    assert answer.status == 200


@pytest.mark.parametrize(
    "fields",
    [
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/shout"), (b":authority", b"a")],
        [(b":method", b"CONNECT"), (b":path", b"/shout"), (b":authority", b"a")],
        [(b":method", b"CONNECT"), (b":scheme", b"http"), (b":authority", b"a")],
        [(b":method", b"CONNECT"), (b":scheme", b"http"), (b":path", b"/shout")],
        [(b":method", b"CONNECT"), (b":scheme", b"http"), (b":path", b"*"), (b":authority", b"a")],
    ],
    ids=["GET", "no :scheme", "no :path", "no :authority", "no path"],
)
def test_4_a_request_with_a_protocol_and_without_what_belongs_to_it_is_malformed(fields: Any) -> None:
    switch = Accepts()
    with frames.peers() as connect:
        peer = connect(site(entries=[Entry("/shout", "shout", (b"shout",), switch)]))
        peer.send(frames.headers(1, [*fields, (b":protocol", b"shout")]))
        assert (peer.answers[1].reset, switch.asked) == (frames.PROTOCOL_ERROR, [])


def test_4_a_connect_without_a_protocol_is_501_still() -> None:
    with frames.peers() as connect:
        peer = connect(site())
        peer.send(frames.headers(1, [(b":method", b"CONNECT"), (b":authority", b"example.org:443")]))
        assert peer.answers[1].statuses == [501]


def test_4_upgrade_has_no_place_beside_it() -> None:
    switch = Accepts()
    with frames.peers() as connect:
        peer = connect(site(entries=[Entry("/shout", "shout", (b"shout",), switch)]))
        pseudo = [(b":method", b"CONNECT"), (b":scheme", b"http"), (b":path", b"/shout"), (b":authority", b"a")]
        peer.send(frames.headers(1, [*pseudo, (b":protocol", b"shout"), (b"upgrade", b"shout")]))
        assert (peer.answers[1].reset, switch.asked) == (frames.PROTOCOL_ERROR, [])


def test_4_trailers_have_no_place_in_a_tunnel() -> None:
    switch = Accepts()
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.h2.send_headers(answer.stream, [("x-last", "words")], end_stream=True)
    client.talk()
    assert answer.reset == frames.PROTOCOL_ERROR
    assert switch.built[0].reasons[0].check(ConnectionLost)


# Answers


def test_a_refusal_is_an_answer_like_others() -> None:
    client = shouts(Says(Refuse(403, ((b"X-Why", b"no"), (b"Upgrade", b"shout")), b"not you\n")))
    answer = client.tunnel("/shout")
    assert (answer.status, answer.fields[b"x-why"], answer.body) == (403, b"no", b"not you\n")
    assert (answer.ended, answer.reset) == (True, frames.NO_ERROR), "what it still sends is not wanted"
    assert b"upgrade" not in answer.fields


def test_a_plugin_that_fails_is_500(logged: list[type[BaseException]]) -> None:
    def fail(*arguments: Any) -> Any:
        raise ZeroDivisionError

    assert shouts(Says(fail)).tunnel("/shout").status == 500
    assert shouts(Accepts(build=fail)).tunnel("/shout").status == 500
    assert logged == [ZeroDivisionError, ZeroDivisionError]


def test_an_answer_that_cannot_be_sent_is_500(logged: list[type[BaseException]]) -> None:
    switch = Accepts(headers=((b"X", b"a\r\nb"),))
    assert shouts(switch).tunnel("/shout").status == 500
    assert shouts(Says(Refuse(99))).tunnel("/shout").status == 500
    assert (switch.built, switch.abandoned, len(logged)) == ([], 1, 2)


def test_where_early_bytes_are_refused_it_is_400() -> None:
    switch = Accepts(late=True, early=Early.REFUSE)
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.tell(answer, b"early")
    switch.decide()
    client.let_pass(0)
    assert (answer.status, switch.abandoned, switch.built) == (400, 1, [])


def test_a_decision_has_its_time() -> None:
    switch = Accepts(late=True)
    client = shouts(switch)
    answer = client.tunnel("/shout", ended=True)
    client.let_pass(9.9)
    assert answer.status == 0
    client.let_pass(0.2)
    assert (answer.status, switch.cancelled) == (503, 1)
    assert client.get().status == 200


@pytest.mark.parametrize("how", ["reset", "lost"])
def test_a_decision_is_cancelled_when_the_client_is_gone_and_abandoned_if_it_comes_all_the_same(how: str) -> None:
    class Stubborn(Accepts):
        def _cancel(self, deferred: Deferred[Any]) -> None:
            super()._cancel(deferred)
            deferred.callback(self.answer())

    switch = Stubborn(late=True)
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.cut(answer) if how == "reset" else client.wire.reset()
    assert (switch.cancelled, switch.abandoned, switch.built) == (1, 1, [])


def test_a_decision_is_not_waited_for_at_shutdown() -> None:
    switch = Accepts(late=True)
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.session.drain(10)
    client.let_pass(0)
    assert (answer.status, switch.cancelled) == (503, 1)


def test_what_is_held_for_decisions_stops_no_other_stream() -> None:
    switch = Accepts()
    client = shouts(switch)
    switch.late = True
    for _ in range(6):
        switch.arrived = Deferred()
        answer = client.tunnel("/shout")
        assert client.send(answer.stream, b"x" * 1_000_000) == 262_144
    client.talk()
    post = client.get("/", "POST", body=b"y" * 100_000)
    assert post.status == 200


def test_what_is_held_for_a_decision_is_bounded_by_the_window_of_the_stream() -> None:
    switch = Accepts(late=True)
    client = shouts(switch)
    answer = client.tunnel("/shout")
    assert client.send(answer.stream, b"x" * 1_000_000) == 262_144
    assert client.get().status == 200, "the others have the connection's window still"
    switch.decide()
    client.let_pass(0)
    assert len(switch.built[0].heard) == 262_144


def test_it_is_told_as_a_switch_and_as_an_end() -> None:
    client = shouts(Accepts())
    answer = client.tunnel("/shout")
    client.let_pass(3)
    client.tell(answer, ended=True)
    (switched,) = [event for event in client.site.told(events.Switched) if event.path == "/shout"]
    (ended,) = client.site.told(events.Ended)
    assert switched.stack == ended.stack == ("h2c", "shout")
    assert (switched.id, ended.seconds, ended.by, ended.why) == (ended.id, 3, "client", "closed")


# Section 5: WebSocket


def test_5_a_websocket_has_neither_key_nor_accept() -> None:
    client = sockets(subprotocols=("chat",))
    answer = client.tunnel("/echo", "websocket", [VERSION, ("sec-websocket-protocol", "talk, chat")])
    assert (answer.status, answer.fields[b"sec-websocket-protocol"]) == (200, b"chat")
    assert b"sec-websocket-accept" not in answer.fields
    client.tell(answer, frame(b"hello"))
    assert answer.body == b"\x81\x05hello"


def test_5_it_may_be_compressed() -> None:
    client = sockets(deflate_threshold_bytes=0)
    offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")
    answer = client.tunnel("/echo", "websocket", [VERSION, offer])
    assert answer.fields[b"sec-websocket-extensions"].startswith(b"permessage-deflate")
    client.tell(answer, frame(b"hello"))
    assert answer.body[0] == 0xC1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 426),
        ([("sec-websocket-version", "8")], 426),
        ([VERSION, ("origin", "https://elsewhere.example")], 403),
        ([VERSION, ("origin", "http://example.org")], 200),
    ],
)
def test_5_it_is_judged_as_over_http_1_1(headers: Any, status: int) -> None:
    answer = sockets().tunnel("/echo", "websocket", headers)
    assert answer.status == status
    assert answer.fields.get(b"sec-websocket-version") == (b"13" if status == 426 else None)


def test_5_the_end_of_the_stream_is_that_of_the_connection() -> None:
    client = sockets()
    answer = client.tunnel("/echo", "websocket", [VERSION])
    client.tell(answer, frame(b"\x03\xe8bye", 8))
    assert (answer.body, answer.ended, answer.reset) == (b"\x88\x05\x03\xe8bye", True, None)
    client.tell(answer, ended=True)
    assert not client.session._streams


def test_5_a_reset_is_a_reset() -> None:
    switch = Accepts()
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.cut(answer)
    assert switch.built[0].reasons[0].check(ConnectionLost)

    class Aborts(Shout):
        def dataReceived(self, data: bytes) -> None:
            self.transport.abortConnection()

    switch = Accepts(Aborts)
    client = shouts(switch)
    answer = client.tunnel("/shout")
    client.tell(answer, b"!")
    assert answer.reset == frames.CANCEL
    assert switch.built[0].reasons[0].check(ConnectionAborted)


# All in one connection


def test_many_switched_streams_and_requests_share_a_connection() -> None:
    client = addone()
    answers = [client.tunnel("/", "addone") for _ in range(50)]
    for number, answer in enumerate(answers):
        client.tell(answer, b"%d\n" % number)
        assert client.get(f"/{number}").status == 200
    assert [answer.body for answer in answers] == [b"%d\n" % (number + 1) for number in range(50)]
    for answer in answers:
        client.tell(answer, ended=True)
    assert all(answer.ended and answer.reset is None for answer in answers)


def test_they_count_for_the_limit_of_streams() -> None:
    client = shouts(Accepts(), "[limits]\nstreams = 2")
    client.tunnel("/shout")
    answer = client.tunnel("/shout")
    assert answer.status == 200
    peer = client.h2
    peer.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    peer.remote_settings.acknowledge()
    assert client.tunnel("/shout").reset == frames.REFUSED_STREAM
    client.tell(answer, ended=True)
    assert client.tunnel("/shout").status == 200


def test_accept_that_is_none_of_a_switch_has_no_http_to_go_back_to(logged: list[type[BaseException]]) -> None:
    switch = Says(Accept(lambda session: session.resume_http()))
    assert shouts(switch).tunnel("/shout").status == 500
    assert logged == [ValueError]


def test_5_a_message_for_many_reaches_streams_too() -> None:
    client = sockets(handler="switchd.protocols.websocket:Broadcast")
    first, second = (client.tunnel("/echo", "websocket", [VERSION]) for _ in range(2))
    client.tell(first, frame(b"hello"))
    client.let_pass(0)
    assert first.body == second.body == b"\x81\x05hello"


def test_5_a_protocol_of_bytes_may_be_carried() -> None:
    client = sockets(handler="tests.serving:Shout")
    answer = client.tunnel("/echo", "websocket", [VERSION])
    client.tell(answer, frame(b"hello", 2))
    client.let_pass(0)
    assert answer.body == b"\x82\x05HELLO"


def test_5_a_client_that_answers_no_pings_is_dropped_by_its_stream_alone() -> None:
    client = sockets(ping_seconds=5.0, ping_timeout_seconds=5.0)
    answer = client.tunnel("/echo", "websocket", [VERSION])
    client.let_pass(6)
    assert answer.body[:1] == b"\x89"
    client.let_pass(6)
    assert answer.reset is not None or answer.ended
    assert client.get().status == 200
