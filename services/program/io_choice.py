"""Who carries a program's connections where their address does not say: ``--io``."""

from __future__ import annotations

import select

from attrs import evolve

from services.program.options import Option
from services.program.values import OneOf
from transports import URI

__all__ = ["carried", "io_option"]

_HUB, _REACTOR = "hub", "reactor"

# Others have their own ways, or an option of their own for it.
_SCHEMES = ("tcp", "ipc")


def io_option(env: str) -> Option:
    """Make the option ``--io``.

    Args:
        env: The environment variable that stands for it.
    """
    return Option(
        name="io",
        doc="Who carries tcp:// and ipc:// connections: Twisted's reactor, or the hub, which "
        "drains thousands in one turn and needs Linux. The option io of an address comes first.",
        parse=_io,
        default=_REACTOR,
        env=env,
    )


def _io(text: str) -> str:
    io = OneOf((_REACTOR, _HUB))(text)
    if io == _HUB and not hasattr(select, "epoll"):
        raise ValueError("only Linux has the hub")
    return io


def carried(uri: URI, io: str) -> URI:
    """Give the address that `uri` means in a program with this choice."""
    if io == _REACTOR or uri.scheme not in _SCHEMES or "io" in uri.options:
        return uri
    return evolve(uri, options={**uri.options, "io": io})
