"""TOML in, frozen values out, and every mistake at once, each with its key.

    config, mistakes = load("switchd.toml")

Nothing here raises for what an operator wrote. A mistake is reported, and something harmless takes the place of what is
wrong, so that those who use the values next (plugins, routes) can find their mistakes too: start-up then ends with one
list. With any mistake at all the values are good for nothing but that.

The file reads from the outside in: the values, which say what each key means; the sections of a file; the options of a
plugin; and at the end how one value is read and how it is spoken of.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from enum import Enum
from importlib.resources import files
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
from attrs import Attribute, Factory, evolve, field, frozen
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, IterableValidationError
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, override

from switchd.errors import Mistake
from switchd.interfaces import Range

T = TypeVar("T")

FILE_BYTES = 1_048_576
"""The longest file that is read as a configuration, in bytes: hundreds of times what one needs."""

SHOWN_CHARACTERS = 60
"""How much of a wrong value is quoted: enough to recognise it."""

TOLD_CHARACTERS = 300
"""How much of somebody else's error message is quoted."""


@frozen
class Text:
    """What a text must look like, for `Annotated[str, Text(...)]`; the counterpart of `Range`.

    Attributes:
        pattern: A regular expression for the whole of it.
        words: What is expected, after "expected": "a file name".
    """

    pattern: str
    words: str


UrlPath = Annotated[
    str,
    Text(r"/[^?#\x00-\x1f\x7f-\x9f]*", 'a path that starts with "/", without "?", "#" and control characters'),
]
Endpoint = Annotated[str, Text(r"\S[^\x00-\x1f\x7f]*", 'a Twisted endpoint, for example "tcp:8080"')]
Import = Annotated[str, Text(r"[^\W\d][\w.]*:[^\W\d][\w.]*", 'what to import, as "package.module:name"')]
FileName = Annotated[str, Text(r"[^\x00-\x1f\x7f]+", "the name of a file or folder")]
LogFile = Annotated[str, Text(r"[^\x00-\x1f\x7f]*", 'the name of a file, "-" or ""')]
Name = Annotated[str, Text(r"\S[^\x00-\x1f\x7f]*", "the name of a plugin")]
# A field value (RFC 9110 section 5.5), of ASCII: blanks and tabs only inside.
FieldValue = Annotated[str, Text(r"([!-~]([ -~\t]*[!-~])?)?", 'printable ASCII without blanks around it, or ""')]

_NOT_A_KEY = {"switchd.config": "not a key"}
"""The metadata of attributes that are not read from the file."""


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
    """

    advertise: bool = False
    prefer: Literal["client", "server"] = "client"
    header: FieldValue = "switchd"
    access_log: LogFile = "-"


@frozen
class Listen:
    """`[[listen]]`: a place where connections are accepted.

    Attributes:
        endpoint: A Twisted endpoint string. Required.
        key: Where it was said, for messages: "listen[0]" or "--listen". Not a key of the table.
    """

    endpoint: Endpoint
    key: str = field(default="", metadata=_NOT_A_KEY)


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
    key: str = field(default="", metadata=_NOT_A_KEY)


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
        options: The other keys, as they came from the file, unchecked. Not a key of the table.
        key: Where it was said, for messages: "switch[0]". Not a key of the table.
    """

    path: UrlPath
    protocol: Name
    require: bool = False
    close: bool = False
    options: Mapping[str, object] = field(factory=dict, metadata=_NOT_A_KEY)
    key: str = field(default="", metadata=_NOT_A_KEY)


