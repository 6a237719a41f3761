"""The console in a browser, and `switchd ctl` beside it."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from attrs import frozen
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.browser import Browser, chromium
from tests.e2e.conftest import SECONDS, Server, left_out, need, run, twistd

pytestmark = pytest.mark.e2e

SWITCHD = Path(sys.executable).with_name("switchd")

MANY = 5_000

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[switch]]
path = "/addone"
protocol = "addone"

[[switch]]
path = "/must"
protocol = "addone"
require = true

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"

[admin]
endpoint = "tcp:{port}:interface=127.0.0.1"
control = "control.sock"

[limits]
shutdown_seconds = 60.0
"""

SWITCH = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n"

STATE = "document.getElementById('state').dataset.state"
SHOWN = "document.getElementById('shown').textContent"
EVENTS = (
    "[...document.querySelectorAll('#log li')].map((line) => [...line.children].slice(1).map((x) => x.textContent))"
)
TOLD = "new Promise((done) => socket.addEventListener('message', () => setTimeout(done), { once: true }))"
CELLS = "[...document.querySelectorAll('#%s tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
MAY = "document.body.hasAttribute('data-may')"
OUTCOME = "document.getElementById('outcome').textContent"
BUTTONS = "[...document.querySelectorAll('td.closing button')].filter((button) => button.offsetParent)"


@frozen
class Watched:
    """A server, and the address of its console."""

    server: Server
    folder: Path
    url: str

    def ctl(self, *words: str) -> str:
        """What `switchd ctl` prints."""
        return run(SWITCHD, "ctl", "--config", self.folder / "switchd.toml", *words)

    def switch(self, path: str = "/addone") -> socket.socket:
        """A connection that asks for ADDONE."""
        connection = socket.create_connection((self.server.host, self.server.port), timeout=SECONDS)
        connection.sendall(SWITCH % path.encode())
        assert connection.recv(1000)
        return connection

    def websocket(self) -> ClientConnection:
        """A WebSocket."""
        url = f"ws://{self.server.host}:{self.server.port}/echo"
        return connect(url, open_timeout=SECONDS, ping_interval=None, compression=None)


@contextmanager
def watched(folder: Path, port: int = 0) -> Iterator[Watched]:
    (folder / "switchd.toml").write_text(CONFIG.format(port=port))
    with twistd(folder, "--config", "switchd.toml") as server:
        server.wait_for("controlled on .*control.sock")
        found = next(line for line in server.log.splitlines() if "are told on tcp" in line).split()[-1]
        yield Watched(server, folder, f"http://{found}/")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(need("chromium"), tmp_path_factory.mktemp("chromium")) as running:
        yield running


def look(browser: Browser, url: str) -> None:
    """Open the console, and wait until it is up to date."""
    browser.open("about:blank")  # another fragment alone would be no other page
    browser.open(url)
    browser.wait_until(f"{STATE} === 'ready'")


def seen(browser: Browser, expression: str, is_it: Callable[[Any], bool]) -> Any:
    """The value of an expression once it is as it should be; it is looked at whenever the page is told something."""
    for _ in range(SECONDS):
        value = browser.evaluate(expression)
        if is_it(value):
            return value
        browser.evaluate(TOLD)
    raise AssertionError(value)


