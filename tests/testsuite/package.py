"""Fetches the suite and converts it to Python 3. Both are kept in a cache."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from fissix.refactor import RefactoringTool  # type: ignore[import-untyped]

REQUIREMENTS = Path(__file__).with_name("requirements.txt")

NAME = "autobahntestsuite"

BORDER = "tests.testsuite.border"

FIXERS = [f"fissix.fixes.fix_{name}" for name in ("has_key", "import", "print", "xrange")]
"""What there is of Python 2 that has not to do with bytes."""

Change = tuple[str, str]
"""What a regular expression matches, and what takes its place."""

EVERYWHERE: list[Change] = [
    # No order of methods could be found for these bases.
    (r"\(object, Case, \)", r"(Case, )"),
    (r"(?m)^(import .*)\bbinascii\b", rf"\1{BORDER} as binascii"),
    (r"(?m)^(import .*)\bpkg_resources\b", rf"\1{BORDER} as pkg_resources"),
    (r"from autobahn\.websocket\.utf8validator import", f"from {BORDER} import"),
    # A dot, in regular expressions; Python 3 warns of a backslash that escapes nothing.
    (r"'\\\.'", "'[.]'"),
    # autobahn has come to name these otherwise.
    (r"\b(accept|request)NoContextTakeover\b", r"\1_no_context_takeover"),
    (r"\b(accept|request)MaxWindowBits\b", r"\1_max_window_bits"),
]

ONCE: dict[str, list[Change]] = {
    # It is of no other use here, and would have files converted that serve other tools.
    "__init__.py": [(r"(?s)\A.*", 'version = "0.8.2"\n')],
    "caseset.py": [],
    "fuzzing.py": [
        # For reports in HTML, which nobody asks for.
        (r"(?m)^from report import (.*\\\n)*.*$", ""),
        (r"(?m)^(?=class FuzzingClientProtocol\()", f"from {BORDER} import WebSocketClientProtocol\n\n"),
        (r'print "Running test case .* self\.peer\)', "pass"),
        (r"p = ''\.join\(payload\)", "p = b''.join(payload)"),
        # The log: shortened, and text if it is text.
        (r"(?m)^def asciiLogData\(.*$", r"\g<0>\n   data = binascii.to_chars(data)"),
        (r"dd\.decode\('utf8', errors =", "binascii.to_bytes(dd).decode('utf8', errors ="),
    ],
    # A disabled case; something that it imports is gone.
    "case/__init__.py": [(r"(?m)^from case9_9_1 import \*$", "")],
    # Equal values need not be pickled alike.
    "case/case.py": [(r"pickle\.dumps\(obj1\) == pickle\.dumps\(obj2\)", "obj1 == obj2")],
    # The one division of the suite; it counts frames.
    "case/case10_1_1.py": [(r" / ", " // ")],
    # Written for bytes, as nothing else is.
    "case/case12_x_x.py": [(r"(?m)^def onMessage\(.*$", r"\g<0>\n   msg = binascii.to_bytes(msg)")],
}
"""What else is changed, by the file; `binascii` is ours there. Each of these matches once, or it is another file."""


def prepare(cache: Path) -> Path:
    """Make sure that the converted suite is in the cache.

    Args:
        cache: A folder. It is made if it is not there.

    Returns:
        The folder to import `autobahntestsuite` from.

    Raises:
        subprocess.CalledProcessError: pip could not fetch it, and has said why.
    """
    cache.mkdir(parents=True, exist_ok=True)
    fetched = cache / f"fetched-{_digest(REQUIREMENTS)}"
    if not fetched.exists():
        with TemporaryDirectory(dir=cache) as scratch:
            _fetch(Path(scratch, NAME)).rename(fetched)
    converted = cache / f"converted-{_digest(REQUIREMENTS, Path(__file__))}"
    if not converted.exists():
        with TemporaryDirectory(dir=cache) as scratch:
            _convert(fetched / NAME, Path(scratch, "converted")).rename(converted)
    return converted


def _digest(*files: Path) -> str:
    """Names a folder after all that its contents depend on; so one of other contents has another name."""
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _fetch(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Not what it depends on: those are old versions of what is there in newer ones. Nor can it be compiled.
    install = ["install", "--no-deps", "--no-compile", "--require-hashes", "--requirement", str(REQUIREMENTS)]
    subprocess.run([*pip, *install, "--target", str(folder)], check=True)
    return folder


def _convert(package: Path, folder: Path) -> Path:
    copy = folder / NAME
    shutil.copytree(package / "testdata", copy / "testdata")
    tool = RefactoringTool(FIXERS)
    cases = (f"case/{path.name}" for path in package.glob("case/case*.py") if path.name != "case9_9_1.py")
    for name in sorted({*ONCE, *cases}):
        (copy / name).parent.mkdir(exist_ok=True)
        # By the file's name the fixer of imports looks beside it, for modules of the package's own.
        text = str(tool.refactor_string(_changed(package, name), str(package / name)))
        (copy / name).write_text(text, "utf-8")
    return folder


def _changed(package: Path, name: str) -> str:
    """A file of the package, with our changes; still Python 2."""
    # Every byte is a character. If the file says that it is UTF-8, it will be, after it has been written.
    text = (package / name).read_text("latin-1")
    for pattern, replacement in EVERYWHERE:
        text = re.sub(pattern, replacement, text)
    for pattern, replacement in ONCE.get(name, ()):
        text, times = re.subn(pattern, replacement, text)
        assert times == 1, f"{name} has {times} of {pattern}"
    return text if text.endswith("\n") else text + "\n"
