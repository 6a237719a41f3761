"""What can go wrong on the client's side, and in words.

SwitchdError, and twisted.internet.error.ConnectError
 +- NotSwitched             the connection has not become what was asked for
     +- Refused             the server answered with a final status instead
     +- NoAnswer            it did not answer: not in time, or the connection ended first
     |   +- NoTunnel        it speaks HTTP/2, in which it does not switch
     +- WrongAnswer         it answered what it may not: no HTTP, or a switch that it was not asked for

Twisted's endpoints promise their callers that every failure is a `ConnectError`, or a `NoProtocol` where the caller's
factory did not want the connection. That is so here too, but for what wraps the connection on its way.
"""

from __future__ import annotations

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectError

from switchd.errors import SwitchdError
from switchd.interfaces import Header


class NotSwitched(SwitchdError, ConnectError):
    """A server that was asked to switch did not, or not as it was asked. The connection has been closed."""

    def __init__(self, sentence: str) -> None:
        super().__init__(string=sentence)

    def __str__(self) -> str:
        return str(self.args[0])


class Refused(NotSwitched):
    """A server that was asked to switch answered with a final status instead. A redirect is one too.

    Attributes:
        status: The answer's status code.
        reason: The answer's reason phrase, in ASCII; the server's words, not to be relied on.
        headers: The answer's header fields, names in lower case.
        body: The answer's content: what came of it in time, and no more than `bounds.BODY_BYTES`.
    """

    def __init__(self, status: int, reason: str, headers: tuple[Header, ...], body: bytes) -> None:
        super().__init__(f"{status} {reason}".rstrip())
        self.args = (status, reason, headers, body)
        self.status = status
        self.reason = reason
        self.headers = headers
        self.body = body

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".rstrip()


class NoAnswer(NotSwitched):
    """Nothing came that could be an answer. Where the connection was lost, the reason is the `__cause__`."""


class NoTunnel(NoAnswer):
    """The server has chosen HTTP/2, and does not switch streams: it may switch in HTTP/1.1."""


class WrongAnswer(NotSwitched):
    """What came breaks the rules of HTTP, of the switch, or a bound."""


def in_words(error: object) -> str:
    """Why a connection was lost, for people: what OpenSSL and service_identity say is for debuggers."""
    match error:
        case SSL.Error(args=[[*_, (*_, words)]]):
            return f"TLS: {words}"
        case VerificationError():
            return "TLS: the certificate is for another host"
        case _:
            return str(error)
