"""Twisted's own tests of TCP and UNIX transports, run by trial, with our connections in place of Twisted's.

    python -m tests.transports.trial switchd twisted.test.test_tcp

The first argument is the reactor: `switchd`, ours; or `stock`, one that Twisted brings. It is the reactor of the
process, and the one that is made for each test of `twisted.internet.test`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from twisted.application.reactors import installReactor
from twisted.internet.test.reactormixins import ReactorBuilder

OURS = "switchd.transports.epoll.TurnReactor"
STOCK = "twisted.internet.epollreactor.EPollReactor"


def main(kind: str, *arguments: str) -> None:
    """Run trial, which ends the process."""
    installReactor("switchd" if kind == "switchd" else "epoll")
    ReactorBuilder._reactors = [OURS if kind == "switchd" else STOCK]
    use_our_connections()
    if kind == "switchd":
        skip_what_our_reactor_does_not()
    sys.argv = ["trial", *arguments]
    from twisted.scripts.trial import run

    run()


def use_our_connections() -> None:
    """Have every listening port of this process accept and make connections as ours do."""
    from twisted.internet import tcp, unix

    from switchd.transports.connections import Connection, Turn, UNIXConnection, listen

    def turn(reactor: Any) -> Turn:
        # Kept by the reactor, since these tests swap what is inside one for what is inside another.
        found: Turn = vars(reactor).setdefault("turn", Turn(reactor))
        return found

    def connections(kind: Any) -> Any:
        return lambda port, *arguments: kind(*arguments, turn=turn(port.reactor))

    def listening(start: Callable[[Any], None]) -> Any:
        def start_listening(port: Any) -> None:
            start(port)
            listen(port)

        return start_listening

    for kind, ours in ((tcp.Port, Connection), (unix.Port, UNIXConnection)):
        kind.transport = connections(ours)
        kind.startListening = listening(kind.startListening)  # type: ignore[method-assign]


def skip_what_our_reactor_does_not() -> None:
    """What no epoll reactor can do, by the name of Twisted's; and what ours leaves out."""
    from twisted.internet.test.connectionmixins import ConnectionTestsMixin
    from twisted.internet.test.test_fdset import ReactorFDSetTestsBuilder

    log_prefix: Any = ConnectionTestsMixin.test_logPrefix
    log_prefix.skip = "our reactor makes no context for the log"
    lost_descriptor: Any = ReactorFDSetTestsBuilder.test_lostFileDescriptor
    lost_descriptor.skip = "epoll cannot detect lost file descriptors"


if __name__ == "__main__":
    main(*sys.argv[1:])
