"""One structured event for each thing that happens to a connection; logs, metrics and pages listen.

An event is a value. `log` is the listener that writes it through `twisted.logger`, with the event's attributes as the
log event's fields, so that an observer sees `log_event["event"]` and a person a line.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.logger import Logger, LogLevel

_log = Logger(namespace="switchd")


@frozen
class BrokenPlugin:
    """A plugin file, of anybody's, cannot be imported; the plugins in it are left out.

    Attributes:
        path: The file.
        error: What happened, in a line.
    """

    path: str
    error: str

    level = LogLevel.warn
    text = "the plugin file {event.path} is broken and left out: {event.error}"


@frozen
class LeftOut:
    """A listener's TLS does not count, since `--listen` has taken the listener's place: easily what nobody meant.

    Attributes:
        key: The table: "listen[0].tls".
    """

    key: str

    level = LogLevel.warn
    text = "{event.key} does not count beside --listen, which serves in clear unless its endpoint is one with TLS"


@frozen
class Listening:
    """A listener is open.

    Attributes:
        address: Where, as in the configuration's endpoints: "tcp 127.0.0.1:8080".
    """

    address: str

    level = LogLevel.info
    text = "listening on {event.address}"


@frozen
class Renewed:
    """The files of a certificate have changed; new connections have what is in them now.

    Attributes:
        file: The certificate's.
    """

    file: str

    level = LogLevel.info
    text = "the certificate in {event.file} is read anew"


@frozen
class NotRenewed:
    """The files of a certificate have changed, and are of no use: the one that was read before stays.

    Attributes:
        file: The certificate's.
        why: What is wrong with them.
    """

    file: str
    why: str

    level = LogLevel.warn
    text = "the certificate in {event.file} has changed and cannot be used, the one before is kept: {event.why}"


@frozen
class ExposedKey:
    """Every user of this machine can read a private key.

    Attributes:
        file: Where it is.
    """

    file: str

    level = LogLevel.warn
    text = "everybody on this machine may read the private key in {event.file}"


@frozen
class NoSession:
    """A client did not come to a TLS session with us.

    Attributes:
        id: The connection.
        peer: The client's address.
        why: What OpenSSL says, or how else its connection has ended.
    """

    id: str
    peer: str
    why: str

    level = LogLevel.info
    text = "{event.id} {event.peer} came to no TLS session: {event.why}"


@frozen
class _OfSwitched:
    """What is said of a switched connection in any case.

    Attributes:
        id: The connection.
        peer: The client's address.
        path: The path that its last switch was asked for on, escaped.
        stack: The tokens that the connection has gone through, the newest last.
    """

    id: str
    peer: str
    path: str
    stack: tuple[str, ...]

    @property
    def protocol(self) -> str:
        """The stack as people write it."""
        return " > ".join(self.stack)


@frozen
class Switched(_OfSwitched):
    """A connection has changed protocol.

    Attributes:
        seconds: From when it came, or switched before, to this switch.
    """

    seconds: float

    level = LogLevel.info
    text = "{event.id} {event.peer} switched to {event.protocol} on {event.path} after {event.seconds:.3f} s"


@frozen
class Ended(_OfSwitched):
    """A switched connection is over.

    Attributes:
        seconds: From the last switch to the end.
        by: Who ended it: "client", "server", or "network" where neither said so.
        why: In a few words.
    """

    seconds: float
    by: str
    why: str

    level = LogLevel.info
    text = (
        "{event.id} {event.peer} {event.protocol} on {event.path} ended by {event.by}"
        " after {event.seconds:.3f} s: {event.why}"
    )


@frozen
class Rejected:
    """A request broke HTTP's rules or a limit.

    Attributes:
        id: The connection.
        peer: The client's address.
        status: What it was answered.
        why: What the client was told.
    """

    id: str
    peer: str
    status: int
    why: str

    level = LogLevel.info
    text = "{event.id} {event.peer} request rejected with {event.status}: {event.why}"


@frozen
class Dropped:
    """A connection is closed without an answer, because nobody took its offer and the path's `[[switch]]` says so.

    Attributes:
        id: The connection.
        peer: The client's address.
        path: The path of the request, escaped.
    """

    id: str
    peer: str
    path: str

    level = LogLevel.info
    text = "{event.id} {event.peer} closed without an answer: nobody took its offer on {event.path}"


Event = (
    BrokenPlugin
    | Dropped
    | Ended
    | ExposedKey
    | LeftOut
    | Listening
    | NoSession
    | NotRenewed
    | Rejected
    | Renewed
    | Switched
)


def log(event: Event) -> None:
    """Write an event to the log. Its sentence is made here: in Twisted's way that takes as long as all the rest."""
    _log.emit(event.level, "{sentence}", sentence=event.text.format(event=event), event=event)


def escaped(data: bytes | str) -> str:
    """What a client sent, fit for one line of a log or page: ASCII, with everything else as in a Python literal."""
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    return ascii(text)[1:-1]


def address(value: Any) -> str:
    """An `IAddress` in a few words: "127.0.0.1:8080", "[::1]:8080", a path, or "unknown"."""
    host = getattr(value, "host", None)
    if host is not None:
        return f"[{host}]:{value.port}" if ":" in host else f"{host}:{value.port}"
    name = getattr(value, "name", None)
    return escaped(name) if name else "unix" if hasattr(value, "name") else "unknown"
