"""The contract's own values, and the one-line plugin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from zope.interface import implementer
from zope.interface.verify import verifyObject

from switchd.interfaces import (
    Accept,
    Answer,
    Context,
    ISwitch,
    ISwitchPlugin,
    NoOptions,
    Offer,
    Refuse,
    Request,
    SwitchPlugin,
)
from switchd.protocols.addone import AddOne
from switchd.testing import Session, assert_plugin_conforms, request


@implementer(ISwitch)
class Picky:
    """A switch of its own, with options."""

    @frozen
    class Options:
        status: int = 403

    def __init__(self, options: Options, context: Context) -> None:
        self.options, self.path = options, context.path

    def offer(self, request: Request, offer: Offer) -> Answer:
        return Refuse(self.options.status)


PLUGIN = SwitchPlugin("shout", b"Shout", "tests.serving:Shout")


def switch(plugin: SwitchPlugin, options: Any) -> Any:
    return plugin.load()[1](options, Context(Clock(), "/", Path()))


class TestSwitchPlugin:
    def test_is_what_twisted_plugin_looks_for(self) -> None:
        verifyObject(ISwitchPlugin, PLUGIN)
        found: list[Any] = [IPlugin(PLUGIN), ISwitchPlugin(PLUGIN)]
        assert found == [PLUGIN, PLUGIN]

    def test_takes_one_token_or_several(self) -> None:
        assert PLUGIN.tokens == (b"Shout",)
        assert SwitchPlugin("s", (b"a", b"b/1"), "x:y").tokens == (b"a", b"b/1")

    def test_imports_the_protocol_only_when_it_is_loaded(self) -> None:
        SwitchPlugin("s", b"s", "tests.not_there:Nothing")
        with pytest.raises(ModuleNotFoundError):
            SwitchPlugin("s", b"s", "tests.not_there:Nothing").load()
        assert "tests.not_there" not in sys.modules

    def test_without_options_calls_the_class_without_arguments(self) -> None:
        cls, _ = PLUGIN.load()
        assert cls is NoOptions
        made = switch(PLUGIN, NoOptions())
        verifyObject(ISwitch, made)
        answer = made.offer(request(upgrade=b"shout"), Offer(b"shout"))
        assert isinstance(answer, Accept)
        built = [answer.build(Session(request())) for _ in range(2)]
        assert built[0] is not built[1]

    def test_with_options_calls_the_class_with_them(self) -> None:
        plugin = SwitchPlugin("addone", b"addone", "switchd.protocols.addone:AddOne")
        assert plugin.load()[0] is AddOne.Options
        answer = switch(plugin, AddOne.Options(max_digits=3)).offer(request(upgrade=b"addone"), Offer(b"addone"))
        assert isinstance(answer.build(Session(request())), AddOne)

    @pytest.mark.parametrize(("offered", "taken"), [(b"SHOUT", True), (b"shout/1", False), (b"shou", False)])
    def test_takes_its_token_in_any_case_and_no_version_that_it_does_not_name(
        self, offered: bytes, taken: bool
    ) -> None:
        name, _, version = offered.partition(b"/")
        answer = switch(PLUGIN, NoOptions()).offer(request(), Offer(name, version or None))
        assert (answer is not None) == taken

    def test_takes_a_version_that_it_names(self) -> None:
        plugin = SwitchPlugin("s", (b"spdy/3.1",), "tests.serving:Shout")
        made = switch(plugin, NoOptions())
        assert made.offer(request(), Offer(b"SPDY", b"3.1")) is not None
        assert made.offer(request(), Offer(b"SPDY", b"3")) is None
        assert made.offer(request(), Offer(b"SPDY")) is None

    def test_may_name_a_switch_in_place_of_a_protocol(self) -> None:
        plugin = SwitchPlugin("picky", b"picky", "tests.test_interfaces:Picky")
        assert plugin.load()[0] is Picky.Options
        made = switch(plugin, Picky.Options(status=409))
        assert isinstance(made, Picky)
        assert made.path == "/"
        assert_plugin_conforms(plugin)

    def test_conforms(self) -> None:
        assert_plugin_conforms(PLUGIN)


def test_an_offer_as_bytes_is_what_goes_on_the_wire() -> None:
    assert bytes(Offer(b"a")) == b"a"
    assert bytes(Offer(b"a", b"1")) == b"a/1"


def test_values_of_a_field_are_those_of_all_its_lines() -> None:
    asked = request(headers=[(b"x", b"1"), (b"y", b"2"), (b"x", b"3")])
    assert asked.values(b"x") == (b"1", b"3")
    assert asked.values(b"z") == ()
