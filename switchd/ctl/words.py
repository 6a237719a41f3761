"""`switchd ctl`: asks a running server, or has it do something, through its control socket."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchd.errors import ConfigurationError, SwitchdError

if TYPE_CHECKING:
    from switchd.ctl.server import Server

PAGE_ROWS = 500
"""Connections asked for at a time."""

FORWARDED_PORT = 9180
"""To which a console on a UNIX socket may be forwarded: any other will do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand behind `switchd ctl`."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", metavar="FILE", help="the control socket")
    where.add_argument("--config", metavar="FILE", help="the configuration file in which [admin] control names it")
    parser.add_argument("--json", action="store_true", help="print the server's answer as JSON")
    words = parser.add_subparsers(title="what to do", required=True, metavar="WORD")

    status = words.add_parser("status", help="how the server is")
    status.set_defaults(do=_status)

    connections = words.add_parser("connections", help="list connections, the oldest first")
    connections.add_argument("--path", default="", metavar="PATH", help="only those that have switched there, or below")
    connections.add_argument("--token", default="", metavar="TOKEN", help="only those that have switched to this")
    connections.add_argument("--limit", type=_number, default=100, metavar="N", help="at most (default %(default)s)")
    connections.set_defaults(do=_connections)

    close = words.add_parser(
        "close",
        help="close connections",
        description="Each connection is told goodbye in its own language, as when the server stops.",
    )
    close.add_argument("ids", nargs="*", metavar="ID", help="the number of a connection, as `connections` lists it")
    close.add_argument("--path", default="", metavar="PATH", help="all that have switched there, or below")
    close.add_argument("--seconds", type=float, default=10.0, help="for the goodbye; then it is aborted (%(default)s)")
    close.add_argument("--now", action="store_true", help="abort at once, without a goodbye")
    close.set_defaults(do=_close, usage_error=close.error)

    console = words.add_parser("console", help="print an address of the console that allows closing connections there")
    console.set_defaults(do=_console)

    reload = words.add_parser("reload", help="have the server read its configuration again")
    reload.set_defaults(do=_reload)


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of connections")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit status.

    Raises:
        SwitchdError: The server cannot be asked, or does not want to.
        ConfigurationError: The configuration file cannot be read.
    """
    from switchd.ctl.server import Server

    status: int = arguments.do(arguments, Server(_socket(arguments)))
    return status


def _socket(arguments: argparse.Namespace) -> Path:
    if arguments.socket is not None:
        return Path(arguments.socket)
    from switchd import config

    configuration, mistakes = config.load(arguments.config)
    if mistakes:
        raise ConfigurationError(arguments.config, mistakes)
    if not configuration.admin.control:
        raise SwitchdError(f'{arguments.config} has no control socket: set control = "FILE" in [admin]')
    return configuration.folder / configuration.admin.control


def _print(arguments: argparse.Namespace, values: Any, lines: Iterable[str]) -> None:
    print(json.dumps(values, indent=2) if arguments.json else "\n".join(lines))


def _status(arguments: argparse.Namespace, server: Server) -> int:
    values = server.ask("status")
    _print(arguments, values, _status_lines(values))
    return 0


def _status_lines(values: Any) -> Iterator[str]:
    lasting = _lasting(values["seconds"])
    yield f"switchd {values['version']}, process {values['pid']}, {values['state']}, for {lasting}"
    for listener in values["listeners"]:
        yield f"listens on {listener['address']}"
    for switch in values["switches"]:
        yield f"switches {switch['path']} to {switch['protocol']} ({', '.join(switch['tokens'])})"
    yield f"connections: {values['connections']}, of them switched: {values['switched']}"
    for stack, number in values["stacks"]:
        yield f"    {number:>7}  {stack}"
    if values["other_stacks"]:
        yield f"    {values['other_stacks']:>7}  others"


def _connections(arguments: argparse.Namespace, server: Server) -> int:
    rows, matching = _rows(server, arguments.path, arguments.token, arguments.limit)
    _print(arguments, rows, _table(rows))
    if not arguments.json and len(rows) < matching:
        print(f"... and {matching - len(rows)} more: see --limit")
    return 0


def _rows(server: Server, path: str, token: str, limit: int) -> tuple[list[Any], int]:
    """As many as there are, up to the limit, each once; and how many there are."""
    rows: dict[str, Any] = {}
    first = matching = 0
    while len(rows) < limit:
        most = min(PAGE_ROWS, limit - len(rows))
        page = server.ask("connections", path=path, token=token, first=first, most=most)
        rows.update((row["id"], row) for row in page["rows"])
        matching, first = page["matching"], first + most
        if first >= matching:
            break
    return list(rows.values()), matching


_COLUMNS = ("ID", "PROTOCOLS", "PATH", "PEER", "AGE", "RECEIVED", "SENT")


def _table(rows: Iterable[Any]) -> Iterator[str]:
    lines = [_COLUMNS, *map(_line, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    for line in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _line(row: Any) -> tuple[str, ...]:
    carried = [_bytes(row[name]) for name in ("received", "sent")]
    return row["id"], row["protocols"], row["path"] or "-", row["peer"], _lasting(row["age"]), *carried


def _lasting(seconds: float) -> str:
    """A time as people say it: "59 s", "2 h 5 min"."""
    for size, unit, below, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} {int(seconds % size // below)} {smaller}"
    return f"{int(seconds)} s"


def _bytes(number: int | None) -> str:
    """How many bytes, as people say it."""
    if number is None:
        return "-"
    amount, unit = float(number), "B"
    for greater in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, greater
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _close(arguments: argparse.Namespace, server: Server) -> int:
    if not (arguments.ids or arguments.path):
        arguments.usage_error("which? Name an ID, or --path PATH")
    order = {name: getattr(arguments, name) for name in ("ids", "path", "now", "seconds")}
    values = server.ask("close", **order)
    how = "aborted" if arguments.now else f"told goodbye, with {arguments.seconds:g} s to end"
    _print(arguments, values, [f"connections {how}: {values['connections']}"])
    if values["missing"]:
        raise SwitchdError(f"there is no connection {', '.join(values['missing'])}")
    return 0


def _console(arguments: argparse.Namespace, server: Server) -> int:
    values = server.ask("keys")
    key = f"#key={values['key']}"
    if values["address"]:
        lines = [values["address"] + key]
    else:
        lines = [
            f"The console is on the UNIX socket {values['socket']}, which no browser opens. Forward it, as with",
            f"    ssh -L {FORWARDED_PORT}:{values['socket']} HOST",
            "and open",
            f"    http://127.0.0.1:{FORWARDED_PORT}/{key}",
        ]
    _print(arguments, {"address": f"{values['address']}{key}", "seconds": values["seconds"]}, lines)
    return 0


def _reload(arguments: argparse.Namespace, server: Server) -> int:
    values = server.ask("reload")
    _print(arguments, values, [values["outcome"]])
    return 0 if values["reloaded"] else 1
