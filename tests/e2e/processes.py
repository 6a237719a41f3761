"""What tests with processes share: their output, and copies of the checkout to install from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import IO

ROOT = Path(__file__).parents[2]


class Output:
    """What a process prints. A thread reads it, so that waiting for a line can have an end and the pipe never fills up.

    Args:
        stream: The pipe, as text; it is closed at its end.

    Attributes:
        text: As far as it has been taken.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None, "the process has no pipe"
        self.text = ""
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._reader = Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put("")

    def line(self, end: float) -> str:
        """The next line; empty if the output is over, or if there is none until `monotonic()` is `end`."""
        try:
            line = self._lines.get(timeout=max(0.0, end - monotonic()))
        except Empty:
            return ""
        self.text += line
        return line

    def take_rest(self, seconds: float) -> None:
        """Take what is left, of a process that has ended."""
        self._reader.join(seconds)
        while not self._lines.empty():
            self.text += self._lines.get()


def copy_checkout(folder: Path) -> None:
    """Copy the project's files: building leaves things behind, which would be taken up by the next build."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
