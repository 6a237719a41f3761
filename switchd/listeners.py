"""What the `[[listen]]` tables, and `[admin]`, name: endpoints, with their certificates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from switchd import config, haproxy
from switchd.certificates import Certificates
from switchd.changes import NOTHING, Made
from switchd.errors import Mistake, UnusableOptions
from switchd.inherited import Inherited
from switchd.schema import in_words, join, shown

MOST_SOCKET_BYTES = 103
"""The longest name of a UNIX socket that every system takes: 107 in Linux, 103 in BSD (`sun_path`)."""

has_own_tls = re.compile(r"(haproxy:)*ssl:").match
"""Whether a Twisted endpoint sees to TLS by itself. It reads its files when it is made, and never again."""

is_inherited = re.compile(r"(haproxy:)*systemd:").match
"""Whether it is a socket that systemd has passed to this process."""


@frozen
class Prepared:
    """A listener that can be opened.

    Attributes:
        table: What the configuration says of it.
        endpoint: Where to listen.
        certificates: For TLS. None: what comes is in clear, unless the endpoint sees to that.
    """

    table: config.Listen
    endpoint: IStreamServerEndpoint
    certificates: Certificates | None = None

    @property
    def name(self) -> str:
        """What it is called: the endpoint's text."""
        return self.table.endpoint


def prepare(
    listen: Iterable[config.Listen],
    folder: Path,
    reactor: Any,
    before: Made[config.Listen, Prepared] = NOTHING,
) -> tuple[tuple[Prepared, ...], tuple[Mistake, ...]]:
    """Make the endpoints of the `[[listen]]` tables.

    Args:
        listen: The tables.
        folder: Where relative names of certificates start.
        reactor: Where to listen.
        before: Listeners that are in use: the certificates of one go on if neither its table nor its files have
            changed.

    Returns:
        A listener for each table without a mistake, in the same order; and the mistakes.
    """
    made: list[Prepared] = []
    mistakes: list[Mistake] = []
    for table in listen:
        endpoint, wrong = _endpoint(table.endpoint, table.key, reactor)
        certificates, unusable = _certificates(table, folder, reactor)
        mistakes += [*wrong, *unusable]
        if endpoint is not None:
            made.append(Prepared(table, endpoint, _unless_changed(before.take(table), certificates)))
    return tuple(made), tuple(mistakes)


def _unless_changed(before: Prepared | None, certificates: Certificates | None) -> Certificates | None:
    """Those that were read first, of two of the same table: sessions that they have begun can be resumed."""
    used = None if before is None else before.certificates
    same = used is not None and certificates is not None and used.are_those_of(certificates)
    return used if same else certificates


def private(admin: config.Admin, folder: Path, reactor: Any) -> tuple[Prepared | None, tuple[Mistake, ...]]:
    """Make the endpoint of `[admin]`: None if there is to be none, or with a mistake."""
    endpoint, wrong = _endpoint(admin.endpoint, "admin", reactor)
    mistakes = (*wrong, *(_control_mistakes(folder / admin.control) if admin.control else ()))
    return None if endpoint is None else Prepared(config.Listen(admin.endpoint, "admin"), endpoint), mistakes


def _control_mistakes(file: Path) -> Iterator[Mistake]:
    if len(os.fsencode(file)) > MOST_SOCKET_BYTES:
        problem = f"expected a name of at most {MOST_SOCKET_BYTES} bytes with its folders, got {shown(file)}"
        yield Mistake("admin.control", problem)


def made(text: str, reactor: Any) -> IStreamServerEndpoint:
    """The endpoint that a text describes. Raises whatever its kind raises for a text that is wrong."""
    if text.startswith(haproxy.PREFIX):
        return haproxy.Proxied(made(text.removeprefix(haproxy.PREFIX), reactor))
    endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        return Inherited(reactor, endpoint.fileno, endpoint.addressFamily)
    return endpoint


def _endpoint(text: str, key: str, reactor: Any) -> tuple[IStreamServerEndpoint | None, tuple[Mistake, ...]]:
    if not text:
        return None, ()  # a stand-in for one that could not be read; that has been reported
    try:
        return made(text, reactor), ()
    except Exception as error:  # each kind of endpoint has its own: no such plugin, bad port, missing certificate
        if isinstance(error, LookupError) and is_inherited(text):
            return _NotPassed(), ()
        problem = f'"{text}" is no endpoint: {in_words(error)}'
        return None, (Mistake(f"{key}.endpoint", problem),)


def _certificates(table: config.Listen, folder: Path, reactor: Any) -> tuple[Certificates | None, tuple[Mistake, ...]]:
    key = f"{table.key}.tls"
    if table.tls is None:
        return None, ()
    if has_own_tls(table.endpoint):
        return None, (Mistake(key, "an ssl: endpoint speaks TLS already; expected a tcp: endpoint with this table"),)
    try:
        return Certificates(table.tls, folder, reactor, table.tls.alpn), ()
    except UnusableOptions as error:
        return None, tuple(Mistake(join(key, mistake.key), mistake.problem) for mistake in error.mistakes)


@implementer(IStreamServerEndpoint)
class _NotPassed:
    """A `systemd:` endpoint, if systemd has not passed its socket to this process. That is no mistake of the file's: it
    may well be checked elsewhere; but it is a reason not to start."""

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        """See `IStreamServerEndpoint`."""
        return fail(LookupError("systemd has passed no such socket to this process"))
