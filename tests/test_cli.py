"""The command `switchd`: what it prints, and its exit status."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

import switchd
from switchd.cli import SHOWN_CHARACTERS, main
from tests.wires import write_certificate

ROOT = Path(switchd.__file__).parents[1]
GOOD = '[[listen]]\nendpoint = "tcp:0"\n[[switch]]\npath = "/addone"\nprotocol = "addone"\n'
REQUEST = b"GET /addone HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: addone\r\nConnection: Upgrade\r\n\r\n"
SECONDS = 30
"""How long a process of a test may take. Half a second is usual."""


@pytest.fixture
def good(tmp_path: Path) -> str:
    file = tmp_path / "good.toml"
    file.write_text(GOOD)
    return str(file)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    file = tmp_path / "bad.toml"
    file.write_text(GOOD.replace('"addone"', '"addtwo"') + "max_digits = 1\n[limits]\nhead_bytes = 1\n")
    return str(file)


def fails(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    code = caught.value.code
    assert isinstance(code, int)
    return code


class TestTheCommandLine:
    @pytest.mark.parametrize(
        "arguments",
        [
            pytest.param([], id="nothing"),
            pytest.param(["dance"], id="unknown-command"),
            pytest.param(["check"], id="check-without-file"),
            pytest.param(["explain"], id="explain-without-file"),
            pytest.param(["connect", "http://h/"], id="connect-without-protocol"),
            pytest.param(["connect", "http://h/", "--protocol", "a b"], id="no-token"),
            pytest.param(["connect", "http://h/", "--protocol", "é"], id="no-ascii-token"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "--wait", "-1"], id="negative-wait"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "--wait", "nan"], id="no-number"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "--wait", "inf"], id="endless-wait"),
            pytest.param(["connect", "ftp://h/", "--protocol", "a"], id="another-url"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "--timeout", "0"], id="no-time"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-H", "X"], id="no-header-field"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-H", "X Y: z"], id="no-header-name"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-H", "Upgrade: b"], id="another-offer"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-X", "G T"], id="no-method"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-X", "CONNECT"], id="a-tunnel"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-d", "@/no/such"], id="no-such-file"),
            pytest.param(["connect", "http://h/", "--protocol", "a", "-d", "@-"], id="data-from-standard-input"),
            pytest.param(
                ["connect", "https://h/", "--protocol", "a", "--cacert", "/no/such"], id="no-such-certificate"
            ),
        ],
    )
    def test_a_wrong_command_line_is_status_2_with_the_usage(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert fails(*arguments) == 2
        assert capsys.readouterr().err.startswith("usage: switchd")

    def test_the_version_is_the_package_s(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert fails("--version") == 0
        assert capsys.readouterr().out == f"switchd {switchd.__version__}\n"


class TestCheck:
    def test_a_good_file_is_ok_with_a_summary(self, good: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", good]) == 0
        output = capsys.readouterr()
        assert output.out == f"{good}: ok\n    listens on tcp:0\n    switches /addone to addone\n"
        assert output.err == ""

    def test_the_summary_says_where_tls_is_spoken_and_what_inside(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_certificate(tmp_path)
        file = tmp_path / "tls.toml"
        file.write_text('[[listen]]\nendpoint = "tcp:0"\n[listen.tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n')
        assert main(["check", str(file)]) == 0
        assert "    listens on tcp:0, with TLS for h2 and http/1.1\n" in capsys.readouterr().out

    def test_says_where_metrics_are_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "admin.toml"
        file.write_text('[[listen]]\nendpoint = "tcp:0"\n[admin]\nendpoint = "tcp:9180:interface=127.0.0.1"\n')
        assert main(["check", str(file)]) == 0
        assert "    tells metrics and health on tcp:9180:interface=127.0.0.1\n" in capsys.readouterr().out

    def test_every_mistake_of_a_bad_file_is_told(self, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", bad]) == 1
        output = capsys.readouterr()
        assert output.out == ""
        keys = [line.removeprefix(f"{bad}: ").split(":")[0] for line in output.err.splitlines()]
        assert sorted(keys) == ["limits.head_bytes", "switch[0].protocol"]

    def test_a_file_that_is_not_there_is_a_mistake(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", "/no/such.toml"]) == 1
        assert capsys.readouterr().err == "/no/such.toml: cannot be read: No such file or directory\n"

    def test_the_reference_configuration_is_ok(self) -> None:
        assert main(["check", str(ROOT / "conf" / "switchd.toml")]) == 0


class TestProtocols:
    def test_each_plugin_is_listed_with_tokens_file_and_options(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["protocols"]) == 0
        lines = capsys.readouterr().out.splitlines()
        start = lines.index("addone")
        tokens, file, option = (line.strip() for line in lines[start + 1 : start + 4])
        assert tokens == "tokens: addone"
        assert file == f"file: {ROOT / 'twisted' / 'plugins' / 'switchd_addone.py'}"
        assert option.startswith("option max_digits: ")
        assert option.endswith("; default: 10000")

    def test_tokens_that_are_not_offered_are_listed_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["protocols"]) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        start = lines.index("tls")
        assert lines[start + 1 : start + 3] == ["tokens: TLS/1.3, TLS/1.2", "answers to: TLS/1.0"]

    def test_a_file_that_is_broken_is_listed_with_its_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        import twisted.plugins

        (tmp_path / "switchd_test_broken.py").write_text("import no_such_module\n")
        (tmp_path / "switchd_test_unloadable.py").write_text(
            "from switchd.interfaces import SwitchPlugin\n"
            "it = SwitchPlugin('unloadable', b'x', 'no_such_module:Class')\n"
        )
        monkeypatch.setattr(twisted.plugins, "__path__", [str(tmp_path)])
        assert main(["protocols"]) == 0
        output = capsys.readouterr().out
        assert f"broken: {tmp_path / 'switchd_test_broken.py'}\n    " in output
        assert "No module named 'no_such_module'" in output.split("broken: ")[1]
        assert "cannot be loaded: " in output.split("broken: ")[0]


def typed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


class TestExplain:
    """What needs no reactor; a decision is in `TestProcesses`, and what is told of it in `test_explain`."""

    def test_input_that_is_no_whole_request_is_status_1(
        self, good: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        typed(REQUEST[:-2], monkeypatch)
        assert main(["explain", good]) == 1
        assert capsys.readouterr().err == "switchd: 408: the request is not complete\n"

    def test_a_bad_configuration_is_told_before_anything_is_read(
        self, bad: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["explain", bad]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 2


def command(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "switchd.cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def output(process: subprocess.Popen[bytes], data: bytes = b"") -> tuple[bytes, bytes, int]:
    out, err = process.communicate(data, SECONDS)
    return out, err, process.returncode


@contextmanager
def server(answer: bytes, heard: list[bytes] | None = None, last: bytes = b"") -> Iterator[str]:
    """The URL of a server for one client: it reads a head, answers, reads to the end, says `last` and closes.

    What it has read by the end is the one element of `heard` then.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(SECONDS)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, suppress(ConnectionResetError):  # a client may go as it likes
                connection.settimeout(SECONDS)
                said = b""
                while b"\r\n\r\n" not in said:
                    said += connection.recv(65536)
                connection.sendall(answer)
                said += b"".join(iter(lambda: connection.recv(65536), b""))
                if heard is not None:
                    heard.append(said)
                connection.sendall(last.replace(b"INPUT", said.partition(b"\r\n\r\n")[2]))

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/addone"
        thread.join(SECONDS)


