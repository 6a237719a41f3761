"""Installed in any of the ways that there are, `twistd switchd` and `switchd` work in any folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import need
from tests.e2e.processes import ROOT, copy_checkout

pytestmark = pytest.mark.e2e

REFERENCE = (ROOT / "conf" / "switchd.toml").read_bytes()


def run(*command: str | Path, cwd: Path) -> str:
    # What the tests themselves run in must not shine through.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's files."""
    folder = tmp_path_factory.mktemp("source")
    need("git")
    copy_checkout(folder)
    return folder


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What there is to install, by the kind of it. The wheel is built from the sdist."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--outdir", folder, source, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel, "editable": source}


def test_the_wheel_has_the_text_of_the_reference_configuration(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert wheel.read("switchd/default.toml") == REFERENCE


def test_the_wheel_has_the_pages(built: dict[str, Path]) -> None:
    there = {
        f"switchd/{folder}/{file.name}"
        for folder in ("console", "pages")
        for file in (ROOT / "switchd" / folder).iterdir()
        if file.suffix in (".html", ".css", ".js")
    }
    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert there <= set(wheel.namelist())


def test_the_sdist_has_all_that_the_tests_need(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        names = {name.partition("/")[2]: name for name in sdist.getnames()}
        default = sdist.extractfile(names["switchd/default.toml"])
        assert default is not None
        assert default.read() == REFERENCE
    assert names.keys() >= {
        ".ci/run",
        "LICENSE",
        "Makefile",
        "README.md",
        "benchmarks/client/main.c",
        "benchmarks/recorded.json",
        "conf/grafana-switchd.json",
        "conf/switchd.toml",
        "docs/dependencies.md",
        "tests/e2e/clients/package.json",
        "tests/lowest.py",
    }


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_installed_it_works_in_an_empty_folder(kind: str, built: dict[str, Path], tmp_path: Path) -> None:
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    # Nothing but Python in it; the pip that runs the tests' own environment installs into it, which is quicker.
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=empty)
    programs = environment / "bin"
    editable = ["--editable"] if kind == "editable" else []
    run(sys.executable, "-m", "pip", "--python", programs / "python", "install", *editable, built[kind], cwd=empty)

    plugins = [line.split()[0] for line in run(programs / "twistd", "--help", cwd=empty).splitlines() if line.strip()]
    assert "switchd" in plugins
    run(programs / "switchd", "--help", cwd=empty)
    assert "addone" in run(programs / "switchd", "protocols", cwd=empty).splitlines()
    assert list(empty.iterdir()) == []
