"""A dry run of one request: which rule decides, who is asked, and what the head of the answer would be.

The switches are really asked, as by a server. What they accept is abandoned: nothing is built, nothing is listened on.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import h11
from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from switchd.config import Limits
from switchd.errors import BadAnswer, RequestError
from switchd.events import escaped
from switchd.interfaces import Accept, Early, Header, Refuse, Request
from switchd.negotiation import (
    Candidate,
    Entry,
    Unclaimed,
    advertisement,
    candidates,
    refusal,
    switching_head,
    tokens,
    unclaimed,
)

NOWHERE = IPv4Address("TCP", "127.0.0.1", 0)
"""What switches are told of the addresses of a connection that there is not."""

_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://[^/?#]+([^#]*)").fullmatch


@frozen
class Input:
    """A request as it was read.

    Attributes:
        request: The request.
        version: Its HTTP version: `b"HTTP/1.1"`.
        path: The raw path, not decoded.
        early: What stands behind it.
    """

    request: Request
    version: bytes
    path: bytes
    early: bytes


@frozen
class _Answer:
    """What a server would do, in a sentence; and the head that it would send, or nothing."""

    sentence: str
    head: bytes


_Decision = tuple[Candidate, Accept | Refuse]


def read(data: bytes, limits: Limits) -> Input:
    """Read a request.

    Raises:
        RequestError: It is not well-formed (400), not complete (408), or longer than a limit (413, 431).
    """
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
    try:
        _feed(http, data[: limits.head_bytes])
        head: Any = http.next_event()
        if head is h11.NEED_DATA and len(data) > limits.head_bytes:
            raise RequestError(431, f"the head is longer than limits.head_bytes, {limits.head_bytes} bytes")
        _feed(http, data[limits.head_bytes :])
        body = b"".join(_body(http)) if head is not h11.NEED_DATA else b""
    except h11.RemoteProtocolError as error:
        raise RequestError(error.error_status_hint, f"the request is not well-formed: {error}") from error
    if http.their_state in (h11.IDLE, h11.SEND_BODY):
        raise RequestError(408, "the request is not complete")
    if len(body) > limits.body_bytes:
        raise RequestError(413, f"the body is longer than limits.body_bytes, {limits.body_bytes} bytes")
    absolute = _ABSOLUTE_FORM(head.target)
    path = (absolute[1] if absolute else head.target).partition(b"?")[0] or b"/"
    request = Request(
        method=head.method,
        target=head.target,
        path=unquote_to_bytes(path),
        headers=tuple(head.headers),
        body=body,
        how="upgrade",
        peer=NOWHERE,
        host=NOWHERE,
        secure=False,
        id="explain",
    )
    return Input(request, b"HTTP/" + head.http_version, path, http.trailing_data[0])


def _feed(http: h11.Connection, data: bytes) -> None:
    if data:  # h11 takes nothing for the end of the connection
        http.receive_data(data)


def _body(http: h11.Connection) -> Iterator[bytes]:
    while isinstance(event := http.next_event(), h11.Data):
        yield bytes(event.data)


async def explain(
    given: Input, switches: Callable[[bytes], tuple[Entry, ...]], prefer: str, seconds: float, clock: IReactorTime
) -> str:
    """What a server would do with a request, in lines to read.

    Args:
        given: The request.
        switches: The entries for a raw path: `Routes.switches`.
        prefer: Whose order counts, "client" or "server".
        seconds: How long the switches may take to decide.
        clock: Where that is kept.
    """
    entries = switches(given.path)
    found = candidates(given.request, given.version, entries, prefer)
    said = ["not asked"] * len(found.found)
    try:
        deciding = Deferred.fromCoroutine(_decide(given.request, found.found, said))
        decision = await deciding.addTimeout(seconds, clock, _too_late)
        answer = (
            _answer(decision, given, entries) if decision else _no_answer(unclaimed(entries, found.offers), entries)
        )
    except TimeoutError:
        answer = _Answer(f"the decision takes longer than {seconds:g} seconds", _head(503, ()))
    except Exception as error:  # whatever a plugin raises: a server would log it
        answer = _Answer(f"{type(error).__name__}: {error}", _head(500, ()))
    sizes = f"a body of {len(given.request.body)} bytes, {len(given.early)} bytes behind it"
    lines = [
        f"request:   {escaped(given.request.method)} {escaped(given.request.target)}, {sizes}",
        f"rule:      {found.rule.sentence} ({found.rule.clause})",
        *(f"candidate: {_named(each)}: {what}" for each, what in zip(found.found, said, strict=True)),
        f"answer:    {answer.sentence}",
    ]
    return "\n".join(lines) + ("\n\n" + answer.head.decode("latin-1").replace("\r\n", "\n") if answer.head else "\n")


def _named(candidate: Candidate) -> str:
    return f"{candidate.entry.path} {candidate.entry.name}, about {escaped(bytes(candidate.offer))}"


async def _decide(request: Request, found: tuple[Candidate, ...], said: list[str]) -> _Decision | None:
    """Ask in turn, until one does not say None; `said` is kept true meanwhile."""
    for index, candidate in enumerate(found):
        said[index] = "no answer"
        answer: Any = candidate.entry.switch.offer(request, candidate.offer)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, Accept | Refuse):
            said[index] = "accepts" if isinstance(answer, Accept) else "refuses"
            return candidate, answer
        if answer is not None:
            raise BadAnswer(f"{candidate.entry.name}: offer() answered {answer!r}")
        said[index] = "leaves it"
    return None


def _too_late(result: object, seconds: float) -> NoReturn:
    # Cancelled, a switch may still accept.
    if isinstance(result, tuple) and isinstance(result[1], Accept):
        result[1].abandon()
    raise TimeoutError


def _answer(decision: _Decision, given: Input, entries: Sequence[Entry]) -> _Answer:
    candidate, answer = decision
    if isinstance(answer, Refuse):
        fields = refusal(candidate, answer, tokens(entries))
        length = (b"Content-Length", b"%d" % len(answer.body))
        return _Answer("the switch's own", _head(answer.status, (*fields, length)))
    answer.abandon()
    if given.early and answer.early is Early.REFUSE:
        return _Answer("there may be no bytes behind this request", _head(400, ()))
    return _Answer("the connection switches", switching_head(candidate, answer))


def _no_answer(fate: Unclaimed, entries: Sequence[Entry]) -> _Answer:
    required = tokens(entry for entry in entries if entry.require)
    return _Answer(fate.value, _head(426, advertisement(required)) if fate is Unclaimed.REQUIRED else b"")


def _head(status: int, fields: tuple[Header, ...]) -> bytes:
    """The part of a response's head that is decided here; a server adds `Date` and the like."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return b"\r\n".join([b"HTTP/1.1 %d %b" % (status, reason.encode()), *map(b": ".join, fields), b"", b""])
