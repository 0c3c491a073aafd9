"""What spoils a measurement on this machine, whoever the broker is.

The kernel's table of connections fills up: an entry of a closed connection stays for two
minutes, and when none is free SYNs are dropped without a word. Open files run out, since
each connection is one in the broker and one in the generator.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

__all__ = ["SynCounts", "cores", "most_engines", "wait_for_connection_tracking"]

_CONNTRACK = Path("/proc/sys/net/netfilter")
_MOST_USED = 0.8
_ENTRY_SECONDS = 120
_OTHER_FILES = 512


@frozen
class SynCounts:
    """What the kernel counted, of all connections of this network namespace.

    Attributes:
        retransmitted: SYNs sent again because no answer came.
        overflowed: Connections that found a listen queue full.
    """

    retransmitted: int
    overflowed: int

    @classmethod
    def now(cls, netstat: Path = Path("/proc/net/netstat")) -> SynCounts:
        """Read the counts."""
        lines = netstat.read_text().splitlines()
        counts: dict[str, int] = {}
        for names, values in zip(lines[::2], lines[1::2], strict=True):
            counts.update(zip(names.split()[1:], map(int, values.split()[1:]), strict=True))
        return cls(counts["TCPSynRetrans"], counts["ListenOverflows"])

    def problems_until(self, after: SynCounts) -> list[str]:
        """Say what makes a herd invalid that came between this look and a later one.

        A full listen queue is the broker's own doing, and makes SYNs be sent again; it is
        told along with them, so that it can be told from a table of connections that is full.
        """
        again = after.retransmitted - self.retransmitted
        if not again:
            return []
        full = after.overflowed - self.overflowed
        return [f"{again} SYNs were sent again, {full} found the listen queue full"]


def wait_for_connection_tracking(
    connections: int,
    tell: Callable[[str], None],
    folder: Path = _CONNTRACK,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the kernel has room to track so many more connections.

    No longer than entries live: what is left then is somebody else's, and shows in SYNs
    that are sent again.
    """
    for second in range(_ENTRY_SECONDS + 10):
        try:
            used = int((folder / "nf_conntrack_count").read_text())
            most = int((folder / "nf_conntrack_max").read_text())
        except OSError:
            return  # Nothing is tracked here.
        if used + connections <= _MOST_USED * most:
            return
        if second == 0:
            tell(f"{used} of {most} tracked connections: waiting until old ones are forgotten")
        sleep(1)


def most_engines() -> int:
    """Return how many engines the limit of open files allows one process."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard - _OTHER_FILES


def cores() -> tuple[int, int] | None:
    """Choose a core for the broker and another for the generator; None where there is one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[1], allowed[0]) if len(allowed) > 1 else None
