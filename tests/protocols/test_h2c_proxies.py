"""h2c where proxies may be in between: attack A1, h2c smuggling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from switchd import events
from switchd.interfaces import Accept, Context, Header, Offer, Request
from switchd.negotiation import Entry
from switchd.protocols.h2c import H2c
from switchd.testing import CLIENT, request
from tests.http2_client import Client, end_all, joined
from tests.serving import HEAD, Site, statuses

Mode = Literal["never", "trusted", "always"]
MODES: tuple[Mode, ...] = ("never", "trusted", "always")

SIGNS: list[Header] = [
    (b"via", b"1.1 proxy"),
    (b"forwarded", b"for=192.0.2.9"),
    (b"x-forwarded-for", b"192.0.2.9"),
    (b"x-forwarded-proto", b"http"),
    (b"x-real-ip", b"192.0.2.9"),
]


def asking(*more: Header, proxies: int = 0) -> Request:
    """A request for h2c, through so many trusted proxies."""
    settings = ((b"connection", b"http2-settings"), (b"http2-settings", b""))
    return evolve(request(upgrade=b"h2c", headers=(*settings, *more)), proxies=(CLIENT,) * proxies)


def takes(mode: Mode, asked: Request) -> bool:
    """Whether it is taken; else it is left, and the request is an ordinary one."""
    answer = H2c(H2c.Options(mode), Context(None, "/", Path())).offer(asked, Offer(b"h2c"))
    assert answer is None or isinstance(answer, Accept)
    return answer is not None


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_asks_itself_has_it(mode: Mode) -> None:
    assert takes(mode, asking())


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: str(sign[0], "ascii"))
def test_what_a_proxy_adds_gives_it_away(sign: Header) -> None:
    assert [mode for mode in MODES if takes(mode, asking(sign))] == ["always"]


def test_so_does_a_proxy_that_is_trusted_and_says_nothing() -> None:
    assert [mode for mode in MODES if takes(mode, asking(proxies=1))] == ["trusted", "always"]


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: str(sign[0], "ascii"))
def test_through_proxies_that_are_trusted_it_may_be_taken(sign: Header) -> None:
    assert [mode for mode in MODES if takes(mode, asking(sign, proxies=1))] == ["trusted", "always"]


@pytest.mark.parametrize(
    "signs",
    [
        [(b"via", b"1.1 a, 1.1 b")],
        [(b"via", b"1.1 a"), (b"via", b"1.1 b")],
        [(b"forwarded", b"for=1.1.1.1, for=192.0.2.9")],
        [(b"x-forwarded-for", b"1.1.1.1, 192.0.2.9"), (b"via", b"1.1 a")],
    ],
)
def test_with_one_more_that_is_not_it_is_not(signs: Sequence[Header]) -> None:
    assert [mode for mode in MODES if takes(mode, asking(*signs, proxies=1))] == ["always"]
    assert takes("trusted", asking(*signs, proxies=2))


class TestServer:
    ASK = HEAD % b"/asked" + b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"
    TRUSTING = f'[server]\ntrusted_proxies = ["{CLIENT.host}"]\n'

    def site(self, mode: Mode = "never", settings: str = "") -> Site:
        clock = Clock()
        h2c = H2c(H2c.Options(mode), Context(clock, "/", Path()))
        return Site([Entry("/", "h2c", (b"h2c",), h2c)], settings=settings, clock=clock)

    def test_the_request_is_answered_and_so_is_the_next_one(self) -> None:
        made = self.site()
        told: list[Any] = []
        made.factory.listen(told.append)
        wire = made.connect()
        wire.send(self.ASK + b"Via: 1.1 proxy\r\n\r\n" + HEAD % b"/next" + b"\r\n")
        assert statuses(wire.received) == [200, 200]
        (ignored,) = told
        assert (ignored.reason, ignored.offers, ignored.route) == ("declined", ("h2c",), "/")
        wire.reset()

    def test_what_was_to_be_smuggled_is_no_request_of_http_1_1(self) -> None:
        """A7: frames behind a request that does not switch."""
        wire = self.site().connect()
        wire.send(self.ASK + b"Via: 1.1 proxy\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert statuses(wire.received) == [200, 400]
        wire.reset()

    def test_it_is_logged(self) -> None:
        with capturedLogs() as found:
            wire = self.site().connect()
            wire.send(self.ASK + b"X-Forwarded-Host: example.com\r\n\r\n")
        (event,) = [event for event in found if event["log_namespace"] == "switchd.protocols.h2c"]
        assert (event["mode"], event["id"].partition(".")[0]) == ("never", "1")
        wire.reset()

    def test_streams_are_whose_the_connection_is(self) -> None:
        """A proxy that tunnels has not written what is in them."""
        made = self.site("trusted", self.TRUSTING)
        client = Client(made, upgrade=HEAD % b"/" + b"Forwarded: for=203.0.113.5\r\n")
        client.get(headers=[("forwarded", "for=203.0.113.6")])
        page: Any = made.page
        assert [events.address(request.client) for request in page.requests] == ["203.0.113.5"] * 2
        assert [request.proxies for request in page.requests] == [(CLIENT,)] * 2
        end_all()

    def test_also_if_the_proxy_is_trusted_later_only(self) -> None:
        made = self.site("always")
        client = Client(made, upgrade=HEAD % b"/")
        trusting = self.site(settings=self.TRUSTING).factory
        made.factory.proxies = trusting.proxies
        client.get(headers=[("forwarded", "for=203.0.113.6")])
        page: Any = made.page
        assert [request.client for request in page.requests] == [CLIENT, CLIENT]
        end_all()

    def test_a_proxy_that_speaks_http2_itself_is_no_tunnel(self) -> None:
        made = self.site("never", self.TRUSTING)
        client = Client(made)
        answers = [client.get(headers=[("forwarded", f"for=203.0.113.{host}"), ("via", "2 proxy")]) for host in (5, 6)]
        assert [joined(answer.headers)[b":status"] for answer in answers] == [b"200", b"200"]
        page: Any = made.page
        assert [events.address(request.client) for request in page.requests] == ["203.0.113.5", "203.0.113.6"]
        end_all()