@frozen
class Limits:
    """`[limits]`: what one client may take. Sizes in bytes, times in seconds.

    Attributes:
        head_bytes: The request line and all header fields. Default 16384. Over it: 414 or 431.
        header_count: The header fields of one request. Default 100. Over it: 431.
        body_bytes: The body of a request; 0 allows none. Default 1048576. Over it: 413.
        early_bytes: What is kept of the bytes behind a request while its switch is being decided; then reading pauses.
            Default 65536.
        head_seconds: From the first byte of a head to its last. Default 20. Later: 408.
        body_seconds: From the first byte of a body to its last. Default 60. Later: 408.
        switch_seconds: The time that a plugin may take to decide. Default 10. Later: 503.
        keepalive_seconds: How long a connection may be idle between two requests. Default 60. Then it is closed.
        half_closed_seconds: How long a client that has shut down its sending side is still answered. Default 30.
        linger_seconds: After an error answer, how long what the client still sends is read and dropped before the
            connection is closed, lest a reset takes the answer away. Default 5; 0 closes at once.
        shutdown_seconds: How long connections may take to end when the server does. Default 10; 0 ends them at once.
    """

    head_bytes: Annotated[int, Range(1_024, 1_048_576, "bytes")] = 16_384
    header_count: Annotated[int, Range(1, 10_000, "header fields")] = 100
    body_bytes: Annotated[int, Range(0, 1_073_741_824, "bytes")] = 1_048_576
    early_bytes: Annotated[int, Range(1_024, 16_777_216, "bytes")] = 65_536
    head_seconds: Annotated[float, Range(0.1, 3_600, "seconds")] = 20.0
    body_seconds: Annotated[float, Range(0.1, 86_400, "seconds")] = 60.0
    switch_seconds: Annotated[float, Range(0.1, 3_600, "seconds")] = 10.0
    keepalive_seconds: Annotated[float, Range(0.1, 86_400, "seconds")] = 60.0
    half_closed_seconds: Annotated[float, Range(0.1, 3_600, "seconds")] = 30.0
    linger_seconds: Annotated[float, Range(0, 60, "seconds")] = 5.0
    shutdown_seconds: Annotated[float, Range(0, 3_600, "seconds")] = 10.0


@frozen(kw_only=True)
class Config:
    """A whole configuration.

    Attributes:
        server: `[server]`.
        listen: Every `[[listen]]`, or what stands in their place.
        http: Every `[[http]]`.
        switch: Every `[[switch]]`, in the order of the file.
        limits: `[limits]`.
        file: The file, as the operator named it.
        folder: Where relative file names in it start.
    """

    server: Server = Server()
    listen: tuple[Listen, ...] = ()
    http: tuple[Http, ...] = ()
    switch: tuple[Switch, ...] = ()
    limits: Limits = Limits()
    file: str
    folder: Path


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
        file=file,
        folder=folder,
    )
    return config, (*reader.mistakes, *_unknown_sections(document))


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
    sections = ("server", "listen", "http", "switch", "limits")
    for name in document:
        if name not in sections:
            yield Mistake(_join("", name), f"unknown section; {suggestion(name, sections)}")


class _Reader:
    """Reads sections of a document, and keeps the mistakes."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document
        self._claimed: dict[str, str] = {}
        self.mistakes: list[Mistake] = []

    def section(self, name: str, default: T) -> T:
        """A section that occurs once, if at all."""
        return self._table(default, self._document.get(name, {}), name)

    def listen(self, instead: Sequence[str]) -> tuple[Listen, ...]:
        """The listeners. The file's own are checked also where they do not count."""
        tables = self._tables("listen")
        ours = [self._table(Listen("", key), table, key) for key, table in tables]
        others = [self._from_command_line(text) for text in instead]
        if not instead and self._document.get("listen", []) == []:
            self._wrong("listen", "missing; expected at least one [[listen]] with an endpoint, or --listen ENDPOINT")
        return tuple(listen for listen in (others if instead else ours) if listen.endpoint)

    def _from_command_line(self, text: str) -> Listen:
        key = "--listen"
        try:
            return Listen(_converter.structure(text, cast(Any, Endpoint)), key)
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
        """`table` as a value: `stand_in`, with every key of the table that is right."""
        # None of these tables has a table in it, so a mistake's key is that of the field that is wrong.
        _, wrong = options(type(stand_in), table, key)
        self.mistakes += wrong
        bad = {mistake.key for mistake in wrong}
        given = table if isinstance(table, dict) else {}
        sound = {
            attribute.name: _converter.structure(given[attribute.name], _kind(attribute))
            for attribute in _attributes(type(stand_in))
            if attribute.name in given and _join(key, attribute.name) not in bad
        }
        return cast(T, evolve(cast(Any, stand_in), **sound))

    def _wrong(self, key: str, problem: str) -> None:
        self.mistakes.append(Mistake(key, problem))


