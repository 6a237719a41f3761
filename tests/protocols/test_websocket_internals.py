"""autobahn's inside, as channel, lean and terms rely on it: when a new autobahn changes it, this says so first."""

from __future__ import annotations

import inspect
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket import USES_NVX
from autobahn.websocket.compress import PerMessageDeflate
from twisted.internet.task import Clock

from switchd.protocols import websocket
from switchd.protocols.websocket import masks
from switchd.protocols.websocket.channel import Channel
from switchd.protocols.websocket.lean import Lean
from switchd.testing import Wire
from tests.websockets import HANDSHAKE, Client, frame, site

OVERRIDDEN = {
    "_closeConnection": ["self", "abort"],
    "_connectionLost": ["self", "reason"],
    "_connectionMade": ["self"],
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
    "connectionMade": ["self"],
    "consumeData": ["self"],
    "dataReceived": ["self", "data"],
    "on": ["self", "event", "handler"],
    "onConnect": ["self", "request"],
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


def connected() -> Any:
    """One of autobahn's own, connected."""
    factory = WebSocketServerFactory(reactor=Clock())
    factory.protocol = WebSocketServerProtocol
    factory.setProtocolOptions(openHandshakeTimeout=0)
    protocol: Any = factory.buildProtocol(None)
    Wire(protocol)
    return protocol


def adopted() -> Any:
    """One of autobahn's own behind switchd, while it is asked."""
    asked: list[Any] = []

    class Asked(WebSocketServerProtocol):
        def onConnect(self, request: Any) -> None:
            asked.append((self, {name: getattr(self, name) for name in ATTRIBUTES}))

    Client(site(Asked))
    return asked[0]


OBJECTS = {"_transport_details", "is_closed", "is_open", "send_queue", "trafficStats", "utf8validator"}
ATTRIBUTES = vars(connected()).keys()


def test_whatever_a_connected_protocol_has_an_adopted_one_has_too() -> None:
    stock = connected()
    protocol, values = adopted()
    ours = {name for name in WebSocketServerProtocol.CONFIG_ATTRS if name in vars(type(protocol))}
    others = {"factory", "transport", "perMessageCompressionAccept", "_results", "_valid_events"}
    for name, value in vars(stock).items():
        if name in OBJECTS:
            assert isinstance(values[name], type(value)), name
        elif name not in ours | others:
            assert values[name] == value, name
    assert ours >= {"failByDrop", "autoPingInterval"}


@pytest.mark.parametrize("cls", [Channel, Lean])
def test_no_name_of_ours_can_be_a_handlers(cls: type) -> None:
    stock = connected()
    stock.dataReceived(HANDSHAKE % (b"/", b"") + frame(b"a", fin=False) + frame(b"ping", 9))
    autobahns = set(dir(stock))
    names = {*vars(cls), *cls.__annotations__} - autobahns
    assert [name for name in names if not name.startswith(("_switchd", "__"))] == []


def test_what_is_made_when_it_is_asked_for_is_made_once() -> None:
    protocol, values = adopted()
    for name in OBJECTS:
        assert getattr(protocol, name) is values[name], name


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


def test_a_compressor_may_be_made_anew() -> None:
    made = PerMessageDeflate(True, False, False, 12, 12, 5)
    assert vars(made)["_compressor"] is None
    made.start_compress_message()
    assert vars(made)["_compressor"] is not None


def test_an_agreement_on_compression_becomes_a_compressor() -> None:
    assert list(inspect.signature(PerMessageDeflate.create_from_offer_accept).parameters) == ["is_server", "accept"]


BUILT = {"nvx": USES_NVX, "speedups": find_spec("websockets.speedups") is not None}


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("length", [0, 1, 3, 4, 300, 1001, 8193, 70_000, masks.DESK_BYTES + 1])
def test_a_compiled_masker_unmasks_as_arithmetic_does(name: str, length: int) -> None:
    if not BUILT[name]:
        pytest.skip(f"{name} is not built here")
    data = bytes(index * 7 % 256 for index in range(length + 20))
    unmask = getattr(masks, name)()
    expected = masks.by_arithmetic(data[10 : 10 + length], data[6:10])
    assert unmask(data[10 : 10 + length], data[6:10]) == expected
    assert unmask(memoryview(data)[10 : 10 + length], data[6:10]) == expected
    assert type(unmask(memoryview(data)[10 : 10 + length], data[6:10])) is bytes


@pytest.mark.skipif(not all(BUILT.values()), reason="a masker is not built here")
def test_the_quickest_masker_is_taken_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert masks.quickest().short is masks.quickest().long is masks.speedups()
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert masks.quickest().short is masks.by_arithmetic
    assert masks.quickest().long.__name__ == "by_nvx"
    monkeypatch.setitem(sys.modules, "_nvx_xormasker", None)
    assert masks.quickest().short is masks.quickest().long is masks.by_arithmetic


def test_only_three_files_know_private_names() -> None:
    (folder,) = websocket.__path__
    names = {name for name in OVERRIDDEN | CALLED if name.startswith("_")}
    names |= {"_perMessageCompress", "_batched_timer", "_transport_details"}
    for path in Path(folder).glob("*.py"):
        if path.name not in ("channel.py", "lean.py", "terms.py"):
            assert not [name for name in names if name in path.read_text()], path
