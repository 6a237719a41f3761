"""The client's side of a switch, in memory: the server's bytes in, the client's bytes and its outcome out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from switchd.client import Ask, NoAnswer, NotSwitched, Refused, SwitchClientEndpoint, WrongAnswer, errors
from switchd.client.bounds import BODY_BYTES, CLOSE_SECONDS, HEAD_BYTES, INTERIM_ANSWERS
from switchd.client.errors import in_words
from switchd.client.upgrade import QUOTED_CHARACTERS
from switchd.errors import HandoverError
from switchd.interfaces import Answer, Refuse
from switchd.testing import SERVER, Wire, cuts
from tests.attempts import Attempted, Builds
from tests.conftest import FailureObserver
from tests.serving import Accepts, Says, Site
from tests.wires import KINDS, TLSWire, one

ADDONE = Ask(b"addone", b"example.org")
REQUEST = b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: addone\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: addone\r\nConnection: Upgrade\r\n\r\n"
REFUSED = (
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nsorry"
)


class Heard(Protocol):
    """Remembers what happens to it, in `events`."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = 0
        self.events: list[str] = []

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append("data")
        self.data += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost += 1


@implementer(IStreamClientEndpoint)
class Line:
    """An endpoint that connects at once, to `wire`."""

    def __init__(self, clock: Clock, kind: Callable[..., Wire] = Wire) -> None:
        self._clock = clock
        self._kind = kind

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        self.factory = protocolFactory
        connected: list[Any] = []

        def build() -> Any:
            connected.append(protocolFactory.buildProtocol(SERVER))
            return connected[0]

        self.wire = self._kind(one(build), self._clock)
        return succeed(connected[0])


class Asking(Attempted):
    """A client that has sent its request, and what has become of it."""

    def __init__(
        self,
        ask: Ask = ADDONE,
        seconds: float = 10,
        kind: Callable[..., Wire] = Wire,
        build: Callable[[], Any] = Heard,
    ) -> None:
        self.clock = Clock()
        self.factory = Builds(build)
        line = Line(self.clock, kind)
        self.switched = SwitchClientEndpoint(self.clock, line, ask, seconds).connect(self.factory)
        self.outcomes: list[Any] = []
        self.switched.addBoth(self.outcomes.append)
        self.wire = line.wire
        self.between = line.factory

    def after(self, segments: Iterable[bytes]) -> Asking:
        for segment in segments:
            self.wire.send(segment)
        return self


def refused(segments: Iterable[bytes], close: bool = False) -> Refused:
    asking = Asking().after(segments)
    if close:
        asking.wire.reset()
    assert isinstance(asking.outcome, Refused)
    assert asking.wire.closed
    assert asking.factory.built == []
    assert asking.clock.getDelayedCalls() == []
    return asking.outcome


class TestTheRequest:
    def test_it_asks_for_the_token_by_a_get(self) -> None:
        assert Asking().wire.received == REQUEST

    def test_it_may_have_another_method_and_further_fields_and_a_body(self) -> None:
        ask = Ask(b"tcp", b"localhost", b"/exec/1/start", b"POST", ((b"Content-Type", b"application/json"),), b"{}")
        assert Asking(ask).wire.received == (
            b"POST /exec/1/start HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            b"Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
        )

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(Ask(b"a", b"h\n"), id="host"),
            pytest.param(Ask(b"a", b"h", b"/a b"), id="target"),
            pytest.param(Ask(b"a", b"h", method=b"G T"), id="method"),
            pytest.param(Ask(b"a", b"h", headers=((b"X Y", b""),)), id="field"),
        ],
    )
    def test_what_may_not_be_in_a_request_is_refused_before_anything_is_sent(self, ask: Ask) -> None:
        with pytest.raises(ValueError, match="the request cannot be sent"):
            SwitchClientEndpoint(Clock(), Line(Clock()), ask)

    @pytest.mark.parametrize("token", [b"", b"a b", b"a, b", b"a/", b"a\r\nX: y", "é".encode()])
    def test_one_protocol_is_asked_for(self, token: bytes) -> None:
        with pytest.raises(ValueError, match="is no protocol name"):
            Ask(token, b"h")

    @pytest.mark.parametrize("name", [b"Host", b"upgrade", b"Content-Length", b"transfer-encoding"])
    def test_what_the_request_says_anyway_is_not_said_twice(self, name: bytes) -> None:
        with pytest.raises(ValueError, match="not among those that can be added"):
            Ask(b"a", b"h", headers=((name, b"x"),))

    @pytest.mark.parametrize("method", [b"CONNECT", b"connect"])
    def test_a_tunnel_is_no_switch(self, method: bytes) -> None:
        with pytest.raises(ValueError, match="CONNECT"):
            Ask(b"a", b"h", method=method)


