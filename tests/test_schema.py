"""switchd.schema: a table as an attrs class, every mistake with its key, and the rules in words."""

from __future__ import annotations

import enum
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import attrs
import pytest
from attrs import Attribute, field, frozen

from switchd import config
from switchd.errors import Mistake
from switchd.interfaces import NoOptions, Range
from switchd.schema import OptionHelp, describe, options


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Word(enum.StrEnum):
    YES = "yes"


@frozen
class Inner:
    size: Annotated[int, Range(1, 9, "apples")]
    names: list[str] = field(factory=list)


def _even(instance: object, attribute: Attribute[int], value: int) -> None:
    if value % 2:
        raise ValueError(f"expected an even number, got {value}")


def _no_a(text: str) -> str:
    if "a" in text:
        raise ValueError("an a is not allowed")
    return text.upper()


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text)


@frozen
class Everything:
    text: str
    flag: bool = False
    level: Level = Level.LOW
    word: Word = Word.YES
    mode: Literal["r", "w", 1] = "r"
    ratio: float = 0.5
    origins: tuple[str, ...] = ("a", "b")
    ports: tuple[Annotated[int, Range(1, 65535, "ports")], ...] = ()
    tags: frozenset[str] = frozenset()
    wait: Annotated[float, Range(0, 60, "seconds")] | None = None
    file: Path | None = None
    raw: bytes = b""
    inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    even: int = field(default=0, validator=_even)
    upper: str = field(default="", converter=_no_a)
    pattern: re.Pattern[str] = field(default="", converter=_compiled)
    one_of: str = field(default="x", validator=attrs.validators.in_(["x", "y"]))
    remarked: Annotated[int, "a remark for somebody else"] = 2000
    later: int = field(default=attrs.Factory(lambda self: self.even, takes_self=True))
    computed: int = field(init=False, default=3)


def given_options(text: str, cls: type = Everything) -> list[str]:
    """What is wrong with a table of options."""
    value, mistakes = options(cls, tomllib.loads(text), "switch[2]")
    assert (value is None) == bool(mistakes)
    return [f"{mistake.key}: {mistake.problem}" for mistake in mistakes]


def test_options_become_an_instance_of_the_class() -> None:
    table = tomllib.loads("""
        text = "t"
        flag = true
        level = "high"
        word = "yes"
        mode = 1
        ratio = 2
        origins = ["x"]
        ports = [1, 65535]
        tags = ["t", "t"]
        wait = 60
        file = "a/b"
        raw = "é"
        inner = { size = 9, names = ["n"] }
        inners = [{ size = 1 }, { size = 2 }]
        even = 4
        upper = "bc"
        pattern = "x+"
        one_of = "y"
        remarked = 3
    """)
    assert options(Everything, table, "switch[0]") == (
        Everything(
            text="t",
            flag=True,
            level=Level.HIGH,
            word=Word.YES,
            mode=1,
            ratio=2.0,
            origins=("x",),
            ports=(1, 65535),
            tags=frozenset({"t"}),
            wait=60.0,
            file=Path("a/b"),
            raw="é".encode(),
            inner=Inner(9, ["n"]),
            inners=(Inner(1), Inner(2)),
            even=4,
            upper="bc",
            pattern="x+",
            one_of="y",
            remarked=3,
            later=4,
        ),
        (),
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param("", ["text: missing; expected text"], id="missing"),
        pytest.param("text = 5", ["text: expected text, got 5"], id="no text"),
        pytest.param('text = ""\nlevel = "LOW"', ['level: expected one of "low", "high", got "LOW"'], id="enum"),
        pytest.param('text = ""\nword = "no"', ['word: expected one of "yes", got "no"'], id="enum of texts"),
        pytest.param('text = ""\nmode = true', ['mode: expected one of "r", "w", 1, got true'], id="true is not 1"),
        pytest.param('text = ""\norigins = "a"', ['origins: expected a list, each item text, got "a"'], id="no list"),
        pytest.param('text = ""\norigins = ["a", 1]', ["origins[1]: expected text, got 1"], id="an item"),
        pytest.param(
            'text = ""\nports = [1, 0, 65536]',
            [
                "ports[1]: expected a whole number of ports from 1 to 65535, got 0",
                "ports[2]: expected a whole number of ports from 1 to 65535, got 65536",
            ],
            id="items out of range",
        ),
        pytest.param(
            'text = ""\nwait = [1, [2], {}]',
            ["wait: expected a number of seconds from 0 to 60, got [1, […], {}]"],
            id="a list for a number",
        ),
        pytest.param('text = ""\nfile = 1', ["file: expected the name of a file or folder, got 1"], id="no file"),
        pytest.param('text = ""\nraw = 5', ["raw: expected text, got 5"], id="no bytes"),
        pytest.param(
            'text = ""\ninner = 1', ["inner: expected a table with the keys size, names, got 1"], id="no table"
        ),
        pytest.param(
            'text = ""\ninner = { size = 10, name = 1 }',
            [
                "inner.size: expected a whole number of apples from 1 to 9, got 10",
                'inner.name: unknown key; did you mean "names"?',
            ],
            id="in a table",
        ),
        pytest.param(
            'text = ""\ninners = [{ size = 1 }, {}]',
            ["inners[1].size: missing; expected a whole number of apples from 1 to 9"],
            id="in a list of tables",
        ),
        pytest.param(
            'text = ""\neven = 3\nupper = "a"\none_of = "z"',
            [
                "even: expected an even number, got 3",
                "upper: an a is not allowed",
                "one_of: 'one_of' must be in ['x', 'y'] (got 'z')",
            ],
            id="validators and converters",
        ),
        pytest.param('text = ""\nremarked = []', ["remarked: expected a whole number, got []"], id="remarked"),
        pytest.param('text = ""\nwat = 3', ['wat: unknown key; did you mean "wait"?'], id="misspelt"),
    ],
)
def test_a_wrong_option_is_named(text: str, lines: list[str]) -> None:
    assert given_options(text) == [f"switch[2].{line}" for line in lines]


