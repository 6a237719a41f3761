"""The first page of the reference configuration, in a browser."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.browser import Browser, chromium
from tests.e2e.conftest import Server, need, run, twistd
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

STATE = "document.getElementById('state').dataset.state"
LOG = "[...document.querySelectorAll('#log li')].map((line) => [line.dataset.kind, line.children[1].textContent])"
TRIP = "document.querySelector('#log li:last-child :last-child').textContent"
OPEN = f"{STATE} === 'open'"
CLOSED = f"{STATE} === 'closed'"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The reference configuration, on a port of its own."""
    folder = tmp_path_factory.mktemp("server")
    reference = str(ROOT / "conf" / "switchd.toml")
    with twistd(folder, "--config", reference, "--listen", "tcp:0:interface=127.0.0.1") as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(need("chromium"), tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def page(server: Server, browser: Browser) -> Browser:
    """The browser with the page open, and its box connected."""
    browser.open(url(server))
    browser.wait_until(OPEN)
    return browser


def url(server: Server) -> str:
    return f"http://{server.host}:{server.port}/"


def say(page: Browser, text: str) -> None:
    """Type it, and wait for what comes back."""
    lines = len(page.evaluate(LOG))
    page.evaluate("document.getElementById('message').focus()")
    page.type(text)
    page.wait_until(f"document.querySelectorAll('#log li').length >= {lines + 2}")


def test_what_is_typed_into_the_box_comes_back(page: Browser) -> None:
    say(page, "hello")
    assert page.evaluate(LOG) == [["sent", "hello"], ["received", "hello"]]
    assert page.evaluate(TRIP).endswith(" ms")
    say(page, "<b>&amp;</b>")
    assert page.evaluate(LOG)[2:] == [["sent", "<b>&amp;</b>"], ["received", "<b>&amp;</b>"]]
    assert page.evaluate("document.querySelector('#log b')") is None
    assert page.console() == []


def test_the_page_loads_nothing_but_itself(page: Browser, server: Server) -> None:
    say(page, "hello")
    requested = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
    assert [each for each in requested if urlsplit(each).scheme != "data"] == [url(server)]
    opened = [event["url"] for event in page.events("Network.webSocketCreated")]
    assert opened == [f"ws://{server.host}:{server.port}/echo"]


def test_the_log_is_bounded(page: Browser) -> None:
    page.evaluate("for (let i = 0; i < 200; i++) note('sent', 'x'.repeat(5000), '')")
    assert {len(text) for _, text in page.evaluate(LOG)} == {2000}
    assert len(page.evaluate(LOG)) == 100


def test_the_box_connects_again_when_it_is_told_to(page: Browser) -> None:
    page.evaluate("socket.close(3000, 'enough')")
    page.wait_until(CLOSED)
    assert page.evaluate("document.getElementById('state').textContent") == "closed with code 3000: enough"
    assert page.evaluate("document.getElementById('send').disabled")
    page.evaluate("document.getElementById('again').focus()")
    page.evaluate("document.getElementById('again').click()")
    page.wait_until(OPEN)
    assert page.evaluate("document.activeElement.id") == "message"
    say(page, "hello")
    assert page.console() == []


def test_the_commands_for_addone_do_what_they_say(page: Browser) -> None:
    need("nc")
    commands = page.evaluate("[...document.querySelectorAll('pre')].map((each) => each.textContent)")
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    printed = [run("bash", "-c", each, environment={"PATH": programs}) for each in commands if "addone" in each]
    assert [each.splitlines()[-1] for each in printed] == ["42", "42"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_nothing_is_wider_than_the_screen(browser: Browser, server: Server, width: int, scheme: str) -> None:
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
    browser.open(url(server))
    browser.wait_until(OPEN)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    background = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]"
    assert (int(browser.evaluate(background)) > 127) == (scheme == "light")
