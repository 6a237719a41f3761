"""Clients that were not written here switch a connection of a real server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SCRIPTS, SECONDS, Server, need, run

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("server", ["", "switchd"], indirect=True)]

OFFER = ("-H", "Connection: Upgrade", "-H", "Upgrade: addone")


def url(server: Server, path: str) -> str:
    return f"http://{server.host}:{server.port}{path}"


class TestNode:
    def node(self, script: str, *arguments: str, modules: Path | None = None) -> Any:
        printed = run(need("node"), SCRIPTS / script, *arguments, environment={"NODE_PATH": str(modules or "")})
        return json.loads(printed)

    def test_the_upgrade_event_comes_with_the_answer_to_bytes_in_the_same_packet(self, server: Server) -> None:
        got = self.node("upgrade_event.js", url(server, "/addone"), "addone", "41\n", "1\n")
        assert got == {"status": 101, "upgrade": "addone", "head": "42\n", "rest": "2\n"}

    def test_undici_upgrades(self, server: Server, node_modules: Path) -> None:
        got = self.node("undici_upgrade.js", url(server, "/addone"), "addone", "41\n1\n", modules=node_modules)
        assert got == {"upgrade": "addone", "rest": "42\n2\n"}


class TestCurl:
    def curl(self, *arguments: str) -> str:
        return run(need("curl"), "--silent", "--show-error", "--max-time", str(SECONDS), *arguments)

    def test_gets_a_page(self, server: Server) -> None:
        answer = self.curl("-i", url(server, "/"))
        assert answer.startswith("HTTP/1.1 200 OK")
        assert answer.rstrip().endswith("</html>")

    def test_gets_a_101_when_it_offers_the_protocol(self, server: Server) -> None:
        # Standard error, since standard output is held back until curl ends: it has nothing to say, and would wait.
        command = [need("curl"), "-sv", "--http1.1", "--max-time", str(SECONDS), *OFFER, url(server, "/addone")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert b"< HTTP/1.1 101 Switching Protocols" in map(bytes.rstrip, process.stderr)
            process.terminate()

    def test_gets_an_ordinary_answer_when_it_offers_one_that_there_is_not(self, server: Server) -> None:
        plain, offered = (
            [line for line in self.curl("-i", *offer, url(server, "/")).splitlines() if not line.startswith("Date:")]
            for offer in ((), ("-H", "Connection: Upgrade", "-H", "Upgrade: no-such"))
        )
        assert plain[0] == "HTTP/1.1 200 OK"
        assert offered == plain

    @pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
    def test_gets_a_413_when_its_body_is_over_the_limit(self, server: Server, framing: str, tmp_path: Path) -> None:
        body = tmp_path / "body"
        body.write_bytes(bytes(100_000))
        answer = self.curl("-i", "-H", framing, "-H", "Expect:", "--data-binary", f"@{body}", url(server, "/"))
        assert answer.startswith("HTTP/1.1 413 ")


class TestNetcat:
    def nc(self, server: Server, request: str) -> str:
        return run(need("nc"), "-N", server.host, str(server.port), stdin=request)

    def test_types_a_switch_and_a_line_at_once(self, server: Server) -> None:
        answer = self.nc(
            server, "GET /addone HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n41\n"
        )
        head, _, rest = answer.partition("\n\n")
        assert head.startswith("HTTP/1.1 101 Switching Protocols")
        assert rest == "42\n"

    def test_types_an_ordinary_request(self, server: Server) -> None:
        answer = self.nc(server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith("HTTP/1.1 200 OK")
        assert answer.rstrip().endswith("</html>")
