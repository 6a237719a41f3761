"""HTTP/2 clients that were not written here, by Upgrade and by prior knowledge, talk to a real server."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen

from switchd import engine
from tests.e2e.conftest import SCRIPTS, SECONDS, Client, Server, need, run, twistd
from tests.e2e.processes import ROOT

pytestmark = pytest.mark.e2e

MIB = 1048576

BODY_BYTES = 8 * MIB

CONFIG = f"""
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"

[[http]]
path = "/"
resource = "answers:answers"

[[http]]
path = "/files"
static = "files/"

[[switch]]
path = "/"
protocol = "h2c"

[limits]
head_bytes = 32768
body_bytes = {BODY_BYTES}
"""

ANSWERS = '''
import json
from hashlib import sha256

from twisted.internet import reactor
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.protocols.basic import FileSender
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

log = Logger()
written = {}  # bytes of each Stream, by the last segment of its path


def tell(what, request):
    log.info("{what} {uri}", what=what, uri=request.uri.decode())


class Leaf(Resource):
    isLeaf = True


class Echo(Leaf):
    """What was asked."""

    def render(self, request):
        body = request.content.read()
        seen = {
            "version": request.clientproto.decode(),
            "method": request.method.decode(),
            "path": request.uri.decode(),
            "headers": {
                name.decode().lower(): [value.decode() for value in values]
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            "length": len(body),
            "digest": sha256(body).hexdigest(),
        }
        request.setHeader(b"content-type", b"application/json")
        return b"" if request.method == b"HEAD" else json.dumps(seen).encode()


class Mirror(Leaf):
    """The body of the request, by a pull producer."""

    def render_POST(self, request):
        sent = FileSender().beginFileTransfer(request.content, request)
        sent.addCallbacks(lambda _: request.finish(), lambda _: None)
        return NOT_DONE_YET


class Together(Leaf):
    """Answers nobody until there are as many as the query says."""

    def __init__(self):
        super().__init__()
        self._waiting = {}

    def render_GET(self, request):
        waiting = self._waiting.setdefault(request.path, [])
        waiting.append(request)
        if len(waiting) == int(request.args[b"count"][0]):
            del self._waiting[request.path]
            for each in waiting:
                each.write(b"together")
                each.finish()
        return NOT_DONE_YET


class Never(Leaf):
    """Answers nobody, and tells who has lost patience."""

    def render_GET(self, request):
        tell("asked", request)
        request.notifyFinish().addErrback(lambda _: tell("gone", request))
        return NOT_DONE_YET


@implementer(IPushProducer)
class Pieces:
    """Writes numbered pieces; without a number of them, until ten after the server is told to end."""

    def __init__(self, request, pieces, size, seconds):
        self._request = request
        self._pieces = pieces
        self._size = size
        self._seconds = seconds
        self._number = 0
        self._next = None
        self._wanted = True
        if pieces is None:
            reactor.addSystemEventTrigger("before", "shutdown", self._end_soon)

    def _end_soon(self):
        self._pieces = self._number + 10

    def write(self):
        self._next = None
        while self._wanted:
            if self._number == self._pieces:
                self._wanted = False
                self._request.unregisterProducer()
                self._request.finish()
                return
            self._request.write((b"%d\\n" % self._number).rjust(self._size, b"."))
            self._number += 1
            written[self._request.path.rpartition(b"/")[2]] = self._number * self._size
            if self._seconds:
                self._next = reactor.callLater(self._seconds, self.write)
                return

    def pauseProducing(self):
        self._wanted = False

    def resumeProducing(self):
        self._wanted = True
        if self._next is None:
            self.write()

    def stopProducing(self):
        tell("stopped", self._request)
        self._wanted = False
        if self._next is not None:
            self._next.cancel()


class Stream(Leaf):
    """Pieces, by a push producer."""

    def render_GET(self, request):
        pieces, size, seconds = (
            number(request.args[name][0]) if name in request.args else default
            for name, number, default in ((b"pieces", int, None), (b"size", int, 10), (b"seconds", float, 0.01))
        )
        producer = Pieces(request, pieces, size, seconds)
        request.registerProducer(producer, True)
        request.notifyFinish().addErrback(lambda _: tell("gone", request))
        tell("asked", request)
        producer.write()
        return NOT_DONE_YET


class Written(Leaf):
    """How much a stream has had written."""

    def render_GET(self, request):
        return b"%d" % written[request.postpath[-1]]


def answers():
    root = Resource()
    for resource in (Echo, Mirror, Together, Never, Stream, Written):
        root.putChild(resource.__name__.lower().encode(), resource())
    return root
'''

BIG = "".join(f"{number:015}\n" for number in range(5 * MIB // 16))
"""5 MiB of text, so that a client may print it; no two lines are the same."""

SMALL = "hello\n"


def digest(text: str | bytes) -> str:
    return sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def pieces(number: int, size: int = 10) -> str:
    """What `/stream` sends."""
    return "".join(f"{each}\n".rjust(size, ".") for each in range(number))


@frozen
class Site:
    """A server, and the folder that it runs in."""

    server: Server
    folder: Path

    def url(self, path: str) -> str:
        return f"http://{self.server.host}:{self.server.port}{path}"

    def hears(self, *expected: str) -> None:
        """Wait until resources have heard of the ends of their requests, in any order."""
        missing = set(expected)
        while missing:
            missing.discard(self.server.wait_for(r"answers#info\] ((?:gone|stopped) /[\w/]+)")[1])


@contextmanager
def serving(folder: Path, limits: str = "", http2_engine: str = "lean") -> Iterator[Site]:
    """A server with the configuration above."""
    (folder / "switchd.toml").write_text(f'server.http2_engine = "{http2_engine}"\n{CONFIG}{limits}')
    (folder / "answers.py").write_text(ANSWERS)
    (folder / "files").mkdir()
    (folder / "files" / "big.txt").write_text(BIG)
    (folder / "files" / "small.txt").write_text(SMALL)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("PYTHONPATH", str(folder))
        with twistd(folder, "--config", "switchd.toml") as server:
            yield Site(server, folder)


@pytest.fixture(scope="module", params=engine.NAMES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server that all tests share but for those that end it, with each engine."""
    with serving(tmp_path_factory.mktemp("server"), http2_engine=request.param) as site:
        yield site


