"""The command `switchd`: check a configuration, list the protocols, explain an answer, switch a connection, control a
server.

Each subcommand is one function from its arguments to an exit status: 0, or 1 after a sentence on standard error. It is
2 for a wrong command line, and 130 after Ctrl-C, as everywhere.

What a subcommand needs is imported inside its function: together that is half a second, which `switchd --help` need not
take. The reactor is imported there for a better reason: importing it installs it.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switchd import __version__
from switchd.ctl import words
from switchd.errors import ConfigurationError, SwitchdError
from switchd.negotiation import offers

if TYPE_CHECKING:
    from switchd.client import Refused, SwitchClientEndpoint
    from switchd.config import Config
    from switchd.factory import Assembly
    from switchd.plugins import FoundPlugin

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT."""

SHOWN_CHARACTERS = 1000
"""How much of a refusal's body `connect` shows: a terminal's screen has not much more."""

SHOWN_FIELDS = ("Upgrade", "Location", "WWW-Authenticate", "Proxy-Authenticate", "Retry-After", "Allow")
"""The header fields of a refusal that `connect` shows: they say what to do instead."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments. None: those of the process.

    Returns:
        The exit status.

    Raises:
        SystemExit: With status 2 for a wrong command line, with 0 after --help and --version.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # its lines begin with the file's name
        return 1
    except (SwitchdError, OSError) as error:
        _complain(str(error))
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="switchd", description="A server in which a live connection changes protocol."
    )
    parser.add_argument("--version", action="version", version=f"switchd {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="check a configuration file without starting anything")
    check.add_argument("file", metavar="FILE", help="the configuration file")
    check.set_defaults(run=_check)

    protocols = commands.add_parser("protocols", help="list the protocols that plugins bring, with their options")
    protocols.set_defaults(run=_protocols)

    explain = commands.add_parser(
        "explain",
        help="say what a server would answer to a request, and by which rule",
        description="Reads a request from standard input: switchd explain FILE < request.http",
    )
    explain.add_argument("file", metavar="FILE", help="the configuration file")
    explain.set_defaults(run=_explain)

    connect = commands.add_parser(
        "connect",
        help="switch a connection, and connect standard input and output to it",
        description="The end of the input half-closes the connection; the command ends when the server closes it."
        " Exit status: 0 when the server has closed the connection in order; 1, with a sentence, when there was no"
        " connection, when the server refused to switch, or when the connection was lost; 2 for a wrong command line;"
        " 130 after Ctrl-C.",
    )
    _add_connect_arguments(connect)

    ctl = commands.add_parser(
        "ctl",
        help="ask a running server, or have it do something, through its control socket",
        description="Exit status: 0 when it is done; 1, with a sentence, when it is not; 2 for a wrong command line.",
    )
    words.add_arguments(ctl)
    ctl.set_defaults(run=words.run)
    return parser


def _add_connect_arguments(connect: argparse.ArgumentParser) -> None:
    connect.add_argument("url", metavar="URL", help="http://…, https://… or unix:/path/of/socket:/target")
    connect.add_argument("--protocol", required=True, metavar="TOKEN", type=_token, help="the protocol to switch to")
    connect.add_argument("-X", "--request", metavar="METHOD", help="the method (default GET, and POST with --data)")
    connect.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        type=_header,
        action="append",
        default=[],
        help="a further header field; may be repeated",
    )
    connect.add_argument(
        "-d",
        "--data",
        metavar="DATA",
        type=_data,
        default=b"",
        help="the content of the request, as it is; @FILE: that of a file. No Content-Type is added",
    )
    connect.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_timeout,
        help="how long it may take until the server has switched (default 30)",
    )
    connect.add_argument(
        "--cacert",
        metavar="FILE",
        help="https only: trust the certificates in this file (or in the .pem files of this folder), and no other",
    )
    connect.add_argument(
        "--http1.1",
        dest="http2",
        action="store_false",
        help="https only: ask in HTTP/1.1, also where the server would choose HTTP/2, in which a stream is switched",
    )
    connect.add_argument(
        "--wait",
        metavar="SECONDS",
        type=_seconds,
        default=2.0,
        help="https in HTTP/1.1 only, where a connection cannot be half-closed: close it when the input has ended and"
        " nothing has come for so long (default %(default)s)",
    )
    connect.set_defaults(run=_connect, usage_error=connect.error)


def _token(text: str) -> bytes:
    token = text.encode()
    if [bytes(offer) for offer in offers([token])] != [token]:
        raise argparse.ArgumentTypeError(f"{text!r} is no protocol name, with or without a version")
    return token


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no time to wait")
    return seconds


def _timeout(text: str) -> float:
    seconds = _seconds(text)
    if seconds == 0:
        raise argparse.ArgumentTypeError(f"{text} leaves no time at all")
    return seconds


def _header(text: str) -> tuple[bytes, bytes]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is no header field: expected 'Name: value'")
    return os.fsencode(name), os.fsencode(value.strip())


def _data(text: str) -> bytes:
    if not text.startswith("@"):
        return os.fsencode(text)
    if text == "@-":
        raise argparse.ArgumentTypeError("standard input is for the connection, not for the request")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text[1:]} cannot be read: {error.strerror}") from error


def _complain(sentence: str) -> None:
    print(f"switchd: {sentence}", file=sys.stderr)


def _run(work: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """Run the reactor until `work` is done; its result, or `INTERRUPTED` where a signal ended it."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import Deferred
    from twisted.internet.error import ReactorNotRunning
    from twisted.python.failure import Failure

    reactor: Any = installed
    outcomes: list[int | Failure] = []

    def start() -> None:
        working = Deferred.fromCoroutine(work(reactor))
        # A signal stops the reactor, and that closes all connections: no reason for `work` to complain.
        reactor.addSystemEventTrigger("before", "shutdown", interrupt, working)
        working.addBoth(outcomes.append)
        working.addBoth(stop)

    def interrupt(working: Deferred[int]) -> None:
        if not outcomes:
            outcomes.append(INTERRUPTED)
            working.cancel()

    def stop(result: object) -> None:
        with suppress(ReactorNotRunning):
            reactor.stop()

    reactor.callWhenRunning(start)
    reactor.run()
    outcome = outcomes[0] if outcomes else INTERRUPTED
    if isinstance(outcome, Failure):
        outcome.raiseException()
    assert isinstance(outcome, int)
    return outcome


