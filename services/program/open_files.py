"""The limit of open files: each connection takes one of them."""

from __future__ import annotations

import resource

# macOS reports a hard limit that it does not accept as a soft one; OPEN_MAX
# of its sys/syslimits.h is what it always accepts.
_OPEN_MAX = 10_240


def open_files() -> int:
    """Return the soft limit as it is now, -1 for none; others may change it."""
    return _number(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def raise_open_files() -> tuple[int, int]:
    """Raise the soft limit of open files to the hard one, or near it.

    Child processes inherit it. A limit that the system refuses to raise stays
    as it is: that is no error.

    Returns:
        The soft limit before and now, each ``-1`` where there is none.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, _OPEN_MAX):
        if _above(wanted, before) and _set(wanted, hard):
            return _number(before), _number(wanted)
    return _number(before), _number(before)


def _above(one: int, other: int) -> bool:
    if resource.RLIM_INFINITY in (one, other):
        return one != other and one == resource.RLIM_INFINITY
    return one > other


def _set(soft: int, hard: int) -> bool:
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (OSError, ValueError):
        return False
    return True


def _number(limit: int) -> int:
    return -1 if limit == resource.RLIM_INFINITY else limit
