"""Who carries a program's connections where their address does not say: ``--io``."""

from __future__ import annotations

import select

from attrs import evolve
from twisted.python import usage

from services.program.options import Option
from services.program.values import OneOf
from transports import URI

__all__ = ["carried", "choose_io", "io_option"]

_HUB, _REACTOR = "hub", "reactor"

# Others have their own ways, or an option of their own for it.
_SCHEMES = ("tcp", "ipc")


def io_option(default: str, env: str) -> Option:
    """Make the option ``--io``.

    Args:
        default: What is chosen where nobody chooses, in words.
        env: The environment variable that stands for it.
    """
    return Option(
        name="io",
        doc="Who carries tcp:// and ipc:// connections: the hub, which drains thousands in one "
        "turn and needs Linux, or Twisted's reactor. The option io of an address comes first. "
        f"Default: {default}.",
        parse=OneOf((_HUB, _REACTOR)),
        env=env,
    )


def choose_io(told: str | None, *, many: bool) -> str:
    """Settle who carries connections.

    Args:
        told: What was asked for.
        many: Whether there may be thousands of them.

    Raises:
        UsageError: The hub was asked for, and this system has none.
    """
    has_hub = hasattr(select, "epoll")
    if told == _HUB and not has_hub:
        raise usage.UsageError("--io: only Linux has the hub")
    if told is not None:
        return told
    return _HUB if many and has_hub else _REACTOR


def carried(uri: URI, io: str) -> URI:
    """Give the address that `uri` means in a program with this choice."""
    if io == _REACTOR or uri.scheme not in _SCHEMES or "io" in uri.options:
        return uri
    return evolve(uri, options={**uri.options, "io": io})
