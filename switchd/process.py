"""What this process takes of its machine, and may take: memory, and file descriptors."""

from __future__ import annotations

import os
import sys
from functools import cache

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_STATM = "/proc/self/statm"


def memory_bytes() -> int:
    """Memory that is in use, as the system sees it (RSS). Elsewhere than on Linux, the most that it has been; 0 where
    that is not told either."""
    try:
        return int(os.pread(_opened(_STATM, os.getpid()), 256, 0).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    if resource is None:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@cache
def _opened(path: str, process: int) -> int:
    """A file that stays open, as it is needed most when there is no descriptor left. Another process has its own."""
    return os.open(path, os.O_RDONLY)


def raise_descriptors(wanted: int) -> int | None:
    """Have as many file descriptors as are wanted, or else as many as are allowed.

    Args:
        wanted: How many. There are never fewer than before.

    Returns:
        How many there are. None: any number.
    """
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):  # some systems have a lower one of their own
            return soft
    return max(soft, most)
