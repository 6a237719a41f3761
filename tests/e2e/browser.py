"""A headless Chromium, driven over its DevTools protocol.

`--remote-debugging-pipe` makes Chromium read commands from file descriptor 3 and write answers and events to 4: JSON,
each message with a NUL behind it. So there is no port, and nothing to wait for until it listens.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

SECONDS = 60
"""How long anything here may take: there to end a test that hangs, not to measure."""

FLAGS = (
    "--headless",
    "--no-sandbox",  # it does not work for root, as whom tests run in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)

# When the document changes so that an expression becomes true; the promise is the wait.
_BECOMES_TRUE = """new Promise((resolve) => {
    const look = () => (%s) && (observer.disconnect(), resolve(true));
    const observer = new MutationObserver(look);
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    look();
})"""


class Browser:
    """A Chromium with one tab.

    Args:
        program: Its path.
        folder: Where it keeps what it has to.
        flags: More of its flags.

    Attributes:
        told: The events that have been read, each a DevTools message, in order.
    """

    def __init__(self, program: str, folder: Path, *flags: str) -> None:
        self.told: list[dict[str, Any]] = []
        self._ids = count(1)
        self._received = b""
        self._session = ""
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        # subprocess cannot number the descriptors of a child; a shell can.
        shell = ("bash", "-c", 'exec "${@:3}" 3<&"$1" 4>&"$2"', "bash", str(commands), str(answers))
        self._process = subprocess.Popen(
            [*shell, program, *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"],
            env={**os.environ, "HOME": str(folder)},
            pass_fds=(commands, answers),
            start_new_session=True,  # so that its helpers can be ended with it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)

    def attach(self) -> None:
        """Take its tab, and have it tell what happens there."""
        (tab,) = (each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command, and wait for its result."""
        number = next(self._ids)
        session = {"sessionId": self._session} if self._session else {}
        message = {"id": number, "method": method, "params": parameters, **session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = monotonic() + SECONDS
        while True:
            answer = self._message(end)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.told.append(answer)

    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.told.clear()
        opened = self.call("Page.navigate", url=url)
        assert "errorText" not in opened, opened
        end = monotonic() + SECONDS
        loaded = {"name": "load", "loaderId": opened["loaderId"]}  # not a page before this
        while not any(loaded.items() <= event.items() for event in self.events("Page.lifecycleEvent")):
            self.told.append(self._message(end))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; of a promise, what it is resolved to."""
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_until(self, expression: str) -> None:
        """Wait until a change of the document makes a JavaScript expression true."""
        self.evaluate(_BECOMES_TRUE % expression)

    def type(self, text: str) -> None:
        """Type into what has the focus, and press Enter."""
        enter = {"key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
        self.call("Input.insertText", text=text)
        self.call("Input.dispatchKeyEvent", type="keyDown", **enter)
        self.call("Input.dispatchKeyEvent", type="keyUp", **enter)

    def events(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of those events in `told` that are called so."""
        return [event["params"] for event in self.told if event["method"] in methods]

    def console(self) -> list[dict[str, Any]]:
        """Everything that a developer would see in the console, of whatever level."""
        return self.events("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")

    def close(self) -> None:
        """End it."""
        self._session = ""
        self.call("Browser.close")
        self._process.wait(SECONDS)

    def kill(self) -> None:
        """Leave nothing behind, whatever has happened."""
        os.close(self._to)
        os.close(self._from)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _message(self, end: float) -> dict[str, Any]:
        """The next message; it has to be there when `monotonic()` is `end`."""
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - monotonic()))
            assert ready, f"Chromium has said nothing more after {self.told[-10:]}"
            data = os.read(self._from, 1 << 20)
            assert data, "Chromium has ended"
            self._received += data
        message, _, self._received = self._received.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read


@contextmanager
def chromium(program: str, folder: Path, *flags: str) -> Iterator[Browser]:
    """Run a Chromium that keeps what it has to in `folder`, and end it in an orderly way."""
    browser = Browser(program, folder, *flags)
    try:
        browser.attach()
        yield browser
        browser.close()
    finally:
        browser.kill()
