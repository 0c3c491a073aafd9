"""The control groups that limit this process, as Linux shows them.

Version 1 has a tree of folders for each controller, version 2 one for all. In a container
the process's own group may be the root of what is mounted.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["MOUNTED", "PROCESS", "groups"]

MOUNTED = Path("/sys/fs/cgroup")
"""Where control groups are mounted."""

PROCESS = Path("/proc/self")
"""What the kernel tells of this process."""


def groups(
    controller: str, telling: str, cgroups: Path = MOUNTED, process: Path = PROCESS
) -> list[Path]:
    """Find the folders of the process's group, and of those around it.

    Args:
        controller: Its name, as ``memory``.
        telling: A file that a folder of this controller has.
        cgroups: Where control groups are mounted.
        process: The process's folder in ``/proc``.

    Returns:
        The innermost first; none where nothing is told of the controller.
    """
    try:
        lines = (process / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller in controllers.split(","):
            mounts = [cgroups / controllers, cgroups / controller]
        elif not controllers:
            mounts = [cgroups, cgroups / "unified"]
        else:
            continue
        for mount in mounts:
            # In a container the path may be the host's, and lead nowhere here, or out of it.
            inner = mount / os.path.normpath(path).lstrip("/")
            around = [each for each in (inner, *inner.parents) if each.is_relative_to(mount)]
            found = [each for each in around if (each / telling).exists()]
            if found:
                return found
    return []
