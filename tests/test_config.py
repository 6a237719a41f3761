"""switchd.config: TOML in, values and mistakes out."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchd import config
from switchd.config import Admin, Config, Http, HttpTls, Limits, Listen, Peers, Server, Switch, parse
from switchd.protocols.addone import AddOne
from switchd.protocols.h2c import H2c
from switchd.protocols.websocket.switch import WebSocket
from switchd.schema import keys

FOLDER = Path("/etc/switchd")
REFERENCE = Path(config.__file__).with_name("default.toml")
LISTEN = '[[listen]]\nendpoint = "tcp:8080"\n'

PATH = 'a path that starts with "/", without "?", "#" and control characters'

SERVER_KEYS = (
    "advertise, prefer, header, access_log, switch_log, http2_engine, extended_connect, trusted_proxies,"
    " forwarded_header"
)


def read(text: str, listen: Sequence[str] = ()) -> tuple[Config, list[str]]:
    """A configuration, and its mistakes as an operator sees them, one a line."""
    value, mistakes = parse(text, "switchd.toml", FOLDER, listen)
    return value, [f"{mistake.key}: {mistake.problem}" for mistake in mistakes]


def wrong(text: str) -> list[str]:
    """The mistakes of a file that has a listener besides `text`."""
    return read(text + "\n" + LISTEN)[1]


# A file that is right


def test_a_whole_file_becomes_one_value() -> None:
    text = """
        [server]
        advertise = true
        prefer = "server"
        header = ""
        access_log = "access.log"

        [[listen]]
        endpoint = "tcp:8080"
        [[listen]]
        endpoint = "unix:/run/switchd.sock"

        [[http]]
        path = "/"
        static = "site/"
        [[http]]
        path = "/app"
        wsgi = "package.module:app"

        [[switch]]
        path = "/addone"
        protocol = "addone"
        require = true
        max_digits = 7

        [limits]
        head_bytes = 8192
        head_seconds = 5
    """
    assert read(text) == (
        Config(
            server=Server(advertise=True, prefer="server", header="", access_log="access.log"),
            listen=(Listen("tcp:8080", "listen[0]"), Listen("unix:/run/switchd.sock", "listen[1]")),
            http=(Http("/", static="site/", key="http[0]"), Http("/app", wsgi="package.module:app", key="http[1]")),
            switch=(Switch("/addone", "addone", require=True, options={"max_digits": 7}, key="switch[0]"),),
            limits=Limits(head_bytes=8192, head_seconds=5.0),
            file="switchd.toml",
            folder=FOLDER,
        ),
        [],
    )


def test_everything_but_a_listener_may_be_left_out() -> None:
    value, mistakes = read(LISTEN)
    assert mistakes == []
    assert value == Config(listen=(Listen("tcp:8080", "listen[0]"),), file="switchd.toml", folder=FOLDER)


def test_an_integer_will_do_for_a_number_and_becomes_one() -> None:
    value, _ = read(f"{LISTEN}[limits]\nhead_seconds = 5")
    assert type(value.limits.head_seconds) is float


def test_a_range_includes_its_ends() -> None:
    assert wrong("[limits]\nlinger_seconds = 0\nhead_seconds = 3600\nheader_count = 1") == []


def test_values_are_frozen() -> None:
    value, _ = read(LISTEN)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.limits.head_bytes = 1  # type: ignore[misc]


def test_tls_is_a_table_of_its_listener() -> None:
    tls = '[listen.tls]\ncertificate = "cert.pem"\nkey = "key.pem"\n'
    value, mistakes = read(LISTEN + tls + 'alpn = ["http/1.1"]\n' + LISTEN)
    assert mistakes == []
    with_tls = HttpTls(certificate="cert.pem", key="key.pem", alpn=("http/1.1",))
    assert value.listen == (Listen("tcp:8080", "listen[0]", with_tls), Listen("tcp:8080", "listen[1]"))


def test_a_farewell_has_as_long_as_the_server_or_less() -> None:
    switches = "".join(
        f'[[switch]]\npath = "/"\nprotocol = "addone"\n{line}\n'
        for line in ("", "drain_seconds = 7", "drain_seconds = 8")
    )
    value, mistakes = read(f"{LISTEN}{switches}[limits]\nshutdown_seconds = 7.5")
    assert [switch.drain_seconds for switch in value.switch] == [None, 7.0, 8.0]
    assert mistakes == ["switch[2].drain_seconds: expected at most limits.shutdown_seconds, 7.5, got 8.0"]
    assert wrong('[[switch]]\npath = "/"\nprotocol = "addone"\ndrain_seconds = -1') != []


SPOKEN = 'there are "h2" and "http/1.1"'


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("", ["certificate: missing; expected the name of a file or folder"]),
        ('certificate = "c"\nkye = "k"', ['kye: unknown key; did you mean "key"?']),
        (
            'certificate = ""\nkey = 1',
            [
                'certificate: expected the name of a file or folder, got ""',
                'key: expected the name of a file, or "", got 1',
            ],
        ),
        ('certificate = "c"\nminimum_version = "1.1"', ['minimum_version: expected one of "1.2", "1.3", got "1.1"']),
        (
            'certificate = "c"\nclient_certificates = true',
            ['client_certificates: expected one of "none", "optional", "required", got true'],
        ),
        ('certificate = "c"\nalpn = ["h2", "h3"]', [f'alpn: "h3" is an ALPN name without its protocol; {SPOKEN}']),
        ('certificate = "c"\nalpn = ["h2c"]', [f'alpn: "h2c" is an ALPN name without its protocol; {SPOKEN}']),
        ('certificate = "c"\nalpn = []', [f"alpn: expected at least one ALPN name; {SPOKEN}"]),
        ('certificate = "c"\nalpn = "h2"', ['alpn: expected a list, each item text, got "h2"']),
        ('certificate = "c"\nalpn = [2]', ["alpn[0]: expected text, got 2"]),
    ],
)
def test_a_mistake_in_tls_names_its_key(table: str, lines: list[str]) -> None:
    text = f'[[listen]]\nendpoint = "tcp:1"\n[listen.tls]\n{table}\n'
    value, found = read(text)
    assert found == [f"listen[0].tls.{line}" for line in lines]
    assert value.listen == (Listen("tcp:1", "listen[0]"),)


# Listeners from the command line


def test_listen_takes_the_place_of_all_tables() -> None:
    value, mistakes = read(LISTEN, ["tcp:1", "tcp:2"])
    assert (value.listen, mistakes) == ((Listen("tcp:1", "--listen"), Listen("tcp:2", "--listen")), [])


def test_listen_leaves_out_their_tls_too() -> None:
    tls = '[listen.tls]\ncertificate = "cert.pem"\n'
    assert read(LISTEN + LISTEN + tls, ["tcp:1"])[0].left_out == ("listen[1].tls",)
    assert read(LISTEN + LISTEN + tls)[0].left_out == ()


def test_listen_makes_tables_unnecessary() -> None:
    assert read("", ["tcp:1"])[1] == []


def test_tables_are_checked_also_where_they_do_not_count() -> None:
    assert read("[[listen]]\nendpont = 5", ["tcp:1"])[1] == [
        'listen[0].endpoint: missing; expected a Twisted endpoint, for example "tcp:8080"',
        'listen[0].endpont: unknown key; did you mean "endpoint"?',
    ]


def test_an_empty_listen_is_a_mistake_with_the_option_for_a_key() -> None:
    assert read("", [""])[1] == ['--listen: expected a Twisted endpoint, for example "tcp:8080", got ""']


# Mistakes


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(
            '[limits]\nhead_seconds = "ten"',
            ['limits.head_seconds: expected a number of seconds from 0.1 to 3600, got "ten"'],
            id="text for a number",
        ),
        pytest.param(
            "[limits]\nhead_bytes = true",
            ["limits.head_bytes: expected a whole number of bytes from 64 to 65536, got true"],
            id="a bool is no integer",
        ),
        pytest.param(
            "[limits]\nhead_seconds = true",
            ["limits.head_seconds: expected a number of seconds from 0.1 to 3600, got true"],
            id="a bool is no number",
        ),
        pytest.param(
            "[limits]\nhead_bytes = 16384.0",
            ["limits.head_bytes: expected a whole number of bytes from 64 to 65536, got 16384.0"],
            id="a number is no integer",
        ),
        pytest.param(
            "[limits]\nlinger_seconds = nan\nhead_seconds = inf",
            [
                "limits.head_seconds: expected a number of seconds from 0.1 to 3600, got inf",
                "limits.linger_seconds: expected a number of seconds from 0 to 60, got nan",
            ],
            id="no number at all",
        ),
        pytest.param(
            "[limits]\nheader_count = 0",
            ["limits.header_count: expected a whole number of header fields from 1 to 10000, got 0"],
            id="too small",
        ),
        pytest.param(
            f"[limits]\nhead_seconds = {'9' * 400}",
            ["limits.head_seconds: expected a number of seconds from 0.1 to 3600, got an integer of 1329 bits"],
            id="an integer beyond every number",
        ),
        pytest.param(
            f"[limits]\nhead_bytes = 0x{'f' * 5000}",
            ["limits.head_bytes: expected a whole number of bytes from 64 to 65536, got an integer of 20000 bits"],
            id="an integer that Python refuses to write out",
        ),
        pytest.param(
            "[server]\nadvertise = 1", ["server.advertise: expected true or false, got 1"], id="an integer is no bool"
        ),
        pytest.param(
            '[server]\nprefer = "clients"',
            ['server.prefer: expected one of "client", "server", got "clients"'],
            id="no such choice",
        ),
        pytest.param(
            '[server]\nheader = "a\\r\\nSet-Cookie: b"',
            ['server.header: expected printable ASCII without blanks around it, or "", got "a\\r\\nSet-Cookie: b"'],
            id="no header value",
        ),
        pytest.param(
            "[server]\naccess_log = false",
            ['server.access_log: expected the name of a file, "-" or "", got false'],
            id="a bool is no text",
        ),
        pytest.param(
            '[server]\ntrusted_proxies = ["127.0.0.1", "10.0.0.1/8", "unix", "fe80::1%lo", "example.org", "::/0"]',
            [
                'server.trusted_proxies: expected addresses, networks such as "10.0.0.0/8", or "unix",'
                ' got "10.0.0.1/8", "fe80::1%lo", "example.org"'
            ],
            id="proxies are addresses",
        ),
        pytest.param(
            '[server]\nforwarded_header = "x-real-ip"',
            ['server.forwarded_header: expected one of "forwarded", "x-forwarded-for", got "x-real-ip"'],
            id="there are two fields",
        ),
        pytest.param(
            "[server]\ncolour = 3",
            [f"server.colour: unknown key; expected {SERVER_KEYS}"],
            id="unknown key",
        ),
        pytest.param(
            "[limits]\nhead_byte = 3",
            ['limits.head_byte: unknown key; did you mean "head_bytes"?'],
            id="misspelt key",
        ),
        pytest.param(
            "[sever]\nadvertise = true", ['sever: unknown section; did you mean "server"?'], id="misspelt section"
        ),
        pytest.param(
            "colour = 3",
            ["colour: unknown section; expected server, listen, http, switch, limits, peers, admin"],
            id="unknown section",
        ),
        pytest.param(
            "server = 5",
            [f"server: expected a table with the keys {SERVER_KEYS}, got 5"],
            id="a section that is no table",
        ),
        pytest.param(
            '[http]\npath = "/"', ["http: expected [[http]], which may occur several times, got {…}"], id="one bracket"
        ),
        pytest.param("switch = [3]", ["switch[0]: expected a table, got 3"], id="a list of something else"),
        pytest.param(
            '[[http]]\npath = "/"',
            ["http[0]: expected exactly one of static, resource, wsgi, got none of them"],
            id="nothing to serve",
        ),
        pytest.param(
            '[[http]]\npath = "/"\nstatic = "a"\nwsgi = "a:b"',
            ["http[0]: expected exactly one of static, resource, wsgi, got static and wsgi"],
            id="two things to serve",
        ),
        pytest.param(
            '[[http]]\npath = "/"\nresource = "module"',
            ['http[0].resource: expected what to import, as "package.module:name", got "module"'],
            id="a module without a name in it",
        ),
        pytest.param(
            '[[http]]\npath = "/a"\nstatic = "a"\n[[http]]\npath = "/a/"\nstatic = "b"',
            ['http[1].path: is the path of http[0] too: "/a/"'],
            id="a path twice",
        ),
        pytest.param(
            '[[http]]\npath = 1\nstatic = "a"\n[[http]]\npath = 2\nstatic = "b"',
            [f"http[0].path: expected {PATH}, got 1", f"http[1].path: expected {PATH}, got 2"],
            id="two wrong paths are not the same path",
        ),
        pytest.param(
            '[[switch]]\npath = "addone"\n[[switch]]\npath = "/a?b"\nprotocol = ""',
            [
                f'switch[0].path: expected {PATH}, got "addone"',
                "switch[0].protocol: missing; expected the name of a plugin",
                f'switch[1].path: expected {PATH}, got "/a?b"',
                'switch[1].protocol: expected the name of a plugin, got ""',
            ],
            id="switches are counted from 0",
        ),
        pytest.param(
            '[server]\n"a b\\u001b[31m" = 1',
            [f'server."a b\\u001b[31m": unknown key; expected {SERVER_KEYS}'],
            id="a key that a terminal would obey",
        ),
        pytest.param(
            f'[server]\nprefer = "{"x" * 500}"',
            [f'server.prefer: expected one of "client", "server", got "{"x" * 60}"…'],
            id="a long value is cut",
        ),
        pytest.param(
            '[server]\nkey = "server"',
            [f"server.key: unknown key; expected {SERVER_KEYS}"],
            id="key is no key",
        ),
    ],
)
def test_a_mistake_names_its_key_what_was_expected_and_what_there_is(text: str, lines: list[str]) -> None:
    assert wrong(text) == lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(
            "[server]\nadvertise true",
            ": the syntax is wrong: at line 2, column 11: Expected '=' after a key in a key/value pair",
            id="in a line",
        ),
        pytest.param(
            "[server",
            ": the syntax is wrong: at end of document: Expected ']' at the end of a table declaration",
            id="at the end",
        ),
        pytest.param("a = " + "[" * 10_000, ": the syntax is wrong: tables or lists are nested too deeply", id="deep"),
    ],
)
def test_a_syntax_error_is_the_only_mistake_and_says_where(text: str, line: str) -> None:
    value, lines = read(text)
    assert (value, lines) == (Config(file="switchd.toml", folder=FOLDER), [line])


def test_a_number_that_python_does_not_take_is_a_mistake() -> None:
    _, lines = read("a = " + "1" * 5000)
    assert len(lines) == 1
    assert "the syntax is wrong: Exceeds the limit" in lines[0]


@pytest.mark.parametrize("text", ["", "listen = []"])
def test_without_a_listener_there_is_one_mistake(text: str) -> None:
    assert read(text)[1] == ["listen: missing; expected at least one [[listen]] with an endpoint, or --listen ENDPOINT"]


def test_all_mistakes_are_reported_at_once() -> None:
    text = """
        sever = 1
        [server]
        advertise = "yes"
        header = "é"
        [[listen]]
        endpoint = 8080
        [[http]]
        static = "site"
        [[switch]]
        path = "/a"
        require = 1
        [limits]
        head_bytes = "16k"
        switch_second = 1
    """
    assert [line.partition(":")[0] for line in read(text)[1]] == [
        "server.advertise",
        "server.header",
        "listen[0].endpoint",
        "http[0].path",
        "switch[0].protocol",
        "switch[0].require",
        "limits.head_bytes",
        "limits.switch_second",
        "sever",
    ]


def test_what_is_right_beside_a_mistake_is_kept_for_further_checks() -> None:
    text = """
        [server]
        header = 5
        access_log = ""
        [[listen]]
        [[http]]
        path = "no"
        static = "site"
        [[http]]
        path = "/x"
        [[switch]]
        protocol = "addone"
        close = true
        max_digits = 5
        [[switch]]
        path = "/b"
        [limits]
        head_bytes = 2048
        body_bytes = -1
    """
    value, mistakes = read(text)
    assert len(mistakes) == 7
    assert value == Config(
        server=Server(access_log=""),
        listen=(),
        http=(Http("/", static="site", key="http[0]"),),
        switch=(
            Switch("/", "addone", close=True, options={"max_digits": 5}, key="switch[0]"),
            Switch("/b", "", key="switch[1]"),
        ),
        limits=Limits(head_bytes=2048),
        file="switchd.toml",
        folder=FOLDER,
    )


# Files


def test_a_file_is_named_as_the_operator_did_and_its_folder_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.toml").write_text(LISTEN)
    monkeypatch.chdir(tmp_path)
    value, mistakes = config.load("a.toml")
    assert (value.file, value.folder, mistakes) == ("a.toml", tmp_path, ())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "cannot be read: No such file or directory", id="missing"),
        pytest.param(b"a = 1\nb = '\xff'", "cannot be read: it is not UTF-8: line 2 holds the byte 0xff", id="binary"),
        pytest.param(b"#" * (config.FILE_BYTES + 1), "cannot be read: it is longer than 1048576 bytes", id="long"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "a.toml"
    if content is not None:
        file.write_bytes(content)
    value, mistakes = config.load(str(file))
    assert value == Config(file=str(file), folder=tmp_path)
    assert [(mistake.key, mistake.problem) for mistake in mistakes] == [("", problem)]


def test_a_folder_and_an_impossible_name_are_mistakes(tmp_path: Path) -> None:
    assert [config.load(name)[1][0].problem for name in (str(tmp_path), "\0")] == [
        "cannot be read: Is a directory",
        "cannot be read: embedded null byte",
    ]


def test_load_passes_listeners_on(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("")
    value, mistakes = config.load(str(tmp_path / "a.toml"), ["tcp:1"])
    assert (value.listen, mistakes) == ((Listen("tcp:1", "--listen"),), ())


# Budgets


def test_a_listener_has_the_limits_of_all_but_for_those_of_its_own() -> None:
    listeners = f"{LISTEN}[listen.limits]\nhead_seconds = 5\nconnections = 10\n{LISTEN}"
    value, mistakes = read(f"{listeners}[limits]\nhead_bytes = 2048\nhead_seconds = 7\nconnections = 99\nswitched = 9")
    assert mistakes == []
    own, other = map(value.limits_of, value.listen)
    assert own == Limits(head_bytes=2048, head_seconds=5.0, connections=10)
    assert other == Limits(head_bytes=2048, head_seconds=7.0, connections=0)
    assert value.limits == Limits(head_bytes=2048, head_seconds=7.0, connections=99, switched=9)


def test_what_is_wrong_in_limits_is_said_where_it_is() -> None:
    assert read(f"{LISTEN}[listen.limits]\nhead_second = 5\nhead_bytes = 1\n[limits]\nhead_seconds = 0")[1] == [
        "listen[0].limits.head_bytes: expected a whole number of bytes from 64 to 65536, got 1",
        'listen[0].limits.head_second: unknown key; did you mean "head_seconds"?',
        "limits.head_seconds: expected a number of seconds from 0.1 to 3600, got 0",
    ]


def test_what_is_of_the_whole_server_is_no_listener_s() -> None:
    assert read(f"{LISTEN}[listen.limits]\nmemory_bytes = 1\nshutdown_seconds = 1")[1] == [
        "listen[0].limits.shutdown_seconds: holds for the whole server; expected shutdown_seconds in [limits] only",
        "listen[0].limits.memory_bytes: holds for the whole server; expected memory_bytes in [limits] only",
    ]


def test_limits_that_are_no_table_are_a_mistake() -> None:
    value, mistakes = read(f"{LISTEN}limits = 5")
    assert len(mistakes) == 1
    assert mistakes[0].startswith("listen[0].limits: expected a table with the keys head_bytes")
    assert value.limits_of(value.listen[0]) == config.own_limits(Limits())


def test_a_listener_drains_no_longer_than_the_server() -> None:
    value, mistakes = read(f"{LISTEN}drain_seconds = 7\n{LISTEN}drain_seconds = 11")
    assert [listen.drain_seconds for listen in value.listen] == [7.0, 11.0]
    assert mistakes == ["listen[1].drain_seconds: expected at most limits.shutdown_seconds, 10.0, got 11.0"]


def test_those_who_are_exempt_are_addresses_or_networks() -> None:
    sound = '["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "10.1.2.3/8"]'
    assert wrong(f"[peers]\nexempt = {sound}") == []
    assert wrong('[peers]\nexempt = ["10.0.0.0/8", "localhost"]') == [
        'peers.exempt: expected an address or a network such as "192.0.2.1" or "2001:db8::/32", got "localhost"'
    ]


# The reference configuration


def test_the_default_is_the_reference_configuration() -> None:
    value, mistakes = config.default()
    assert mistakes == ()
    assert attrs.evolve(value, switch=()) == Config(
        listen=(Listen("tcp:8080:interface=127.0.0.1", "listen[0]"),),
        http=(Http("/", resource="switchd.pages:index", key="http[0]"),),
        admin=Admin(),
        file="default.toml",
        folder=REFERENCE.parent,
    )
    assert [(switch.path, switch.protocol) for switch in value.switch] == [
        ("/addone", "addone"),
        ("/echo", "websocket"),
        ("/", "h2c"),
    ]
    assert value.switch[1].options["handler"] == "switchd.protocols.websocket:Echo"


def test_the_default_takes_listeners() -> None:
    assert config.default(["tcp:1"])[0].listen == (Listen("tcp:1", "--listen"),)


@pytest.mark.parametrize("cls", [Server, Limits, Peers, Admin])
def test_the_reference_shows_every_default(cls: type) -> None:
    section = tomllib.loads(REFERENCE.read_text())[cls.__name__.lower()]
    fields = [field for field in attrs.fields(cls) if field.default is not None]  # None has no form in TOML
    for field in fields:
        assert section[field.name] == (list(field.default) if isinstance(field.default, tuple) else field.default)
    assert list(section) == [field.name for field in fields]


@pytest.mark.parametrize(
    ("protocol", "cls"), [("addone", AddOne.Options), ("websocket", WebSocket.Options), ("h2c", H2c.Options)]
)
def test_the_reference_shows_every_option_of_a_built_in_and_its_default(protocol: str, cls: type) -> None:
    (table,) = [table for table in tomllib.loads(REFERENCE.read_text())["switch"] if table["protocol"] == protocol]
    shown = {key: value for key, value in table.items() if key not in config.RESERVED}
    fields = attrs.fields(cls)
    assert list(shown) == [field.name for field in fields]
    for field in fields:
        if field.default is not attrs.NOTHING:
            assert shown[field.name] == (list(field.default) if isinstance(field.default, tuple) else field.default)
        assert f"\n    {field.name}: " in inspect.cleandoc(cls.__doc__ or ""), field.name


def test_the_reference_shows_every_key_of_tls_and_its_default() -> None:
    (text,) = re.findall(r"(?m)^#\[listen\.tls\]\n((?:#\S.*\n)+)", REFERENCE.read_text())
    shown = tomllib.loads(text.replace("\n#", "\n").removeprefix("#"))
    assert list(shown) == list(keys(HttpTls))
    for field in attrs.fields(HttpTls):
        if field.default is not attrs.NOTHING and field.name != "key":
            assert shown[field.name] == (list(field.default) if isinstance(field.default, tuple) else field.default)
        assert f"\n    {field.name}: " in inspect.cleandoc((HttpTls.__doc__ or "") + (config.Tls.__doc__ or ""))


@pytest.mark.parametrize("cls", [Server, Listen, Http, Switch, Limits, Peers, Admin])
def test_the_reference_and_the_docstring_mention_every_key(cls: type) -> None:
    _, *parts = re.split(r"(?m)^#?\[+(\w+)\]+$", REFERENCE.read_text())
    section = "".join(text for name, text in zip(parts[::2], parts[1::2], strict=True) if name == cls.__name__.lower())
    for key in keys(cls):
        assert re.search(rf"(?m)^#?{key} *= .*$|^#?\[{cls.__name__.lower()}\.{key}\]$", section), key
        assert f"\n    {key}: " in inspect.cleandoc(cls.__doc__ or ""), key


def test_every_example_in_the_reference_is_right() -> None:
    text = REFERENCE.read_text()
    value, mistakes = parse(re.sub(r"(?m)^#(?=\S)", "", text), "default.toml", FOLDER)
    assert mistakes == ()
    assert (len(value.listen), len(value.http), value.switch[0].require) == (9, 3, False)
    assert [listen.endpoint for listen in value.listen if listen.tls] == ["tcp:8443"]


# Anything at all


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_text_makes_parse_raise(text: str) -> None:
    parse(text, "any", FOLDER)


_CLASSES = (Server, Listen, Http, Switch, Limits, Peers, Admin)
_KEYS = sorted({"options", "key", *(key for cls in _CLASSES for key in keys(cls))})
_names = st.sampled_from(_KEYS) | st.text(max_size=5)
_scalars = st.integers() | st.floats() | st.booleans() | st.text(max_size=20)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3), max_leaves=8
)
_tables = st.dictionaries(_names, _values, max_size=5)
_sections = st.sampled_from(["server", "listen", "http", "switch", "limits", "peers", "admin", "other"])


def _toml(value: Any) -> str:
    """TOML for a value, in a notation that is always right."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(item)}' for key, item in value.items())}}}"
    return str(value)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_sections, _values | _tables | st.lists(_tables, max_size=3), max_size=6))
def test_no_document_makes_parse_raise_and_every_mistake_is_one_bounded_line(document: dict[str, Any]) -> None:
    text = "\n".join(f"{name} = {_toml(value)}" for name, value in document.items())
    assert tomllib.loads(text) is not None
    value, mistakes = parse(text, "any", FOLDER)
    assert isinstance(value, Config)
    for mistake in mistakes:
        assert f"{mistake.key}{mistake.problem}".isprintable()
        assert len(f"{mistake.key}{mistake.problem}") < 1000
