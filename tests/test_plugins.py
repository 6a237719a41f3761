"""switchd.plugins: plugin files in, entries and mistakes out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import invalidate_caches
from pathlib import Path
from textwrap import dedent

import pytest
from zope.interface.verify import verifyObject

from switchd.config import Switch
from switchd.interfaces import Accept, ISwitch, ISwitchPlugin, Offer, Request
from switchd.plugins import BrokenFile, Found, bind, find

PACKAGE = "plugins_for_a_test"
FOLDER = Path("/etc/switchd")
REACTOR = object()

ECHO = """
    from switchd.interfaces import SwitchPlugin
    echo = SwitchPlugin("echo", b"echo", "twisted.protocols.wire:Echo")
"""

# A plugin whose load() is the body of the test, with the usual things at hand.
PLUGIN = """
    from typing import Annotated
    from attrs import field, frozen
    from zope.interface import implementer
    from switchd.interfaces import Accept, ISwitch, ISwitchPlugin, NoOptions, Range

    @implementer(ISwitch)
    class ASwitch:
        def __init__(self, options, context):
            self.options, self.context = options, context
        def offer(self, request, offer):
            return None

    @implementer(ISwitchPlugin)
    class Plugin:
        name = "it"
        tokens = (b"it", b"It/2")
        def load(self):
            {load}

    plugin = Plugin()
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a plugin file into a package of the test's own, and returns where."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> Path:
        file = folder / f"{name}.py"
        file.write_text(dedent(text))
        invalidate_caches()  # a folder's time does not tell two writes within one tick apart
        return file

    yield write
    for module in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[module]
    sys.path_importer_cache.pop(str(tmp_path), None)
    sys.path_importer_cache.pop(str(folder), None)


def found() -> Found:
    """What is in the package of the test."""
    return find(PACKAGE)


def names(what: Found) -> list[tuple[str, str]]:
    """The plugins, each with the name of its file."""
    return [(each.plugin.name, Path(each.file).name) for each in what.plugins]


def bound(*switches: Switch) -> list[str]:
    """The mistakes that binding the test's plugins makes, as an operator sees them."""
    entries, mistakes = bind(switches, found(), REACTOR, FOLDER)
    assert len(entries) + len({mistake.key.partition(".")[0] for mistake in mistakes}) == len(switches)
    return [f"{mistake.key}: {mistake.problem}" for mistake in mistakes]


def switch(protocol: str, key: str = "switch[0]", **options: object) -> Switch:
    """A table that is right as far as the configuration knows."""
    return Switch("/path", protocol, options=options, key=key)


# Finding


def test_our_own_plugin_is_found() -> None:
    (addone,) = [each for each in find().plugins if each.plugin.name == "addone"]
    assert Path(addone.file).name == "switchd_addone.py"
    assert addone.plugin.tokens == (b"addone",)
    assert verifyObject(ISwitchPlugin, addone.plugin)


def test_an_empty_package_has_nothing(write: Write) -> None:
    assert found() == Found((), ())


def test_plugins_are_ordered_by_file_and_then_by_name(write: Write) -> None:
    write("b", ECHO)
    write(
        "a",
        """
        from switchd.interfaces import SwitchPlugin
        first = SwitchPlugin("y", b"y", "nowhere:Y")
        second = SwitchPlugin("x", b"x", "nowhere:X")
        """,
    )
    assert names(found()) == [("x", "a.py"), ("y", "a.py"), ("echo", "b.py")]


def test_a_package_is_a_plugin_file_too(write: Write) -> None:
    (write("x", "").parent / "deep").mkdir()
    write("deep/__init__", ECHO)
    assert names(found()) == [("echo", "__init__.py")]


def test_one_object_counts_once_whatever_it_is_called(write: Write) -> None:
    write("a", f"{dedent(ECHO)}\nagain = echo\n")
    write("b", f"from {PACKAGE}.a import echo")
    assert names(found()) == [("echo", "a.py")]


