"""Which protocol, if any: RFC 9110 section 7.8, as pure functions of values.

Two halves. `candidates` reads a request and says who shall be asked, in which order, and by which rule, and `unclaimed`
what becomes of it if nobody takes it; `switching_head` and `refusal` turn an answer into what goes on the wire, and let
nothing through that may not. Who asks, and what happens meanwhile, is not here: nothing in this module waits, writes
or knows Twisted.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from attrs import Attribute, Factory, field, frozen

from switchd.budgets import Bounds
from switchd.errors import BadAnswer
from switchd.interfaces import Accept, Header, IEncrypts, IInClear, IOptional, ISwitch, Offer, Refuse, Request

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_IS_TOKEN = re.compile(_TOKEN).fullmatch
# protocol = protocol-name [ "/" protocol-version ], both of them tokens (RFC 9110 section 7.8).
_IS_PROTOCOL = re.compile(rb"(%b)(?:/(%b))?" % (_TOKEN, _TOKEN)).fullmatch
# A field value has no controls but TAB (RFC 9110 section 5.5). Said as what is allowed: CR, LF and NUL cannot slip by.
_IS_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*").fullmatch

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"trailer"})
_NOT_IN_101 = _FRAMING | {b"upgrade", b"connection"}
_NOT_IN_REFUSAL = _FRAMING | {b"connection"}

MOST_ASKED = 32
"""Candidates of one request. Each is a call into a plugin, which may ask a database; an entry that takes any version of
its protocol could be asked a thousand times in one head. Whoever needs a switch offers a handful."""


class Rule(enum.Enum):
    """Why a request has the candidates that it has: a sentence, and the clause that it rests on."""

    OFFERED = ("the request offers a protocol that is served here", "RFC 9110 section 7.8")
    NOTHING_OFFERED = ("the request has no Upgrade field with a valid protocol in it", "RFC 9110 section 7.8")
    NOT_HTTP_1_1 = (
        "Upgrade is ignored because the request is not HTTP/1.1",
        "RFC 9110 section 7.8, RFC 9113 section 8.6",
    )
    NOT_IN_CONNECTION = ("Upgrade is ignored because Connection does not list it", "RFC 9110 section 7.6.1")
    NO_PROTOCOL = ("the :protocol of the request is none", "RFC 8441 section 4")
    NO_SWITCH_HERE = ("the path has no [[switch]]", "RFC 9110 section 7.8")
    UNKNOWN = ("no offered protocol is served on this path", "RFC 9110 section 7.8")
    OVER_BUDGET = ("there is no room for an offer that may as well be ignored", "RFC 9110 section 7.8")

    def __init__(self, sentence: str, clause: str) -> None:
        self.sentence = sentence
        self.clause = clause


def elements(values: Iterable[bytes]) -> list[bytes]:
    """The elements of a list field over all its lines, without the empty ones (RFC 9110 sections 5.3, 5.6.1)."""
    stripped = (element.strip(b" \t") for value in values for element in value.split(b","))
    return [element for element in stripped if element]


def lists(values: Iterable[bytes], option: bytes) -> bool:
    """Whether a list field names `option` (in lower case), compared without regard to case."""
    return any(element.lower() == option for element in elements(values))


def offers(values: Iterable[bytes]) -> tuple[Offer, ...]:
    """The protocols that `Upgrade` fields list, in order; an element that is no protocol is passed over."""
    matches = map(_IS_PROTOCOL, elements(values))
    return tuple(Offer(match[1], match[2]) for match in matches if match)


def folded(offer: Offer) -> Offer:
    """What two offers of the same protocol have in common: names have no case, versions do (section 7.8)."""
    return Offer(offer.name.lower(), offer.version)


def overlap(one: Offer, other: Offer) -> bool:
    """Whether two tokens may mean the same; one without version stands for any."""
    any_version = None in (one.version, other.version)
    return one.name.lower() == other.name.lower() and (any_version or one.version == other.version)


def _table(tokens: Iterable[bytes]) -> dict[Offer, bytes]:
    return {folded(token): bytes(token) for token in offers(tokens)}


def _are_protocols(entry: Entry, attribute: Attribute[tuple[bytes, ...]], tokens: tuple[bytes, ...]) -> None:
    for token in tokens:
        if not _IS_PROTOCOL(token):
            raise ValueError(f"{entry.name}: {token!r} is no protocol name, with or without a version")


@frozen(eq=False)
class Entry:
    """One `[[switch]]` of the configuration, ready to be asked.

    Attributes:
        path: As configured: a prefix of the request's path, ending where a segment ends.
        name: The plugin's name.
        tokens: The plugin's tokens, in its own spelling.
        switch: Who is asked.
        require: A request that does not switch is answered 426.
        close: A request whose offer nobody takes is not answered; its connection is closed.
        also: Further tokens of the plugin, which it answers to but does not offer.
        drain_seconds: How long its protocol may take to say goodbye at shutdown. None: as long as there is.
        bounds: What may be taken here.
        encrypts: Whether the switch is an `IEncrypts`.
        in_clear: Whether it is an `IInClear`, as those are too.
        optional: Whether it is an `IOptional`.

    Raises:
        ValueError: A token that may not be in an `Upgrade` field.
    """

    path: str
    name: str
    tokens: tuple[bytes, ...] = field(validator=_are_protocols)
    switch: ISwitch
    require: bool = False
    close: bool = False
    also: tuple[bytes, ...] = field(default=(), validator=_are_protocols)
    drain_seconds: float | None = None
    bounds: Bounds = Bounds()
    encrypts: bool = field(
        init=False, default=Factory(lambda self: bool(IEncrypts.providedBy(self.switch)), takes_self=True)
    )
    in_clear: bool = field(
        init=False, default=Factory(lambda self: bool(IInClear.providedBy(self.switch)), takes_self=True)
    )
    optional: bool = field(
        init=False, default=Factory(lambda self: bool(IOptional.providedBy(self.switch)), takes_self=True)
    )
    # A table, so that a head full of offers costs one or two look-ups for each.
    _spellings: dict[Offer, bytes] = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: _table((*self.tokens, *self.also)), takes_self=True),
    )

    def demands(self, secure: bool) -> bool:
        """Whether a request has to switch here; `secure`: its connection is encrypted."""
        return self.require and not (secure and self.encrypts)

    @property
    def may_ignore(self) -> bool:
        """Whether an offer may be ignored, and the request be answered, where there is no room for it."""
        return self.optional and not (self.require or self.close)

    def spelling(self, offer: Offer) -> bytes | None:
        """How the plugin writes `offer`, or None if it has no such token; a token without version stands for any."""
        exact = self._spellings.get(folded(offer))
        if exact is not None or offer.version is None:
            return exact
        unversioned = self._spellings.get(Offer(offer.name.lower()))
        return None if unversioned is None else unversioned + b"/" + offer.version


@frozen
class Candidate:
    """An entry to be asked about one offer.

    Attributes:
        entry: Who.
        offer: About what.
        upgrade: The 101's `Upgrade` if it accepts: the plugin's spelling, not the client's. What the client chose is
            reflected at most in a version, and that is a token.
    """

    entry: Entry
    offer: Offer
    upgrade: bytes


@frozen
class Candidates:
    """Who is asked, in order, and by which rule.

    Attributes:
        found: In the order of asking, `MOST_ASKED` at most; each pair of entry and offer once.
        rule: What decided.
        offers: Every valid offer that counts, in the client's order: empty where `Upgrade` is to be ignored.
    """

    found: tuple[Candidate, ...]
    rule: Rule
    offers: tuple[Offer, ...] = ()


def candidates(request: Request, version: bytes, entries: Sequence[Entry], prefer: str = "client") -> Candidates:
    """Decide who is asked about a request's offers.

    Args:
        request: The request, with `how` "upgrade".
        version: Its HTTP version, for example `b"HTTP/1.1"`.
        entries: The entries whose path matches, the longest path first, then in the order of the file.
        prefer: "client": in the order of the client's offers; "server": in the order of `entries` (section 7.8: MAY).
    """
    offered = offers(request.values(b"upgrade"))
    if not offered:
        return Candidates((), Rule.NOTHING_OFFERED)
    if version != b"HTTP/1.1":
        return Candidates((), Rule.NOT_HTTP_1_1)
    if not lists(request.values(b"connection"), b"upgrade"):
        return Candidates((), Rule.NOT_IN_CONNECTION)
    if not entries:
        return Candidates((), Rule.NO_SWITCH_HERE, offered)
    found = _matches(offered, _allowed(entries, request.secure), prefer)
    return Candidates(found, Rule.OFFERED if found else Rule.UNKNOWN, offered)


def _allowed(entries: Sequence[Entry], secure: bool) -> Sequence[Entry]:
    """Where encryption is required and there is none, nothing else is served."""
    if not secure and any(entry.require and entry.encrypts for entry in entries):
        return [entry for entry in entries if entry.encrypts]
    return entries


def _matches(offered: Sequence[Offer], entries: Sequence[Entry], prefer: str) -> tuple[Candidate, ...]:
    found: dict[tuple[int, bytes], Candidate] = {}
    for offer in offered:
        for index, entry in enumerate(entries):
            upgrade = entry.spelling(offer)
            if upgrade is not None:
                found.setdefault((index, upgrade), Candidate(entry, offer, upgrade))
    in_order = sorted(found, key=lambda key: key[0]) if prefer == "server" else found
    return tuple(found[key] for key in islice(in_order, MOST_ASKED))


def connecting(token: bytes, entries: Sequence[Entry], secure: bool) -> Candidates:
    """Decide who is asked about an extended CONNECT (RFC 8441 section 4), which offers one protocol.

    Args:
        token: Its `:protocol`.
        entries: As for `candidates`.
        secure: Whether the connection is encrypted.
    """
    offered = offers([token])
    if len(offered) != 1 or bytes(offered[0]) != token:
        return Candidates((), Rule.NO_PROTOCOL)
    if not entries:
        return Candidates((), Rule.NO_SWITCH_HERE, offered)
    found = _matches(offered, _allowed(entries, secure), "client")
    return Candidates(found, Rule.OFFERED if found else Rule.UNKNOWN, offered)


class Unclaimed(enum.Enum):
    """What becomes of a request that no switch takes."""

    ORDINARY = "it is answered as ordinary HTTP"
    REQUIRED = "it is answered 426, because a switch on this path is required"
    CLOSED = "its connection is closed without an answer, as the path's switch is configured"


def unclaimed(entries: Sequence[Entry], offered: Sequence[Offer], is_secure: Callable[[], bool]) -> Unclaimed:
    """Decide that. An offer is an ordinary request unless an entry on its path says otherwise.

    Args:
        entries: The entries whose path matches.
        offered: The request's offers that count, `Candidates.offers`.
        is_secure: Whether its connection is encrypted, which seldom matters.
    """
    if offered and any(entry.close for entry in entries):
        return Unclaimed.CLOSED
    if any(entry.require and entry.demands(is_secure()) for entry in entries):
        return Unclaimed.REQUIRED
    return Unclaimed.ORDINARY


def required(entries: Iterable[Entry], secure: bool) -> bytes:
    """The value of the `Upgrade` field of a 426: what `entries` demand."""
    return tokens(entry for entry in _allowed(tuple(entries), secure) if entry.demands(secure))


def served(entries: Sequence[Entry], secure: bool) -> bytes:
    """The value of an `Upgrade` field that lists what `entries` have for a connection; `secure`: it is encrypted."""
    return tokens(entry for entry in _allowed(entries, secure) if not (secure and entry.in_clear))


def tokens(entries: Iterable[Entry]) -> bytes:
    """The value of an `Upgrade` field that lists what `entries` serve, in descending preference (section 7.8)."""
    return b", ".join(dict.fromkeys(token for entry in entries for token in entry.tokens))


def switching_head(candidate: Candidate, accept: Accept) -> bytes:
    """The head of the 101, whole.

    Raises:
        BadAnswer: A header that may not be in it, or a protocol that was not offered. Nothing has been written: call
            `abandon` and answer 500.
    """
    upgrade = candidate.upgrade if accept.upgrade is None else _layers(candidate, accept.upgrade)
    headers = checked(accept.headers, _NOT_IN_101, candidate.entry.name)
    fields = b"".join([b"%b: %b\r\n" % header for header in headers])
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %b\r\nConnection: Upgrade\r\n%b\r\n" % (upgrade, fields)


def connected_fields(candidate: Candidate, accept: Accept) -> tuple[Header, ...]:
    """The header fields of the 200 that an extended CONNECT is answered (RFC 8441 section 5); it has no `Upgrade`.

    Raises:
        BadAnswer: As `switching_head`.
    """
    return checked(accept.headers, _NOT_IN_101, candidate.entry.name)


def _layers(candidate: Candidate, upgrade: bytes) -> bytes:
    """A plugin's own `Upgrade`: layers bottom-up, the lowest being what the client asked for (section 7.8)."""
    layers = offers([upgrade]) if isinstance(upgrade, bytes) else ()
    if not layers or len(layers) != len(elements([upgrade])):
        raise BadAnswer(f"{candidate.entry.name}: Upgrade: {upgrade!r} is no list of protocols")
    if not overlap(layers[0], candidate.offer):
        raise BadAnswer(f"{candidate.entry.name}: Upgrade: {upgrade!r} begins with what the client did not offer")
    return b", ".join(map(bytes, layers))


