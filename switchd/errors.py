"""What can go wrong, whose fault it is, and what the client is told.

SwitchdError
 +- ConfigurationError      the operator's: start-up ends, with every mistake listed
 +- UnusableOptions         the same, as a plugin finds them when it makes a switch of its options
 +- HandoverError           the caller's: this transport cannot be switched; nothing has been changed
 +- PluginError             the plugin's: 500, logged
 |   +- BadAnswer           it answered with something that may not go on the wire
 +- RequestError            the client's: the status it carries, then the connection is closed
 |   +- OverBudget           nobody's: there is no room for its connection
 +- client.NotSwitched      the other server's, where we are the client; its own tree is in client/errors.py
"""

from __future__ import annotations

from attrs import frozen

from switchd.budgets import Over


class SwitchdError(Exception):
    """The root of every error that switchd raises."""


@frozen
class Mistake:
    """One mistake in a configuration.

    Attributes:
        key: Where: the path of the key, tables counted from 0: `switch[2].origins`. Empty for the whole file.
        problem: What is wrong and what was expected, in words, with the unit.
    """

    key: str
    problem: str


class ConfigurationError(SwitchdError):
    """A configuration that cannot be used.

    Attributes:
        file: The file, as the operator named it.
        mistakes: All of them, in the order of the file.
    """

    def __init__(self, file: str, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__(file, mistakes)
        self.file = file
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "\n".join(
            f"{self.file}: {mistake.key}: {mistake.problem}" if mistake.key else f"{self.file}: {mistake.problem}"
            for mistake in self.mistakes
        )


class UnusableOptions(SwitchdError):
    """Options that are well-formed each by itself, and cannot be used together, or here. A plugin may raise it when it
    makes a switch: the mistakes are then listed with those of the configuration.

    Attributes:
        mistakes: All of them; each key is that of an option.
    """

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes

    def __str__(self) -> str:
        return "; ".join(f"{mistake.key}: {mistake.problem}" for mistake in self.mistakes)


class HandoverError(SwitchdError):
    """A transport with no place for another protocol, or one that is closed. Nothing has been changed."""


class PluginError(SwitchdError):
    """A plugin broke its contract. The client gets 500."""


class BadAnswer(PluginError):
    """A plugin's answer holds a header, token or status that may not go on the wire."""


class RequestError(SwitchdError):
    """A request that breaks HTTP's rules or a limit. It is answered and the connection is closed.

    Attributes:
        status: The answer's status code.
        why: One sentence for the client and the log; it quotes nothing that the client sent.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why

    def __str__(self) -> str:
        return f"{self.status}: {self.why}"


class OverBudget(RequestError):
    """A connection for which there is no room. It is answered so when it asks for something, and closed.

    Attributes:
        over: Where there is none.
    """

    def __init__(self, over: Over) -> None:
        super().__init__(over.status, over.why)
        self.over = over
