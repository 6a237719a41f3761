"""The benchmark runs, and its load client notices what is wrong."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import report
from benchmarks.cache import Cache, Missing
from benchmarks.rows import ROWS
from tests.e2e.conftest import left_out, need
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

SECONDS = 300
"""How long anything here may take."""

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %b\r\n%b\r\n"
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
WEBSOCKET = SWITCHED % (b"websocket", ACCEPT)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return Cache(tmp_path_factory.mktemp("cache")).need("client")
    except Missing as missing:
        left_out(f"This test compiles the load client: {missing}.")


@contextmanager
def server(*answers: bytes) -> Iterator[int]:
    """Answers one connection, each segment with the next of these, and closes it then; the context is its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(65536)
                    connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(SECONDS)


@pytest.mark.parametrize(
    ("kind", "answers", "sentence"),
    [
        ("websocket", [b"HTTP/1.1 404 Not Found\r\n\r\n"], "no 101 as expected: HTTP/1.1 404 Not Found"),
        ("websocket", [SWITCHED % (b"websocket", b"Sec-WebSocket-Accept: x\r\n")], "no 101 as expected: "),
        ("websocket", [WEBSOCKET, b"\x82\x10" + bytes(16)], "message 0 came back as another"),
        ("websocket", [WEBSOCKET, b"\x82\x90" + bytes(20)], "a server's frame is masked"),
        ("websocket", [WEBSOCKET, b"\x88\x02\x03\xe9"], "the server closes a WebSocket in use, with 1001"),
        ("websocket", [WEBSOCKET, b"\x82\x10"], "the server has closed a connection"),
        ("deflate", [WEBSOCKET], "the server does not compress"),
        ("addone", [SWITCHED % (b"addone", b""), b"3\n"], "1 plus one is not 3"),
        ("addone", [SWITCHED % (b"addone", b""), b"2\n3\n"], "an answer that nobody has asked for|plus one is not"),
        ("addone", [SWITCHED % (b"addone", b""), b"error: no\n"], "no integer: error: no"),
        ("http", [PAGE + b"other\n"], "a page that is another"),
        ("http", [PAGE.replace(b"200", b"404") + b"hello\n"], "a page that is another"),
    ],
)
def test_the_client_notices_an_answer_that_is_wrong(
    client: Path, kind: str, answers: list[bytes], sentence: str
) -> None:
    with server(*answers) as port:
        done = subprocess.run(
            [client, "-k", kind, "-d", "echo", "-p", str(port), "-t", "0.1"],
            capture_output=True,
            check=False,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("client: ")
    assert any(part in done.stderr for part in sentence.split("|")), done.stderr


def test_every_row_can_be_measured(client: Path, tmp_path: Path) -> None:
    need("h2load")
    page = tmp_path / "performance.md"
    shutil.copy(ROOT / "docs" / "performance.md", page)
    little = ("--seconds", "0.1", "--rounds", "1", "--connections", "100", "--switches", "600")
    where = ("--cache", client.parent, "--markdown", page)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--servers", "switchd", *little, *where],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, table = page.read_text("utf-8").partition(report.BEGIN)
    table, _, _ = table.partition(report.END)
    for row in ROWS:
        assert f"\n**{row.name}**\n" in table
    assert "missing" not in table
