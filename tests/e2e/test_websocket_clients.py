"""WebSocket clients that were not written here talk to a real server."""

from __future__ import annotations

import json
import signal
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen

from tests.e2e.conftest import SCRIPTS, SECONDS, Client, Server, need, twistd
from tests.e2e.processes import ROOT
from tests.wires import write_certificate

pytestmark = pytest.mark.e2e

MIB = 1048576

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
endpoint = "ssl:0:interface=127.0.0.1:privateKey=key.pem:certKey=cert.pem"

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
subprotocols = ["superchat", "chat"]
deflate_threshold_bytes = 0

[[switch]]
path = "/plain"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
deflate = false

[[switch]]
path = "/lean"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
deflate_threshold_bytes = 0
deflate_context_takeover = false
deflate_window_bits = 9

[[switch]]
path = "/frames"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
max_frame_bytes = 1000

[[switch]]
path = "/small"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
max_message_bytes = 1000

[[switch]]
path = "/broadcast"
protocol = "websocket"
handler = "switchd.protocols.websocket:Broadcast"

[[switch]]
path = "/addone"
protocol = "websocket"
handler = "switchd.protocols.addone:AddOne"
messages = "text"

[[switch]]
path = "/members"
protocol = "websocket"
handler = "handlers:Members"

[[switch]]
path = "/moody"
protocol = "websocket"
handler = "handlers:Moody"
"""

HANDLERS = """
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.logger import Logger

log = Logger()


class Members(WebSocketServerProtocol):
    def onConnect(self, request):
        if "cookie" not in request.headers:
            raise ConnectionDeny(401, "who are you?")
        if request.headers["cookie"] != "name=alice":
            raise ConnectionDeny(ConnectionDeny.FORBIDDEN, "not you")

    def onOpen(self):
        self.sendMessage(b"hello, alice")


class Moody(WebSocketServerProtocol):
    def onMessage(self, payload, isBinary):
        match payload:
            case b"boom":
                raise RuntimeError("boom")
            case b"ping":
                self.sendPing(b"are you there?")
            case b"leave":
                self.sendClose(4000, "as you wish")

    def onPong(self, payload):
        self.sendMessage(b"pong: " + payload)

    def onClose(self, wasClean, code, reason):
        log.info("{it}", it=f"closed: {wasClean} {code} {reason}")
"""

LIBRARIES = ("ws", "websockets", "aiohttp", "websocket_client", "autobahn")
COMPRESSING = tuple(name for name in LIBRARIES if name != "websocket_client")
FRAGMENTING = tuple(name for name in LIBRARIES if name != "aiohttp")

WITH_AND_WITHOUT = [
    (name, deflate) for name in LIBRARIES for deflate in (True, False) if name in COMPRESSING or not deflate
]


@frozen
class Site:
    """A server, and how clients are started that talk to it.

    Attributes:
        server: The server.
        secure: The port of the endpoint with TLS.
        folder: Where the certificate is.
    """

    server: Server
    secure: int
    folder: Path
    _start: Callable[..., Client]

    def url(self, path: str, tls: bool = False) -> str:
        """Where a client goes."""
        # The certificate is for this name; without TLS, by address, since a name might be tried as IPv6 first.
        return f"wss://localhost:{self.secure}{path}" if tls else f"ws://{self.server.host}:{self.server.port}{path}"

    def start(self, library: str, path: str, *steps: tuple[object, ...], tls: bool = False, **options: Any) -> Client:
        """Start a client. Steps and options: `clients/websocket_steps.py`."""
        task = {"subprotocols": [], "origin": None, "headers": {}, "deflate": False, **options}
        ca = str(self.folder / "cert.pem") if tls else None
        return self._start(library, {"url": self.url(path, tls), "steps": steps, "ca": ca, **task})

    def play(self, library: str, path: str, *steps: tuple[object, ...], **options: Any) -> dict[str, Any]:
        """Start a client; what it saw when it is over."""
        return self.start(library, path, *steps, **options).seen()


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str, dict[str, Any]], Client]]:
    """Starts the client of a library with a task. At the end none is left."""
    clients: list[Client] = []

    def start_one(library: str, task: dict[str, Any]) -> Client:
        file = tmp_path / f"task{len(clients)}.json"
        file.write_text(json.dumps(task))
        if library == "ws":
            environment = {"NODE_PATH": str(request.getfixturevalue("node_modules"))}
            clients.append(Client(need("node"), SCRIPTS / "websocket_ws.js", file, environment=environment))
        else:
            module = f"tests.e2e.clients.websocket_{library}"
            clients.append(Client(sys.executable, "-m", module, file, environment={"PYTHONPATH": str(ROOT)}))
        return clients[-1]

    yield start_one
    for client in clients:
        client.kill()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Server, int, Path]]:
    """A server with the configuration above: itself, its port with TLS, its folder."""
    (folder / "switchd.toml").write_text(CONFIG)
    (folder / "handlers.py").write_text(HANDLERS)
    write_certificate(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(folder))
        with twistd(folder, "--config", "switchd.toml") as server:
            secure = server.wait_for(r"listening on tcp [\d.]+:(\d+)")
            yield server, int(secure[1]), folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int, Path]]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def site(served: tuple[Server, int, Path], start: Callable[..., Client]) -> Site:
    """The server that all tests share but for those that end it."""
    return Site(*served, start)


@pytest.fixture
def own_site(tmp_path: Path, start: Callable[..., Client]) -> Iterator[Site]:
    """A server of the test's own."""
    with serving(tmp_path) as found:
        yield Site(*found, start)


