"""The control socket: what `switchd ctl` talks to, in HTTP and JSON, on a UNIX socket that only its owner can open.

    POST /status        how the server is
    POST /connections   those that a `Query` wants
    POST /close         closes what an `Order` names
    POST /keys          gives a key, and the address of the console that takes it
    POST /reload        reads the configuration again

What is sent is a JSON object, read as strictly as a configuration. A mistake in it is 400, with `{"why": "..."}`.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, evolve, frozen
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from switchd import events, schema
from switchd.config import Limits, Server, without_budgets
from switchd.console.keys import KEY_SECONDS, Keys
from switchd.draining import drain
from switchd.errors import SwitchdError
from switchd.factory import Assembly, SwitchFactory
from switchd.handover import handover
from switchd.overview import Order, Overview, Query, Values
from switchd.routes import Routes

MODE = 0o600
"""Of the socket: its owner's, and nobody else's."""

LIMITS = Limits(body_bytes=65_536)
"""What those take who control: `Order` has room in it for a thousand connections."""

T = TypeVar("T")

_CREDENTIALS = struct.Struct("=iII")  # struct ucred of linux/socket.h: process, user, group

_log = Logger()


@frozen
class Console:
    """Where the console is; nowhere, if neither is told.

    Attributes:
        address: For a browser on this machine.
        socket: The file of the UNIX socket, which no browser opens; it can be forwarded.
    """

    address: str = ""
    socket: str = ""


class Control:
    """Listens on the control socket.

    Args:
        assembly: The server that it controls.
        overview: The same.
        keys: It gives them.
        console: Tells where the console is.
        reload: Reads the configuration again, and gives the event that says what came of that.
        reactor: The reactor.

    Attributes:
        file: The socket.
        factory: What it serves. What happens to its own connections is told to nobody.
    """

    def __init__(
        self,
        assembly: Assembly,
        overview: Overview,
        keys: Keys,
        console: Callable[[], Console],
        reload: Callable[[], Deferred[Any]],
        reactor: Any,
    ) -> None:
        settings = assembly.config
        self.file = settings.folder / settings.admin.control
        self._reactor = reactor
        self._port: IListeningPort | None = None
        routes = Routes(
            (),
            (
                ("/status", _Does(lambda said: overview.status())),
                ("/connections", _Does(lambda said: overview.look().rows(_read(Query, said)))),
                ("/close", _Does(lambda said: overview.close(_read(Order, said), "control"))),
                ("/keys", _Does(lambda said: _key(keys, console()))),
                ("/reload", _Does(lambda said: reload().addCallback(_outcome))),
            ),
        )
        quiet = Server(header=settings.server.header, access_log="", switch_log=False)
        self.factory = SwitchFactory(
            Assembly(evolve(without_budgets(settings), server=quiet, limits=LIMITS), routes, ()),
            reactor,
            lambda event: None,
        )

    def listen(self) -> None:
        """Open the socket. One that a server left behind that has ended is taken over.

        Raises:
            CannotListenError: It cannot be opened.
            OSError: The same; another server may have it, or it is no socket.
        """
        _make_way(self.file)
        with _mask(0o777 & ~MODE):
            self._port = self._reactor.listenUNIX(str(self.file), _Owners(self.factory), mode=MODE)

    def stop(self, seconds: float) -> Deferred[Any]:
        """Close it, and remove it; what is being answered has so long."""
        port, self._port = self._port, None
        closed = [] if port is None else [maybeDeferred(port.stopListening)]
        return DeferredList([*closed, drain(self.factory, seconds, self._reactor)], consumeErrors=True)


def _make_way(file: Path) -> None:
    """Remove a socket on which nobody listens: what has made it is gone.

    A number of a process would say less: after a restart, in a container above all, it is somebody else's, or ours.

    Raises:
        OSError: It is not to be removed.
    """
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        file.parent.stat()  # there has to be a folder
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "there is a file of that name, which is no socket")
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.setblocking(False)
        try:
            knocking.connect(str(file))
        except ConnectionRefusedError:
            file.unlink()
            return
        except BlockingIOError:
            pass  # somebody listens, and many wait
    raise OSError(errno.EADDRINUSE, "another server has it")


@contextmanager
def _mask(mask: int) -> Iterator[None]:
    """What is made meanwhile is nobody else's from its first moment."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _key(keys: Keys, console: Console) -> Values:
    """A key, and where it is good; none if it would be good nowhere."""
    if console == Console():
        raise _Mistaken("there is no console: set endpoint in [admin]")
    return {"key": keys.new(), "seconds": KEY_SECONDS, **asdict(console)}


def _outcome(event: events.Reloaded | events.NotReloaded) -> Values:
    return {"reloaded": isinstance(event, events.Reloaded), "outcome": event.text.format(event=event)}


class _Owners(Factory):
    """Lets in whom the system knows for the owner of this process, or for root. The socket's mode says the same; this
    holds also where somebody has changed that."""

    noisy = False

    def __init__(self, factory: SwitchFactory) -> None:
        self._factory = factory

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()

    def buildProtocol(self, addr: IAddress | None) -> _Door:
        return _Door(lambda: self._factory.buildProtocol(addr))


class _Door(Protocol):
    transport: Any

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def connectionMade(self) -> None:
        if may_control(self.transport.getHandle()):
            handover(self.transport, self._build())
        else:
            _log.warn("somebody else has tried to open the control socket")
            self.transport.abortConnection()


def may_control(handle: Any) -> bool:
    """Whether the peer of a UNIX socket is who we are, or root, as far as the system tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user = _CREDENTIALS.unpack(credentials)[1]
    return user in (0, os.geteuid())


class _Mistaken(SwitchdError):
    """What was sent is not what was expected; a sentence."""


def _read(cls: type[T], table: object) -> T:
    value, mistakes = schema.options(cls, table, "")
    if value is None:
        raise _Mistaken("; ".join(f"{mistake.key}: {mistake.problem}" for mistake in mistakes))
    return value


class _Does(Resource):
    """Answers POST.

    Args:
        do: Does it, and makes the answer, at once or later, out of a JSON object.
    """

    def __init__(self, do: Callable[[object], Any]) -> None:
        super().__init__()
        self._do = do

    def render_POST(self, request: Any) -> Any:
        """See `Resource`."""
        content = request.content.read()
        gone = request.notifyFinish()
        gone.addErrback(lambda failure: None)  # whoever has asked waits no more: what is done goes on

        def say(status: int, values: Values) -> None:
            if not gone.called:
                _say(request, status, values)

        done = maybeDeferred(lambda: self._do(_parsed(content)))
        done.addCallbacks(lambda values: (200, values), _excuse).addCallback(lambda said: say(*said))
        return NOT_DONE_YET


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content or b"{}")
    except (ValueError, RecursionError) as error:
        raise _Mistaken(f"JSON is expected: {error}") from error


def _say(request: Any, status: int, values: Values) -> None:
    content = json.dumps(values).encode("ascii")
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Content-Length", str(len(content)))
    request.setHeader("Cache-Control", "no-store")
    request.write(content)
    request.finish()


def _excuse(failure: Failure) -> tuple[int, Values]:
    if failure.check(SwitchdError):
        return 400, {"why": failure.getErrorMessage()}
    _log.failure("The control socket cannot answer", failure)
    return 500, {"why": "the server failed; its log has more"}
