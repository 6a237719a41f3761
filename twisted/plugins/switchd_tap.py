"""`twistd switchd`, as `twisted.plugin` finds it: a light declaration that names its module as a string."""

from twisted.application.service import ServiceMaker

switchd = ServiceMaker("switchd", "switchd.tap", "A server in which a live connection changes protocol.", "switchd")
