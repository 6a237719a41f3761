"""README.md and pages of docs/: everything that they show is typed, and prints what they say."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.e2e import documents
from tests.e2e.conftest import need
from tests.e2e.documents import Block, Command, Installation, Terminal
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

README = documents.sections("README.md")
CLIENT = documents.sections("docs/client.md")
HANDOVER = documents.sections("docs/handover.md")
PAGES = (
    "README.md",
    "docs/README.md",
    "docs/budgets.md",
    "docs/client.md",
    "docs/console.md",
    "docs/handover.md",
    "docs/metrics.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/plugins.md",
    "docs/soak.md",
    "docs/tls.md",
    "docs/websocket.md",
)

LISTENING = "... listening on tcp 127.0.0.1:8080"
SERVER = Command("twistd -n switchd", ("...", LISTENING))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return documents.installed(tmp_path_factory.getbasetemp())


@pytest.fixture
def terminal(installation: Installation, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, installation.programs)
    yield terminal
    terminal.close()


@pytest.fixture(scope="module")
def port(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server is that the README has its reader start first."""
    terminal = Terminal(tmp_path_factory.mktemp("server"), installation.programs)
    terminal.start(SERVER)
    yield terminal.port
    terminal.close()


@pytest.fixture
def do(terminal: Terminal, request: pytest.FixtureRequest) -> Callable[[tuple[Block, ...]], None]:
    """Does what fences say, with the clients that they need."""

    def work(blocks: tuple[Block, ...]) -> None:
        for client in documents.needed(blocks):
            if client == "wscat":
                terminal.more_programs = request.getfixturevalue("node_modules") / ".bin"
            else:
                need(client)
        for block in blocks:
            terminal.do(block)

    return work


@pytest.mark.parametrize("section", README)
def test_the_readme_is_true(section: str, installation: Installation, terminal: Terminal, port: str, do: Any) -> None:
    terminal.folder = installation.clone
    terminal.port = port
    do(README[section])


@pytest.mark.parametrize("section", CLIENT)
def test_the_page_on_the_client_is_true(section: str, terminal: Terminal, port: str, do: Any) -> None:
    terminal.port = port
    do(CLIENT[section])


@pytest.mark.parametrize("section", HANDOVER)
def test_the_page_on_the_switch_alone_is_true(section: str, do: Any) -> None:
    do(HANDOVER[section])


@pytest.mark.parametrize("page", ["docs/console.md", "docs/metrics.md", "docs/tls.md", "docs/websocket.md"])
def test_a_page_is_true(page: str, terminal: Terminal, do: Any) -> None:
    section = ""
    for block in documents.blocks(page):
        if block.section != section:
            terminal.close()
        section = block.section
        do((block,))


class TestWhatIsNotTyped:
    """What a page says and the tests do in another way."""

    def test_nothing_else_is_left_out(self) -> None:
        left_out = [
            command.text
            for page in PAGES
            for block in documents.blocks(page)
            if block.note == "not run"
            for command in block.commands
        ]
        assert left_out == [*documents.INSTALL, "make serve"]

    def test_make_serve_runs_the_server(self, installation: Installation) -> None:
        need("make")
        terminal = Terminal(installation.clone, installation.programs)
        *_, serve = terminal.run(f"make -n serve VENV={installation.programs.parent}").splitlines()
        assert serve.endswith(" --config conf/switchd.toml")
        server = terminal.start(Command(f"{serve} --listen tcp:8080:interface=127.0.0.1", SERVER.prints))
        # It says so before its reactor runs, and a signal that came now would not find its handler.
        with urlopen(f"http://127.0.0.1:{terminal.port}/") as answer:
            assert answer.status == 200
        # twistd stops in an orderly way, and then ends by the signal that it got.
        assert server.stop(signal.SIGTERM) == -signal.SIGTERM
        assert server.output.endswith("Server Shut Down.\n")

    def test_make_test_is_what_continuous_integration_runs(self) -> None:
        assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text("utf-8")

    @pytest.mark.parametrize("page", PAGES)
    def test_links_lead_somewhere(self, page: str) -> None:
        assert [target for target in documents.links(page) if not target.exists()] == []
