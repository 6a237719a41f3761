"""Handlers as autobahn's users write them, unchanged, and what a configuration may name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.wamp import ApplicationSession
from autobahn.twisted.websocket import (
    WampWebSocketClientFactory,
    WampWebSocketServerFactory,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.wamp import message, role
from autobahn.wamp.types import ComponentConfig
from autobahn.websocket.compress import PerMessageDeflateOfferAccept
from autobahn.websocket.types import ConnectionDeny
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from wsproto.events import Ping

from switchd import schema
from switchd.interfaces import Accept, Offer
from switchd.protocols.websocket.switch import WebSocket
from switchd.testing import assert_plugin_conforms, request
from tests.serving import statuses
from tests.test_sockets import SECONDS, serving
from tests.websockets import HANDSHAKE, KEY, Client, frame, handler, site, switch
from tests.wires import with_reactor


class Recorder(WebSocketServerProtocol):
    """Writes down what is called."""

    transport: Any
    made: list[Recorder] = []

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.made.append(self)

    def connectionMade(self) -> None:
        self.calls.append("connectionMade")
        super().connectionMade()

    def onConnect(self, request: Any) -> Any:
        self.calls.append("onConnect")
        self.asked = request

    def onOpen(self) -> None:
        self.calls.append("onOpen")

    def onMessageBegin(self, isBinary: bool) -> None:
        self.calls.append(("onMessageBegin", isBinary))
        super().onMessageBegin(isBinary)

    def onMessageFrameBegin(self, length: int) -> None:
        self.calls.append(("onMessageFrameBegin", length))
        super().onMessageFrameBegin(length)

    def onMessageFrameData(self, payload: bytes) -> None:
        self.calls.append(("onMessageFrameData", payload))
        super().onMessageFrameData(payload)

    def onMessageFrameEnd(self) -> None:
        self.calls.append("onMessageFrameEnd")
        super().onMessageFrameEnd()

    def onMessageEnd(self) -> None:
        self.calls.append("onMessageEnd")
        super().onMessageEnd()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append(("onMessage", payload, isBinary))

    def onPing(self, payload: bytes) -> None:
        self.calls.append(("onPing", payload))
        super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        self.calls.append(("onPong", payload))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.calls.append(("onClose", wasClean, code, reason))


@pytest.fixture
def recorder() -> type[Recorder]:
    class Fresh(Recorder):
        made: list[Recorder] = []

    return Fresh


class TestCallbacks:
    def test_come_in_autobahns_order(self, recorder: type[Recorder]) -> None:
        client = Client(site(recorder), early=frame(b"early"))
        client.send(Ping(b"ping"))
        client.send_raw(frame(b"pong", 10) + frame(b"a", 2, fin=False) + frame(b"b", 0))
        client.close(1001)
        (protocol,) = recorder.made
        assert protocol.calls == [
            "connectionMade",
            "onConnect",
            "onOpen",
            ("onMessageBegin", False),
            ("onMessageFrameBegin", 5),
            ("onMessageFrameData", b"early"),
            "onMessageFrameEnd",
            "onMessageEnd",
            ("onMessage", b"early", False),
            ("onPing", b"ping"),
            ("onPong", b"pong"),
            ("onMessageBegin", True),
            ("onMessageFrameBegin", 1),
            ("onMessageFrameData", b"a"),
            "onMessageFrameEnd",
            ("onMessageFrameBegin", 1),
            ("onMessageFrameData", b"b"),
            "onMessageFrameEnd",
            "onMessageEnd",
            ("onMessage", b"ab", True),
            ("onClose", True, 1001, None),
        ]
        assert client.pongs == [b"ping"]
        assert client.closed[0] == 1001

    def test_a_connection_that_is_reset_is_not_closed_cleanly(self, recorder: type[Recorder]) -> None:
        Client(site(recorder)).wire.reset()
        name, clean, code, _ = recorder.made[0].calls[-1]
        assert (name, clean, code) == ("onClose", False, 1006)

    def test_what_is_known_of_the_request_is_there(self, recorder: type[Recorder]) -> None:
        wire = site(recorder).connect()
        fields = b"Cookie: a\r\nCookie: b\r\nOrigin: http://example.org\r\nSec-WebSocket-Protocol: x, y\r\n"
        wire.send(HANDSHAKE % (b"/ws/a%20b?q=1&q=2", fields))
        (protocol,) = recorder.made
        asked = protocol.asked
        assert protocol.peer == asked.peer == "tcp4:192.0.2.1:50000"
        assert protocol.http_headers["cookie"] == asked.headers["cookie"] == "a, b"
        assert protocol.http_headers["host"] == "example.org"
        assert protocol.http_request_host == asked.host == "example.org"
        assert protocol.http_request_uri == "/ws/a%20b?q=1&q=2"
        assert protocol.http_request_path == asked.path == "/ws/a%20b"
        assert protocol.http_request_params == asked.params == {"q": ["1", "2"]}
        assert protocol.http_status_line == "GET /ws/a%20b?q=1&q=2 HTTP/1.1"
        assert protocol.http_request_data.startswith(b"GET /ws/a%20b?q=1&q=2 HTTP/1.1\r\nhost: example.org\r\n")
        assert protocol.websocket_version == asked.version == 13
        assert protocol.websocket_origin == asked.origin == "http://example.org"
        assert protocol.websocket_protocols == asked.protocols == ["x", "y"]
        assert asked.extensions == []
        assert protocol.state == protocol.STATE_OPEN
        assert protocol.is_open.called
        assert protocol.transport.getPeer() is wire.transport.getPeer()
        assert protocol.transport.noDelay

    @pytest.mark.parametrize(
        ("target", "path", "params"),
        [
            (b"/", "/", {}),
            (b"//[", "//[", {}),
            (b"/a//b?c=%20&c=", "/a//b", {"c": [" "]}),
            (b"http://example.org", "/", {}),
            (b"HTTP://example.org:81?q=1", "/", {"q": ["1"]}),
            (b"http://example.org/a?q=1?2", "/a", {"q": ["1?2"]}),
            (b"/\xe4?\xe4=\xff", "/\xe4", {"\xe4": ["\xff"]}),
        ],
    )
    def test_whatever_the_target_is(
        self, recorder: type[Recorder], target: bytes, path: str, params: dict[str, list[str]]
    ) -> None:
        fields = [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)]
        asked = request(path=target, headers=fields, upgrade=b"websocket")
        assert isinstance(switch(recorder).offer(asked, Offer(b"websocket")), Accept)
        (protocol,) = recorder.made
        assert (protocol.http_request_path, protocol.http_request_params) == (path, params)

    def test_the_class_keeps_its_name_and_the_instance_its_class(self, recorder: type[Recorder]) -> None:
        Client(site(recorder))
        assert isinstance(recorder.made[0], recorder)
        assert type(recorder.made[0]).__qualname__ == recorder.__qualname__

    def test_a_method_called_drain_is_the_handlers_own(self) -> None:
        class Drains(Recorder):
            made: list[Recorder] = []
            drain = "mine"

        client = Client(site(Drains))
        assert Drains.made[0].drain == "mine"  # type: ignore[attr-defined]
        assert not client.wire.closed


def deciding(decide: Callable[[Any], Any]) -> type[WebSocketServerProtocol]:
    class Decides(WebSocketServerProtocol):
        def onConnect(self, request: Any) -> Any:
            return decide(request)

    return Decides


def now(value: Any) -> Any:
    return lambda request: value


def fired(value: Any) -> Any:
    def decide(request: Any) -> Any:
        done: Deferred[Any] = Deferred()
        done.callback(value)
        return done

    return decide


def coroutine(value: Any) -> Any:
    async def decide(request: Any) -> Any:
        return value

    return decide


HOWS = pytest.mark.parametrize("how", [now, fired, coroutine])


class TestOnConnect:
    @HOWS
    def test_chooses_a_subprotocol(self, how: Any) -> None:
        client = Client(site(deciding(how("b"))), subprotocols=["a", "b"])
        assert client.accepted.subprotocol == "b"

    @HOWS
    def test_adds_fields_to_the_answer(self, how: Any) -> None:
        fields = {"X-One": "1", "X-Many": ["2", "3"], "X-Number": 4}
        client = Client(site(deciding(how((None, fields)))))
        assert client.accepted.extra_headers == [
            (b"x-one", b"1"),
            (b"x-many", b"2"),
            (b"x-many", b"3"),
            (b"x-number", b"4"),
        ]

    def test_may_be_an_inline_callback(self) -> None:
        @inlineCallbacks
        def decide(request: Any) -> Any:
            yield fired(None)(request)
            return "b"

        assert Client(site(deciding(decide)), subprotocols=["b"]).accepted.subprotocol == "b"

    def test_may_take_its_time(self) -> None:
        late: Deferred[Any] = Deferred()
        server = site(deciding(lambda request: late))
        client = Client(server, early=frame(b"early"), subprotocols=["b"])
        assert client.events == []
        late.callback("b")
        client.wire.turn()
        client.look()
        assert client.accepted.subprotocol == "b"

    def test_leaves_the_choice_to_the_configuration(self) -> None:
        client = Client(site(deciding(now(None)), subprotocols=["b"]), subprotocols=["a", "b"])
        assert client.accepted.subprotocol == "b"

    @pytest.mark.parametrize("late", [False, True])
    @pytest.mark.parametrize(("code", "reason"), [(401, "no"), (404, None), (503, "ä")])
    def test_denies(self, recorder: type[Recorder], late: bool, code: int, reason: str | None) -> None:
        class Denies(recorder):  # type: ignore[valid-type, misc]
            def onConnect(self, request: Any) -> Any:
                failure = ConnectionDeny(code, reason)
                if not late:
                    raise failure
                done: Deferred[Any] = Deferred()
                done.errback(failure)
                return done

        client = Client(site(Denies))
        status, _, body = client.rejected
        assert (status, body.decode()) == (code, f"{reason or ''}\n")
        # As in autobahn, where the handler has the connection by then, and loses it.
        assert recorder.made[0].calls[-1][:3] == ("onClose", False, 1006)

    def test_raises(self, logged: list[type[BaseException]]) -> None:
        def decide(request: Any) -> Any:
            raise ZeroDivisionError

        wire = site(deciding(decide)).connect()
        wire.send(HANDSHAKE % (b"/ws", b""))
        assert statuses(wire.received) == [500]
        assert logged == [ZeroDivisionError]

    def test_chooses_what_was_not_offered(self, logged: list[type[BaseException]]) -> None:
        wire = site(deciding(now("b"))).connect()
        wire.send(HANDSHAKE % (b"/ws", b""))
        assert statuses(wire.received) == [500]
        assert logged == [ValueError]

    def test_is_cancelled_when_the_client_goes(self, recorder: type[Recorder]) -> None:
        cancelled: list[Any] = []

        class Waits(recorder):  # type: ignore[valid-type, misc]
            def onConnect(self, request: Any) -> Any:
                return Deferred(cancelled.append)

        wire = site(Waits).connect()
        wire.send(HANDSHAKE % (b"/ws", b""))
        wire.reset()
        assert len(cancelled) == 1
        assert recorder.made[0].calls[-1][0] == "onClose"

    def test_may_close_the_connection(self) -> None:
        class Closes(WebSocketServerProtocol):
            transport: Any

            def onConnect(self, request: Any) -> None:
                self.transport.loseConnection()

        assert Client(site(Closes)).rejected[0] == 403


class TestFactories:
    def test_a_factorys_own_state_is_used(self) -> None:
        class Counts(WebSocketServerProtocol):
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                self.factory.count += 1
                self.sendMessage(b"%d" % self.factory.count)

        factory: Any = WebSocketServerFactory(reactor=Clock())
        factory.protocol = Counts
        factory.count = 0
        server = site(factory)
        for _ in range(2):
            client = Client(server)
            client.text("")
        assert client.messages == ["2"]

    def test_a_callable_makes_one(self) -> None:
        def make() -> WebSocketServerFactory:
            factory = WebSocketServerFactory(headers={"X-Made": "yes"}, reactor=Clock())
            factory.protocol = deciding(now(None))
            return factory

        assert Client(site(make)).accepted.extra_headers == [(b"x-made", b"yes")]

    @pytest.mark.parametrize("hashable", [False, True])
    def test_handlers_that_are_equal_are_still_two(self, hashable: bool) -> None:
        @dataclass(unsafe_hash=hashable)
        class Equal(WebSocketServerProtocol):
            name: str = ""

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                self.factory.broadcast(b"%d" % len(self.factory.connections))

        server = site(Equal)
        one, other, third = Client(server), Client(server), Client(server)
        one.text("")
        third.close()
        one.text("")
        other.look()
        assert one.messages == other.messages == ["3", "2"]

    def test_the_count_of_connections_is_right_whatever_became_of_them(self, logged: list[type[BaseException]]) -> None:
        factory = WebSocketServerFactory(reactor=Clock())

        class Denies(WebSocketServerProtocol):
            def onConnect(self, request: Any) -> Any:
                if "deny" in request.params:
                    raise ConnectionDeny(403)
                if "bad" in request.params:
                    return None, {"X": "a\r\nb"}
                if "late" in request.params:
                    return Deferred(lambda deferred: None)
                return None

        factory.protocol = Denies
        server = site(factory)
        Client(server, "/ws?deny=1")
        assert factory.countConnections == 0
        Client(server, "/ws?bad=1")
        assert factory.countConnections == 0
        waits = Client(server, "/ws?late=1")
        assert factory.countConnections == 1
        waits.wire.reset()
        assert factory.countConnections == 0
        client = Client(server)
        assert factory.countConnections == 1
        client.close()
        assert factory.countConnections == 0

    def test_the_factory_is_started_before_the_first_and_stopped_after_the_last(self) -> None:
        called: list[str] = []

        class Starts(WebSocketServerFactory):
            def startFactory(self) -> None:
                called.append("start")

            def stopFactory(self) -> None:
                called.append("stop")

        clock: Any = MemoryReactorClock()
        server = site(lambda: Starts(reactor=clock), clock=clock)
        assert called == []
        Client(server)
        Client(server)
        assert called == ["start"]
        for stop, arguments, _ in clock.triggers["after"]["shutdown"]:
            stop(*arguments)
        assert called == ["start", "stop"]

    def test_what_a_factory_has_set_stands_where_the_configuration_says_nothing(self) -> None:
        def factory() -> WebSocketServerFactory:
            made = WebSocketServerFactory(reactor=Clock())
            made.setProtocolOptions(maxMessagePayloadSize=10)
            return made

        client = Client(site(factory))
        client.text("x" * 11)
        assert client.closed[0] == 1009
        client = Client(site(factory, max_message_bytes=20))
        client.text("x" * 11)
        client.text("x" * 21)
        assert client.closed[0] == 1009

    def test_what_a_class_has_set_comes_before_its_factory(self) -> None:
        class Pings(WebSocketServerProtocol):
            autoPingInterval = 3

        made = WebSocketServerFactory(reactor=Clock())
        made.setProtocolOptions(autoPingInterval=50)
        made.protocol = Pings
        client = Client(site(made))
        client.let_pass(3)
        assert len(client.of(Ping)) == 1

    def test_a_factorys_own_compression_is_asked_for_first(self) -> None:
        def accept(offers: list[Any]) -> Any:
            return PerMessageDeflateOfferAccept(offers[0], request_no_context_takeover=True)

        factory = WebSocketServerFactory(reactor=Clock())
        factory.setProtocolOptions(perMessageCompressionAccept=accept)
        fields = [
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", KEY),
            (b"sec-websocket-extensions", b"permessage-deflate"),
        ]
        answer = switch(factory).offer(request(headers=fields, upgrade=b"websocket"), Offer(b"websocket"))
        assert dict(answer.headers)[b"Sec-WebSocket-Extensions"] == b"permessage-deflate; client_no_context_takeover"

    def test_a_trusted_proxy_says_who_the_client_is(self, recorder: type[Recorder]) -> None:
        factory = WebSocketServerFactory(reactor=Clock())
        factory.protocol = recorder
        factory.setProtocolOptions(trustXForwardedFor=1)
        wire = site(factory).connect()
        wire.send(HANDSHAKE % (b"/ws", b"X-Forwarded-For: 10.0.0.9, 192.0.2.7\r\n"))
        assert recorder.made[0].peer == recorder.made[0].asked.peer == "192.0.2.7"

    def test_origins_of_a_factory_are_a_mistake_not_a_hole(self) -> None:
        factory = WebSocketServerFactory(reactor=Clock())
        factory.setProtocolOptions(allowedOrigins=["https://example.org"])
        with pytest.raises(ValueError, match="set origins"):
            switch(factory)

    def test_a_factory_that_wants_no_connection_is_503(self) -> None:
        class Refuses(WebSocketServerFactory):
            def buildProtocol(self, addr: Any) -> None:
                return None

        assert Client(site(lambda: Refuses(reactor=Clock()))).rejected[0] == 503


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("no_such", 'expected "package.module:name", got "no_such"'),
            ("no.such:thing", "no.such:thing cannot be imported: No module named 'no' (ModuleNotFoundError)"),
            ("json:no_such", "json:no_such cannot be imported: module 'json' has no attribute 'no_such'"),
            ("json:__name__", "json:__name__ is no handler: expected an autobahn WebSocketServerProtocol class"),
        ],
    )
    def test_a_handler_that_there_is_not_is_named(self, name: str, problem: str) -> None:
        _, (mistake,) = schema.options(WebSocket.Options, {"handler": name}, "switch[0]")
        assert mistake.key == "switch[0].handler"
        assert mistake.problem.startswith(problem)

    def test_a_callable_that_returns_something_else(self) -> None:
        with pytest.raises(ValueError, match="is no handler"):
            switch(dict)

    @pytest.mark.parametrize(
        ("key", "value", "problem"),
        [
            ("origins", ["example.org"], 'expected "same-origin", "*", "null" or an origin'),
            ("subprotocols", ["a b"], "expected a subprotocol's name, a token"),
            ("headers", ["X"], 'expected "Name: value", got "X"'),
            ("headers", ["X: a\r\nY: b"], 'expected "Name: value"'),
            ("deflate_window_bits", 8, "expected a whole number of bits from 9 to 15"),
        ],
    )
    def test_an_option_that_cannot_be(self, key: str, value: Any, problem: str) -> None:
        table = {"handler": handler(WebSocketServerProtocol), key: value}
        _, (mistake,) = schema.options(WebSocket.Options, table, "switch[0]")
        assert mistake.key.startswith(f"switch[0].{key}")
        assert mistake.problem.startswith(problem)


def test_the_plugin_keeps_the_contract() -> None:
    options = WebSocket.Options(handler="switchd.protocols.websocket:Echo")
    fields = [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", KEY)]
    plugin = import_module("twisted.plugins.switchd_websocket").websocket
    assert_plugin_conforms(plugin, options, headers=fields)


class Router:
    """As much of a WAMP router as a test needs: it welcomes, and doubles what is called."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._authid = self._session_id = None

    def onOpen(self, transport: Any) -> None:
        self._transport = transport

    def onMessage(self, got: Any) -> None:
        if isinstance(got, message.Hello):
            roles = {"broker": role.RoleBrokerFeatures(), "dealer": role.RoleDealerFeatures()}
            self._transport.send(message.Welcome(1, roles, realm=got.realm))
        elif isinstance(got, message.Call):
            self._transport.send(message.Result(got.request, args=[2 * got.args[0]]))
        elif isinstance(got, message.Goodbye):
            self._transport.send(message.Goodbye())

    def onClose(self, wasClean: bool) -> None: ...


@with_reactor
async def test_autobahns_wamp_client_calls_a_wamp_factory_behind_switchd(tmp_path: Path) -> None:
    server = site(lambda: WampWebSocketServerFactory(Router), clock=reactor)
    result: Deferred[Any] = Deferred()
    left: Deferred[None] = Deferred()

    class Caller(ApplicationSession):
        async def onJoin(self, details: Any) -> None:
            result.callback(await self.call("double", 21))
            self.leave()

        def onDisconnect(self) -> None:
            left.callback(None)

    factory = WampWebSocketClientFactory(lambda: Caller(ComponentConfig("realm1")), url="ws://example.org/ws")
    async with serving(server, "tcp", tmp_path) as connect:
        await connect(factory.buildProtocol(None))
        assert await result.addTimeout(SECONDS, reactor) == 42
        await left.addTimeout(SECONDS, reactor)
