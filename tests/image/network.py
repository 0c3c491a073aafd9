"""A network of the test's own: containers with addresses, and a place outside of them."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from attrs import define, field

from tests.image.podman import run

__all__ = ["Network", "Place"]

_PREFIX = "198.18.0"
"""Of the addresses that are for tests of networks (RFC 2544)."""


@define
class Network:
    """A bridge in a network namespace of its own, which nothing of this machine is part of.

    Podman's own networks would change the machine's firewall, and leave it changed.
    """

    _name: str = field(factory=lambda: f"image-{os.getpid()}")
    _places: list[str] = field(factory=list)

    def open(self) -> None:
        """Make it, without any place."""
        self._namespace(self._name)
        self._inside(self._name, "link", "add", "bridge", "type", "bridge")
        self._inside(self._name, "link", "set", "bridge", "up")
        self._inside(self._name, "address", "add", f"{_PREFIX}.1/24", "dev", "bridge")

    def place(self) -> Place:
        """Add a place for one container."""
        number = len(self._places) + 2
        name = f"{self._name}-{number}"
        self._namespace(name)
        self._places.append(name)
        port = f"port{number}"
        self._inside(
            *(self._name, "link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", name),
        )
        self._inside(self._name, "link", "set", port, "master", "bridge", "up")
        self._inside(name, "address", "add", f"{_PREFIX}.{number}/24", "dev", "eth0")
        self._inside(name, "link", "set", "eth0", "up")
        return Place(name, f"{_PREFIX}.{number}")

    def curl(self, url: str, **parameters: str | int) -> dict[str, Any]:
        """Ask with ``curl``, as a machine of the network that is none of the containers."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        command = ("curl", "--silent", "--show-error", "--fail", "--noproxy", "*")
        answer = run("ip", "netns", "exec", self._name, *command, f"{url}{query}")
        return dict(json.loads(answer))

    def clear(self) -> None:
        """Remove it, and all places in it."""
        for name in (*self._places, self._name):
            with suppress(AssertionError):
                run("ip", "netns", "delete", name)

    def _namespace(self, name: str) -> None:
        run("ip", "netns", "add", name)
        self._inside(name, "link", "set", "lo", "up")

    def _inside(self, namespace: str, *command: str) -> None:
        run("ip", "-netns", namespace, *command)


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
