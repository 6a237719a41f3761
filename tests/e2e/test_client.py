"""Our client with servers that were not written here, and programs that were not written for it with our client."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol, quoteStringArgument
from twisted.internet.protocol import Protocol

from switchd.client import NoAnswer, Refused
from tests.e2e.conftest import SCRIPTS, SECONDS, TWISTD, Client, need, run, twistd
from tests.wires import with_reactor, write_certificate

pytestmark = pytest.mark.e2e

SWITCHD = str(Path(sys.executable).with_name("switchd"))


@contextmanager
def node(*arguments: str | Path) -> Iterator[int]:
    """Node's server; its port."""
    server = Client(need("node"), SCRIPTS / "upgrade_server.js", *arguments)
    try:
        yield int(server.line())
    finally:
        server.kill()


@pytest.fixture(scope="module")
def plain() -> Iterator[int]:
    with node() as port:
        yield port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, in which is nothing else that ends in `.pem` and could be trusted."""
    folder = tmp_path_factory.mktemp("certificate")
    write_certificate(folder)
    return folder


@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[int]:
    with node(certificate / "key.pem", certificate / "cert.pem") as port:
        yield port


class Lines(Protocol):
    """Collects what comes; `lost` fires with it at the end."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(self.data)


@pytest.fixture(scope="module")
def both(certificate: Path) -> Iterator[int]:
    """One that speaks HTTP/2 too, and does not switch streams of it."""
    with node(certificate / "key.pem", certificate / "cert.pem", "http2") as port:
        yield port


class TestNode:
    def test_that_chooses_http_2_and_cannot_switch_streams_is_asked_in_http_1_1(
        self, both: int, certificate: Path
    ) -> None:
        url = f"https://localhost:{both}/shout"
        arguments = ("--protocol", "shout", "--cacert", certificate / "cert.pem", "--wait", "0.5")
        assert run(SWITCHD, "connect", url, *arguments, stdin="quiet\n") == "hello\nQUIET\n"

    def test_switchd_connect_switches_and_is_answered(self, plain: int) -> None:
        url = f"http://127.0.0.1:{plain}/shout"
        assert run(SWITCHD, "connect", url, "--protocol", "shout", stdin="quiet\n") == "hello\nQUIET\n"

    def test_switchd_connect_does_so_in_tls_with_a_certificate_that_it_is_told_to_trust(
        self, secure: int, certificate: Path
    ) -> None:
        url = f"https://localhost:{secure}/shout"
        arguments = ("--protocol", "shout", "--cacert", certificate / "cert.pem", "--wait", "0.5")
        assert run(SWITCHD, "connect", url, *arguments, stdin="quiet\n") == "hello\nQUIET\n"

    @with_reactor
    async def test_a_string_is_enough(self, plain: int) -> None:
        endpoint = clientFromString(reactor, rf"upgrade:http\://127.0.0.1\:{plain}/shout:token=shout")
        lines: Any = await connectProtocol(endpoint, Lines())
        lines.transport.write(b"quiet\n")
        lines.transport.loseWriteConnection()
        assert await lines.lost.addTimeout(SECONDS, reactor) == b"hello\nQUIET\n"

    @with_reactor
    async def test_a_string_says_whom_to_trust(self, secure: int, certificate: Path) -> None:
        string = rf"upgrade:https\://localhost\:{secure}/nothing:token=shout"
        trusting = f"{string}:trustRoots={quoteStringArgument(str(certificate))}"
        with pytest.raises(Refused) as refused:
            await connectProtocol(clientFromString(reactor, trusting), Lines())
        assert refused.value.body == b"no shout on /nothing"
        with pytest.raises(NoAnswer, match="TLS: certificate verify failed"):
            await connectProtocol(clientFromString(reactor, string), Lines())

    @with_reactor
    async def test_a_refusal_comes_whole(self, plain: int) -> None:
        endpoint = clientFromString(reactor, rf"upgrade:http\://127.0.0.1\:{plain}/shout:token=other")
        with pytest.raises(Refused) as caught:
            await connectProtocol(endpoint, Lines())
        refused = caught.value
        assert (refused.status, refused.reason, refused.body) == (403, "Forbidden", b"no other on /shout")
        assert (b"upgrade", b"shout") in refused.headers


CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[switch]]
path = "/tunnel"
protocol = "tunnel"
port = {port}
"""

TUNNEL = """
from types import SimpleNamespace

from attrs import frozen
from twisted.protocols.portforward import ProxyServer


class Tunnel(ProxyServer):
    @frozen
    class Options:
        port: int

    def __init__(self, options):
        self.factory = SimpleNamespace(host="127.0.0.1", port=options.port)
"""

PLUGIN = """
from switchd.interfaces import SwitchPlugin

tunnel = SwitchPlugin("tunnel", b"tcp", "tunnel:Tunnel")
"""


@contextmanager
def greeter() -> Iterator[int]:
    """The port of a server of old that speaks first, for one client, and ends what it hears with a full stop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(SECONDS)
                connection.sendall(b"220 ready\n")
                connection.sendall(connection.recv(100).replace(b"\n", b".\n"))
                connection.recv(1)

        thread = Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(SECONDS)


def test_a_program_that_takes_a_string_goes_through_a_tunnel_by_another_string(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`twistd endpointforward`, which comes with autobahn and knows nothing of us, to a server that knows as little."""
    (tmp_path / "twisted" / "plugins").mkdir(parents=True)
    (tmp_path / "twisted" / "plugins" / "switchd_tunnel.py").write_text(PLUGIN)
    (tmp_path / "tunnel.py").write_text(TUNNEL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with greeter() as port:
        (tmp_path / "switchd.toml").write_text(CONFIG.format(port=port))
        with twistd(tmp_path, "--config", "switchd.toml") as server:
            string = rf"upgrade:http\://127.0.0.1\:{server.port}/tunnel:token=tcp"
            arguments = ("endpointforward", "--endpoint", "tcp:0:interface=127.0.0.1", "--dest_endpoint", string)
            forward = Client(TWISTD, "-n", "--pidfile=", *arguments)
            try:
                while " starting on " not in (line := forward.line()):
                    pass
                with socket.create_connection(("127.0.0.1", int(line.split()[-1])), SECONDS) as connection:
                    stream = connection.makefile("rwb", buffering=0)
                    assert stream.readline() == b"220 ready\n"
                    stream.write(b"through port 80\n")
                    assert stream.readline() == b"through port 80.\n"
            finally:
                forward.kill()
