"""The Dockerfile, as far as that goes without Docker: its steps, done in a folder, and what it starts, as process 1."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import pytest
from attrs import frozen

from tests.e2e.conftest import SECONDS, Server, need, run
from tests.e2e.processes import ROOT, copy_checkout

pytestmark = pytest.mark.e2e

PREFIX = "/opt/switchd"
CONFIGURED = "/etc/switchd/switchd.toml"


@frozen
class Instruction:
    """One of the Dockerfile."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        """Of the exec form; a shell, which would keep signals to itself, has no part in it."""
        words: list[str] = json.loads(self.rest)
        return words


def instructions() -> list[Instruction]:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [Instruction(*line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def only(name: str) -> Instruction:
    (found,) = (each for each in instructions() if each.name == name)
    return found


def copied() -> list[tuple[list[str], str]]:
    """What is copied from the checkout, and where to."""
    words = [shlex.split(each.rest) for each in instructions() if each.name == "COPY"]
    return [(sources, target) for *sources, target in words if not sources[0].startswith("--from=")]


class TestFile:
    def test_knows_only_these_instructions(self) -> None:
        started = {"USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
        assert {each.name for each in instructions()} == {"FROM", "WORKDIR", "COPY", "RUN", "ENV", *started}

    def test_stands_on_a_base_with_a_version(self) -> None:
        assert {each.rest.removesuffix(" AS build") for each in instructions() if each.name == "FROM"} == {
            "python:3.11-slim-bookworm"
        }

    def test_is_not_roots(self) -> None:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", only("USER").rest)

    def test_ends_by_the_signal_that_drains(self) -> None:
        assert only("STOPSIGNAL").rest == "SIGTERM"

    @pytest.mark.parametrize("source", [source for sources, _ in copied() for source in sources])
    def test_what_it_copies_is_there_and_not_ignored(self, source: str) -> None:
        assert (ROOT / source).exists()
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        kept = [line[1:] for line in lines if line.startswith("!")]
        assert any(fnmatch(source.split("/")[0], pattern) for pattern in kept)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the steps of the Dockerfile have been done."""
    folder, checkout = tmp_path_factory.mktemp("image"), tmp_path_factory.mktemp("checkout")
    copy_checkout(checkout)
    source = folder / "source"
    source.mkdir()
    for sources, target in copied():
        into = source if target == "./" else folder / target.lstrip("/") if target.startswith("/") else source / target
        into.parent.mkdir(parents=True, exist_ok=True)
        for name in sources:
            if (checkout / name).is_dir():
                shutil.copytree(checkout / name, into, symlinks=True)
            else:
                shutil.copy(checkout / name, into)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    for each in instructions():
        if each.name == "RUN":
            command = each.rest.replace(PREFIX, str(folder / PREFIX.lstrip("/")))
            done = subprocess.run(
                command, shell=True, cwd=source, env={"PATH": path}, capture_output=True, text=True, timeout=5 * SECONDS
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return folder


@contextmanager
def container(image: Path) -> Iterator[Server]:
    """What the image starts, as process 1 of a namespace of its own, on any ports."""
    configuration = image / CONFIGURED.lstrip("/")
    text = (ROOT / "conf" / "docker.toml").read_text()
    configuration.write_text(re.sub(r'"tcp:\d+', '"tcp:0', text))
    programs = image / PREFIX.lstrip("/") / "bin"
    program, *options = only("ENTRYPOINT").words
    assert options == ["--reactor", "switchd", "-n", "--pidfile=", "switchd"]  # what Server starts
    arguments = [str(configuration) if word == CONFIGURED else word for word in only("CMD").words]
    server = Server(
        image,
        *arguments,
        reactor="switchd",
        program=programs / program,
        before=[need("unshare"), "--user", "--map-root-user", "--pid", "--fork", "--kill-child"],
    )
    try:
        yield server
    finally:
        server.kill()


def test_who_runs_it_writes_nothing_beside_the_program(image: Path) -> None:
    folders = list((image / PREFIX.lstrip("/")).glob("lib/*/site-packages/twisted/plugins"))
    assert [(folder / "dropin.cache").exists() for folder in folders] == [True]


def test_it_is_healthy_as_process_1_and_drains(image: Path) -> None:
    with container(image) as server:
        private = server.wait_for(r"told on tcp 127\.0\.0\.1:(\d+)")[1]
        _, check = only("HEALTHCHECK").rest.split(" CMD ")
        python, flag, code = json.loads(check)
        assert python == "python"
        proxies = {"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}  # as Docker may set for all containers
        program = image / PREFIX.lstrip("/") / "bin" / python
        run(program, flag, code.replace("9180", private), environment=proxies)
        os.kill(server.child, signal.SIGTERM)
        assert server.end() == 0
        assert "drained in" in server.log
        assert "Server Shut Down" in server.log
        assert "Traceback" not in server.log
