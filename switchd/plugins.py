"""What twisted.plugin found: named, ordered, and configured.

`find` looks into every file in `twisted/plugins/` on the path. A file of somebody else that does not work stops nobody:
it is listed, with the reason. `bind` joins what was found to the `[[switch]]` tables; there, what does not work is a
mistake of the configuration.

`twisted.plugin.getPlugins` is not used, as it logs the traceback of a broken file and does not say which one it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs import frozen
from twisted.python.modules import PythonModule, getModule
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from switchd import config
from switchd.config import in_words, shown
from switchd.errors import Mistake
from switchd.interfaces import Context, ISwitch, ISwitchPlugin
from switchd.negotiation import Entry, offers

T = TypeVar("T")


@frozen
class FoundPlugin:
    """A plugin whose declaration is sound.

    Attributes:
        plugin: The declaration. Its `load` has not been called.
        file: Where it was found.
    """

    plugin: ISwitchPlugin
    file: str


@frozen
class BrokenFile:
    """A file that cannot be imported, or that declares a plugin with something missing.

    Attributes:
        path: The file.
        error: Why, in one line.
    """

    path: str
    error: str


@frozen
class Found:
    """Everything in `twisted/plugins/` that concerns us.

    Attributes:
        plugins: By file, then by name. Two may have the same name: an error only where a configuration uses it.
        broken: By file, those of others too: what is in them cannot be known.
    """

    plugins: tuple[FoundPlugin, ...]
    broken: tuple[BrokenFile, ...]


class _Broken(Exception):
    """Somebody else's code does not work. The text is a sentence."""


class _Unusable(Exception):
    """A `[[switch]]` that cannot be made."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes


def find(package: str = "twisted.plugins") -> Found:
    """Import every plugin file and see what it declares.

    A file that is sound is imported once in the life of the process; one that is broken is tried again each time.

    Args:
        package: The package to look into; its `__path__` names all the folders.
    """
    import_module(package)  # Twisted's makes the __path__ when it is imported
    plugins: dict[int, FoundPlugin] = {}
    broken = []
    for module in getModule(package).iterModules():
        file = module.filePath.path
        try:
            for candidate in _candidates(module):
                # By identity: one object may have several names, or be imported by another file. The first counts.
                if id(candidate) not in plugins:
                    _check(candidate)
                    plugins[id(candidate)] = FoundPlugin(candidate, file)
        except _Broken as error:
            broken.append(BrokenFile(file, str(error)))
    return Found(
        tuple(sorted(plugins.values(), key=lambda found: (found.file, found.plugin.name))),
        tuple(sorted(broken, key=lambda file: file.path)),
    )


def _candidates(module: PythonModule) -> Iterator[Any]:
    loaded = _attempt(module.load)
    return (value for value in list(vars(loaded).values()) if _is_plugin(value))


def _is_plugin(value: object) -> bool:
    try:
        return ISwitchPlugin.providedBy(value)
    except Exception:  # a proxy without its target, for example: it may be anything, so it is not ours to judge
        return False


def _check(plugin: ISwitchPlugin) -> None:
    """Look at what a declaration says of itself.

    Raises:
        _Broken: It does not say what it must.
    """
    _verify(ISwitchPlugin, plugin)
    name, tokens = _attempt(lambda: (plugin.name, plugin.tokens))
    if not isinstance(name, str) or not name.strip():
        raise _Broken(f"a plugin's name is a text that is not empty, not {shown(name)}")
    if not isinstance(tokens, tuple) or not tokens:
        raise _Broken(f"the tokens of {shown(name)} are a tuple that is not empty, not {shown(tokens)}")
    for token in tokens:
        if not _is_protocol(token):
            raise _Broken(f"{shown(name)}: {shown(token)} is no protocol name in bytes, with or without a version")


def _is_protocol(token: object) -> bool:
    return isinstance(token, bytes) and [bytes(offer) for offer in offers([token])] == [token]


def _attempt(work: Callable[[], T]) -> T:
    """The result of somebody else's code.

    Raises:
        _Broken: It raised.
    """
    try:
        return work()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a file in twisted/plugins/ may call sys.exit, and must not end us by that
        raise _Broken(in_words(error)) from error


def _verify(interface: type[Interface], value: object) -> None:
    try:
        _attempt(lambda: verifyObject(interface, value))
    except _Broken as error:
        # zope's sentences name the object by its repr, of any length and over several lines; the causes are in it.
        cause = error.__cause__
        raise _Broken(f"{cause}" if isinstance(cause, Invalid) else f"{error}") from error


def bind(
    switches: Sequence[config.Switch], found: Found, reactor: object, folder: Path
) -> tuple[tuple[Entry, ...], tuple[Mistake, ...]]:
    """Make the switches of a configuration.

    Args:
        switches: The `[[switch]]` tables, in the order of the file.
        found: The plugins there are.
        reactor: For the switches: `Context.reactor`.
        folder: For the switches: `Context.folder`.

    Returns:
        An entry for each table without a mistake, in the same order; and the mistakes.
    """
    entries: list[Entry] = []
    mistakes: list[Mistake] = []
    for switch in switches:
        if not switch.protocol:
            continue  # a stand-in for one that could not be read; that has been reported
        try:
            entries.append(_entry(switch, found, Context(reactor, switch.path, folder)))
        except _Unusable as unusable:
            mistakes += unusable.mistakes
    return tuple(entries), tuple(mistakes)
