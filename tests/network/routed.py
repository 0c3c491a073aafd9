"""Hosts with a router between them, whose ways can be cut, healed and made bad."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Literal

from attrs import define, field

from tests.commands import run
from tests.network.namespaces import PREFIX, Namespace

__all__ = ["Host", "RoutedNetwork"]

_CONFIGURED = Path("/etc/netns")

# A packet that is dropped is told to nobody. Whom the router resets, it resets in the
# other side's name, and that side hears nothing of it. The first packet of a connection
# says how long the router remembers it, as one that translates addresses does.
_RULES = """
table inet faults {
  set from_cut { type ifname; flags timeout; }
  set to_cut { type ifname; flags timeout; }
  set from_lossy { type ifname; }
  set to_lossy { type ifname; }
  set from_reset { type ifname; }
  set to_reset { type ifname; }
  set from_forgetful { type ifname; }
  set to_forgetful { type ifname; }
  ct timeout brief { protocol tcp; policy = { established : 2 }; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname @from_cut drop
    oifname @to_cut drop
    iifname @from_lossy numgen random mod 100 < 10 drop
    oifname @to_lossy numgen random mod 100 < 10 drop
    iifname @from_reset meta l4proto tcp reject with tcp reset
    oifname @to_reset meta l4proto tcp reject with tcp reset
    iifname @from_forgetful ct timeout set "brief"
    iifname @from_forgetful ct state invalid drop
    oifname @to_forgetful ct state invalid drop
  }
}
"""

Way = Literal["from", "to"]
_BOTH: tuple[Way, Way] = ("from", "to")


@define(eq=False)
class RoutedNetwork:
    """Network namespaces that nothing of this machine is part of, one for each host.

    Addresses are those for tests of networks (RFC 2544), and those for documentation
    (RFC 3849), which systems prefer to IPv4 as any other public ones.
    """

    _router: Namespace = field(
        factory=lambda: Namespace(f"{PREFIX}-{os.getpid()}-{secrets.token_hex(2)}")
    )
    _hosts: list[Host] = field(factory=list)

    def open(self) -> None:
        """Make it, without any host."""
        self._router.make()
        for family in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self._set(f"net.{family}", 1)
        # What a connection sends in its midst begins no other one.
        self._set("net.netfilter.nf_conntrack_tcp_loose", 0)
        self._nft(_RULES)

    def host(self) -> Host:
        """Add a host."""
        number = len(self._hosts) + 1
        inside = Namespace(f"{self._router.name}-{number}")
        host = Host(inside, f"198.18.{number}.2", f"2001:db8:0:{number}::2", f"port{number}", self)
        self._hosts.append(host)
        inside.make()
        self._router.ip(
            *("link", "add", host.port, "type", "veth"),
            *("peer", "name", "eth0", "netns", inside.name),
        )
        for place, end, last in ((self._router, host.port, 1), (inside, "eth0", 2)):
            place.ip("address", "add", f"198.18.{number}.{last}/24", "dev", end)
            place.ip("address", "add", f"2001:db8:0:{number}::{last}/64", "dev", end, "nodad")
            place.ip("link", "set", end, "up")
        inside.ip("route", "add", "default", "via", f"198.18.{number}.1")
        inside.ip("-6", "route", "add", "default", "via", f"2001:db8:0:{number}::1")
        return host

    def have(self, host: Host, fault: str, *ways: Way, seconds: int | None = None) -> None:
        """Have packets from or to a host meet a fault.

        Args:
            host: Whose.
            fault: As the rules name it.
            ways: Which packets.
            seconds: For how long, by the system's own clock; None for good.
        """
        lasting = f"{host.port} timeout {seconds}s" if seconds else host.port
        self._nft(
            "".join(f"add element inet faults {way}_{fault} {{ {lasting} }}\n" for way in ways)
        )

    def lack(self, host: Host, fault: str, *ways: Way) -> None:
        """Have them meet it no longer."""
        self._nft(
            "".join(f"delete element inet faults {way}_{fault} {{ {host.port} }}\n" for way in ways)
        )

    def plug(self, port: str, way: str) -> None:
        """Put a host's cable in, ``up``, or pull it out, ``down``."""
        self._router.ip("link", "set", port, way)

    def clear(self) -> None:
        """Remove it, and all hosts."""
        for host in self._hosts:
            host.clear()
        self._router.delete()

    def _nft(self, rules: str) -> None:
        run(*self._router.prefix, "nft", rules)

    def _set(self, name: str, value: int) -> None:
        run(*self._router.prefix, "sysctl", "-q", "-w", f"{name}={value}")


@define(eq=False)
class Host:
    """One host of a network.

    Attributes:
        place: Where its programs run.
        address: Its IPv4 address.
        address6: Its IPv6 address.
        port: The router's end of its cable.
    """

    place: Namespace
    address: str
    address6: str
    port: str
    _network: RoutedNetwork

    def cut(self, seconds: int | None = None) -> None:
        """Let nothing through to it and from it, and tell nobody.

        Args:
            seconds: For how long, by the system's own clock; None until it is healed.
        """
        self._network.have(self, "cut", *_BOTH, seconds=seconds)

    def heal(self) -> None:
        """Let everything through again."""
        self._network.lack(self, "cut", *_BOTH)

    def unplug(self) -> None:
        """Pull its cable out; at its end there is no carrier any more."""
        self._network.plug(self.port, "down")

    def plug(self) -> None:
        """Put its cable in again."""
        self._network.plug(self.port, "up")

    def lose_one_in_ten(self, way: Way) -> None:
        """Lose every tenth packet, by chance."""
        self._network.have(self, "lossy", way)

    def reset(self, way: Way) -> None:
        """Answer packets by resets, in the name of whom they are for."""
        self._network.have(self, "reset", way)

    def reset_no_more(self, way: Way) -> None:
        """Let them through again."""
        self._network.lack(self, "reset", way)

    def be_forgotten(self) -> None:
        """Have its later connections forgotten by the router after 2 s without a packet."""
        self._network.have(self, "forgetful", *_BOTH)

    def ask_names_of(self, server: str) -> None:
        """Have programs that start here from now on ask this server for names."""
        folder = self._configuration
        folder.mkdir(parents=True)
        told = f"nameserver {server}\noptions timeout:2 attempts:1\n"
        (folder / "resolv.conf").write_text(told)
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")

    def clear(self) -> None:
        """Remove it."""
        self.place.delete()
        shutil.rmtree(self._configuration, ignore_errors=True)

    @property
    def _configuration(self) -> Path:
        return _CONFIGURED / self.place.name
