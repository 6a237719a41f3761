"""Handlers that do what lean.py leaves undone until somebody asks: they find all that autobahn would have made."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import autobahn.util
import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.protocol import TrafficStats
from twisted.internet.defer import Deferred

from tests.websockets import Client, frame, site, switch


class Kept(WebSocketServerProtocol):
    """Keeps itself where a test finds it."""

    made: list[Any] = []
    seen: Any = None

    def onOpen(self) -> None:
        self.made.append(self)


@pytest.fixture(params=["a class", "a factory"])
def serve(request: pytest.FixtureRequest) -> Any:
    """Makes a server of a class, which is named as it is, or made by a factory of the user's."""

    def made(cls: type[Kept]) -> Any:
        cls.made = []
        if request.param == "a class":
            return site(cls)
        factory = WebSocketServerFactory()
        factory.protocol = cls
        return site(factory)

    return made


def results(*deferreds: Deferred[Any]) -> list[Any]:
    """Notes what they fire with, when they do."""
    found: list[Any] = []

    def note(result: Any) -> Any:
        found.append(result)
        return result

    for deferred in deferreds:
        deferred.addCallback(note)
    return found


class TestOpenAndClosed:
    def test_asked_for_in_init(self, serve: Any) -> None:
        class Early(Kept):
            def __init__(self) -> None:
                super().__init__()
                self.seen = results(self.is_open), results(self.is_closed)

        client = Client(serve(Early))
        (protocol,) = Early.made
        assert protocol.seen == ([None], [])
        client.close()
        assert protocol.seen == ([None], [protocol])

    def test_asked_for_where_autobahns_init_is_called_by_name(self, serve: Any) -> None:
        class Named(Kept):
            def __init__(self) -> None:
                WebSocketServerProtocol.__init__(self)
                self.seen = results(self.is_open), results(self.is_closed)

            def connectionMade(self) -> None:
                WebSocketServerProtocol.connectionMade(self)

            def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
                WebSocketServerProtocol.connectionLost(self, reason)

        client = Client(serve(Named))
        (protocol,) = Named.made
        assert protocol.transport_details.peer == protocol.peer == "tcp4:192.0.2.1:50000"
        client.close()
        assert protocol.seen == ([None], [protocol])

    def test_asked_for_later(self, serve: Any) -> None:
        client = Client(serve(Kept))
        (protocol,) = Kept.made
        assert results(protocol.is_open) == [None]
        assert results(protocol.is_closed) == []
        client.close()
        assert results(protocol.is_closed) == [protocol]

    def test_asked_for_by_the_handler_as_it_ends(self, serve: Any) -> None:
        class Late(Kept):
            def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
                self.seen = results(self.is_closed)

        def drop(client: Client) -> None:
            Late.made[0].dropConnection(abort=True)
            client.wire.turn()

        for end in (Client.close, lambda client: client.wire.reset(), drop):
            end(Client(serve(Late)))
            (protocol,) = Late.made
            assert protocol.seen == [protocol]

    def test_asked_for_at_the_end(self, serve: Any) -> None:
        Client(serve(Kept)).wire.reset()
        (protocol,) = Kept.made
        assert results(protocol.is_closed, protocol.is_open) == [protocol, None]


def test_what_is_said_of_the_connection_stays_when_it_is_lost(serve: Any) -> None:
    client = Client(serve(Kept))
    client.wire.reset()
    (protocol,) = Kept.made
    assert protocol.transport_details.peer == protocol.peer == "tcp4:192.0.2.1:50000"
    assert protocol.http_request_path == "/ws"
    assert protocol.trafficStats.incomingWebSocketMessages == 0


@pytest.mark.parametrize("when", ["connectionMade", "onOpen", "onMessage"])
def test_who_listens_hears_what_comes_after(when: str) -> None:
    heard: list[bytes] = []

    class Listens(WebSocketServerProtocol):
        def listen(self, name: str) -> None:
            if name == when and not self._listeners:
                self.on("message", lambda payload, is_binary: heard.append(payload))

        def connectionMade(self) -> None:
            super().connectionMade()
            self.listen("connectionMade")

        def onOpen(self) -> None:
            self.listen("onOpen")

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.listen("onMessage")

    client = Client(site(Listens))
    client.text("a")
    client.text("b")
    assert heard == [b"a", b"b"][when == "onMessage" :]


