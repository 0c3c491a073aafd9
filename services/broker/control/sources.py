"""Who asks, and how often: no source may ask more than its share.

Rule: control API's reference, section "Limits".
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Any

__all__ = ["BURST_SECONDS", "SOURCES_KEPT", "Rates", "source_of"]

BURST_SECONDS = 10
"""How many seconds' worth of requests a source that was quiet may make at once."""

SOURCES_KEPT = 4096
"""Sources that are remembered; beyond, the one that asked longest ago is forgotten."""

_NETWORK = (1 << 128) - (1 << 64)


def source_of(address: Any) -> str:
    """Give the name under which a peer's requests are counted.

    Whoever has an IPv6 address has its whole /64, so that this is what counts.

    Args:
        address: The peer's, as Twisted has it; an empty name for one without a host.
    """
    host: str = getattr(address, "host", "")
    if ":" not in host:
        return host
    ipv6 = IPv6Address(host.partition("%")[0])
    if ipv6.ipv4_mapped is not None:
        return str(ipv6.ipv4_mapped)
    return f"{IPv6Address(int(ipv6) & _NETWORK)}/64"


class Rates:
    """Counts the requests of each source.

    Args:
        rate: Requests a second; 0 for any number.
        seconds: The clock.
    """

    def __init__(self, rate: int, seconds: Callable[[], float]) -> None:
        self.rate = rate
        self._seconds = seconds
        # When all of a source's requests would have been made, at this rate.
        self._due: dict[str, float] = {}

    def allows(self, source: str) -> bool:
        """Whether this source may make a request now; one that may not costs it nothing."""
        if not self.rate:
            return True
        now = self._seconds()
        due = max(now, self._due.pop(source, now))
        # Half a request more, as the sum of many fractions is not exact.
        allowed = (due - now) * self.rate <= BURST_SECONDS * self.rate - 0.5
        self._due[source] = due + 1 / self.rate if allowed else due
        if len(self._due) > SOURCES_KEPT:
            del self._due[next(iter(self._due))]
        return allowed
