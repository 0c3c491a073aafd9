"""Scheme to transport: ours are listed here, others are entry points.

A package adds a scheme with an entry point in the group
``brokerproto.transports``: its name is the scheme, its object provides
`ITransport`. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from brokerproto.errors import InvalidURIError
from transports.interfaces import FRAMINGS, ITransport

__all__ = ["BUILT_IN", "GROUP", "known_schemes", "transport_for"]

GROUP = "brokerproto.transports"
"""The group of entry points in which packages announce their transports."""

BUILT_IN = {
    "inproc": "transports.inproc",
    "ipc": "transports.ipc",
    "tcp": "transports.tcp",
    "twisted": "transports.twisted_endpoints",
}
"""Our own schemes, and the modules with their transports."""

_loaded: dict[str, ITransport] = {}


def known_schemes() -> list[str]:
    """List the schemes that there is a transport for, sorted."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def transport_for(scheme: str) -> ITransport:
    """Find the transport for `scheme`, load and check it, and remember it.

    A scheme of ours cannot be replaced by an entry point.

    Raises:
        InvalidURIError: Nobody provides `scheme`, more than one package does, or
            what provides it cannot be loaded or is no transport for it.
    """
    if scheme not in _loaded:
        _loaded[scheme] = _load(scheme)
    return _loaded[scheme]


def _load(scheme: str) -> ITransport:
    if scheme in BUILT_IN:
        return _checked(scheme, import_module(BUILT_IN[scheme]).transport, BUILT_IN[scheme])
    entries = tuple(entry_points(group=GROUP, name=scheme))
    if not entries:
        raise _refusal(
            scheme, f"no transport has this scheme; known are {', '.join(known_schemes())}"
        )
    if len(entries) > 1:
        rivals = " and ".join(sorted(map(_provider, entries)))
        raise _refusal(scheme, f"more than one package provides this scheme: {rivals}")
    [entry] = entries
    try:
        found = entry.load()
    except Exception as exc:  # a module that is loaded may raise anything
        reason = " ".join(f"{type(exc).__name__}: {exc}".split())
        raise _refusal(scheme, f"{_provider(entry)} cannot be loaded: {reason}") from exc
    return _checked(scheme, found, _provider(entry))


def _checked(scheme: str, found: object, provider: str) -> ITransport:
    try:
        verifyObject(ITransport, found)
    except Invalid as exc:
        reason = " ".join(str(exc).split())
        raise _refusal(scheme, f"{provider} provides no transport: {reason}") from exc
    transport = cast(ITransport, found)
    if transport.scheme != scheme:
        raise _refusal(scheme, f"{provider} is a transport for {transport.scheme}://")
    if transport.framing not in FRAMINGS:
        raise _refusal(scheme, f"{provider} has no framing that is known: {transport.framing!r}")
    return transport


def _provider(entry: EntryPoint) -> str:
    return entry.value if entry.dist is None else f"{entry.value} of {entry.dist.name}"


def _refusal(scheme: str, problem: str) -> InvalidURIError:
    return InvalidURIError(f"{scheme}://", problem)
