"""Addresses on a command line: where a broker and its engines meet."""

from __future__ import annotations

from transports import URI, transport_for
from transports.registry import BUILT_IN

__all__ = ["SCHEMES", "engine_address"]

SCHEMES = f"{', '.join(BUILT_IN)}, and those of installed packages; fault+ before any of them"
"""Which schemes there are, for ``--help``."""


def engine_address(text: str) -> URI:
    """Read the address of a broker's engine port.

    Raises:
        InvalidURIError: It cannot be read, or nobody provides its scheme.
    """
    uri = URI.parse(text)
    transport_for(uri.scheme)
    return uri
