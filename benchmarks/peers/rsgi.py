"""A page in granian's own interface, its fastest."""

from __future__ import annotations

from typing import Any


async def application(scope: Any, protocol: Any) -> None:
    protocol.response_bytes(200, [("content-type", "text/plain")], b"hello\n")
