"""Do what a page of the documentation says: write its files, type its commands, compare what they print.

In a page,

- a fence after a line such as "`folder/name.py`:" is a file, to be written;
- a fence marked `console` holds commands, on lines that begin with "$ ", each followed by what it prints: "..." alone
  on a line stands for any lines, within a line for anything. With nothing behind a command its output does not count;
- any other fence is only to be read.

The exit status of a command has to be 0. A HTML comment before a fence says otherwise, for people and for us:

    <!-- exits with 1 -->               the last command does
    <!-- background: the reason -->     it does not end by itself: it runs until the end of the section
    <!-- not run: the reason -->        the test has to do the same in another way

The pages say port 8080 of 127.0.0.1. Here every server has a port of its own, put in its place.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from time import monotonic

from attrs import define, field, frozen

from tests.e2e.processes import ROOT, Output, copy_checkout

SECONDS = 300
"""How long a command may take: one that installs packages waits for the network."""

LISTENING_SECONDS = 60
"""How long a server may take until it listens."""

STOPPING_SECONDS = 30
"""How long a server may take to stop: more than `shutdown_seconds`."""

CLIENTS = ("curl", "make", "nc", "node", "openssl", "wscat")
"""Programs that a page uses and that do not come with Python or switchd."""

_OURS = ("PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS")
"""How the variables begin that are there for the tests and that no reader has."""

_FENCE = re.compile(r"```(\w*)")
_FILE = re.compile(r"`([\w./-]+)`.*:")
_COMMENT = re.compile(r"<!-- (not run|background|exits with):? (.+) -->")
_ADDRESS = re.compile(r"127\.0\.0\.1(\\?:| )8080")


@frozen
class Command:
    """What to type, and the lines that it prints."""

    text: str
    prints: tuple[str, ...]


@frozen
class Block:
    """A fence.

    Attributes:
        section: The titles above it, from the second level on: "Switch a connection / From Node".
        line: Its line in the page, counted from 1.
        language: What stands behind the fence's ticks.
        text: Its content.
        file: The name of the file that it is; empty if it is none.
        note: The comment before it: "not run", "background", "exits with"; or empty.
        reason: What the comment says further.
    """

    section: str
    line: int
    language: str
    text: str
    file: str = ""
    note: str = ""
    reason: str = ""

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands in it."""
        if self.language != "console":
            return ()
        typed = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        assert typed.pop(0) == "", f"line {self.line}: a console begins with a command"
        return tuple(_command(each) for each in typed)


def _command(text: str) -> Command:
    first, *lines = text.splitlines()
    while lines and lines[0].startswith("> "):
        first += "\n" + lines.pop(0)[2:]
    return Command(first, tuple(lines))


def blocks(page: str) -> tuple[Block, ...]:
    """The fences of a page of ours, in order."""
    return parse((ROOT / page).read_text("utf-8"))


def parse(text: str) -> tuple[Block, ...]:
    """The fences of a page, in order."""
    return tuple(_blocks(text.splitlines()))


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    titles: list[str] = []
    before = ""  # the last line that was not blank
    rest = iter(enumerate(lines, 1))
    for number, line in rest:
        fence = _FENCE.fullmatch(line)
        title = re.fullmatch(r"(##+) (.*)", line)
        if fence:
            content = []
            for _, inner in rest:
                if inner == "```":
                    break
                content.append(inner + "\n")
            file, comment = _FILE.fullmatch(before), _COMMENT.fullmatch(before)
            yield Block(
                section=" / ".join(titles),
                line=number,
                language=fence[1],
                text="".join(content),
                file=file[1] if file else "",
                note=comment[1] if comment else "",
                reason=comment[2] if comment else "",
            )
            before = ""
        elif title:
            titles[len(title[1]) - 2 :] = [title[2]]
        elif line.strip():
            before = line


def sections(page: str) -> dict[str, tuple[Block, ...]]:
    """The fences by section, without sections that leave nothing to do."""
    found: dict[str, tuple[Block, ...]] = {}
    for block in blocks(page):
        if block.file or block.commands:
            found[block.section] = (*found.get(block.section, ()), block)
    return found


