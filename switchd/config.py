"""TOML in, frozen values out, and every mistake at once, each with its key.

    config, mistakes = load("switchd.toml")

Nothing here raises for what an operator wrote. A mistake is reported, and something harmless takes the place of what is
wrong, so that those who use the values next (plugins, routes) can find their mistakes too: start-up then ends with one
list. With any mistake at all the values are good for nothing but that.

First the values, which say what each key means; then the sections of a file. How one value is read, and how a mistake
is put in words, is in `schema`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from attrs import evolve, field, frozen

from switchd.errors import Mistake
from switchd.interfaces import Range
from switchd.schema import NOT_A_KEY, Text, as_far_as_sound, clip, join, keys, read, shown, suggestion

T = TypeVar("T")

FILE_BYTES = 1_048_576
"""The longest file that is read as a configuration, in bytes: hundreds of times what one needs."""

UrlPath = Annotated[
    str,
    Text(r"/[^?#\x00-\x1f\x7f-\x9f]*", 'a path that starts with "/", without "?", "#" and control characters'),
]
Endpoint = Annotated[str, Text(r"\S[^\x00-\x1f\x7f]*", 'a Twisted endpoint, for example "tcp:8080"')]
MaybeEndpoint = Annotated[
    str, Text(r"(\S[^\x00-\x1f\x7f]*)?", 'a Twisted endpoint, for example "tcp:9180:interface=127.0.0.1", or ""')
]
Import = Annotated[str, Text(r"[^\W\d][\w.]*:[^\W\d][\w.]*", 'what to import, as "package.module:name"')]
FileName = Annotated[str, Text(r"[^\x00-\x1f\x7f]+", "the name of a file or folder")]
LogFile = Annotated[str, Text(r"[^\x00-\x1f\x7f]*", 'the name of a file, "-" or ""')]
MaybeFile = Annotated[str, Text(r"[^\x00-\x1f\x7f]*", 'the name of a file, or ""')]
HostName = Annotated[str, Text(r"[A-Za-z0-9._-]{1,253}", 'a name such as "console.example.org", without a port')]
Name = Annotated[str, Text(r"\S[^\x00-\x1f\x7f]*", "the name of a plugin")]
# A field value (RFC 9110 section 5.5), of ASCII: blanks and tabs only inside.
FieldValue = Annotated[str, Text(r"([!-~]([ -~\t]*[!-~])?)?", 'printable ASCII without blanks around it, or ""')]

# What budgets consist of, wherever they are. 0: as many as there are.
Many = Annotated[int, Range(0, 10_000_000, "connections")]
PerSecond = Annotated[float, Range(0, 1_000_000, "handshakes")]
Buffered = Annotated[int, Range(0, 2**40, "bytes")]
Idle = Annotated[float, Range(0, 31_536_000, "seconds")]
Heading = Annotated[float, Range(0.1, 3_600, "seconds")]
Deciding = Annotated[float, Range(0.1, 3_600, "seconds")]
Early = Annotated[int, Range(0, 16_777_216, "bytes")]
Draining = Annotated[float, Range(0, 3_600, "seconds")]


UNIX = "unix"
"""In the place of a proxy's address: whoever connects to a UNIX socket."""


def _are_proxies(server: object, attribute: object, names: tuple[str, ...]) -> None:
    wrong = [name for name in names if name != UNIX and not _is_network(name)]
    if wrong:
        expected = 'addresses, networks such as "10.0.0.0/8", or "unix"'
        raise ValueError(f"expected {expected}, got {', '.join(map(shown, wrong))}")


def _is_network(name: str) -> bool:
    try:
        ip_network(name)
    except ValueError:
        return False
    return "%" not in name  # an interface, of which a proxy's word knows nothing


