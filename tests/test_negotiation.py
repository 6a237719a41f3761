"""The parts of `negotiation`, one by one; what RFC 9110 demands of the whole is in `conformance`."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer

from switchd.errors import BadAnswer
from switchd.interfaces import Accept, Answer, IEncrypts, IInClear, ISwitch, Offer, Refuse, Request
from switchd.negotiation import (
    MOST_ASKED,
    Candidate,
    Entry,
    Rule,
    Unclaimed,
    advertisement,
    candidates,
    elements,
    lists,
    offers,
    refusal,
    required,
    served,
    switching_head,
    tokens,
    unclaimed,
)
from switchd.testing import request


@implementer(ISwitch)
class Never:
    """A switch that nobody asks: negotiation only decides who would be asked."""

    def offer(self, request: Request, offer: Offer) -> Answer:
        raise AssertionError("negotiation asks nobody")


def entry(*served: bytes, name: str = "plugin", require: bool = False, close: bool = False) -> Entry:
    return Entry("/", name, served, Never(), require, close)


def unused(session: Any) -> Any:
    raise AssertionError("negotiation builds nothing")


def candidate(offered: bytes = b"addone", upgrade: bytes = b"addone") -> Candidate:
    (offer,) = offers([offered])
    return Candidate(entry(upgrade), offer, upgrade)


class TestElements:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            pytest.param([], [], id="no-line"),
            pytest.param([b""], [], id="empty-line"),
            pytest.param([b"a"], [b"a"], id="one"),
            pytest.param([b"a,b"], [b"a", b"b"], id="two"),
            pytest.param([b" a\t,\t b "], [b"a", b"b"], id="blanks"),
            pytest.param([b",a,,b, ,"], [b"a", b"b"], id="empty-elements"),
            pytest.param([b"a", b"b, c", b""], [b"a", b"b", b"c"], id="several-lines"),
            pytest.param([b"a b"], [b"a b"], id="blank-inside-stays"),
            pytest.param([b"\r\na\x0b"], [b"\r\na\x0b"], id="only-space-and-tab-are-blanks"),
        ],
    )
    def test_elements_are_split_at_commas_over_all_lines(self, values: list[bytes], expected: list[bytes]) -> None:
        assert elements(values) == expected

    @given(st.lists(st.binary()))
    def test_lines_say_the_same_as_one_line_of_them_all(self, values: list[bytes]) -> None:
        assert elements(values) == elements([b",".join(values)])


class TestLists:
    @pytest.mark.parametrize("value", [b"upgrade", b"Upgrade", b"UPGRADE", b"keep-alive, Upgrade", b"\tupgrade ,"])
    def test_an_option_is_found_whatever_its_case_and_place(self, value: bytes) -> None:
        assert lists([value], b"upgrade")

    @pytest.mark.parametrize(
        "value", [b"", b"close", b"notupgrade", b"upgradex", b"upgrade;q=1", b"up grade", b'"upgrade"']
    )
    def test_what_only_looks_like_an_option_is_none(self, value: bytes) -> None:
        assert not lists([value], b"upgrade")


class TestOffers:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            pytest.param(b"addone", (Offer(b"addone"),), id="name"),
            pytest.param(b"TLS/1.3", (Offer(b"TLS", b"1.3"),), id="name-and-version"),
            pytest.param(b"a, b/2 ,c", (Offer(b"a"), Offer(b"b", b"2"), Offer(b"c")), id="in-order"),
            pytest.param(b"a, b c, d", (Offer(b"a"), Offer(b"d")), id="a-bad-one-is-passed-over"),
            pytest.param(b"WebSocket", (Offer(b"WebSocket"),), id="spelling-is-kept"),
        ],
    )
    def test_offers_are_names_with_or_without_versions(self, value: bytes, expected: tuple[Offer, ...]) -> None:
        assert offers([value]) == expected

    @given(st.lists(st.binary()))
    def test_whatever_is_offered_can_be_written_into_a_field(self, values: list[bytes]) -> None:
        offered = offers(values)
        assert offers([b", ".join(map(bytes, offered))]) == offered


class TestEntry:
    @pytest.mark.parametrize(
        ("offer", "expected"),
        [
            pytest.param(Offer(b"WEBSOCKET"), b"WebSocket", id="the-plugin's-spelling"),
            pytest.param(Offer(b"websocket", b"13"), b"WebSocket/13", id="any-version-of-an-unversioned-token"),
            pytest.param(Offer(b"tls", b"1.2"), b"TLS/1.2", id="the-version-of-a-versioned-token"),
            pytest.param(Offer(b"tls", b"1.3"), None, id="no-other-version-of-it"),
            pytest.param(Offer(b"tls"), None, id="not-without-a-version"),
            pytest.param(Offer(b"x", b"draft1"), None, id="versions-have-case"),
            pytest.param(Offer(b"y"), None, id="unknown"),
        ],
    )
    def test_an_offer_is_spelt_as_the_plugin_spells_it(self, offer: Offer, expected: bytes | None) -> None:
        assert entry(b"WebSocket", b"TLS/1.2", b"x/Draft1").spelling(offer) == expected

    @pytest.mark.parametrize("token", [b"", b"a b", b"a,b", b"a\r\nX: y", b"a/", b"/1", b"a/1/2"])
    def test_a_token_that_may_not_be_in_a_field_is_refused(self, token: bytes) -> None:
        with pytest.raises(ValueError, match="no protocol name"):
            entry(b"good", token)


class TestCandidates:
    def test_an_equal_offer_is_considered_once(self) -> None:
        found = candidates(request(upgrade=b"addone, ADDONE, addone"), b"HTTP/1.1", [entry(b"addone")])
        assert [each.offer for each in found.found] == [Offer(b"addone")]

    def test_every_entry_that_knows_a_token_is_a_candidate(self) -> None:
        first, second, other = entry(b"a", name="first"), entry(b"A", name="second"), entry(b"b", name="other")
        found = candidates(request(upgrade=b"a"), b"HTTP/1.1", [first, other, second])
        assert [each.entry.name for each in found.found] == ["first", "second"]

    def test_two_entries_that_are_equal_are_both_asked(self) -> None:
        found = candidates(request(upgrade=b"a"), b"HTTP/1.1", [entry(b"a"), entry(b"a")])
        assert len(found.found) == 2

    @pytest.mark.parametrize(
        ("asked", "version", "entries", "rule", "counts"),
        [
            pytest.param(request(upgrade=b"a"), b"HTTP/1.1", [entry(b"a")], Rule.OFFERED, True, id="offered"),
            pytest.param(request(upgrade=b"x"), b"HTTP/1.1", [entry(b"a")], Rule.UNKNOWN, True, id="unknown"),
            pytest.param(request(upgrade=b"a"), b"HTTP/1.1", [], Rule.NO_SWITCH_HERE, True, id="no-entry"),
            pytest.param(request(upgrade=b""), b"HTTP/1.1", [entry(b"a")], Rule.NOTHING_OFFERED, False, id="nothing"),
            pytest.param(request(upgrade=b"a"), b"HTTP/1.0", [entry(b"a")], Rule.NOT_HTTP_1_1, False, id="http-1.0"),
        ],
    )
    def test_the_rule_that_decided_is_named(
        self, asked: Request, version: bytes, entries: list[Entry], rule: Rule, counts: bool
    ) -> None:
        found = candidates(asked, version, entries)
        assert found.rule is rule
        assert bool(found.offers) is counts
        assert bool(found.found) is (rule is Rule.OFFERED)

    @pytest.mark.parametrize("prefer", ["client", "server"])
    def test_no_more_are_asked_than_most_asked(self, prefer: str) -> None:
        many = b", ".join(b"websocket/%d" % version for version in range(1000))
        found = candidates(request(upgrade=many), b"HTTP/1.1", [entry(b"websocket")], prefer)
        assert [each.offer.version for each in found.found] == [b"%d" % version for version in range(MOST_ASKED)]

    @pytest.mark.parametrize("rule", list(Rule))
    def test_every_rule_has_a_sentence_and_a_clause(self, rule: Rule) -> None:
        assert rule.sentence
        assert rule.clause.startswith("RFC ")


class TestUnclaimed:
    @pytest.mark.parametrize(
        ("entries", "offered", "expected"),
        [
            pytest.param([entry(b"a")], (Offer(b"x"),), Unclaimed.ORDINARY, id="an-offer-is-only-an-offer"),
            pytest.param([], (Offer(b"x"),), Unclaimed.ORDINARY, id="no-entry"),
            pytest.param([entry(b"a", require=True)], (), Unclaimed.REQUIRED, id="required"),
            pytest.param([entry(b"a", close=True)], (Offer(b"x"),), Unclaimed.CLOSED, id="closed"),
            pytest.param([entry(b"a", close=True)], (), Unclaimed.ORDINARY, id="nothing-offered-is-not-closed"),
            pytest.param([entry(b"a", require=True, close=True)], (), Unclaimed.REQUIRED, id="both-without-offer"),
            pytest.param(
                [entry(b"a", require=True, close=True)], (Offer(b"x"),), Unclaimed.CLOSED, id="both-with-an-offer"
            ),
        ],
    )
    def test_what_nobody_takes_is_ordinary_unless_an_entry_says_otherwise(
        self, entries: list[Entry], offered: tuple[Offer, ...], expected: Unclaimed
    ) -> None:
        assert unclaimed(entries, offered, lambda: False) is expected


@implementer(ISwitch, IEncrypts)
class Encrypts(Never):
    """A switch to something encrypted."""


@implementer(ISwitch, IInClear)
class InClear(Never):
    """A switch for connections in clear."""


class TestEncryption:
    """What an entry with an `IEncrypts` means, required or not."""

    def entries(self, require: bool) -> list[Entry]:
        tls = Entry("/", "tls", (b"TLS/1.3",), Encrypts(), require, also=(b"TLS/1.0",))
        return [entry(b"addone"), tls, entry(b"other", require=True)]

    @pytest.mark.parametrize(
        ("require", "secure", "asked"),
        [
            (False, False, [b"addone", b"TLS/1.0", b"TLS/1.3"]),
            (True, False, [b"TLS/1.0", b"TLS/1.3"]),
            (True, True, [b"addone", b"TLS/1.0", b"TLS/1.3"]),
        ],
    )
    @pytest.mark.parametrize("prefer", ["client", "server"])
    def test_required_means_that_nothing_else_is_offered_in_clear(
        self, require: bool, secure: bool, asked: list[bytes], prefer: str
    ) -> None:
        wanted = evolve(request(upgrade=b"addone, TLS/1.0, TLS/1.3"), secure=secure)
        found = candidates(wanted, b"HTTP/1.1", self.entries(require), prefer)
        assert [bytes(each.offer) for each in found.found] == asked

    def test_required_in_clear_leaves_an_offer_of_something_else_unknown(self) -> None:
        found = candidates(request(upgrade=b"addone"), b"HTTP/1.1", self.entries(True))
        assert (found.found, found.rule, found.offers) == ((), Rule.UNKNOWN, (Offer(b"addone"),))

    @pytest.mark.parametrize(
        ("secure", "expected", "demanded"),
        [(False, Unclaimed.REQUIRED, b"TLS/1.3"), (True, Unclaimed.ORDINARY, b"")],
    )
    def test_required_is_satisfied_by_a_connection_that_is_encrypted(
        self, secure: bool, expected: Unclaimed, demanded: bytes
    ) -> None:
        entries = self.entries(True)[:2]
        assert unclaimed(entries, (), lambda: secure) is expected
        assert required(entries, secure) == demanded

    def test_another_switch_may_be_required_besides(self) -> None:
        assert unclaimed(self.entries(True), (), lambda: True) is Unclaimed.REQUIRED
        assert required(self.entries(True), True) == b"other"

    def test_of_two_that_are_required_only_encryption_is_demanded_in_clear(self) -> None:
        assert required(self.entries(True), False) == b"TLS/1.3"

    @pytest.mark.parametrize(
        ("require", "secure", "listed"),
        [
            (False, False, b"addone, TLS/1.3, other, h2c"),
            (True, False, b"TLS/1.3"),
            (False, True, b"addone, other"),
            (True, True, b"addone, other"),
        ],
    )
    def test_what_is_listed_is_what_a_connection_could_have(self, require: bool, secure: bool, listed: bytes) -> None:
        assert served([*self.entries(require), Entry("/", "h2c", (b"h2c",), InClear())], secure) == listed

    def test_further_tokens_are_answered_to_and_not_listed(self) -> None:
        assert tokens(self.entries(False)) == b"addone, TLS/1.3, other"


class TestSwitchingHead:
    def test_the_head_is_whole_and_ends_with_an_empty_line(self) -> None:
        head = switching_head(candidate(), Accept(unused, headers=((b"X-Colour", b"red"),)))
        assert head == (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: addone\r\nConnection: Upgrade\r\nX-Colour: red\r\n\r\n"
        )

    @pytest.mark.parametrize(
        ("offered", "upgrade", "written"),
        [
            pytest.param(b"TLS/1.3", b"TLS/1.3, HTTP/1.1", b"TLS/1.3, HTTP/1.1", id="layers"),
            pytest.param(b"TLS/1.3", b" TLS/1.3,,HTTP/1.1,", b"TLS/1.3, HTTP/1.1", id="written-tidily"),
            pytest.param(b"TLS", b"TLS/1.3", b"TLS/1.3", id="the-plugin-chooses-the-version"),
            pytest.param(b"tls/1.3", b"TLS", b"TLS", id="the-plugin-names-none"),
        ],
    )
    def test_a_plugin_may_say_what_it_switches_to(self, offered: bytes, upgrade: bytes, written: bytes) -> None:
        head = switching_head(candidate(offered, b"TLS"), Accept(unused, upgrade=upgrade))
        assert b"\r\nUpgrade: %b\r\n" % written in head


class TestRefusal:
    def test_a_refusal_has_the_fields_of_the_plugin(self) -> None:
        refused = Refuse(403, ((b"X-Why", b"foreign origin"),))
        assert refusal(candidate(), refused, b"addone") == ((b"X-Why", b"foreign origin"),)

    @pytest.mark.parametrize("status", [101, 199, 600, 0, -1, "403", None])
    def test_a_status_that_is_no_final_one_is_a_bad_answer(self, status: Any) -> None:
        with pytest.raises(BadAnswer, match="from 200 to 599"):
            refusal(candidate(), Refuse(status), b"addone")

    def test_a_body_that_is_text_is_a_bad_answer(self) -> None:
        body: Any = "text"
        with pytest.raises(BadAnswer, match="body is bytes"):
            refusal(candidate(), Refuse(403, body=body), b"addone")


class TestAdvertisement:
    def test_tokens_are_listed_once_in_descending_preference(self) -> None:
        assert tokens([entry(b"b", b"TLS/1.3"), entry(b"a"), entry(b"b")]) == b"b, TLS/1.3, a"

    def test_what_is_served_is_named_and_connection_lists_that(self) -> None:
        assert advertisement(b"a, b") == ((b"Upgrade", b"a, b"), (b"Connection", b"Upgrade"))
