"""docs/plugins.md: done word by word, in a fresh folder and an environment that has only switchd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import documents
from tests.e2e.documents import Terminal, need

pytestmark = pytest.mark.e2e

PAGE = documents.blocks("docs/plugins.md")


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Terminal]:
    installation = documents.installed(tmp_path_factory.getbasetemp())
    terminal = Terminal(tmp_path, installation.programs)
    yield terminal
    terminal.close()
    # The environment is shared, and the README's reader has not read this page.
    Terminal(tmp_path, installation.programs).run("pip uninstall -q -y switchd-reverse")


def test_who_does_what_the_page_says_has_two_plugins_that_work(terminal: Terminal) -> None:
    for client in documents.needed(PAGE):
        need(client)
    for block in PAGE:
        terminal.do(block)


def test_without_package_dir_an_editable_install_hides_the_plugin(terminal: Terminal) -> None:
    """The page says so; if setuptools learns better, the page can be shorter."""
    for block in PAGE:
        if block.section.endswith("/ The packaging") and block.commands:
            break
        terminal.do(block)
    setup = terminal.folder / "setup.cfg"
    setup.write_text(setup.read_text("utf-8").replace("package_dir =\n    = .\n", ""), "utf-8")
    terminal.run("pip install -q -e .")
    assert "reverse" not in terminal.run("cd / && switchd protocols")
    assert terminal.run("python -c 'import reverse'") == ""
