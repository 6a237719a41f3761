"""A server that runs, as those ask it who control it."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from switchd.errors import SwitchdError

TIMEOUT_SECONDS = 30.0
"""For an answer: a server that computes for so long has other troubles."""

MOST_BYTES = 16_777_216
"""The longest answer that is read."""


class ControlError(SwitchdError):
    """The server cannot be asked, or does not want to; a sentence."""


class _OverUnix(HTTPConnection):
    """HTTP on a UNIX socket."""

    def __init__(self, file: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._file = file

    def connect(self) -> None:
        """See `HTTPConnection`."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(str(self._file))


class Server:
    """A server that runs.

    Args:
        file: Its control socket.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def ask(self, what: str, **said: Any) -> Any:
        """What it answers.

        Args:
            what: What is asked: "status".
            **said: The keys of what is said with that.

        Raises:
            ControlError: Nothing of use.
        """
        connection = _OverUnix(self._file)
        try:
            connection.request("POST", f"/{what}", json.dumps(said))
            answer = connection.getresponse()
            values = json.loads(answer.read(MOST_BYTES))
        except OSError as error:
            raise ControlError(self._in_words(error)) from error
        except (HTTPException, ValueError) as error:
            raise ControlError(f"what answers on {self._file} is no control socket of switchd") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ControlError(f"the server says: {values.get('why', answer.reason)}")
        return values

    def _in_words(self, error: OSError) -> str:
        if isinstance(error, FileNotFoundError):
            return f"there is no {self._file}: the server does not run, or has another [admin] control"
        if isinstance(error, ConnectionRefusedError):
            return f"nobody listens on {self._file}: the server is gone"
        if isinstance(error, PermissionError):
            return f"{self._file} is not yours: only the user as whom the server runs, and root, may control it"
        if isinstance(error, ConnectionError):
            return f"the server has closed {self._file}: it is gone, or you are not the user as whom it runs"
        if isinstance(error, TimeoutError):
            return f"the server does not answer on {self._file} for {TIMEOUT_SECONDS:g} s"
        return f"{self._file}: {error.strerror or error}"
