"""Events, and how they are written."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from switchd import events


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            events.BrokenPlugin("/p/x.py", "SyntaxError: no"),
            "the plugin file /p/x.py is broken and left out: SyntaxError: no",
        ),
        (events.Listening("tcp 127.0.0.1:80"), "listening on tcp 127.0.0.1:80"),
        (events.AdminListening("tcp 127.0.0.1:81"), "metrics and health are told on tcp 127.0.0.1:81"),
        (
            events.LeftOut("listen[1].tls"),
            "listen[1].tls does not count beside --listen, which serves in clear unless its endpoint is one with TLS",
        ),
        (
            events.Switched("1f", "192.0.2.1:5", "/a", ("TLS/1.3", "addone"), 0.25),
            "1f 192.0.2.1:5 switched to TLS/1.3 > addone on /a after 0.250 s",
        ),
        (
            events.Ended("1f", "192.0.2.1:5", "/a", ("addone",), 2, "client", "closed"),
            "1f 192.0.2.1:5 addone on /a ended by client after 2.000 s: closed",
        ),
        (
            events.Draining(5, 2, 10.0),
            "draining: 5 connections, 2 of them switched, have 10 s to end",
        ),
        (
            events.Drained(seconds=1.5, idle=1, answered=2, farewell=3, cut=4, lost=5),
            "drained in 1.500 s: 1 idle, 2 after an answer, 3 after a farewell, 4 cut, 5 lost",
        ),
        (
            events.Dropped("1f", "192.0.2.1:5", "/a"),
            "1f 192.0.2.1:5 closed without an answer: nobody took its offer on /a",
        ),
        (
            events.Rejected("1f", "192.0.2.1:5", 400, "no"),
            "1f 192.0.2.1:5 request rejected with 400: no",
        ),
    ],
)
def test_an_event_is_one_line_for_people_and_a_value_for_programs(event: events.Logged, line: str) -> None:
    seen: list[LogEvent] = []

    @implementer(ILogObserver)
    class Observer:
        def __call__(self, event: LogEvent) -> None:
            seen.append(event)

    observer = Observer()
    globalLogPublisher.addObserver(observer)
    events.log(event)
    globalLogPublisher.removeObserver(observer)
    (written,) = seen
    assert formatEvent(written) == line
    assert written["event"] == event
    assert written["log_namespace"] == "switchd"


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        (b"/a b", "/a b"),
        (b"/\n\x1b[31m", "/\\n\\x1b[31m"),
        ("/ä".encode(), "/\\xe4"),
        (b"/\xff", "/\\udcff"),
        ("x\0", "x\\x00"),
    ],
)
def test_what_a_client_sent_stays_on_its_line(sent: Any, written: str) -> None:
    assert events.escaped(sent) == written


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (IPv4Address("TCP", "127.0.0.1", 80), "127.0.0.1:80"),
        (IPv6Address("TCP", "::1", 80), "[::1]:80"),
        (UNIXAddress(b"/run/s"), "/run/s"),
        (UNIXAddress(None), "unix"),
        (None, "unknown"),
    ],
)
def test_an_address_in_a_few_words(address: Any, written: str) -> None:
    assert events.address(address) == written
