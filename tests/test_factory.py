"""From a configuration to a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from switchd import config, engine
from switchd.errors import ConfigurationError
from switchd.factory import SwitchFactory, assemble
from switchd.first import First
from switchd.http1 import Channel
from switchd.testing import Wire
from tests.serving import HEAD, PLAIN, SWITCH, Accepts, Page, Site, statuses
from tests.wires import KINDS, Kind, TLSWire


def test_every_mistake_of_every_layer_is_reported_at_once() -> None:
    text = """
        [server]
        advertise = 1
        [[listen]]
        endpoint = "nothing:1"
        [[http]]
        path = "/"
        static = "not there"
        [[switch]]
        path = "/a"
        protocol = "nobody"
        [[switch]]
        path = "/b"
        protocol = "addone"
        max_digits = 0
    """
    with pytest.raises(ConfigurationError) as raised:
        assemble(*config.parse(text, "test.toml", Path("/nowhere")), reactor)
    assert [mistake.key for mistake in raised.value.mistakes] == [
        "server.advertise",
        "listen[0].endpoint",
        "http[0].static",
        "switch[0].protocol",
        "switch[1].max_digits",
    ]
    assert str(raised.value).startswith("test.toml: server.advertise: expected true or false, got 1\n")


def test_an_access_log_in_a_folder_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        assemble(*config.parse('server.access_log = "logs/a.log"', "test.toml", tmp_path, ["tcp:0"]), reactor)
    said = f"test.toml: server.access_log: {tmp_path}/logs is no folder that can be written to"
    assert str(raised.value) == said
    (tmp_path / "logs").mkdir()
    assemble(*config.parse('server.access_log = "logs/a.log"', "test.toml", tmp_path, ["tcp:0"]), reactor)


def test_an_access_log_that_would_not_be_a_file_is_a_mistake(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.log")  # to open which would wait for a reader
    with pytest.raises(ConfigurationError, match=r"server\.access_log: .*/a\.log is no file that can be written to"):
        assemble(*config.parse('server.access_log = "a.log"', "test.toml", tmp_path, ["tcp:0"]), reactor)


def test_the_built_in_configuration_is_sound_and_adds_one() -> None:
    clock = Clock()
    factory = SwitchFactory(assemble(*config.default(), reactor), clock, lambda event: None)
    wire = Wire(factory, clock)
    wire.send(HEAD % b"/addone" + b"Connection: upgrade\r\nUpgrade: addone\r\n\r\n41\n")
    assert wire.received.endswith(b"\r\n\r\n42\n")
    wire = Wire(factory, clock)
    wire.send(PLAIN)
    assert statuses(wire.received) == [200]
    assert b"switchd connect" in wire.received


def test_alpn_offers_what_is_spoken_whatever_twisted_web_could(monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.web import http

    monkeypatch.setattr(http, "H2_ENABLED", True)
    assert Site().factory.acceptableProtocols() == [b"h2", b"http/1.1"]


def test_a_connection_begins_with_our_own_channel_and_no_wrapper() -> None:
    site = Site()
    wire = site.connect()
    (connection,) = site.factory.connections
    assert isinstance(connection.protocol, First)
    wire.send(PLAIN)
    (connection,) = site.factory.connections
    assert isinstance(connection.protocol, Channel)


@pytest.mark.parametrize(("header", "sent"), [("switchd", b"switchd"), ("x/1 (y)", b"x/1 (y)"), ("", None)])
def test_the_server_field_is_the_configured_one_in_every_kind_of_answer(header: str, sent: bytes | None) -> None:
    site = Site(settings=f'server.header = "{header}"')
    for data in (PLAIN, b"BAD\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"):
        wire = site.connect()
        wire.send(data)
        lines = wire.received.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert [line for line in lines if line.startswith(b"Server")] == ([b"Server: " + sent] if sent else [])
        assert sum(line.startswith(b"Date: ") for line in lines) == 1


class TestAccessLog:
    def lines(self, tmp_path: Path, setting: str) -> list[str]:
        text = f'server.access_log = "{setting}"'
        site = Site({"/shout": Accepts()}, settings=text)
        site.factory.logPath = str(tmp_path / setting) if setting not in ("", "-") else None
        written: list[str] = []
        site.factory.doStart()
        if setting == "-":
            site.factory._logFile = type("File", (), {"write": lambda self, line: written.append(line)})()
        wire = site.connect()
        wire.send(PLAIN.replace(b"\r\n\r\n", b'\r\nUser-Agent: "x\r\n\r\n') + SWITCH)
        wire.reset()
        if setting != "-":
            site.factory.doStop()
        found = tmp_path / setting
        return written if setting == "-" else found.read_text().splitlines() if found.is_file() else []

    def test_has_a_line_in_combined_format_for_an_ordinary_request_and_none_for_a_switch(self, tmp_path: Path) -> None:
        (line,) = self.lines(tmp_path, "access.log")
        assert line == '"192.0.2.1" - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 6 "-" "\\"x"'

    def test_has_those_who_are_answered_after_listening_has_ended(self, tmp_path: Path) -> None:
        class Late(Resource):
            isLeaf = True

            def render(self, request: Any) -> Any:
                self.request = request
                return NOT_DONE_YET

        late = Late()
        site = Site(root=late)
        site.factory.logPath = str(tmp_path / "access.log")
        site.factory.doStart()
        wire = site.connect()
        wire.send(PLAIN)
        site.factory.doStop()
        late.request.finish()
        wire.half_close()
        assert wire.closed
        (line,) = (tmp_path / "access.log").read_text().splitlines()
        assert '"GET / HTTP/1.1" 200' in line
        assert site.factory._logFile is None

    def test_goes_to_twistds_log_by_default(self, tmp_path: Path) -> None:
        assert len(self.lines(tmp_path, "-")) == 1

    def test_can_be_switched_off(self, tmp_path: Path) -> None:
        assert self.lines(tmp_path, "") == []


def test_requests_have_names_of_their_own() -> None:
    switch = Accepts(late=True)
    site = Site({"/shout": switch})
    names: list[Any] = []
    for _ in range(3):
        switch.arrived = type(switch.arrived)()
        site.connect().send(SWITCH)
        names.append(switch.asked[-1].id)
    assert len(set(names)) == 3


@pytest.mark.parametrize(("setting", "told"), [("", 2), ("server.switch_log = false", 0)])
def test_a_switch_and_its_end_are_told_unless_that_is_switched_off(setting: str, told: int) -> None:
    site = Site({"/shout": Accepts()}, settings=setting)
    wire = site.connect()
    wire.send(SWITCH)
    wire.reset()
    assert len(site.events) == told


@pytest.mark.parametrize(
    ("text", "name"), [("", "lean"), *((f'server.http2_engine = "{one}"', one) for one in engine.NAMES)]
)
def test_the_engine_of_http_2_is_the_one_that_is_configured(text: str, name: engine.Name) -> None:
    factory = SwitchFactory(assemble(*config.parse(text, "test.toml", Path(), ["tcp:0"]), reactor), Clock())
    assert factory.engine is engine.named(name)
    assert engine.named("lean") is not engine.named("h2")


class TestAConnectionThatAsksNothing:
    @pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
    def test_is_closed_in_time(self, kind: Kind) -> None:
        site = Site()
        wire = site.connect(kind)
        wire.clock.advance(19)
        wire.turn()
        assert not wire.closed
        for seconds in (1, 30):  # in TLS, the client has half a minute to take leave
            wire.clock.advance(seconds)
            wire.turn()
        assert wire.transport.disconnected
        assert site.factory.connections == set()
        assert wire.clock.getDelayedCalls() == []

    def test_is_not_answered_afterwards(self) -> None:
        page = Page()
        wire = Site(root=page).connect(TLSWire)
        wire.clock.advance(20)
        wire.send(PLAIN)
        assert page.requests == []
