"""The page that switchd serves here."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource


class Page(Resource):
    """A small one."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """See `Resource`."""
        request.setHeader(b"content-type", b"text/plain")
        return b"hello\n"
