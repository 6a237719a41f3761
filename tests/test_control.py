"""The control socket, and `switchd ctl`, which talks to it."""

from __future__ import annotations

import gc
import json
import os
import socket
import stat
import struct
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThread

from switchd import cli, config, control
from switchd.console.keys import KEY_SECONDS, MOST_KEYS, Keys
from switchd.control import Console, Control, may_control
from switchd.errors import ConfigurationError
from switchd.events import Closing, NotReloaded, Reloaded
from switchd.factory import Assembly, assemble
from switchd.overview import Overview
from switchd.routes import Routes
from switchd.service import StartUpError, SwitchService
from switchd.testing import Wire
from tests.serving import SWITCH, Accepts, Site, answers
from tests.wires import with_reactor, write_certificate

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Controlled:
    """A server and its control, in memory."""

    def __init__(self, folder: Path = Path("/nowhere")) -> None:
        self.site = Site({"/shout": Accepts()})
        self.keys = Keys(self.site.clock)
        self.console = Console("http://127.0.0.1:9180/")
        self.reloading: Deferred[Any] = Deferred()
        parsed, _ = config.parse('[admin]\ncontrol = "control.sock"', "test.toml", folder, ["tcp:0"])
        overview = Overview(self.site.factory, self.site.clock, lambda: (), lambda: "")
        self.control = Control(
            Assembly(parsed, Routes((), ()), ()),
            overview,
            self.keys,
            lambda: self.console,
            lambda: self.reloading,
            self.site.clock,
        )

    def wire(self, what: str, body: bytes = b"", method: bytes = b"POST") -> Wire:
        wire = Wire(self.control.factory, self.site.clock)
        head = b"%b /%b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        wire.send(head % (method, what.encode(), len(body)) + body)
        wire.turn()
        return wire

    def ask(self, what: str, **said: Any) -> tuple[int, Any]:
        return self.told(self.wire(what, json.dumps(said).encode()))

    def told(self, wire: Wire) -> tuple[int, Any]:
        ((status, fields, body),) = answers(wire.received)
        assert fields[b"content-type"] == b"application/json"
        return status, json.loads(body)


class TestAnswers:
    def test_tell_how_the_server_is(self) -> None:
        status, values = Controlled().ask("status")
        assert status == 200
        assert (values["state"], values["connections"], values["pid"]) == ("ready", 0, os.getpid())

    def test_list_connections(self) -> None:
        controlled = Controlled()
        controlled.site.connect().send(SWITCH)
        status, values = controlled.ask("connections", token="shout", most=5)
        assert (status, [row["id"] for row in values["rows"]]) == (200, ["1"])

    def test_close_them(self) -> None:
        controlled = Controlled()
        wire = controlled.site.connect()
        wire.send(SWITCH)
        assert controlled.ask("close", ids=["1", "7"]) == (200, {"connections": 1, "missing": ["7"]})
        wire.turn()
        assert wire.closed
        assert controlled.site.told(Closing) == [Closing("1, 7", 1, "control")]

    def test_give_keys(self) -> None:
        controlled = Controlled()
        status, values = controlled.ask("keys")
        assert (status, values["address"], values["seconds"]) == (200, controlled.console.address, KEY_SECONDS)
        assert controlled.keys.seconds(values["key"]) == KEY_SECONDS

    def test_give_no_key_that_is_good_nowhere(self) -> None:
        controlled = Controlled()
        good = controlled.keys.new()
        controlled.console = Console()
        for _ in range(MOST_KEYS):
            status, values = controlled.ask("keys")
            assert (status, values) == (400, {"why": "there is no console: set endpoint in [admin]"})
        assert controlled.keys.seconds(good) == KEY_SECONDS

    def test_are_for_nobody_who_has_gone(self, logged: Any) -> None:
        """What has been asked for is done all the same, and nothing is wrong with that: the log stays empty."""
        controlled = Controlled()
        wire = controlled.wire("reload")
        wire.reset()
        controlled.reloading.callback(NotReloaded("f", "it is broken"))
        controlled.reloading = Deferred()  # what nobody has handled of the other one is logged now
        gc.collect()
        assert (wire.received, logged) == (b"", [])

    @pytest.mark.parametrize(
        ("event", "reloaded"),
        [(NotReloaded("f", "it is broken"), False), (Reloaded(file="f", listeners=1, switches=2), True)],
    )
    def test_say_what_came_of_a_reload_when_it_is_over(self, event: Any, reloaded: bool) -> None:
        controlled = Controlled()
        wire = controlled.wire("reload")
        assert wire.received == b""
        controlled.reloading.callback(event)
        wire.turn()
        assert controlled.told(wire) == (200, {"reloaded": reloaded, "outcome": event.text.format(event=event)})

    @pytest.mark.parametrize(
        ("what", "body", "why"),
        [
            ("close", b"{", "JSON is expected: "),
            ("close", b"[" * 60_000, "JSON is expected: "),
            ("close", b"[]", ""),
            ("close", b'{"ids": 1}', "ids: expected a list"),
            ("close", b'{"seconds": -1, "now": 2}', "seconds: expected a number of seconds from 0 to 3600, got -1"),
            ("connections", b'{"sort": "x"}', 'sort: expected one of "id"'),
        ],
    )
    def test_to_what_is_mistaken_say_so(self, what: str, body: bytes, why: str) -> None:
        controlled = Controlled()
        status, values = controlled.told(controlled.wire(what, body))
        assert status == 400
        assert why in values["why"]

    @pytest.mark.usefixtures("logged")
    def test_say_that_the_server_has_failed(self) -> None:
        controlled = Controlled()
        controlled.reloading = fail(ZeroDivisionError())
        assert controlled.ask("reload")[0] == 500

    @pytest.mark.parametrize(
        ("what", "method", "status"), [("", b"POST", 404), ("metrics", b"POST", 404), ("status", b"GET", 405)]
    )
    def test_are_no_others(self, what: str, method: bytes, status: int) -> None:
        assert answers(Controlled().wire(what, b"", method).received)[0][0] == status