def binary(data: bytes) -> tuple[str, str]:
    """The step that sends a binary message."""
    return ("binary", b64encode(data).decode())


def shown(data: bytes) -> list[object]:
    """How a client tells of one."""
    return [len(data), sha256(data).hexdigest()]


RECEIVE = ("receive",)
READY = ("ready",)
END = ("end",)
CLOSE = ("close", 1000, "")

TEXTS = ("hello", "Grüße, 世界 🌍", "", "a\nb\0c", "x" * 70_000)
BINARIES = (b"", bytes(range(256)), Random(6455).randbytes(MIB), bytes(MIB))


def is_closed(seen: dict[str, Any], code: int, reason: str) -> bool:
    """Whether the server's Close was this, as far as the library says."""
    return seen["closed"] in ([code, reason], [code, None])


class TestMessages:
    @pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
    @pytest.mark.parametrize(("library", "deflate"), WITH_AND_WITHOUT)
    def test_come_back_as_they_were(self, site: Site, library: str, deflate: bool, tls: bool) -> None:
        messages = [("text", text) for text in TEXTS] + [binary(data) for data in BINARIES]
        steps = [step for message in messages for step in (message, RECEIVE)]
        seen = site.play(library, "/echo", *steps, CLOSE, deflate=deflate, tls=tls)
        assert (seen["status"], seen["deflate"]) == (101, deflate)
        assert seen["messages"] == [*TEXTS, *map(shown, BINARIES)]
        assert is_closed(seen, 1000, "")

    @pytest.mark.parametrize(("library", "deflate"), WITH_AND_WITHOUT)
    def test_come_in_order_when_many_are_sent_at_once(self, site: Site, library: str, deflate: bool) -> None:
        texts = [str(number) for number in range(200)]
        steps = [*(("text", text) for text in texts), *(RECEIVE for _ in texts)]
        seen = site.play(library, "/echo", *steps, CLOSE, deflate=deflate)
        assert seen["messages"] == texts

    @pytest.mark.parametrize(("library", "deflate"), [each for each in WITH_AND_WITHOUT if each[0] in FRAGMENTING])
    def test_may_be_fragmented(self, site: Site, library: str, deflate: bool) -> None:
        parts = ("Grü", "", "ße, ", "世" * 1000, "界")
        seen = site.play(library, "/echo", ("fragments", *parts), RECEIVE, CLOSE, deflate=deflate)
        assert seen["messages"] == ["".join(parts)]

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_are_the_stream_of_an_ordinary_protocol(self, site: Site, library: str) -> None:
        steps = (("text", "41\n"), RECEIVE, ("text", "1\n2"), RECEIVE, ("text", "0\n"), RECEIVE)
        seen = site.play(library, "/addone", *steps, CLOSE)
        assert seen["messages"] == ["42\n", "2\n", "21\n"]
        assert is_closed(seen, 1000, "")

    def test_go_to_all_who_are_there(self, site: Site) -> None:
        first = site.start("ws", "/broadcast", ("text", "one"), RECEIVE, READY, RECEIVE, RECEIVE, CLOSE, deflate=True)
        first.ready()
        second = site.start("websocket_client", "/broadcast", ("text", "two"), RECEIVE, READY, RECEIVE, CLOSE)
        second.ready()
        third = site.start("aiohttp", "/broadcast", binary(b"three"), RECEIVE, CLOSE)
        assert third.seen()["messages"] == [shown(b"three")]
        assert second.seen()["messages"] == ["two", shown(b"three")]
        assert first.seen()["messages"] == ["one", "two", shown(b"three")]


