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
SETTINGS = b"\0\0\x06\x04\0\0\0\0\0\0\x08\0\0\0\x01"  # extended CONNECT is offered
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return Cache(tmp_path_factory.mktemp("cache")).need("client")
    except Missing as missing:
        left_out(f"This test compiles the load client: {missing}.")


def h2(kind: int, payload: bytes, flags: int = 0, stream: int = 1) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


OPENED = h2(1, b"\x88", 4)


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
    notices(client, kind, answers, sentence)


@pytest.mark.parametrize(
    ("kind", "answers", "sentence"),
    [
        ("addone", [h2(4, b"", stream=0)], "no extended CONNECT is offered"),
        ("addone", [SETTINGS, h2(1, b"\x8d", 5)], "no 200 as expected on stream 1, but 8d"),
        ("addone", [SETTINGS, h2(0, b"2\n")], "stream 1 has ended, or has padding"),
        ("addone", [SETTINGS, OPENED, h2(0, b"3\n")], "1 plus one is not 3"),
        ("addone", [SETTINGS, OPENED, h2(0, b"2\n", 1)], "stream 1 has ended"),
        ("addone", [SETTINGS, OPENED, h2(0, b"2\n", stream=3)], "a frame of type 0 for stream 3"),
        ("addone", [SETTINGS, OPENED, h2(3, bytes(4))], "a frame of type 3, for stream 1"),
        ("addone", [SETTINGS, OPENED, h2(7, bytes(8), stream=0)], "a frame of type 7, for stream 0"),
        ("addone", [SETTINGS, OPENED, bytes([1, 0, 0]) + bytes(6)], "a frame of 65536 bytes"),
        ("addone", [SETTINGS, OPENED], "the server has closed a connection"),
        ("websocket", [SETTINGS, OPENED, h2(0, b"\x82\x10" + bytes(16))], "message 0 came back as another"),
        ("deflate", [], "deflate by extended CONNECT is not among what this client does"),
    ],
)
def test_so_it_does_in_a_stream(client: Path, kind: str, answers: list[bytes], sentence: str) -> None:
    notices(client, kind, answers, sentence, "-m", "1")


def notices(client: Path, kind: str, answers: list[bytes], sentence: str, *more: str) -> None:
    """Whether a server with these answers is told to be wrong."""
    with server(*answers) as port:
        command = [str(client), "-k", kind, "-d", "echo", "-p", str(port), "-t", "0.1", *more]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=SECONDS)
        if not answers:  # it has not come
            socket.create_connection(("127.0.0.1", port)).close()
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