class TestASwitch:
    def test_the_protocol_gets_the_connection(self) -> None:
        asking = Asking().after([SWITCHED])
        assert asking.outcome is asking.protocol
        assert asking.protocol.transport is asking.wire.transport
        asking.protocol.transport.write(b"41\n")
        asking.wire.send(b"42\n")
        assert asking.wire.received == REQUEST + b"41\n"
        assert asking.protocol.data == b"42\n"

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(SWITCHED, id="nothing-behind"),
            pytest.param(SWITCHED + b"42\n", id="early-bytes"),
            pytest.param(SWITCHED + SWITCHED, id="early-bytes-that-look-like-http"),
            pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + SWITCHED + b"\r\n\0", id="after-interim-answers"),
        ],
    )
    def test_early_bytes_are_the_protocol_s_however_they_are_cut(self, data: bytes) -> None:
        early = data.split(b"Connection: Upgrade\r\n\r\n", 1)[1]
        for segments in cuts(data):
            asking = Asking().after(segments)
            assert asking.outcome is asking.protocol
            assert asking.protocol.data == early

    @pytest.mark.parametrize(
        ("token", "upgrade"),
        [
            pytest.param(b"addone", b"AddOne", id="case"),
            pytest.param(b"TLS/1.3", b"TLS/1.3, HTTP/1.1", id="layers-bottom-up"),
            pytest.param(b"addone", b"\t addone ,", id="blanks"),
        ],
    )
    def test_the_answer_may_spell_the_token_in_its_own_way(self, token: bytes, upgrade: bytes) -> None:
        asking = Asking(Ask(token, b"h"))
        asking.after([SWITCHED.replace(b"Upgrade: addone", b"Upgrade: " + upgrade)])
        assert asking.outcome is asking.protocol

    def test_the_protocol_alone_hears_of_the_end(self) -> None:
        asking = Asking().after([SWITCHED])
        asking.wire.reset()
        assert asking.protocol.lost == 1
        assert asking.outcome is asking.protocol

    def test_the_deadline_is_over(self) -> None:
        asking = Asking().after([SWITCHED])
        assert asking.clock.getDelayedCalls() == []

    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
    def test_it_is_the_same_behind_whatever_wraps_the_connection(self, kind: Callable[..., Wire]) -> None:
        asking = Asking(kind=kind)
        assert asking.wire.take() == REQUEST
        asking.after([SWITCHED + b"42\n", b"43\n"])
        assert asking.outcome is asking.protocol
        asking.protocol.transport.write(b"44\n")
        asking.wire.turn()
        assert (asking.protocol.data, asking.wire.take()) == (b"42\n43\n", b"44\n")

    @pytest.mark.parametrize("early", [b"", b"42\n"], ids=["nothing-early", "early"])
    def test_the_deferred_fires_before_any_byte_is_delivered(self, early: bytes) -> None:
        asking = Asking()
        asking.switched.addCallback(lambda _: asking.protocol.events.append("fired"))
        asking.after([SWITCHED + early, b"1\n"])
        assert asking.protocol.events == ["made", "fired", *(["data"] if early else []), "data"]

    def test_a_program_that_pauses_when_it_is_called_gets_the_early_bytes_later(self) -> None:
        asking = Asking()
        asking.switched.addCallback(lambda _: asking.protocol.transport.pauseProducing())
        asking.after([SWITCHED + b"42\n"])
        assert asking.protocol.data == b""
        asking.protocol.transport.resumeProducing()
        asking.wire.turn()
        assert asking.protocol.data == b"42\n"

    def test_the_protocol_is_built_when_the_server_has_switched_for_who_was_connected_to(self) -> None:
        asking = Asking().after([SWITCHED[:-1]])
        assert asking.factory.built == []
        asking.after([SWITCHED[-1:]])
        assert asking.factory.addresses == [SERVER]

    def test_lengths_in_a_101_mean_nothing(self) -> None:
        asking = Asking().after([SWITCHED.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n") + b"42\n"])
        assert asking.protocol.data == b"42\n"

    def test_half_close_is_the_protocol_s_affair(self) -> None:
        @implementer(IHalfCloseableProtocol)
        class HalfCloseable(Heard):
            def readConnectionLost(self) -> None:
                self.events.append("eof")

            def writeConnectionLost(self) -> None:
                pass

        asking = Asking(build=HalfCloseable).after([SWITCHED])
        asking.wire.half_close()
        assert asking.protocol.events == ["made", "eof"]
        assert not asking.wire.closed

    @pytest.mark.parametrize(
        ("kind", "events"), [(Wire, ["made", "data"]), (TLSWire, ["made", "handshake", "data"])], ids=["clear", "tls"]
    )
    def test_a_handshake_that_has_been_is_told_before_the_first_byte(
        self, kind: Callable[..., Wire], events: list[str]
    ) -> None:
        @implementer(IHandshakeListener)
        class Listening(Heard):
            def handshakeCompleted(self) -> None:
                self.events.append("handshake")

        assert Asking(kind=kind, build=Listening).after([SWITCHED + b"42\n"]).protocol.events == events


class TestTheFactory:
    def test_one_that_does_not_want_the_connection_is_no_protocol(self) -> None:
        asking = Asking(build=lambda: None).after([SWITCHED + b"42\n"])
        assert isinstance(asking.outcome, NoProtocol)
        assert asking.wire.closed

    def test_what_it_raises_is_the_outcome(self) -> None:
        error = ZeroDivisionError()

        def fails() -> None:
            raise error

        asking = Asking(build=fails).after([SWITCHED + b"42\n"])
        assert asking.outcome is error
        assert asking.wire.closed

    def test_it_is_started_and_stopped_as_the_connection_begins_and_ends(self) -> None:
        asking = Asking()
        asking.between.doStart()
        assert asking.factory.numPorts == 1
        asking.between.doStop()
        assert asking.factory.numPorts == 0

    def test_it_lends_its_name_to_the_log(self) -> None:
        asking = Asking()
        assert asking.between.logPrefix() == "Builds"
        assert asking.wire.transport.protocol.logPrefix() == "Builds"

    def test_a_protocol_that_fails_at_once_is_the_outcome_and_hears_why(
        self, logged: list[type[BaseException]]
    ) -> None:
        class Fails(Heard):
            def connectionMade(self) -> None:
                raise ZeroDivisionError

        asking = Asking(build=Fails).after([SWITCHED + b"42\n"])
        assert asking.outcome is asking.protocol
        assert (asking.protocol.data, asking.protocol.lost) == (b"", 1)
        assert asking.wire.closed
        assert logged == [ZeroDivisionError]

    def test_a_transport_that_keeps_no_protocol_is_closed(self) -> None:
        asking = Asking()
        upgrading = asking.wire.transport.protocol
        asking.wire.transport.protocol = None
        upgrading.dataReceived(SWITCHED)
        assert isinstance(asking.outcome, HandoverError)


class TestARefusal:
    @pytest.mark.parametrize(
        ("data", "body"),
        [
            pytest.param(REFUSED, b"sorry", id="content-length"),
            pytest.param(REFUSED + b"HTTP/1.1 200 OK\r\n\r\n", b"sorry", id="something-behind"),
            pytest.param(REFUSED.replace(b"Content-Length: 5", b"Content-Length: 0")[:-5], b"", id="empty"),
            pytest.param(
                REFUSED.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")[:-5] + b"3\r\nabc\r\n0\r\n\r\n",
                b"abc",
                id="chunked",
            ),
            pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n" + REFUSED, b"sorry", id="after-interim-answers"),
        ],
    )
    def test_it_carries_status_reason_fields_and_body_however_it_is_cut(self, data: bytes, body: bytes) -> None:
        for segments in cuts(data):
            error = refused(segments)
            assert (error.status, error.reason, error.body) == (426, "Upgrade Required", body)
            assert (b"upgrade", b"websocket") in error.headers
            assert str(error) == "426 Upgrade Required"

    def test_a_body_that_ends_with_the_connection_is_read_to_there(self) -> None:
        error = refused([b"HTTP/1.0 403 Forbidden\r\n\r\nno", b"pe"], close=True)
        assert (error.status, error.body) == (403, b"nope")

    def test_a_body_that_is_cut_off_is_carried_as_far_as_it_came(self) -> None:
        assert refused([REFUSED[:-2]], close=True).body == b"sor"

    def test_a_body_is_carried_as_far_as_its_bound(self) -> None:
        head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\n"
        assert refused([head + b"x" * BODY_BYTES + b"y"]).body == b"x" * BODY_BYTES

    def test_a_body_that_breaks_the_rules_is_carried_as_far_as_it_keeps_them(self) -> None:
        head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
        error = refused([head + b"2\r\nno\r\nx\r\n"])
        assert (error.status, error.body) == (403, b"no")

    def test_a_body_that_does_not_come_in_time_is_not_waited_for(self) -> None:
        asking = Asking(seconds=10).after([REFUSED[:-2]])
        asking.clock.advance(10)
        assert isinstance(asking.outcome, Refused)
        assert asking.outcome.body == b"sor"

    @pytest.mark.parametrize(
        ("status", "field"),
        [
            pytest.param(b"200 OK", (b"x", b"y"), id="no-switch"),
            pytest.param(b"301 Moved Permanently", (b"location", b"http://h/"), id="redirect"),
            pytest.param(b"401 Unauthorized", (b"www-authenticate", b"Basic"), id="unauthorized"),
            pytest.param(b"503 Service Unavailable", (b"retry-after", b"3"), id="unavailable"),
        ],
    )
    def test_every_final_status_is_one_and_nothing_is_followed(self, status: bytes, field: tuple[bytes, bytes]) -> None:
        error = refused([b"HTTP/1.1 %b\r\n%b: %b\r\nContent-Length: 0\r\n\r\n" % (status, *field)])
        assert str(error) == status.decode()
        assert field in error.headers

    def test_a_body_without_end_is_carried_as_far_as_its_bound(self) -> None:
        assert refused([b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 10_000] * 7]).body == b"x" * BODY_BYTES

    def test_a_server_that_does_not_let_go_is_left(self) -> None:
        asking = Asking()
        asking.wire.stop_reading()
        asking.after([REFUSED])
        assert isinstance(asking.outcome, Refused)
        assert not asking.wire.closed
        asking.clock.advance(CLOSE_SECONDS)
        asking.wire.turn()
        assert asking.wire.closed

    def test_a_reason_phrase_is_no_way_to_a_terminal(self) -> None:
        assert refused([b"HTTP/1.1 403 \x9b31m\r\nContent-Length: 0\r\n\r\n"]).reason == "\\x9b31m"


class TestWhatElseGoesWrong:
    @pytest.mark.parametrize(
        "upgrade",
        [
            pytest.param(b"Upgrade: websocket\r\n", id="another"),
            pytest.param(b"Upgrade: addone/2\r\n", id="a-version"),
            pytest.param(b"Upgrade: HTTP/1.1, addone\r\n", id="another-below"),
            pytest.param(b"Upgrade: addone, websocket\r\n", id="another-above"),
            pytest.param(b"Upgrade: addone, addone\r\n", id="twice"),
            pytest.param(b"Upgrade: \r\n", id="empty"),
            pytest.param(b"", id="none"),
        ],
    )
    def test_a_101_for_what_was_not_asked_is_an_error(self, upgrade: bytes) -> None:
        data = SWITCHED.replace(b"Upgrade: addone\r\n", upgrade) + b"42\n"
        for segments in cuts(data):
            asking = Asking().after(segments)
            assert isinstance(asking.outcome, WrongAnswer)
            assert str(asking.outcome) == "the server switched to something that it was not asked for"
            assert asking.wire.closed
            assert asking.factory.built == []

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(SWITCHED.replace(b"Connection: Upgrade\r\n", b""), id="no-connection"),
            pytest.param(SWITCHED.replace(b"Connection: Upgrade", b"Connection: close"), id="another-option"),
            pytest.param(SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0"), id="http-1.0"),
        ],
    )
    def test_a_101_that_says_it_only_half_is_an_error(self, data: bytes) -> None:
        asking = Asking().after([data])
        assert isinstance(asking.outcome, WrongAnswer)
        assert str(asking.outcome).startswith("the server's 101 ")
        assert asking.wire.closed
        assert asking.factory.built == []

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="another-protocol"),
            pytest.param(b"SSH-2.0-" + b"x" * 1000 + b"\r\n\r\n", id="much-of-it"),
            pytest.param(b"\x16\x03\x01\x00\r\n\r\n", id="tls"),
            pytest.param(b"HTTP/1.1 101 \r\nUpgrade addone\r\n\r\n", id="a-field-without-colon"),
            pytest.param(b"HTTP/1.1 426 \r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two-lengths"),
        ],
    )
    def test_an_answer_that_is_not_http_is_an_error(self, data: bytes) -> None:
        asking = Asking().after([data])
        assert isinstance(asking.outcome, WrongAnswer)
        assert str(asking.outcome).startswith("the answer is not HTTP/1.1")
        assert len(str(asking.outcome)) <= QUOTED_CHARACTERS
        assert asking.wire.closed

    def test_a_head_without_end_is_an_error(self) -> None:
        asking = Asking().after([b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * HEAD_BYTES])
        assert str(asking.outcome).startswith("the answer is not HTTP/1.1")

    def test_interim_answers_without_end_are_an_error(self) -> None:
        asking = Asking().after([b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_ANSWERS + 1)])
        assert str(asking.outcome) == f"more than {INTERIM_ANSWERS} interim answers"

    def test_a_connection_that_ends_before_the_answer_is_an_error(self) -> None:
        asking = Asking().after([SWITCHED[:-1]])
        asking.wire.half_close()
        assert isinstance(asking.outcome, NoAnswer)
        assert str(asking.outcome).startswith("the connection ended before the answer: ")
        assert isinstance(asking.outcome.__cause__, ConnectionDone)
        assert asking.clock.getDelayedCalls() == []

    def test_a_reset_before_the_answer_is_an_error(self) -> None:
        asking = Asking()
        asking.wire.reset()
        assert isinstance(asking.outcome, NoAnswer)
        assert isinstance(asking.outcome.__cause__, ConnectionLost)

    def test_an_answer_that_takes_too_long_is_an_error(self) -> None:
        asking = Asking(seconds=10).after([SWITCHED[:-1]])
        asking.clock.advance(9.9)
        assert asking.outcome is None
        asking.clock.advance(0.1)
        assert isinstance(asking.outcome, NoAnswer)
        assert str(asking.outcome) == "no answer in time"
        asking.wire.turn()
        assert asking.wire.closed

    def test_the_connection_has_no_time_of_its_own(self) -> None:
        clock, connected, outcomes = Clock(), Deferred[Any](), list[Any]()

        class Late(Line):
            def connect(self, protocolFactory: Any) -> Deferred[Any]:
                return connected.addCallback(lambda _: super(Late, self).connect(protocolFactory))

        SwitchClientEndpoint(clock, Late(clock), ADDONE, 10).connect(Builds(Heard)).addBoth(outcomes.append)
        clock.advance(6)
        connected.callback(None)
        clock.advance(3.9)
        assert outcomes == []
        clock.advance(0.1)
        assert str(outcomes[0].value) == "no answer in time"

    def test_cancelling_closes_the_connection(self) -> None:
        asking = Asking()
        asking.switched.cancel()
        asking.wire.turn()
        assert isinstance(asking.outcome, ConnectingCancelledError)
        assert asking.outcome.address == SERVER
        assert asking.wire.closed
        assert asking.clock.getDelayedCalls() == []

    def test_what_comes_after_the_end_is_not_read(self) -> None:
        # A TLS session hands out what it has read, although its transport is closing.
        asking = Asking()
        upgrading = asking.wire.transport.protocol
        for data in (b"SSH-2.0\r\n\r\n", SWITCHED, SWITCHED):
            upgrading.dataReceived(data)
        assert isinstance(asking.outcome, WrongAnswer)
        assert asking.factory.built == []