@pytest.fixture
def body(tmp_path: Path) -> Path:
    """A file of 1 MiB."""
    file = tmp_path / "body"
    file.write_bytes(Random(9113).randbytes(MIB))
    return file


@pytest.mark.parametrize("way", ["--http2", "--http2-prior-knowledge"])
class TestCurl:
    """`--http2` is the Upgrade.

    Three faults of curl 7.88, Debian 12's, are kept out of the way. The second transfer of a connection by prior
    knowledge fails: there is one transfer a process. More than 32 KiB that come together with the 101 are lost: what is
    upgraded has a short answer, and a long one is asked for behind it. An answer that comes before the body has gone up
    is dropped for the RST_STREAM with NO_ERROR behind it (RFC 9113 section 8.1): others ask for those.
    """

    def curl(self, way: str, *arguments: str) -> str:
        return run(need("curl"), way, "--silent", "--show-error", "--max-time", str(SECONDS), *arguments)

    def echo(self, way: str, *arguments: str) -> Any:
        """What the server has seen of a request."""
        told = self.curl(way, "--write-out", r"\n%{http_version} %{response_code} %{num_connects}", *arguments)
        seen, transfer = told.rsplit("\n", 1)
        assert transfer == "2 200 1"
        return json.loads(seen)

    def test_gets(self, site: Site, way: str) -> None:
        seen = self.echo(way, "-H", "Cookie: a=1; b=2", site.url("/echo/x?y=1"))
        assert (seen["version"], seen["method"], seen["path"]) == ("HTTP/2", "GET", "/echo/x?y=1")
        assert seen["headers"]["host"] == [f"{site.server.host}:{site.server.port}"]
        assert seen["headers"]["cookie"] == ["a=1; b=2"]
        assert not {"connection", "upgrade", "http2-settings"} & set(seen["headers"])

    def test_gets_a_head_alone(self, site: Site, way: str) -> None:
        head = self.curl(way, "--head", site.url("/files/big.txt")).splitlines()
        assert "HTTP/2 200 " in head
        assert f"content-length: {len(BIG)}" in head
        assert not [line for line in head if line.startswith("transfer-encoding")]

    @pytest.mark.parametrize("length", [0, 5, MIB])
    def test_posts(self, site: Site, way: str, length: int, body: Path) -> None:
        sent = body.read_bytes()[:length]
        body.write_bytes(sent)
        seen = self.echo(way, "--data-binary", f"@{body}", site.url("/echo"))
        assert (seen["version"], seen["method"]) == ("HTTP/2", "POST")
        assert (seen["length"], seen["digest"]) == (length, digest(sent))
        assert seen["headers"]["content-length"] == [str(length)]

    def test_puts_what_it_does_not_know_the_length_of(self, site: Site, way: str) -> None:
        told = run(need("curl"), way, "-s", "-m", str(SECONDS), "-T", "-", site.url("/echo"), stdin="x" * 100_000)
        seen = json.loads(told)
        assert (seen["version"], seen["method"]) == ("HTTP/2", "PUT")
        assert (seen["length"], seen["digest"]) == (100_000, digest("x" * 100_000))

    def test_gets_a_404(self, site: Site, way: str) -> None:
        answer = self.curl(way, "--include", site.url("/files/none"))
        assert "HTTP/2 404 \n" in answer

    def test_gets_several_megabytes(self, site: Site, way: str, tmp_path: Path) -> None:
        upgraded = ["-o", str(tmp_path / "small"), site.url("/files/small.txt")] if way == "--http2" else []
        told = self.curl(
            way,
            *("--write-out", r"%{http_version} %{response_code} %{num_connects}\n"),
            *upgraded,
            *("-o", str(tmp_path / "big"), site.url("/files/big.txt")),
        )
        assert told.splitlines() == (["2 200 1", "2 200 0"] if upgraded else ["2 200 1"])
        assert (tmp_path / "big").read_text() == BIG


