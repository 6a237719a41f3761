"""Clients that were not written here: on a listener with TLS, and by Upgrade (RFC 2817)."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest
from attrs import frozen

from tests.authorities import Authority, write
from tests.e2e.browser import chromium
from tests.e2e.conftest import SECONDS, Server, need, run, twistd

pytestmark = pytest.mark.e2e

CONFIG = """
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"
[listen.tls]
certificate = "cert.pem"
key = "key.pem"

[[http]]
path = "/"
resource = "pages:Page"

[[http]]
path = "/page"
resource = "switchd.pages:index"

[[switch]]
path = "/"
protocol = "tls"
certificate = "cert.pem"
key = "key.pem"

[[switch]]
path = "/ipp"
protocol = "tls"
certificate = "cert.pem"
key = "key.pem"
require = true

[[switch]]
path = "/addone"
protocol = "addone"

[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
"""

PAGES = '''
from twisted.web.resource import Resource


def attribute(tag, name, value):
    return bytes([tag]) + len(name).to_bytes(2, "big") + name + len(value).to_bytes(2, "big") + value


class Page(Resource):
    """Tells how it was asked; and is a printer, which has nothing to say but that all is well."""

    isLeaf = True

    def render(self, request):
        body = request.content.read()
        if request.getHeader("content-type") != "application/ipp":
            return b"%b secure=%d %b" % (request.clientproto, request.isSecure(), body)
        request.setHeader(b"content-type", b"application/ipp")
        assert request.isSecure()
        charset = attribute(0x47, b"attributes-charset", b"utf-8")
        language = attribute(0x48, b"attributes-natural-language", b"en")
        return body[:2] + b"\\0\\0" + body[4:8] + b"\\x01" + charset + language + b"\\x03"
'''

IPP = """
{
    NAME "is all well"
    OPERATION Get-Printer-Attributes
    GROUP operation-attributes-tag
    ATTR charset attributes-charset utf-8
    ATTR naturalLanguage attributes-natural-language en
    ATTR uri printer-uri $uri
    STATUS successful-ok
}
"""

UPGRADE = "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n"
GET = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@frozen
class Site:
    """A server.

    Attributes:
        server: The process.
        clear: Its port without TLS.
        secure: Its port with TLS.
        folder: Where its files are; the authority of its certificate is `ca.pem`.
    """

    server: Server
    clear: int
    secure: int
    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.pem")

    def context(self) -> ssl.SSLContext:
        """What Python's clients need."""
        return ssl.create_default_context(cafile=self.ca)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("server")
    authority = Authority()
    key, cert = authority.issue()
    write(folder, key=key, cert=cert, ca=authority.pem)
    (folder / "key.pem").chmod(0o600)
    (folder / "switchd.toml").write_text(CONFIG)
    (folder / "pages.py").write_text(PAGES)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(folder))
        with twistd(folder, "--config", "switchd.toml") as server:
            secure = server.wait_for(r"listening on tcp [\d.]+:(\d+)")
            yield Site(server, server.port, int(secure[1]), folder)


