"""The commands that networks of a test's own need.

``python -m tests.network.tools`` installs them where ``CI`` is ``true``, on a Debian, for root.
Elsewhere it changes nothing: a developer's machine is theirs.
"""

from __future__ import annotations

from tests.commands import Tools

__all__ = ["TOOLS"]

TOOLS = Tools(
    {"ip": "iproute2", "nft": "nftables"},
    linux="network namespaces need Linux",
    root="network namespaces need root",
)

if __name__ == "__main__":
    TOOLS.install()