# A plugin's options


def options(cls: type[T], table: object, key: str, also: Sequence[str] = ()) -> tuple[T | None, tuple[Mistake, ...]]:
    """Read a table as an attrs class.

    A field may be a bool, int, float, str, bytes (written as text), `Path`, `Literal`, `Enum` (by value) or another
    attrs class; a list, tuple or frozenset of one of these; any of them `| None`; a number `Annotated` with a `Range`.

    A ValueError of its converter or validator is a mistake of its key. Both may be called more than once. A converter
    gets a value of the field's type or, if that is none of the above, the value as it came from the file.

    Args:
        cls: The attrs class.
        table: What the file has there: a mapping, if nothing is wrong.
        key: The table's key, for messages.
        also: Further keys that the operator may have meant when one is unknown.

    Returns:
        The value and no mistakes, or None and at least one. That `cls` itself cannot be used is a mistake too.
    """
    try:
        return _converter.structure(table, cls), ()
    except Exception as error:  # cattrs collects what converters, validators and constructors raise, whatever it is
        return None, tuple(_mistakes(error, key, also))


@frozen
class OptionHelp:
    """What there is to know of an option.

    Attributes:
        name: Its key.
        type: What is expected, in words with the unit: "a number of seconds from 0 to 60".
        default: As it would be written in the file; "none" for None, or "required".
    """

    name: str
    type: str
    default: str


def describe(cls: type) -> tuple[OptionHelp, ...]:
    """The options that an attrs class has.

    Raises:
        TypeError: It has a field that no configuration can fill, or is no attrs class.
    """
    return tuple(OptionHelp(each.name, _words(_kind(each)), _default(each)) for each in _attributes(cls))


def keys(cls: type) -> tuple[str, ...]:
    """The keys that a table for an attrs class may have.

    Raises:
        TypeError: As `describe`.
    """
    return tuple(attribute.name for attribute in _attributes(cls))


def _attributes(cls: type) -> tuple[Attribute[Any], ...]:
    if not attrs.has(cls):
        raise TypeError(f"{cls!r} is not an attrs class")
    try:
        attrs.resolve_types(cls)
    except Exception as error:  # annotations are text until here: they may hold anything
        raise TypeError(f"the types of {cls.__qualname__} cannot be found: {in_words(error)}") from error
    return tuple(each for each in attrs.fields(cls) if each.init and each.metadata != _NOT_A_KEY)


def _kind(attribute: Attribute[Any]) -> Any:
    """As what type an attribute is read: Any if it has none, or one that only its converter understands."""
    if attribute.type is None:
        return Any
    try:
        _words(attribute.type)
    except TypeError:
        if attribute.converter is None:
            raise
        return Any
    return attribute.type


def _default(attribute: Attribute[Any]) -> str:
    value: Any = attribute.default
    if value is attrs.NOTHING:
        return "required"
    if isinstance(value, Factory):  # type: ignore[arg-type]  # a class at runtime, a function in attrs' stubs
        return "computed" if value.takes_self else shown(value.factory())
    return shown(value)


# From what is wrong to mistakes


def _mistakes(error: BaseException, key: str, also: Sequence[str] = ()) -> Iterator[Mistake]:
    """Flatten what cattrs collected."""
    if isinstance(error, ClassValidationError):
        kinds = {attribute.name: _kind(attribute) for attribute in _attributes(error.cl)}
        noted, bare = error.group_exceptions()
        for inner, note in noted:
            yield from _field_mistakes(inner, _join(key, note.name), kinds[note.name])
        for inner in bare:
            yield from _mistakes(inner, key, also)
    elif isinstance(error, IterableValidationError):
        for inner, at in error.group_exceptions()[0]:
            yield from _mistakes(inner, f"{key}[{at.index}]")
    elif isinstance(error, ForbiddenExtraKeysError):
        for name in sorted(error.extra_fields):
            yield Mistake(_join(key, name), f"unknown key; {suggestion(name, (*keys(error.cl), *also))}")
    else:
        yield Mistake(key, in_words(error))


