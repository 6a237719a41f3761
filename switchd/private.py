"""What `[admin]` asks for: the private listener and the control socket. What is not asked for is not imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError

from switchd import events
from switchd.draining import drain
from switchd.factory import Assembly
from switchd.listeners import has_own_tls
from switchd.overview import Overview
from switchd.ports import CannotListen, Change, Ports, described

LAST_SECONDS = 1.0
"""How long the last answers may take to be sent, at the end: they are short."""

_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a browser on this machine finds what listens on every address."""


class Private:
    """The private listener and the control socket, which there need not be.

    Args:
        overview: The server that they are about.
        names: The names that the console has now: see `console.page.is_ours`.
        reload: Has the server read its configuration again.
        reactor: The reactor.

    Attributes:
        ports: Where it listens.
    """

    def __init__(
        self,
        overview: Overview,
        names: Callable[[], Iterable[str]],
        reload: Callable[[], Deferred[Any]],
        reactor: Any,
    ) -> None:
        self._overview = overview
        self._names = names
        self._reload = reload
        self._reactor = reactor
        self._made_keys: Any = None
        self.ports = Ports(reactor)
        self._admin: Any = None
        self._control: Any = None

    async def change(self, assembly: Assembly) -> Change:
        """See `Ports.change`."""
        if assembly.admin is None:
            return await self.ports.change((), lambda prepared: None)
        if self._admin is None:
            from switchd.admin import Admin  # with prometheus_client, which nobody else needs

            self._admin = Admin(assembly, self._overview, self._keys(), self._names, self._reactor)
        return await self.ports.change((assembly.admin,), lambda prepared: self._admin.factory)

    def use(self, change: Change) -> list[Deferred[Any]]:
        """See `Ports.use`."""
        closing = self.ports.use(change)
        for port in change.opened:
            events.log(events.AdminListening(described(port)))
        if self._admin is not None:
            self._admin.start() if self.ports.open else self._admin.stop()
        return closing

    def open_control(self, assembly: Assembly) -> None:
        """Open the control socket, if there is to be one.

        Raises:
            CannotListen: It cannot be opened.
        """
        if not assembly.config.admin.control:
            return
        from switchd.control import Control

        control = Control(assembly, self._overview, self._keys(), self._console, self._reload, self._reactor)
        try:
            control.listen()
        except (CannotListenError, OSError) as error:
            raise CannotListen(str(control.file), error) from error
        self._control = control
        events.log(events.ControlListening(str(control.file)))

    def stop(self) -> Deferred[None]:
        """Close them, and their connections."""
        stopped: list[Deferred[Any]] = []
        if self._admin is not None:
            self._admin.stop()
            stopped += *self.ports.close(), drain(self._admin.factory, LAST_SECONDS, self._reactor)
        if self._control is not None:
            stopped.append(self._control.stop(LAST_SECONDS))
        return DeferredList(stopped, consumeErrors=True).addCallback(lambda results: None)

    def _keys(self) -> Any:
        """The keys that the control socket gives and the console takes."""
        if self._made_keys is None:
            from switchd.console.keys import Keys

            self._made_keys = Keys(self._reactor)
        return self._made_keys

    def _console(self) -> Any:
        """Where it is, for a browser on this machine."""
        from switchd.control import Console

        for one in self.ports.open:
            match one.port.getHost():
                case IPv4Address() | IPv6Address() as at:
                    host = _HERE.get(at.host, at.host)
                    scheme = "https" if has_own_tls(one.name) else "http"
                    return Console(address=f"{scheme}://{f'[{host}]' if ':' in host else host}:{at.port}/")
                case UNIXAddress() as at:
                    return Console(socket=os.path.abspath(os.fsdecode(at.name or b"")))
        return Console()
