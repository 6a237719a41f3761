"""For `pytest -p tests.transports.ours`: all tests of that process run on our reactor."""

from switchd.transports.epoll import install

install()
