"""What twisted.plugin found: named, ordered, and configured.

`find` looks into every file in `twisted/plugins/` on the path. A file of somebody else that does not work stops nobody:
it is listed, with the reason. `bind` joins what was found to the `[[switch]]` tables; there, what does not work is a
mistake of the configuration.

`twisted.plugin.getPlugins` is not used, as it logs the traceback of a broken file and does not say which one it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import attrs
from attrs import frozen
from twisted.python.modules import PythonModule, getModule
from zope.interface import Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from switchd import config, schema
from switchd.budgets import Bounds
from switchd.changes import NOTHING, Made
from switchd.errors import Mistake, UnusableOptions
from switchd.interfaces import Context, ISwitch, ISwitchPlugin, Offer
from switchd.negotiation import Entry, offers, overlap
from switchd.schema import clip, in_words, join, shown, suggestion

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
    """Somebody else's code does not do what it must. The text says what, in one line."""


class _Unusable(Exception):
    """A `[[switch]]` that cannot be made."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes


def find(package: str = "twisted.plugins") -> Found:
    """Import every plugin file and see what it declares.

    A file that is sound is imported once in the life of the process. Of one that is broken nothing counts, and it is
    tried again each time.

    Args:
        package: The package to look into; its `__path__` names all the folders.
    """
    import_module(package)  # Twisted's finds its folders when it is imported
    plugins: dict[int, FoundPlugin] = {}
    broken = []
    for module in getModule(package).iterModules():
        file = module.filePath.path
        try:
            for plugin in _declared(module):
                # By identity: one object may have two names, or be imported by a second file. The first counts.
                plugins.setdefault(id(plugin), FoundPlugin(plugin, file))
        except _Broken as error:
            broken.append(BrokenFile(file, str(error)))
    return Found(
        tuple(sorted(plugins.values(), key=lambda found: (found.file, found.plugin.name))),
        tuple(sorted(broken, key=lambda file: file.path)),
    )


def _declared(module: PythonModule) -> list[ISwitchPlugin]:
    values = _attempt(lambda: list(vars(module.load()).values()))
    plugins = [value for value in values if _is_plugin(value)]
    for plugin in plugins:
        _attempt(partial(_check, plugin))
    return plugins


def _is_plugin(value: object) -> TypeGuard[ISwitchPlugin]:
    try:
        return bool(ISwitchPlugin.providedBy(value))
    except Exception:  # a proxy without its target, for example: no plugin of ours, and not ours to judge
        return False


def _check(plugin: ISwitchPlugin) -> None:
    """Look at what a declaration says of itself."""
    _verify(ISwitchPlugin, plugin)
    name, tokens, also = plugin.name, plugin.tokens, getattr(plugin, "also", ())
    if not isinstance(name, str) or not name.strip():
        raise _Broken(f"the name of a plugin is a text and not empty; this is {shown(name)}")
    if not isinstance(tokens, tuple) or not tokens:
        raise _Broken(f"the tokens of {shown(name)} must be a tuple and not empty; this is {shown(tokens)}")
    if not isinstance(also, tuple):
        raise _Broken(f"the further tokens of {shown(name)} must be a tuple; this is {shown(also)}")
    for token in (*tokens, *also):
        if not _is_protocol(token):
            raise _Broken(clip(f"the tokens of {shown(name)} must be bytes, each a protocol; this is {token!r}"))


def _is_protocol(token: object) -> bool:
    return isinstance(token, bytes) and [bytes(offer) for offer in offers([token])] == [token]


def _verify(interface: type[Interface], value: object) -> None:
    try:
        verifyObject(interface, value)
    except Invalid as error:
        # zope's sentence begins with the object's repr, of any length; its type says enough.
        _, failed, how = str(error).partition(" has failed to implement ")
        raise _Broken(clip(f"{type(value).__name__}{failed}{how}")) from error


def _attempt(work: Callable[[], T]) -> T:
    """The result of code that may be somebody else's.

    Raises:
        _Broken: For whatever it raised.
    """
    try:
        return work()
    except (KeyboardInterrupt, _Broken):
        raise
    except BaseException as error:  # also SystemExit: what others have in their files must not end us
        raise _Broken(in_words(error)) from error


def bind(
    switches: Sequence[config.Switch],
    found: Found,
    reactor: object,
    folder: Path,
    before: Made[config.Switch, Entry] = NOTHING,
    memory_is_short: Callable[[], bool] = lambda: False,
) -> tuple[tuple[Entry, ...], tuple[Mistake, ...]]:
    """Make the switches of a configuration.

    Args:
        switches: The `[[switch]]` tables, in the order of the file.
        found: The plugins there are.
        reactor: For the switches: `Context.reactor`.
        folder: For the switches: `Context.folder`.
        before: Entries that are in use, and go on if their table says the same.
        memory_is_short: For the switches: `Context.memory_is_short`.

    Returns:
        An entry for each table without a mistake, in the same order; and the mistakes.
    """
    entries: list[Entry] = []
    mistakes: list[Mistake] = []
    claims: _Claims = {}
    for switch in switches:
        if not switch.protocol:
            continue  # a stand-in for one that could not be read; that has been reported
        try:
            context = Context(reactor, switch.path, folder, memory_is_short)
            entry = before.take(switch) or _entry(switch, found, context)
        except _Unusable as unusable:
            mistakes += unusable.mistakes
        else:
            entries.append(entry)
            mistakes += _claim(switch, entry, claims)
    return tuple(entries), tuple(mistakes)


_Claims = dict[str, list[tuple[Offer, config.Switch, Entry]]]
"""The tokens of each path, with whose they are."""


def _claim(switch: config.Switch, entry: Entry, claims: _Claims) -> Iterator[Mistake]:
    """What another plugin claims on the same path, be it by a token for every version: only one of the two can be
    meant. That one plugin is there twice is its own affair: it may leave some requests to its second entry."""
    claimed = claims.setdefault(entry.path.strip("/"), [])
    for offer in offers((*entry.tokens, *entry.also)):
        for theirs, first, other in claimed:
            if other.name != entry.name and overlap(theirs, offer):
                ours = f"{shown(entry.name)} claims the token {_quoted(offer)}"
                both = f"{shown(other.name)} of {first.key} on the same path claims {_quoted(theirs)}"
                yield Mistake(f"{switch.key}.protocol", f"{ours}, and {both}")
                break
        claimed.append((offer, switch, entry))


def _quoted(token: Offer) -> str:
    return shown(bytes(token).decode("ascii"))


def _entry(switch: config.Switch, found: Found, context: Context) -> Entry:
    chosen = _chosen(switch, found)
    plugin = chosen.plugin
    try:
        cls, make = _loaded(plugin)
    except _Broken as error:
        raise _Unusable(Mistake(f"{switch.key}.protocol", f"{chosen.file} cannot be used: {error}")) from error
    options, mistakes = schema.options(cls, switch.options, switch.key, also=config.RESERVED)
    if mistakes:
        raise _Unusable(*mistakes)
    try:
        made = _attempt(lambda: make(options, context))
        _attempt(lambda: _verify(ISwitch, made))
    except _Broken as error:
        if isinstance(error.__cause__, UnusableOptions):
            wrong = error.__cause__.mistakes
            raise _Unusable(*(Mistake(join(switch.key, each.key), each.problem) for each in wrong)) from error
        raise _Unusable(Mistake(switch.key, f"{chosen.file} does not make a switch of this: {error}")) from error
    also = getattr(plugin, "also", ())
    bounds = Bounds(**{bound.name: getattr(switch, bound.name) for bound in attrs.fields(Bounds)})
    ours = (switch.require, switch.close, also, switch.drain_seconds, bounds)
    return Entry(switch.path, plugin.name, plugin.tokens, made, *ours)


def _chosen(switch: config.Switch, found: Found) -> FoundPlugin:
    """The one plugin that a table names."""
    named = [each for each in found.plugins if each.plugin.name == switch.protocol]
    if len(named) == 1:
        return named[0]
    problem = _ambiguous(switch.protocol, named) if named else _missing(switch.protocol, found)
    raise _Unusable(Mistake(f"{switch.key}.protocol", problem))


def _ambiguous(name: str, named: Sequence[FoundPlugin]) -> str:
    return f"{shown(name)} is claimed {len(named)} times, by {' and '.join(each.file for each in named)}; remove one"


def _missing(name: str, found: Found) -> str:
    names = list(dict.fromkeys(each.plugin.name for each in found.plugins))
    suspects = [file for file in found.broken if _may_declare(file, name)]
    hints = [f"{file.path} may be its file, but is broken: {file.error}" for file in suspects]
    return f"no plugin is called {shown(name)}; {'; '.join(hints or [suggestion(name, names)])}"


def _may_declare(file: BrokenFile, name: str) -> bool:
    """Whether the words of a plugin's name are in its file's name, as "my-echo" in switchd_my_echo.py."""
    path = Path(file.path)
    words = path.parent.name if path.stem == "__init__" else path.stem
    return re.sub(r"\W", "_", f"_{name}_".lower()) in f"_{words}_".lower()


def _loaded(plugin: ISwitchPlugin) -> tuple[type, Callable[[Any, Context], ISwitch]]:
    """What `load` returns, if it is what it must be."""
    match _attempt(plugin.load):
        case (type() as cls, make) if attrs.has(cls) and callable(make):
            pass
        case _:
            raise _Broken("its load() does not return an attrs class of options and a callable")
    for option in _attempt(lambda: schema.describe(cls)):
        if option.name in config.RESERVED:
            raise _Broken(f"its option {option.name} has the name of a key of switchd's own")
    return cls, make
