"""What a client says and hears, without I/O."""

from __future__ import annotations

from typing import Protocol

OPCODE = 0x0F
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
FINAL, MASKED = 0x80, 0x80
GOING_AWAY = 1001

UPGRADE = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n"


class WrongAnswer(Exception):
    """The server has said something that it should not."""


class Language(Protocol):
    """One client's side of a protocol that a connection has switched to.

    Attributes:
        token: What is asked for.
        path: Where.
        fields: Further ones of the request.
        question: What can be said again and again, and is answered each time.
        answers: How often it has been.
        farewell: What is said at the end.
        has_goodbye: Whether the server has said goodbye, as far as this protocol can.
    """

    token: bytes
    path: bytes
    fields: bytes
    question: bytes
    answers: int
    farewell: bytes
    has_goodbye: bool

    def take(self, data: bytes) -> bytes:
        """Hear something. Returns what is to be said to that.

        Raises:
            WrongAnswer: It is not as expected.
        """


class Addone:
    """Lines with integers. The end of the connection is all the goodbye that there is."""

    token = b"addone"
    path = b"/addone"
    fields = b""
    question = b"41\n"
    farewell = b""
    has_goodbye = True

    def __init__(self) -> None:
        self.answers = 0
        self._heard = b""

    def take(self, data: bytes) -> bytes:
        """See `Language`."""
        *lines, self._heard = (self._heard + data).split(b"\n")
        if any(line != b"42" for line in lines):
            raise WrongAnswer(f"ADDONE: {lines!r}")
        self.answers += len(lines)
        return b""


class WebSocket:
    """Messages that come back.

    Args:
        message: What is said.
    """

    token = b"websocket"
    path = b"/echo"
    fields = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    def __init__(self, message: bytes = b"are you there?") -> None:
        self.question = frame(BINARY, message)
        self.farewell = frame(CLOSE, (1000).to_bytes(2))
        self.has_goodbye = False
        self.answers = 0
        self._message = message
        self._heard = bytearray()

    def take(self, data: bytes) -> bytes:
        """See `Language`."""
        heard = self._heard
        heard += data
        reply = b""
        while (size := frame_size(heard)) and len(heard) >= size:
            code = heard[0] & OPCODE
            payload = bytes(heard[header_size(heard) : size])
            del heard[:size]
            if code == PING:
                reply += frame(PONG, payload)
            elif code == CLOSE:
                if not self.has_goodbye:
                    reply += frame(CLOSE, payload)
                    self.has_goodbye = int.from_bytes(payload[:2]) == GOING_AWAY
            elif code == BINARY and payload == self._message:
                self.answers += 1
            else:
                raise WrongAnswer(f"WebSocket: a frame {code} of {len(payload)} bytes")
        return reply


def frame(code: int, payload: bytes) -> bytes:
    """A client's frame of WebSocket, with the mask that leaves everything as it is."""
    length = len(payload)
    if length < 126:
        head = bytes([FINAL | code, MASKED | length])
    else:
        head = bytes([FINAL | code, MASKED | 126]) + length.to_bytes(2)
    return head + bytes(4) + payload


def header_size(data: bytes | bytearray) -> int:
    """Of the server's frame that begins there."""
    return {126: 4, 127: 10}.get(data[1], 2)


def frame_size(data: bytes | bytearray) -> int:
    """The bytes of the server's frame that begins there, with its header; 0: not enough of it is there to tell."""
    if len(data) < 2 or len(data) < header_size(data):
        return 0
    size = header_size(data)
    return size + (data[1] if size == 2 else int.from_bytes(data[2:size]))