@frozen
class Server:
    """`[server]`: what holds for every connection.

    Attributes:
        advertise: Whether ordinary HTTP/1.1 responses carry an `Upgrade` field with the protocols of their path.
            Default false.
        prefer: Whose order decides between several offers that could be taken: "client", that of the request, or
            "server", that of the `[[switch]]` tables, the longest path first. Default "client".
        header: The `Server` field of responses. Default "switchd"; "" sends none.
        access_log: Where ordinary requests are logged, in combined format: a file, "-" for twistd's own log, "" for
            nowhere. Default "-".
        switch_log: Whether each switch, and its end, is told: a line of twistd's log. Default true.
        http2_engine: What HTTP/2 is spoken with: "lean", switchd's own, or "h2", the package of that name. They say the
            same; h2 is slower, and older. Default "lean".
        extended_connect: Whether clients are told that they may switch a stream of HTTP/2, by extended CONNECT.
            Browsers that are told so open WebSockets in this way. Default true.
        trusted_proxies: Whose word is taken for who the client is: addresses, networks, and "unix" for whoever connects
            to a UNIX socket. Default none.
        forwarded_header: In which field they say it, "forwarded" (RFC 7239) or "x-forwarded-for"; the other one is not
            believed. Default "forwarded".
    """

    advertise: bool = False
    prefer: Literal["client", "server"] = "client"
    header: FieldValue = "switchd"
    access_log: LogFile = "-"
    switch_log: bool = True
    http2_engine: Literal["lean", "h2"] = "lean"
    extended_connect: bool = True
    trusted_proxies: tuple[str, ...] = field(default=(), validator=_are_proxies)
    forwarded_header: Literal["forwarded", "x-forwarded-for"] = "forwarded"


@frozen(kw_only=True)
class Tls:
    """Who a server of TLS is, and whom it lets in. Files are PEM; relative names start at the configuration's folder.

    Attributes:
        certificate: The certificate, and behind it those of its chain. Required.
        key: Its private key, without a passphrase. Default "": it is in the same file.
        minimum_version: The oldest TLS that is spoken, "1.2" or "1.3". Default "1.2".
        client_certificates: Whether a client has to show who it is: "none", "optional" (what is shown must be valid) or
            "required". Default "none".
        client_ca: The certificates of the authorities that vouch for clients. Default "": there are none.
    """

    certificate: FileName
    key: MaybeFile = ""
    minimum_version: Literal["1.2", "1.3"] = "1.2"
    client_certificates: Literal["none", "optional", "required"] = "none"
    client_ca: MaybeFile = ""


SPOKEN = ("h2", "http/1.1")
"""The names by which ALPN can have what switchd speaks. HTTP/2 in clear has none: "h2c" may not be one (RFC 7540,
section 3.3)."""


def _are_spoken(tls: object, attribute: object, names: tuple[str, ...]) -> None:
    spoken = " and ".join(map(shown, SPOKEN))
    if not names:
        # A client that offers names wants one of them, and all browsers do.
        raise ValueError(f"expected at least one ALPN name; there are {spoken}")
    for name in names:
        if name not in SPOKEN:
            raise ValueError(f"{shown(name)} is an ALPN name without its protocol; there are {spoken}")


@frozen(kw_only=True)
class HttpTls(Tls):
    """The same with HTTP inside; `[listen.tls]`, which has the listener above it speak TLS.

    Attributes:
        alpn: What a client may have by ALPN, the best first; at least one. A client without ALPN has HTTP/1.1. Default
            both, HTTP/2 first.
    """

    alpn: tuple[str, ...] = field(default=SPOKEN, validator=_are_spoken)


