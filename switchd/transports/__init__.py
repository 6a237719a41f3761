"""Kinds of transport that switchd brings itself, and the reactor that suits them.

What is written while a turn of the reactor lasts is gathered and leaves in one call at its end, and the poller is asked
only about what the system did not take. What a protocol sees is what it sees on Twisted's own transports.
docs/decisions/transports.md says why.
"""
