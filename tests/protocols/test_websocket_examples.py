"""What autobahn's documentation shows, told again: servers that its users have, each as a handler without a change."""

from __future__ import annotations

import hashlib
from http.cookies import SimpleCookie
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import inlineCallbacks
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer

from tests.websockets import Client, frame, site


def test_echo() -> None:
    class EchoServer(WebSocketServerProtocol):
        def onConnect(self, request: Any) -> None:
            self.log.debug("connecting: {peer}", peer=request.peer)

        def onOpen(self) -> None:
            self.log.debug("open")

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            text = None if isBinary else payload.decode("utf8")
            self.log.debug("{text}", text=text)
            self.sendMessage(payload, isBinary)

        def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
            self.log.debug("closed: {reason}", reason=reason)

    client = Client(site(EchoServer))
    client.text("hällo")
    client.binary(b"\0\xff")
    client.close()
    assert client.messages == ["hällo", b"\0\xff"]


def test_subprotocols() -> None:
    """The one that the client prefers of those that the server has decides which object speaks."""

    class Service:
        def __init__(self, connection: WebSocketServerProtocol) -> None:
            self.connection = connection

    class Doubles(Service):
        def hear(self, payload: bytes) -> None:
            self.connection.sendMessage(payload * 2)

    class Reverses(Service):
        def hear(self, payload: bytes) -> None:
            self.connection.sendMessage(payload[::-1])

    class Chooses(WebSocketServerProtocol):
        SERVICES: dict[str, Any] = {"double.v1": Doubles, "reverse.v1": Reverses}

        def onConnect(self, request: Any) -> str:
            for name in request.protocols:
                if name in self.SERVICES:
                    self.service = self.SERVICES[name](self)
                    return str(name)
            raise ConnectionDeny(ConnectionDeny.NOT_ACCEPTABLE, "no such subprotocol")

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.service.hear(payload)

    server = site(Chooses)
    client = Client(server, subprotocols=["unknown", "reverse.v1", "double.v1"])
    client.text("ab")
    assert (client.accepted.subprotocol, client.messages) == ("reverse.v1", ["ba"])
    assert Client(server, subprotocols=["unknown"]).rejected[0] == 406
    assert Client(server).rejected[0] == 406


def test_services_by_path() -> None:
    class Paths(WebSocketServerProtocol):
        def onConnect(self, request: Any) -> None:
            if request.path not in ("/ws/one", "/ws/two"):
                raise ConnectionDeny(ConnectionDeny.NOT_FOUND, "no such service")
            self.service = request.path.rpartition("/")[2]

        def onOpen(self) -> None:
            self.sendMessage(self.service.encode())

    server = site(Paths)
    assert Client(server, "/ws/two").messages == ["two"]
    assert Client(server, "/ws/three").rejected[0] == 404