def refusal(candidate: Candidate, refuse: Refuse, served: bytes) -> tuple[Header, ...]:
    """The header fields of a refusal, apart from those that frame its body.

    Args:
        candidate: Who refused.
        refuse: Its answer.
        served: The `Upgrade` field for a 426 that has none.

    Raises:
        BadAnswer: A status, header or body that may not be sent. Answer 500.
    """
    if not (isinstance(refuse.status, int) and 200 <= refuse.status <= 599):
        raise BadAnswer(f"{candidate.entry.name}: a refusal's status is from 200 to 599, not {refuse.status!r}")
    if not isinstance(refuse.body, bytes):
        raise BadAnswer(f"{candidate.entry.name}: a refusal's body is bytes, not {type(refuse.body).__name__}")
    headers = checked(refuse.headers, _NOT_IN_REFUSAL, candidate.entry.name)
    stated = [value for name, value in headers if name.lower() == b"upgrade"]
    if stated and not offers(stated):
        raise BadAnswer(f"{candidate.entry.name}: Upgrade: {stated[0]!r} is no list of protocols")
    if stated:
        return (*headers, (b"Connection", b"Upgrade"))
    if refuse.status == 426 and served:
        return (*headers, *advertisement(served))
    return headers


def advertisement(served: bytes) -> tuple[Header, ...]:
    """The fields by which a response says what is served (RFC 9110 section 7.8: both of them)."""
    return ((b"Upgrade", served), (b"Connection", b"Upgrade"))


def checked(headers: Iterable[Header], forbidden: frozenset[bytes], who: str) -> tuple[Header, ...]:
    """`headers`, if each may be sent.

    Raises:
        BadAnswer: A name that is no token or not the plugin's to set, or a value with CR, LF, NUL or another control.
    """
    fields = tuple(headers) if isinstance(headers, Iterable) else (headers,)
    for header in fields:
        match header:
            case (bytes(name), bytes(value)):
                if not _IS_TOKEN(name) or name.lower() in forbidden:
                    raise BadAnswer(f"{who}: header {name!r} is not a plugin's to set")
                if not _IS_VALUE(value):
                    raise BadAnswer(f"{who}: the value of header {name!r} has a control character in it")
            case _:
                raise BadAnswer(f"{who}: header {header!r} is no pair of bytes")
    return fields
