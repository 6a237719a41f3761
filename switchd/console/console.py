"""The console put together: what the private listener needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from switchd import config, plugins
from switchd.console.feed import Viewers
from switchd.console.history import History
from switchd.console.keys import Keys
from switchd.console.page import Page
from switchd.console.recent import Recent
from switchd.errors import ConfigurationError
from switchd.negotiation import Entry
from switchd.overview import Overview

FEED = "/feed"
"""The path of the WebSocket."""

OPTIONS = {
    "max_connections": 20,  # pages that look at the same time
    "max_message_bytes": 65_536,  # of what a page says: a thousand connections to be closed
    "max_frame_bytes": 65_536,
    "max_buffered_bytes": 2_097_152,  # the longest message (see feed.py), or some dozens of others
    "send_seconds": 20.0,
    "ping_seconds": 10.0,
    "ping_timeout_seconds": 10.0,
    "deflate": False,  # it is not far
}
"""Those of its `[[switch]]`. That a page comes from this server is the default."""


class Console:
    """A page for those who run a server.

    Args:
        overview: What it shows.
        keys: What allows closing connections from it.
        names: Tells the names that it has besides "localhost": see `page.is_ours`.
        reactor: The reactor.

    Attributes:
        entries: The switch of its feed.
        resource: The page.
    """

    def __init__(self, overview: Overview, keys: Keys, names: Callable[[], Iterable[str]], reactor: Any) -> None:
        recent = Recent(reactor.seconds)
        overview.factory.listen(recent.heard)
        self._viewers = Viewers(overview, recent, lambda: self._history.samples, keys, names, reactor)
        self._history = History(overview.factory, reactor, self._viewers.tick)
        self.entries = _entries(self._viewers, reactor)
        self.resource = Page(names)

    def start(self) -> None:
        """It is listened."""
        self._history.start()

    def stop(self) -> None:
        """It is not listened any more."""
        self._history.stop()
        self._viewers.stop()


class _Handlers:
    """Names for handlers, as long as they live: a configuration names what can be imported, and ours are made."""

    def __init__(self) -> None:
        self._live: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def name(self, handler: object) -> str:
        """Under which a configuration finds it."""
        name = f"h{id(handler):x}"
        self._live[name] = handler
        return f"{__name__}:handlers.{name}"

    def __getattr__(self, name: str) -> Any:
        try:
            return self._live[name]
        except KeyError as error:
            raise AttributeError(name) from error


handlers = _Handlers()


def _entries(viewers: Viewers, reactor: Any) -> tuple[Entry, ...]:
    """The feed, by the way on which every `[[switch]]` comes to its plugin."""
    switch = config.Switch(FEED, "websocket", options={"handler": handlers.name(viewers), **OPTIONS}, key="console")
    entries, mistakes = plugins.bind((switch,), plugins.find(), reactor, Path())
    if mistakes:
        raise ConfigurationError("the console", mistakes)
    return entries
