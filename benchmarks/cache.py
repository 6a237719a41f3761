"""Fetches and builds what the benchmark needs, into a folder of its own that git ignores.

Each need is prepared once. One that cannot be had here raises `Missing`, and everything else goes on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent

SECONDS = 600
"""How long a build or an installation may take."""

PYTHON_PACKAGES = {
    "picows": ("picows", "uvloop"),
    "aiohttp": ("aiohttp", "uvloop"),
    "uvicorn": ("uvicorn", "uvloop", "httptools", "websockets"),
    "granian": ("granian", "uvloop"),
    "hypercorn": ("hypercorn", "uvloop", "h2", "wsproto"),
}
NODE_PACKAGES = ("ws", "bufferutil")


class Missing(Exception):
    """Something that is needed cannot be had here; the sentence says what."""


class Cache:
    """The folder.

    Attributes:
        folder: Where it is.
        python: The interpreter of the environment in which Python's peers are installed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.python = self.folder / "python" / "bin" / "python"
        self._found: dict[str, Path | Missing] = {}

    def need(self, name: str) -> Path:
        """Prepare something, once.

        Args:
            name: "client", "h2load", "go", "node", "ws", or a key of `PYTHON_PACKAGES`.

        Returns:
            A program, or for "ws" the folder of Node's packages.

        Raises:
            Missing: It cannot be had.
        """
        if name not in self._found:
            try:
                self._found[name] = self._prepare(name)
            except Missing as missing:
                self._found[name] = missing
        found = self._found[name]
        if isinstance(found, Missing):
            raise found
        return found

    def versions(self) -> dict[str, str]:
        """What has been prepared, by name, with its version."""
        found: dict[str, str] = {}
        for name, path in self._found.items():
            if isinstance(path, Path) and name != "client":
                found |= self._version(name, path)
        return dict(sorted(found.items(), key=lambda item: item[0].lower()))

    def _prepare(self, name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        own: dict[str, Callable[[], Path]] = {"client": self._client, "go": self._go, "ws": self._ws}
        if name in own:
            return own[name]()
        if name in PYTHON_PACKAGES:
            return self._python(name)
        return Path(_program(name))

    def _client(self) -> Path:
        sources = sorted((HERE / "client").glob("*.c"))
        headers = (HERE / "client").glob("*.h")
        client = self.folder / "client"
        if _is_older(client, [*sources, *headers]):
            _run(_program("gcc"), "-O2", "-std=gnu11", "-o", client, *sources, "-lz")
        return client

    def _go(self) -> Path:
        server = self.folder / "go-server"
        source = HERE / "peers" / "server.go"
        if _is_older(server, [source]):
            _run(_program("go"), "build", "-o", server, source)
        return server

    def _ws(self) -> Path:
        folder = self.folder / "node"
        if not (folder / "node_modules" / "ws").exists():
            _run(_program("npm"), "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *NODE_PACKAGES)
        return folder / "node_modules"

    def _python(self, name: str) -> Path:
        stamp = self.folder / "python" / f".{name}"
        if not self.python.exists():
            _run(sys.executable, "-m", "venv", self.python.parent.parent)
        if not stamp.exists():
            pip = (self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
            _run(*pip, *PYTHON_PACKAGES[name])
            stamp.touch()
        return self.python

    def _version(self, name: str, path: Path) -> dict[str, str]:
        if name == "ws":
            package = json.loads((path / "ws" / "package.json").read_text("utf-8"))
            return {"ws": package["version"]}
        if name in PYTHON_PACKAGES:
            program = "import sys\nfrom importlib.metadata import version\nprint(*map(version, sys.argv[1:]))"
            numbers = _run(self.python, "-c", program, *PYTHON_PACKAGES[name]).split()
            return dict(zip(PYTHON_PACKAGES[name], numbers, strict=True))
        words = _run("go", "version").split() if name == "go" else _run(path, "--version").split()
        number = next((word for word in words if "." in word), "?")
        return {name: number.removeprefix("go").removeprefix("nghttp2/").removeprefix("v")}


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Missing(f"there is no {name} here")
    return path


def _is_older(made: Path, sources: Sequence[Path]) -> bool:
    return not made.exists() or made.stat().st_mtime < max(source.stat().st_mtime for source in sources)


def _run(*command: str | Path) -> str:
    try:
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Missing(f"{Path(command[0]).name} took more than {SECONDS} s") from None
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise Missing(f"{Path(command[0]).name} failed: {last}")
    return done.stdout