@frozen
class Limits:
    """`[limits]`: what may be taken, by one connection if nothing else is said. Sizes in bytes, times in seconds.

    Attributes:
        head_bytes: The request line and all header fields. Default 16384. Over it: 414 or 431.
        header_count: The header fields of one request. Default 100. Over it: 431.
        body_bytes: The body of a request; 0 allows none. Default 1048576. Over it: 413.
        streams: The requests of one HTTP/2 connection that may be open at once. Default 100. One more is refused.
        early_bytes: What is kept of the bytes behind a request while its switch is being decided; then reading pauses.
            Default 65536.
        head_seconds: From the first byte of a head to its last. Default 20. Later: 408.
        body_seconds: For the body of a request, once its head is there. Default 60. Later: 408.
        switch_seconds: The time that a plugin may take to decide. Default 10. Later: 503.
        keepalive_seconds: How long a connection may be idle between two requests. Default 60. Then it is closed.
        stalled_seconds: How long an HTTP/2 client may take nothing of what waits for it. Default 60. Then it is closed.
        half_closed_seconds: How long a client that has shut down its sending side is still answered. Default 30.
        linger_seconds: After an error answer, how long what the client still sends is read and dropped before the
            connection is closed, lest a reset takes the answer away. Default 5; 0 closes at once.
        shutdown_seconds: How long connections may take to end when the server does. Default 10; 0 ends them at once.
        connections: All at once. Default 0: as many as the system has file descriptors for, of which there are never
            more. One more: 503.
        switched: Those of them that have switched, and streams of HTTP/2 that have. Default 0: any number. Over it:
            503.
        handshakes_per_second: Requests for a switch that plugins are asked about, and as many at once. Default 0: any
            number. Over it: 503.
        buffered_bytes: What may wait to be sent on one connection. Default 268435456; 0: as much as its protocol lets
            wait. Over it, it is aborted if its client does not read.
        idle_seconds: How long nothing may come or go on a connection that has switched. Then it is told goodbye.
            Default 0: for ever.
        memory_bytes: The memory of the whole process. From 80 % on new WebSockets are not compressed; over it,
            newcomers get 503. Default 0: no bound.
    """

    # No more, since what unpacks header fields of HTTP/2 takes a time that grows with their square.
    head_bytes: Annotated[int, Range(64, 65_536, "bytes")] = 16_384
    header_count: Annotated[int, Range(1, 10_000, "header fields")] = 100
    body_bytes: Annotated[int, Range(0, 1_073_741_824, "bytes")] = 1_048_576
    streams: Annotated[int, Range(1, 10_000, "streams")] = 100
    early_bytes: Early = 65_536
    head_seconds: Heading = 20.0
    body_seconds: Annotated[float, Range(0.1, 86_400, "seconds")] = 60.0
    switch_seconds: Deciding = 10.0
    keepalive_seconds: Annotated[float, Range(0.1, 86_400, "seconds")] = 60.0
    stalled_seconds: Annotated[float, Range(0.1, 86_400, "seconds")] = 60.0
    half_closed_seconds: Annotated[float, Range(0.1, 3_600, "seconds")] = 30.0
    linger_seconds: Annotated[float, Range(0, 60, "seconds")] = 5.0
    shutdown_seconds: Draining = 10.0
    connections: Many = 0
    switched: Many = 0
    handshakes_per_second: PerSecond = 0.0
    # Room for some messages of the size that protocols for messages take by default, 16 MiB, or for a few of 64 MiB.
    buffered_bytes: Buffered = 268_435_456
    idle_seconds: Idle = 0.0
    memory_bytes: Annotated[int, Range(0, 2**50, "bytes")] = 0


OF_ALL = ("shutdown_seconds", "memory_bytes")
"""Those of `[limits]` that are of no listener's own."""


@frozen
class Listen:
    """`[[listen]]`: a place where connections are accepted.

    Attributes:
        endpoint: A Twisted endpoint string. Required. "" if it could not be read: a mistake that has been reported.
        key: Where it was said, for messages: "listen[0]" or "--listen". Not a key of the table.
        tls: `[listen.tls]`. None: what comes is in clear, unless the endpoint sees to that itself, as `ssl:` does.
        drain_seconds: As in `[[switch]]`, for the connections of this listener whose `[[switch]]` says nothing.
        limits: `[listen.limits]`: keys of `[limits]` in place of those, for the connections of this listener. What of
            them is a budget (connections, switched, handshakes_per_second) is this listener's own, besides that of all.
            None: there are none.
    """

    endpoint: Endpoint
    key: str = field(default="", metadata=NOT_A_KEY)
    tls: HttpTls | None = None
    drain_seconds: Draining | None = None
    limits: Limits | None = None


