"""Whose fault, and what is said."""

from __future__ import annotations

import pytest

from switchd import errors
from switchd.errors import ConfigurationError, Mistake, RequestError, UnusableOptions


def test_a_configuration_error_is_a_line_for_each_mistake_with_file_and_key() -> None:
    error = ConfigurationError("a.toml", (Mistake("", "no TOML"), Mistake("limits.head_bytes", "too large")))
    assert str(error) == "a.toml: no TOML\na.toml: limits.head_bytes: too large"


def test_unusable_options_are_all_mistakes_in_one_line() -> None:
    error = UnusableOptions(Mistake("a", "is empty"), Mistake("b", "is full"))
    assert str(error) == "a: is empty; b: is full"


def test_a_request_error_is_status_and_reason() -> None:
    assert str(RequestError(413, "too long")) == "413: too long"


@pytest.mark.parametrize("name", [name for name in vars(errors) if isinstance(vars(errors)[name], type)])
def test_every_error_of_ours_is_in_the_tree_that_the_module_draws(name: str) -> None:
    cls = vars(errors)[name]
    if issubclass(cls, Exception):
        assert issubclass(cls, errors.SwitchdError)
        assert name in (errors.__doc__ or "")
