"""What the converted files import in place of the modules that know bytes: inside, a byte is a character of a `str`.

There are stand-ins for `binascii`, `pkg_resources` and parts of autobahn, each with as much as is used.
"""

from __future__ import annotations

import binascii
from importlib.resources import files
from typing import Any

from autobahn.twisted import websocket
from autobahn.websocket import utf8validator
from twisted.internet import reactor
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger(namespace="testsuite")

Octets = str | bytes
"""Bytes, whichever way they are written."""


def to_bytes(octets: Octets) -> bytes:
    """From characters, unless they are bytes already."""
    return octets.encode("latin-1") if isinstance(octets, str) else octets


def to_chars(octets: Octets) -> str:
    """To characters, unless they are that already."""
    return octets if isinstance(octets, str) else octets.decode("latin-1")


def b2a_hex(octets: Octets) -> str:
    """As in `binascii`."""
    return binascii.b2a_hex(to_bytes(octets)).decode("ascii")


hexlify = b2a_hex


def resource_filename(package: str, name: str) -> str:
    """As in `pkg_resources`, which setuptools no longer has."""
    return str(files(package) / name)


class Utf8Validator:
    """As in autobahn."""

    def __init__(self) -> None:
        self._validator: Any = utf8validator.Utf8Validator()

    def reset(self) -> None:
        self._validator.reset()

    def validate(self, octets: Octets) -> Any:
        return self._validator.validate(to_bytes(octets))


class WebSocketClientProtocol(websocket.WebSocketClientProtocol):
    """As in autobahn. The suite's protocol inherits it, and the cases call it.

    Its factory is told when a connection is over, also by a suite that broke down over it.
    """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Not now: the suite's protocol comes here first, and only then evaluates the case.
        reactor.callLater(0, self.factory.over)
        super().connectionLost(reason)

    def _onOpen(self) -> None:
        try:
            super()._onOpen()
        except Exception:
            # autobahn would keep it in a Deferred, and the case wait for what it has not asked.
            _log.failure("A case did not start.")

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        super()._onMessage(to_chars(payload), isBinary)

    def _onPong(self, payload: bytes) -> None:
        super()._onPong(to_chars(payload))

    def failConnection(self) -> None:
        """Now of another name."""
        self._fail_connection()

    def sendFrame(
        self,
        opcode: int,
        payload: Octets = b"",
        fin: bool = True,
        rsv: int = 0,
        mask: bytes | None = None,
        payload_len: int | None = None,
        chopsize: int | None = None,
        sync: bool = False,
    ) -> None:
        super().sendFrame(opcode, to_bytes(payload), fin, rsv, mask, payload_len, chopsize, sync)

    def sendMessage(
        self,
        payload: Octets,
        isBinary: bool = False,
        fragmentSize: int | None = None,
        sync: bool = False,
        doNotCompress: bool = False,
    ) -> None:
        super().sendMessage(to_bytes(payload), isBinary, fragmentSize, sync, doNotCompress)

    def sendMessageFrameData(self, payload: Octets, sync: bool = False) -> Any:
        return super().sendMessageFrameData(to_bytes(payload), sync)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: Octets | None = None, isReply: bool = False) -> None:
        super().sendCloseFrame(code, None if reasonUtf8 is None else to_bytes(reasonUtf8), isReply)
