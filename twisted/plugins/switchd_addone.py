"""ADDONE, as `twisted.plugin` finds it: a light declaration that names its module as a string."""

from switchd.interfaces import SwitchPlugin

addone = SwitchPlugin("addone", b"addone", "switchd.protocols.addone:AddOne")