@pytest.mark.e2e
class TestProcesses:
    def test_explain_tells_what_a_server_would_answer(self, good: str) -> None:
        out, err, status = output(command("explain", good), REQUEST + b"41\n")
        assert (err, status) == (b"", 0)
        assert out.endswith(b"\n\n" + SWITCHED.replace(b"\r\n", b"\n"))

    def test_connect_pipes_what_is_read_to_the_connection_and_back(self) -> None:
        with server(SWITCHED + b"hello\n", last=b"you said INPUT") as url:
            assert output(command("connect", url, "--protocol", "ADDONE"), b"41\n") == (
                b"hello\nyou said 41\n",
                b"",
                0,
            )

    def test_connect_reads_from_and_writes_to_files(self, tmp_path: Path) -> None:
        lines = b"".join(b"%d\n" % number for number in range(50_000))
        (tmp_path / "in").write_bytes(lines)
        with (
            server(SWITCHED, last=b"INPUT") as url,
            open(tmp_path / "in") as source,
            open(tmp_path / "out", "wb") as sink,
        ):
            subprocess.run(
                [sys.executable, "-m", "switchd.cli", "connect", url, "--protocol", "addone"],
                stdin=source,
                stdout=sink,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                timeout=SECONDS,
                check=True,
            )
        assert (tmp_path / "out").read_bytes() == lines

    def test_connect_sends_what_it_is_told(self, tmp_path: Path) -> None:
        heard: list[bytes] = []
        (tmp_path / "body").write_bytes(b"a=1\n")
        with server(SWITCHED, heard) as url:
            said = ("-X", "PUT", "-H", "X-Y: a: b", "--header", "Host: h", "-d", f"@{tmp_path}/body")
            assert output(command("connect", url, "--protocol", "addone", *said)) == (b"", b"", 0)
        (request,) = heard
        assert request == (
            b"PUT /addone HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: addone\r\n"
            b"Content-Length: 4\r\nX-Y: a: b\r\n\r\na=1\n"
        )

    def test_connect_posts_its_data(self) -> None:
        heard: list[bytes] = []
        with server(SWITCHED, heard) as url:
            assert output(command("connect", url, "--protocol", "addone", "--data", "a")) == (b"", b"", 0)
        assert heard[0].startswith(b"POST /addone ")
        assert heard[0].endswith(b"\r\n\r\na")

    def test_connect_tells_of_a_refusal(self) -> None:
        refusal = (
            b"HTTP/1.1 426 Upgrade Required\r\nServer: y\r\nRetry-After: \x9b3\r\nUpgrade: x\r\n"
            b"Content-Length: 8\r\n\r\ntry \x1bx\xe2\x82"
        )
        with server(refusal) as url:
            out, err, status = output(command("connect", url, "--protocol", "addone"))
        assert (out, status) == (b"", 1)
        assert err.decode() == (
            "switchd: the server refused to switch: 426 Upgrade Required\n"
            "    Upgrade: x\n    Retry-After: \ufffd3\n\ntry \ufffdx\ufffd\n"
        )

    def test_connect_shows_as_much_of_a_body_as_can_be_read(self) -> None:
        with server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000) as url:
            out, err, status = output(command("connect", url, "--protocol", "addone"))
        assert (out, status) == (b"", 1)
        assert err.decode().splitlines()[2:] == [
            "x" * SHOWN_CHARACTERS,
            f"... and {5000 - SHOWN_CHARACTERS} characters more",
        ]

    def test_connect_does_not_wait_longer_than_it_is_told(self) -> None:
        with server(b"HTTP/1.1 100 Continue\r\n\r\n") as url:
            out, err, status = output(command("connect", url, "--protocol", "addone", "--timeout", "0.2"))
        assert (out, err, status) == (b"", b"switchd: no answer in time\n", 1)

    def test_connect_tells_in_one_sentence_why_there_is_no_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        out, err, status = output(command("connect", f"http://127.0.0.1:{port}/", "--protocol", "addone"))
        assert (out, status) == (b"", 1)
        assert err.startswith(b"switchd: Connection was refused")
        assert err.count(b"\n") == 1

    def test_connect_takes_only_its_own_kinds_of_url(self) -> None:
        out, err, status = output(command("connect", "ftp://127.0.0.1/", "--protocol", "addone"))
        assert (out, status) == (b"", 2)
        assert b"expected http://" in err

    def test_connect_ends_silently_when_nobody_reads_its_output(self) -> None:
        with server(SWITCHED + b"hello\n") as url:
            process = command("connect", url, "--protocol", "addone")
            assert process.stdout is not None
            assert process.stdout.readline() == b"hello\n"
            process.stdout.close()
            assert process.wait(SECONDS) == 1
            assert process.stderr is not None
            assert process.stderr.read() == b""
            process.communicate()

    def test_connect_ends_silently_when_it_is_interrupted(self) -> None:
        with server(SWITCHED + b"hello\n") as url:
            process = command("connect", url, "--protocol", "addone")
            assert process.stdout is not None
            assert process.stdout.readline() == b"hello\n"
            process.send_signal(signal.SIGINT)
            assert output(process) == (b"", b"", 130)

    def test_connect_ends_silently_when_it_is_interrupted_before_the_answer(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(SECONDS)
            process = command("connect", f"http://127.0.0.1:{listening.getsockname()[1]}/", "--protocol", "addone")
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(1)
                process.send_signal(signal.SIGINT)
                assert output(process) == (b"", b"", 130)

    def test_connect_leaves_standard_output_as_it_was(self) -> None:
        reading, writing = os.pipe()
        with server(SWITCHED) as url, open(reading, "rb"), open(writing, "wb") as sink:
            subprocess.run(
                [sys.executable, "-m", "switchd.cli", "connect", url, "--protocol", "addone"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                timeout=SECONDS,
                check=True,
            )
            assert os.get_blocking(writing)

    def test_connect_needs_standard_input(self) -> None:
        run = [sys.executable, "-m", "switchd.cli", "connect", "http://127.0.0.1/", "--protocol", "addone"]
        done = subprocess.run(
            ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *run],
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=SECONDS,
        )
        assert (done.returncode, done.stderr) == (1, b"switchd: standard input and standard output must be open\n")
