"""Pages shipped with switchd."""

from typing import Any

from twisted.web.resource import IResource, Resource

from switchd import events
from switchd.pages import landing


class _Index(Resource):
    """One page, at its own path only."""

    def __init__(self) -> None:
        super().__init__()
        self.putChild(b"", self)

    def render_GET(self, request: Any) -> bytes:
        """See `Resource`."""
        reached = events.address(request.getHost())
        asked = (request.getHeader(b"host") or b"").decode("latin-1")
        visit = landing.Visit(reached, landing.host(asked, reached), request.isSecure())
        page = landing.page(request.site.entries, visit)
        for name, value in landing.headers(request.site.entries).items():
            request.setHeader(name, value)
        request.setHeader("Content-Length", str(len(page)))
        return b"" if request.method == b"HEAD" else page

    render_HEAD = render_GET


def index() -> IResource:
    """The first page of a new server: what there is and how to try it. For a `switchd.factory.SwitchFactory`."""
    return _Index()