@frozen
class Frame:
    """A frame, as nghttp tells of it."""

    way: str
    kind: str
    length: int
    flags: int
    stream: int


def frames(told: str, way: str, kind: str = "") -> list[Frame]:
    """The frames that nghttp has sent ("send") or received ("recv"), perhaps of one kind."""
    found = re.findall(r"(send|recv) (\w+) frame <length=(\d+), flags=0x(\w+), stream_id=(\d+)>", told)
    told_of = (Frame(way, kind, int(length), int(flags, 16), int(stream)) for way, kind, length, flags, stream in found)
    return [frame for frame in told_of if frame.way == way and kind in ("", frame.kind)]


END_STREAM, END_HEADERS, PADDED = 1, 4, 8


class Nghttp:
    """Runs nghttp. `--no-dep`: otherwise its first streams stand for groups of priorities, and requests begin at 13."""

    def nghttp(self, *arguments: str) -> str:
        return run(need("nghttp"), "--no-dep", "--timeout", f"{SECONDS}s", *arguments)

    def told(self, *arguments: str) -> str:
        """What it tells of frames, with the answers' bodies left out."""
        return self.nghttp("--verbose", "--null-out", *arguments)


@pytest.mark.parametrize("way", [(), ("--upgrade",)], ids=["prior", "upgrade"])
class TestNghttp(Nghttp):
    def test_speaks_of_the_right_frames(self, site: Site, way: tuple[str, ...]) -> None:
        told = self.told(*way, site.url("/files/small.txt"))
        assert ("HTTP/1.1 101 Switching Protocols" in told) == bool(way)
        got = frames(told, "recv")
        assert (got[0].kind, got[0].flags, got[0].stream) == ("SETTINGS", 0, 0)
        own = [frame for frame in got if frame.stream]
        assert [(frame.kind, frame.flags, frame.stream) for frame in own] == [
            ("HEADERS", END_HEADERS, 1),
            ("DATA", END_STREAM, 1),
        ]
        assert re.findall(r"recv \(stream_id=1\) :status: (\d+)", told) == ["200"]
        assert [(frame.kind, frame.stream) for frame in frames(told, "send")][-1] == ("GOAWAY", 0)

    def test_posts(self, site: Site, way: tuple[str, ...], body: Path) -> None:
        seen = json.loads(self.nghttp(*way, "--data", str(body), site.url("/echo")))
        assert (seen["version"], seen["method"]) == ("HTTP/2", "POST")
        assert (seen["length"], seen["digest"]) == (MIB, digest(body.read_bytes()))

    def test_upgrades_by_options_if_there_is_a_body(self, site: Site, way: tuple[str, ...], body: Path) -> None:
        told = self.told(*way, "--data", str(body), site.url("/echo"))
        post = 3 if way else 1
        assert {frame.stream for frame in frames(told, "send", "DATA")} == {post}
        statuses = re.findall(r"recv \(stream_id=(\d+)\) :status: (\d+)", told)
        assert statuses == [(str(stream), "200") for stream in range(1, post + 1, 2)]
        assert ("recv (stream_id=1) allow: GET, " in told) == (post == 3)

    def test_sends_trailers_and_no_length(self, site: Site, way: tuple[str, ...], body: Path) -> None:
        options = ("--no-content-length", "--trailer", "x-checksum: abc", "--data", str(body))
        seen = json.loads(self.nghttp(*way, *options, site.url("/echo")))
        assert (seen["length"], seen["digest"]) == (MIB, digest(body.read_bytes()))
        assert seen["headers"]["trailer"] == ["x-checksum"]
        assert "x-checksum" not in seen["headers"]

    def test_pads(self, site: Site, way: tuple[str, ...], body: Path) -> None:
        sent = body.read_bytes() + bytes(1000)  # a last frame that is not full, so there is room in it
        body.write_bytes(sent)
        options = ("--padding", "200", "--data", str(body))
        seen = json.loads(self.nghttp(*way, *options, site.url("/echo")))
        assert (seen["length"], seen["digest"]) == (len(sent), digest(sent))
        data = frames(self.told(*way, *options, site.url("/echo")), "send", "DATA")
        assert len(sent) < sum(frame.length for frame in data)
        assert [frame for frame in data if frame.flags & PADDED]

    def test_waits_for_100_continue(self, site: Site, way: tuple[str, ...], body: Path) -> None:
        told = self.told(*way, "--expect-continue", "--data", str(body), site.url("/echo"))
        post = 3 if way else 1
        assert re.findall(rf"recv \(stream_id={post}\) :status: (\d+)", told) == ["100", "200"]
        assert told.index(":status: 100") < told.index("send DATA frame")

    def test_asks_for_several(self, site: Site, way: tuple[str, ...]) -> None:
        paths = ["/files/big.txt", "/echo", "/nowhere", "/files/small.txt"]
        told = self.nghttp(*way, "--null-out", "--stat", "-m", "20", *map(site.url, paths))
        found = re.findall(r"^ *\d+ +\S+ +\S+ +\S+ +(\d+) +\S+ +(/\S+)$", told, re.MULTILINE)
        expected = [("404" if path == "/nowhere" else "200", path) for path in paths] * 20
        assert sorted(found) == sorted(expected)

    def test_gets_several_megabytes(self, site: Site, way: tuple[str, ...]) -> None:
        assert self.nghttp(*way, site.url("/files/big.txt")) == BIG

    def test_gets_them_through_small_windows(self, site: Site, way: tuple[str, ...]) -> None:
        small = ("--window-bits", "10", "--connection-window-bits", "10")
        assert self.nghttp(*way, *small, site.url("/files/big.txt")) == BIG
        told = self.told(*way, *small, site.url("/files/big.txt"))
        got = frames(told, "recv", "DATA")
        assert sum(frame.length for frame in got) == len(BIG)
        # By prior knowledge the setting comes with the preface; by Upgrade it is in HTTP2-Settings.
        assert max(frame.length for frame in got) <= 1023
        assert len(frames(told, "send", "WINDOW_UPDATE")) > len(BIG) // 1024

    def test_gets_a_413_before_the_body_has_gone_up(self, site: Site, way: tuple[str, ...], tmp_path: Path) -> None:
        body = tmp_path / "long"
        body.write_bytes(bytes(BODY_BYTES + 1))
        told = self.told(*way, "--data", str(body), site.url("/echo"))
        post = 3 if way else 1
        assert re.findall(rf"recv \(stream_id={post}\) :status: (\d+)", told) == ["413"]
        assert sum(frame.length for frame in frames(told, "send", "DATA")) < BODY_BYTES


