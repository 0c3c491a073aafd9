"""From which of this machine's addresses the engines of a process connect."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import ip_network

from attrs import evolve

from services.program.values import quoted
from transports import URI

__all__ = ["SEVERAL", "own_addresses", "problem_of", "spread"]

SEVERAL = 1024
"""The most addresses that may be meant."""


def own_addresses(text: str) -> tuple[str, ...]:
    """Read what `--source` is given: addresses and prefixes, separated by commas.

    A prefix stands for all the hosts in it. Whether the addresses are this machine's is
    not looked at.

    Raises:
        ValueError: It cannot be read, or means more than `SEVERAL`.
    """
    addresses: list[str] = []
    for part in text.split(","):
        try:
            network = ip_network(part.strip())
        except ValueError:
            raise ValueError(
                f"{quoted(part)} is neither an address nor a prefix such as 127.0.1.0/28"
            ) from None
        if network.num_addresses > SEVERAL + 2:
            raise ValueError(f"{quoted(part)} has more than {SEVERAL} addresses")
        addresses.extend(map(str, network.hosts()))
    return tuple(addresses)


def problem_of(address: str) -> str | None:
    """Say what is wrong with an address that is to be connected from; None if nothing is."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        [found] = socket.getaddrinfo(
            address, 0, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind(found[4])
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return f"{address} is not an address of this machine"
        if error.errno == errno.EADDRINUSE:
            # It has no port left now, and will have some.
            return None
        return f"{address}: {error.strerror or error}"
    return None


def spread(broker: URI, sources: Iterable[str]) -> list[URI]:
    """Give the address of the broker as each source is to dial it; as it is without any."""
    return [evolve(broker, options={**broker.options, "source": source}) for source in sources] or [
        broker
    ]