def test_shows_what_there_is_and_what_happens(here: Watched, browser: Browser) -> None:
    with here.switch(), here.websocket(), here.switch("/nowhere/<b>x</b>"), here.switch("/must"):
        look(browser, here.url)
        rows = seen(browser, CELLS % "rows", lambda rows: len(rows) == 4)
        stacks = {(row[1], row[2]) for row in rows}
        assert stacks == {
            ("HTTP/1.1 → addone", "/addone"),
            ("HTTP/1.1 → addone", "/must"),
            ("HTTP/1.1 → WebSocket", "/echo"),
            ("HTTP/1.1", "–"),
        }
        (paths, listeners) = (browser.evaluate(CELLS % name) for name in ("switches", "listeners"))
        assert [row[:4] for row in paths] == [
            ["/addone", "addone", "addone", "ordinary HTTP"],
            ["/must", "addone", "addone", "must switch (426)"],
            ["/echo", "websocket", "websocket", "ordinary HTTP"],
        ]
        assert listeners == [[f"tcp {here.server.host}:{here.server.port}", "tcp:0:interface=127.0.0.1"]]
        told = {event[0]: event[1:] for event in browser.evaluate(EVENTS)}
        assert told["ignored"][1] == "the path has no [[switch]] (RFC 9110 section 7.8)"
        assert "/nowhere/<b>x</b>" in told["ignored"][0]
        assert browser.evaluate("document.querySelector('main b b, #log span b')") is None
        with here.websocket():
            pass
        seen(browser, EVENTS, lambda events: any("/echo ended by " in event[1] for event in events))
    seen(browser, SHOWN, lambda shown: shown == "0 connections")
    assert browser.console() == []
    requested = {urlsplit(event["request"]["url"]) for event in browser.events("Network.requestWillBeSent")}
    assert {each.netloc for each in requested if each.scheme == "http"} == {urlsplit(here.url).netloc}
    (opened,) = (event["url"] for event in browser.events("Network.webSocketCreated"))
    assert opened == here.url.replace("http", "ws") + "feed"


def test_counts_bytes_and_draws_them(here: Watched, browser: Browser) -> None:
    with here.websocket() as client:
        client.send("x" * 5000)
        client.recv(SECONDS)
        look(browser, here.url)
        seen(browser, CELLS % "rows", lambda rows: rows and rows[0][6].endswith("kB") and rows[0][7].endswith("kB"))
        drawn = "[...document.querySelectorAll('#graphs svg')].map((graph) => graph.getAttribute('aria-label'))"
        labels = seen(browser, drawn, lambda labels: all("nothing yet" not in label for label in labels))
        assert [label.partition(":")[0] for label in labels] == [
            "Connections",
            "Switches a second",
            "Refusals a second",
            "Traffic",
            "Reactor late by",
            "Memory",
        ]


def test_lets_nobody_close_anything_without_a_key(here: Watched, browser: Browser) -> None:
    with here.switch():
        look(browser, f"{here.url}#key=made-up")
        browser.wait_until("document.getElementById('outcome').textContent.includes('not good')")
        assert browser.evaluate(f"{BUTTONS}.length") == 0
        browser.evaluate("decide.call(null, (order = { ids: ['1'] }, true))")
        browser.wait_until("document.getElementById('outcome').textContent.includes('Not closed')")
        assert len(json.loads(here.ctl("--json", "connections"))) == 1


def test_closes_a_connection_and_a_path_with_a_key(here: Watched, browser: Browser) -> None:
    with here.websocket() as first, here.websocket() as second, here.switch() as third:
        address = here.ctl("console").strip()
        look(browser, address)
        assert browser.evaluate("location.href") == here.url
        browser.wait_until(f"{BUTTONS}.length === 3 + 3")
        browser.evaluate(f"{BUTTONS}.find((button) => button.closest('tr').cells[2].textContent === '/addone').click()")
        assert "HTTP/1.1 → addone on /addone?" in browser.evaluate("document.getElementById('question').textContent")
        browser.evaluate("document.getElementById('abort').click()")
        with pytest.raises(ConnectionError):
            assert third.recv(1) != b""
        browser.evaluate("document.querySelector('[aria-label=\"Close all on /echo\"]').click()")
        browser.evaluate("document.getElementById('goodbye').click()")
        for client in (first, second):
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(SECONDS)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
    here.server.wait_for(r"console closes all on /echo; connections: 2")
    assert address.partition("#key=")[2] not in here.server.log
    assert browser.console() == []


def test_ctl_closes_in_the_protocols_own_language(here: Watched) -> None:
    with here.websocket() as client, here.switch():
        (number,) = (row["id"] for row in json.loads(here.ctl("--json", "connections", "--token", "websocket")))
        assert here.ctl("close", number) == "connections told goodbye, with 10 s to end: 1\n"
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert [row["path"] for row in json.loads(here.ctl("--json", "connections"))] == ["/addone"]
    assert (here.folder / "control.sock").stat().st_mode & 0o777 == 0o600


