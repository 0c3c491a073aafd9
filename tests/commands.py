"""Commands of this machine that are run to their end, and whether it has them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

__all__ = ["HUNG", "Tools", "run"]

HUNG = 900.0
"""Seconds after which a command does not merely take long."""


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a command, in a folder, and give its output; fail with all it said where it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HUNG,
        cwd=folder,
    )
    if done.returncode:
        raise AssertionError(
            f"{' '.join(map(str, command))} ended with {done.returncode}\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


@frozen
class Tools:
    """Commands that some tests need, and that not every machine has.

    Args:
        packages: Debian's package of each command.
        linux: Why no other system does.
        root: Why no other user does.
    """

    packages: Mapping[str, str]
    linux: str
    root: str

    @property
    def expected(self) -> bool:
        """Whether this is a machine on which such a test may not be skipped."""
        return os.environ.get("CI") == "true" and _on_debian() and os.geteuid() == 0

    def reason_against(self) -> str | None:
        """Say in a line why such a test cannot be run here, and what would help."""
        if sys.platform != "linux":
            return self.linux
        if os.geteuid() != 0:
            return self.root
        if missing := self._missing():
            return (
                f"not installed: {', '.join(missing)} (Debian: "
                f"apt-get install --no-install-recommends {' '.join(self.packages.values())})"
            )
        return None

    def install(self) -> None:
        """Install what is missing, where it is expected; elsewhere change nothing.

        Raises:
            SystemExit: apt-get failed; the message is what it said.
        """
        if not self.expected or not self._missing():
            return
        for command in (["update"], ["install", "--no-install-recommends", *self._names]):
            done = subprocess.run(
                ["apt-get", "--yes", "--quiet", *command],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=HUNG,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
            if done.returncode:
                sys.exit(
                    f"apt-get {command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}"
                )

    @property
    def _names(self) -> list[str]:
        return sorted(set(self.packages.values()))

    def _missing(self) -> list[str]:
        return [command for command in self.packages if shutil.which(command) is None]


def _on_debian() -> bool:
    try:
        return platform.freedesktop_os_release()["ID"] == "debian"
    except OSError:
        return False