@frozen
class Http:
    """`[[http]]`: what ordinary requests get; the longest path that matches wins. Exactly one of `static`, `resource`
    and `wsgi` is given, the others are None.

    Attributes:
        path: A prefix of the request's path that ends where a segment ends. Required; each path once.
        static: A file or a folder whose files are served.
        resource: A `twisted.web` resource, or what makes one when called without arguments, as "package.module:name".
        wsgi: A WSGI application, as "package.module:name".
        key: Where it was said, for messages: "http[0]". Not a key of the table.
    """

    path: UrlPath
    static: FileName | None = None
    resource: Import | None = None
    wsgi: Import | None = None
    key: str = field(default="", metadata=NOT_A_KEY)


@frozen
class Switch:
    """`[[switch]]`: a protocol that connections may change to. Every key that is not named here is an option of the
    plugin, which is found and asked later.

    Attributes:
        path: A prefix of the request's path that ends where a segment ends. Required.
        protocol: A plugin's name. Required. "" if it could not be read: a mistake that has been reported.
        require: Whether a request here that does not switch is answered 426. Default false.
        close: Whether a request here whose offers nobody takes has its connection closed without an answer, as Node's
            `http` does. Default false.
        drain_seconds: How long a connection that has switched here may take to say goodbye when the server stops, and
            to have it sent; then it is aborted. At most `limits.shutdown_seconds`, which is also the default (None).
        connections: How many that have switched here there may be at once, with those about which it is being decided.
            Default 0: any number. Over it: 503.
        handshakes_per_second: Requests that this plugin is asked about, and as many at once. Default 0: any number.
            Over it: 503.
        switch_seconds: In place of `limits.switch_seconds` (None).
        early_bytes: In place of `limits.early_bytes` (None).
        buffered_bytes: In place of `limits.buffered_bytes`, once it has switched here (None).
        idle_seconds: In place of `limits.idle_seconds` (None).
        options: The other keys, as they came from the file, unchecked. Not a key of the table.
        key: Where it was said, for messages: "switch[0]". Not a key of the table.
    """

    path: UrlPath
    protocol: Name
    require: bool = False
    close: bool = False
    drain_seconds: Draining | None = None
    connections: Many = 0
    handshakes_per_second: PerSecond = 0.0
    switch_seconds: Deciding | None = None
    early_bytes: Early | None = None
    buffered_bytes: Buffered | None = None
    idle_seconds: Idle | None = None
    options: Mapping[str, object] = field(factory=dict, metadata=NOT_A_KEY)
    key: str = field(default="", metadata=NOT_A_KEY)


def _are_networks(peers: object, attribute: object, networks: tuple[str, ...]) -> None:
    for network in networks:
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise ValueError(
                f'expected an address or a network such as "192.0.2.1" or "2001:db8::/32", got {shown(network)}'
            ) from None


