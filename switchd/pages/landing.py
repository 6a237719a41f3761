"""The first page of a new server, as a function of what is configured and of how a visitor has come.

`index.html` is its frame, `box.html` the WebSocket box; `colours.css`, which the console has too, `style.css` and
`box.js` go into it inline, so that one answer is the whole page, and the Content-Security-Policy names them by their
hashes: nothing else is loaded or run. Whatever comes from the configuration or from the request is escaped by
`_filled`, and there is no other way into the page.
"""

from __future__ import annotations

import re
import shlex
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from attrs import frozen

from switchd.negotiation import Entry, tokens

# Narrower than what HTTP allows in Host: the commands are for a shell, where "$(" is not a name.
_IS_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::([0-9]{1,5}))?").fullmatch

_ABOUT = {
    "addone": "A line with an integer in, that integer plus one out.",
    "websocket": "Messages both ways, from browsers too.",
    "h2c": "HTTP/2 in clear: the same pages, by Upgrade and by prior knowledge.",
}


class _Html(str):
    """Text that is HTML already."""


def _file(name: str) -> _Html:
    return _Html(files(__package__).joinpath(name).read_text("utf-8"))


def _filled(template: Template, **values: str) -> _Html:
    """A template with `values` in it, escaped unless they are HTML."""
    return _Html(template.substitute({k: v if isinstance(v, _Html) else escape(v) for k, v in values.items()}))


_PAGE = Template(_file("index.html"))
_BOX = Template(_file("box.html"))
_STYLE = _Html(_file("colours.css") + _file("style.css"))
_SCRIPT = _file("box.js")

_SWITCH = Template("""
<article>
<h3><code>$path</code> <span>$name</span></h3>
<p>$about <span class="offer">Offered as <code>Upgrade: $tokens</code>.</span></p>
$commands
</article>
""")
_COMMAND = Template("<pre><code>$command</code></pre>")


@frozen
class Visit:
    """How a visitor has come.

    Attributes:
        reached: The address that the connection reached, as `events.address` writes it.
        host: Which host, with its port unless that is the default, the visitor asked for; see `host`.
        secure: Whether over TLS.
    """

    reached: str
    host: str
    secure: bool

    def url(self, scheme: str, path: str) -> str:
        """An URL of this server, as a word of a shell.

        Args:
            scheme: "http" or "ws"; it gets its "s" here.
            path: As configured: text, not percent-encoded.
        """
        return shlex.quote(f"{scheme}{'s' * self.secure}://{self.host}{quote(path)}")


def host(asked: str, reached: str) -> str:
    """What to write for this server in a command: what the visitor's Host field says, if a shell may read that.

    Args:
        asked: The Host field; empty if there was none.
        reached: See `Visit`. Taken if `asked` is no host, unless it is no address with a port, as of a UNIX socket.
    """
    address = reached if ":" in reached else "localhost"
    return next(name for name in (asked, address, "localhost") if _IS_HOST(name))


def commands(entry: Entry, visit: Visit) -> tuple[str, ...]:
    """The commands that try a switch, for a shell."""
    if entry.name == "websocket":
        return (f"npx wscat -c {visit.url('ws', entry.path)}",)
    if entry.name == "h2c":
        url = visit.url("http", entry.path)
        return (f"curl -i --http2 {url}", f"curl -i --http2-prior-knowledge {url}")
    token = shlex.quote(entry.tokens[0].decode("ascii"))
    connect = f"switchd connect {visit.url('http', entry.path)} --protocol {token}"
    if entry.name != "addone":
        return (connect,)
    by_hand = () if visit.secure else (_by_hand(entry.path, visit.host),)
    return (f"echo 41 | {connect}", *by_hand)


def _by_hand(path: str, asked: str) -> str:
    """ADDONE with nothing but a socket."""
    match = _IS_HOST(asked)
    assert match is not None
    head = rf"GET {quote(path)} HTTP/1.1\r\nHost: {asked}\r\nConnection: upgrade\r\nUpgrade: addone\r\n\r\n"
    return f"printf '{head.replace('%', '%%')}41\\n' | nc -N {match[1].strip('[]')} {match[2] or '80'}"


def page(entries: Sequence[Entry], visit: Visit) -> bytes:
    """The page.

    Args:
        entries: All that is configured, in the order of the file.
        visit: How its reader has come.
    """
    filled = _filled(
        _PAGE,
        style=_STYLE,
        reached=visit.reached,
        tls=" with TLS" if visit.secure else "",
        switches=_Html("".join(_switch(entry, visit) for entry in entries)),
        ordinary=f"curl -i {visit.url('http', '/')}",
        box=_filled(_BOX, script=_SCRIPT) if _has_echo(entries) else "",
    )
    return filled.encode()


def _switch(entry: Entry, visit: Visit) -> _Html:
    return _filled(
        _SWITCH,
        path=entry.path,
        name=entry.name,
        about=_ABOUT.get(entry.name, ""),
        tokens=tokens([entry]).decode("ascii"),
        commands=_Html("\n".join(_filled(_COMMAND, command=command) for command in commands(entry, visit))),
    )


def _has_echo(entries: Sequence[Entry]) -> bool:
    """Whether there is what the box talks to."""
    return any(entry.name == "websocket" and entry.path.rstrip("/") == "/echo" for entry in entries)


def headers(entries: Sequence[Entry]) -> dict[str, str]:
    """The header fields of the page, apart from its length."""
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": _policy(_has_echo(entries)),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",  # it says what is configured now
    }


def _policy(box: bool) -> str:
    """A Content-Security-Policy that permits what the page has: its style, an empty icon, and what the box needs."""
    scripted = (f"script-src {_hash(_SCRIPT)}", "connect-src 'self'") if box else ()
    none = (f"{directive} 'none'" for directive in ("base-uri", "form-action", "frame-ancestors"))
    return "; ".join(("default-src 'none'", f"style-src {_hash(_STYLE)}", "img-src data:", *scripted, *none))


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
