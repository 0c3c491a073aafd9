"""The commands that building and running the image in a test needs.

``python -m tests.image.tools`` installs them where ``CI`` is ``true``, on a Debian, for root.
Elsewhere it changes nothing: a developer's machine is theirs.
"""

from __future__ import annotations

from tests.commands import Tools

__all__ = ["TOOLS"]

TOOLS = Tools(
    {
        "curl": "curl",
        "debootstrap": "debootstrap",
        "ip": "iproute2",
        "podman": "podman",
        "runc": "runc",
    },
    linux="containers need Linux",
    root="networks and memory limits of containers need root",
)

if __name__ == "__main__":
    TOOLS.install()
