"""A network of the test's own: containers with addresses, and a place outside of them."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlencode

from attrs import define, field

from tests.commands import run
from tests.network.namespaces import Namespace

__all__ = ["Network", "Place"]

_PREFIX = "198.18.0"
"""Of the addresses that are for tests of networks (RFC 2544)."""


@define
class Network:
    """A bridge in a network namespace of its own, which nothing of this machine is part of.

    Podman's own networks would change the machine's firewall, and leave it changed.
    """

    _bridge: Namespace = field(factory=lambda: Namespace(f"image-{os.getpid()}"))
    _places: list[Namespace] = field(factory=list)

    def open(self) -> None:
        """Make it, without any place."""
        self._bridge.make()
        self._bridge.ip("link", "add", "bridge", "type", "bridge")
        self._bridge.ip("link", "set", "bridge", "up")
        self._bridge.ip("address", "add", f"{_PREFIX}.1/24", "dev", "bridge")

    def place(self) -> Place:
        """Add a place for one container."""
        number = len(self._places) + 2
        inside = Namespace(f"{self._bridge.name}-{number}")
        inside.make()
        self._places.append(inside)
        port = f"port{number}"
        self._bridge.ip(
            *("link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", inside.name),
        )
        self._bridge.ip("link", "set", port, "master", "bridge", "up")
        inside.ip("address", "add", f"{_PREFIX}.{number}/24", "dev", "eth0")
        inside.ip("link", "set", "eth0", "up")
        return Place(inside.name, f"{_PREFIX}.{number}")

    def curl(self, url: str, **parameters: str | int) -> dict[str, Any]:
        """Ask with ``curl``, as a machine of the network that is none of the containers."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        command = ("curl", "--silent", "--show-error", "--fail", "--noproxy", "*")
        answer = run(*self._bridge.prefix, *command, f"{url}{query}")
        return dict(json.loads(answer))

    def clear(self) -> None:
        """Remove it, and all places in it."""
        for namespace in (*self._places, self._bridge):
            namespace.delete()


@define
class Place:
    """Where one container is in the network.

    Attributes:
        address: Its IP address.
    """

    _name: str
    address: str

    @property
    def options(self) -> tuple[str, ...]:
        """What puts a container here."""
        return ("--network", f"ns:/run/netns/{self._name}")
