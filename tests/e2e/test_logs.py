"""Whatever clients send, a real server's log is lines of printable ASCII, and has none of their secrets in it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests import frames
from tests.e2e.conftest import SECONDS, Server, twistd
from tests.websockets import frame
from tests.wires import client_tls, write_certificate

pytestmark = pytest.mark.e2e

EVIL = b"\x1b[31m<script>{event}{0.__class__}%s%(x)s\"'\\\xff\xc2\x9b\xe2\x80\xae"
"""Colours for a terminal, a tag for a page, fields for a format, ends of a quoted text, bytes that are no UTF-8, a
control character of Latin-1, and one that turns a line around."""

IN_A_LINE = EVIL.replace(b"\x1b", b"")
"""The same without what no head may have in it."""

SECRET = b"hunter2"

CONFIG = """
[server]
trusted_proxies = ["127.0.0.1"]
http2_engine = "{engine}"

[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
endpoint = "haproxy:tcp:0:interface=127.0.0.1"

[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"
[listen.tls]
certificate = "cert.pem"
key = "key.pem"

[[http]]
path = "/"
resource = "switchd.pages:index"

[[http]]
path = "/files"
static = "site"

[[switch]]
path = "/"
protocol = "addone"

[[switch]]
path = "/closes"
protocol = "addone"
close = true

[[switch]]
path = "/"
protocol = "h2c"

[[switch]]
path = "/"
protocol = "tls"
certificate = "cert.pem"
key = "key.pem"

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
"""


def heads() -> Iterator[bytes]:
    """Requests with something evil in each place of a head, and with secrets where secrets are."""
    host = b"Host: example.org\r\n"
    query = b"/a?token=%b" % SECRET
    secrets = (
        b"Authorization: Bearer %b\r\nCookie: session=%b\r\nSec-WebSocket-Key: %b\r\nX-Api-Key: %b\r\n"
        b"Referer: http://example.org/?token=%b\r\n"
    ) % ((SECRET,) * 5)
    for evil in (EVIL, IN_A_LINE):
        yield b"GET /%b HTTP/1.1\r\n%b\r\n" % (evil, host)
        yield b"GET /files/%b HTTP/1.1\r\n%b\r\n" % (evil, host)
        yield b"POST /%b HTTP/1.1\r\n%bContent-Length: 0\r\n\r\n" % (evil, host)
        yield b"POST /files/%b HTTP/1.1\r\n%bContent-Length: 0\r\n\r\n" % (evil, host)
        yield b"%b / HTTP/1.1\r\n%b\r\n" % (evil, host)
        yield b"GET http://%b/ HTTP/1.1\r\n%b\r\n" % (evil, host)
        yield b"GET / HTTP/%b\r\n%b\r\n" % (evil, host)
        yield b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % evil
        for name in (b"User-Agent", b"Referer", b"X", b"Forwarded", b"Upgrade", b"Connection", b"Range", b"Cookie"):
            yield b"GET /files/page.txt HTTP/1.1\r\n%b%b: %b\r\n\r\n" % (host, name, evil)
        for name in (b"Content-Length", b"Transfer-Encoding", b"Expect", b"Authorization", b"Content-Type"):
            yield b"POST /%b HTTP/1.1\r\n%b%b: %b\r\n\r\n" % (evil, host, name, evil)
        yield b"GET / HTTP/1.1\r\n%b%b: x\r\n\r\n" % (host, evil)
        for token in (evil, b"addone", b"addone/%b" % evil, b"websocket", b"nothing", b"h2c", b"TLS/1.3"):
            for path in (b"/", b"/echo", b"/closes/%b" % IN_A_LINE):
                asked = b"GET %b HTTP/1.1\r\n%bConnection: upgrade\r\nUpgrade: %b\r\n" % (path, host, token)
                yield asked + b'Sec-WebSocket-Protocol: %b\r\nOrigin: http://%b\r\nForwarded: for="%b"\r\n\r\n' % (
                    (evil,) * 3
                )
    for method in (b"GET", b"POST", b"BREW", b"HEAD"):
        for path in (query, b"/files" + query, b"/files/%ff%1b%0a" + query):
            yield b"%b %b HTTP/1.1\r\n%b%b\r\n" % (method, path, host, secrets)
    for token in (b"addone", b"websocket", b"h2c", b"nothing"):
        switch = b"Connection: upgrade\r\nUpgrade: %b\r\nSec-WebSocket-Version: 13\r\n" % token
        yield b"GET %b HTTP/1.1\r\n%b%b%b\r\n" % (b"/echo?" + SECRET, host, switch, secrets)
        yield b"GET %b HTTP/1.1\r\n%b%b%bHTTP2-Settings: %b\r\n\r\n" % (query, host, switch, secrets, SECRET)


OPENING = (
    b"GET /echo/%b?%b HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % (IN_A_LINE[:9], SECRET)
)


def sockets() -> Iterator[bytes]:
    """WebSockets that end in all kinds of ways."""
    yield OPENING + frame((1000).to_bytes(2, "big") + EVIL[:20], 8)
    yield OPENING + frame((4000).to_bytes(2, "big") + EVIL, 8)
    yield OPENING + frame(EVIL, 1)
    yield OPENING + frame(EVIL, 10) + frame(EVIL, 9) + frame(EVIL, 3)
    yield OPENING + EVIL * 10


def streams() -> Iterator[bytes]:
    """Connections of HTTP/2 by prior knowledge."""
    secrets = [(name, SECRET) for name in (b"authorization", b"cookie", b"x-api-key")]
    for evil in (EVIL, IN_A_LINE, b"a\r\n2026-01-01T00:00:00+0000 [-] forged"):
        for changed in [
            [(b":path", b"/" + evil)],
            [(b":method", evil)],
            [(b":authority", evil)],
            [(b":scheme", evil)],
            [(b"user-agent", evil), (b"referer", evil)],
            [(evil, b"x")],
            [(b"content-length", evil)],
            [(b":method", b"CONNECT"), (b":protocol", evil)],
            [(b":method", b"CONNECT"), (b":protocol", b"addone"), (b":path", b"/" + evil)],
            [(b":path", b"/a?token=" + SECRET), (b"referer", b"/?" + SECRET), *secrets],
            [(b":path", b"/a?token=" + SECRET), (b":method", b"CONNECT"), (b":protocol", b"none"), *secrets],
            [(b"forwarded", b'for="%b"' % evil)],
        ]:
            yield frames.HELLO + frames.headers(1, frames.request(*changed)) + frames.goaway()
        yield frames.HELLO + frames.raw(7, payload=bytes(8) + evil) + frames.raw(1, 1, evil, 5) + evil


def proxied() -> Iterator[bytes]:
    """PROXY headers, right and wrong, of both versions, each with a request behind it."""
    asked = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
    prefix = b"\r\n\r\n\0\r\nQUIT\n"
    for evil in (EVIL, IN_A_LINE):
        yield b"PROXY TCP4 %b 1.1.1.1 1 1\r\n" % evil[:40] + asked
        yield b"PROXY TCP4 1.1.1.1 1.1.1.1 %b 1\r\n" % evil[:40] + asked
        yield b"PROXY TCP6 %b %b 1 1\r\n" % (evil[:30], evil[:30]) + asked
        yield b"PROXY %b\r\n" % evil + asked
        yield b"PROXY TCP4 1.1.1.1\r\n" + asked
        unix = evil.ljust(108, b"\0") * 2
        yield prefix + b"\x21\x31\x00\xd8" + unix + asked
        yield prefix + b"\x21\xff\x00\x0c" + evil[:12] + asked
        yield prefix + b"\x21\x11\x00\x02" + evil[:2] + asked
    yield b"PROXY UNKNOWN\r\n" + asked
    yield prefix + b"\x20\x00\x00\x00" + asked


def say(port: int, data: bytes) -> bytes:
    """Send all of it; what comes until the server's end."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection, suppress(ConnectionError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65536):
            received += data
    return received


def shake_hands(port: int, name: bytes, alpn: bytes) -> None:
    """A TLS handshake that asks for a name and a protocol, and is left."""
    context = client_tls(alpn=[alpn])
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        engine = SSL.Connection(context, None)
        engine.set_tlsext_host_name(name)
        engine.set_connect_state()
        with suppress(SSL.Error):
            engine.do_handshake()
        connection.sendall(engine.bio_read(65536))
        with suppress(ConnectionError):
            connection.recv(65536)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


def assert_clean(log: str) -> None:
    """Lines of printable ASCII, each of which begins as twistd begins them; no secret, and nothing that failed."""
    lines = log.splitlines()
    assert [line for line in lines if not (line.isascii() and line.isprintable())] == []
    assert [line for line in lines if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+ \[\S+\] ", line)] == []
    assert [line for line in lines if SECRET.decode() in line] == []


@pytest.mark.parametrize("engine", ["lean", "h2"])
def test_nothing_that_a_client_sends_reaches_the_log_as_it_is(tmp_path: Path, engine: str) -> None:
    write_certificate(tmp_path)
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.txt").write_text("hello")
    (tmp_path / "switchd.toml").write_text(CONFIG.format(engine=engine))
    with twistd(tmp_path, "--config", "switchd.toml") as server:
        clear, proxy, tls = server.port, *(listening(server) for _ in range(2))
        for data in heads():
            assert b"<script>{event}" not in say(clear, data), data
        for data in (*sockets(), *streams()):
            say(clear, data)
        for data in proxied():
            say(proxy, data)
        for data in (EVIL, next(heads()), b"\x16\x03\x01" + EVIL):
            say(tls, data)
        shake_hands(tls, IN_A_LINE[:60], IN_A_LINE)
    assert_clean(server.log)
    assert r'"\x1b[31m<script>{event}{0.__class__}%s' in server.log, "it has all been asked"


def listening(server: Server) -> int:
    """The port of the next listener."""
    return int(server.wait_for(r"listening on tcp [\d.]+:(\d+)")[1])