def links(page: str) -> tuple[Path, ...]:
    """The files that a page links to."""
    text = (ROOT / page).read_text("utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    return tuple((ROOT / page).parent / target for target in targets if "://" not in target)


def needed(some: Sequence[Block]) -> tuple[str, ...]:
    """Which of `CLIENTS` the commands use."""
    text = "\n".join(command.text for block in some for command in block.commands if block.note != "not run")
    return tuple(client for client in CLIENTS if re.search(rf"(^|\| |&& ){client} ", text, re.MULTILINE))


def prints(expected: Sequence[str]) -> re.Pattern[str]:
    """What an output has to look like; a group `port` holds the port wherever the page says 127.0.0.1:8080."""
    pattern = ""
    for line in expected:
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            shown = ".*".join(map(re.escape, line.split("...")))
            # Once named, the others have to be the same.
            port = r"(?P=port)" if "(?P<port>" in pattern else r"(?P<port>\\d+)"
            pattern += re.sub(r"127\\\.0\\\.0\\\.1(:|\\ )8080", rf"127\\.0\\.0\\.1\1{port}", shown) + r"\n"
    return re.compile(pattern)


@frozen
class Installation:
    """Switchd in an environment of its own, installed from a copy of the checkout.

    Attributes:
        clone: The copy.
        programs: The folder with `switchd`, `twistd` and `python`.
    """

    clone: Path
    programs: Path


INSTALL = ("python3 -m venv venv", ". venv/bin/activate", "pip install .")
"""How a reader installs switchd in a clone."""


@cache
def installed(folder: Path) -> Installation:
    """Install switchd as a reader does, somewhere in `folder`. Once for all pages, as it takes a while."""
    clone = folder / "installed" / "switchd"
    copy_checkout(clone)
    # The interpreter that runs the tests, whatever else there is on the machine.
    typed = Terminal(clone, Path(sys.executable).parent)
    typed.run(" && ".join(INSTALL))
    return Installation(clone, clone / "venv" / "bin")


@define(eq=False)
class Terminal:
    """Somebody who types what a page says.

    Attributes:
        folder: Where he is.
        programs: The folder with the programs of the virtual environment that is active.
        port: The port of the server that he started last.
        more_programs: A folder with programs that he has installed besides; None if there is none.
    """

    folder: Path
    programs: Path
    port: str = ""
    more_programs: Path | None = None
    _running: list[_Background] = field(factory=list, init=False)

    def do(self, block: Block) -> None:
        """Do what a fence says."""
        if block.file:
            file = self.folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._ours(block.text), "utf-8")
        elif block.note == "background":
            (command,) = block.commands
            self.start(command)
        elif block.note != "not run":
            last = len(block.commands) - 1
            for index, command in enumerate(block.commands):
                self.type(command, int(block.reason) if block.note and index == last else 0)

    def type(self, command: Command, status: int = 0) -> None:
        """Type a command, wait for its end, and compare."""
        output = self.run(self._ours(command.text), status)
        expected = [self._ours(line) for line in command.prints]
        if expected and not prints(expected).fullmatch(_ended(output)):
            raise AssertionError(f"$ {command.text}\nshould print\n\n{_ended(expected)}\nand prints\n\n{output}")

    def run(self, command: str, status: int = 0) -> str:
        """What a command prints, error messages included."""
        reader, writer = os.pipe()
        keyboard, nobody = os.pipe()  # no input, and no end of it: a client that sees one leaves
        try:
            done = subprocess.run(
                ["bash", "-c", f"{command}\nstatus=$?\npwd >&{writer}\nexit $status"],
                cwd=self.folder,
                env=self._environment(),
                stdin=keyboard,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=SECONDS,
                pass_fds=(writer,),
            )
        finally:
            for descriptor in (writer, keyboard, nobody):
                os.close(descriptor)
            with open(reader, encoding="utf-8") as where:
                folder = where.read().rstrip("\n")
        assert done.returncode == status, f"$ {command}\nexits with {done.returncode} and prints\n\n{done.stdout}"
        if folder:  # not after `exit`
            self.folder = Path(folder)
        return done.stdout

    def start(self, command: Command) -> _Background:
        """Type a command that does not end, and wait for what it prints: the last line says where it listens."""
        server = _Background(self._on_any_port(command.text), self.folder, self._environment())
        self._running.append(server)
        self.port = server.wait_for(prints([*command.prints, "..."]))
        if "switchd" in command.text:
            # The log says so before the reactor runs; Ctrl-C that came now could be lost.
            with socket.create_connection(("127.0.0.1", int(self.port)), timeout=LISTENING_SECONDS) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                connection.recv(1)
        return server

    def close(self) -> None:
        """Press Ctrl-C wherever something runs."""
        while self._running:
            self._running.pop().stop(signal.SIGINT)

    def _on_any_port(self, command: str) -> str:
        if "tcp:8080" not in command and "twistd" in command and "--config" not in command:
            command += " --listen tcp:8080:interface=127.0.0.1"
        return self._ours(command)

    def _ours(self, text: str) -> str:
        """The text with the port of our own server."""
        text = text.replace("tcp:8080", "tcp:0")
        return _ADDRESS.sub(rf"127.0.0.1\g<1>{self.port}", text) if self.port else text

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        folders = [self.programs, self.more_programs, os.environ["PATH"]]
        return {**inherited, "PATH": os.pathsep.join(str(folder) for folder in folders if folder)}


class _Background:
    """A program that runs until it is stopped."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self._command = command
        # A group of its own: there may be a shell between us and the server.
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
        )
        self._output = Output(self._process.stdout)

    @property
    def output(self) -> str:
        """What it has printed, as far as it has been read."""
        return self._output.text

    def wait_for(self, pattern: re.Pattern[str]) -> str:
        """Wait until the output looks like that; the port in it."""
        end = monotonic() + LISTENING_SECONDS
        while True:
            found = pattern.fullmatch(self.output)
            if found:
                return found["port"]
            if not self._output.line(end):
                self.stop(signal.SIGKILL)
                raise AssertionError(f"$ {self._command}\nprints\n\n{self.output}\nand not\n\n{pattern.pattern}")

    def stop(self, number: signal.Signals) -> int:
        """Send a signal, and wait for the end; the exit status."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)
        try:
            return self._process.wait(STOPPING_SECONDS)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            self._output.take_rest(STOPPING_SECONDS)


def _ended(text: str | Sequence[str]) -> str:
    """With an end to its last line, and no blank lines behind it: nobody sees those."""
    whole = text if isinstance(text, str) else "\n".join(text)
    return whole.rstrip("\n") + "\n"