def test_a_value_that_only_a_converter_refuses_without_valueerror_is_named_by_its_table() -> None:
    (line,) = given_options('text = ""\npattern = "("')
    assert line.startswith("switch[2]: ")
    assert "missing ), unterminated subpattern" in line


def test_an_attribute_without_a_type_takes_the_value_as_it_is() -> None:
    cls = attrs.make_class("Untyped", {"anything": field()})
    value, _ = options(cls, {"anything": [1, "a"]}, "switch[0]")
    assert value == cls([1, "a"])
    assert describe(cls) == (OptionHelp("anything", "a value", "required"),)


@frozen
class Pair:
    low: int
    high: int = field()

    @high.validator
    def _above_low(self, attribute: Attribute[int], value: int) -> None:
        if value < self.low:
            raise ValueError("high is below low")


def test_a_validator_that_needs_other_fields_is_named_by_its_table() -> None:
    assert given_options("low = 1\nhigh = 2", Pair) == []
    assert given_options("low = 2\nhigh = 1", Pair) == ["switch[2]: high is below low"]


def test_an_option_may_be_a_misspelt_key_of_the_table_itself() -> None:
    _, mistakes = options(NoOptions, {"requre": True}, "switch[0]", also=config.RESERVED)
    assert [mistake.problem for mistake in mistakes] == ['unknown key; did you mean "require"?']


def test_where_no_options_are_none_is_expected() -> None:
    assert given_options("a = 1", NoOptions) == ["switch[2].a: unknown key; there is none to expect"]


def test_options_that_are_no_table_are_a_mistake() -> None:
    _, mistakes = options(Inner, [1], "switch[0]")
    assert [mistake.problem for mistake in mistakes] == ["expected a table with the keys size, names, got [1]"]


@frozen
class Unreadable:
    number: complex = 0j


@frozen
class Unresolved:
    number: Missing = 0  # type: ignore[name-defined]  # noqa: F821


@frozen
class Misruled:
    numbers: Annotated[tuple[int, ...], Range(1, 2, "bytes")] = ()


@pytest.mark.parametrize(
    ("cls", "problem"),
    [
        (Unreadable, "<class 'complex'> is not a type that a configuration can hold"),
        (Unresolved, "the types of Unresolved cannot be found: NameError: name 'Missing' is not defined"),
        (Misruled, "a Range is not for tuple[int, ...]"),
        (Level, "<enum 'Level'> is not an attrs class"),
    ],
)
def test_a_class_that_cannot_be_filled_is_not_described(cls: type, problem: str) -> None:
    with pytest.raises(TypeError, match=re.escape(problem)):
        describe(cls)


def test_a_class_that_cannot_be_filled_is_a_mistake() -> None:
    assert options(Misruled, {}, "switch[0]") == (
        None,
        (Mistake("switch[0]", "TypeError: a Range is not for tuple[int, ...]"),),
    )


def test_options_are_described_in_words() -> None:
    assert [(each.name, each.type, each.default) for each in describe(Everything)] == [
        ("text", "text", "required"),
        ("flag", "true or false", "false"),
        ("level", 'one of "low", "high"', '"low"'),
        ("word", 'one of "yes"', '"yes"'),
        ("mode", 'one of "r", "w", 1', '"r"'),
        ("ratio", "a number", "0.5"),
        ("origins", "a list, each item text", '["a", "b"]'),
        ("ports", "a list, each item a whole number of ports from 1 to 65535", "[]"),
        ("tags", "a list, each item text", "[]"),
        ("wait", "a number of seconds from 0 to 60", "none"),
        ("file", "the name of a file or folder", "none"),
        ("raw", "text", '""'),
        ("inner", "a table with the keys size, names", "none"),
        ("inners", "a list, each item a table with the keys size, names", "[]"),
        ("even", "a whole number", "0"),
        ("upper", "text", '""'),
        ("pattern", "a value", '""'),
        ("one_of", "text", '"x"'),
        ("remarked", "a whole number", "2000"),
        ("later", "a whole number", "computed"),
    ]
    assert [each.default for each in describe(Inner)] == ["required", "[]"]