def test_what_is_no_plugin_is_passed_over(write: Write) -> None:
    write(
        "a",
        dedent(ECHO)
        + dedent("""
            from switchd.interfaces import ISwitchPlugin

            class Proxy:
                def __getattribute__(self, name):
                    raise RuntimeError("nothing behind this proxy")

            proxy = Proxy()
            number = 5
        """),
    )
    assert (names(found()), found().broken) == ([("echo", "a.py")], ())


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'", id="import"),
        pytest.param("def (", "SyntaxError: invalid syntax (broken.py, line 1)", id="syntax"),
        pytest.param("raise ValueError('it is\\nTuesday')", "it is Tuesday", id="a sentence of two lines"),
        pytest.param("raise SystemExit(3)", "SystemExit: 3", id="exit"),
        pytest.param(
            "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Mute",
            "Mute",
            id="no text",
        ),
        pytest.param("raise GeneratorExit", "GeneratorExit", id="no exception at all"),
        pytest.param("raise RuntimeError('x' * 5000)", "RuntimeError: " + "x" * 285 + "…", id="bounded"),
        pytest.param(
            "from switchd.interfaces import SwitchPlugin\np = SwitchPlugin(' ', b'x', 'a:b')",
            'the name of a plugin is a text and not empty; this is " "',
            id="no name",
        ),
        pytest.param(
            "from switchd.interfaces import SwitchPlugin\np = SwitchPlugin('x', (), 'a:b')",
            'the tokens of "x" must be a tuple and not empty; this is []',
            id="no tokens",
        ),
        pytest.param(
            "from switchd.interfaces import SwitchPlugin\np = SwitchPlugin('x', (b'x', b'a b'), 'a:b')",
            "the tokens of \"x\" must be bytes, each a protocol; this is b'a b'",
            id="no token",
        ),
        pytest.param(
            "from switchd.interfaces import SwitchPlugin\np = SwitchPlugin('x', (b'x, y',), 'a:b')",
            "the tokens of \"x\" must be bytes, each a protocol; this is b'x, y'",
            id="two tokens in one",
        ),
        pytest.param(
            "from switchd.interfaces import SwitchPlugin\np = SwitchPlugin('x', ('x',), 'a:b')",
            "the tokens of \"x\" must be bytes, each a protocol; this is 'x'",
            id="a token of text",
        ),
        pytest.param(
            """
            from zope.interface import implementer
            from switchd.interfaces import ISwitchPlugin
            @implementer(ISwitchPlugin)
            class Lazy:
                name = "x"
                def load(self): ...
            lazy = Lazy()
            """,
            "Lazy has failed to implement interface switchd.interfaces.ISwitchPlugin: "
            "The switchd.interfaces.ISwitchPlugin.tokens attribute was not provided.",
            id="no attribute",
        ),
        pytest.param(
            """
            from zope.interface import implementer
            from switchd.interfaces import ISwitchPlugin
            @implementer(ISwitchPlugin)
            class Lazy:
                tokens = (b"x",)
                def load(self): ...
                @property
                def name(self):
                    raise RuntimeError("no name today")
            lazy = Lazy()
            """,
            "RuntimeError: no name today",
            id="an attribute that raises",
        ),
    ],
)
def test_a_broken_file_is_listed_with_its_reason_in_one_line_and_harms_no_other(
    write: Write, text: str, error: str
) -> None:
    write("echo", ECHO)
    file = write("broken", text)
    assert found().broken == (BrokenFile(str(file), error),)
    assert names(found()) == [("echo", "echo.py")]