@frozen
class Peers:
    """`[peers]`: what one client's address may take. Several clients may share one. Over any of it: 429.

    Attributes:
        connections: At once. Default 0: any number.
        switched: Those of them that have switched, and streams of HTTP/2 that have. Default 0: any number.
        handshakes_per_second: Requests for a switch that plugins are asked about, and as many at once. Default 0: any
            number.
        ipv6_prefix: So many bits of an IPv6 address are one client's. Default 64.
        exempt: Addresses and networks that may take what there is. Default none.
        head_seconds: For the connections of everybody who is not exempt, in place of `limits.head_seconds`, or the
            listener's; and so on (None: as there).
        switch_seconds: Likewise.
        idle_seconds: Likewise.
        drain_seconds: In place of the listener's.
        early_bytes: Likewise, of each connection.
        buffered_bytes: Likewise.
    """

    connections: Many = 0
    switched: Many = 0
    handshakes_per_second: PerSecond = 0.0
    ipv6_prefix: Annotated[int, Range(16, 128, "bits")] = 64
    exempt: tuple[str, ...] = field(default=(), validator=_are_networks)
    head_seconds: Heading | None = None
    switch_seconds: Deciding | None = None
    idle_seconds: Idle | None = None
    drain_seconds: Draining | None = None
    early_bytes: Early | None = None
    buffered_bytes: Buffered | None = None

    @property
    def limits(self) -> dict[str, float]:
        """What of `[limits]` it has something else for."""
        names = ("head_seconds", "switch_seconds", "idle_seconds", "early_bytes", "buffered_bytes")
        said = {name: getattr(self, name) for name in names}
        return {name: value for name, value in said.items() if value is not None}


@frozen
class Admin:
    """`[admin]`: what is for those who run the server, on a listener of its own.

    Attributes:
        endpoint: Where metrics, health and the console are told: a Twisted endpoint, which only they should reach.
            Default "tcp:9180:interface=127.0.0.1", of a file that has this table; without it, or with "": nowhere.
        hosts: The names under which a browser may ask for the console, besides addresses and "localhost". Default none.
        control: The file name of the UNIX socket by which `switchd ctl` controls the server, which only its owner may.
            Default "": none.
    """

    endpoint: MaybeEndpoint = "tcp:9180:interface=127.0.0.1"
    hosts: tuple[HostName, ...] = ()
    control: MaybeFile = ""


NO_ADMIN = Admin(endpoint="")
"""What a file without `[admin]` has."""


@frozen(kw_only=True)
class Config:
    """A whole configuration.

    Attributes:
        server: `[server]`.
        listen: Every `[[listen]]`, or what stands in their place.
        http: Every `[[http]]`.
        switch: Every `[[switch]]`, in the order of the file.
        limits: `[limits]`.
        peers: `[peers]`.
        admin: `[admin]`.
        file: The file, as the operator named it.
        folder: Where relative file names in it start.
        left_out: The `[listen.tls]` that do not count, as `--listen` has taken the place of their listeners, by key.
    """

    server: Server = Server()
    listen: tuple[Listen, ...] = ()
    http: tuple[Http, ...] = ()
    switch: tuple[Switch, ...] = ()
    limits: Limits = Limits()
    peers: Peers = Peers()
    admin: Admin = NO_ADMIN
    file: str
    folder: Path
    left_out: tuple[str, ...] = ()

    def limits_of(self, listen: Listen) -> Limits:
        """What the connections of a listener may take."""
        return own_limits(self.limits) if listen.limits is None else listen.limits


def own_limits(limits: Limits) -> Limits:
    """Those of a listener of which nothing is said: those of all, without budgets of its own."""
    return evolve(limits, connections=0, switched=0, handshakes_per_second=0.0)


def without_budgets(config: Config) -> Config:
    """The same where anybody may have what there is."""
    return evolve(config, listen=(), switch=(), limits=evolve(own_limits(config.limits), memory_bytes=0), peers=Peers())


Outcome = tuple[Config, tuple[Mistake, ...]]
"""A configuration and what is wrong with it: with any mistake, good only for finding further ones."""


# A file and its sections


