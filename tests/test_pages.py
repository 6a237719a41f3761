"""The page of a new server."""

from __future__ import annotations

import re

from switchd.pages import index
from tests.serving import HEAD, PLAIN, Site, answers, statuses


def test_the_index_is_a_page_that_needs_nothing_from_elsewhere() -> None:
    wire = Site(root=index()).connect()
    wire.send(PLAIN)
    ((status, fields, body),) = answers(wire.received)
    assert (status, fields[b"content-type"]) == (200, b"text/html; charset=utf-8")
    assert b"switchd connect http://127.0.0.1:8080/addone --protocol addone" in body
    assert re.findall(rb"(?:src|href|url)\s*[=(]", body) == []


def test_the_index_is_at_its_own_path_only() -> None:
    wire = Site(root=index()).connect()
    wire.send(HEAD % b"/other" + b"\r\n")
    assert statuses(wire.received) == [404]