class Members(WebSocketServerFactory):
    """Remembers who is there, and ticks."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self.clients: list[Any] = []
        self.ticks = 0
        self.tick()

    def tick(self) -> None:
        self.broadcast(f"tick {self.ticks}")
        self.ticks += 1
        self.reactor.callLater(1, self.tick)

    def register(self, client: Any) -> None:
        if client not in self.clients:
            self.clients.append(client)

    def unregister(self, client: Any) -> None:
        if client in self.clients:
            self.clients.remove(client)

    def broadcast(self, text: str) -> None:
        for client in self.clients:
            client.sendMessage(text.encode())


class Prepared(Members):
    """The same with one encoding for all."""

    def broadcast(self, text: str) -> None:
        message = self.prepareMessage(text.encode())
        for client in self.clients:
            client.sendPreparedMessage(message)


class Member(WebSocketServerProtocol):
    factory: Any

    def onOpen(self) -> None:
        self.factory.register(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if not isBinary:
            self.factory.broadcast(f"{payload.decode()} from {self.peer}")

    def connectionLost(self, reason: Any = None) -> None:
        super().connectionLost(reason)
        self.factory.unregister(self)


def test_broadcasting() -> None:
    for cls in (Members, Prepared):
        clock = Clock()
        factory = cls(clock)
        factory.protocol = Member
        server = site(factory, clock=clock, ping_seconds=0)
        one, other = Client(server), Client(server, deflate=True)
        one.text("hello")
        one.let_pass(1)
        other.look()
        assert one.messages == other.messages == ["hello from tcp4:192.0.2.1:50000", "tick 1"]
        other.close()
        assert len(factory.clients) == 1
        one.let_pass(1)
        assert one.messages[2:] == ["tick 2"]


def test_authentication_by_a_cookie() -> None:
    """Who comes without one gets one; who comes with it is known."""

    class Knows(WebSocketServerProtocol):
        factory: Any

        def onConnect(self, request: Any) -> Any:
            headers = {}
            cookie: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
            self.user = cookie["session"].value if "session" in cookie else None
            if self.user not in self.factory.users:
                self.user = f"user{len(self.factory.users)}"
                self.factory.users.add(self.user)
                headers["Set-Cookie"] = f"session={self.user}; Secure; HttpOnly"
            return None, headers

        def onOpen(self) -> None:
            self.sendMessage(f"you are {self.user}".encode())

    factory: Any = WebSocketServerFactory(reactor=Clock())
    factory.protocol = Knows
    factory.users = set()
    server = site(factory)
    first = Client(server)
    assert first.accepted.extra_headers == [(b"set-cookie", b"session=user0; Secure; HttpOnly")]
    again = Client(server, extra_headers=[(b"Cookie", b"a=b; session=user0")])
    assert again.accepted.extra_headers == []
    assert first.messages == again.messages == ["you are user0"]


def test_authentication_that_takes_its_time() -> None:
    clock = Clock()

    class Checks(WebSocketServerProtocol):
        async def onConnect(self, request: Any) -> None:  # type: ignore[override]  # annotated too narrowly
            await deferLater(clock, 1, lambda: None)  # a database
            if request.headers.get("authorization") != "Bearer right":
                raise ConnectionDeny(401, "who are you?")

    server = site(Checks, clock=clock)
    right = Client(server, extra_headers=[(b"Authorization", b"Bearer right")], early=frame(b""))
    wrong = Client(server)
    assert right.events == wrong.events == []
    right.let_pass(1)
    wrong.look()
    assert right.accepted
    assert (wrong.rejected[0], wrong.rejected[2]) == (401, b"who are you?\n")


def test_answers_that_take_their_time() -> None:
    clock = Clock()

    class Squares(WebSocketServerProtocol):
        @inlineCallbacks
        def onMessage(self, payload: bytes, isBinary: bool) -> Any:  # type: ignore[override]
            try:
                number = float(payload)
                yield deferLater(clock, number, lambda: None)
                self.sendMessage(b"%g" % (number * number))
            except ValueError as error:
                self.sendClose(1000, f"raised: {error}")

    client = Client(site(Squares, clock=clock, ping_seconds=0))
    client.text("3")
    client.text("2")
    client.let_pass(2)
    client.let_pass(1)
    assert client.messages == ["4", "9"]
    client.text("x")
    assert client.closed == (1000, "raised: could not convert string to float: b'x'")


def test_receiving_frame_by_frame_and_piece_by_piece() -> None:
    class Hashes(WebSocketServerProtocol):
        def onMessageBegin(self, isBinary: bool) -> None:
            super().onMessageBegin(isBinary)
            self.sha256 = hashlib.sha256()

        def onMessageFrameBegin(self, length: int) -> None:
            super().onMessageFrameBegin(length)
            self.received = 0

        def onMessageFrameData(self, payload: bytes) -> None:
            self.received += len(payload)
            self.sha256.update(payload)

        def onMessageFrameEnd(self) -> None:
            self.sendMessage(b"%d" % self.received)

        def onMessageEnd(self) -> None:
            self.sendMessage(self.sha256.hexdigest().encode())

    client = Client(site(Hashes))
    client.send_raw(frame(b"a" * 1000, 2, fin=False)[:500])
    client.send_raw(frame(b"a" * 1000, 2, fin=False)[500:] + frame(b"b" * 10, 0))
    assert client.messages == ["1000", "10", hashlib.sha256(b"a" * 1000 + b"b" * 10).hexdigest()]


def test_sending_frame_by_frame_from_a_producer() -> None:
    class Streams(WebSocketServerProtocol):
        def onOpen(self) -> None:
            producer = Zeros(self)
            self.registerProducer(producer, True)
            producer.resumeProducing()

    @implementer(IPushProducer)
    class Zeros:
        def __init__(self, connection: Any) -> None:
            self.connection = connection
            self.paused = True
            self.left = 50
            self.pauses = 0

        def resumeProducing(self) -> None:
            self.paused = False
            if self.left == 50:
                self.connection.beginMessage(isBinary=True)
            while self.left and not self.paused:
                self.left -= 1
                self.connection.beginMessageFrame(10_000)
                for _ in range(10):
                    self.connection.sendMessageFrameData(bytes(1000))
            if not self.left and self.connection.send_state:
                self.connection.endMessage()
                self.connection.unregisterProducer()
                self.connection.sendClose(1000, f"paused {self.pauses} times")

        def pauseProducing(self) -> None:
            self.paused = True
            self.pauses += 1

        def stopProducing(self) -> None: ...

    client = Client(site(Streams))
    assert client.messages == [bytes(500_000)]
    code, reason = client.closed
    assert code == 1000
    assert reason != "paused 0 times"