class TestNghttpHeads(Nghttp):
    """The heads of HTTP/2, which are not those of the request that upgrades."""

    def test_send_cookies_in_fields_of_their_own(self, site: Site) -> None:
        seen = json.loads(self.nghttp("-H", "cookie: a=1", "-H", "cookie: b=2", site.url("/echo")))
        assert seen["headers"]["cookie"] == ["a=1; b=2"]  # RFC 9113 section 8.2.3

    def test_are_continued(self, site: Site) -> None:
        seen = json.loads(self.nghttp("--continuation", site.url("/echo")))
        assert len([name for name in seen["headers"] if name.startswith("continuation-test-")]) == 6

    def test_are_answered_with_431_if_they_are_too_long(self, site: Site) -> None:
        told = self.told("-m", "2", "-H", f"x-long: {'x' * 40_000}", site.url("/echo"))
        assert re.findall(r"recv \(stream_id=(\d+)\) :status: (\d+)", told) == [("1", "431"), ("3", "431")]
        assert not frames(told, "recv", "GOAWAY")


class TestH2load:
    def h2load(self, number: int, *arguments: str) -> None:
        """Make requests, all of which have to be answered with a status of 2xx."""
        # If nothing comes for that long it ends, and says that requests have failed.
        told = run(need("h2load"), "-n", str(number), "--connection-inactivity-timeout", f"{SECONDS}s", *arguments)
        done = ("total", "started", "done", "succeeded", "failed", "errored", "timeout")
        counts = zip([number] * 4 + [0] * 3, done, strict=True)
        assert "requests: " + ", ".join(f"{count} {word}" for count, word in counts) in told, told
        assert f"status codes: {number} 2xx, 0 3xx, 0 4xx, 0 5xx" in told

    @pytest.mark.parametrize("protocol", [[], ["-p", "h2c"], ["-p", "http/1.1"]], ids=["default", "h2c", "http1"])
    def test_asks_a_thousand_times(self, site: Site, protocol: list[str]) -> None:
        self.h2load(1000, "-c", "4", "-m", "100", *protocol, site.url("/echo"))

    def test_has_a_hundred_streams_open_at_once(self, site: Site) -> None:
        self.h2load(1000, "-c", "1", "-m", "100", site.url("/together/h2load?count=100"))

    def test_posts(self, site: Site, body: Path) -> None:
        self.h2load(100, "-c", "2", "-m", "50", "-d", str(body), site.url("/echo"))

    def test_gets_several_megabytes_each(self, site: Site) -> None:
        self.h2load(40, "-c", "4", "-m", "10", site.url("/files/big.txt"))

    def test_gets_them_through_small_windows(self, site: Site) -> None:
        self.h2load(200, "-c", "2", "-m", "100", "-w", "12", "-W", "14", site.url("/stream/load?pieces=1000&seconds=0"))


