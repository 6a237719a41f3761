"""What has happened lately, in words: switches, refusals with the rule that decided, ends.

Events are kept as they come, and put in words only for those who look. Refusals are few, and what people look for: they
are kept by themselves, lest all the rest push them out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import merge
from operator import itemgetter
from typing import Any

from attrs import evolve, fields

from switchd import events
from switchd.negotiation import Rule
from switchd.overview import Values, clipped

MOST_EVENTS = 200
"""That are kept, and that are told at a time: a few screens. As many refusals besides."""

MOST_TOKENS = 8
"""Of a stack in an event that are told."""

_REFUSALS = (
    events.Refused,
    events.Ignored,
    events.Rejected,
    events.Dropped,
    events.NoSession,
    events.OverBudget,
    events.Overflowed,
)

_OVER = {
    426: "the path requires a switch",
    429: "the client has as much as it may have",
    500: "a plugin failed: the log has more",
    501: "nobody takes the offer",
    503: "there is no room, the decision took too long, or the server stops",
}
"""Why a request is refused that no plugin has refused, where that is not the rule by which plugins are asked."""


_Kept = tuple[int, float, events.Event]
"""Its number, when it was, and what."""


class Recent:
    """The last events.

    Args:
        seconds: Tells the time, in seconds since 1970.

    Attributes:
        count: How many there have been.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.count = 0
        self._seconds = seconds
        self._refusals: deque[_Kept] = deque(maxlen=MOST_EVENTS)
        self._others: deque[_Kept] = deque(maxlen=MOST_EVENTS)

    def heard(self, event: events.Event) -> None:
        """Something has happened."""
        self.count += 1
        kept = self._refusals if isinstance(event, _REFUSALS) else self._others
        kept.append((self.count, self._seconds(), event))

    def since(self, count: int) -> list[Values]:
        """Those after the first so many that are still kept, the oldest first."""
        return [
            {"number": number, "time": round(time, 3), **in_words(event)}
            for number, time, event in merge(self._refusals, self._others, key=itemgetter(0))
            if number > count
        ]


def in_words(event: events.Event) -> Values:
    """An event as people read it: of what kind it is, what has happened, and why."""
    kind = type(event).__name__.lower()
    event = _short(event)
    if isinstance(event, events.Refused):
        offers = clipped(", ".join(event.offers)) or "nothing"
        what = f"{event.id} {event.peer} offered {offers} on {event.path}: refused with {event.status}"
        return {"kind": kind, "what": what, "why": _why_refused(event)}
    if isinstance(event, events.Ignored):
        offers = clipped(", ".join(event.offers)) or "nothing"
        what = f"{event.id} {event.peer} offered {offers} on {event.path}: ignored, answered as an ordinary request"
        return {"kind": kind, "what": what, "why": _why_ignored(event)}
    return {"kind": kind, "what": event.text.format(event=event), "why": ""}


def _short(event: events.Event) -> events.Event:
    """Without what is too long in it."""
    values = {one.name: getattr(event, one.name) for one in fields(type(event))}
    short = {name: _shortened(value) for name, value in values.items()}
    return event if short == values else evolve(event, **short)


def _shortened(value: Any) -> Any:
    match value:
        case str():
            return clipped(value)
        case tuple() if len(value) > MOST_TOKENS:
            return (*value[:MOST_TOKENS], "…")
        case _:
            return value


def _why_refused(event: events.Refused) -> str:
    if event.plugin:
        return f"the plugin {event.plugin} {'failed' if event.status == 500 else 'answered so'}"
    rule = _rule(event.rule)
    over = _OVER.get(event.status, "")
    return f"{over}; {rule}" if over and event.rule != "offered" else over or rule


def _why_ignored(event: events.Ignored) -> str:
    if event.plugin:
        return f"the plugin {event.plugin} was asked, and did not take it"
    return _rule(event.reason)


def _rule(name: str) -> str:
    """The sentence of a rule, with the clause that it rests on."""
    rule = Rule.__members__.get(name.upper())
    if rule is None:
        return ""
    return f"{rule.sentence} ({rule.clause})"
