"""switchd: a server in which a live connection changes protocol."""

__version__ = "0.1.0"