def _field_mistakes(error: BaseException, key: str, kind: Any) -> Iterator[Mistake]:
    if isinstance(error, KeyError):  # how cattrs says that a field without a default is not there
        yield Mistake(key, f"missing; expected {_words(kind)}")
    else:
        yield from _mistakes(error, key)


def in_words(error: BaseException) -> str:
    """Somebody else's error in one line of bounded length; a ValueError is taken to be a sentence."""
    # The validators of attrs put the attribute and more behind their sentence.
    behind = error.args[1:2]
    said = error.args[0] if behind and isinstance(behind[0], Attribute) else error
    try:
        sentence = str(said)
    except Exception:  # the error of a broken thing may be broken too
        sentence = ""
    if isinstance(error, ValueError) and sentence:
        return clip(sentence)
    return clip(f"{type(error).__name__}: {sentence}" if sentence else type(error).__name__)


def suggestion(name: str, known: Sequence[str]) -> str:
    """What may have been meant by a name that is not known, as the rest of a sentence."""
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {shown(close[0])}?"
    return clip(f"expected {', '.join(known)}") if known else "there is none to expect"


def _join(key: str, name: str) -> str:
    quoted = name if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name) else shown(name)
    return f"{key}.{quoted}" if key else quoted


def shown(value: object) -> str:
    """A value as TOML would write it, in one line of bounded length: for messages."""
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if not isinstance(value, (list, tuple)):
        return _shown_item(value)
    items = [_shown_item(item) for item in islice(value, 10)]
    return clip(f"[{', '.join(items)}{', …' if len(value) > 10 else ''}]", SHOWN_CHARACTERS)


def _shown_item(value: object) -> str:
    if isinstance(value, Enum):
        return _shown_item(value.value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return _shown_item(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, (str, Path)):
        text = str(value)
        # Escaped if there is anything in it that a terminal might obey.
        quoted = json.dumps(text[:SHOWN_CHARACTERS], ensure_ascii=not text.isprintable())
        return quoted if len(text) <= SHOWN_CHARACTERS else f"{quoted}…"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to write out a very long one
    if isinstance(value, (list, tuple, set, frozenset)):
        return "[…]" if value else "[]"
    if isinstance(value, Mapping) or attrs.has(type(value)):
        return "{…}" if value else "{}"
    return clip(str(value), SHOWN_CHARACTERS)


def clip(text: str, length: int = TOLD_CHARACTERS) -> str:
    """A text in one line, of at most `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


# One value: what its type is called, and whether it is of it. cattrs walks the classes; left alone it would take 5 for
# a text and true for a number, so each kind of value has a strict hook, and a type that is not named here is refused.

_SCALARS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    bytes: "text",
    Path: "the name of a file or folder",
}
_LISTS: dict[Any, Callable[[list[Any]], Any]] = {list: list, tuple: tuple, frozenset: frozenset, Sequence: tuple}

_Hook = Callable[[Any, Any], Any]


def _words(kind: Any) -> str:
    """What a type expects, in words.

    Raises:
        TypeError: It is not a type that a configuration can hold.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return "a value"
    if origin is Annotated:
        return _ruled_words(arguments[0], _rule(kind))
    if origin in (Union, UnionType) and len(arguments) == 2 and NoneType in arguments:
        return _words(_without_none(kind))
    if _is_choice(kind):
        return f"one of {', '.join(shown(text) for text, _ in _choices(kind))}"
    if _is_list(kind):
        return f"a list, each item {_words(arguments[0])}"
    if isinstance(kind, type) and kind in _SCALARS:
        return _SCALARS[kind]
    if isinstance(kind, type) and attrs.has(kind):
        return f"a table with the keys {', '.join(keys(kind))}"
    raise TypeError(f"{kind!r} is not a type that a configuration can hold")


def _ruled_words(kind: Any, rule: Range | Text | None) -> str:
    words, base = _words(kind), _without_none(kind)
    if rule is None:
        return words
    if isinstance(rule, Text) and base is str:
        return rule.words
    if isinstance(rule, Range) and base in (int, float):
        return f"{_SCALARS[base]} of {rule.unit} from {_plain(rule.least)} to {_plain(rule.most)}"
    raise TypeError(f"a {type(rule).__name__} is not for {kind!r}")


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return next(argument for argument in get_args(kind) if argument is not NoneType)


def _rule(kind: Any) -> Range | Text | None:
    """The rule that an `Annotated` type has."""
    return next((each for each in getattr(kind, "__metadata__", ()) if isinstance(each, (Range, Text))), None)


def _is_list(kind: Any) -> bool:
    arguments = get_args(kind)
    return get_origin(kind) in _LISTS and (len(arguments) == 1 or arguments[1:] == (...,))


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum))


