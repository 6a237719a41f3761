"""The reader of the documentation notices what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.documents import Block, Command, Terminal, parse, prints

PAGE = """\
# A page

## One

`folder/file.txt`, which has a line:

```
Port tcp:8080
```

```console
$ cat folder/file.txt
Port ...
```

### Below

<!-- exits with 3 -->
```console
$ echo ok
ok
$ exit 3
```

## Two

<!-- not run: it is dangerous -->
```console
$ cat \\
> nothing
```

```python
import nothing
```
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, Path("/usr/bin"))
    yield terminal
    terminal.close()


class TestReading:
    def test_a_fence_knows_its_section_and_what_is_said_before_it(self) -> None:
        assert [(each.section, each.line, each.file, each.note, each.reason) for each in parse(PAGE)] == [
            ("One", 7, "folder/file.txt", "", ""),
            ("One", 11, "", "", ""),
            ("One / Below", 19, "", "exits with", "3"),
            ("Two", 28, "", "not run", "it is dangerous"),
            ("Two", 33, "", "", ""),
        ]

    def test_commands_are_told_from_what_they_print(self) -> None:
        assert [each.commands for each in parse(PAGE)] == [
            (),
            (Command("cat folder/file.txt", ("Port ...",)),),
            (Command("echo ok", ("ok",)), Command("exit 3", ())),
            (Command("cat \\\nnothing", ()),),
            (),
        ]


class TestComparing:
    @pytest.mark.parametrize(
        ("expected", "output", "same"),
        [
            (["a", "b"], "a\nb\n", True),
            (["a", "b"], "a\nc\n", False),
            (["a"], "a\nb\n", False),
            (["a", "..."], "a\nb\nc\n", True),
            (["...", "b"], "b\n", True),
            (["...", "b"], "a\nb\nc\n", False),
            (["a ... c"], "a b c\n", True),
            (["a ... c"], "a b\nc\n", False),
            (["a+(b"], "a+(b\n", True),
        ],
    )
    def test_three_dots_stand_for_anything(self, expected: list[str], output: str, same: bool) -> None:
        assert bool(prints(expected).fullmatch(output)) is same

    def test_the_port_is_whatever_it_is_but_the_same_everywhere(self) -> None:
        pattern = prints(["http://127.0.0.1:8080/", "127.0.0.1 8080"])
        found = pattern.fullmatch("http://127.0.0.1:4711/\n127.0.0.1 4711\n")
        assert found is not None
        assert found["port"] == "4711"
        assert pattern.fullmatch("http://127.0.0.1:4711/\n127.0.0.1 4712\n") is None


@pytest.mark.e2e
class TestTyping:
    def test_a_page_that_is_true_passes(self, terminal: Terminal) -> None:
        for block in parse(PAGE):
            terminal.do(block)
        assert (terminal.folder / "folder" / "file.txt").read_text() == "Port tcp:0\n"

    @pytest.mark.parametrize(
        "console",
        [
            pytest.param("$ echo 42\n43\n", id="another-output"),
            pytest.param("$ false\n", id="a-failure"),
            pytest.param("$ no-such-program\n", id="no-such-command"),
        ],
    )
    def test_a_page_that_is_not_true_fails(self, console: str, terminal: Terminal) -> None:
        with pytest.raises(AssertionError):
            terminal.do(Block("", 1, "console", console))

    def test_a_folder_that_is_entered_is_where_the_next_command_is_typed(
        self, terminal: Terminal, tmp_path: Path
    ) -> None:
        terminal.do(Block("", 1, "console", f"$ mkdir inner && cd inner\n$ pwd\n{tmp_path}/inner\n"))

    def test_a_server_is_waited_for_and_its_port_put_in_place(self, terminal: Terminal) -> None:
        server = terminal.start(Command("echo on 127.0.0.1:4711; sleep 60", ("on 127.0.0.1:8080",)))
        terminal.do(Block("", 1, "console", "$ echo 127.0.0.1 8080\n127.0.0.1 4711\n$ echo 8080\n8080\n"))
        terminal.close()
        assert server.output == "on 127.0.0.1:4711\n"

    def test_a_server_that_does_not_start_fails(self, terminal: Terminal) -> None:
        with pytest.raises(AssertionError, match="no can do"):
            terminal.start(Command("echo no can do", ("on 127.0.0.1:8080",)))
