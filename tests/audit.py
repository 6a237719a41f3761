"""Known vulnerabilities of what is installed in an environment: `python tests/audit.py PIP-AUDIT ENVIRONMENT`.

pip-audit has its data from the network. Where it, or they, cannot be had, that is said, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SECONDS = 300
"""How long it may take."""


def verdict(report: str, errors: str) -> tuple[int, str]:
    """The exit status, and what to say.

    Args:
        report: What pip-audit has printed: JSON, if it came that far.
        errors: What it has printed on standard error.
    """
    try:
        dependencies = json.loads(report)["dependencies"]
    except ValueError:
        last = [line for line in errors.splitlines() if line.strip()][-1:] or ["it says nothing"]
        return 0, f"not audited: pip-audit cannot reach its data: {last[0]}"
    audited = [each for each in dependencies if "skip_reason" not in each]
    found = [
        f"{each['name']} {each['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'no version'}"
        for each in audited
        for one in each["vulns"]
    ]
    if found:
        return 1, "\n".join(["known vulnerabilities:", *found])
    if not audited:
        return 0, f"not audited: the index has no data about any of {len(dependencies)} packages"
    missing = sorted({each["name"] for each in dependencies} - {each["name"] for each in audited})
    return 0, f"{len(audited)} packages have no known vulnerabilities; no data about: {', '.join(missing) or 'none'}"


def main(program: str, environment: str) -> int:
    """Ask, and say what came of it."""
    (folder,) = Path(environment).glob("lib/*/site-packages")
    command = [program, "--path", str(folder), "--skip-editable", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        status, sentence = verdict("", str(error))
    else:
        status, sentence = verdict(done.stdout, done.stderr)
    print(sentence)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
