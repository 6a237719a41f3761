"""The endpoints of the `[[listen]]` tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from zope.interface import implementer

from switchd import config
from switchd.certificates import Certificates, secured
from switchd.errors import Mistake, UnusableOptions
from switchd.schema import in_words, join, shown

MOST_SOCKET_BYTES = 103
"""The longest name of a UNIX socket that every system takes: 107 in Linux, 103 in BSD (`sun_path`)."""

_IS_TLS = re.compile(r"(haproxy:)*ssl:").match


def endpoints(
    listen: Iterable[config.Listen], folder: Path, reactor: Any
) -> tuple[tuple[IStreamServerEndpoint, ...], tuple[Mistake, ...]]:
    """Make the endpoints of the `[[listen]]` tables.

    Args:
        listen: The tables.
        folder: Where relative names of certificates start.
        reactor: Where to listen.

    Returns:
        An endpoint for each table without a mistake, in the same order; and the mistakes.
    """
    made: list[IStreamServerEndpoint] = []
    mistakes: list[Mistake] = []
    for table in listen:
        found, wrong = _endpoint(table.endpoint, table.key, reactor)
        certificates, unusable = _certificates(table, folder, reactor)
        mistakes += [*wrong, *unusable]
        if found is not None:
            made.append(found if certificates is None else secured(found, certificates, reactor))
    return tuple(made), tuple(mistakes)


def private(
    admin: config.Admin, folder: Path, reactor: Any
) -> tuple[IStreamServerEndpoint | None, tuple[Mistake, ...]]:
    """Make the endpoint of `[admin]`: None if there is to be none, or with a mistake."""
    endpoint, mistakes = _endpoint(admin.endpoint, "admin", reactor)
    return endpoint, (*mistakes, *_control_mistakes(folder / admin.control if admin.control else None))


def _control_mistakes(file: Path | None) -> Iterator[Mistake]:
    if file is not None and len(os.fsencode(file)) > MOST_SOCKET_BYTES:
        problem = f"expected a name of at most {MOST_SOCKET_BYTES} bytes with its folders, got {shown(file)}"
        yield Mistake("admin.control", problem)


def _endpoint(text: str, key: str, reactor: Any) -> tuple[IStreamServerEndpoint | None, tuple[Mistake, ...]]:
    if not text:
        return None, ()  # a stand-in for one that could not be read; that has been reported
    try:
        return serverFromString(reactor, text), ()
    except Exception as error:  # each kind of endpoint has its own: no such plugin, bad port, missing certificate
        if isinstance(error, LookupError) and "systemd:" in text:
            return _NotPassed(), ()
        problem = f'"{text}" is no endpoint: {in_words(error)}'
        return None, (Mistake(f"{key}.endpoint", problem),)


def _certificates(table: config.Listen, folder: Path, reactor: Any) -> tuple[Certificates | None, tuple[Mistake, ...]]:
    key = f"{table.key}.tls"
    if table.tls is None:
        return None, ()
    if _IS_TLS(table.endpoint):
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
