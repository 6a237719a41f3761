"""A configuration that is read again while clients are there, on real sockets."""

from __future__ import annotations

import gc
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import endpoints, reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.python.systemd import ListenFDs

from switchd import config, events
from switchd.factory import assemble
from switchd.service import SwitchService
from switchd.transports import tcp_info
from tests.authorities import Authority
from tests.serving import HEAD, statuses
from tests.test_sockets import Client
from tests.wires import PROXY, with_reactor, write_certificate

TCP = '[[listen]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
ADDONE = '[[switch]]\npath = "/addone"\nprotocol = "addone"\n'
ASK = HEAD % b"/addone" + b"Connection: Upgrade\r\nUpgrade: addone\r\n\r\n"
GET = HEAD % b"/" + b"\r\n"


class Operator:
    """Writes the file, and has it read again.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "switchd.toml"
        self.service: Any = None

    def make(self, text: str, listen: Sequence[str] = ()) -> Any:
        """The service."""

        def load() -> config.Outcome:
            return config.load(str(self.file), listen)

        self.file.write_text(text)
        self.service = SwitchService(assemble(*load(), reactor), reactor, load)
        return self.service

    def start(self, text: str, listen: Sequence[str] = ()) -> Any:
        """The same, started."""
        self.make(text, listen)
        self.service.privilegedStartService()
        self.service.startService()
        return self.service

    def reload(self, text: str) -> Deferred[events.Reloaded | events.NotReloaded]:
        """What comes of another text."""
        self.file.write_text(text)
        outcome: Deferred[events.Reloaded | events.NotReloaded] = self.service.reload()
        return outcome


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@asynccontextmanager
async def running(operator: Operator, text: str, listen: Sequence[str] = ()) -> AsyncIterator[Any]:
    """The service, until the end of the test."""
    service = operator.start(text, listen)
    try:
        yield service
    finally:
        await service.stopService()


async def connected(port: Any, data: bytes = b"") -> Client:
    """A client that has said something, and perhaps has an answer."""
    host = port.getHost()
    name = getattr(host, "name", None)
    endpoint: Any = UNIXClientEndpoint(reactor, name) if name else TCP4ClientEndpoint(reactor, "127.0.0.1", host.port)
    client: Client = await connectProtocol(endpoint, Client())
    if data:
        client.transport.write(data)
        await client.until(lambda: b"\r\n\r\n" in client.received)
    return client


async def says(client: Client, data: bytes, answer: bytes) -> None:
    """A client says something and has an answer."""
    client.received = b""
    client.transport.write(data)
    await client.until(lambda: answer in client.received or client.closed)
    assert answer in client.received


async def agreed(port: Any, authority: Certificate, names: Sequence[bytes], first: bytes = b"") -> bytes | None:
    """What is agreed on with a client that speaks these protocols; None if there is no session."""
    options = optionsForClientTLS("localhost", authority, acceptableProtocols=names)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client: Client = await connectProtocol(wrapClientTLS(options, endpoint), Client())
    client.transport.write(first + GET)
    await client.until(lambda: bool(client.received) or client.closed)
    name: bytes | None = client.transport.negotiatedProtocol
    client.transport.abortConnection()
    return name if client.received else None


async def certificate_of(port: Any, authority: Certificate) -> bytes:
    """The certificate that a client is shown, whose authority it trusts."""
    options = optionsForClientTLS("localhost", authority)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client: Client = await connectProtocol(wrapClientTLS(options, endpoint), Client())
    client.transport.write(GET)
    await client.until(lambda: b"\r\n\r\n" in client.received)
    shown = Certificate.peerFromTransport(client.transport).dumpPEM()
    client.transport.abortConnection()
    return bytes(shown)


class TestSwitches:
    @with_reactor
    async def test_what_has_switched_has_the_options_that_it_had(self, operator: Operator) -> None:
        async with running(operator, TCP + ADDONE + "max_digits = 5\n") as service:
            before = await connected(service.ports[0], ASK)
            outcome = await operator.reload(TCP + ADDONE + "max_digits = 2\n")
            assert outcome == events.Reloaded(
                file=str(operator.file), listeners=1, switches=0, added=("/addone addone",), ended=("/addone addone",)
            )
            after = await connected(service.ports[0], ASK)
            await says(before, b"12345\n", b"12346\n")
            after.transport.write(b"12345\n")
            await after.until(lambda: after.closed)
            await says(before, b"1\n", b"2\n")

    @with_reactor
    async def test_one_that_says_the_same_goes_on_wherever_it_stands(self, operator: Operator) -> None:
        async with running(operator, TCP + ADDONE) as service:
            (entry,) = service.factory.entries
            other = ADDONE.replace("/addone", "/other")
            outcome = await operator.reload(TCP + other + ADDONE)
            assert isinstance(outcome, events.Reloaded)
            assert (outcome.switches, outcome.added, outcome.ended) == (1, ("/other addone",), ())
            assert service.factory.entries[1] is entry

    @with_reactor
    async def test_a_connection_that_still_speaks_http_has_the_new_ones(self, operator: Operator) -> None:
        async with running(operator, TCP) as service:
            client = await connected(service.ports[0], GET)
            assert statuses(client.received) == [404]
            await operator.reload(TCP + ADDONE)
            await says(client, ASK, b"HTTP/1.1 101 ")
            await operator.reload(TCP)
            await says(client, b"1\n", b"2\n")
            assert statuses((await connected(service.ports[0], ASK)).received) == [404]

    @with_reactor
    async def test_limits_are_for_those_who_come_now(self, operator: Operator) -> None:
        long = HEAD % (b"/" + b"x" * 200) + b"\r\n"
        async with running(operator, TCP) as service:
            before = await connected(service.ports[0])
            outcome = await operator.reload(TCP + "[limits]\nhead_bytes = 100\n")
            assert isinstance(outcome, events.Reloaded)
            assert outcome.others == ("limits",)
            assert statuses((await connected(service.ports[0], long)).received) == [414]
            await says(before, long, b"HTTP/1.1 404 ")


class TestResources:
    @with_reactor
    async def test_one_that_says_the_same_goes_on(self, operator: Operator, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("a")
        http = '[[http]]\npath = "/{0}"\nstatic = "{0}.txt"\n'
        async with running(operator, TCP + http.format("a")) as service:
            (made,) = service.factory.resource._routes.resources
            (tmp_path / "b.txt").write_text("b")
            await operator.reload(TCP + http.format("b") + http.format("a"))
            _, still = service.factory.resource._routes.resources
            assert still == made
            assert b"\r\n\r\nb" in (await connected(service.ports[0], HEAD % b"/b" + b"\r\n")).received


class TestListeners:
    @with_reactor
    async def test_come_and_go_while_the_others_stay(self, operator: Operator, tmp_path: Path) -> None:
        unix = f'[[listen]]\nendpoint = "unix:{tmp_path}/s"\n'
        async with running(operator, TCP + ADDONE) as service:
            (port,) = service.ports
            number = port.getHost().port
            outcome = await operator.reload(unix + TCP + ADDONE)
            assert isinstance(outcome, events.Reloaded)
            assert (outcome.listeners, outcome.opened, outcome.closed) == (1, (f"unix:{tmp_path}/s",), ())
            assert service.ports[1] is port
            await says(await connected(service.ports[0], ASK), b"1\n", b"2\n")
            outcome = await operator.reload(unix + ADDONE)
            assert isinstance(outcome, events.Reloaded)
            assert (outcome.listeners, outcome.opened, outcome.closed) == (1, (), ("tcp:0:interface=127.0.0.1",))
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", number))
        assert not (tmp_path / "s").exists()

    @with_reactor
    async def test_who_has_switched_there_stays_and_who_has_not_is_dismissed(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        unix = f'[[listen]]\nendpoint = "unix:{tmp_path}/s"\n'
        async with running(operator, TCP + unix + ADDONE) as service:
            tcp = service.ports[0]
            new, idle, switched = await connected(tcp), await connected(tcp, GET), await connected(tcp, ASK)
            elsewhere = await connected(service.ports[1], GET)
            await new.until(lambda: len(service.factory.connections) == 4)
            await operator.reload(unix + ADDONE)
            await idle.until(lambda: idle.closed)
            await says(switched, b"1\n", b"2\n")
            await says(new, GET, b"HTTP/1.1 404 ")
            await says(elsewhere, GET, b"HTTP/1.1 404 ")

    @with_reactor
    async def test_who_has_said_nothing_has_one_answer(self, operator: Operator, tmp_path: Path) -> None:
        unix = f'[[listen]]\nendpoint = "unix:{tmp_path}/s"\n'
        async with running(operator, TCP + unix + ADDONE) as service:
            tcp = service.ports[0]
            silent = [await connected(tcp) for _ in range(3)]
            await silent[0].until(lambda: len(service.factory.connections) == 3)
            await operator.reload(unix + ADDONE)
            await deferLater(reactor, 0)
            silent[0].transport.write(GET)
            silent[1].transport.write(GET.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"))
            await silent[0].until(lambda: silent[0].closed)
            await silent[1].until(lambda: silent[1].closed)
            for client in silent[:2]:
                assert b"Connection: close\r\n" in client.received
            await says(silent[2], ASK, b"HTTP/1.1 101 ")
            await says(silent[2], b"1\n", b"2\n")

    @with_reactor
    async def test_of_two_that_are_called_the_same_only_that_which_goes_is_left(self, operator: Operator) -> None:
        async with running(operator, TCP + TCP) as service:
            stays, goes = [await connected(port, GET) for port in service.ports]
            await operator.reload(TCP)
            await goes.until(lambda: goes.closed)
            await says(stays, GET, b"HTTP/1.1 404 ")

    @with_reactor
    async def test_who_came_when_it_was_called_something_else_leaves_with_it(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        unix = f'[[listen]]\nendpoint = "unix:{tmp_path}/s"\n'
        async with running(operator, TCP + unix) as service:
            number = service.ports[0].getHost().port
            client = await connected(service.ports[0], GET)
            await operator.reload(f'[[listen]]\nendpoint = "haproxy:tcp:{number}:interface=127.0.0.1"\n' + unix)
            await says(client, GET, b"HTTP/1.1 404 ")
            await operator.reload(unix)
            await client.until(lambda: client.closed)

    @with_reactor
    async def test_what_it_takes_is_told(self, operator: Operator) -> None:
        async with running(operator, TCP):
            limits = "[listen.limits]\nlinger_seconds = 1\n"
            for table, name in (("drain_seconds = 1\n", "drain_seconds"), (limits, "limits")):
                outcome = await operator.reload(TCP + table)
                assert isinstance(outcome, events.Reloaded)
                assert f"listen.{name}" in outcome.others
                assert (await operator.reload(TCP + table)).others == ()  # type: ignore[union-attr]

    @with_reactor
    async def test_one_whose_endpoint_becomes_another_has_its_port(self, operator: Operator) -> None:
        """The socket is never closed, so that nobody can be refused."""
        async with running(operator, TCP + ADDONE) as service:
            (port,) = service.ports
            number = port.getHost().port
            behind = f'[[listen]]\nendpoint = "haproxy:tcp:{number}:interface=127.0.0.1"\n'
            client = await connected(port, ASK)
            outcome = await operator.reload(behind + ADDONE)
            assert isinstance(outcome, events.Reloaded)
            assert service.ports == (port,)
            proxied = await connected(port, PROXY + ASK)
            assert proxied.received.startswith(b"HTTP/1.1 101 ")
            await says(client, b"1\n", b"2\n")
            again = f'[[listen]]\nendpoint = "tcp:{number}:interface=127.0.0.1:backlog=7"\n'
            await operator.reload(again + ADDONE)
            assert service.ports == (port,)
            await says(await connected(port, ASK), b"1\n", b"2\n")
            assert service.factory.numPorts == 1

    # Twisted 26.4 leaves the socket that it could not bind to the garbage collector.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @with_reactor
    async def test_one_that_cannot_be_opened_changes_nothing(self, operator: Operator) -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        new = f'[[listen]]\nendpoint = "tcp:{taken.getsockname()[1]}:interface=127.0.0.1"\n'
        with taken:
            async with running(operator, TCP + ADDONE) as service:
                (port,) = service.ports
                number = port.getHost().port
                other = f'[[listen]]\nendpoint = "haproxy:tcp:{number}:interface=127.0.0.1"\n'
                outcome = await operator.reload(other + TCP + new)
                assert isinstance(outcome, events.NotReloaded)
                assert outcome.why.endswith(": Address already in use, by our own tcp:0:interface=127.0.0.1")
                assert service.ports == (port,)
                await says(await connected(port, ASK), b"1\n", b"2\n")
                assert service.factory.numPorts == 1
        gc.collect()

    @with_reactor
    async def test_of_systemds_that_are_gone_the_log_warns_as_their_sockets_stay(
        self, operator: Operator, told: list[events.Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "systemd:domain=INET:name=web"
        with socket.create_server(("127.0.0.1", 0)) as passed:
            monkeypatch.setattr(endpoints._SystemdParser, "_sddaemon", ListenFDs([passed.fileno()], ["web"]))
            async with running(operator, TCP + f'[[listen]]\nendpoint = "{name}"\n') as service:
                client = await connected(service.ports[1], GET)
                await operator.reload(TCP)
                await client.until(lambda: client.closed)
                assert events.Unserved(name) in told
                socket.create_connection(passed.getsockname()).close()

    # As above.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @with_reactor
    async def test_one_that_is_in_the_way_of_another_is_named(self, operator: Operator) -> None:
        everywhere = '[[listen]]\nendpoint = "tcp:0"\n'
        async with running(operator, everywhere) as service:
            (port,) = service.ports
            name = f"tcp:{port.getHost().port}:interface=127.0.0.1"
            outcome = await operator.reload(f'[[listen]]\nendpoint = "{name}"\n')
            assert isinstance(outcome, events.NotReloaded)
            assert outcome.why == f"cannot listen on {name}: Address already in use, by our own tcp:0"
            assert service.ports == (port,)
        gc.collect()

    @with_reactor
    async def test_a_unix_socket_may_have_another_mode(self, operator: Operator, tmp_path: Path) -> None:
        text = f'[[listen]]\nendpoint = "unix:{tmp_path}/s:mode=%s"\n'
        async with running(operator, text % "660" + ADDONE) as service:
            (port,) = service.ports
            await operator.reload(text % "600" + ADDONE)
            assert service.ports == (port,)
            assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
            await says(await connected(port, ASK), b"1\n", b"2\n")

    @with_reactor
    async def test_of_the_command_line_stay(self, operator: Operator) -> None:
        async with running(operator, ADDONE, ["tcp:0:interface=127.0.0.1"]) as service:
            (port,) = service.ports
            outcome = await operator.reload(TCP + TCP + ADDONE)
            assert isinstance(outcome, events.Reloaded)
            assert (outcome.listeners, outcome.opened) == (1, ())
            assert service.ports == (port,)

    @with_reactor
    async def test_two_of_the_same_endpoint_are_two(self, operator: Operator) -> None:
        async with running(operator, TCP) as service:
            (port,) = service.ports
            await operator.reload(TCP + TCP)
            assert service.ports[0] is port
            assert len({one.getHost().port for one in service.ports}) == 2
            await operator.reload(TCP)
            assert service.ports == (port,)


class TestCertificates:
    @staticmethod
    def tables(kind: str, folder: Path) -> str:
        if kind == "ssl":
            files = f"privateKey={folder}/key.pem:certKey={folder}/cert.pem"
            return f'[[listen]]\nendpoint = "ssl:0:interface=127.0.0.1:{files}"\n'
        return TCP + '[listen.tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'

    @pytest.mark.parametrize("kind", ["table", "ssl"])
    @with_reactor
    async def test_are_renewed(self, operator: Operator, tmp_path: Path, kind: str) -> None:
        text = self.tables(kind, tmp_path)
        _, cert = write_certificate(tmp_path)
        before = Certificate.loadPEM(cert.read_bytes())
        async with running(operator, text) as service:
            (port,) = service.ports
            assert await certificate_of(port, before) == before.dumpPEM()
            authority = Authority()
            key, other = authority.issue("localhost")
            (tmp_path / "key.pem").write_bytes(key)
            cert.write_bytes(other)
            outcome = await operator.reload(text)
            assert isinstance(outcome, events.Reloaded)
            assert (outcome.listeners, outcome.opened, outcome.closed) == (1, (), ())
            assert service.ports == (port,)
            after = Certificate.loadPEM(authority.pem)
            assert await certificate_of(port, after) == Certificate.loadPEM(other).dumpPEM()

    @pytest.mark.parametrize("kind", ["table", "ssl"])
    @with_reactor
    async def test_what_is_spoken_in_tls_is_agreed_on(self, operator: Operator, tmp_path: Path, kind: str) -> None:
        authority = Certificate.loadPEM(write_certificate(tmp_path)[1].read_bytes())
        text = self.tables(kind, tmp_path)
        async with running(operator, text) as service:
            for _ in range(2):
                (port,) = service.ports
                assert await agreed(port, authority, [b"h2", b"http/1.1"]) == b"h2"
                assert await agreed(port, authority, [b"http/1.1"]) == b"http/1.1"
                await operator.reload(text)

    @with_reactor
    async def test_behind_the_header_of_a_proxy_it_is_http1(self, operator: Operator, tmp_path: Path) -> None:
        authority = Certificate.loadPEM(write_certificate(tmp_path)[1].read_bytes())
        async with running(operator, self.tables("ssl", tmp_path).replace('"ssl', '"haproxy:ssl')) as service:
            assert await agreed(service.ports[0], authority, [b"h2", b"http/1.1"], PROXY) == b"http/1.1"

    @with_reactor
    async def test_of_no_use_change_nothing(self, operator: Operator, tmp_path: Path) -> None:
        text = self.tables("table", tmp_path)
        _, cert = write_certificate(tmp_path)
        before = Certificate.loadPEM(cert.read_bytes())
        async with running(operator, text) as service:
            cert.write_text("nothing")
            outcome = await operator.reload(text + ADDONE)
            assert isinstance(outcome, events.NotReloaded)
            assert "listen[0].tls.certificate: " in outcome.why
            assert await certificate_of(service.ports[0], before) == before.dumpPEM()

    @with_reactor
    async def test_come_and_go(self, operator: Operator, tmp_path: Path) -> None:
        _, cert = write_certificate(tmp_path)
        async with running(operator, TCP) as service:
            (port,) = service.ports
            outcome: Any = await operator.reload(self.tables("table", tmp_path))
            assert service.ports == (port,)
            assert outcome.others == ("listen.tls",)
            assert await certificate_of(port, Certificate.loadPEM(cert.read_bytes()))
            outcome = await operator.reload(TCP)
            assert (outcome.others, outcome.listeners) == (("listen.tls",), 1)
            assert statuses((await connected(port, GET)).received) == [404]


class TestBroken:
    @pytest.mark.parametrize(
        ("text", "problems"),
        [
            ("[limits", ["the syntax is wrong"]),
            (
                TCP + ADDONE + 'max_digits = "x"\n[limits]\nhead_bytes = 1\n',
                ["switch[0].max_digits: ", "limits.head_bytes: "],
            ),
            (TCP + '[server]\naccess_log = "no/such/folder"\n', ["server.access_log: "]),
            (TCP + '[server]\naccess_log = "."\n', ["server.access_log: "]),
            (TCP + "[[switch]]\npath = '/'\nprotocol = 'none'\n", ["switch[0].protocol: "]),
        ],
    )
    @with_reactor
    async def test_changes_nothing_and_is_told_in_full(
        self, operator: Operator, told: list[events.Event], text: str, problems: list[str]
    ) -> None:
        async with running(operator, TCP + ADDONE) as service:
            (port,), (entry,) = service.ports, service.factory.entries
            outcome = await operator.reload(text)
            assert isinstance(outcome, events.NotReloaded)
            for problem in problems:
                assert f"{operator.file}: {problem}" in outcome.why
            assert told[-1] == outcome
            assert (service.ports, service.factory.entries) == ((port,), (entry,))
            await says(await connected(port, ASK), b"1\n", b"2\n")

    @with_reactor
    async def test_a_file_that_is_gone_is_one(self, operator: Operator) -> None:
        async with running(operator, TCP) as service:
            operator.file.unlink()
            outcome = await service.reload()
            assert outcome == events.NotReloaded(
                str(operator.file), f"{operator.file}: cannot be read: No such file or directory"
            )

    @with_reactor
    async def test_an_access_log_that_cannot_be_opened_changes_nothing(
        self, operator: Operator, tmp_path: Path
    ) -> None:
        async with running(operator, TCP) as service:
            (port,) = service.ports
            outcome = await operator.reload(TCP + TCP + ADDONE + f'[server]\naccess_log = "{"x" * 256}"\n')
            why = "the access log cannot be opened: File name too long"
            assert outcome == events.NotReloaded(str(operator.file), why)
            assert service.ports == (port,)
            assert service.factory.entries == ()

    @pytest.mark.parametrize("text", ["raise SystemExit(3)", "def thing():\n    raise SystemExit(3)"])
    @with_reactor
    async def test_code_that_exits_is_a_mistake_like_others(
        self, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "exits_in_a_reload.py").write_text(text)
        monkeypatch.delitem(sys.modules, "exits_in_a_reload", raising=False)
        async with running(operator, TCP) as service:
            http = '[[http]]\npath = "/"\nresource = "exits_in_a_reload:thing"\n'
            outcome = await operator.reload(TCP + TCP + http)
            assert isinstance(outcome, events.NotReloaded)
            assert "http[0].resource: " in outcome.why
            assert "SystemExit: 3" in outcome.why
            assert len(service.ports) == 1

    @with_reactor
    async def test_whatever_else_goes_wrong_is_undone_and_told(
        self, operator: Operator, told: list[events.Event], logged: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(assembly: Any) -> None:
            raise ZeroDivisionError("unheard of")

        async with running(operator, TCP) as service:
            (port,) = service.ports
            with monkeypatch.context() as patched:
                patched.setattr(service.factory, "use", fail)
                outcome = await operator.reload(TCP + TCP + ADDONE)
            assert outcome == events.NotReloaded(
                str(operator.file), "ZeroDivisionError: unheard of; the traceback is in the log"
            )
            assert told[-1] == outcome
            assert logged == [ZeroDivisionError]
            assert service.ports == (port,)
            assert isinstance(await operator.reload(TCP + ADDONE), events.Reloaded)
            await deferLater(reactor, 0)
            assert service.factory.numPorts == 1


class TestAccessLog:
    @with_reactor
    async def test_is_opened_anew_for_whoever_has_moved_it(self, operator: Operator, tmp_path: Path) -> None:
        text = TCP + '[server]\naccess_log = "access.log"\n'
        async with running(operator, text) as service:
            await connected(service.ports[0], HEAD % b"/one" + b"\r\n")
            (tmp_path / "access.log").rename(tmp_path / "access.log.1")
            await operator.reload(text)
            await connected(service.ports[0], HEAD % b"/two" + b"\r\n")
        assert "/one" in (tmp_path / "access.log.1").read_text()
        assert "/one" not in (tmp_path / "access.log").read_text()
        assert "/two" in (tmp_path / "access.log").read_text()

    @pytest.mark.parametrize(("before", "after"), [("access.log", "-"), ("-", "access.log"), ("access.log", "")])
    @with_reactor
    async def test_may_become_another(self, operator: Operator, tmp_path: Path, before: str, after: str) -> None:
        text = TCP + '[server]\naccess_log = "%s"\n'
        async with running(operator, text % before) as service:
            await connected(service.ports[0], HEAD % b"/one" + b"\r\n")
            await operator.reload(text % after)
            client = await connected(service.ports[0], HEAD % b"/two" + b"\r\n")
            await says(client, GET, b"HTTP/1.1 404 ")
        found = (tmp_path / "access.log").read_text()
        assert ("/one" in found, "/two" in found) == (before == "access.log", after == "access.log")


class TestAdmin:
    ADMIN = '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
    READY = HEAD % b"/health/ready" + b"\r\n"

    @with_reactor
    async def test_comes_stays_and_goes(self, operator: Operator) -> None:
        async with running(operator, TCP) as service:
            assert service.private_ports == ()
            outcome = await operator.reload(TCP + self.ADMIN)
            assert isinstance(outcome, events.Reloaded)
            assert outcome.others == ("admin",)
            (port,) = service.private_ports
            assert statuses((await connected(port, self.READY)).received) == [200]
            await operator.reload(TCP + TCP + self.ADMIN)
            assert service.private_ports == (port,)
            assert statuses((await connected(port, self.READY)).received) == [200]
            await operator.reload(TCP)
            assert service.private_ports == ()

    @pytest.mark.parametrize("after", ["", '[admin]\nendpoint = "tcp:0:interface=127.0.0.1:backlog=9"\n'])
    @with_reactor
    async def test_who_has_asked_leaves_with_it(self, operator: Operator, after: str) -> None:
        async with running(operator, TCP + self.ADMIN) as service:
            (port,) = service.private_ports
            idle, silent = await connected(port, self.READY), await connected(port)
            await operator.reload(TCP + after)
            await idle.until(lambda: idle.closed)
            await silent.until(lambda: silent.closed)
            for port in service.private_ports:
                assert statuses((await connected(port, self.READY)).received) == [200]

    @with_reactor
    async def test_says_who_we_are_now(self, operator: Operator) -> None:
        async with running(operator, TCP + self.ADMIN) as service:
            client = await connected(service.private_ports[0], self.READY)
            assert b"Server: other\r\n" not in client.received
            await operator.reload('[server]\nheader = "other"\n' + TCP + self.ADMIN)
            await says(client, self.READY, b"Server: other\r\n")

    @pytest.mark.skipif(not tcp_info.IS_COUNTED, reason="Only Linux counts the bytes of a connection.")
    @with_reactor
    async def test_counts_also_what_those_carry_who_came_before_it(self, operator: Operator) -> None:
        async def received() -> float:
            client = await connected(service.private_ports[0], HEAD % b"/metrics" + b"Connection: close\r\n\r\n")
            await client.until(lambda: client.closed)
            (line,) = re.findall(rb'switchd_bytes_total{direction="received"} (.*)', client.received)
            return float(line)

        async with running(operator, TCP + ADDONE) as service:
            client = await connected(service.ports[0], ASK)
            await operator.reload(TCP + ADDONE + self.ADMIN)
            before = await received()
            assert before >= len(ASK)
            (connection,) = service.factory.connections
            gone = service.factory.when_empty()
            client.transport.abortConnection()
            await gone
            assert await received() >= before

    @with_reactor
    async def test_the_control_socket_comes_moves_and_goes(self, operator: Operator, tmp_path: Path) -> None:
        control = '[admin]\ncontrol = "%s.sock"\n'
        one, other = tmp_path / "one.sock", tmp_path / "other.sock"
        async with running(operator, TCP):
            await operator.reload(TCP + control % "one")
            assert one.is_socket()
            outcome: Any = await operator.reload(TCP + control % "no/such/folder")
            assert outcome.why == f"cannot listen on {tmp_path}/no/such/folder.sock: No such file or directory"
            assert one.is_socket()
            await operator.reload(TCP + TCP + control % "one")
            assert one.is_socket()
            await operator.reload(TCP + control % "other")
            assert (one.exists(), other.is_socket()) == (False, True)
            await operator.reload(TCP)
            assert not other.exists()

    @with_reactor
    async def test_counts_what_is_new(self, operator: Operator) -> None:
        async with running(operator, TCP + self.ADMIN) as service:
            await operator.reload(TCP + ADDONE + self.ADMIN)
            await connected(service.ports[0], ASK)
            metrics = await connected(service.private_ports[0], HEAD % b"/metrics" + b"Connection: close\r\n\r\n")
            await metrics.until(lambda: metrics.closed)
            accepted = b'switchd_switches_total{outcome="accepted",path="/addone",token="addone"} 1.0'
            assert accepted in metrics.received
            assert b'switchd_reloads_total{outcome="done"} 1.0' in metrics.received


class TestOrder:
    @with_reactor
    async def test_several_at_once_come_one_after_the_other(self, operator: Operator) -> None:
        async with running(operator, TCP) as service:
            first = operator.reload(TCP + ADDONE)
            second = operator.reload(TCP)
            outcomes: Any = await DeferredList([first, second])
            assert [outcome.switches for _, outcome in outcomes] == [0, 0]
            assert service.factory.entries == ()

    @with_reactor
    async def test_of_a_server_that_stops_there_is_none(self, operator: Operator) -> None:
        service = operator.start(TCP)
        stopped = service.stopService()
        assert await operator.reload(TCP + TCP) == events.NotReloaded(str(operator.file), "the server stops")
        await stopped
        assert service.ports == ()

    @with_reactor
    async def test_a_hangup_is_heard_from_when_it_listens_until_it_has_ended(
        self, operator: Operator, told: list[events.Event]
    ) -> None:
        others: list[int] = []
        before = signal.signal(signal.SIGHUP, lambda number, frame: others.append(number))
        service = operator.make(TCP)
        service.privilegedStartService()
        signal.raise_signal(signal.SIGHUP)
        service.startService()
        await connected(service.ports[0], GET)
        assert len([event for event in told if isinstance(event, events.Reloaded)]) == 1
        stopped = service.stopService()
        signal.raise_signal(signal.SIGHUP)
        await stopped
        assert events.NotReloaded(str(operator.file), "the server stops") in told
        assert others == []
        signal.raise_signal(signal.SIGHUP)
        assert others == [signal.SIGHUP]
        signal.signal(signal.SIGHUP, before)

    @with_reactor
    async def test_nor_is_there_without_a_file(self, operator: Operator) -> None:
        service = SwitchService(operator.start(TCP)._assembly, reactor)
        service.privilegedStartService()
        service.startService()
        outcome = await service.reload()
        assert isinstance(outcome, events.NotReloaded)
        await DeferredList([service.stopService(), operator.service.stopService()])
        await deferLater(reactor, 0)
