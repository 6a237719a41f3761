"""Where a URL leads, and whose certificates are trusted there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectingCancelledError, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from switchd.client import NoAnswer, client_from_url, trust_root
from switchd.client.urls import _located
from switchd.testing import Wire
from tests.wires import certificate, write_certificate

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: addone\r\nConnection: Upgrade\r\n\r\n"


class Heard(Protocol):
    data = b""

    def dataReceived(self, data: bytes) -> None:
        self.data += data


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "host", "target"),
        [
            pytest.param("http://127.0.0.1:8080/addone", b"127.0.0.1:8080", b"/addone", id="http"),
            pytest.param("http://example.org", b"example.org", b"/", id="without-path"),
            pytest.param("http://[::1]:8080/a", b"[::1]:8080", b"/a", id="ipv6"),
            pytest.param("https://example.org/a?b=c&d#e", b"example.org", b"/a?b=c&d", id="query-and-fragment"),
            pytest.param("HTTP://example.org//a//", b"example.org", b"//a//", id="empty-segments"),
            pytest.param("unix:/run/s.sock:/addone", b"localhost", b"/addone", id="unix"),
            pytest.param("unix:/run/s.sock", b"localhost", b"/", id="unix-without-target"),
        ],
    )
    def test_a_url_says_where_to_connect_and_what_to_ask(self, url: str, host: bytes, target: bytes) -> None:
        endpoint, in_http2, *rest = _located(MemoryReactorClock(), url, None)
        assert IStreamClientEndpoint.providedBy(endpoint)
        assert rest == [host, target]
        assert (in_http2 is not None) is url.startswith("https:")

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:8080",
            "ws://example.org/",
            "http:///a",
            "http://user:secret@example.org/",
            "http://example.org:99999/",
            "http://example.org/a b",
            "http://example.org/\r\nX: y",
            "http://bücher.example/",
        ],
    )
    def test_a_url_of_another_kind_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match=".+"):
            client_from_url(MemoryReactorClock(), url, b"addone")


class TestConnecting:
    def test_it_connects_to_host_and_port_and_asks(self) -> None:
        reactor = MemoryReactorClock()
        connectProtocol(client_from_url(reactor, "http://127.0.0.1:8080/addone", b"addone"), Heard())
        attempt: Any = reactor.tcpClients[0]
        assert attempt[:2] == ("127.0.0.1", 8080)
        wire = Wire(attempt[2].buildProtocol(None), Clock())
        assert wire.received.startswith(b"GET /addone HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n")

    @pytest.mark.parametrize("scheme", ["https", "HTTPS"])
    @pytest.mark.parametrize(("http2", "offered"), [(True, b"\2h2\10http/1.1"), (False, b"\10http/1.1")])
    def test_http_2_is_offered_in_tls_unless_it_shall_not_be(self, scheme: str, http2: bool, offered: bytes) -> None:
        reactor = MemoryReactorClock()
        connectProtocol(client_from_url(reactor, f"{scheme}://127.0.0.1/", b"addone", http2=http2), Heard())
        attempt: Any = reactor.tcpClients[0]
        hello = Wire(attempt[2].buildProtocol(None), Clock()).received
        # The extension ALPN, with its length and that of the list before what is offered (RFC 7301 section 3.1).
        extension = b"".join(length.to_bytes(2, "big") for length in (16, len(offered) + 2, len(offered))) + offered
        assert extension in hello

    def test_port_0_is_not_taken_for_none(self) -> None:
        reactor = MemoryReactorClock()
        connectProtocol(client_from_url(reactor, "http://127.0.0.1:0/", b"addone"), Heard())
        attempt: Any = reactor.tcpClients[0]
        assert attempt[:2] == ("127.0.0.1", 0)

    def test_a_host_among_the_fields_is_the_one_that_is_named(self) -> None:
        reactor = MemoryReactorClock()
        headers = ((b"X", b"1"), (b"host", b"example.org"), (b"X", b"2"))
        connectProtocol(client_from_url(reactor, "unix:/s", b"addone", headers=headers), Heard())
        attempt: Any = reactor.unixClients[0]
        assert Wire(attempt[1].buildProtocol(None), Clock()).received == (
            b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: addone\r\nX: 1\r\nX: 2\r\n\r\n"
        )

    def test_there_is_one_host(self) -> None:
        with pytest.raises(ValueError, match="one Host"):
            client_from_url(MemoryReactorClock(), "unix:/s", b"addone", headers=((b"Host", b"a"), (b"host", b"b")))

    def test_it_fires_with_the_protocol(self) -> None:
        reactor, protocol, outcomes = MemoryReactorClock(), Heard(), list[Any]()
        endpoint = client_from_url(reactor, "unix:/run/s.sock:/addone", b"addone")
        connectProtocol(endpoint, protocol).addBoth(outcomes.append)
        attempt: Any = reactor.unixClients[0]
        assert attempt[0] == "/run/s.sock"
        Wire(attempt[1].buildProtocol(None), Clock()).send(SWITCHED + b"42\n")
        assert outcomes == [protocol]
        assert protocol.data == b"42\n"

    def test_a_connection_that_is_refused_is_the_endpoint_s_error(self) -> None:
        reactor, outcomes = MemoryReactorClock(), list[Any]()
        connectProtocol(client_from_url(reactor, "unix:/run/s.sock", b"addone"), Heard()).addBoth(outcomes.append)
        factory: Any = reactor.unixClients[0][1]
        factory.clientConnectionFailed(reactor.connectors[0], Failure(ConnectionRefusedError()))
        assert outcomes[0].check(ConnectionRefusedError)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "unix:/run/s.sock"])
    def test_a_connection_that_does_not_come_about_in_time_is_an_error(self, url: str) -> None:
        reactor, outcomes = MemoryReactorClock(), list[Any]()
        connectProtocol(client_from_url(reactor, url, b"addone", timeout=10), Heard()).addBoth(outcomes.append)
        reactor.advance(9.9)
        assert outcomes == []
        reactor.advance(0.1)
        assert outcomes[0].check(NoAnswer)
        assert str(outcomes[0].value) == "no connection in time"

    def test_a_connection_that_is_cancelled_is_given_up(self) -> None:
        reactor, outcomes = MemoryReactorClock(), list[Any]()
        connecting = connectProtocol(client_from_url(reactor, "unix:/run/s.sock", b"addone"), Heard())
        connecting.addBoth(outcomes.append)
        connecting.cancel()
        assert outcomes[0].check(ConnectingCancelledError)
        assert reactor.connectors[0].stoppedConnecting


class TestTrust:
    """What is trusted in the end is seen on the wire: tests/e2e/test_client.py."""

    def test_a_file_or_a_folder_of_files_is_trusted(self, tmp_path: Path) -> None:
        _, file = write_certificate(tmp_path)
        file.write_bytes(b"Somebody's:\n" + certificate()[1] * 2)
        (tmp_path / "other.txt").write_text("no certificate")
        for place in (file, tmp_path):
            assert optionsForClientTLS("localhost", trust_root(str(place)))

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"no\.pem cannot be read: No such file or directory"):
            trust_root(str(tmp_path / "no.pem"))

    def test_no_certificate_is_nobody_to_trust(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"there is no certificate in {tmp_path}"):
            trust_root(str(tmp_path))

    def test_a_certificate_that_is_none_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "a.pem"
        file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        with pytest.raises(ValueError, match=r"a\.pem has a certificate that cannot be read"):
            trust_root(str(tmp_path))
