"""The house stays acyclic: who may import whom, walked from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import switchd

PACKAGE = Path(switchd.__file__).parent
# Each layer imports only what stands in a line above it.
LAYERS = [
    {
        "access",
        "changes",
        "inherited",
        "interfaces",
        "memory",
        "notify",
        "pressure",
        "process",
        "signals",
        "transports",
    },
    {"budgets"},
    {"errors", "frames"},
    {"calm", "negotiation", "handover", "schema", "events"},
    {"config", "deadlines", "decision", "engines", "haproxy", "messages"},
    {"certificates", "forwarded"},
    {"testing", "heads", "listeners", "pages", "pipe", "protocols"},
    {"engine", "fields", "plugins", "ports", "request", "routes"},
    {"lazy"},
    {"stream"},
    {"tunnel"},
    {"admission", "client", "exchange"},
    {"http1", "http2"},
    {"first"},
    {"factory"},
    {"draining", "metrics"},
    {"overview", "upkeep"},
    {"console"},
    {"admin", "control", "ctl"},
    {"private"},
    {"service", "explain"},
    {"cli"},
    {"tap"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports, by their first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "switchd":
            found |= {alias.name for alias in node.names if alias.name in LEVEL}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("switchd."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("switchd.")}
    return found


FILES = {path.relative_to(PACKAGE): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}


@pytest.mark.parametrize("name", FILES, ids=str)
def test_a_module_imports_only_what_is_below_it(name: Path) -> None:
    own = name.parts[0].removesuffix(".py")
    for other in imported(FILES[name]) - {own}:
        assert LEVEL[other] < LEVEL[own], f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in FILES if name.parts[0] == "protocols"], ids=str)
def test_a_built_in_imports_no_more_than_a_third_party_would(name: Path) -> None:
    assert imported(FILES[name]) <= {"certificates", "deadlines", "errors", "handover", "interfaces", "protocols"}


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("switchd", "twisted"),
        ("switchd.interfaces", "twisted"),
        ("switchd.negotiation", "twisted"),
        ("switchd.config", "twisted"),
        ("switchd.protocols.websocket", "twisted"),
        ("switchd.protocols.websocket.bounds", "twisted"),
        ("switchd.protocols.websocket.deflate", "twisted"),
        ("switchd.protocols.websocket.frames", "twisted"),
        ("switchd.protocols.websocket.handshake", "twisted"),
        ("switchd.protocols.websocket.head", "twisted"),
        ("switchd.protocols.websocket.masks", "twisted"),
        ("switchd.protocols.websocket.origins", "twisted"),
        ("switchd.protocols.websocket.switch", "twisted.internet.reactor"),
        ("switchd.engine", "h2"),
        ("switchd.engines.lean", "h2"),
        ("switchd.engines.lean", "twisted"),
        ("switchd.certificates", "twisted.internet.reactor"),
        ("switchd.client.strings", "twisted.internet.reactor"),
        ("switchd.factory", "twisted.internet.reactor"),
        ("switchd.protocols.tls", "twisted.internet.reactor"),
        ("switchd.cli", "http.client"),
        ("switchd.cli", "switchd.config"),
        ("switchd.inherited", "twisted.internet.reactor"),
        ("switchd.control", "autobahn"),
        ("switchd.control", "prometheus_client"),
        ("switchd.service", "autobahn"),
        ("switchd.service", "prometheus_client"),
        ("switchd.service", "switchd.console"),
        ("switchd.service", "switchd.control"),
        ("switchd.service", "twisted.internet.reactor"),
        ("switchd.tap", "twisted.internet.reactor"),
        ("switchd.testing", "twisted.internet.reactor"),
        ("switchd.transports.connections", "twisted.internet.reactor"),
        ("switchd.transports.epoll", "twisted.internet.reactor"),
        ("twisted.plugins.switchd_addone", "switchd.protocols.addone"),
        ("twisted.plugins.switchd_endpoint", "OpenSSL"),
        ("twisted.plugins.switchd_endpoint", "switchd"),
        ("twisted.plugins.switchd_endpoint", "twisted.internet.endpoints"),
        ("twisted.plugins.switchd_reactor", "switchd.transports.epoll"),
        ("twisted.plugins.switchd_tap", "switchd.tap"),
        ("twisted.plugins.switchd_tls", "switchd.protocols.tls"),
        ("twisted.plugins.switchd_websocket", "switchd.protocols.websocket.switch"),
    ],
)
def test_importing_a_module_does_not_bring_with_it(module: str, absent: str) -> None:
    program = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    folder = PACKAGE.parent
    code = "import os, sys; sys.path.insert(0, os.getcwd())\n"
    # twisted.plugins of this checkout is found the way twisted.plugin finds it: by its folder on sys.path.
    code += "import twisted.plugins\n" if module.startswith("twisted") else ""
    assert subprocess.run([sys.executable, "-c", code + program], cwd=folder, check=False).returncode == 0