# check


def _check(arguments: argparse.Namespace) -> int:
    assembly = _assembled(arguments.file)
    for file in assembly.broken:
        print(f"switchd: warning: the plugin file {file.path} is broken: {file.error}", file=sys.stderr)
    print(f"{arguments.file}: ok", *_summary(assembly.config), sep="\n    ")
    return 0


def _assembled(file: str) -> Assembly:
    """A configuration, with everything in it loaded.

    Raises:
        ConfigurationError: With every mistake.
    """
    from twisted.internet import reactor

    from switchd import config
    from switchd.factory import assemble

    return assemble(*config.load(file), reactor)


def _summary(config: Config) -> Iterator[str]:
    for listen in config.listen:
        tls = "" if listen.tls is None else f", with TLS for {' and '.join(listen.tls.alpn)}"
        yield f"listens on {listen.endpoint}{tls}"
    for http in config.http:
        yield f"serves {http.path} from {http.static or http.resource or http.wsgi}"
    for switch in config.switch:
        yield f"switches {switch.path} to {switch.protocol}"
    if config.admin.endpoint:
        yield f"tells metrics and health on {config.admin.endpoint}"


# protocols


def _protocols(arguments: argparse.Namespace) -> int:
    from switchd import plugins

    found = plugins.find()
    for plugin in sorted(found.plugins, key=lambda each: each.plugin.name):
        print("\n    ".join(_described(plugin)))
    for file in found.broken:
        print(f"broken: {file.path}\n    {file.error}")
    return 0


