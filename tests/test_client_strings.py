"""Endpoint strings that begin with `upgrade:`, as any Twisted program reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import clientFromString, connectProtocol, quoteStringArgument
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamClientEndpointStringParserWithReactor
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from zope.interface.verify import verifyObject

from switchd.client import NoAnswer
from switchd.testing import Wire


def asked(description: str) -> bytes:
    """The request that is sent by whoever connects."""
    reactor = MemoryReactorClock()
    connectProtocol(clientFromString(reactor, description), Protocol())
    factory: Any = reactor.unixClients[0][1] if reactor.unixClients else reactor.tcpClients[0][2]
    return Wire(factory.buildProtocol(None), Clock()).received


OFFER = b"Connection: Upgrade\r\nUpgrade: addone\r\n"


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        ("description", "request_"),
        [
            pytest.param(
                r"upgrade:http\://127.0.0.1\:8080/addone:token=addone",
                b"GET /addone HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + OFFER + b"\r\n",
                id="url-and-token",
            ),
            pytest.param(
                r"UPGRADE:token=addone:url=http\://127.0.0.1\:8080/a?b=c",
                b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n" + OFFER + b"\r\n",
                id="url-by-name",
            ),
            pytest.param(
                r"upgrade:http\://[\:\:1]/a?b\=c:token=addone",
                b"GET /a?b=c HTTP/1.1\r\nHost: [::1]\r\n" + OFFER + b"\r\n",
                id="ipv6-and-equals-sign",
            ),
            pytest.param(
                r"upgrade:unix\:/run/s.sock\:/a:token=addone:method=PUT:header.X=a\:b=c, d:header.Host=h",
                b"PUT /a HTTP/1.1\r\nHost: h\r\n" + OFFER + b"X: a:b=c, d\r\n\r\n",
                id="method-and-fields",
            ),
            pytest.param(
                r"upgrade:unix\:/run/s.sock:token=addone:http=1.1",
                b"GET / HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"\r\n",
                id="http-1.1",
            ),
            pytest.param(
                r"upgrade:unix\:/run/s.sock:token=addone:body={}",
                b"POST / HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"Content-Length: 2\r\n\r\n{}",
                id="body",
            ),
        ],
    )
    def test_a_string_says_it(self, description: str, request_: bytes) -> None:
        assert asked(description) == request_

    def test_a_string_may_be_in_bytes(self) -> None:
        description: Any = rb"upgrade:unix\:/run/s.sock:token=addone:header.X=y"
        assert asked(description) == b"GET / HTTP/1.1\r\nHost: localhost\r\n" + OFFER + b"X: y\r\n\r\n"

    def test_a_body_may_be_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "a:b"
        file.write_bytes(b"\0:\n")
        description = rf"upgrade:unix\:/s:token=addone:bodyFile={quoteStringArgument(str(file))}"
        assert asked(description).endswith(b"\r\nContent-Length: 3\r\n\r\n\0:\n")

    def test_the_timeout_is_in_seconds(self) -> None:
        reactor, outcomes = MemoryReactorClock(), list[Any]()
        endpoint = clientFromString(reactor, r"upgrade:unix\:/s:token=addone:timeout=1.5")
        connectProtocol(endpoint, Protocol()).addErrback(outcomes.append)
        reactor.advance(1.4)
        assert outcomes == []
        reactor.advance(0.1)
        assert outcomes[0].check(NoAnswer)


class TestMistakes:
    @pytest.mark.parametrize(
        ("description", "sentence"),
        [
            ("upgrade:", r"needs a url: upgrade:http\\://"),
            (r"upgrade:http\://h/", "needs a token"),
            (r"upgrade:http\://h/:token=", "needs a token"),
            ("upgrade:http://h:80/a:token=addone", r"each colon is written \\:, got http://h:80/a"),
            (r"upgrade:http\://h/:url=http\://h/:token=a", "takes one URL"),
            (r"upgrade:http\://h/?a=b:token=addone", r"but not http://h/\?a; .* written \\="),
            (r"upgrade:http\://h/:token=addone:protocol=b", "header.NAME, but not protocol;"),
            (r"upgrade:http\://h/:token=a b", "'a b' is no protocol name"),
            (r"upgrade:ftp\://h/:token=a", "expected http://HOST"),
            (r"upgrade:http\://h/:token=a:method=G T", "the request cannot be sent"),
            (r"upgrade:http\://h/:token=a:header.X Y=b", "the request cannot be sent"),
            (r"upgrade:http\://h/:token=a:header.Upgrade=b", "'Upgrade' is not among"),
            (r"upgrade:http\://h/:token=a:body=b:bodyFile=c", "not both"),
            (r"upgrade:http\://h/:token=a:bodyFile=/no/such", "/no/such cannot be read: No such file"),
            (r"upgrade:http\://h/:token=a:timeout=soon", "a number of seconds, got soon"),
            (r"upgrade:http\://h/:token=a:timeout=0", "a number of seconds, got 0"),
            (r"upgrade:http\://h/:token=a:timeout=inf", "a number of seconds, got inf"),
            (r"upgrade:https\://h/:token=a:trustRoots=/no/such", "/no/such cannot be read"),
            (r"upgrade:https\://h/:token=a:http=2", "http is 1.1, or is left out, got 2"),
        ],
    )
    def test_a_mistake_is_a_sentence(self, description: str, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            clientFromString(MemoryReactorClock(), description)


def test_the_plugin_is_what_twisted_asks_for() -> None:
    (plugin,) = [each for each in getPlugins(IStreamClientEndpointStringParserWithReactor) if each.prefix == "upgrade"]
    verifyObject(IStreamClientEndpointStringParserWithReactor, plugin)
    endpoint = plugin.parseStreamClient(MemoryReactorClock(), "http://h/", token="addone")
    assert IStreamClientEndpoint.providedBy(endpoint)
