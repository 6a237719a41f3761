"""RFC 9931, security considerations for optimistic protocol transitions: rows 16 and 18."""

from __future__ import annotations

from switchd.interfaces import Early
from switchd.plugins import find
from tests.serving import PLAIN, SWITCH, Accepts, Page, Site, statuses


def test_row_16_after_a_rejected_connect_nothing_more_is_processed() -> None:
    page = Page()
    wire = Site(root=page).connect()
    wire.send(b"CONNECT example.org:80 HTTP/1.1\r\nHost: example.org:80\r\n\r\n")
    wire.send(PLAIN)
    assert statuses(wire.received) == [501]
    assert page.requests == []
    assert wire.transport.sent_eof


def test_row_18_a_token_can_forbid_optimistic_data() -> None:
    """The rule is for the designers of tokens; a plugin keeps it with `Early.REFUSE`."""
    wire = Site({"/shout": Accepts(early=Early.REFUSE)}).connect()
    wire.send(SWITCH + b"optimistic")
    assert statuses(wire.received) == [400]


def test_row_18_addone_takes_optimistic_data_on_purpose() -> None:
    """ADDONE is there to be tried with one `printf`. Its input is no request: no line of digits is one."""
    (found,) = [each for each in find().plugins if each.plugin.name == "addone"]
    assert found.plugin.tokens == (b"addone",)
    wire = Site().connect()
    wire.send(b"41\n\r\n")
    assert statuses(wire.received) in ([], [400])