def test_is_used_with_the_keyboard_and_keeps_the_focus(here: Watched, browser: Browser) -> None:
    with here.switch(), here.switch():
        look(browser, here.ctl("console").strip())
        browser.wait_until(f"{BUTTONS}.length === 2 + 3")
        sort = "document.querySelector('[data-sort=path]')"
        browser.evaluate(f"{sort}.focus()")
        browser.type("")  # Enter
        browser.wait_until(f"{sort}.parentElement.getAttribute('aria-sort') === 'ascending'")
        browser.evaluate(f"{BUTTONS}[1].focus()")
        focused = browser.evaluate("document.activeElement.getAttribute('aria-label')")
        with here.switch():
            seen(browser, CELLS % "rows", lambda rows: len(rows) == 3)
        assert browser.evaluate("document.activeElement.getAttribute('aria-label')") == focused
        browser.type("")
        assert browser.evaluate("document.getElementById('closing').open")
        browser.evaluate("document.getElementById('cancel').click()")
        assert browser.evaluate("document.activeElement.getAttribute('aria-label')") == focused


def test_can_be_held_still(here: Watched, browser: Browser) -> None:
    look(browser, here.url)
    samples = browser.evaluate("samples.length")
    browser.evaluate("document.getElementById('hold').click()")
    with here.switch():
        seen(browser, "samples.length", lambda number: number > samples + 1)
        assert browser.evaluate(CELLS % "rows") == []
        browser.evaluate("document.querySelector('[data-sort=path]').click()")  # what is asked for is shown
        browser.wait_until("document.querySelectorAll('#rows tr').length === 1")
        browser.evaluate("socket.close()")
        browser.wait_until(f"{STATE} === 'gone'")
        browser.wait_until(f"{STATE} === 'ready'")
        assert browser.evaluate("held")
        browser.evaluate("document.getElementById('hold').click()")
        assert len(browser.evaluate(CELLS % "rows")) == 1


def test_takes_a_key_in_a_tab_that_is_open(here: Watched, browser: Browser) -> None:
    look(browser, here.url)
    for _ in range(2):
        browser.evaluate(f"location.href = {json.dumps(here.ctl('console').strip())}")
        browser.wait_until(f"{MAY} && !location.hash")
        assert browser.evaluate("location.href") == here.url
    browser.evaluate("mayUntil = Date.now() + 1")
    browser.wait_until(f"!{MAY} && document.getElementById('may').hidden")


def test_says_what_came_of_a_closing_until_there_is_something_else(here: Watched, browser: Browser) -> None:
    with here.switch():
        look(browser, here.ctl("console").strip())
        browser.wait_until(MAY)
        browser.evaluate("document.querySelector('[aria-label=\"Close all on /addone\"]').click()")
        browser.evaluate("document.getElementById('goodbye').click()")
        browser.wait_until(f"{OUTCOME} === '1 connection being closed.'")
        browser.evaluate(TOLD)
        browser.evaluate(TOLD)
        assert browser.evaluate(OUTCOME) == "1 connection being closed."
        assert browser.evaluate("document.getElementById('may').textContent") == (
            "You may close connections for 15 minutes more."
        )


def test_keeps_refusals_and_says_how_much_is_not_shown(here: Watched, browser: Browser) -> None:
    look(browser, here.url)
    with here.switch("/nowhere"):
        for _ in range(150):
            with here.switch():
                pass
        browser.wait_until("!document.getElementById('missed').hidden")
        assert browser.evaluate("events.filter((event) => event.kind === 'ignored').length") == 1
        more = "document.getElementById('missed').textContent === `${happened - 201} more not shown`"
        browser.wait_until(f"{more} && document.querySelectorAll('#log li').length === 201")
        look(browser, here.url)
        assert browser.evaluate("events.filter((event) => event.kind === 'ignored').length") == 1
        assert browser.evaluate("unspoken") == {}  # what was before is no news


