"""The endpoint string: `upgrade:URL:token=TOKEN`, for every Twisted program that takes one from its user.

Further arguments are `method`, `header.NAME` for any number of header fields, `body` or `bodyFile`, `timeout` in
seconds, `trustRoots`, which is what it is for `tls:`, and `http=1.1`, for a server that shall not choose HTTP/2. As
everywhere in endpoint strings `\\:` stands for a colon.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from switchd.client.endpoint import SECONDS, SwitchClientEndpoint
from switchd.client.urls import client_from_url, trust_root
from switchd.interfaces import Header

WORDS = ("url", "token", "method", "body", "bodyFile", "timeout", "trustRoots", "http")
"""The arguments, besides header fields."""

HEADER = "header."
"""What the name of an argument begins with that is a header field: a string has one value for a name, and a colon or a
comma in a value would have to be told from one between two fields."""


def parse(reactor: Any, *unnamed: str | bytes, **named: str | bytes) -> SwitchClientEndpoint:
    """An endpoint from the arguments of its string.

    Args:
        reactor: The reactor.
        unnamed: The URL, if it is not among the others.
        named: The others; see `WORDS` and `HEADER`.

    Raises:
        ValueError: They are not those of such a string. The text says which, and what was expected.
    """
    texts = {name: _text(value) for name, value in named.items()}
    words = _words([_text(value) for value in unnamed], texts)
    url, token = (_needed(words, name) for name in ("url", "token"))
    body = _body(words)
    return client_from_url(
        reactor,
        url,
        token.encode(),
        method=words.get("method", "POST" if body else "GET").encode(),
        headers=tuple(_field(name, value) for name, value in texts.items() if name.startswith(HEADER)),
        body=body,
        timeout=_seconds(words["timeout"]) if "timeout" in words else SECONDS,
        trust=trust_root(words["trustRoots"]) if "trustRoots" in words else None,
        http2=not _is_http_1_1(words),
    )


def _is_http_1_1(words: dict[str, str]) -> bool:
    if words.get("http", "1.1") != "1.1":
        raise ValueError(f"upgrade: http is 1.1, or is left out, got {words['http']}")
    return "http" in words


def _text(value: str | bytes) -> str:
    """A string may be given in bytes, and then so are its values."""
    return value if isinstance(value, str) else value.decode()


def _field(name: str, value: str) -> Header:
    return name.removeprefix(HEADER).encode(), value.encode()


def _words(unnamed: list[str], named: dict[str, str]) -> dict[str, str]:
    words = {name: value for name, value in named.items() if not name.startswith(HEADER)}
    if len(unnamed) > 1 or (unnamed and "url" in words):
        raise ValueError(rf"upgrade: takes one URL, in which each colon is written \:, got {':'.join(unnamed)}")
    for name in words:
        if name not in WORDS:
            known = ", ".join((*WORDS, f"{HEADER}NAME"))
            raise ValueError(rf"upgrade: has {known}, but not {name}; in its URL each equals sign is written \=")
    return {"url": unnamed[0], **words} if unnamed else words


def _needed(words: dict[str, str], name: str) -> str:
    if not words.get(name):
        raise ValueError(rf"upgrade: needs a {name}: upgrade:http\://HOST/PATH:token=TOKEN")
    return words[name]


def _body(words: dict[str, str]) -> bytes:
    if "bodyFile" not in words:
        return words.get("body", "").encode()
    if "body" in words:
        raise ValueError("upgrade: has a body or a bodyFile, not both")
    try:
        return Path(words["bodyFile"]).read_bytes()
    except OSError as error:
        raise ValueError(f"upgrade: bodyFile: {words['bodyFile']} cannot be read: {error.strerror}") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(f"upgrade: timeout is a number of seconds, got {text}")
    return seconds
