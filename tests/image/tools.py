"""The commands that building and running the image in a test needs.

``python -m tests.image.tools`` installs them where ``CI`` is ``true``, on a Debian, for root.
Elsewhere it changes nothing: a developer's machine is theirs.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys

__all__ = ["expected", "install", "reason_against"]

PACKAGES = {
    "curl": "curl",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "podman": "podman",
    "runc": "runc",
}
"""Debian's package of each command."""


def expected() -> bool:
    """Say whether this is a machine on which the tests of the image may not be skipped."""
    return os.environ.get("CI") == "true" and _on_debian() and os.geteuid() == 0


def reason_against() -> str | None:
    """Say in a line why no image can be built and run here, and what would help."""
    if sys.platform != "linux":
        return "containers need Linux"
    if os.geteuid() != 0:
        return "networks and memory limits of containers need root"
    if missing := _missing():
        return (
            f"not installed: {', '.join(missing)} "
            f"(Debian: apt-get install --no-install-recommends {' '.join(PACKAGES.values())})"
        )
    return None


def install() -> None:
    """Install what is missing.

    Raises:
        SystemExit: apt-get failed; the message is what it said.
    """
    if not _missing():
        return
    for command in (["update"], ["install", "--no-install-recommends", *PACKAGES.values()]):
        done = subprocess.run(
            ["apt-get", "--yes", "--quiet", *command],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode:
            sys.exit(
                f"apt-get {command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}"
            )


def _missing() -> list[str]:
    return [command for command in PACKAGES if shutil.which(command) is None]


def _on_debian() -> bool:
    try:
        return platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        return False


if __name__ == "__main__" and expected():
    install()
