"""Budgets, as accounts without connections."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock

from switchd.budgets import RETRY_SECONDS, UNBOUNDED, Budget, Budgets, Charge, Over, Peers, Rate


def peer(host: str) -> Any:
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, 1)


ONE, OTHER = peer("192.0.2.1"), peer("192.0.2.2")


@define
class Bank:
    """Budgets with a clock."""

    clock: Clock = field(factory=Clock)
    is_full: bool = False
    budgets: Budgets = field(init=False)
    _asked: int = 0

    def __attrs_post_init__(self) -> None:
        self.budgets = Budgets(self.clock.seconds, lambda: self.is_full)

    def connect(self, listener: str = "", address: Any = ONE) -> Charge | Over:
        return self.budgets.connect(listener, address)

    def connects(self, listener: str = "", address: Any = ONE) -> Charge:
        charge = self.connect(listener, address)
        assert isinstance(charge, Charge)
        return charge

    def ask(
        self, *paths: tuple[str, Budget], listener: str = "", address: Any = ONE, before: Charge | None = None
    ) -> Over | str:
        """Where there is no room; or the request for which there is."""
        self._asked += 1
        request = str(self._asked)
        tables = [(path, path, budget) for path, budget in paths]
        outcome = self.budgets.ask(request, listener, address, tables, before)
        return outcome if isinstance(outcome, Over) else request

    def switches(self, *paths: tuple[str, Budget], **keywords: Any) -> Charge:
        request = self.ask(*paths, **keywords)
        assert isinstance(request, str)
        charge = self.budgets.keep(request)
        assert charge is not None
        return charge


def bank(server: Budget = UNBOUNDED, peers: Peers | None = None, **listeners: Budget) -> Bank:
    made = Bank()
    made.budgets.allow(server, listeners, peers or Peers())
    return made


class TestRate:
    @pytest.mark.parametrize("per_second", [1, 2, 10, 3, 1000])
    def test_a_second_s_worth_may_come_at_once(self, per_second: float) -> None:
        rate, came = Rate(), 0
        while not rate.wait(per_second, 7.0):
            rate.take(per_second, 7.0)
            came += 1
        assert came == per_second
        assert rate.wait(per_second, 7.0) == pytest.approx(1 / per_second)

    def test_then_they_come_evenly(self) -> None:
        rate = Rate()
        for _ in range(4):
            rate.take(4, 100.0)
        assert [rate.wait(4, 100.0 + later) for later in (0.0, 0.125, 0.25)] == [0.25, 0.125, 0.0]
        rate.take(4, 100.25)
        assert rate.wait(4, 100.25) == 0.25

    def test_less_than_one_a_second_is_one_at_a_time(self) -> None:
        rate = Rate()
        assert rate.wait(0.1, 5.0) == 0
        rate.take(0.1, 5.0)
        assert rate.wait(0.1, 6.0) == pytest.approx(9.0)
        assert rate.wait(0.1, 15.0) == 0

    def test_a_pause_earns_no_more_than_a_second(self) -> None:
        rate = Rate()
        for now in (0.0, 1000.0):
            for _ in range(5):
                assert rate.wait(5, now) == 0
                rate.take(5, now)
            assert rate.wait(5, now) > 0

    def test_it_rests_when_it_is_as_if_there_had_been_none(self) -> None:
        rate = Rate()
        assert rate.rests(2, 0.0)
        rate.take(2, 0.0)
        assert [rate.rests(2, now) for now in (0.0, 0.4, 0.5)] == [False, False, True]

    def test_none_is_any_number(self) -> None:
        rate = Rate()
        rate.take(0, 0.0)
        assert rate.wait(0, 0.0) == 0
        assert rate.rests(0, 0.0)

    @pytest.mark.parametrize("per_second", [0.1, 1, 100])
    def test_a_clock_that_is_set_back_costs_no_more_than_the_rate(self, per_second: float) -> None:
        rate = Rate()
        while not rate.wait(per_second, 10_000.0):
            rate.take(per_second, 10_000.0)
        assert rate.wait(per_second, 6_400.0) == pytest.approx(1 / per_second)
        assert not rate.rests(per_second, 6_400.0)
        assert rate.rests(per_second, 6_400.0 + max(1.0, 1 / per_second))


class TestConnections:
    def test_there_may_be_as_many_as_the_server_has(self) -> None:
        made = bank(Budget(connections=2))
        made.connects("a")
        charge = made.connects("b", OTHER)
        assert made.connect() == Over("server", "", "connections", RETRY_SECONDS)
        charge.give_back()
        made.connects()

    def test_each_listener_has_its_own(self) -> None:
        made = bank(a=Budget(connections=1))
        made.connects("a")
        made.connects("b")
        assert made.connect("a") == Over("listener", "a", "connections")

    def test_so_has_each_client(self) -> None:
        made = bank(peers=Peers(Budget(connections=1)))
        charge = made.connects()
        made.connects(address=OTHER)
        over = made.connect()
        assert over == Over("peer", "", "connections")
        assert isinstance(over, Over)
        assert over.status == 429
        charge.give_back()
        made.connects()

    def test_who_finds_no_room_in_one_scope_takes_none_in_the_others(self) -> None:
        made = bank(Budget(connections=2), a=Budget(connections=1))
        made.connects("a")
        for _ in range(5):
            assert isinstance(made.connect("a"), Over)
        made.connects("b")

    def test_what_is_given_back_twice_counts_once(self) -> None:
        made = bank(Budget(connections=1))
        charge = made.connects()
        charge.give_back()
        charge.give_back()
        made.connects()
        assert isinstance(made.connect(), Over)

    def test_without_a_budget_there_may_be_any_number(self) -> None:
        made = bank()
        for _ in range(1000):
            made.connects()

    def test_a_smaller_budget_holds_for_those_who_come_then(self) -> None:
        made = bank(Budget(connections=3))
        charges = [made.connects() for _ in range(3)]
        made.budgets.allow(Budget(connections=1), {}, Peers())
        for charge in charges:
            assert isinstance(made.connect(), Over)
            charge.give_back()
        made.connects()

    def test_a_client_that_is_here_has_a_new_budget_too(self) -> None:
        made = bank(peers=Peers(Budget(connections=1)))
        made.connects()
        made.budgets.allow(UNBOUNDED, {}, Peers(Budget(connections=2)))
        made.connects()
        assert isinstance(made.connect(), Over)


class TestSwitches:
    def test_those_that_are_decided_about_count(self) -> None:
        made = bank(Budget(switched=2))
        first = made.ask()
        made.switches()
        assert made.ask() == Over("server", "", "switched")
        assert isinstance(first, str)
        made.budgets.release(first)
        made.switches()

    def test_what_has_switched_counts_until_it_is_given_back(self) -> None:
        made = bank(Budget(switched=1))
        charge = made.switches()
        assert isinstance(made.ask(), Over)
        charge.give_back()
        made.switches()

    def test_a_request_that_is_released_twice_or_was_never_asked_about_is_nothing(self) -> None:
        made = bank(Budget(switched=1))
        request = made.ask()
        assert isinstance(request, str)
        made.budgets.release(request)
        made.budgets.release(request)
        made.budgets.release("nobody's")
        assert made.budgets.keep("nobody's") is None
        made.switches()
        assert isinstance(made.ask(), Over)

    def test_a_path_has_a_budget_of_its_own_which_it_calls_connections(self) -> None:
        made = bank()
        few = ("/few", Budget(switched=1))
        made.switches(few)
        assert made.ask(few) == Over("path", "/few", "connections")
        made.switches(("/many", UNBOUNDED))

    def test_of_several_paths_it_is_on_the_first_that_has_room(self) -> None:
        made = bank()
        one, other = ("/", Budget(switched=1)), ("/x", Budget(switched=1))
        charge = made.switches(one, other)
        assert isinstance(made.ask(one), Over)
        again = made.switches(one, other)
        assert isinstance(made.ask(other), Over)
        assert isinstance(made.ask(one, other), Over)
        charge.give_back()
        again.give_back()
        made.switches(one, other)
        made.switches(other)

    def test_it_leaves_a_path_for_the_next_one_that_is_asked(self) -> None:
        made = bank()
        one, other = ("/", Budget(switched=1)), ("/x", Budget(switched=1))
        request = made.ask(one, other)
        assert isinstance(request, str)
        assert made.budgets.go_on(request, ("/", *one))
        assert made.budgets.go_on(request, ("/x", *other))
        made.switches(one)
        assert not made.budgets.go_on(request, ("/", *one))
        assert isinstance(made.ask(other), Over)
        made.budgets.release(request)
        made.switches(other)

    def test_a_path_s_handshakes_are_those_that_it_is_asked_about(self) -> None:
        made = bank()
        often, seldom = ("/", UNBOUNDED), ("/x", Budget(handshakes_per_second=1))
        for _ in range(3):
            request = made.ask(often, seldom)
        assert isinstance(request, str)
        assert made.budgets.go_on(request, ("/x", *seldom))
        made.switches(often, seldom)
        assert isinstance(made.ask(seldom), Over)

    def test_a_connection_that_switches_again_needs_no_second_place(self) -> None:
        made = bank(Budget(switched=1))
        before = made.switches(("/a", Budget(switched=1)))
        after = made.switches(("/b", Budget(switched=1)), before=before)
        made.budgets.allow(UNBOUNDED, {}, Peers())
        made.switches(("/a", Budget(switched=1)))  # it is there no more
        after.give_back()
        made.switches(("/b", Budget(switched=1)))

    def test_if_that_comes_to_nothing_it_has_the_first_one_still(self) -> None:
        made = bank(Budget(switched=1))
        before = made.switches()
        for _ in range(2):
            request = made.ask(("/b", Budget(switched=1)), before=before)
            assert isinstance(request, str)
            made.budgets.release(request)
        assert isinstance(made.ask(), Over)
        before.give_back()
        made.switches()

    def test_so_too_if_there_is_no_room_for_the_second(self) -> None:
        made = bank(Budget(switched=1))
        made.switches(("/b", UNBOUNDED)).give_back()
        before = made.switches()
        full = ("/b", Budget(handshakes_per_second=0.001))
        made.budgets.allow(UNBOUNDED, {}, Peers())
        made.switches(full)
        assert isinstance(made.ask(full, before=before), Over)
        made.budgets.allow(Budget(switched=2), {}, Peers())
        assert isinstance(made.ask(), Over)

    def test_handshakes_are_so_many_a_second_whatever_becomes_of_them(self) -> None:
        made = bank(Budget(handshakes_per_second=2))
        for _ in range(2):
            request = made.ask()
            assert isinstance(request, str)
            made.budgets.release(request)
        over = made.ask()
        assert over == Over("server", "", "handshakes_per_second", 0.5)
        assert isinstance(over, Over)
        assert over.retry_after == b"1"
        made.clock.advance(0.5)
        made.switches()

    def test_one_that_finds_no_room_is_no_handshake_elsewhere(self) -> None:
        made = bank(Budget(handshakes_per_second=2))
        full = ("/", Budget(handshakes_per_second=1))
        made.switches(full)
        for _ in range(5):
            over = made.ask(full)
            assert isinstance(over, Over)
            assert over.scope == "path"
        made.switches()

    def test_retry_after_is_when_the_next_one_may_come(self) -> None:
        made = bank(Budget(handshakes_per_second=0.1))
        made.switches()
        made.clock.advance(2.5)
        over = made.ask()
        assert isinstance(over, Over)
        assert over.retry_after == b"8"
        assert over.status == 503

    def test_nobody_is_taken_while_the_memory_is_full(self) -> None:
        made = bank()
        made.is_full = True
        assert made.connect() == made.ask() == Over("server", "", "memory_bytes")
        made.is_full = False
        made.connects()
        made.switches()


class TestClients:
    @pytest.mark.parametrize(
        ("one", "other", "are_same"),
        [
            ("192.0.2.1", "192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
            ("2001:db8::1", "2001:db8::ffff:1", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("fe80::1%eth0", "fe80::2", True),
        ],
    )
    def test_an_ipv6_client_has_a_network(self, one: str, other: str, are_same: bool) -> None:
        assert (Peers().client(one) == Peers().client(other)) is are_same

    def test_of_a_size_that_is_configured(self) -> None:
        assert Peers(ipv6_prefix=48).client("2001:db8:1:2::3") == "2001:db8:1::/48"
        assert Peers(ipv6_prefix=128).client("2001:db8::3") == "2001:db8::3/128"

    @pytest.mark.parametrize("address", [UNIXAddress(None), UNIXAddress(b"/x"), None, IPv4Address("TCP", "name", 1)])
    def test_what_is_no_address_of_a_client_is_not_counted(self, address: Any) -> None:
        made = bank(peers=Peers(Budget(connections=1)))
        for _ in range(3):
            made.connects(address=address)

    def test_those_who_are_exempt_are_not(self) -> None:
        exempt = (ip_network("192.0.2.1"), ip_network("2001:db8::/32"))
        made = bank(peers=Peers(Budget(connections=1, switched=1), exempt=exempt))
        for address in (ONE, peer("2001:db8:7::1")) * 3:
            made.connects(address=address)
            made.switches(address=address)
        made.connects(address=OTHER)
        assert isinstance(made.connect(address=OTHER), Over)

    def test_who_is_gone_is_forgotten(self) -> None:
        made = bank(peers=Peers(Budget(connections=1, handshakes_per_second=1)))
        live = [made.connects(address=peer(f"198.51.100.{number}")) for number in range(20)]
        for number in range(2000):
            address = peer(f"203.0.{number // 256}.{number % 256}")
            made.connects(address=address).give_back()
            made.switches(address=address).give_back()
            made.clock.advance(1)
        assert len(made.budgets._clients) < 3 * len(live)
        for number in range(20):
            assert isinstance(made.connect(address=peer(f"198.51.100.{number}")), Over)

    def test_who_has_shaken_hands_too_often_is_not(self) -> None:
        made = bank(peers=Peers(Budget(handshakes_per_second=1)))
        made.switches().give_back()
        for number in range(100):
            made.connects(address=peer(f"203.0.113.{number}")).give_back()
        assert isinstance(made.ask(), Over)
