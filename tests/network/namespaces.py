"""Network namespaces: places with a network of their own."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from attrs import define, field

from tests.commands import run

__all__ = ["PREFIX", "Namespace", "forgotten"]

PREFIX = "faults"
"""What the names of these tests' namespaces begin with; a process's number follows."""

P = ParamSpec("P")
T = TypeVar("T")

_NAMED = Path("/run/netns")
_CLONE_NEWNET = 0x40000000


def forgotten(prefix: str = PREFIX) -> list[Namespace]:
    """List the namespaces of tests whose process was killed before it removed them.

    Args:
        prefix: What their names begin with, before the number of the process.
    """
    found = []
    for path in _NAMED.glob(f"{prefix}-*") if _NAMED.is_dir() else ():
        pid = path.name.split("-")[1]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            found.append(Namespace(path.name))
    return found


@define(eq=False)
class Namespace:
    """One network namespace, with nothing but its loopback.

    Args:
        name: As ``ip netns`` shows it; nobody else's.
    """

    name: str
    _thread: ThreadPoolExecutor | None = field(init=False, default=None)

    def make(self) -> None:
        """Make it."""
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *command: str) -> None:
        """Set its interfaces, addresses and routes up, as ``ip`` does."""
        run("ip", "-netns", self.name, *command)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What has a command run here, in the process that was started."""
        return ("ip", "netns", "exec", self.name)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function here: sockets that it makes stay here."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, self.name, self._enter)
        return self._thread.submit(function, *args, **kwargs).result()

    def delete(self) -> None:
        """Remove it; what still runs there keeps it alive, without a name."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        with suppress(AssertionError):
            run("ip", "netns", "delete", self.name)

    def _enter(self) -> None:
        # Python has this from 3.12 on.
        library: Any = ctypes.CDLL(None, use_errno=True)
        with (_NAMED / self.name).open("rb") as place:
            if library.setns(place.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
