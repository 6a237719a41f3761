"""The client's side of a switch: an endpoint like Twisted's own, whose connections have changed protocol already.

    endpoint = client_from_url(reactor, "http://127.0.0.1:8080/addone", b"addone")
    protocol = await endpoint.connect(Factory.forProtocol(MyProtocol))

Or in one string, for a program that knows nothing of switchd (`strings`):

    endpoint = clientFromString(reactor, r"upgrade:http\\://127.0.0.1\\:8080/addone:token=addone")

docs/client.md is the guide.
"""

from switchd.client.ask import Ask
from switchd.client.endpoint import SECONDS, SwitchClientEndpoint
from switchd.client.errors import NoAnswer, NotSwitched, NoTunnel, Refused, WrongAnswer
from switchd.client.urls import client_from_url, trust_root

__all__ = [
    "SECONDS",
    "Ask",
    "NoAnswer",
    "NoTunnel",
    "NotSwitched",
    "Refused",
    "SwitchClientEndpoint",
    "WrongAnswer",
    "client_from_url",
    "trust_root",
]