class TestTheContract:
    def test_it_is_an_endpoint(self) -> None:
        endpoint = SwitchClientEndpoint(Clock(), Line(Clock()), ADDONE)
        verifyObject(IStreamClientEndpoint, endpoint)
        assert repr(endpoint).startswith("<SwitchClientEndpoint to addone by ")

    @pytest.mark.parametrize("error", [NotSwitched("why"), NoAnswer("why"), WrongAnswer("why")], ids=repr)
    def test_an_error_is_what_the_callers_of_endpoints_expect(self, error: Exception) -> None:
        assert isinstance(error, ConnectError)
        assert str(error) == "why"

    def test_a_refusal_is_the_answer_that_the_server_gave(self) -> None:
        error = Refused(403, "Forbidden", ((b"x", b"y"),), b"no")
        assert (error.status, error.reason, error.headers, error.body) == (403, "Forbidden", ((b"x", b"y"),), b"no")
        assert str(error) == "403 Forbidden"
        assert isinstance(error, ConnectError)

    def test_every_error_is_in_the_tree_that_the_module_draws(self) -> None:
        trees = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, NotSwitched)]
        assert len(trees) == 5
        assert all(each.__name__ in (errors.__doc__ or "") for each in trees)


class TestInWords:
    @pytest.mark.parametrize(
        ("error", "words"),
        [
            pytest.param(SSL.Error([("SSL routines", "", "bad thing")]), "TLS: bad thing", id="openssl"),
            pytest.param(SSL.Error(), "", id="openssl-without-words"),
            pytest.param(VerificationError([]), "TLS: the certificate is for another host", id="certificate"),
            pytest.param(ConnectionDone(), "Connection was closed cleanly.", id="twisted"),
        ],
    )
    def test_the_reason_for_a_lost_connection_is_a_sentence(self, error: Exception, words: str) -> None:
        assert in_words(error) == words


