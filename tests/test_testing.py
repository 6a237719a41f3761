"""The test kit is the real thing over a fake wire: what it promises, and what `assert_plugin_conforms` finds."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.task import deferLater
from twisted.plugin import IPlugin
from zope.interface import implementer
from zope.interface.verify import verifyObject

from switchd.interfaces import Accept, ISwitch, ISwitchPlugin, NoOptions, Refuse
from switchd.testing import MemoryTransport, Wire, assert_plugin_conforms, cuts
from tests.serving import Says, Shout


class TestWire:
    def test_its_transport_provides_what_a_tcp_transport_does(self) -> None:
        transport = Wire(Shout()).transport
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, transport)

    def test_what_is_written_leaves_in_a_later_turn(self) -> None:
        wire = Wire(Shout())
        wire.transport.write(b"x")
        assert wire.received == b""
        wire.turn()
        assert wire.received == b"x"
        assert wire.take() == b"x"
        assert wire.take() == b""

    def test_connection_lost_does_not_come_inside_lose_connection_and_comes_after_what_was_written(self) -> None:
        protocol = Shout()
        wire = Wire(protocol)
        wire.transport.write(b"x")
        wire.transport.loseConnection()
        assert protocol.reasons == []
        wire.turn()
        assert wire.received == b"x"
        assert protocol.reasons[0].check(ConnectionDone)
        assert wire.closed

    def test_abort_drops_what_was_written(self) -> None:
        protocol = Shout()
        wire = Wire(protocol)
        wire.transport.write(b"x")
        wire.transport.abortConnection()
        wire.turn()
        assert wire.received == b""
        assert protocol.reasons[0].check(ConnectionAborted)

    def test_a_paused_transport_delivers_nothing_not_even_the_end(self) -> None:
        protocol = Shout()
        wire = Wire(protocol)
        wire.transport.pauseProducing()
        wire.send(b"x")
        wire.half_close()
        assert (protocol.heard, protocol.reasons) == (b"", [])
        wire.transport.resumeProducing()
        wire.turn()
        assert protocol.heard == b"x"
        assert len(protocol.reasons) == 1

    def test_an_exception_ends_the_connection_with_that_reason(self, logged: list[Any]) -> None:
        class Failing(Shout):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        protocol = Failing()
        Wire(protocol).send(b"x")
        assert protocol.reasons[0].check(ZeroDivisionError)
        assert logged == [ZeroDivisionError]

    def test_a_protocol_that_never_rests_is_found_out(self) -> None:
        class Restless(Shout):
            def again(self) -> None:
                self.transport.reactor.callLater(0, self.again)

        protocol = Restless()
        wire = Wire(protocol)
        protocol.again()
        with pytest.raises(AssertionError, match="not come to rest"):
            wire.turn()

    def test_text_is_refused_as_twisted_refuses_it(self) -> None:
        with pytest.raises(TypeError):
            Wire(Shout()).transport.write("text")  # type: ignore[arg-type]

    def test_half_close_of_the_servers_side_is_seen(self) -> None:
        wire = Wire(Shout())
        wire.transport.write(b"x")
        wire.transport.loseWriteConnection()
        wire.transport.write(b"y")
        wire.turn()
        assert (wire.received, wire.transport.sent_eof, wire.closed) == (b"x", True, False)

    def test_nothing_of_it_reaches_a_real_reactor(self) -> None:
        assert isinstance(Wire(Shout()).transport, MemoryTransport)
        assert Wire(Shout()).transport.reactor is not None


def test_cuts_are_whole_bytewise_and_at_every_place() -> None:
    assert list(cuts(b"abc")) == [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]
    assert all(b"".join(segments) == b"abc" for segments in cuts(b"abc"))


@implementer(IPlugin, ISwitchPlugin)
class Plugin:
    """A plugin with one thing wrong."""

    def __init__(self, answer: Any = None, **wrong: Any) -> None:
        self.name: Any = wrong.get("name", "plugin")
        self.tokens: Any = wrong.get("tokens", (b"token",))
        self._options = wrong.get("options", NoOptions)
        self._made = wrong.get("made", Says(answer))

    def load(self) -> Any:
        return self._options, lambda options, context: self._made


@frozen
class Reserved:
    path: str = ""


def accept(**wrong: Any) -> Accept:
    return Accept(**{"build": lambda session: Shout(), **wrong})


class TestConformance:
    @pytest.mark.parametrize(
        "answer",
        [
            None,
            Refuse(401, ((b"WWW-Authenticate", b"Basic"),)),
            accept(),
            accept(headers=((b"X", b"y"),)),
            lambda request, offer: succeed(accept()),
            lambda request, offer: Deferred(),
        ],
        ids=["none", "refuse", "accept", "headers", "late", "never"],
    )
    def test_of_a_good_plugin_holds(self, answer: Any) -> None:
        assert_plugin_conforms(Plugin(answer))

    def test_of_a_coroutine_holds(self) -> None:
        async def answer(request: Any, offer: Any) -> Accept:
            return accept()

        assert_plugin_conforms(Plugin(answer))

    def test_waits_for_a_late_answer_and_takes_it_as_any_other(self) -> None:
        class Late:
            def __init__(self, context: Any) -> None:
                self.clock = context.reactor

            def offer(self, request: Any, offer: Any) -> Any:
                return deferLater(self.clock, 30, lambda: accept(headers=((b"X", b"\n"),)))

        plugin = Plugin()
        plugin.load = lambda: (NoOptions, lambda options, context: implementer(ISwitch)(Late)(context))  # type: ignore[method-assign]
        with pytest.raises(Exception, match="control character"):
            assert_plugin_conforms(plugin)

    def test_abandons_what_is_accepted_a_second_time(self) -> None:
        abandoned: list[int] = []
        assert_plugin_conforms(Plugin(accept(abandon=lambda: abandoned.append(1))))
        assert abandoned == [1, 1]  # by an upgrade, and by extended CONNECT

    def test_asks_by_the_request_that_it_is_told_to_make(self) -> None:
        says = Says(None)
        assert_plugin_conforms(Plugin(made=says), method=b"POST", path="/a", headers=[(b"x", b"1")], body=b"{}")
        asked = says.asked[0][0]
        assert (asked.method, asked.path, asked.body, asked.values(b"x")) == (b"POST", b"/a", b"{}", (b"1",))

    @pytest.mark.parametrize(
        ("plugin", "said"),
        [
            (object(), "ISwitchPlugin"),
            (Plugin(name=""), "name is a text"),
            (Plugin(name=b"bytes"), "name is a text"),
            (Plugin(tokens=()), "tokens is a tuple"),
            (Plugin(tokens=b"token"), "tokens is a tuple"),
            (Plugin(tokens=(b"to ken",)), "is a protocol name"),
            (Plugin(tokens=(b"a, b",)), "is a protocol name"),
            (Plugin(options=dict), "attrs class"),
            (Plugin(options=Reserved), "'path' belongs to switchd"),
            (Plugin(made=object()), "ISwitch"),
            (Plugin("yes"), "answers Accept, Refuse or None, not 'yes'"),
            (Plugin(Refuse(99)), "from 200 to 599"),
            (Plugin(accept(headers=((b"X", b"a\r\nb"),))), "control character"),
            (Plugin(accept(upgrade=b"other")), "did not offer"),
            (Plugin(accept(build=lambda session: object())), "IProtocol"),
            (Plugin(accept(build=lambda session: 1 / 0)), "division by zero"),
            (Plugin(lambda request, offer: 1 / 0), "division by zero"),
        ],
    )
    def test_of_a_bad_plugin_says_what_is_wrong(self, plugin: Any, said: str) -> None:
        with pytest.raises(Exception, match=said):
            assert_plugin_conforms(plugin)


def test_a_switch_in_the_tests_is_one() -> None:
    verifyObject(ISwitch, Says())
