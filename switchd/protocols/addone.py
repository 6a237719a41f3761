"""ADDONE: a line with an integer is answered with that integer plus one. The template to copy for a protocol of yours.

    41            ->  42
      -1          ->  0
    forty-one     ->  error: this line is not a decimal integer

A line without its end is not answered, also when the server stops: it could be a part of a longer one.

A line may have blanks around its integer and may end in CR LF. Nothing here knows HTTP: this is any Twisted protocol.
"""

import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact
from typing import Annotated, Any

from attrs import frozen
from twisted.protocols.basic import LineOnlyReceiver

from switchd.interfaces import Range

SHORT = 18
"""Digits of an integer that takes a machine word, and no care."""

_ARE_SHORT = re.compile(rb"(?:-?[0-9]{1,%d}\r?\n)+" % SHORT).fullmatch
_INTEGER = re.compile(rb"[ \t]*([+-]?([0-9]+))[ \t]*\r?").fullmatch
# Not int(): it takes quadratic time, and Python refuses it past 4,300 digits. This is exact for any number of digits.
_EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact])

BLANKS = 100
"""How many bytes a line may have besides its digits: sign, blanks, CR. Ample for a table of aligned numbers."""


class AddOne(LineOnlyReceiver):
    """One connection. A client that does not read its answers is not read from either."""

    delimiter = b"\n"
    transport: Any  # a stream transport: it writes, consumes and produces

    @frozen
    class Options:
        """What a `[[switch]]` entry may set.

        Attributes:
            max_digits: The most digits that an integer may have; one with more is answered and the connection closed.
        """

        max_digits: Annotated[int, Range(1, 1_000_000, "digits")] = 10_000

    def __init__(self, options: Options) -> None:
        self._max_digits = options.max_digits
        self.MAX_LENGTH = options.max_digits + BLANKS

    def connectionMade(self) -> None:
        # The transport pauses itself, its reading, while it holds 64 KiB that could not be sent.
        self.transport.registerProducer(self.transport, streaming=True)

    def dataReceived(self, data: bytes) -> None:
        # For speed only: without this the same answers come from `lineReceived`, one by one.
        if self._max_digits >= SHORT and not (self._buffer or self.transport.disconnecting) and _ARE_SHORT(data):
            lines = data.split()
            if len(lines) == 1:
                self.transport.write(b"%d\n" % (int(data) + 1))
            else:
                self.transport.write(b"".join([b"%d\n" % (int(line) + 1) for line in lines]))
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        integer = _INTEGER(line)
        if integer is None:
            self.transport.write(b"error: this line is not a decimal integer\n")
        elif len(integer[2]) > self._max_digits:
            self.lineLengthExceeded(line)
        else:
            answer = _EXACT.add(Decimal(integer[1].decode()), 1)
            self.transport.write(b"%s\n" % str(answer).encode())

    def lineLengthExceeded(self, line: bytes) -> None:
        # Called for each further read, too, until the connection is closed; one answer is enough.
        if not self.transport.disconnecting:
            self.transport.write(b"error: an integer has at most %d digits here\n" % self._max_digits)
            self.transport.unregisterProducer()
            self.transport.loseConnection()
