"""A third party's protocol: numbers the lines that it gets, and writes down all that it is told. It knows no HTTP."""

from itertools import count
from pathlib import Path

from attrs import frozen
from twisted.protocols.basic import LineOnlyReceiver

pages = count(1)


class Journal(LineOnlyReceiver):
    delimiter = b"\n"

    @frozen
    class Options:
        folder: Path

    def __init__(self, options):
        self.page = options.folder / f"{next(pages)}.txt"
        self.told = []

    def connectionMade(self):
        self.told.append("made")
        self.transport.registerProducer(self.transport, True)

    def lineReceived(self, line):
        self.told.append(line.decode())
        self.sendLine(b"%d %s" % (len(self.told) - 1, line))
        if line == b"quit":
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def connectionLost(self, reason):
        self.told.append(reason.type.__name__)
        self.page.write_text("\n".join(self.told))
