"""`haproxy:` endpoints: headers that are right, that come in pieces, and that are none."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import capturedLogs
from twisted.protocols.haproxy._v1parser import V1Parser
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper

from switchd import config, events, listeners
from switchd.haproxy import Proxied, WrappingFactory
from switchd.testing import CLIENT, Wire, cuts
from tests.serving import Shout
from tests.wires import one

V1 = b"PROXY TCP4 198.51.100.7 198.51.100.8 1234 80\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_PROXY = V2 + b"\x21\x11\x00\x0c" + bytes([198, 51, 100, 7, 198, 51, 100, 8]) + b"\x04\xd2\x00\x50"
NOBODY = [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: ff:: 1 1\r\n", V2 + b"\x20\x00\x00\x00", V2 + b"\x21\x00\x00\x00"]


def sent(*segments: bytes) -> tuple[str, Wire]:
    """From whom a protocol behind this has its connection; empty if it is closed."""
    wire = Wire(WrappingFactory(one(Shout)))
    for segment in segments:
        wire.send(segment)
    peer = events.address(wire.transport.protocol.getPeer()) if not wire.closed else ""
    return peer, wire


@pytest.mark.parametrize("header", [V1, V2_PROXY, b"PROXY TCP4 198.51.100.7 ::1 1234 80\r\n"])
def test_who_is_connected_is_whom_the_header_names(header: bytes) -> None:
    peer, wire = sent(header + b"early", b" late")
    assert (peer, wire.received) == ("198.51.100.7:1234", b"EARLY LATE")


@pytest.mark.parametrize("header", NOBODY)
def test_if_it_names_nobody_it_is_the_proxy_itself(header: bytes) -> None:
    peer, wire = sent(header + b"hello")
    assert (peer, wire.received) == (events.address(CLIENT), b"HELLO")


def test_a_header_that_is_text_may_come_in_pieces() -> None:
    for segments in cuts(V1 + b"hello"):
        peer, wire = sent(*segments)
        assert (peer, wire.received) == ("198.51.100.7:1234", b"HELLO")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 localhost 198.51.100.8 1234 80\r\n",
        b"PROXY TCP4 198.51.100.7 \x1b[31m 1234 80\r\n",
        b"PROXY TCP4 198.51.100.7 198.51.100.8 x 80\r\n",
        b"PROXY TCP4 198.51.100.7 198.51.100.8 1234 65536\r\n",
        b"PROXY TCP4 198.51.100.7 198.51.100.8 -1 80\r\n",
        b"PROXY TCP4 198.51.100.7\xff 198.51.100.8 1234 80\r\n",
        b"PROXY TCP4 198.51.100.7\r\n",
        b"PROXY " + b"x" * 200,
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        V2 + b"\x21\xff\x00\x00",
        V2 + b"\x21\x11\x00\x02ab",
    ],
)
def test_what_is_no_header_ends_the_connection_and_nothing_has_failed(header: bytes) -> None:
    with capturedLogs() as logged:
        peer, wire = sent(header)
    assert (peer, wire.received, logged) == ("", b"", [])


@given(st.lists(st.binary(max_size=40), max_size=3), st.sampled_from([b"PROXY TCP4 ", b"PROXY ", V2, b""]))
def test_whatever_it_is_nothing_fails(parts: list[bytes], before: bytes) -> None:
    with capturedLogs() as logged:
        sent(before + b" ".join(parts) + b"\r\n")
    assert logged == []


def test_an_endpoint_has_it_by_its_name() -> None:
    (made,), mistakes = listeners.prepare([config.Listen("haproxy:tcp:0")], Path(), reactor)
    assert mistakes == ()
    assert isinstance(made.endpoint, Proxied)
    assert isinstance(made.endpoint.endpoint, TCP4ServerEndpoint)
    _, (mistake,) = listeners.prepare([config.Listen("haproxy:nothing:0", "listen[0]")], Path(), reactor)
    assert mistake.problem.startswith('"haproxy:nothing:0" is no endpoint')


def test_what_is_known_of_twisteds_own_is_still_so() -> None:
    """`_Wrapper` puts its reader where Twisted's looks for one, and `_Reader` its checks where that reads a line."""
    assert "parser = self._parser\n        if parser is None:" in inspect.getsource(HAProxyProtocolWrapper.dataReceived)
    assert "except InvalidProxyHeader:" in inspect.getsource(HAProxyProtocolWrapper.dataReceived)
    assert "info = self.parse(header)" in inspect.getsource(V1Parser.feed)
    assert V1Parser.PROXYSTR == b"PROXY"
