"""RFC 9110 section 7.8 (Upgrade), as far as it is decided without a connection: rows 1 to 7, 11, attacks A9 and A10."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from zope.interface import implementer

from switchd.errors import BadAnswer
from switchd.interfaces import Accept, Answer, Header, ISwitch, Offer, Refuse, Request
from switchd.negotiation import (
    Candidate,
    Candidates,
    Entry,
    Rule,
    candidates,
    elements,
    offers,
    refusal,
    switching_head,
)
from switchd.testing import request


@implementer(ISwitch)
class Never:
    """A switch that nobody asks: here it is only decided who would be asked."""

    def offer(self, request: Request, offer: Offer) -> Answer:
        raise AssertionError("negotiation asks nobody")


def entry(*tokens: bytes) -> Entry:
    return Entry("/", "plugin", tokens, Never())


ADDONE = entry(b"addone")


def decide(
    *fields: Header,
    version: bytes = b"HTTP/1.1",
    entries: Sequence[Entry] = (ADDONE,),
    prefer: str = "client",
    method: bytes = b"GET",
) -> Candidates:
    asked = evolve(request(method=method), headers=((b"host", b"example.org"), *fields))
    return candidates(asked, version, entries, prefer)


def asked_about(found: Candidates) -> list[bytes]:
    return [bytes(each.offer) for each in found.found]


def candidate(offered: bytes = b"addone") -> Candidate:
    (offer,) = offers([offered])
    return Candidate(entry(offered), offer, offered)


def unused(session: Any) -> Any:
    raise AssertionError("negotiation builds nothing")


CONNECTION = (b"connection", b"Upgrade")


# Row 1: Upgrade in HTTP/1.0 is ignored


def test_row_01_upgrade_in_http_1_0_is_ignored() -> None:
    assert decide(CONNECTION, (b"upgrade", b"addone"), version=b"HTTP/1.0") == Candidates((), Rule.NOT_HTTP_1_1)


# Row 2: Upgrade counts only if Connection lists it


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([], id="no-connection"),
        pytest.param([(b"connection", b"")], id="empty"),
        pytest.param([(b"connection", b"keep-alive")], id="another-option"),
        pytest.param([(b"connection", b"addone")], id="the-token-instead"),
        pytest.param([(b"proxy-connection", b"upgrade")], id="another-field"),
    ],
)
def test_row_02_upgrade_that_connection_does_not_list_is_ignored(fields: list[Header]) -> None:
    assert decide(*fields, (b"upgrade", b"addone")) == Candidates((), Rule.NOT_IN_CONNECTION)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"connection", b"upgrade")], id="lower"),
        pytest.param([(b"connection", b"UPGRADE")], id="upper"),
        pytest.param([(b"connection", b"keep-alive, Upgrade")], id="second"),
        pytest.param([(b"connection", b"keep-alive"), (b"connection", b"upgrade")], id="second-line"),
        pytest.param([(b"connection", b",\tupgrade ,")], id="blanks-and-empty-elements"),
    ],
)
def test_row_02_connection_is_a_list_that_knows_no_case(fields: list[Header]) -> None:
    assert asked_about(decide(*fields, (b"upgrade", b"addone"))) == [b"addone"]


# Row 3: Upgrade is a list over all its lines, and names have no case


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"upgrade", b"h2c, addone")], id="one-line"),
        pytest.param([(b"upgrade", b"h2c"), (b"upgrade", b"addone")], id="two-lines"),
        pytest.param([(b"upgrade", b""), (b"upgrade", b"a,, b"), (b"upgrade", b" ,addone")], id="empty-elements"),
    ],
)
def test_row_03_upgrade_is_read_as_a_list_over_all_its_lines(fields: list[Header]) -> None:
    assert asked_about(decide(CONNECTION, *fields)) == [b"addone"]


@pytest.mark.parametrize("name", [b"addone", b"ADDONE", b"AddOne", b"aDDoNE"])
def test_row_03_protocol_names_have_no_case(name: bytes) -> None:
    (found,) = decide(CONNECTION, (b"upgrade", name)).found
    assert found.upgrade == b"addone"


# Row 4: never to a protocol that was not offered


@pytest.mark.parametrize("offered", [b"x", b"addone/1, x", b"add", b"addonex"])
def test_row_04_what_was_not_offered_has_no_candidate(offered: bytes) -> None:
    pinned = entry(b"addone/2")
    found = decide(CONNECTION, (b"upgrade", offered), entries=[pinned])
    assert (found.found, found.rule) == ((), Rule.UNKNOWN)


@pytest.mark.parametrize(
    ("offered", "upgrade"),
    [
        pytest.param(b"addone", b"websocket", id="another"),
        pytest.param(b"TLS/1.2", b"TLS/1.3", id="another-version"),
        pytest.param(b"TLS/1.2", b"HTTP/1.1, TLS/1.2", id="not-the-lowest-layer"),
    ],
)
def test_row_04_a_plugin_cannot_switch_to_what_was_not_offered(offered: bytes, upgrade: bytes) -> None:
    with pytest.raises(BadAnswer, match="did not offer"):
        switching_head(candidate(offered), Accept(unused, upgrade=upgrade))


# Row 5: the 101 names the protocol in Upgrade, layers bottom-up, with Connection: upgrade


def test_row_05_the_101_names_the_protocol_and_has_connection_upgrade() -> None:
    head = switching_head(candidate(), Accept(unused))
    assert head == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: addone\r\nConnection: Upgrade\r\n\r\n"


def test_row_05_several_layers_are_named_bottom_up() -> None:
    head = switching_head(candidate(b"TLS/1.3"), Accept(unused, upgrade=b"TLS/1.3, HTTP/1.1"))
    assert b"\r\nUpgrade: TLS/1.3, HTTP/1.1\r\n" in head


# Row 6: the client's order is a preference; a server may have its own


def test_row_06_the_order_of_the_client_decides() -> None:
    found = decide(CONNECTION, (b"upgrade", b"b, a"), entries=[entry(b"a"), entry(b"b")])
    assert asked_about(found) == [b"b", b"a"]


def test_row_06_a_server_may_prefer_its_own_order() -> None:
    found = decide(CONNECTION, (b"upgrade", b"b, a"), entries=[entry(b"a"), entry(b"b")], prefer="server")
    assert asked_about(found) == [b"a", b"b"]


def test_row_06_within_one_entry_the_order_of_the_client_decides() -> None:
    found = decide(CONNECTION, (b"upgrade", b"c, b, a"), entries=[entry(b"a"), entry(b"b", b"c")], prefer="server")
    assert asked_about(found) == [b"a", b"c", b"b"]


# Row 7: whether a protocol can honour the method is for the plugin to say, so every method gets as far as the plugin


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"OPTIONS", b"PUT", b"DELETE", b"REPORT"])
def test_row_07_a_request_of_any_method_has_candidates(method: bytes) -> None:
    assert asked_about(decide(CONNECTION, (b"upgrade", b"addone"), method=method)) == [b"addone"]


# Row 11: a 426 has Upgrade


def test_row_11_a_426_without_upgrade_gets_what_the_path_serves() -> None:
    assert refusal(candidate(), Refuse(426), b"b, a") == ((b"Upgrade", b"b, a"), (b"Connection", b"Upgrade"))


def test_row_11_a_426_with_upgrade_keeps_it_and_gets_its_connection_option() -> None:
    refused = Refuse(426, ((b"upgrade", b"websocket/13"),))
    assert refusal(candidate(), refused, b"a") == ((b"upgrade", b"websocket/13"), (b"Connection", b"Upgrade"))


@pytest.mark.parametrize("upgrade", [b"", b",", b"a b"])
def test_row_11_a_426_cannot_have_an_empty_upgrade(upgrade: bytes) -> None:
    with pytest.raises(BadAnswer, match="no list of protocols"):
        refusal(candidate(), Refuse(426, ((b"Upgrade", upgrade),)), b"a")


def test_row_11_any_other_refusal_may_advertise() -> None:
    refused = Refuse(403, ((b"Upgrade", b"TLS/1.3"),))
    assert refusal(candidate(), refused, b"a") == ((b"Upgrade", b"TLS/1.3"), (b"Connection", b"Upgrade"))


# A9: token confusion


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(b"notupgrade", id="longer-before"),
        pytest.param(b"upgradex", id="longer-behind"),
        pytest.param(b"upgrade;q=1", id="parameter"),
        pytest.param(b"upgrade/1", id="version"),
        pytest.param(b"up\tgrade", id="tab-inside"),
        pytest.param(b"upgrade\x00", id="nul"),
        pytest.param(b"upgrade\x0b", id="vertical-tab"),
        pytest.param(b"upgrade\r\n x", id="obs-fold"),
        pytest.param(b"upgrade\xa0", id="no-break-space"),
        pytest.param(b'"upgrade"', id="quoted"),
        pytest.param(b"upgrade close", id="blank-instead-of-comma"),
    ],
)
def test_a09_what_only_looks_like_the_connection_option_is_none(token: bytes) -> None:
    assert decide((b"connection", token), (b"upgrade", b"addone")).rule is Rule.NOT_IN_CONNECTION


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        pytest.param(b"", Rule.NOTHING_OFFERED, id="empty"),
        pytest.param(b" \t", Rule.NOTHING_OFFERED, id="blank"),
        pytest.param(b",,,", Rule.NOTHING_OFFERED, id="only-commas"),
        pytest.param(b"notaddone", Rule.UNKNOWN, id="longer-before"),
        pytest.param(b"addonex", Rule.UNKNOWN, id="longer-behind"),
        pytest.param(b"addone;q=1", Rule.NOTHING_OFFERED, id="parameter"),
        pytest.param(b"add\tone", Rule.NOTHING_OFFERED, id="tab-inside"),
        pytest.param(b"addone\x00", Rule.NOTHING_OFFERED, id="nul"),
        pytest.param(b"\x0caddone", Rule.NOTHING_OFFERED, id="form-feed"),
        pytest.param(b"addone\r\n x", Rule.NOTHING_OFFERED, id="obs-fold"),
        pytest.param(b"\r\n addone", Rule.NOTHING_OFFERED, id="obs-fold-before"),
        pytest.param(b"add one", Rule.NOTHING_OFFERED, id="blank-inside"),
        pytest.param(b'"addone"', Rule.NOTHING_OFFERED, id="quoted"),
        pytest.param(b"addone/", Rule.NOTHING_OFFERED, id="slash-without-version"),
        pytest.param(b"/addone", Rule.NOTHING_OFFERED, id="version-without-name"),
        pytest.param(b"addone/1/2", Rule.NOTHING_OFFERED, id="two-versions"),
        pytest.param(b"addone\xe9", Rule.NOTHING_OFFERED, id="not-ascii"),
        pytest.param("\uff41ddone".encode(), Rule.NOTHING_OFFERED, id="full-width-letter"),
        pytest.param("addonE\u0301".encode(), Rule.NOTHING_OFFERED, id="combining-accent"),
    ],
)
def test_a09_what_only_looks_like_a_token_has_no_candidate(value: bytes, rule: Rule) -> None:
    found = decide(CONNECTION, (b"upgrade", value))
    assert (found.found, found.rule) == ((), rule)


@pytest.mark.parametrize("value", [b"\taddone\t", b" addone ", b",addone,", b"x y, addone", b"addone;q=1, addone"])
def test_a09_what_stands_beside_a_token_does_not_hide_it(value: bytes) -> None:
    assert asked_about(decide(CONNECTION, (b"upgrade", value))) == [b"addone"]


@pytest.mark.parametrize(
    ("token", "offered", "upgrade"),
    [
        pytest.param(b"websocket", b"websocket/13", b"websocket/13", id="an-unversioned-token-takes-any-version"),
        pytest.param(b"websocket", b"WEBSOCKET/13", b"websocket/13", id="in-any-case"),
        pytest.param(b"websocket/13", b"WebSocket/13", b"websocket/13", id="a-versioned-token-takes-its-own"),
    ],
)
def test_a09_a_version_is_matched_exactly(token: bytes, offered: bytes, upgrade: bytes) -> None:
    (found,) = decide(CONNECTION, (b"upgrade", offered), entries=[entry(token)]).found
    assert found.upgrade == upgrade


@pytest.mark.parametrize("offered", [b"websocket", b"websocket/1", b"websocket/130", b"websocket/013"])
def test_a09_a_versioned_token_takes_no_other_version(offered: bytes) -> None:
    assert decide(CONNECTION, (b"upgrade", offered), entries=[entry(b"websocket/13")]).rule is Rule.UNKNOWN


def test_a09_a_thousand_unknown_tokens_do_not_hide_the_known_one() -> None:
    many = b", ".join(b"x%d" % index for index in range(1000))
    assert asked_about(decide(CONNECTION, (b"upgrade", many + b", addone"))) == [b"addone"]


@given(st.binary())
def test_a09_nothing_that_the_client_sent_is_reflected_but_a_version(value: bytes) -> None:
    for found in decide(CONNECTION, (b"upgrade", value), (b"upgrade", b"ADDone/7")).found:
        name, _, version = found.upgrade.partition(b"/")
        assert name == b"addone"
        assert version == (found.offer.version or b"")


@given(
    st.lists(st.sampled_from([b"addone", b"ADDONE", b"/", b"1", b",", b" ", b"\t", b"\r", b"\n", b"\0", b";", b"x"]))
)
def test_a09_every_101_has_exactly_three_lines_whatever_was_offered(pieces: list[bytes]) -> None:
    for found in decide(CONNECTION, (b"upgrade", b"".join(pieces))).found:
        head = switching_head(found, Accept(unused))
        assert head.count(b"\n") == head.count(b"\r") == len(head.splitlines()) == 4
        assert b"\0" not in head


# A10: header injection by a plugin

BAD_FIELDS = [
    pytest.param((b"X", b"a\r\nUpgrade: x"), id="cr-lf-in-a-value"),
    pytest.param((b"X", b"a\nb"), id="lf-in-a-value"),
    pytest.param((b"X", b"a\rb"), id="cr-in-a-value"),
    pytest.param((b"X", b"a\0b"), id="nul-in-a-value"),
    pytest.param((b"X", b"a\x7f"), id="delete-in-a-value"),
    pytest.param((b"X\r\nY", b"a"), id="cr-lf-in-a-name"),
    pytest.param((b"X Y", b"a"), id="blank-in-a-name"),
    pytest.param((b"X:", b"a"), id="colon-in-a-name"),
    pytest.param((b"", b"a"), id="no-name"),
    pytest.param((b"Connection", b"close"), id="connection"),
    pytest.param((b"content-length", b"0"), id="content-length"),
    pytest.param((b"Transfer-Encoding", b"chunked"), id="transfer-encoding"),
    pytest.param(("X", "a"), id="text"),
    pytest.param((b"X", 1), id="a-number"),
    pytest.param((b"X", b"a", b"b"), id="three-parts"),
    pytest.param(b"XY", id="bytes-for-a-pair"),
]


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a10_a_field_that_may_not_be_sent_makes_no_101(field: Any) -> None:
    with pytest.raises(BadAnswer):
        switching_head(candidate(), Accept(unused, headers=((b"X-Good", b"1"), field)))


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a10_a_field_that_may_not_be_sent_makes_no_refusal(field: Any) -> None:
    with pytest.raises(BadAnswer):
        refusal(candidate(), Refuse(403, ((b"X-Good", b"1"), field)), b"addone")


def test_a10_something_that_is_no_list_of_fields_makes_no_101() -> None:
    headers: Any = None
    with pytest.raises(BadAnswer):
        switching_head(candidate(), Accept(unused, headers=headers))


@pytest.mark.parametrize("name", [b"Upgrade", b"upgrade", b"UPGRADE"])
def test_a10_a_second_upgrade_makes_no_101(name: bytes) -> None:
    with pytest.raises(BadAnswer):
        switching_head(candidate(), Accept(unused, headers=((name, b"addone"),)))


@pytest.mark.parametrize(
    "upgrade",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" , ", id="no-element"),
        pytest.param(b"addone\r\nX: y", id="cr-lf"),
        pytest.param(b"addone,\r\nx", id="cr-lf-in-a-second-element"),
        pytest.param(b"addone, x y", id="blank-inside"),
        pytest.param(b"addone/", id="no-version"),
        pytest.param("addone", id="text"),
    ],
)
def test_a10_an_upgrade_that_is_no_list_of_protocols_makes_no_101(upgrade: Any) -> None:
    with pytest.raises(BadAnswer, match="no list of protocols"):
        switching_head(candidate(), Accept(unused, upgrade=upgrade))


@given(st.lists(st.tuples(st.binary(), st.binary())))
def test_a10_whatever_a_plugin_answers_the_101_has_a_line_for_each_field_and_no_more(headers: list[Header]) -> None:
    try:
        head = switching_head(candidate(), Accept(unused, headers=tuple(headers)))
    except BadAnswer:
        return
    assert len(head.split(b"\r\n")) == 3 + len(headers) + 2
    assert head.count(b"\r") == head.count(b"\n") == 3 + len(headers) + 1


@given(st.binary())
def test_a10_whatever_upgrade_a_plugin_answers_the_101_names_the_offer_first(upgrade: bytes) -> None:
    try:
        head = switching_head(candidate(), Accept(unused, upgrade=upgrade))
    except BadAnswer:
        return
    (line,) = [line for line in head.split(b"\r\n") if line.startswith(b"Upgrade: ")]
    assert elements([line.removeprefix(b"Upgrade: ")])[0].lower().startswith(b"addone")
