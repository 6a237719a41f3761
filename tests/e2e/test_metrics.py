"""Metrics and health of a real twistd, asked for with curl."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from switchd.transports import tcp_info
from tests.e2e.conftest import CONFIG, SECONDS, need, run, twistd

pytestmark = pytest.mark.e2e

ADMIN = """
[[switch]]
path = "/echo"
protocol = "websocket"
handler = "switchd.protocols.websocket:Echo"
close_seconds = 60.0

[admin]
endpoint = "tcp:0:interface=127.0.0.1"
"""

OPENING = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received:
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


def test_are_told_from_the_start_to_the_end(tmp_path: Path) -> None:
    need("curl")
    file = tmp_path / "switchd.toml"
    file.write_text(CONFIG.replace("shutdown_seconds = 5.0", "shutdown_seconds = 60.0") + ADMIN)
    with twistd(tmp_path, "--config", str(file)) as server:
        found = server.wait_for(r"metrics and health are told on tcp ([\d.]+):(\d+)")
        url = f"http://{found[1]}:{found[2]}"

        def ask(path: str) -> tuple[str, str]:
            body, _, status = run("curl", "-s", "-m", str(SECONDS), "-w", "|%{http_code}", url + path).rpartition("|")
            return status, body

        assert ask("/health/live") == ("200", "alive\n")
        assert ask("/health/ready") == ("200", "ready\n")
        public = f"http://{server.host}:{server.port}/metrics"
        assert "switchd_" not in run("curl", "-s", "-m", str(SECONDS), public)
        with socket.create_connection((server.host, server.port), timeout=SECONDS) as connection:
            connection.sendall(OPENING)
            answer = read_until(connection, b"\r\n\r\n")
            status, text = ask("/metrics")
            assert status == "200"
            samples = {
                (sample.name, *sorted(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
            assert samples["switchd_connections", "websocket"] == 1
            assert samples["switchd_switches_total", "/echo", "accepted", "websocket"] == 1
            if tcp_info.IS_COUNTED:
                assert samples["switchd_bytes_total", "received"] >= len(OPENING)
                assert samples["switchd_bytes_total", "sent"] >= len(answer)

            server.signal(signal.SIGTERM)
            read_until(connection, b"\x88")  # its farewell, which we leave unanswered
            assert ask("/health/live") == ("200", "alive\n")
            assert ask("/health/ready") == ("503", "draining\n")
        assert server.end() == -signal.SIGTERM
