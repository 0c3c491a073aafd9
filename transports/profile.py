"""What a scheme does otherwise than TCP, as its author declares it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from attrs import field, frozen

__all__ = ["Profile"]


def _immutable(reasons: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(reasons))


@frozen(kw_only=True)
class Profile:
    """What `transports.conformance` is told about a scheme.

    A transport may have one as its attribute ``profile``. Without one, or with
    one that says nothing, every law holds as for TCP.

    Attributes:
        exempt: Laws that the scheme does not keep, by name, each with the reason why
            not, as a sentence without a full stop.
        parts: Which of ``host``, ``port`` and ``path`` an address may have; None where it is
            those of the address that is checked.
        late_bytes: How many bytes may still arrive after ``pauseProducing``, 0 or more.
        buffered_bytes: How many bytes may be on their way before a producer must have been
            paused, 1 or more; the buffers of the system count too.
        unreachable: An address that nobody can reach; empty where there is none for certain.
        unlistenable: An address that nobody can listen on; likewise.
    """

    exempt: Mapping[str, str] = field(factory=dict, converter=_immutable)
    parts: Collection[str] | None = None
    late_bytes: int = 0
    buffered_bytes: int = 64 * 1024 * 1024
    unreachable: str = ""
    unlistenable: str = ""
