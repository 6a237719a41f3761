"""`twistd --uid`: what needs a right is done before it is given up."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.conftest import SECONDS, left_out, twistd
from tests.wires import write_certificate

pytestmark = pytest.mark.e2e

NOBODY = "nobody"
OPTIONS = ("--uid", NOBODY, "--gid", str(pwd.getpwnam(NOBODY).pw_gid))

CONFIG = """
[server]
access_log = "logs/access.log"

[[listen]]
endpoint = "tcp:{port}:interface=127.0.0.1"
[listen.tls]
certificate = "cert.pem"
key = "key.pem"

[[http]]
path = "/"
resource = "switchd.pages:index"

[[switch]]
path = "/addone"
protocol = "addone"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may read, unlike pytest's."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def low_port() -> int:
    """A port that is free, and that root alone may have."""
    for port in range(1023, 511, -1):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    return left_out("This test gives up the right to a low port, so it needs that: it has to be run by root.")


def switched(port: int) -> bytes:
    """What ADDONE says over TLS, to a client that trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection,
        context.wrap_socket(connection) as session,
    ):
        session.sendall(b"GET /addone HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n41\n")
        received = b""
        while not received.endswith(b"\n42\n"):
            data = session.recv(65536)
            assert data, received
            received += data
    return received


def test_low_ports_and_keys_are_had_before_rights_are_given_up(folder: Path) -> None:
    port = low_port()
    key, certificate = write_certificate(folder)
    key.chmod(0o600)
    file = folder / "switchd.toml"
    file.write_text(CONFIG.format(port=port))
    logs = folder / "logs"
    logs.mkdir()
    os.chown(logs, pwd.getpwnam(NOBODY).pw_uid, -1)
    with twistd(folder, "--config", str(file), options=OPTIONS) as server:
        nobody = pwd.getpwnam(NOBODY).pw_uid
        assert (server.port, os.stat(f"/proc/{server.id}").st_uid) == (port, nobody)
        assert switched(port)

        server.signal(signal.SIGHUP)
        server.wait_for(
            r"nothing is changed, .* cannot be used: .*listen\[0\]\.tls\.key: .* cannot be read: Permission"
        )
        assert switched(port), "what has been read is kept"

        assert (logs / "access.log").stat().st_uid == nobody
        os.chown(key, nobody, -1)
        server.signal(signal.SIGHUP)
        server.wait_for(r"reloaded .*switchd\.toml")
        assert switched(port)
        (logs / "access.log").rename(logs / "access.log.1")
        server.signal(signal.SIGHUP)
        server.wait_for(r"reloaded .*switchd\.toml")
        assert (logs / "access.log").exists()