def test_who_listens_while_a_long_frame_is_on_its_way_gets_it_in_order(serve: Any) -> None:
    heard: list[bytes] = []
    client = Client(serve(Kept))
    payload = bytes(index * 7 % 251 for index in range(102_400))
    sent = frame(payload, 2)
    client.wire.send(sent[:30_000])
    client.wire.send(sent[30_000:60_000])
    Kept.made[0].on("message", lambda payload, is_binary: heard.append(payload))
    client.wire.send(sent[60_000:80_000])
    client.wire.send(sent[80_000:])
    assert heard == [payload]


def test_statistics_may_be_set_anew(serve: Any) -> None:
    client = Client(serve(Kept))
    client.text("a")
    (protocol,) = Kept.made
    before = protocol.trafficStats
    protocol.trafficStats = TrafficStats()
    client.text("b")
    assert (before.incomingWebSocketMessages, protocol.trafficStats.incomingWebSocketMessages) == (1, 1)


@pytest.mark.parametrize("when", ["onConnect", "onOpen"])
def test_statistics_of_a_handlers_own_count_what_its_own_would(when: str, serve: Any) -> None:
    class Brings(Kept):
        def bring(self, name: str) -> None:
            if name == when:
                self.trafficStats = self.mine = TrafficStats()

        def onConnect(self, request: Any) -> None:
            self.bring("onConnect")

        def onOpen(self) -> None:
            super().onOpen()
            self.bring("onOpen")

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    client = Client(serve(Brings))
    client.text("abc")
    (protocol,) = Brings.made
    mine = protocol.mine
    assert protocol.trafficStats is mine
    assert (mine.incomingWebSocketFrames, mine.incomingWebSocketMessages) == (1, 1)
    assert (mine.incomingOctetsWebSocketLevel, mine.incomingOctetsAppLevel, mine.incomingOctetsWireLevel) == (3, 3, 9)
    assert (mine.outgoingWebSocketFrames, mine.outgoingWebSocketMessages) == (1, 1)
    assert (mine.outgoingOctetsWebSocketLevel, mine.outgoingOctetsAppLevel, mine.outgoingOctetsWireLevel) == (3, 3, 5)


def test_statistics_that_are_set_anew_between_two_messages_of_a_read_count_the_second(serve: Any) -> None:
    class Anew(Kept):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.seen = [*(self.seen or ()), self.trafficStats.incomingWebSocketMessages]
            self.trafficStats = TrafficStats()

    client = Client(serve(Anew))
    (protocol,) = Anew.made
    first = protocol.trafficStats
    client.wire.send(frame(b"a") + frame(b"bc") + frame(b"def"))
    assert protocol.seen == [1, 1, 1]
    assert (first.incomingOctetsAppLevel, first.incomingOctetsWireLevel) == (1, 24)


def test_statistics_can_be_added_to_and_reset_while_they_count(serve: Any) -> None:
    client = Client(serve(Kept))
    (protocol,) = Kept.made
    statistics = protocol.trafficStats
    client.text("a")
    statistics.incomingWebSocketMessages += 10
    client.text("bc")
    assert (statistics.incomingWebSocketMessages, statistics.incomingWebSocketFrames) == (12, 2)
    statistics.reset()
    assert json.loads(str(statistics)) == json.loads(str(TrafficStats()))
    client.text("d")
    assert (statistics.incomingWebSocketMessages, statistics.incomingOctetsAppLevel) == (1, 1)


def test_there_is_one_event_to_listen_for(serve: Any) -> None:
    Client(serve(Kept))
    with pytest.raises(RuntimeError, match="Invalid event"):
        Kept.made[0].on("massage", print)


def test_a_name_that_the_class_has_too_is_the_instances(serve: Any) -> None:
    class Named(Kept):
        state: Any = "asleep"
        http_headers: Any = None
        data: Any = None
        trafficStats: Any = None

        def connectionMade(self) -> None:
            super().connectionMade()
            self.seen = self.state, self.data

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(self.http_headers["host"].encode())

    client = Client(serve(Named))
    client.text("a")
    assert client.messages == ["example.org"]
    assert Named.made[0].seen == (WebSocketServerProtocol.STATE_CONNECTING, b"")
    assert Named.made[0].trafficStats.outgoingWebSocketMessages == 1


