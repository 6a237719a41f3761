"""autobahn's inside, as channel.py relies on it: when a new autobahn changes it, this says so first."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import USES_NVX
from autobahn.websocket.compress import PerMessageDeflate
from twisted.internet.task import Clock

from switchd.protocols import websocket
from switchd.protocols.websocket import masks
from switchd.testing import Wire

OVERRIDDEN = {
    "_closeConnection": ["self", "abort"],
    "_fail_connection": ["self", "code", "reason"],
    "_invalid_payload": ["self", "reason"],
    "_max_message_size_exceeded": ["self", "msg_size", "max_msg_size", "reason"],
    "_onClose": ["self", "wasClean", "code", "reason"],
    "_onMessage": ["self", "payload", "isBinary"],
    "_onMessageBegin": ["self", "isBinary"],
    "_onMessageFrameBegin": ["self", "length"],
    "_onMessageFrameEnd": ["self"],
    "_onOpen": ["self"],
    "_onPing": ["self", "payload"],
    "_onPong": ["self", "payload"],
    "_protocol_violation": ["self", "reason"],
    "connectionLost": ["self", "reason"],
    "consumeData": ["self"],
    "dataReceived": ["self", "data"],
    "registerProducer": ["self", "producer", "streaming"],
    "sendCloseFrame": ["self", "code", "reasonUtf8", "isReply"],
    "sendData": ["self", "data", "sync", "chopsize"],
    "sendMessage": ["self", "payload", "isBinary", "fragmentSize", "sync", "doNotCompress"],
    "unregisterProducer": ["self"],
}
CALLED = {
    "_sendAutoPing": ["self"],
    "processData": ["self"],
}


@pytest.mark.parametrize("name", OVERRIDDEN | CALLED)
def test_the_protocol_has_the_method(name: str) -> None:
    found = list(inspect.signature(getattr(WebSocketServerProtocol, name)).parameters)
    assert found == (OVERRIDDEN | CALLED)[name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_perMessageCompress", None),
        ("autoPingPendingCall", None),
        ("closeHandshakeTimeoutCall", None),
        ("data", b""),
        ("failedByMe", False),
        ("openHandshakeTimeoutCall", None),
        ("state", WebSocketServerProtocol.STATE_CONNECTING),
        ("trackedTimings", None),
        ("wasClean", False),
        ("wasNotCleanReason", None),
    ],
)
def test_a_connected_protocol_has_the_attribute(name: str, value: object) -> None:
    factory = WebSocketServerFactory(reactor=Clock())
    factory.protocol = WebSocketServerProtocol
    factory.setProtocolOptions(openHandshakeTimeout=0)
    protocol: Any = factory.buildProtocol(None)
    assert not hasattr(protocol, "state")
    Wire(protocol)
    assert vars(protocol)[name] == value
    assert protocol._transport_details.peer == protocol.peer
    assert not protocol.is_closed.called
    assert not protocol.is_open.called
    assert len(protocol.send_queue) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowedOrigins", ["*"]),
        ("autoPingInterval", 0),
        ("autoPingTimeout", 0),
        ("closeHandshakeTimeout", 1),
        ("countConnections", 0),
        ("headers", {}),
        ("maxConnections", 0),
        ("maxFramePayloadSize", 0),
        ("maxMessagePayloadSize", 0),
        ("trustXForwardedFor", 0),
    ],
)
def test_a_factory_has_the_attribute(name: str, value: object) -> None:
    assert getattr(WebSocketServerFactory(reactor=Clock()), name) == value


def test_the_settings_of_a_factory_are_those_that_are_copied() -> None:
    factory = WebSocketServerFactory(reactor=Clock())
    factory.protocol = WebSocketServerProtocol
    protocol: Any = factory.buildProtocol(None)
    Wire(protocol)
    for name in WebSocketServerProtocol.CONFIG_ATTRS:
        assert vars(protocol)[name] == getattr(factory, name)


def test_a_factorys_timer_has_the_one_method_that_stands_in_for_it() -> None:
    timer = WebSocketServerFactory(reactor=Clock())._batched_timer
    assert [name for name in dir(timer) if not name.startswith("_")] == ["call_later"]


def test_an_agreement_on_compression_becomes_a_compressor() -> None:
    assert list(inspect.signature(PerMessageDeflate.create_from_offer_accept).parameters) == ["is_server", "accept"]


@pytest.mark.skipif(not USES_NVX, reason="autobahn has been built without NVX")
@pytest.mark.parametrize("length", [1, 3, 4, 300, 1001, 70_000])
def test_nvx_unmasks_as_arithmetic_does(length: int) -> None:
    data = bytes(index * 7 % 256 for index in range(length + 20))
    assert masks.nvx()(data, 10, 10 + length) == masks.by_arithmetic(data, 10, 10 + length)
    assert masks.by_library.__name__ == "by_nvx"


def test_only_one_file_knows_private_names() -> None:
    (folder,) = websocket.__path__
    names = {name for name in OVERRIDDEN | CALLED if name.startswith("_")}
    names |= {"_perMessageCompress", "_batched_timer", "_transport_details"}
    for path in Path(folder).glob("*.py"):
        if path.name != "channel.py":
            assert not [name for name in names if name in path.read_text()], path