def _choices(kind: Any) -> Iterable[tuple[object, object]]:
    """What may be written, each with what it means."""
    if get_origin(kind) is Literal:
        return [(value, value) for value in get_args(kind)]
    return [(member.value, member) for member in kind]


def _unfit(value: object, kind: Any) -> ValueError:
    return ValueError(f"expected {_words(kind)}, got {shown(value)}")


def _choice(value: object, kind: Any) -> object:
    for written, meant in _choices(kind):
        if type(value) is type(written) and value == written:  # 1 is not true, though Python finds them equal
            return meant
    raise _unfit(value, kind)


def _scalar(value: Any, kind: Any) -> object:
    if _is_choice(kind):  # an Enum may also be a str or an int, so it comes here
        return _choice(value, kind)
    if kind in (bytes, Path) and type(value) is str:
        return value.encode() if kind is bytes else Path(value)
    if kind is float and type(value) in (int, float) and _is_finite(value):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    raise _unfit(value, kind)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _ruled_hook(kind: Any) -> _Hook:
    base, rule = get_args(kind)[0], _rule(kind)

    def structure(value: Any, _: Any) -> Any:
        with suppress(ValueError):
            read = _converter.structure(value, base)
            if _obeys(read, rule):
                return read
        raise _unfit(value, kind)

    return structure


def _obeys(value: Any, rule: Range | Text | None) -> bool:
    if isinstance(rule, Range):
        return bool(rule.least <= value <= rule.most)
    return rule is None or re.fullmatch(rule.pattern, value) is not None


def _list_hook(kind: Any) -> _Hook:
    make = _LISTS[get_origin(kind)]
    items = list_structure_factory(cast(Any, list[get_args(kind)[0]]), _converter)  # type: ignore[misc]

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise _unfit(value, kind)
        return make(items(value, kind))

    return structure


def _table_hook(kind: Any) -> _Hook:
    how: dict[str, Any] = {each.name: override(omit=True) for each in attrs.fields(kind)}
    how.update({each.name: override(struct_hook=_field_hook(each)) for each in _attributes(kind)})
    from_table = make_dict_structure_fn(kind, _converter, _cattrs_forbid_extra_keys=True, **how)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _unfit(value, kind)
        return from_table(value, kind)

    return structure


def _field_hook(attribute: Attribute[Any]) -> _Hook:
    """Reads one field. Its converter and validator are asked here already: from within the class's constructor their
    complaint would not say which field it is about, and the first would hide the others."""
    kind = _kind(attribute)
    convert: Any = attribute.converter
    validate: Any = attribute.validator

    def structure(value: Any, _: Any) -> Any:
        read = _converter.structure(value, kind)
        try:
            converted = convert(read) if convert else read
            if validate:
                validate(None, attribute, converted)
        except ValueError:
            raise
        except Exception:
            pass  # It wants to see the whole instance, or is broken. The constructor will call it with one, and tell.
        return read

    return structure


def _make_converter() -> Converter:
    converter = Converter()
    for kind in (*_SCALARS, Enum):  # these stand for their subclasses too
        converter.register_structure_hook(kind, _scalar)
    converter.register_structure_hook_factory(attrs.has, _table_hook)
    converter.register_structure_hook_factory(_is_list, _list_hook)
    converter.register_structure_hook_factory(lambda kind: _rule(kind) is not None, _ruled_hook)
    converter.register_structure_hook_func(_is_choice, _choice)
    return converter


_converter = _make_converter()

RESERVED = keys(Switch)
"""The keys of a `[[switch]]` that are switchd's own: no option of a plugin may be called so."""