def test_keeps_the_focus_when_the_server_goes_and_says_what_it_could_not_send(tmp_path: Path, browser: Browser) -> None:
    again = "document.getElementById('again')"
    with watched(tmp_path) as here:
        look(browser, here.ctl("console").strip())
        browser.wait_until(MAY)
        port = urlsplit(here.url).port
        assert port is not None
        browser.evaluate("document.querySelector('[aria-label=\"Close all on /addone\"]').click()")
    browser.wait_until(f"{STATE} === 'gone' && !{MAY}")
    browser.evaluate("document.getElementById('goodbye').click()")
    assert browser.evaluate(OUTCOME) == "Not closed: the server is not connected."
    browser.evaluate(f"{again}.focus(), {again}.click()")
    assert browser.evaluate(f"document.activeElement === {again} && !{again}.hidden")
    with watched(tmp_path, port):
        browser.wait_until(f"{STATE} === 'ready'")
        assert browser.evaluate(f"document.activeElement === {again} && !{again}.hidden")
        browser.evaluate("document.getElementById('hold').focus()")
        browser.wait_until(f"{again}.hidden")


def test_says_that_the_server_stops_and_finds_the_next_one(tmp_path: Path, browser: Browser) -> None:
    with watched(tmp_path) as here:
        lingering = here.switch()
        client = socket.create_connection((here.server.host, here.server.port), timeout=SECONDS)
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        head = SWITCH.replace(b"addone", b"websocket") % b"/echo"
        client.sendall(head.removesuffix(b"\r\n") + key + b"\r\n")
        assert client.recv(1000)  # from now on it says nothing more, not even goodbye
        look(browser, here.url)
        port = urlsplit(here.url).port
        assert port is not None
        here.server.signal(signal.SIGTERM)
        browser.wait_until(f"{STATE} === 'draining'")
        assert browser.evaluate("document.getElementById('state').textContent") == "Stopping"
        seen(
            browser, "document.getElementById('counts').textContent", lambda words: words == "1 connection, 1 switched"
        )
        client.close()
        lingering.close()
        browser.wait_until(f"{STATE} === 'gone'")
        sentence = browser.evaluate("document.getElementById('state').textContent")
        assert sentence.startswith("The server has stopped, last seen at ")
        here.server.end()
    with watched(tmp_path, port) as here:
        browser.evaluate("document.getElementById('again').click()")
        browser.wait_until(f"{STATE} === 'ready'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_nothing_is_wider_than_the_screen(here: Watched, browser: Browser, width: int, scheme: str) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    with here.switch(), here.websocket(), here.switch("/nowhere/" + "x" * 2000):
        look(browser, here.ctl("console").strip())
        browser.wait_until(f"{BUTTONS}.length === 3 + 3")
        assert browser.evaluate("innerWidth") == width
        assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        background = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]"
        assert (int(browser.evaluate(background)) > 127) == (scheme == "light")
    browser.call("Emulation.clearDeviceMetricsOverride")


def test_shows_five_thousand_connections(tmp_path: Path, browser: Browser) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + 1000:
        left_out(f"This test opens {MANY} connections, and may not have more than {hard} files.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, MANY + 1000)), hard))  # the server's, too
    try:
        with watched(tmp_path) as here, ExitStack() as opened:
            for _ in range(MANY):
                opened.enter_context(here.switch())
            look(browser, here.url)
            seen(browser, SHOWN, lambda shown: shown == "1 to 50 of 5,000 connections")
            browser.evaluate("document.querySelector('[data-sort=received]').click()")
            seen(browser, "query.sort + page.rows.length", lambda sort: sort == "received50")
            browser.evaluate("want({ first: 4950 })")
            seen(browser, SHOWN, lambda shown: shown == "4,951 to 5,000 of 5,000 connections")
            assert browser.evaluate("document.getElementById('after').disabled")
            browser.evaluate("document.getElementById('find').focus()")
            last = browser.evaluate("page.rows.at(-1).peer")
            browser.call("Input.insertText", text=last)
            seen(browser, SHOWN, lambda shown: shown == "1 to 1 of 1 found in 5,000")
            assert len(json.loads(here.ctl("--json", "connections", "--limit", "6000"))) == MANY
            assert here.ctl("close", "--path", "/addone", "--now") == f"connections aborted: {MANY}\n"
            seen(browser, SHOWN, lambda shown: shown.endswith("0 connections"))
            assert browser.console() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