class TestListener:
    @pytest.mark.parametrize(("version", "spoken"), [("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")])
    def test_curl_has_by_alpn_what_it_asks_for(self, site: Site, version: str, spoken: str) -> None:
        url = f"https://localhost:{site.secure}/"
        assert run(need("curl"), "-sS", "--fail", version, "--cacert", site.ca, url) == f"{spoken} secure=1 "

    def test_h2load_has_a_thousand_requests_answered(self, site: Site) -> None:
        said = run(need("h2load"), "-n1000", "-c4", "-m10", f"https://localhost:{site.secure}/")
        assert "Application protocol: h2" in said
        assert "1000 succeeded, 0 failed" in said

    def test_nodes_http2_client_is_answered(self, site: Site) -> None:
        script = """
            const [, ca, port] = process.argv;
            const trusted = { ca: require("fs").readFileSync(ca) };
            const client = require("http2").connect(`https://localhost:${port}`, trusted);
            const request = client.request({ ":path": "/", ":method": "POST" });
            request.setEncoding("utf8");
            request.on("data", (data) => process.stdout.write(data));
            request.on("end", () => client.close());
            request.end("body");
        """
        assert run(need("node"), "-e", script, site.ca, str(site.secure)) == "HTTP/2 secure=1 body"

    def test_httpx_is_answered_over_http2(self, site: Site) -> None:
        script = (
            "import httpx, ssl, sys\n"
            "client = httpx.Client(http2=True, verify=ssl.create_default_context(cafile=sys.argv[1]))\n"
            "answer = client.get(sys.argv[2])\n"
            "print(answer.http_version, answer.text)"
        )
        url = f"https://localhost:{site.secure}/"
        assert run(sys.executable, "-c", script, site.ca, url) == "HTTP/2 HTTP/2 secure=1 \n"

    def test_pythons_ssl_switches_inside(self, site: Site) -> None:
        connection = socket.create_connection(("127.0.0.1", site.secure), SECONDS)
        with site.context().wrap_socket(connection, server_hostname="localhost") as session:
            assert addone(session) == b"42\n"

    def test_chromium_has_its_page_and_its_websocket(
        self, site: Site, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        with chromium(need("chromium"), tmp_path_factory.mktemp("chromium")) as browser:
            browser.call("Security.setIgnoreCertificateErrors", ignore=True)
            browser.open(f"https://localhost:{site.secure}/")
            assert browser.evaluate("document.body.textContent") == "HTTP/2 secure=1 "
            said = browser.evaluate(
                """new Promise((resolve, reject) => {
                    const socket = new WebSocket(`wss://${location.host}/echo`);
                    socket.onopen = () => socket.send("hello");
                    socket.onmessage = (message) => resolve(message.data);
                    socket.onerror = () => reject(new Error("no WebSocket"));
                })"""
            )
            assert said == "hello"

    def openssl(self, site: Site, *options: str, stdin: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [need("openssl"), "s_client", "-connect", f"127.0.0.1:{site.secure}", "-CAfile", site.ca, *options],
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout + done.stderr

    def test_openssl_agrees_on_http2_with_what_that_allows(self, site: Site) -> None:
        for options in (("-tls1_3",), ("-tls1_2",)):
            status, said = self.openssl(site, "-alpn", "h2,http/1.1", *options)
            assert status == 0
            assert "ALPN protocol: h2" in said
            assert "Compression: NONE" in said
            assert "Verify return code: 0 (ok)" in said

    @pytest.mark.parametrize(
        "options",
        [
            ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
            ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"),
            ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA"),
            ("-tls1_2", "-cipher", "AES128-GCM-SHA256"),
            ("-alpn", "spdy/1"),
        ],
        ids=["TLS 1.1", "CBC", "CBC and SHA-1", "no ephemeral key", "another ALPN name"],
    )
    def test_openssl_is_turned_away(self, site: Site, options: tuple[str, ...]) -> None:
        status, _ = self.openssl(site, *options)
        assert status != 0

    def test_openssl_may_not_renegotiate(self, site: Site) -> None:
        _, said = self.openssl(site, "-tls1_2", stdin="R\n")
        assert "RENEGOTIATING" in said
        assert "no renegotiation" in said

    def test_a_certificate_is_renewed_while_it_runs(self, site: Site) -> None:
        authority = Authority("next")
        key, cert = authority.issue()
        before = (site.folder / "cert.pem").read_bytes(), (site.folder / "key.pem").read_bytes()
        write(site.folder, key=key, cert=cert)
        try:
            end = monotonic() + SECONDS
            while ssl.get_server_certificate(("127.0.0.1", site.secure)).encode() != cert:
                assert monotonic() < end
            assert site.server.wait_for("the certificate in .*cert.pem is read anew")
        finally:
            write(site.folder, cert=before[0], key=before[1])
        while ssl.get_server_certificate(("127.0.0.1", site.secure)).encode() != before[0]:
            assert monotonic() < end + SECONDS


def addone(session: ssl.SSLSocket) -> bytes:
    """A switch to ADDONE, and what it makes of 41."""
    session.sendall(b"GET /addone HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n41\n")
    stream = session.makefile("rb")
    assert stream.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
    while stream.readline() != b"\r\n":
        pass
    return stream.readline()


def upgraded(site: Site) -> socket.socket:
    """A connection whose 101 has come."""
    connection = socket.create_connection(("127.0.0.1", site.clear), SECONDS)
    connection.sendall(UPGRADE.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)  # not a byte of what comes behind it
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n" in head
    return connection


@contextmanager
def relay(target: socket.socket) -> Iterator[int]:
    """A port; what the first who comes there says goes to a connection that is open already, and back."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as listener, target:
        listener.settimeout(SECONDS)

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                back = Thread(target=pump, args=(target, client), daemon=True)
                back.start()
                pump(client, target)
                back.join(SECONDS)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(SECONDS)


class TestUpgrade:
    def test_pythons_ssl_goes_on_inside_and_switches_again(self, site: Site) -> None:
        with site.context().wrap_socket(upgraded(site), server_hostname="localhost") as session:
            answer = session.makefile("rb")
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            while answer.readline() != b"\r\n":
                pass
            assert addone(session) == b"42\n"
        site.server.wait_for(r"switched to TLS/1.2 > addone on /addone")

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_openssl_goes_on_inside(self, site: Site, version: str) -> None:
        with relay(upgraded(site)) as port:
            command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", version, "-quiet", "-no_ign_eof"]
            said = run(*command, "-CAfile", site.ca, "-verify_return_error", "-ign_eof", stdin=GET)
        assert said.count("HTTP/1.1 200 OK") == 2
        assert said.endswith("HTTP/1.1 secure=1 ")

    @pytest.mark.parametrize("options", [["-E"], []], ids=["asked for", "by the 426"])
    def test_cups_asks_a_printer_that_requires_it(self, site: Site, tmp_path: Path, options: list[str]) -> None:
        """It asks by `OPTIONS *`, at once or when it is told to."""
        (tmp_path / "ask.test").write_text(IPP)
        url = f"ipp://127.0.0.1:{site.clear}/ipp/print"
        home = {"HOME": str(tmp_path)}  # where it keeps whom it has trusted
        said = run(need("ipptool"), *options, "-t", url, tmp_path / "ask.test", environment=home)
        assert "[PASS]" in said
        site.server.wait_for(r"switched to TLS/1.2 on \*")

    def test_cups_asks_for_the_scheduler(self, site: Site, tmp_path: Path) -> None:
        home = {"HOME": str(tmp_path)}
        said = run(need("lpstat"), "-E", "-h", f"127.0.0.1:{site.clear}", "-r", environment=home)
        assert said == "scheduler is running\n"
        site.server.wait_for(r"switched to TLS/1.2 on \*")
