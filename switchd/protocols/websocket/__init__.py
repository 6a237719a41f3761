"""WebSocket: any autobahn class, or any Twisted protocol, as the handler of a switched connection.

`Echo` and `Broadcast` are handlers to name in a configuration; `broadcast` sends a message to many handlers.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from switchd.protocols.websocket.builtin import Broadcast, Echo
    from switchd.protocols.websocket.many import broadcast

__all__ = ["Broadcast", "Echo", "broadcast"]


def __getattr__(name: str) -> Any:
    # Late, so that the handshake, which is in this package, can be imported without Twisted.
    if name in __all__:
        from switchd.protocols.websocket import builtin, many

        return many.broadcast if name == "broadcast" else getattr(builtin, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
