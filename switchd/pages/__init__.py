"""Pages shipped with switchd."""

from importlib.resources import files

from twisted.web.resource import IResource
from twisted.web.static import Data


class _Index(Data):
    """One page, at its own path only."""

    def __init__(self) -> None:
        super().__init__(files(__package__).joinpath("index.html").read_bytes(), "text/html; charset=utf-8")
        self.putChild(b"", self)


def index() -> IResource:
    """The first page of a new server: what there is and how to try it."""
    return _Index()
