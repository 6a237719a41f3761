"""The page of a new server."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import unescape
from typing import Any

import pytest
from twisted.internet import reactor

from switchd import config
from switchd.factory import SwitchFactory, assemble
from switchd.negotiation import Entry
from switchd.pages import index
from switchd.pages.landing import Visit, commands, host
from switchd.testing import SERVER, Wire
from tests.serving import HEAD, PLAIN, Says, Site, answers, statuses
from tests.wires import TLSWire

ADDONE = Entry("/addone", "addone", (b"addone",), Says())
ECHO = Entry("/echo", "websocket", (b"websocket",), Says())
CHAT = Entry("/chat", "websocket", (b"websocket",), Says())
OTHER = Entry("/other", "other", (b"first/1", b"second"), Says())

REACHED = "192.0.2.1:8080"


def page(
    entries: Sequence[Entry] = (), request: bytes = PLAIN, kind: Any = Wire
) -> tuple[int, Mapping[bytes, bytes], str]:
    """What the page is, on a server with these switches: its status, its header fields, and its text."""
    wire = Site(entries, index()).connect(kind)
    wire.send(request)
    ((status, fields, body),) = answers(wire.received)
    return status, fields, body.decode()


def shown(text: str) -> list[str]:
    """The commands on a page, as they are copied from it."""
    return [unescape(command) for command in re.findall("<pre><code>(.*?)</code></pre>", text, re.DOTALL)]


def policy(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """The Content-Security-Policy, by directive."""
    directives = fields[b"content-security-policy"].decode().split("; ")
    return {name: value for name, _, value in (each.partition(" ") for each in directives)}


def hashed(text: str) -> str:
    """The source expression that permits an inline element with this content."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


class TestWhatIsSaid:
    def test_of_the_reference_configuration_every_path_with_a_command(self) -> None:
        factory = SwitchFactory(assemble(*config.default(), reactor), Site().clock, lambda event: None)
        wire = Wire(factory)
        wire.send(b"GET / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n")
        ((status, fields, body),) = answers(wire.received)
        assert (status, fields[b"content-type"]) == (200, b"text/html; charset=utf-8")
        assert shown(body.decode()) == [
            "echo 41 | switchd connect http://localhost:8080/addone --protocol addone",
            r"printf 'GET /addone HTTP/1.1\r\nHost: localhost:8080\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n"
            r"41\n' | nc -N localhost 8080",
            "npx wscat -c ws://localhost:8080/echo",
            "curl -i --http2 http://localhost:8080/",
            "curl -i --http2-prior-knowledge http://localhost:8080/",
            "curl -i http://localhost:8080/",
        ]

    def test_the_switches_in_the_order_of_the_file_with_plugin_and_tokens(self) -> None:
        _, _, text = page([OTHER, ECHO, ADDONE])
        assert re.findall("<h3><code>(.*)</code> <span>(.*)</span>", text) == [
            ("/other", "other"),
            ("/echo", "websocket"),
            ("/addone", "addone"),
        ]
        assert "Upgrade: first/1, second" in text
        assert "switchd connect http://example.org/other --protocol first/1" in shown(text)

    def test_the_address_that_was_reached(self) -> None:
        assert f"<code>{SERVER.host}:{SERVER.port}</code>" in page()[2]

    def test_without_a_switch_only_ordinary_http(self) -> None:
        assert shown(page()[2]) == ["curl -i http://example.org/"]

    def test_over_tls_only_commands_that_speak_it(self) -> None:
        _, _, text = page([ADDONE, ECHO], kind=TLSWire)
        assert shown(text) == [
            "echo 41 | switchd connect https://example.org/addone --protocol addone",
            "npx wscat -c wss://example.org/echo",
            "curl -i https://example.org/",
        ]


