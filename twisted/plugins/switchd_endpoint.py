"""`upgrade:` endpoint strings, as `twisted.plugin` finds them: nothing of ours is imported before one is used."""

from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint, IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from zope.interface import implementer


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _Upgrade:
    prefix = "upgrade"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        from switchd.client.strings import parse

        return parse(reactor, *args, **kwargs)


upgrade = _Upgrade()
