"""RFC 9113 section 8.6: HTTP/2 has no Upgrade. What is decided without a connection: row 15."""

import pytest
from zope.interface import implementer

from switchd.interfaces import Answer, ISwitch, Offer, Request
from switchd.negotiation import Candidates, Entry, Rule, candidates
from switchd.testing import request


@implementer(ISwitch)
class Never:
    """A switch that nobody asks."""

    def offer(self, request: Request, offer: Offer) -> Answer:
        raise AssertionError("nobody asks")


@pytest.mark.parametrize("version", [b"HTTP/2", b"HTTP/2.0", b"HTTP/3", b"HTTP/3.0"])
def test_row_15_upgrade_in_http_2_and_later_is_never_acted_on(version: bytes) -> None:
    addone = Entry("/", "addone", (b"addone",), Never())
    assert candidates(request(upgrade=b"addone"), version, [addone]) == Candidates((), Rule.NOT_HTTP_1_1)
