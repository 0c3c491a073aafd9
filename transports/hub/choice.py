"""Who carries the connections of an address: the reactor, or the hub."""

from __future__ import annotations

import select

from transports.uri import URI

__all__ = ["OPTION", "is_hub"]

OPTION = {"io": ("reactor", "hub")}
"""The option of an address, and what it may be; the first is meant where none is given."""


def is_hub(uri: URI) -> bool:
    """Tell whether an address asks for the hub.

    Raises:
        InvalidURIError: It does, and this system has none.
    """
    if uri.options.get("io") != "hub":
        return False
    if not hasattr(select, "epoll"):
        raise uri.refusal("only Linux has the hub: leave out io=hub")
    return True