class TestNode:
    def play(self, site: Site, scene: str) -> Any:
        """What `h2c_node.js` saw."""
        return json.loads(run(need("node"), SCRIPTS / "h2c_node.js", scene, site.url("")))

    def test_gets_and_posts(self, site: Site) -> None:
        seen = self.play(site, "requests")
        assert {name: answer["status"] for name, answer in seen.items()} == {
            "got": 200,
            "head": 200,
            "lost": 404,
            "post": 200,
        }
        assert json.loads(seen["got"]["text"])["path"] == "/echo/get"
        assert (seen["head"]["length"], seen["head"]["headers"]["content-type"]) == (0, "application/json")
        post = json.loads(seen["post"]["text"])
        assert (post["method"], post["digest"]) == ("POST", digest("one, two"))
        assert post["headers"]["cookie"] == ["a=1; b=2"]

    def test_gets_a_413_before_the_body_has_gone_up(self, site: Site) -> None:
        seen = self.play(site, "early")
        assert (seen["refused"]["status"], seen["refused"]["code"]) == (413, 0)
        assert seen["next"]["path"] == "/echo"

    def test_sends_trailers(self, site: Site) -> None:
        seen = self.play(site, "trailers")
        assert json.loads(seen["post"]["text"])["digest"] == digest("with trailers")
        assert seen["next"]["version"] == "HTTP/2"

    def test_streams_bodies_up_and_down(self, site: Site) -> None:
        seen = self.play(site, "mirror")
        piece = (b"piece" * 65536)[:65536]
        assert [(each["status"], each["digest"]) for each in seen] == [
            (200, digest(piece * number)) for number in (32, 48, 64)
        ]

    def test_has_a_hundred_streams_open_at_once(self, site: Site) -> None:
        seen = self.play(site, "together")
        assert seen == {"hundred": ["together"] * 100, "more": [200] * 250}

    def test_cancels_streams_of_which_the_resource_hears_and_the_others_do_not(self, site: Site) -> None:
        seen = self.play(site, "cancel")
        cancel = 8
        assert seen["codes"] == [cancel] * 3
        assert (seen["next"]["text"], seen["patient"]["text"]) == ("together", "together")
        site.hears(
            "gone /never/node", *(f"{what} /stream/{name}" for what in ("stopped", "gone") for name in ("node", "fast"))
        )

    def test_closes_its_session_after_the_streams_that_are_open(self, site: Site) -> None:
        assert self.play(site, "close") == [["together", 0]] * 4

    def test_settles_pings_and_is_pushed_nothing(self, site: Site) -> None:
        seen = self.play(site, "control")
        assert (seen["settings"]["maxConcurrentStreams"], seen["settings"]["maxHeaderListSize"]) == (100, 32768)
        assert (seen["pong"], seen["pushes"]) == ("are you?", 0)
        assert seen["big"]["digest"] == digest(BIG)  # after SETTINGS that made its window small

    def test_reads_slowly_and_the_others_do_not_notice(self, site: Site) -> None:
        seen = self.play(site, "slow")
        assert seen["others"] == [len(BIG)] * 10
        sent = [BIG, pieces(5000, size=1000)]
        assert seen["digests"] == list(map(digest, sent))
        assert all(0 < held <= 65536 for held in seen["held"])
        # What was in flight, its window, and what waits in the server.
        assert int(seen["written"]) < 300_000


