"""twisted.web's inside, as http1.py relies on it: when a new Twisted changes it, this says so first."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import ProtocolWrapper
from twisted.web import http
from twisted.web.http_headers import Headers
from twisted.web.server import Request

OVERRIDDEN = {
    "_maybeChooseTransferDecoder": ["self", "header", "data"],
    "_respondToBadRequestAndDisconnect": ["self"],
    "_protocolUpgradeForWebsockets": ["self", "protocol"],
    "allContentReceived": ["self"],
    "allHeadersReceived": ["self"],
    "checkPersistence": ["self", "request", "version"],
    "connectionLost": ["self", "reason"],
    "connectionMade": ["self"],
    "dataReceived": ["self", "data"],
    "headerReceived": ["self", "line"],
    "lineLengthExceeded": ["self", "line"],
    "lineReceived": ["self", "line"],
    "loseConnection": ["self"],
    "requestDone": ["self", "request"],
    "writeHeaders": ["self", "version", "code", "reason", "headers"],
}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_channel_has_the_method_that_is_overridden(name: str) -> None:
    assert list(inspect.signature(getattr(http.HTTPChannel, name)).parameters) == OVERRIDDEN[name]


@pytest.mark.parametrize("name", ["_receivedHeaderSize", "_receivedHeaderCount", "_optimisticEagerReadSize", "_buffer"])
def test_the_channel_has_the_attribute_of_its_class(name: str) -> None:
    assert hasattr(http.HTTPChannel, name)


@pytest.mark.parametrize(
    ("name", "value"), [("requests", []), ("_handlingRequest", False), ("_dataBuffer", []), ("_transferDecoder", None)]
)
def test_a_channel_has_the_attribute(name: str, value: object) -> None:
    assert vars(http.HTTPChannel())[name] == value


def channel() -> Any:
    made: Any = http.HTTPChannel()
    made.timeOut = None
    made.requestFactory = http.Request
    made.makeConnection(StringTransport())
    return made


def test_command_path_and_version_are_there_during_a_head_and_no_longer() -> None:
    made = channel()
    assert not hasattr(made, "_command")
    made.dataReceived(b"GET /a HTTP/1.1\r\n")
    assert (made._command, made._path, made._version) == (b"GET", b"/a", b"HTTP/1.1")
    made.dataReceived(b"\r\n")
    assert not hasattr(made, "_command")


def test_bytes_behind_a_request_that_is_being_handled_are_kept_in_the_data_buffer() -> None:
    made = channel()
    made.dataReceived(b"GET /a HTTP/1.1\r\n\r\nbehind")
    assert made._handlingRequest
    assert b"".join(made._dataBuffer) + made.clearLineBuffer() == b"behind"


def test_the_transport_is_the_network_producer_and_the_channel_its_producer() -> None:
    made = channel()
    assert made._networkProducer is made.transport
    assert made.transport.producer is made


def test_a_chunked_body_is_decoded_by_the_method_that_is_overridden() -> None:
    found: list[bytes] = []
    decoder: Any = http._ChunkedTransferDecoder(found.append, found.append)
    assert decoder._maxTrailerHeadersSize > 0
    decoder._buffer += b"a\r\n"
    assert decoder._dataReceived_CHUNK_LENGTH() is True
    assert decoder.length == 10
    assert decoder.state == "BODY"


def test_a_finished_body_goes_on_through_finish_request_body() -> None:
    assert list(inspect.signature(http.HTTPChannel._finishRequestBody).parameters) == ["self", "data"]


def test_a_request_has_the_methods_that_are_overridden() -> None:
    assert list(inspect.signature(Request.gotLength).parameters) == ["self", "length"]
    assert list(inspect.signature(Request.process).parameters) == ["self"]
    assert list(inspect.signature(Request.write).parameters) == ["self", "data"]


def test_a_wrapper_keeps_its_protocol_where_handover_looks_for_it() -> None:
    assert "wrappedProtocol" in inspect.signature(ProtocolWrapper.__init__).parameters
    assert issubclass(http.HTTPChannel, LineReceiver)


def test_fields_are_kept_by_name_as_lists_in_one_table() -> None:
    headers = Headers()
    headers.addRawHeader(b"x-a", b"1")
    headers.addRawHeader(b"X-A", b"2")
    assert headers._rawHeaders == {b"X-A": [b"1", b"2"]}


def test_a_line_receiver_that_is_busy_keeps_what_comes_in_its_buffer() -> None:
    made = channel()
    made._busyReceiving = True
    made.dataReceived(b"GET /a HTTP/1.1\r\n\r\n")
    assert made.requests == []
    assert made.clearLineBuffer() == b"GET /a HTTP/1.1\r\n\r\n"
