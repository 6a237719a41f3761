"""`twistd --reactor switchd`, as `twisted.plugin` finds it: a light declaration that names its module as a string."""

from twisted.application.reactors import Reactor

switchd = Reactor("switchd", "switchd.transports.epoll", "epoll(7) with less to do for each event; for switchd.")
