"""Scheme to transport: ours are listed here, others are entry points.

A package adds a scheme with an entry point in the group
``brokerproto.transports``: its name is the scheme, its object provides
`ITransport`. Nothing is loaded before it is asked for. Before each scheme, whoever
provides it, may stand the prefix of one of our transports that work on another.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from brokerproto.errors import InvalidURIError
from transports.interfaces import FRAMINGS, ITransport

__all__ = ["BUILT_IN", "GROUP", "PREFIXES", "known_schemes", "transport_for"]

GROUP = "brokerproto.transports"
"""The group of entry points in which packages announce their transports."""

BUILT_IN = {
    "inproc": "transports.inproc",
    "ipc": "transports.ipc",
    "tcp": "transports.tcp",
    "twisted": "transports.twisted_endpoints",
}
"""Our own schemes, and the modules with their transports."""

PREFIXES = {"fault+": "transports.fault.transport"}
"""What may stand before any other scheme, and the modules that put a transport on another."""

_loaded: dict[str, ITransport] = {}


def known_schemes() -> list[str]:
    """List the schemes that there is a transport for, sorted."""
    alone = _without_prefix()
    return sorted([*alone, *(prefix + scheme for prefix in PREFIXES for scheme in alone)])


def transport_for(scheme: str) -> ITransport:
    """Find the transport for `scheme`, load and check it, and remember it.

    A scheme of ours cannot be replaced by an entry point, nor one with a prefix of ours.

    Raises:
        InvalidURIError: Nobody provides `scheme`, more than one package does, or
            what provides it cannot be loaded or is no transport for it.
    """
    if scheme not in _loaded:
        _loaded[scheme] = _load(scheme)
    return _loaded[scheme]


def _without_prefix() -> list[str]:
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def _load(scheme: str) -> ITransport:
    for prefix, module in PREFIXES.items():
        if scheme.startswith(prefix):
            return _load_over(scheme.removeprefix(prefix), prefix, module)
    if scheme in BUILT_IN:
        return _checked(scheme, import_module(BUILT_IN[scheme]).transport, BUILT_IN[scheme])
    entries = tuple(entry_points(group=GROUP, name=scheme))
    if not entries:
        known = f"{', '.join(_without_prefix())}, and {' or '.join(PREFIXES)} before any of them"
        raise _refusal(scheme, f"no transport has this scheme; known are {known}")
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


def _load_over(scheme: str, prefix: str, module: str) -> ITransport:
    if scheme.startswith(prefix):
        raise _refusal(prefix + scheme, f"{prefix} stands before another scheme, and once")
    try:
        inner = transport_for(scheme)
    except InvalidURIError as exc:
        raise _refusal(prefix + scheme, exc.problem) from exc
    return _checked(prefix + scheme, import_module(module).transport_over(inner), module)


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