class TestHttpx:
    def play(self, site: Site, scene: str) -> Any:
        """What `h2c_httpx.py` saw."""
        module = ("-m", "tests.e2e.clients.h2c_httpx")
        return json.loads(run(sys.executable, *module, scene, site.url(""), environment={"PYTHONPATH": str(ROOT)}))

    def test_gets_and_posts(self, site: Site) -> None:
        seen = self.play(site, "requests")
        assert {answer["version"] for answer in seen.values()} == {"HTTP/2"}
        assert [answer["status"] for answer in seen.values()] == [200, 200, 200, 404, 200]
        assert json.loads(seen["get"]["text"])["path"] == "/echo/get"
        assert (seen["head"]["length"], seen["head"]["headers"]["content-type"]) == (0, "application/json")
        post = json.loads(seen["post"]["text"])
        assert (post["method"], post["digest"], post["headers"]["cookie"]) == ("POST", digest("hello"), ["a=1"])
        assert (seen["big"]["length"], seen["big"]["digest"]) == (len(BIG), digest(BIG))

    def test_has_a_hundred_streams_open_at_once(self, site: Site) -> None:
        assert self.play(site, "together") == ["together"] * 100

    def test_uploads(self, site: Site) -> None:
        streamed, whole, mirrored = self.play(site, "upload")
        assert json.loads(streamed["text"])["digest"] == digest(bytes(5 * MIB))
        assert json.loads(whole["text"])["digest"] == digest(bytes(4 * MIB))
        assert mirrored["digest"] == digest(bytes(2 * MIB))

    def test_leaves_an_answer_when_it_has_begun(self, site: Site) -> None:
        seen = self.play(site, "leave")
        assert (seen["start"], seen["next"]["status"]) == ("..", 200)
        site.hears("stopped /stream/httpx", "gone /stream/httpx")


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    """Clients in the background. At the end none is left."""
    started: list[Client] = []
    yield started
    for client in started:
        client.kill()


