"""h2c, as `twisted.plugin` finds it: a light declaration that names its module as a string."""

from switchd.interfaces import SwitchPlugin

h2c = SwitchPlugin("h2c", b"h2c", "switchd.protocols.h2c:H2c")
