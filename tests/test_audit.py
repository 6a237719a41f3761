"""What an audit comes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.audit import verdict

SOUND = {"name": "attrs", "version": "25.1", "vulns": []}
UNKNOWN = {"name": "switchd", "skip_reason": "not on PyPI"}
BROKEN = {"name": "h11", "version": "0.14", "vulns": [{"id": "CVE-2025-43859", "fix_versions": ["0.16.0"]}]}


@pytest.mark.parametrize(
    ("dependencies", "status", "sentence"),
    [
        ([SOUND, UNKNOWN], 0, "1 packages have no known vulnerabilities; no data about: switchd"),
        ([UNKNOWN], 0, "not audited: the index has no data about any of 1 packages"),
        ([SOUND, BROKEN], 1, "known vulnerabilities:\nh11 0.14: CVE-2025-43859, fixed in 0.16.0"),
    ],
)
def test_a_finding_is_a_failure(dependencies: list[Any], status: int, sentence: str) -> None:
    assert verdict(json.dumps({"dependencies": dependencies, "fixes": []}), "") == (status, sentence)


@pytest.mark.parametrize(
    ("errors", "why"), [("", "it says nothing"), ("WARNING\nNo route to host\n\n", "No route to host")]
)
def test_data_that_cannot_be_reached_are_none(errors: str, why: str) -> None:
    assert verdict("", errors) == (0, f"not audited: pip-audit cannot reach its data: {why}")