class TestCompression:
    @pytest.mark.parametrize("library", COMPRESSING)
    def test_makes_messages_smaller_both_ways(self, site: Site, library: str) -> None:
        data = bytes(100_000)
        # A frame may have 1000 bytes on this path.
        seen = site.play(library, "/frames", binary(data), RECEIVE, CLOSE, deflate=True)
        assert seen["messages"] == [shown(data)]
        assert seen["wire_bytes"] is None or seen["wire_bytes"] < 1000
        seen = site.play(library, "/frames", binary(data), END, deflate=False)
        assert seen["messages"] == []
        assert is_closed(seen, 1009, "a frame has at most 1000 bytes here")

    @pytest.mark.parametrize("library", COMPRESSING)
    def test_may_be_off_in_the_server(self, site: Site, library: str) -> None:
        seen = site.play(library, "/plain", ("text", "hello"), RECEIVE, CLOSE, deflate=True)
        assert (seen["deflate"], seen["messages"]) == (False, ["hello"])

    @pytest.mark.parametrize("library", COMPRESSING)
    def test_may_have_a_small_window_and_no_memory(self, site: Site, library: str) -> None:
        random = Random(7692)
        text = "".join(random.choices("abcdefgh", k=20_000))
        steps = [step for _ in range(3) for step in (("text", text), RECEIVE)]
        seen = site.play(library, "/lean", *steps, CLOSE, deflate=True)
        assert (seen["deflate"], seen["messages"]) == (True, [text] * 3)


