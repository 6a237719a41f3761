"""Which path serves which resource, and accepts which switch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.static import Data

from switchd.config import Http
from switchd.negotiation import Entry
from switchd.routes import Root, Routes, configured, resolved, resources, segments
from tests.serving import HEAD, Page, Says, Site, answers
from tests.test_sockets import serving
from tests.wires import with_reactor


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", ()),
        (b"*", ()),
        (b"/a", (b"a",)),
        (b"/a/", (b"a", b"")),
        (b"//a", (b"", b"a")),
        (b"/a%20b/%2F", (b"a b", b"/")),
        (b"/%c3%a4", ("ä".encode(),)),
        (b"/%", (b"%",)),
    ],
)
def test_segments_of_a_raw_path(raw: bytes, expected: tuple[bytes, ...]) -> None:
    assert segments(raw) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", ()), ("/a", (b"a",)), ("/a/", (b"a",)), ("/a/b", (b"a", b"b")), ("/ä", ("ä".encode(),))],
)
def test_segments_of_a_configured_path(path: str, expected: tuple[bytes, ...]) -> None:
    assert configured(path) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", ()),
        (b"*", ()),
        (b"/a/b", (b"a", b"b")),
        (b"/a/", (b"a",)),
        (b"//a///b", (b"a", b"b")),
        (b"/./a/.", (b"a",)),
        (b"/%2e/a", (b"a",)),
        (b"/a%2fb", (b"a", b"b")),
        (b"/%2e%2fa", (b"a",)),
        (b"/x/../a", (b"a",)),
        (b"/x%2f..%2Fa", (b"a",)),
        (b"/../../a", (b"a",)),
        (b"/a/b/../..", ()),
        (b"/...", (b"...",)),
        (b"/%252e/a", (b"%2e", b"a")),
    ],
)
def test_where_a_path_leads_with_slashes_decoded_and_dots_resolved(raw: bytes, expected: tuple[bytes, ...]) -> None:
    assert resolved(segments(raw)) == expected


@pytest.mark.parametrize("require", [False, True])
@pytest.mark.parametrize("asked", [b"/./a", b"/%2e/a", b"//a", b"/a%2Fb", b"/x%2f../a", b"/x/../a", b"/%2e%2fa/b"])
def test_only_what_is_required_holds_for_every_spelling_of_a_path(asked: bytes, require: bool) -> None:
    entries = [Entry("/a", "a", (b"t",), Says(), require), Entry("/x/y", "x", (b"t",), Says(), require)]
    assert [entry.name for entry in Routes(entries, []).switches(asked)] == (["a"] if require else [])


@pytest.mark.parametrize("asked", [b"/./ab", b"/..a", b"/a%2f..%2fb", b"/A"])
def test_what_is_required_holds_for_no_other_path(asked: bytes) -> None:
    assert Routes([Entry("/a", "a", (b"t",), Says(), require=True)], []).switches(asked) == ()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"/", ["/ 1", "/ 2"]),
        (b"/ab", ["/ 1", "/ 2"]),
        (b"/a", ["/a", "/ 1", "/ 2"]),
        (b"/a/", ["/a", "/ 1", "/ 2"]),
        (b"/a/b/c", ["/a/b", "/a", "/ 1", "/ 2"]),
        (b"/a%2Fb", ["/ 1", "/ 2"]),
        (b"/%61", ["/a", "/ 1", "/ 2"]),
        (b"*", ["/ 1", "/ 2"]),
    ],
)
def test_switches_match_at_segment_boundaries_the_longest_path_first(asked: bytes, expected: list[str]) -> None:
    paths = ["/ 1", "/a", "/a/b", "/ 2"]
    entries = [Entry(path.split(" ")[0], path, (b"t",), Says()) for path in paths]
    assert [entry.name for entry in Routes(entries, []).switches(asked)] == expected


class TestRoot:
    def get(self, path: bytes, resources: dict[str, Any]) -> tuple[int, bytes]:
        site = Site(root=Root(Routes([], resources.items())))
        site.factory.resource = Root(Routes([], resources.items()))
        wire = site.connect()
        wire.send(HEAD % path + b"\r\n")
        ((status, _, body),) = answers(wire.received)
        return status, body

    def test_sends_a_request_to_the_longest_path_that_matches(self) -> None:
        found = {"/": Page(), "/a": Data(b"a", "text/plain"), "/a/b": Data(b"b", "text/plain")}
        assert self.get(b"/", found) == (200, b"GET / ")
        assert self.get(b"/ab", found) == (200, b"GET /ab ")
        assert self.get(b"/a", found) == (200, b"a")
        assert self.get(b"/a/b", found) == (200, b"b")

    def test_a_resource_finds_its_children_below_its_path(self) -> None:
        class Names(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                return b"%r %r" % (request.prepath, request.postpath)

        parent = Resource()
        parent.putChild(b"child", Names())
        assert self.get(b"/a/b/child/x/y", {"/a/b": parent}) == (200, b"[b'a', b'b', b'child'] [b'x', b'y']")

    def test_what_nobody_serves_is_404(self) -> None:
        assert self.get(b"/b", {"/a": Page()})[0] == 404
        assert self.get(b"/", {})[0] == 404


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the source of a module `site_under_test`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str) -> None:
        sys.modules.pop("site_under_test", None)
        (tmp_path / "site_under_test.py").write_text(source)

    yield write
    sys.modules.pop("site_under_test", None)


class TestResources:
    def mistake(self, http: Http, folder: Path = Path()) -> str:
        made, (mistake,) = resources([http], folder, reactor)
        assert made == ()
        return f"{mistake.key}: {mistake.problem}"

    @with_reactor
    async def test_static_serves_files_below_the_configurations_folder_but_lists_no_folder(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "site" / "empty").mkdir(parents=True)
        (tmp_path / "site" / "page.txt").write_text("hello")
        (tmp_path / "secret.txt").write_text("secret")
        ((_, made),), mistakes = resources([Http("/", static="site/", key="http[0]")], tmp_path, reactor)
        assert mistakes == ()
        hidden = (b"/empty/", b"/", b"/../secret.txt", b"/%2e%2e/secret.txt", b"/..%2Fsecret.txt", b"//etc/passwd")
        async with serving(Site(root=made, clock=reactor), "tcp", tmp_path) as connect:
            client = await connect()
            for path in (b"/page.txt", *hidden):
                client.transport.write(HEAD % path + b"\r\n")
            client.transport.loseWriteConnection()
            await client.until(lambda: client.closed)
        found, *others = answers(client.received)
        assert (found[0], found[2]) == (200, b"hello")
        assert [status for status, _, _ in others] == [404] * len(hidden)

    @with_reactor
    async def test_a_range_that_is_none_is_not_looked_at(self, tmp_path: Path) -> None:
        (tmp_path / "page.txt").write_text("hello")
        ((_, made),), _ = resources([Http("/", static=".", key="http[0]")], tmp_path, reactor)
        async with serving(Site(root=made, clock=reactor), "tcp", tmp_path) as connect:
            client = await connect()
            for asked in (b"bytes=1-2", b"bytes=\xff", b"bytes=x", b"\xff=1-2"):
                client.transport.write(HEAD % b"/page.txt" + b"Range: %b\r\n\r\n" % asked)
            client.transport.loseWriteConnection()
            await client.until(lambda: client.closed)
        found = [(status, body) for status, _, body in answers(client.received)]
        assert found == [(206, b"el"), *[(200, b"hello")] * 3]

    @with_reactor
    async def test_a_static_file_has_one_path(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "page.txt").write_text("hello")
        ((_, made),), _ = resources([Http("/", static=".", key="http[0]")], tmp_path, reactor)
        others = (
            b"/./sub/page.txt",
            b"/%2e/sub/page.txt",
            b"/%2e%2fsub/page.txt",
            b"/sub%2fpage.txt",
            b"/sub/.%2Fpage.txt",
            b"/sub/./page.txt",
            b"/sub/../sub/page.txt",
            b"/x%2f../sub/page.txt",
            b"/sub//page.txt",
            b"//sub/page.txt",
            b"/%2fsub/page.txt",
            b"/sub/page.txt/",
            b"/sub/page.txt%00",
            b"/sub/%ff",
            b"/sub/" + b"x" * 5000,
        )
        async with serving(Site(root=made, clock=reactor), "tcp", tmp_path) as connect:
            client = await connect()
            for path in (b"/sub/page.txt", *others):
                client.transport.write(HEAD % path + b"\r\n")
            client.transport.loseWriteConnection()
            await client.until(lambda: client.closed)
        found = [200 if body == b"hello" else status for status, _, body in answers(client.received)]
        assert found == [200] + [404] * len(others)

    def test_a_resource_may_be_an_object_a_class_or_a_function(self, module: Callable[[str], None]) -> None:
        module(
            "from twisted.web.resource import Resource\n"
            "class Page(Resource):\n"
            "    isLeaf = True\n"
            "    def render(self, request): return b'x'\n"
            "page = Page()\n"
            "def make(): return page\n"
        )
        for name in ("page", "Page", "make"):
            ((_, made),), mistakes = resources([Http("/", resource=f"site_under_test:{name}")], Path(), reactor)
            assert mistakes == ()
            assert TestRoot().get(b"/", {"/": made}) == (200, b"x")

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("", "http[0].resource: site_under_test:thing cannot be imported: AttributeError"),
            ("1 / 0", "http[0].resource: site_under_test:thing cannot be imported: ZeroDivisionError"),
            ("thing = 3", "http[0].resource: site_under_test:thing is no IResource, and no callable that returns one"),
            ("def thing(): return 3", "http[0].resource: site_under_test:thing is no IResource"),
            ("def thing(): 1 / 0", "http[0].resource: site_under_test:thing() raised ZeroDivisionError"),
        ],
    )
    def test_a_resource_that_is_none_is_a_mistake(self, source: str, said: str, module: Callable[[str], None]) -> None:
        module(source)
        assert self.mistake(Http("/", resource="site_under_test:thing", key="http[0]")).startswith(said)

    def test_a_folder_that_is_not_there_is_a_mistake(self, tmp_path: Path) -> None:
        said = self.mistake(Http("/", static="site/", key="http[1]"), tmp_path)
        assert said == f"http[1].static: there is no {tmp_path}/site"

    def test_a_wsgi_application_that_cannot_be_called_is_a_mistake(self, module: Callable[[str], None]) -> None:
        module("app = 3")
        said = self.mistake(Http("/", wsgi="site_under_test:app", key="http[0]"))
        assert said == "http[0].wsgi: site_under_test:app is no WSGI application: it cannot be called"