class TestCommands:
    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ("example.org", "example.org"),
            ("example.org:81", "example.org:81"),
            ("[::1]:8080", "[::1]:8080"),
            ("", REACHED),
            ("$(reboot)", REACHED),
            ("a;reboot", REACHED),
            ("a'b", REACHED),
            ("a&b", REACHED),
            ("-oProxyCommand", REACHED),
            ("a:b", REACHED),
            ("a\n", REACHED),
        ],
    )
    def test_name_the_host_asked_for_unless_a_shell_would_read_it_otherwise(self, asked: str, expected: str) -> None:
        assert host(asked, REACHED) == expected

    @pytest.mark.parametrize("reached", ["/run/switchd/http.sock", "http.sock", "a:1;reboot", "unix", "unknown"])
    def test_name_localhost_if_nothing_better_is_known(self, reached: str) -> None:
        assert host("", reached) == "localhost"

    def test_are_words_of_a_shell_whatever_the_path_and_the_token_are(self) -> None:
        entry = Entry("/a 'b'/%2F/ä", "other", (b"x'`$&",), Says())
        visit = Visit(REACHED, "[::1]", False)
        assert commands(entry, visit) == (
            "switchd connect 'http://[::1]/a%20%27b%27/%252F/%C3%A4' --protocol 'x'\"'\"'`$&'",
        )

    def test_by_hand_have_a_host_and_a_port_and_a_path_that_printf_leaves_alone(self) -> None:
        entry = Entry("/add one", "addone", (b"addone",), Says())
        _, by_hand = commands(entry, Visit(REACHED, "[::1]", False))
        assert by_hand.startswith(r"printf 'GET /add%%20one HTTP/1.1\r\nHost: [::1]\r\n")
        assert by_hand.endswith(" | nc -N ::1 80")


class TestNothingGetsIn:
    @pytest.mark.parametrize("asked", [b"$(reboot)", b"a'b", b"a&copy;", b"a%3Cscript%3E", b""])
    def test_by_the_host_field(self, asked: bytes) -> None:
        status, _, text = page([ADDONE, ECHO], b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % asked)
        assert status == 200
        assert not asked or asked.decode() not in text
        assert f"npx wscat -c ws://{SERVER.host}:{SERVER.port}/echo" in shown(text)

    def test_by_a_request_without_one(self) -> None:
        assert page([ECHO], b"GET / HTTP/1.0\r\n\r\n")[0] == 200

    def test_by_the_query(self) -> None:
        assert "evil" not in page([ECHO], HEAD % b"/?evil" + b"\r\n")[2]

    def test_by_a_path_or_the_name_of_a_plugin(self) -> None:
        _, _, text = page([Entry("/<script>&amp;", '<img src="x">', (b"&lt",), Says())])
        assert "<h3><code>/&lt;script&gt;&amp;amp;</code> <span>&lt;img src=&quot;x&quot;&gt;</span></h3>" in text
        assert "Upgrade: &amp;lt" in text
        assert not re.search("<script|<img", text)


class TestTheBox:
    @pytest.mark.parametrize(("entries", "there"), [([ADDONE, ECHO], True), ([ADDONE, CHAT], False), ([], False)])
    def test_is_there_if_there_is_an_echo_to_talk_to(self, entries: list[Entry], there: bool) -> None:
        _, fields, text = page(entries)
        assert ('id="log"' in text) == there
        assert ("<script" in text) == there
        assert ("script-src" in policy(fields)) == there
        assert ("connect-src" in policy(fields)) == there

    def test_is_not_there_for_another_protocol_on_its_path(self) -> None:
        assert 'id="log"' not in page([Entry("/echo", "other", (b"other",), Says())])[2]


class TestThePage:
    def test_permits_what_it_has_and_nothing_else(self) -> None:
        _, fields, text = page([ECHO])
        (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
        (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
        assert policy(fields) == {
            "default-src": "'none'",
            "style-src": hashed(style),
            "script-src": hashed(script),
            "connect-src": "'self'",
            "img-src": "data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert fields[b"x-content-type-options"] == b"nosniff"
        assert not re.search(r'\s(?:on[a-z]+|style)\s*="', text)  # no policy with hashes would run these

    def test_needs_nothing_from_elsewhere(self) -> None:
        _, _, text = page([ADDONE, ECHO])
        assert re.findall(r'(?:src|href)\s*=\s*"(.*?)"', text) == ["data:,"]
        assert not re.search(r"url\(|@import|innerHTML", text)

    def test_is_not_kept_since_it_says_what_is_configured_now(self) -> None:
        assert page()[1][b"cache-control"] == b"no-store"

    def test_is_known_by_its_head(self) -> None:
        _, got, text = page([ECHO])
        status, fields, body = page([ECHO], PLAIN.replace(b"GET", b"HEAD"))
        assert (status, fields, body) == (200, got, "")
        assert int(fields[b"content-length"]) == len(text.encode())

    def test_is_at_its_own_path_only(self) -> None:
        wire = Site(root=index()).connect()
        wire.send(HEAD % b"/other" + b"\r\n")
        assert statuses(wire.received) == [404]