class TestWithOurOwnServer:
    """Both sides, with nothing between them but bytes."""

    def meet(self, asking: Asking, site: Site) -> None:
        server = site.connect()
        for _ in range(10):
            server.send(asking.wire.take())
            asking.wire.send(server.take())

    def test_they_switch(self) -> None:
        asking = Asking(Ask(b"shout", b"example.org", b"/shout", b"POST", body=b"x" * 100))
        asking.switched.addCallback(lambda _: asking.protocol.transport.write(b"hello"))
        self.meet(asking, Site({"/shout": Accepts()}))
        assert asking.protocol.data == b"HELLO"

    @pytest.mark.parametrize(
        ("answer", "status"),
        [
            pytest.param(None, 200, id="nobody-takes-it"),
            pytest.param(Refuse(403, ((b"x", b"y"),), b"no"), 403, id="refused"),
        ],
    )
    def test_they_do_not(self, answer: Answer, status: int) -> None:
        asking = Asking(Ask(b"shout", b"example.org", b"/shout"))
        self.meet(asking, Site({"/shout": Says(answer)}))
        assert isinstance(asking.outcome, Refused)
        assert asking.outcome.status == status
        assert asking.outcome.body == (b"GET /shout " if answer is None else b"no")


class TestWithOthers:
    def test_a_switched_connection_may_lead_to_another_server_and_switch_there(self) -> None:
        clock, outcomes, factory = Clock(), list[Any](), Builds(Heard)
        line = Line(clock)
        inner = SwitchClientEndpoint(clock, line, Ask(b"tcp", b"proxy"))
        SwitchClientEndpoint(clock, inner, ADDONE).connect(factory).addBoth(outcomes.append)
        tunnel = SWITCHED.replace(b"addone", b"tcp")
        line.wire.send(tunnel + SWITCHED + b"42\n")
        assert line.wire.received.endswith(b"Upgrade: tcp\r\n\r\n" + REQUEST)
        assert outcomes == factory.built
        assert outcomes[0].data == b"42\n"

    def test_a_client_service_tries_again_after_a_refusal(self) -> None:
        clock, factory = Clock(), Builds(Heard)
        line = Line(clock)
        endpoint = SwitchClientEndpoint(clock, line, ADDONE)
        service = ClientService(endpoint, factory, retryPolicy=lambda attempt: 60, clock=clock)
        service.startService()
        line.wire.send(REFUSED)
        clock.advance(60)
        line.wire.send(SWITCHED + b"42\n")
        assert factory.built[0].data == b"42\n"
        service.stopService()
        line.wire.turn()
        assert (factory.built[0].lost, line.wire.closed) == (1, True)


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 ",
        b"HTTP/1.0 ",
        b"100 ",
        b"101 Switching Protocols",
        b"200 OK",
        b"\r\n",
        b"\r\n\r\n",
        b"Upgrade: addone\r\n",
        b"Upgrade: x\r\n",
        b"Connection: Upgrade\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"3\r\nabc\r\n",
        SWITCHED,
        REFUSED,
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=12))
def test_whatever_a_server_says_there_is_one_outcome_and_no_failure(segments: list[bytes]) -> None:
    observer = FailureObserver()
    globalLogPublisher.addObserver(observer)
    try:
        asking = Asking().after(segments)
        asking.wire.reset()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert observer.found == []
    assert isinstance(asking.outcome, NotSwitched | Heard)
    assert (asking.outcome in asking.factory.built) is isinstance(asking.outcome, Heard)
    assert asking.clock.getDelayedCalls() == []