def test_control_c_in_a_plugin_file_is_obeyed(write: Write) -> None:
    write("broken", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        found()


def test_a_file_that_has_been_mended_is_found(write: Write) -> None:
    write("echo", "raise RuntimeError")
    assert len(found().broken) == 1
    write("echo", ECHO)
    assert (names(found()), found().broken) == ([("echo", "echo.py")], ())


# Binding


def test_each_table_becomes_an_entry_in_the_order_of_the_file(write: Write) -> None:
    write("echo", ECHO)
    write("it", PLUGIN.format(load="return NoOptions, ASwitch"))
    entries, mistakes = bind(
        [Switch("/b", "it", require=True), Switch("/a", "echo", close=True)], found(), REACTOR, FOLDER
    )
    assert mistakes == ()
    assert [(each.path, each.name, each.tokens, each.require, each.close) for each in entries] == [
        ("/b", "it", (b"it", b"It/2"), True, False),
        ("/a", "echo", (b"echo",), False, True),
    ]
    assert verifyObject(ISwitch, entries[0].switch)


def test_a_switch_gets_its_options_and_its_surroundings(write: Write) -> None:
    load = "return frozen(type('O', (), {'__annotations__': {'size': int}})), ASwitch"
    write("it", PLUGIN.format(load=load))
    entries, _ = bind([switch("it", size=5)], found(), REACTOR, FOLDER)
    made = entries[0].switch
    options, context = made.options, made.context  # type: ignore[attr-defined]
    assert options.size == 5
    assert (context.reactor, context.path, context.folder) == (REACTOR, "/path", FOLDER)


def test_a_protocol_class_is_built_for_an_offer_of_its_token(write: Write) -> None:
    write("echo", ECHO)
    entries, _ = bind([switch("echo")], found(), REACTOR, FOLDER)
    request = Request(b"GET", b"/", b"/", (), b"", "upgrade", None, None, False, "1")  # type: ignore[arg-type]
    answer = entries[0].switch.offer(request, Offer(b"ECHO"))
    assert isinstance(answer, Accept)


def test_a_plugin_is_not_loaded_unless_a_table_names_it(write: Write) -> None:
    write("echo", ECHO)
    write("it", PLUGIN.format(load="raise AssertionError"))
    assert bound(switch("echo")) == []


def test_a_table_whose_protocol_could_not_be_read_is_passed_over(write: Write) -> None:
    assert bind([switch("")], found(), REACTOR, FOLDER) == ((), ())


def test_a_name_that_nobody_has(write: Write) -> None:
    assert bound(switch("echo")) == [
        'switch[0].protocol: no plugin is called "echo"; there is none to expect',
    ]
    write("echo", ECHO)
    write("it", PLUGIN.format(load=""" return 1 """))
    assert bound(switch("ecko"), switch("web", "switch[1]")) == [
        'switch[0].protocol: no plugin is called "ecko"; did you mean "echo"?',
        'switch[1].protocol: no plugin is called "web"; expected echo, it',
    ]


def test_a_name_that_a_broken_file_may_declare(write: Write) -> None:
    write("other", "raise RuntimeError")
    file = write("switchd_my_echo", "import no_such_module")
    assert bound(switch("my-Echo")) == [
        f'switch[0].protocol: no plugin is called "my-Echo"; {file} may be its file, but is broken: '
        "ModuleNotFoundError: No module named 'no_such_module'"
    ]


def test_a_name_that_two_files_claim(write: Write) -> None:
    one, two = write("a", ECHO), write("b", ECHO)
    assert bound(switch("echo")) == [
        f'switch[0].protocol: "echo" is claimed 2 times, by {one} and {two}; remove one',
    ]


@pytest.mark.parametrize(
    ("load", "error"),
    [
        pytest.param("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'", id="import"),
        pytest.param("raise SystemExit(2)", "SystemExit: 2", id="exit"),
        pytest.param("return 5", "its load() does not return an attrs class of options and a callable", id="number"),
        pytest.param(
            "return NoOptions(), ASwitch",
            "its load() does not return an attrs class of options and a callable",
            id="instance",
        ),
        pytest.param(
            "return dict, ASwitch",
            "its load() does not return an attrs class of options and a callable",
            id="no attrs class",
        ),
        pytest.param(
            "return NoOptions, 5",
            "its load() does not return an attrs class of options and a callable",
            id="no callable",
        ),
        pytest.param(
            "return frozen(type('O', (), {'__annotations__': {'a': int, 'close': int}})), ASwitch",
            "its option close has the name of a key of switchd's own",
            id="reserved",
        ),
        pytest.param(
            "return frozen(type('O', (), {'__annotations__': {'a': complex}})), ASwitch",
            "TypeError: <class 'complex'> is not a type that a configuration can hold",
            id="unreadable",
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named_by_its_file(write: Write, load: str, error: str) -> None:
    file = write("it", PLUGIN.format(load=load))
    assert bound(switch("it")) == [f"switch[0].protocol: {file} cannot be used: {error}"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param("lambda options, context: 1 / 0", "ZeroDivisionError: division by zero", id="raises"),
        pytest.param(
            "lambda: None",
            "TypeError: Plugin.load.<locals>.<lambda>() takes 0 positional arguments but 2 were given",
            id="arguments",
        ),
        pytest.param("lambda options, context: exit('why')", "SystemExit: why", id="exit"),
        pytest.param(
            "lambda options, context: 5",
            "int has failed to implement interface switchd.interfaces.ISwitch: Does not declaratively implement the "
            "interface The switchd.interfaces.ISwitch.offer(request, offer) attribute was not provided",
            id="no switch",
        ),
    ],
)
def test_a_switch_that_cannot_be_made_is_named_by_its_file(write: Write, make: str, error: str) -> None:
    file = write("it", PLUGIN.format(load=f"return NoOptions, {make}"))
    assert bound(switch("it")) == [f"switch[0]: {file} does not make a switch of this: {error}"]


def test_wrong_options_are_named_by_their_keys(write: Write) -> None:
    load = "return frozen(type('O', (), {'__annotations__': {'size': Annotated[int, Range(1, 9, 'apples')]}})), ASwitch"
    write("it", PLUGIN.format(load=load))
    assert bound(
        switch("it", size=10, sise=1), switch("it", "switch[1]"), switch("it", "switch[2]", size=1, requre=True)
    ) == [
        "switch[0].size: expected a whole number of apples from 1 to 9, got 10",
        'switch[0].sise: unknown key; did you mean "size"?',
        "switch[1].size: missing; expected a whole number of apples from 1 to 9",
        'switch[2].requre: unknown key; did you mean "require"?',
    ]


def test_what_a_switch_finds_wrong_with_its_options_is_named_by_their_keys(write: Write) -> None:
    text = """
        from attrs import frozen
        from switchd.errors import Mistake, UnusableOptions
        from switchd.interfaces import ISwitch, NoOptions, SwitchPlugin
        from zope.interface import implementer

        @implementer(ISwitch)
        class Picky:
            Options = NoOptions
            def __init__(self, options, context):
                raise UnusableOptions(Mistake("file", "is empty"), Mistake("other", "is full"))
            def offer(self, request, offer): ...

        picky = SwitchPlugin("picky", b"picky", f"{__name__}:Picky")
        """
    write("a", text)
    assert bound(switch("picky", "switch[3]")) == ["switch[3].file: is empty", "switch[3].other: is full"]


CLAIMS = """
    from switchd.interfaces import SwitchPlugin
    one = SwitchPlugin("one", (b"a", b"Shared/1"), "twisted.protocols.wire:Echo")
    two = SwitchPlugin("two", (b"b",), "twisted.protocols.wire:Echo", also=(b"shared/1",))
    three = SwitchPlugin("three", (b"shared/2",), "twisted.protocols.wire:Echo")
    four = SwitchPlugin("four", (b"Shared",), "twisted.protocols.wire:Echo")
"""


@pytest.mark.parametrize(
    ("tables", "mistakes"),
    [
        pytest.param(
            [("/", "one"), ("/", "two")],
            [
                'switch[1].protocol: "two" claims the token "shared/1", and "one" of switch[0] on the same path claims'
                ' "Shared/1"'
            ],
            id="two plugins",
        ),
        pytest.param(
            [("/a", "two"), ("/a/", "one")],
            [
                'switch[1].protocol: "one" claims the token "Shared/1", and "two" of switch[0] on the same path claims'
                ' "shared/1"'
            ],
            id="the same path in other words",
        ),
        pytest.param([("/", "one"), ("/a", "two")], [], id="two paths"),
        pytest.param([("/", "one"), ("/", "one")], [], id="one plugin twice"),
        pytest.param([("/", "one"), ("/", "three")], [], id="another version"),
        pytest.param(
            [("/", "one"), ("/", "three"), ("/", "four")],
            [
                'switch[2].protocol: "four" claims the token "Shared", and "one" of switch[0] on the same path claims'
                ' "Shared/1"'
            ],
            id="every version, behind some",
        ),
        pytest.param(
            [("/", "four"), ("/", "one"), ("/", "three")],
            [
                'switch[1].protocol: "one" claims the token "Shared/1", and "four" of switch[0] on the same path claims'
                ' "Shared"',
                'switch[2].protocol: "three" claims the token "shared/2", and "four" of switch[0] on the same path'
                ' claims "Shared"',
            ],
            id="every version, before some",
        ),
        pytest.param([("/", "four"), ("/", "four")], [], id="every version twice"),
    ],
)
def test_a_token_is_claimed_by_one_plugin_on_a_path(
    write: Write, tables: list[tuple[str, str]], mistakes: list[str]
) -> None:
    write("a", CLAIMS)
    switches = [Switch(path, name, key=f"switch[{index}]") for index, (path, name) in enumerate(tables)]
    entries, found_wrong = bind(switches, found(), REACTOR, FOLDER)
    assert [f"{mistake.key}: {mistake.problem}" for mistake in found_wrong] == mistakes
    assert len(entries) == len(tables)


@pytest.mark.parametrize(
    ("also", "error"),
    [
        ('"x"', 'the further tokens of "it" must be a tuple; this is "x"'),
        ('("x",)', """the tokens of "it" must be bytes, each a protocol; this is 'x'"""),
        ('(b"a b",)', """the tokens of "it" must be bytes, each a protocol; this is b'a b'"""),
    ],
)
def test_further_tokens_must_be_tokens_too(write: Write, also: str, error: str) -> None:
    write("a", f'from switchd.interfaces import SwitchPlugin\nit = SwitchPlugin("it", b"it", "nowhere:It", {also})')
    (broken,) = found().broken
    assert broken.error == error


def test_everything_wrong_is_reported_at_once_and_the_rest_is_made(write: Write) -> None:
    write("echo", ECHO)
    entries, mistakes = bind(
        [switch("no"), switch("echo", "switch[1]"), switch("echo", "switch[2]", loud=True)], found(), REACTOR, FOLDER
    )
    assert [mistake.key for mistake in mistakes] == ["switch[0].protocol", "switch[2].loud"]
    assert [entry.name for entry in entries] == ["echo"]