def _described(found: FoundPlugin) -> Iterator[str]:
    from switchd import schema

    yield found.plugin.name
    yield f"tokens: {b', '.join(found.plugin.tokens).decode()}"
    also = getattr(found.plugin, "also", ())
    if also:
        yield f"answers to: {b', '.join(also).decode()}"
    yield f"file: {found.file}"
    try:
        options = schema.describe(found.plugin.load()[0])
    except Exception as error:  # a plugin is somebody else's code, and the others are to be listed all the same
        yield f"cannot be loaded: {schema.in_words(error)}"
        return
    for option in options:
        yield f"option {option.name}: {option.type}; default: {option.default}"


# explain


def _explain(arguments: argparse.Namespace) -> int:
    from switchd.explain import explain, read

    assembly = _assembled(arguments.file)
    config = assembly.config
    limits = config.limits
    # One byte more than there may be of anything, so that it is seen to be too long.
    longest = limits.head_bytes + limits.body_bytes + limits.early_bytes + 1
    given = read(sys.stdin.buffer.read(longest), limits)

    async def work(reactor: Any) -> int:
        switches = assembly.routes.switches
        print(await explain(given, switches, config.server.prefer, limits.switch_seconds, reactor), end="")
        return 0

    return _run(work)


# connect


def _connect(arguments: argparse.Namespace) -> int:
    # StandardIO makes them non-blocking, also for the others who share them, such as the shell: to be undone.
    try:
        blocking = {fd: os.get_blocking(fd) for fd in (0, 1)}
    except OSError:
        _complain("standard input and standard output must be open")
        return 1

    from OpenSSL.SSL import Error as TLSError
    from twisted.internet.endpoints import connectProtocol
    from twisted.internet.error import ConnectError, ConnectionClosed
    from twisted.internet.stdio import StandardIO

    from switchd.client import Refused
    from switchd.client.errors import in_words
    from switchd.pipe import Pipe

    endpoint = _endpoint(arguments)

    async def work(reactor: Any) -> int:
        pipe = Pipe(lambda protocol: StandardIO(protocol, reactor=reactor), reactor, arguments.wait)
        try:
            await connectProtocol(endpoint, pipe)
            await pipe.ended
        except Refused as refused:
            sys.stderr.writelines(f"{line}\n" for line in _told(refused))
            return 1
        except BrokenPipeError:
            return 1  # whoever read our output has had enough, and no sentence of ours is wanted
        except (ConnectError, ConnectionClosed, TLSError) as error:
            _complain(in_words(error))
            return 1
        return 0

    try:
        return _run(work)
    finally:
        for fd, before in blocking.items():
            os.set_blocking(fd, before)


def _endpoint(arguments: argparse.Namespace) -> SwitchClientEndpoint:
    """What the command line says, which argparse has not understood in all respects.

    Raises:
        SystemExit: With status 2, after the usage and a sentence.
    """
    from twisted.internet import reactor

    from switchd.client import SECONDS, client_from_url, trust_root

    try:
        return client_from_url(
            reactor,
            arguments.url,
            arguments.protocol,
            method=os.fsencode(arguments.request or ("POST" if arguments.data else "GET")),
            headers=tuple(arguments.header),
            body=arguments.data,
            timeout=arguments.timeout or SECONDS,
            trust=trust_root(arguments.cacert) if arguments.cacert is not None else None,
            http2=arguments.http2,
        )
    except ValueError as error:
        arguments.usage_error(str(error))
        raise AssertionError("argparse ends the process here") from error


def _told(refused: Refused) -> Iterator[str]:
    """A refusal, in lines: what was answered, what to do instead, and what the server has to say of it."""
    yield f"switchd: the server refused to switch: {refused}"
    for name in SHOWN_FIELDS:
        for value in (value for field, value in refused.headers if field == name.lower().encode()):
            yield f"    {name}: {_printable(value)}"
    body = _printable(refused.body).strip()
    if body:
        yield from ("", body[:SHOWN_CHARACTERS])
    if len(body) > SHOWN_CHARACTERS:
        yield f"... and {len(body) - SHOWN_CHARACTERS} characters more"


def _printable(data: bytes) -> str:
    """Text as a terminal may have it: a server's answer can hold whatever moves a cursor."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)


if __name__ == "__main__":
    sys.exit(main())