def load(path: str, listen: Sequence[str] = ()) -> Outcome:
    """Read a configuration file.

    Args:
        path: The file. Relative names in it start at its folder.
        listen: Endpoints in place of all `[[listen]]` tables; if empty, those tables count.

    Returns:
        As `parse`. A file that cannot be read is a mistake too.
    """
    folder = Path(path).absolute().parent
    try:
        text = _text(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Config(file=path, folder=folder), (Mistake("", f"cannot be read: {reason}"),)
    return parse(text, path, folder, listen)


def default(listen: Sequence[str] = ()) -> Outcome:
    """The configuration that comes with switchd; arguments and result are those of `load`."""
    name = "default.toml"
    return parse((files("switchd") / name).read_text("utf-8"), name, Path(__file__).absolute().parent, listen)


def parse(text: str, file: str, folder: Path, listen: Sequence[str] = ()) -> Outcome:
    """Read a configuration. Never raises for what is in it.

    Args:
        text: The file's content.
        file: The file, as the operator named it.
        folder: Where relative file names start.
        listen: Endpoints in place of all `[[listen]]` tables; if empty, those tables count.

    Returns:
        The configuration, with stand-ins for what is wrong, and the mistakes, section by section. After a syntax error
        that is the only mistake, and every section is at its default.
    """
    document = _document(text)
    if isinstance(document, Mistake):
        return Config(file=file, folder=folder), (document,)
    reader = _Reader(document)
    config = Config(
        server=reader.section("server", Server()),
        listen=reader.listen(listen),
        http=reader.http(),
        switch=reader.switch(),
        limits=reader.section("limits", Limits()),
        peers=reader.section("peers", Peers()),
        admin=reader.section("admin", Admin()) if "admin" in document else NO_ADMIN,
        file=file,
        folder=folder,
        left_out=reader.left_out,
    )
    return config, (*reader.mistakes, *_long_farewells(config), *_unknown_sections(document))


def _text(path: str) -> str:
    """The file's text.

    Raises:
        OSError: It is missing or must not be read.
        ValueError: It holds no text, or far too much.
    """
    with open(path, "rb") as opened:
        content = opened.read(FILE_BYTES + 1)
    if len(content) > FILE_BYTES:
        raise ValueError(f"it is longer than {FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"it is not UTF-8: line {line} holds the byte {content[error.start]:#04x}") from error


_WHERE = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)", re.DOTALL).fullmatch


def _document(text: str) -> dict[str, Any] | Mistake:
    try:
        return tomllib.loads(text)
    except RecursionError:
        return Mistake("", "the syntax is wrong: tables or lists are nested too deeply")
    except ValueError as error:  # TOMLDecodeError; or a number with more digits than Python takes, which has no place
        where = _WHERE(str(error))
        what = f"at {where[2]}: {where[1]}" if where else str(error)
        return Mistake("", f"the syntax is wrong: {clip(what)}")


def _unknown_sections(document: Mapping[str, object]) -> Iterator[Mistake]:
    sections = ("server", "listen", "http", "switch", "limits", "peers", "admin")
    for name in document:
        if name not in sections:
            yield Mistake(join("", name), f"unknown section; {suggestion(name, sections)}")


def _long_farewells(config: Config) -> Iterator[Mistake]:
    most = config.limits.shutdown_seconds
    tables: tuple[Listen | Switch, ...] = (*config.listen, *config.switch)
    said = [(table.key, table.drain_seconds) for table in tables]
    for key, seconds in (*said, ("peers", config.peers.drain_seconds)):
        if seconds is not None and seconds > most:
            problem = f"expected at most limits.shutdown_seconds, {shown(most)}, got {shown(seconds)}"
            yield Mistake(f"{key}.drain_seconds", problem)


class _Reader:
    """Reads sections of a document, and keeps the mistakes, and what is left out."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document
        self._claimed: dict[str, str] = {}
        self.mistakes: list[Mistake] = []
        self.left_out: tuple[str, ...] = ()

    def section(self, name: str, default: T) -> T:
        """A section that occurs once, if at all."""
        return self._table(default, self._document.get(name, {}), name)

    def listen(self, instead: Sequence[str]) -> tuple[Listen, ...]:
        """The listeners, without those of which nothing is left to be checked. The file's own are checked also where
        they do not count."""
        tables = self._tables("listen")
        ours = [self._with_limits(self._table(Listen("", key), table, key), table) for key, table in tables]
        others = [self._from_command_line(text) for text in instead]
        if not instead and self._document.get("listen", []) == []:
            self._wrong("listen", "missing; expected at least one [[listen]] with an endpoint, or --listen ENDPOINT")
        self.left_out = tuple(f"{listen.key}.tls" for listen in ours if instead and listen.tls)
        return tuple(listen for listen in (others if instead else ours) if listen.endpoint or listen.tls)

    def _with_limits(self, listen: Listen, table: Mapping[str, object]) -> Listen:
        """With the limits that a listener has of its own, upon those of all."""
        key, given = f"{listen.key}.limits", table.get("limits")
        if not isinstance(given, dict):
            return listen  # there are none; or it has been reported
        for name in OF_ALL:
            if name in given:
                self._wrong(f"{key}.{name}", f"holds for the whole server; expected {name} in [limits] only")
        of_all, _ = as_far_as_sound(Limits(), self._document.get("limits", {}), "limits")
        limits, _ = as_far_as_sound(own_limits(of_all), given, key)
        return evolve(listen, limits=limits)

    def _from_command_line(self, text: str) -> Listen:
        key = "--listen"
        try:
            return Listen(read(text, Endpoint), key)
        except ValueError as error:
            self._wrong(key, str(error))
            return Listen("", key)

    def http(self) -> tuple[Http, ...]:
        """What ordinary requests get, without those that are too wrong to serve anything."""
        found: list[Http] = []
        for key, table in self._tables("http"):
            http = self._table(Http("/", key=key), table, key)
            kinds = [kind for kind in ("static", "resource", "wsgi") if kind in table]
            if len(kinds) != 1:
                self._wrong(
                    key, f"expected exactly one of static, resource, wsgi, got {' and '.join(kinds) or 'none of them'}"
                )
            elif getattr(http, kinds[0]) is not None:
                found.append(http)
            if table.get("path") == http.path:  # else it could not be read, and is nobody's duplicate
                self._claim(http)
        return tuple(found)

    def _claim(self, http: Http) -> None:
        first = self._claimed.setdefault(http.path.strip("/"), http.key)  # "/a" and "/a/" are the same prefix
        if first != http.key:
            self._wrong(f"{http.key}.path", f"is the path of {first} too: {shown(http.path)}")

    def switch(self) -> tuple[Switch, ...]:
        """The switches: all of them, as a plugin's options can be checked whatever else is wrong."""
        return tuple(self._switch(key, table) for key, table in self._tables("switch"))

    def _switch(self, key: str, table: Mapping[str, object]) -> Switch:
        own = {name: value for name, value in table.items() if name in RESERVED}
        options = {name: value for name, value in table.items() if name not in RESERVED}
        return self._table(Switch("/", "", options=options, key=key), own, key)

    def _tables(self, name: str) -> Iterator[tuple[str, Mapping[str, object]]]:
        """The tables of a list of tables, each with its key."""
        tables = self._document.get(name, [])
        if not isinstance(tables, list):
            self._wrong(name, f"expected [[{name}]], which may occur several times, got {shown(tables)}")
            return
        for index, table in enumerate(tables):
            key = f"{name}[{index}]"
            if isinstance(table, dict):
                yield key, table
            else:
                self._wrong(key, f"expected a table, got {shown(table)}")

    def _table(self, stand_in: T, table: object, key: str) -> T:
        value, wrong = as_far_as_sound(stand_in, table, key)
        self.mistakes += wrong
        return value

    def _wrong(self, key: str, problem: str) -> None:
        self.mistakes.append(Mistake(key, problem))


RESERVED = keys(Switch)
"""The keys of a `[[switch]]` that are switchd's own: no option of a plugin may be called so."""
