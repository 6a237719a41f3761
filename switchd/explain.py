"""A dry run of one request: which rule decides, who is asked, and what the head of the answer would be.

The switches are really asked, as by a server. What they accept is abandoned: nothing is built, nothing is listened on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.task import Clock

from switchd import http1, messages
from switchd.config import Config, Limits
from switchd.decision import Verdict, abandon, ask_one
from switchd.errors import RequestError
from switchd.events import escaped
from switchd.factory import Assembly, SwitchFactory
from switchd.interfaces import Accept, Early, Header, Refuse, Request
from switchd.negotiation import (
    Candidate,
    Candidates,
    Entry,
    Unclaimed,
    advertisement,
    candidates,
    refusal,
    required,
    served,
    switching_head,
    unclaimed,
)
from switchd.routes import Routes
from switchd.testing import Wire


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


def read(data: bytes, limits: Limits) -> Input:
    """Read a request, with the very channel that reads it in a server.

    Raises:
        RequestError: What a server would answer it for what it is: 400, 413, 414, 431, 501. 408 if it is not complete.
    """
    reader = _Reader(limits)
    wire = Wire(reader, reader.clock)
    wire.send(data)
    wire.reset()
    if reader.error is not None:
        raise reader.error
    if reader.given is None:
        raise RequestError(408, "the request is not complete")
    return reader.given


class _Read(http1.Request):
    """A request that is looked at, not answered."""

    def process(self) -> None:
        reader: Any = self.channel.server
        if reader.given is None:
            early = self.channel.take_early()
            reader.given = Input(self.asked(), self.clientproto, self.path, early)


class _Reader(SwitchFactory):
    """A server that reads one request and does nothing with it."""

    def __init__(self, limits: Limits) -> None:
        self.clock = Clock()
        self.given: Input | None = None
        self.error: RequestError | None = None
        nothing = Assembly(Config(limits=limits, file="", folder=Path()), Routes((), ()), ())
        super().__init__(nothing, self.clock, lambda event: None)
        self.requestFactory = _Read

    def rejected(self, connection: Any, error: RequestError, client: IAddress | None = None) -> None:
        self.error = error


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
        verdict = await deciding.addTimeout(seconds, clock, _too_late)
        answer = _answer(verdict, given, entries) if verdict else _no_answer(given, found, entries)
    except TimeoutError:
        answer = _Answer(f"the decision takes longer than {seconds:g} seconds", _head(503, ()))
    except Exception as error:  # whatever a plugin raises: a server would log it
        answer = _Answer(f"{type(error).__name__}: {escaped(str(error))}", _head(500, ()))
    sizes = f"a body of {len(given.request.body)} bytes, {len(given.early)} bytes behind it"
    lines = [
        f"request:   {escaped(given.request.method)} {escaped(given.request.target)}, {sizes}",
        f"rule:      {found.rule.sentence} ({found.rule.clause})",
        *(f"candidate: {_named(each)}: {what}" for each, what in zip(found.found, said, strict=True)),
        f"answer:    {answer.sentence}",
    ]
    head = [escaped(line.decode("latin-1")) for line in answer.head.split(b"\r\n")]
    return "\n".join(lines) + ("\n\n" + "\n".join(head) if answer.head else "\n")


def _named(candidate: Candidate) -> str:
    return f"{candidate.entry.path} {candidate.entry.name}, about {escaped(bytes(candidate.offer))}"


async def _decide(request: Request, found: tuple[Candidate, ...], said: list[str]) -> Verdict | None:
    """Ask in turn, until one does not say None; `said` is kept true meanwhile."""
    for index, candidate in enumerate(found):
        said[index] = "no answer"
        verdict = await ask_one(request, candidate)
        if verdict is not None:
            said[index] = "accepts" if isinstance(verdict.answer, Accept) else "refuses"
            return verdict
        said[index] = "leaves it"
    return None


def _too_late(result: object, seconds: float) -> NoReturn:
    # Cancelled, a switch may still accept.
    if isinstance(result, Verdict) and isinstance(result.answer, Accept):
        abandon(result.answer)
    raise TimeoutError


def _answer(verdict: Verdict, given: Input, entries: Sequence[Entry]) -> _Answer:
    candidate, answer = verdict.candidate, verdict.answer
    if isinstance(answer, Refuse):
        fields = refusal(candidate, answer, served(entries, given.request.secure))
        length = (b"Content-Length", b"%d" % len(answer.body))
        return _Answer("the switch's own", _head(answer.status, (*fields, length)))
    abandon(answer)
    if given.early and answer.early is Early.REFUSE:
        return _Answer("there may be no bytes behind this request", _head(400, ()))
    return _Answer("the connection switches", switching_head(candidate, answer))


def _no_answer(given: Input, found: Candidates, entries: Sequence[Entry]) -> _Answer:
    fate = unclaimed(entries, found.offers, lambda: given.request.secure)
    if fate is not Unclaimed.REQUIRED:
        return _Answer(fate.value, b"")
    return _Answer(fate.value, _head(426, advertisement(required(entries, given.request.secure))))


def _head(status: int, fields: tuple[Header, ...]) -> bytes:
    """The part of a response's head that is decided here; a server adds `Date` and the like."""
    lines = [b"HTTP/1.1 %d %b" % (status, messages.reason(status)), *map(b": ".join, fields)]
    return b"\r\n".join([*lines, b"", b""])