class TestHandshake:
    @pytest.mark.parametrize("library", LIBRARIES)
    def test_takes_the_first_subprotocol_of_the_client_that_it_has(self, site: Site, library: str) -> None:
        seen = site.play(library, "/echo", CLOSE, subprotocols=["mqtt", "chat", "superchat"])
        assert seen["subprotocol"] == "chat"

    @pytest.mark.parametrize("library", ["websockets", "aiohttp", "autobahn"])  # the others insist on one
    def test_takes_none_if_it_has_none(self, site: Site, library: str) -> None:
        seen = site.play(library, "/echo", CLOSE, subprotocols=["mqtt"])
        assert (seen["status"], seen["subprotocol"]) == (101, None)

    @pytest.mark.parametrize("library", LIBRARIES)
    @pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
    def test_lets_in_pages_of_its_own_only(self, site: Site, library: str, tls: bool) -> None:
        authority = site.url("", tls).rpartition("/")[2]
        own, other = (f"{scheme}://{authority}" for scheme in (("https", "http") if tls else ("http", "https")))
        for origin in ("https://evil.example", other, "null"):
            assert site.play(library, "/echo", CLOSE, origin=origin, tls=tls) == {"status": 403}, origin
        assert site.play(library, "/echo", CLOSE, origin=own, tls=tls)["status"] == 101

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_asks_the_handler(self, site: Site, library: str) -> None:
        assert site.play(library, "/members", END) == {"status": 401}
        assert site.play(library, "/members", END, headers={"Cookie": "name=mallory"}) == {"status": 403}
        seen = site.play(library, "/members", RECEIVE, CLOSE, headers={"Cookie": "name=alice"})
        assert seen["messages"] == ["hello, alice"]

    @pytest.mark.parametrize("library", LIBRARIES)
    def test_is_not_made_where_there_is_no_switch(self, site: Site, library: str) -> None:
        assert site.play(library, "/nowhere", END) == {"status": 404}

    def test_names_the_version_to_whom_offers_another(self, site: Site) -> None:
        connection = HTTPConnection(site.server.host, site.server.port, timeout=SECONDS)
        offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        try:
            connection.request("GET", "/echo", headers={**offer, "Sec-WebSocket-Version": "8"})
            response = connection.getresponse()
            assert response.status == 426
            assert response.getheader("Sec-WebSocket-Version") == "13"
            assert response.getheader("Upgrade") == "websocket"
            response.read()
            # The connection goes on, and may be switched still.
            connection.request("GET", "/echo", headers={**offer, "Sec-WebSocket-Version": "13"})
            response = connection.getresponse()
            assert response.status == 101
            assert response.getheader("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        finally:
            connection.close()


@pytest.mark.parametrize("library", LIBRARIES)
class TestPing:
    def test_of_the_client_is_answered(self, site: Site, library: str) -> None:
        steps = (("ping", "one"), ("text", "hello"), RECEIVE, ("ping", "two"))
        seen = site.play(library, "/echo", *steps, CLOSE)
        assert (seen["pongs"], seen["messages"]) == (["one", "two"], ["hello"])

    def test_of_the_server_is_answered(self, site: Site, library: str) -> None:
        seen = site.play(library, "/moody", ("text", "ping"), RECEIVE, CLOSE)
        assert seen["messages"] == ["pong: are you there?"]


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("library", LIBRARIES)
class TestClose:
    def test_of_the_client_is_told_to_the_handler_and_answered_with_the_same(
        self, site: Site, library: str, tls: bool
    ) -> None:
        seen = site.play(library, "/moody", ("close", 4001, f"{library} {tls}"), tls=tls)
        assert is_closed(seen, 4001, f"{library} {tls}")
        site.server.wait_for(rf"closed: True 4001 {library} {tls}$")

    def test_of_the_handler_has_its_code_and_reason(self, site: Site, library: str, tls: bool) -> None:
        seen = site.play(library, "/moody", ("text", "leave"), END, tls=tls)
        assert is_closed(seen, 4000, "as you wish")
        site.server.wait_for(r"closed: True \d+")

    def test_is_1009_for_a_message_that_is_too_big(self, site: Site, library: str, tls: bool) -> None:
        reason = "a message has at most 1000 bytes here"
        steps = (binary(bytes(1000)), RECEIVE, binary(bytes(1001)), END)
        seen = site.play(library, "/small", *steps, tls=tls)
        assert seen["messages"] == [shown(bytes(1000))]
        assert is_closed(seen, 1009, reason)
        # Of one that is still being sent when the server has seen enough.
        seen = site.play(library, "/small", binary(bytes(8 * MIB)), END, tls=tls)
        assert is_closed(seen, 1009, reason)


class TestServer:
    def test_closes_with_1011_whose_handler_fails_and_no_other(self, own_site: Site) -> None:
        own_site.server.tracebacks = True
        patient = own_site.start("websockets", "/moody", READY, ("text", "ping"), RECEIVE, CLOSE)
        patient.ready()
        for library in LIBRARIES:
            seen = own_site.play(library, "/moody", ("text", "boom"), END)
            assert is_closed(seen, 1011, "internal error"), library
        assert patient.seen()["messages"] == ["pong: are you there?"]
        own_site.server.signal(signal.SIGTERM)
        own_site.server.end()
        assert own_site.server.log.count("builtins.RuntimeError: boom") == len(LIBRARIES)

    @pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
    def test_says_1001_to_all_before_it_ends(self, own_site: Site, tls: bool) -> None:
        steps = (("text", "hello"), RECEIVE, READY, END)
        clients = {name: own_site.start(name, "/echo", *steps, tls=tls, deflate=True) for name in LIBRARIES}
        for client in clients.values():
            client.ready()
        own_site.server.signal(signal.SIGTERM)
        for name, client in clients.items():
            assert is_closed(client.seen(), 1001, "the server is shutting down"), name
        assert own_site.server.end() == -signal.SIGTERM


@pytest.fixture
def wscat(node_modules: Path) -> Iterator[Callable[..., Client]]:
    """Starts wscat."""
    clients: list[Client] = []

    def start_one(*arguments: str) -> Client:
        clients.append(Client(need("node"), node_modules / "wscat" / "bin" / "wscat", *arguments))
        return clients[-1]

    yield start_one
    for client in clients:
        client.kill()


class TestWscat:
    def test_executes_commands(self, site: Site, wscat: Callable[..., Client]) -> None:
        # It closes after 0 seconds; what it has sent is answered before that.
        client = wscat("-c", site.url("/echo"), "-x", "hello", "-x", "Grüße", "-w", "0")
        assert client.end() == "hello\nGrüße\n"

    def test_is_typed_into(self, site: Site, wscat: Callable[..., Client]) -> None:
        client = wscat("-c", site.url("/members"), "-H", "Cookie: name=alice", "--slash", "-P")
        assert client.line() == "hello, alice"
        client.type("/ping now")
        assert client.line() == '> Received pong (data: "now")'  # behind its prompt
        client.type("/close")
        client.end()

    @pytest.mark.parametrize(
        ("path", "options", "status"),
        [
            ("/echo", ("-p", "8"), 426),
            ("/echo", ("-o", "https://evil.example"), 403),
            ("/members", (), 401),
            ("/nowhere", (), 404),
        ],
    )
    def test_is_refused(
        self, site: Site, wscat: Callable[..., Client], path: str, options: tuple[str, ...], status: int
    ) -> None:
        client = wscat("-c", site.url(path), "-x", "hello", *options)
        assert f"error: Unexpected server response: {status}" in client.end(status=255)
