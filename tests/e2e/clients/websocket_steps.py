"""What the WebSocket clients in Python share: how they are told what to do, and what they print.

    python -m tests.e2e.clients.websocket_NAME TASK.json

prints a line "ready" for each step of that name, and at the end what came, as JSON. `websocket_ws.js` does the same.
The deadline is the caller's.
"""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen


@frozen
class Task:
    """What a client has to do.

    Attributes:
        url: Where to.
        steps: What then, each a name and its arguments:

            - text TEXT, binary BASE64: send a message
            - fragments TEXT...: send a message of text in so many frames
            - ping TEXT: send a ping, and wait for a pong
            - receive: wait for a message
            - ready: print "ready"
            - close CODE REASON: close the WebSocket, and wait for the server's part of that
            - end: wait until the server closes, for messages too
        subprotocols: Those to ask for.
        origin: The value of `Origin`; None: what the client does by itself.
        headers: Further fields of the request.
        deflate: Whether to offer permessage-deflate.
        ca: For wss: the file with the certificate to trust.
    """

    url: str
    steps: list[list[Any]]
    subprotocols: list[str]
    origin: str | None
    headers: dict[str, str]
    deflate: bool
    ca: str | None

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For wss, as Python's own module wants it."""
        if self.ca is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return context


@frozen
class Opened:
    """What was agreed on.

    Attributes:
        subprotocol: The one that the server has chosen.
        deflate: Whether messages may be compressed.
    """

    subprotocol: str | None
    deflate: bool


class Refused(Exception):
    """The server has not switched.

    Attributes:
        status: What it answered.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Client(ABC):
    """One WebSocket of some library. A method returns when it is done; those of a library that blocks, too."""

    @abstractmethod
    async def open(self, task: Task) -> Opened:
        """Connect.

        Raises:
            Refused: It was not to be.
        """

    @abstractmethod
    async def send(self, message: str | bytes) -> None:
        """Send a message, as text or binary."""

    @abstractmethod
    async def fragments(self, parts: Sequence[str]) -> None:
        """Send a message in several frames."""

    @abstractmethod
    async def ping(self, payload: bytes) -> bytes:
        """Send a ping, and wait for a pong; what it carries."""

    @abstractmethod
    async def receive(self) -> str | bytes | None:
        """The next message; None if the server has closed."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Close, and wait for the answer."""

    @abstractmethod
    async def closed(self) -> tuple[int, str | None]:
        """What the server's Close said, when all is over: 1006 if there was none; None for a reason one is not told."""

    def wire_bytes(self) -> int | None:
        """How many have come, headers and all; None for a library that does not say."""
        return None


async def play(client: Client) -> None:
    """Do what the command line says."""
    task = Task(**json.loads(Path(sys.argv[1]).read_bytes()))
    try:
        opened = await client.open(task)
    except Refused as refused:
        print(json.dumps({"status": refused.status}))
        return
    messages: list[object] = []
    pongs: list[str] = []
    for step in task.steps:
        match step:
            case ["text", text]:
                await client.send(text)
            case ["binary", data]:
                await client.send(b64decode(data))
            case ["fragments", *parts]:
                await client.fragments(parts)
            case ["ping", payload]:
                pongs.append((await client.ping(payload.encode())).decode())
            case ["receive"]:
                messages.append(_shown(await client.receive()))
            case ["ready"]:
                print("ready", flush=True)
            case ["close", code, reason]:
                await client.close(code, reason)
            case ["end"]:
                while (message := await client.receive()) is not None:
                    messages.append(_shown(message))
            case _:
                raise ValueError(step)
    seen = {
        "status": 101,
        "subprotocol": opened.subprotocol,
        "deflate": opened.deflate,
        "messages": messages,
        "pongs": pongs,
        "closed": await client.closed(),
        "wire_bytes": client.wire_bytes(),
    }
    print(json.dumps(seen))


def _shown(message: str | bytes | None) -> object:
    # A megabyte is compared by its hash, so that a test that fails can be read.
    if isinstance(message, bytes):
        return [len(message), hashlib.sha256(message).hexdigest()]
    return message
