"""Applications of Klein and Flask: over HTTP/2 they answer what they answer over HTTP/1.1."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, make_response, redirect, request
from klein import Klein
from twisted.internet import reactor, task
from twisted.internet.task import Clock
from twisted.web.resource import IResource
from twisted.web.util import redirectTo
from twisted.web.wsgi import WSGIResource

from tests.http2_client import Client, end_all, joined, over_http1, site
from tests.test_sockets import serving
from tests.wires import with_reactor

pytestmark = pytest.mark.usefixtures("http2_engine")

CHUNKS = [b"x" * 30_000, b"", b"y" * 100_000, b"z"]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    end_all()


class Threads:
    """Threads of which there is only one: what they are to do is done at once, and so is what they have others do."""

    def callInThread(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    callFromThread = callInThread


def klein(clock: Clock) -> IResource:
    """An application of Klein's."""
    app = Klein()

    @app.route("/query", methods=["GET"])
    def query(request: Any) -> str:
        return f"{request.args[b'a'][0].decode()} {request.getHeader('x-a')} {request.getHeader(b'host').decode()}"

    @app.route("/json", methods=["POST"])
    def double(request: Any) -> bytes:
        request.setHeader(b"content-type", b"application/json")
        found = json.loads(request.content.read())
        return json.dumps({"doubled": found["number"] * 2}).encode()

    @app.route("/stream")
    async def stream(request: Any) -> None:
        for chunk in CHUNKS:
            request.write(chunk)
            await task.deferLater(clock, 0)

    @app.route("/cookies")
    def cookies(request: Any) -> bytes:
        request.addCookie("seen", "yes", path="/")
        request.addCookie("more", "1")
        return request.getCookie(b"name")  # type: ignore[no-any-return]

    @app.route("/redirect")
    def elsewhere(request: Any) -> bytes:
        return redirectTo(b"/query?a=1", request)

    @app.route("/empty")
    def empty(request: Any) -> bytes:
        request.setResponseCode(204)
        return b""

    @app.route("/error")
    def error(request: Any) -> None:
        raise ValueError("no")

    return app.resource()


def flask(clock: Any) -> IResource:
    """An application of Flask's."""
    threads: Any = Threads()
    return WSGIResource(threads, threads, flask_application())


def flask_application() -> Any:
    app = Flask("tests")

    @app.get("/query")
    def query() -> str:
        return f"{request.args['a']} {request.headers['x-a']} {request.host}"

    @app.post("/json")
    def double() -> dict[str, int]:
        return {"doubled": request.get_json()["number"] * 2}

    @app.get("/stream")
    def stream() -> Response:
        return Response(iter(CHUNKS), mimetype="text/plain")

    @app.get("/cookies")
    def cookies() -> Response:
        response = make_response(request.cookies["name"])
        response.set_cookie("seen", "yes")
        response.set_cookie("more", "1")
        return response

    @app.get("/redirect")
    def elsewhere() -> Any:
        return redirect("/query?a=1")

    @app.get("/empty")
    def empty() -> tuple[str, int]:
        return "", 204

    @app.get("/error")
    def error() -> str:
        raise ValueError("no")

    return app


REQUESTS: dict[str, tuple[str, str, list[tuple[str, str]], bytes, int]] = {
    "query": ("GET", "/query?a=b%20c", [("x-a", "1")], b"", 200),
    "json": ("POST", "/json", [("content-type", "application/json"), ("content-length", "14")], b'{"number": 21}', 200),
    "json of unknown length": ("POST", "/json", [("content-type", "application/json")], b'{"number": 21}', 200),
    "stream": ("GET", "/stream", [], b"", 200),
    "head": ("HEAD", "/query?a=1", [("x-a", "1")], b"", 200),
    "cookies": ("GET", "/cookies", [("cookie", "other=1; name=value")], b"", 200),
    "redirect": ("GET", "/redirect", [], b"", 302),
    "empty": ("GET", "/empty", [], b"", 204),
    "404": ("GET", "/nowhere", [], b"", 404),
    "405": ("DELETE", "/query", [], b"", 405),
    "500": ("GET", "/error", [], b"", 500),
}
OF_ONE_HOP = (b"connection", b"transfer-encoding")


@pytest.mark.parametrize("how", ["prior knowledge", "upgrade"])
@pytest.mark.parametrize("application", [klein, flask])
@pytest.mark.parametrize(("method", "path", "headers", "body", "status"), REQUESTS.values(), ids=REQUESTS)
def test_application_answers_as_over_http_1_1(
    application: Callable[[Clock], IResource],
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    body: bytes,
    status: int,
    how: str,
) -> None:
    clock = Clock()
    served = site(application(clock), clock=clock)
    expected = over_http1(served.connect(), method, path, headers, body)
    fields = {name: value for name, value in expected[1].items() if name not in OF_ONE_HOP}
    if how == "upgrade":
        head = over_http1_head(method, path, headers, body)
        answer = Client(served, upgrade=head, body=body).answers[1]
    else:
        answer = Client(served).get(path, method, headers, body)
    assert answer.ended
    assert (answer.status, joined(answer.headers[1:]), answer.body) == (expected[0], fields, expected[2])
    assert answer.status == status


def over_http1_head(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The head of the request as `Client` upgrades it; its body has a length in any case."""
    length = [("content-length", str(len(body)))] if body and "content-length" not in dict(headers) else []
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in [("host", "example.org"), *headers])]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in length), ""]).encode()


class Socket:
    """What `Client` needs of a `Wire`, over a socket."""

    closed = True  # it closes itself

    def __init__(self, client: Any) -> None:
        self.clock = Clock()
        self._client = client
        self.send = client.transport.write

    def take(self) -> bytes:
        """What has come since the last call."""
        data, self._client.received = self._client.received, b""
        return data  # type: ignore[no-any-return]


@with_reactor
async def test_flask_in_threads_answers_many_streams_at_once(tmp_path: Path) -> None:
    pool = reactor.getThreadPool()  # type: ignore[attr-defined]
    served = site(WSGIResource(reactor, pool, flask_application()), clock=reactor)

    def ended() -> bool:
        client.talk()
        return all(one.ended for one in answers)

    async with serving(served, "tcp", tmp_path) as connect:
        socket = await connect()
        client = Client(served, kind=lambda *_: Socket(socket))  # type: ignore[arg-type]
        answers = [client.ask("/stream") for _ in range(20)]
        answers.append(client.ask("/json", "POST", [("content-type", "application/json")], b'{"number": 1}'))
        await socket.until(ended)
        assert [one.body for one in answers] == [b"".join(CHUNKS)] * 20 + [b'{"doubled":2}\n']
        socket.transport.loseConnection()