class TestSocket:
    @pytest.fixture
    def port(self, tmp_path: Path) -> Control:
        controlled = Controlled(tmp_path)
        controlled.control._reactor = reactor
        return controlled.control

    @with_reactor
    async def test_is_its_owners_from_the_first_moment(
        self, port: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also before Twisted changes its mode, which would be too late."""
        seen: list[int] = []
        chmod = os.chmod

        def looking(path: Any, mode: int) -> None:
            seen.append(stat.S_IMODE(os.stat(path).st_mode))
            chmod(path, mode)

        monkeypatch.setattr(os, "chmod", looking)
        mask = os.umask(0)
        try:
            port.listen()
            assert os.umask(0) == 0
        finally:
            os.umask(mask)
        assert seen == [0o600]
        assert stat.S_IMODE(port.file.stat().st_mode) == 0o600
        await port.stop(1)
        assert list(tmp_path.iterdir()) == []

    @with_reactor
    async def test_that_was_left_behind_is_taken_over(self, port: Control) -> None:
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(port.file))
        Path(f"{port.file}.lock").symlink_to(str(os.getpid()))  # a process of that number proves nothing
        port.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(port.file))
        await port.stop(1)

    @pytest.mark.parametrize("waiting", [0, 2])
    def test_of_another_server_is_left_to_it(self, port: Control, waiting: int) -> None:
        with socket.socket(socket.AF_UNIX) as other, ExitStack() as clients:
            other.bind(str(port.file))
            other.listen(0)
            for _ in range(waiting):  # as many as there may be, and one more
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect_ex(str(port.file))
            with pytest.raises(OSError, match="another server has it"):
                port.listen()
        assert port.file.is_socket()

    def test_takes_the_place_of_no_other_file(self, port: Control) -> None:
        port.file.write_text("precious")
        with pytest.raises(OSError, match="no socket"):
            port.listen()
        assert port.file.read_text() == "precious"

    def test_knows_users_of_large_numbers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As systems have them whose users come from a directory, or are mapped."""
        user = 3_000_000_000
        handle = Handle(struct.pack("=iII", 1, user, user))
        monkeypatch.setattr(os, "geteuid", lambda: user)
        assert may_control(handle)

    def test_lets_in_who_we_are_and_nobody_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = socket.socketpair()
        with one, other:
            assert may_control(one)
            monkeypatch.setattr(control, "_CREDENTIALS", Credentials(os.geteuid() + 1))
            assert not may_control(one)
            monkeypatch.setattr(control, "_CREDENTIALS", Credentials(0))
            assert may_control(one)

    @with_reactor
    async def test_ends_the_connection_of_somebody_else(self, port: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(control, "may_control", lambda handle: False)
        port.listen()

        def ask() -> bytes:
            with socket.socket(socket.AF_UNIX) as client, suppress(ConnectionError):  # an end, or a reset
                client.settimeout(60)
                client.connect(str(port.file))
                client.sendall(b"POST /status HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return client.recv(1)
            return b""

        assert await deferToThread(ask) == b""
        await port.stop(1)

    @pytest.mark.parametrize("length", [104, 300])
    def test_has_a_name_that_is_short_enough(self, length: int) -> None:
        text = f'[admin]\ncontrol = "{"x" * length}"'
        with pytest.raises(ConfigurationError, match="admin.control: expected a name of at most 103 bytes"):
            assemble(*config.parse(text, "test.toml", Path("/"), [LOOPBACK]), reactor)


class Handle:
    """A socket whose peer is some process."""

    def __init__(self, credentials: bytes) -> None:
        self.credentials = credentials

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self.credentials


class Credentials:
    """Says that the peer is some user."""

    def __init__(self, user: int) -> None:
        self.user = user
        self.size = 12

    def unpack(self, data: bytes) -> tuple[int, int, int]:
        return 1, self.user, 1


class Running:
    """A service with a control socket, and the command line."""

    def __init__(self, folder: Path, endpoint: str = "") -> None:
        self.file = folder / "switchd.toml"
        self.file.write_text(
            f'[[listen]]\nendpoint = "{LOOPBACK}"\n[[switch]]\npath = "/addone"\nprotocol = "addone"\n'
            f'[admin]\ncontrol = "control.sock"\nendpoint = "{endpoint}"\n'
        )
        assembly = assemble(*config.load(str(self.file)), reactor)
        self.service = SwitchService(assembly, reactor, lambda: config.load(str(self.file)))
        self.service.privilegedStartService()
        self.service.startService()

    async def ctl(self, *words: str, as_json: bool = False) -> int:
        arguments = ["ctl", "--config", str(self.file), *(["--json"] if as_json else []), *words]
        status: int = await deferToThread(cli.main, arguments)
        return status


class TestCommand:
    @with_reactor
    async def test_asks_and_closes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        running = Running(tmp_path)
        port: Any = running.service.ports[0]
        with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
            client.sendall(SWITCH.replace(b"shout", b"addone"))
            await deferToThread(client.recv, 1000)
            assert await running.ctl("status") == 0
            told = capsys.readouterr().out
            assert f", process {os.getpid()}, ready, for 0 s\nlistens on tcp 127.0.0.1:" in told
            assert "switches /addone to addone (addone)\nconnections: 1, of them switched: 1\n" in told
            assert await running.ctl("connections", "--token", "addone") == 0
            heading, row = capsys.readouterr().out.splitlines()
            assert heading.split() == ["ID", "PROTOCOLS", "PATH", "PEER", "AGE", "RECEIVED", "SENT"]
            assert row.startswith("1   HTTP/1.1 → addone  /addone  127.0.0.1:")
            assert await running.ctl("connections", as_json=True) == 0
            assert json.loads(capsys.readouterr().out)[0]["id"] == "1"
            assert await running.ctl("close", "1", "7") == 1
            said = capsys.readouterr()
            assert said.out == "connections told goodbye, with 10 s to end: 1\n"
            assert said.err == "switchd: there is no connection 7\n"
            assert await deferToThread(client.recv, 1) == b""
        assert await running.ctl("close", "--path", "/addone", "--now") == 0
        assert capsys.readouterr().out == "connections aborted: 0\n"
        await running.service.stopService()
        assert not (tmp_path / "control.sock").exists()

    @with_reactor
    async def test_reloads(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        running = Running(tmp_path)
        assert await running.ctl("reload") == 0
        assert f"reloaded {running.file}: listeners: 1 kept" in capsys.readouterr().out
        sound = running.file.read_text()
        running.file.write_text(sound + "[limits]\nbody_bytes = -1\n")
        assert await deferToThread(cli.main, ["ctl", "--socket", str(tmp_path / "control.sock"), "reload"]) == 1
        assert "nothing is changed" in capsys.readouterr().out
        await running.service.stopService()

    @with_reactor
    async def test_prints_an_address_with_a_key(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        running = Running(tmp_path, LOOPBACK)
        port: Any = running.service.private_ports[0]
        assert await running.ctl("console") == 0
        address, _, key = capsys.readouterr().out.rstrip().partition("#key=")
        assert address == f"http://127.0.0.1:{port.getHost().port}/"
        assert len(key) > 40
        await running.service.stopService()

    @with_reactor
    async def test_prints_an_address_with_tls_where_the_console_has_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        key, certificate = write_certificate(tmp_path)
        running = Running(tmp_path, f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}")
        assert await running.ctl("console") == 0
        assert capsys.readouterr().out.startswith("https://127.0.0.1:")
        await running.service.stopService()

    @with_reactor
    async def test_says_how_to_come_to_a_console_on_a_unix_socket(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        running = Running(tmp_path, f"unix:{tmp_path}/admin.sock")
        assert await running.ctl("console") == 0
        told = capsys.readouterr().out
        assert f"\n    ssh -L 9180:{tmp_path}/admin.sock HOST\n" in told
        assert "\n    http://127.0.0.1:9180/#key=" in told
        await running.service.stopService()

    @with_reactor
    async def test_says_that_there_is_no_console(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        running = Running(tmp_path)
        assert await running.ctl("console") == 1
        why = "switchd: the server says: there is no console: set endpoint in [admin]\n"
        assert capsys.readouterr().err == why
        await running.service.stopService()

    @with_reactor
    async def test_a_second_server_leaves_the_first_its_socket(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        running = Running(tmp_path)
        assembly = assemble(*config.load(str(running.file)), reactor)
        second = SwitchService(assembly, reactor)
        second.privilegedStartService()
        with pytest.raises(StartUpError, match="cannot listen on .*control.sock: another server has it"):
            second.startService()
        assert "switchd: cannot listen on" in capfd.readouterr().err
        await second.stopService()
        assert await running.ctl("status") == 0
        await running.service.stopService()

    def test_a_folder_that_there_is_not_is_told_in_a_sentence(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        text = f'[[listen]]\nendpoint = "{LOOPBACK}"\n[admin]\ncontrol = "no/control.sock"\nendpoint = ""\n'
        service = SwitchService(assemble(*config.parse(text, "test.toml", tmp_path, []), reactor), reactor)
        with pytest.raises(StartUpError, match="control.sock: No such file or directory"):
            service.startService()
        assert capfd.readouterr().err.startswith("switchd: cannot listen on ")


class TestMistakes:
    def complaint(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        assert cli.main(["ctl", *words]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        return said.err

    def test_no_such_socket(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "control.sock"
        why = f"switchd: there is no {file}: the server does not run, or has another [admin] control\n"
        assert self.complaint(capsys, "--socket", str(file), "status") == why

    def test_a_server_that_is_gone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "control.sock"
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(str(file))
        why = f"switchd: nobody listens on {file}: the server is gone\n"
        assert self.complaint(capsys, "--socket", str(file), "status") == why

    def test_no_control_in_the_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "switchd.toml"
        file.write_text(f'[[listen]]\nendpoint = "{LOOPBACK}"\n')
        why = f'switchd: {file} has no control socket: set control = "FILE" in [admin]\n'
        assert self.complaint(capsys, "--config", str(file), "status") == why

    def test_a_file_with_mistakes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = tmp_path / "switchd.toml"
        assert self.complaint(capsys, "--config", str(file), "status").startswith(f"{file}: cannot be read")

    @pytest.mark.parametrize(
        "words",
        [
            ["status"],
            ["--socket", "x"],
            ["--socket", "x", "--config", "y", "status"],
            ["--socket", "x", "close"],
            ["--socket", "x", "connections", "--limit", "0"],
            ["--socket", "x", "steal"],
        ],
    )
    def test_wrong_command_lines(self, words: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["ctl", *words])
        assert ended.value.code == 2


class TestAnswersOfOthers:
    @pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"])
    @with_reactor
    async def test_are_no_reason_for_a_traceback(
        self, answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "other.sock"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(file))
            other.listen()

            def serve() -> None:
                client, _ = other.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer)

            serving = deferToThread(serve)
            assert await deferToThread(cli.main, ["ctl", "--socket", str(file), "status"]) == 1
            await serving
        assert capsys.readouterr().err.startswith("switchd: ")
