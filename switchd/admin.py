"""The private listener: metrics, whether the server is alive and ready, and the console, for those who run it.

It is a server like the one that it tells about, with routes of its own. It answers until all of that one's connections
are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve
from twisted.web.resource import Resource

from switchd.config import Server, without_budgets
from switchd.console.console import Console
from switchd.console.keys import Keys
from switchd.factory import Assembly, SwitchFactory
from switchd.metrics import Lag, Metrics
from switchd.overview import Overview
from switchd.routes import Routes

PLAIN = "text/plain; charset=utf-8"


class Admin:
    """What the private listener serves, and what it needs for that.

    Args:
        assembly: The server that it tells about.
        overview: The same.
        keys: What allows closing connections from the console.
        names: The names that the console has now: see `console.page.is_ours`.
        reactor: The reactor.

    Attributes:
        factory: For the private endpoint. What happens to its own connections is told to nobody.
    """

    def __init__(
        self, assembly: Assembly, overview: Overview, keys: Keys, names: Callable[[], Iterable[str]], reactor: Any
    ) -> None:
        metrics = Metrics(overview.factory)
        self._console = console = Console(overview, keys, names, reactor)
        self._lag = Lag(reactor, metrics)
        routes = Routes(
            console.entries,
            (
                ("/", console.resource),
                ("/metrics", _Answers(lambda accept: (200, *metrics.exposition(accept)))),
                ("/health/live", _Answers(lambda accept: (200, PLAIN, b"alive\n"))),
                ("/health/ready", _Answers(lambda accept: _readiness(overview.why_not_ready()))),
            ),
        )
        self._routes = routes
        self.factory = SwitchFactory(self._itself(assembly), reactor, lambda event: None)

    def use(self, assembly: Assembly) -> None:
        """The server has another configuration now."""
        self.factory.use(self._itself(assembly))

    def _itself(self, assembly: Assembly) -> Assembly:
        quiet = Server(header=assembly.config.server.header, access_log="", switch_log=False)
        return Assembly(evolve(without_budgets(assembly.config), server=quiet), self._routes, ())

    def start(self) -> None:
        """It is listened."""
        self._lag.start()
        self._console.start()

    def stop(self) -> None:
        """It is not listened any more."""
        self._lag.stop()
        self._console.stop()


def _readiness(why_not: str) -> tuple[int, str, bytes]:
    return (503, PLAIN, f"{why_not}\n".encode()) if why_not else (200, PLAIN, b"ready\n")


class _Answers(Resource):
    """Answers with what is true now.

    Args:
        answer: Makes status, media type and content, from an `Accept` field.
    """

    def __init__(self, answer: Callable[[str], tuple[int, str, bytes]]) -> None:
        super().__init__()
        self._answer = answer

    def render_GET(self, request: Any) -> bytes:
        """See `Resource`."""
        accept = (request.getHeader(b"accept") or b"").decode("latin-1")
        status, media_type, content = self._answer(accept)
        request.setResponseCode(status)
        request.setHeader("Content-Type", media_type)
        request.setHeader("Content-Length", str(len(content)))
        request.setHeader("Cache-Control", "no-store")
        return b"" if request.method == b"HEAD" else content

    render_HEAD = render_GET
