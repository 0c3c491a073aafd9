"""Which names the control API answers for: the rule that defeats DNS rebinding.

A page from anywhere can make a browser send requests to this machine under a name that
its author chose and let point here. An address, or a name that no stranger can have,
cannot be chosen so.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from attrs import frozen

__all__ = ["Authority", "Hosts", "own_names"]

SERVICE = "brokers-instruct"
"""What the control API is called inside a Kubernetes cluster."""

# Nobody can register a name below .svc, and .local is not looked up in the DNS. Without
# these ends brokers-instruct.example would be a stranger's.
_IN_CLUSTER = re.compile(rf"{SERVICE}\.[a-z0-9-]{{1,63}}\.svc(?:\.cluster\.local)?")

_AUTHORITY = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})(?:%[A-Za-z0-9._~%-]{1,20})?\]"
    r"|(?P<name>(?=[^:]{1,255}(?::|\Z))[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?))"
    r"(?::(?P<port>[0-9]{0,5}))?"
)


@frozen
class Authority:
    """A host and a port, as a URL and the header Host have them.

    Attributes:
        host: An address in its shortest form, or a name in lower case, without the
            trailing dot.
        port: None where none is named.
        literal: Whether the host is an address.
    """

    host: str
    port: int | None
    literal: bool

    @classmethod
    def parse(cls, text: str) -> Authority:
        """Read ``host``, ``host:port``, ``[address]`` or ``[address]:port``.

        Raises:
            ValueError: It is none of these.
        """
        match = _AUTHORITY.fullmatch(text)
        if match is None:
            raise ValueError("no host, or host and port")
        port = int(match["port"]) if match["port"] else None
        if port is not None and port > 65_535:
            raise ValueError("no such port")
        if match["ipv6"]:
            return cls(str(IPv6Address(match["ipv6"])), port, True)
        try:
            return cls(str(IPv4Address(match["name"])), port, True)
        except ValueError:
            return cls(_plain(match["name"]), port, False)


@frozen
class Hosts:
    """The hosts that are answered for: every address, and some names.

    Args:
        names: In any case, with or without a trailing dot.
    """

    names: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> Hosts:
        """Answer for localhost, the Service in Kubernetes, and these names."""
        return cls(frozenset(map(_plain, ("localhost", SERVICE, *names))))

    def __contains__(self, authority: Authority) -> bool:
        """Whether requests to it are answered."""
        return (
            authority.literal
            or authority.host in self.names
            or _IN_CLUSTER.fullmatch(authority.host) is not None
        )


def own_names(etc: Path = Path("/etc"), hostname: str | None = None) -> set[str]:
    """Collect the machine's names, and the Service's, without asking the DNS.

    They are the host name; what ``hosts`` says it is called besides; and each of these
    with the domains that ``resolv.conf`` searches, in every form that is found by such a
    search: in a pod, ``broker.brokers`` and ``brokers-instruct.<namespace>``.

    Args:
        etc: Where the two files are.
        hostname: The host name; None for this machine's.
    """
    hostname = _plain(socket.gethostname() if hostname is None else hostname)
    names = {SERVICE, hostname, hostname.partition(".")[0]}
    for fields in _fields_of(etc / "hosts"):
        aliases = set(map(_plain, fields[1:]))
        if hostname in aliases:
            names |= aliases
    domains = [
        _plain(domain)
        for fields in _fields_of(etc / "resolv.conf")
        if fields[0] in ("search", "domain")
        for domain in fields[1:]
    ]
    names |= {f"{name}.{domain}" for name in names if "." not in name for domain in domains}
    names |= {
        name.removesuffix(f".{domain}")
        for name in names
        for domain in domains
        if name.endswith(f".{domain}")
    }
    return names - {""}


def _fields_of(path: Path) -> Iterator[list[str]]:
    """Give the fields of each line that has any."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        if fields:
            yield fields


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
