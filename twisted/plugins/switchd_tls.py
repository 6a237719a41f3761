"""Tells switchd of the TLS protocol; imports nothing of it."""

from switchd.interfaces import SwitchPlugin

tls = SwitchPlugin("tls", (b"TLS/1.3", b"TLS/1.2"), "switchd.protocols.tls:Tls", also=(b"TLS/1.0",))
