"""What signals mean: SIGHUP, to read the configuration again; another one to stop, not to wait any longer."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any


def on_hangup(reactor: Any, reload: Callable[[], object]) -> Callable[[], None]:
    """Have `reload` called in the reactor at each SIGHUP.

    Args:
        reactor: The reactor. One that cannot be called from outside, as those of tests, is not.
        reload: Called at each.

    Returns:
        What gives the signal back to whoever had it.
    """
    number = getattr(signal, "SIGHUP", None)
    is_main = threading.current_thread() is threading.main_thread()
    if number is None or not is_main or not hasattr(reactor, "callFromThread"):
        return lambda: None

    def heard(number: int, frame: object) -> None:
        reactor.callFromThread(reload)

    before = signal.signal(number, heard)

    def give_back() -> None:
        signal.signal(number, before)

    return give_back


def on_another(reactor: Any, is_stopping: Callable[[], bool], hurry: Callable[[], object]) -> Callable[[], None]:
    """Have `hurry` called in the reactor when a signal comes that would stop it, and it is being stopped already.

    The reactor would raise for being stopped twice. So both signals are listened to from the beginning: two may come in
    one of its turns. Where somebody else handles them, they keep doing so.

    Args:
        reactor: The reactor, which runs.
        is_stopping: Whether it is being stopped, by a signal or otherwise.
        hurry: Called at each further signal.

    Returns:
        What gives the signals back to the reactor.
    """
    ours: dict[int, Any] = {
        number: handler
        for number, handler in (
            (signal.SIGINT, getattr(reactor, "sigInt", None)),
            (signal.SIGTERM, getattr(reactor, "sigTerm", None)),
        )
        if handler is not None and signal.getsignal(number) == handler
    }
    has_heard = False

    def heard(number: int, frame: object) -> None:
        nonlocal has_heard
        if has_heard or is_stopping():
            reactor.callFromThread(hurry)
        else:
            has_heard = True
            ours[number](number, frame)

    for number in ours:
        signal.signal(number, heard)

    def give_back() -> None:
        for number, handler in ours.items():
            signal.signal(number, handler)

    return give_back
