"""Clients that were not written here switch streams of a real server's HTTP/2 by extended CONNECT."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from switchd import engine
from tests.e2e.browser import chromium
from tests.e2e.conftest import SCRIPTS, Client, Server, need, run, twistd
from tests.e2e.test_browser import LOG, STATE
from tests.wires import write_certificate

pytestmark = pytest.mark.e2e

CONFIG = """
[server]
http2_engine = "%s"

[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[http]]
path = "/"
resource = "switchd.pages:index"

[[switch]]
path = "/"
protocol = "h2c"

[[switch]]
path = "/addone"
protocol = "addone"

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
"""

TLS = """
[listen.tls]
certificate = "cert.pem"
key = "key.pem"
"""


@pytest.fixture(scope="module", params=engine.NAMES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "switchd.toml").write_text(CONFIG % request.param)
    with twistd(folder, "--config", "switchd.toml") as running:
        yield running


def node(server: Server, scene: str) -> dict[str, Any]:
    seen = Client(need("node"), SCRIPTS / "connect_node.js", scene, f"http://{server.host}:{server.port}").seen()
    assert seen.pop("enabled") is True
    return seen


def test_node_talks_to_addone_and_ends_the_stream(server: Server) -> None:
    seen = node(server, "addone")
    assert (seen["status"], seen["text"], seen["code"]) == (200, "42\n2\n3\n100\n", 0)
    server.wait_for(r"switched to h2c > addone on /addone")
    server.wait_for(r"h2c > addone on /addone ended by client")


def test_node_has_many_of_them_beside_ordinary_requests(server: Server) -> None:
    seen = node(server, "many")
    assert seen["texts"] == [f"{number + 1}\n" for number in range(60)]
    assert set(seen["codes"]) == {0}
    assert seen["pages"] == [200] * 20


def test_node_is_told_that_a_protocol_is_not_served(server: Server) -> None:
    assert node(server, "unknown")["status"] == 501


def test_node_cancels(server: Server) -> None:
    assert node(server, "cancelled")["text"] == "42\n"
    server.wait_for(r"h2c > addone on /addone ended by (client|network)")


def test_h2_and_wsproto_speak_websocket_on_a_stream(server: Server) -> None:
    seen = Client(sys.executable, SCRIPTS / "connect_h2.py", server.host, str(server.port)).seen()
    assert seen["headers"][":status"] == "200"
    assert "sec-websocket-accept" not in seen["headers"]
    assert seen["heard"] == ["hello", 1_000_000]
    assert (seen["close"], seen["reset"]) == ([1000, "bye"], None)
    server.wait_for(r"switched to h2c > websocket on /echo")


def test_our_own_client_does_so_where_http_2_is_negotiated(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    config = (CONFIG % "lean").replace('"tcp:0:interface=127.0.0.1"\n', f'"tcp:0:interface=127.0.0.1"\n{TLS}')
    (tmp_path / "switchd.toml").write_text(config)
    switchd = Path(sys.executable).with_name("switchd")
    with twistd(tmp_path, "--config", "switchd.toml") as server:
        url = f"https://localhost:{server.port}/addone"
        command = (switchd, "connect", url, "--protocol", "addone", "--cacert", tmp_path / "cert.pem")
        assert run(*command, stdin="41\n1\n") == "42\n2\n"
        server.wait_for("switched to h2 > addone on /addone")
        assert run(*command, "--http1.1", "--wait", "0.5", stdin="41\n") == "42\n"
        server.wait_for("switched to addone on /addone")


def test_a_browser_opens_a_websocket_on_the_connection_that_it_has(tmp_path: Path) -> None:
    """It does so once a connection to the origin has said that it understands it: the page's own has."""
    write_certificate(tmp_path)
    config = (CONFIG % "lean").replace('"tcp:0:interface=127.0.0.1"\n', f'"tcp:0:interface=127.0.0.1"\n{TLS}')
    (tmp_path / "switchd.toml").write_text(config)
    with twistd(tmp_path, "--config", "switchd.toml") as server:
        with chromium(need("chromium"), tmp_path / "chromium", "--ignore-certificate-errors") as browser:
            browser.open(f"https://{server.host}:{server.port}/")
            browser.wait_until(f"{STATE} === 'open'")
            browser.evaluate("document.getElementById('message').focus()")
            browser.type("hello")
            browser.wait_until("document.querySelectorAll('#log li').length >= 2")
            assert browser.evaluate(LOG) == [["sent", "hello"], ["received", "hello"]]
        switched = server.wait_for(r"(\S+) \S+ switched to h2 > websocket on /echo")
        server.wait_for(rf"{switched[1]} \S+ h2 > websocket on /echo ended")
