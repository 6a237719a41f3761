"""docs/plugins.md: done word by word, in a fresh folder and an environment that has only switchd."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import documents
from tests.e2e.conftest import need
from tests.e2e.documents import Terminal

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


@pytest.fixture
def unpackaged(terminal: Terminal) -> Terminal:
    """Where the page's reader is before he installs."""
    for block in PAGE:
        if block.section.endswith("/ The packaging") and block.commands:
            break
        terminal.do(block)
    return terminal


PYPROJECT = """
[project]
name = "switchd-reverse"
version = "1.0"
dependencies = ["switchd"]

[tool.setuptools]
package-dir = {"" = "."}
packages = ["reverse", "twisted.plugins"]
"""


class TestOtherWaysOfPackaging:
    """What the page says of them."""

    def test_without_package_dir_the_plugin_is_not_found(self, unpackaged: Terminal) -> None:
        """If setuptools learns better, the page can be shorter."""
        setup = unpackaged.folder / "setup.cfg"
        setup.write_text(setup.read_text("utf-8").replace("package_dir =\n    = .\n", ""), "utf-8")
        unpackaged.run("pip install -q -e .")
        assert "reverse" not in unpackaged.run("cd / && switchd protocols")
        assert unpackaged.run("python -c 'import reverse'") == ""

    def test_with_everything_in_pyproject_it_is_found(self, unpackaged: Terminal) -> None:
        (unpackaged.folder / "setup.cfg").unlink()
        pyproject = unpackaged.folder / "pyproject.toml"
        pyproject.write_text(pyproject.read_text("utf-8") + PYPROJECT, "utf-8")
        unpackaged.run("pip install -q -e .")
        assert "reverse\n    tokens: reverse\n" in unpackaged.run("cd / && switchd protocols")

    def test_an_ordinary_install_has_it_too(self, unpackaged: Terminal) -> None:
        unpackaged.run("pip install -q .")
        assert "reverse\n    tokens: reverse\n" in unpackaged.run("cd / && switchd protocols")
