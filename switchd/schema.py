"""A table of plain values as an attrs class: every mistake at once, each with its key, and the rules in words.

Used for the sections of the configuration and for the options of plugins alike. The file reads from the outside in:
what is asked (`options`, `describe`), what is wrong (`_mistakes` and the words for it), and at the end how one value
is read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from enum import Enum
from itertools import islice
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
from attrs import Attribute, Factory, evolve, frozen
from cattrs import ClassValidationError, Converter, ForbiddenExtraKeysError, IterableValidationError
from cattrs.cols import list_structure_factory
from cattrs.gen import make_dict_structure_fn, override

from switchd.errors import Mistake
from switchd.interfaces import Range

T = TypeVar("T")

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


NOT_A_KEY = {"switchd.config": "not a key"}
"""The metadata of attributes that are not read from the file."""


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


def as_far_as_sound(stand_in: T, table: object, key: str) -> tuple[T, tuple[Mistake, ...]]:
    """Read a table of plain values as the class of `stand_in`: that, with every key of the table that is right.

    Args:
        stand_in: Has the values for what is missing or wrong.
        table: What the file has there.
        key: The table's key, for messages.
    """
    _, wrong = options(type(stand_in), table, key)
    given = table if isinstance(table, dict) else {}
    sound = {
        each.name: read(given[each.name], _kind(each))
        for each in _attributes(type(stand_in))
        if each.name in given and not _is_in(join(key, each.name), wrong)
    }
    return cast(T, evolve(cast(Any, stand_in), **sound)), wrong


def _is_in(key: str, mistakes: Iterable[Mistake]) -> bool:
    """Whether one of the mistakes is at a key, or in the table or list that is there."""
    return any(f"{mistake.key}.".startswith((f"{key}.", f"{key}[")) for mistake in mistakes)


def read(value: object, kind: Any) -> Any:
    """One value as a type.

    Raises:
        ValueError: It is none; a sentence.
    """
    return _converter.structure(value, kind)


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
    return tuple(each for each in attrs.fields(cls) if each.init and each.metadata != NOT_A_KEY)


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
            yield from _field_mistakes(inner, join(key, note.name), kinds[note.name])
        for inner in bare:
            yield from _mistakes(inner, key, also)
    elif isinstance(error, IterableValidationError):
        for inner, at in error.group_exceptions()[0]:
            yield from _mistakes(inner, f"{key}[{at.index}]")
    elif isinstance(error, ForbiddenExtraKeysError):
        for name in sorted(error.extra_fields):
            yield Mistake(join(key, name), f"unknown key; {suggestion(name, (*keys(error.cl), *also))}")
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


def join(key: str, name: str) -> str:
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
