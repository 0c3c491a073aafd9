"""The compiler that building the benchmark's tools needs.

``python -m tests.benchmarks.tools`` installs it where ``CI`` is ``true``, on a Debian, for root.
Elsewhere it changes nothing: a developer's machine is theirs.
"""

from __future__ import annotations

from tests.commands import Tools

__all__ = ["TOOLS"]

TOOLS = Tools(
    # The headers have no command of their own; gencat comes with them.
    {"gcc": "gcc", "gencat": "libc6-dev"},
    linux="the load generator needs Linux",
    root="installing a compiler needs root",
)

if __name__ == "__main__":
    TOOLS.install()
