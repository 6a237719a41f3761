"""Which path serves which resource, and accepts which switch.

A configured path is a prefix that ends where a segment ends: "/a" matches "/a" and "/a/b", not "/ab". Segments are
compared after percent-decoding, each by itself, so that an encoded slash does not make two of one. But what is required
of a path holds for all that may come to it, for an application that decodes first and resolves dots, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.static import File
from twisted.web.wsgi import WSGIResource

from switchd import config
from switchd.changes import NOTHING, Made
from switchd.errors import Mistake
from switchd.negotiation import Entry
from switchd.schema import in_words

Segments = tuple[bytes, ...]


def segments(path: bytes) -> Segments:
    """The segments of a raw path, decoded; none for "/" and for "*"."""
    if path in (b"/", b"*"):
        return ()
    found = path.split(b"/")[1:]
    return tuple(map(unquote_to_bytes, found) if b"%" in path else found)


def configured(path: str) -> Segments:
    """The segments of a path in the configuration: text, not percent-encoded; a last slash is no segment."""
    return tuple(path.encode().strip(b"/").split(b"/")) if path.strip("/") else ()


def resolved(asked: Segments) -> Segments:
    """Where somebody comes to who takes encoded slashes for slashes, and dot segments out (RFC 3986 section 5.2.4)."""
    found: list[bytes] = []
    for segment in b"/".join(asked).split(b"/"):
        if segment == b"..":
            del found[-1:]
        elif segment not in (b"", b"."):
            found.append(segment)
    return tuple(found)


class Routes:
    """All routes of a server.

    Args:
        entries: The switches, in the order of the file.
        resources: The resources, each with its path.

    Attributes:
        entries: As given.
        resources: As given.
    """

    def __init__(self, entries: Iterable[Entry], resources: Iterable[tuple[str, IResource]]) -> None:
        self.entries = tuple(entries)
        self.resources = tuple(resources)
        by_length = sorted(self.entries, key=lambda entry: len(configured(entry.path)), reverse=True)
        self._entries = [(configured(entry.path), entry) for entry in by_length]
        self._resources = {configured(path): resource for path, resource in self.resources}

    def switches(self, path: bytes) -> tuple[Entry, ...]:
        """The entries that match a raw path: the longest first, then in the order of the file."""
        asked = segments(path)
        plain = resolved(asked)
        return tuple(
            entry
            for prefix, entry in self._entries
            if asked[: len(prefix)] == prefix or (entry.require and plain[: len(prefix)] == prefix)
        )

    def resource(self, asked: Segments) -> tuple[int, IResource] | None:
        """The resource with the longest path that matches, and how many segments that is; None if there is none."""
        for length in range(len(asked), -1, -1):
            resource = self._resources.get(asked[:length])
            if resource is not None:
                return length, resource
        return None


class Root(Resource):
    """The resource tree's root: sends a request to the resource whose path matches best."""

    def __init__(self, routes: Routes) -> None:
        super().__init__()
        self._routes = routes

    def getChildWithDefault(self, path: bytes, request: Any) -> IResource:
        """See `IResource`: moves to `prepath` what belongs to the mounted resource's path, and nothing more."""
        asked = (*request.prepath, *request.postpath)
        found = self._routes.resource(asked)
        if found is None:
            missing: IResource = super().getChildWithDefault(path, request)
            return missing
        length, resource = found
        request.prepath, request.postpath = list(asked[:length]), list(asked[length:])
        mounted: IResource = getChildForRequest(resource, request)
        return mounted


def _is_name(segment: bytes) -> bool:
    try:
        return "\0" not in segment.decode("utf-8")
    except UnicodeDecodeError:
        return False


class StaticFiles(File):
    """A folder's files; unlike `twisted.web.static.File` it does not list what is in it, and each has one path only."""

    def getChild(self, path: bytes, request: Any) -> Any:
        """Twisted's resolves dots, and slashes that were encoded: a way around what holds for a path. It
        fails, or tells the log of a failure, where a path is no name of a file."""
        if path in (b".", b"..") or b"/" in path or not _is_name(path):
            return self.childNotFound
        return super().getChild(path, request)

    def makeProducer(self, request: Any, fileForReading: Any) -> Any:
        """Without a range that is no text: Twisted's cannot even say that it is wrong."""
        if not (request.getHeader(b"range") or b"").isascii():
            request.requestHeaders.removeHeader(b"range")
        return super().makeProducer(request, fileForReading)

    def directoryListing(self) -> Any:
        """A folder without an index is not found."""
        return self.childNotFound


def resources(
    http: Iterable[config.Http], folder: Path, reactor: Any, before: Made[config.Http, IResource] = NOTHING
) -> tuple[tuple[tuple[str, IResource], ...], tuple[Mistake, ...]]:
    """Make the resources of the `[[http]]` tables.

    Args:
        http: The tables.
        folder: Where relative names start.
        reactor: Runs WSGI applications in its thread pool.
        before: Resources that are in use, and go on if their table says the same.

    Returns:
        The resources with their paths, and the mistakes that are found in doing so.
    """
    made: list[tuple[str, IResource]] = []
    mistakes: list[Mistake] = []
    for table in http:
        try:
            made.append((table.path, before.take(table) or _resource(table, folder, reactor)))
        except _Unusable as unusable:
            mistakes.append(Mistake(f"{table.key}.{unusable.key}", str(unusable)))
    return tuple(made), tuple(mistakes)


class _Unusable(Exception):
    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


def _resource(table: config.Http, folder: Path, reactor: Any) -> IResource:
    if table.static is not None:
        return _static(folder / table.static)
    if table.wsgi is not None:
        application = _named("wsgi", table.wsgi)
        if not callable(application):
            raise _Unusable("wsgi", f"{table.wsgi} is no WSGI application: it cannot be called")
        return WSGIResource(reactor, reactor.getThreadPool(), application)
    assert table.resource is not None  # config sees to it that there is exactly one
    found = _named("resource", table.resource)
    return _as_resource(found, table.resource)


def _static(path: Path) -> IResource:
    if not path.exists():
        raise _Unusable("static", f"there is no {path}")
    return StaticFiles(str(path))


def _as_resource(found: Any, name: str) -> IResource:
    if not IResource.providedBy(found) and callable(found):
        try:
            found = found()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: what others have in their files must not end us
            raise _Unusable("resource", f"{name}() raised {in_words(error)}") from error
    if not IResource.providedBy(found):
        raise _Unusable("resource", f"{name} is no IResource, and no callable that returns one")
    return IResource(found)


def _named(key: str, name: str) -> Any:
    """What "package.module:name" names."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise _Unusable(key, f'expected "package.module:name", got "{name}"')
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as above
        raise _Unusable(key, f"{name} cannot be imported: {in_words(error)}") from error
    return found
