"""What Linux says of a TCP connection."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from switchd.transports import tcp_info
from switchd.transports.tcp_info import Carried, parsed

INFO = bytearray(232)
struct.pack_into("=QQ", INFO, 120, 5, 1000)  # acknowledged, received
struct.pack_into("=I", INFO, 144, 7)  # not sent
struct.pack_into("=QQ", INFO, 200, 2300, 300)  # sent, and of that again


class Transport:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def getHandle(self) -> Any:
        return self._socket


def test_is_read_where_it_stands() -> None:
    assert parsed(bytes(INFO)) == (1000, 2007)
    assert parsed(bytes(INFO[:216])) == (1000, 2007)


@pytest.mark.parametrize("length", [0, 104, 192, 215])
def test_is_left_out_where_an_older_system_says_less(length: int) -> None:
    assert parsed(bytes(INFO[:length])) == (0, 0)


def carried(transport: Any) -> tuple[int, int]:
    total = Carried(10, 20)
    total.add(transport)
    return total.received - 10, total.sent - 20


@pytest.mark.skipif(not tcp_info.IS_COUNTED, reason="only Linux counts them")
def test_is_what_the_system_has_carried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            transport = Transport(ours)
            assert carried(transport) == (0, 0)
            ours.sendall(b"x" * 5000)
            theirs.sendall(b"y" * 300)
            assert ours.recv(300, socket.MSG_WAITALL) == b"y" * 300
            assert carried(transport) == (300, 5000)
    assert carried(transport) == (0, 0)  # it is closed


def test_is_nothing_where_there_is_no_tcp() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        assert carried(Transport(one)) == (0, 0)
    assert carried(object()) == (0, 0)


def test_is_nothing_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_info, "IS_COUNTED", False)
    with socket.socket() as sock:
        assert carried(Transport(sock)) == (0, 0)


@pytest.mark.skipif(not tcp_info.IS_COUNTED, reason="only Linux knows")
def test_idle_is_what_has_neither_sent_nor_received_for_so_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            ours.sendall(b"x")
            transport = Transport(ours)
            seconds = tcp_info.idle_seconds(transport)
            assert seconds is not None
            assert 0 <= seconds < 60
    assert tcp_info.idle_seconds(transport) is None, "it is closed"


def test_it_is_the_shorter_of_the_two() -> None:
    info = bytearray(232)
    struct.pack_into("=IIII", info, 44, 5000, 1, 3000, 1)  # data sent, acknowledged, data received, acknowledged

    class Handle:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            return bytes(info[:size])

    class Told:
        def getHandle(self) -> Any:
            return Handle()

    if tcp_info.IS_COUNTED:
        assert tcp_info.idle_seconds(Told()) == 3.0
    assert tcp_info.idle_seconds(object()) is None
