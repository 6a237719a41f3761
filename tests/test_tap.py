"""`twistd switchd`: options, and failures before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.application.service import IService
from twisted.python.usage import UsageError

from switchd.service import SwitchService
from switchd.tap import Options, makeService


def test_without_options_it_runs_on_the_built_in_configuration() -> None:
    options = Options()
    options.parseOptions([])
    assert options.assembly.config.file == "default.toml"
    service = makeService(options)
    assert isinstance(service, SwitchService)
    assert IService.providedBy(service)


def test_a_file_and_other_listeners_can_be_named() -> None:
    reference = str(Path(__file__).parent.parent / "conf" / "switchd.toml")
    options = Options()
    options.parseOptions(["--config", reference, "--listen", "tcp:1", "--listen", "tcp:2"])
    assert options.assembly.config.file == reference
    assert [listen.endpoint for listen in options.assembly.config.listen] == ["tcp:1", "tcp:2"]


def test_mistakes_are_written_to_standard_error_and_end_the_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('server.advertise = 3\n[[listen]]\nendpoint = ""\n')
    with pytest.raises(SystemExit) as raised:
        Options().parseOptions(["--config", str(file)])
    assert raised.value.code == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert [line.split(": ")[1] for line in written.err.splitlines()] == ["server.advertise", "listen[0].endpoint"]


def test_an_option_that_is_none_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        Options().parseOptions(["--nothing"])
