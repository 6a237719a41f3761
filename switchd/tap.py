"""`twistd switchd`: its options, and the service that they describe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from os.path import abspath

from twisted.application.service import IService
from twisted.python import usage

from switchd import config
from switchd.errors import ConfigurationError
from switchd.factory import Assembly, assemble
from switchd.service import SwitchService


class Options(usage.Options):
    """What may stand behind `twistd switchd`."""

    synopsis = "[--config FILE] [--listen ENDPOINT ...]"
    longdesc = (
        "A server in which a live connection changes protocol. Without --config it runs on a built-in default,"
        " which listens on 127.0.0.1, port 8080. `switchd check FILE` checks a configuration without starting."
    )
    optParameters = [["config", "c", None, "The configuration file (TOML)."]]

    assembly: Assembly
    load: Callable[[], config.Outcome]

    def __init__(self) -> None:
        super().__init__()
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen here instead of where the configuration says: a Twisted endpoint such as tcp:8080. Repeatable."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def postOptions(self) -> None:
        """Load everything now, before twistd becomes a daemon.

        Raises:
            SystemExit: The configuration cannot be used. Every mistake has been written to standard error. (A
            UsageError
                would print the help before it; an exception from makeService, a traceback.)
        """
        from twisted.internet import reactor

        listen, file = self["listen"], self["config"]
        # As a daemon we shall be in another folder when it is read again.
        self.load = partial(config.default, listen) if file is None else partial(config.load, abspath(file), listen)
        loaded = self.load() if file is None else config.load(file, listen)
        try:
            self.assembly = assemble(*loaded, reactor)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            raise SystemExit(1) from None


def makeService(options: Options) -> IService:
    """The service that `twistd` runs."""
    from twisted.internet import reactor

    return SwitchService(options.assembly, reactor, options.load)