def test_a_handler_may_have_names_that_are_likely(serve: Any) -> None:
    class Counts(Kept):
        def onOpen(self) -> None:
            super().onOpen()
            self._count = self._look = self._call = self._begin = self._control = self._handler = 0

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self._count += 1
            self.sendMessage(self._joined("got ", payload), isBinary)

        def _joined(self, one: str, other: bytes) -> bytes:
            return b"%b%d" % (one.encode() + other, self._count)

    client = Client(serve(Counts), deflate=True)
    client.text("a")
    data = frame(b"b" * 70_000, 2)
    client.wire.send(data[:40_000])
    client.wire.send(data[40_000:] + frame(b"ping", 9))
    client.look()
    client.text("c" * 300)
    client.close()
    assert client.messages == ["got a1", b"got " + b"b" * 70_000 + b"2", "got " + "c" * 300 + "3"]
    assert client.closed[0] == 1000


def test_a_property_that_watches_the_state_is_told() -> None:
    class Watches(Kept):
        @property
        def state(self) -> int:
            return self._state

        @state.setter
        def state(self, state: int) -> None:
            self.seen = [*(self.seen or []), state]
            self._state = state

    Watches.made = []
    Client(site(Watches)).close()
    assert Watches.made[0].seen == [1, 3, 2, 0]


def test_settings_of_a_factory_are_those_that_it_has_when_a_connection_comes() -> None:
    class Sends(Kept):
        def onOpen(self) -> None:
            super().onOpen()
            self.sendMessage(b"abcd")

    Sends.made = []
    factory = WebSocketServerFactory()
    factory.protocol = Sends
    server = site(factory)
    Client(server)
    factory.setProtocolOptions(autoFragmentSize=2)
    Client(server)
    assert [one.trafficStats.outgoingWebSocketFrames for one in Sends.made] == [1, 3]  # as autobahn cuts
    assert [one.autoFragmentSize for one in Sends.made] == [0, 2]


def test_a_handler_may_have_settings_of_its_own(serve: Any) -> None:
    class Own(Kept):
        autoFragmentSize = 3

        def __init__(self) -> None:
            super().__init__()
            self.autoPingSize = 20
            self.failByDrop = True

    Client(serve(Own))
    (protocol,) = Own.made
    assert (protocol.autoFragmentSize, protocol.autoPingSize, protocol.failByDrop) == (3, 20, False)


def test_two_switches_of_one_class_have_their_own_settings() -> None:
    Kept.made = []
    Client(site(Kept, ping_seconds=3))
    Client(site(Kept, ping_seconds=7))
    assert [one.autoPingInterval for one in Kept.made] == [3, 7]


def test_only_who_asks_is_shown_the_request() -> None:
    class Asks(Kept):
        def onConnect(self, request: Any) -> None:
            self.seen = request

    Asks.made = []
    Client(site(Asks))
    assert Asks.made[0].seen.path == "/ws"


@pytest.mark.parametrize("ended", ["close", "failure", "reset"])
def test_no_line_is_styled_for_nobody(serve: Any, ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    styled: list[object] = []
    monkeypatch.setattr(autobahn.util, "hl", lambda text, *rest, **more: styled.append(text))
    client = Client(serve(Kept))
    client.text("a")
    if ended == "close":
        client.close()
    elif ended == "reset":
        client.wire.reset()
    else:
        client.send_raw(b"\xff\xff")
    assert styled == []


@pytest.mark.parametrize("ended", ["close", "reset", "drop"])
def test_a_connection_that_is_over_is_forgotten_at_once(ended: str) -> None:
    class Gone(WebSocketServerProtocol):
        made: list[Any] = []

        def onOpen(self) -> None:
            self.made.append(weakref.ref(self))

    client = Client(site(Gone))
    client.text("a" * 1000)
    gc.collect()
    gc.disable()
    try:
        if ended == "close":
            client.close()
        elif ended == "reset":
            client.wire.reset()
        else:
            Gone.made[0]().dropConnection(abort=True)
            client.wire.turn()
        client.wire.transport.protocol = None
        assert Gone.made[0]() is None
    finally:
        gc.enable()


def test_a_handler_of_any_factory_is_what_it_was() -> None:
    factory = WebSocketServerFactory()
    factory.protocol = Kept
    made = switch(factory)
    assert made is not None
    assert factory.protocol is Kept
