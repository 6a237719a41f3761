"""What the engines that wrap h2 have in common, the server's and the client's: a peer's windows, a stream's end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from h2.connection import ConnectionState
from h2.exceptions import StreamClosedError


class Wrapping:
    """See `switchd.engine.Engine`."""

    _h2: Any

    def consumed(self, stream: int, length: int) -> None:
        """So much of what came on a stream is used: the peer may send as much again."""
        self._h2.acknowledge_received_data(length, stream)

    def kept(self, length: int) -> None:
        """So much of what came is kept for later: the peer may send as much again, but not on that stream."""
        if length:
            self._h2.increment_flow_control_window(length)

    def used(self, stream: int, length: int) -> None:
        """So much of what was kept is used: on that stream, too. Where that is over, or all is, nothing is said."""
        with suppress(StreamClosedError):
            if length and not self._is_over:
                self._h2.increment_flow_control_window(length, stream)

    def reset(self, stream: int, code: int) -> None:
        """Cut a stream short. Where that is over, or all is, nothing is said."""
        with suppress(StreamClosedError):
            if not self._is_over:
                self._h2.reset_stream(stream, code)

    @property
    def _is_over(self) -> bool:
        """Whether the peer has broken a rule, or goodbye is said."""
        return self._h2.state_machine.state is ConnectionState.CLOSED