class TestServer:
    def test_says_goodbye_and_finishes_the_streams(self, tmp_path: Path, clients: list[Client]) -> None:
        with serving(tmp_path) as site:
            commands: dict[str, tuple[str | Path, ...]] = {
                "node": (need("node"), SCRIPTS / "h2c_node.js", "farewell", site.url("")),
                "nghttp": (need("nghttp"), "-v", "--no-dep", site.url("/stream/nghttp")),
                "upgraded": (need("nghttp"), "-v", "-u", "--no-dep", site.url("/stream/upgraded")),
                "curl": (need("curl"), "-s", "--http2-prior-knowledge", site.url("/stream/curl")),
            }
            for name, command in commands.items():
                clients.append(Client(*command))
                site.server.wait_for(rf"asked /stream/{name}$")
            site.server.signal(signal.SIGTERM)
            node, nghttp, upgraded, curl = clients
            self._is_said_goodbye_to_node(node.seen())
            for client in (nghttp, upgraded):
                self._is_said_goodbye_to_nghttp(client.end())
            text = curl.end()
            assert text == pieces(text.count("\n"))
            assert site.server.end() == -signal.SIGTERM
            for name in commands:
                assert len(re.findall(rf'"GET /stream/{name} HTTP/2" 200 ', site.server.log)) == 1

    def _is_said_goodbye_to_node(self, seen: Any) -> None:
        assert seen["text"] == pieces(seen["text"].count("\n"))
        assert seen["order"] == [
            ["goaway", 0, 2**31 - 1],
            ["goaway", 0, 1],
            ["end", 0],
        ]

    def _is_said_goodbye_to_nghttp(self, told: str) -> None:
        got = frames(told, "recv")
        goodbyes = [i for i, frame in enumerate(got) if frame.kind == "GOAWAY"]
        ends = [i for i, frame in enumerate(got) if frame.kind == "DATA" and frame.flags & END_STREAM]
        assert len(goodbyes) == 2
        assert len(ends) == 1
        assert goodbyes[-1] < ends[0]
        assert "last_stream_id=2147483647, error_code=NO_ERROR(0x00)" in told
        assert "last_stream_id=1, error_code=NO_ERROR(0x00)" in told

    def test_cuts_at_the_deadline_what_has_no_end(self, tmp_path: Path, clients: list[Client]) -> None:
        with serving(tmp_path, limits="shutdown_seconds = 0.5\n") as site:
            clients.append(Client(need("nghttp"), "-v", "--no-dep", site.url("/never/nghttp")))
            site.server.wait_for(r"asked /never/nghttp$")
            site.server.signal(signal.SIGTERM)
            told = clients[0].end()
            assert "Some requests were not processed. total=1, processed=0" in told
            assert len(frames(told, "recv", "GOAWAY")) >= 2
            assert site.server.end() == -signal.SIGTERM
            assert "gone /never/nghttp" in site.server.log

    def test_logs_each_stream_once(self, tmp_path: Path, body: Path) -> None:
        with serving(tmp_path) as site:
            run(need("curl"), "-s", "--http2", "-d", "hello", site.url("/echo/upgraded"))
            run(need("curl"), "-s", "--http1.1", site.url("/echo/plain"))
            run(need("nghttp"), "-n", "-m", "5", site.url("/echo/five"), site.url("/nowhere"))
            run(need("nghttp"), "-n", "-u", "-d", str(body), site.url("/echo/options"))
            run(need("h2load"), "-n", "300", "-c", "2", "-m", "100", site.url("/echo/load"))
            site.server.signal(signal.SIGTERM)
            assert site.server.end() == -signal.SIGTERM
            lines = re.findall(r'"(\w+ \S+ HTTP/\S+)" (\d+) \S+ "-" "', site.server.log)
        expected = {
            ("GET / HTTP/1.0", "404"): 1,  # of `Server.listens`
            ("POST /echo/upgraded HTTP/2", "200"): 1,
            ("GET /echo/plain HTTP/1.1", "200"): 1,
            ("GET /echo/five HTTP/2", "200"): 5,
            ("GET /nowhere HTTP/2", "404"): 5,
            ("OPTIONS * HTTP/2", "200"): 1,
            ("POST /echo/options HTTP/2", "200"): 1,
            ("GET /echo/load HTTP/2", "200"): 300,
        }
        assert {line: lines.count(line) for line in lines} == expected
