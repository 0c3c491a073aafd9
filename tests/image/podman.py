"""Podman with a storage of its own, and the containers that run in it."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from tests.commands import HUNG, run

__all__ = ["Container", "Podman"]


@define
class Podman:
    """The command ``podman``, which sees and leaves nothing outside of a folder.

    Args:
        folder: Where images and containers are kept.
    """

    folder: Path
    _names: list[str] = field(factory=list)

    def __call__(self, *arguments: str | Path) -> str:
        """Run a subcommand and give its output."""
        # Where a container runs out of memory, its monitor leaves a file in this folder.
        return run(*self._command, *arguments, folder=self.folder)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Describe an ``image`` or a ``container``."""
        (found,) = json.loads(self(kind, "inspect", name))
        return dict(found)

    def start(self, image: str, *command: str, options: tuple[str, ...] = ()) -> Container:
        """Start a container in the background."""
        name = f"container-{len(self._names)}"
        self._names.append(name)
        # Of a run of the tests that was killed, nothing lives on for ever.
        limits = ("--timeout", str(int(HUNG)), *_LIMITS)
        self("run", "--detach", "--name", name, *limits, *options, image, *command)
        return Container(self, name)

    def output_of(self, image: str, *command: str) -> str:
        """Run a container without a network to its end, and give its output."""
        return self("run", "--rm", "--network", "none", *_LIMITS, image, *command)

    def remove_containers(self) -> None:
        """Remove all containers, and let pytest show what they wrote where a test failed."""
        for name in self("ps", "--all", "--quiet").split():
            print(self("logs", name))
        self("rm", "--all", "--force", "--time", "0")

    def clear(self) -> None:
        """Remove all containers and images, and the folder."""
        self.remove_containers()
        self("rmi", "--all", "--force")
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            run("umount", mount)
        shutil.rmtree(self.folder)

    @property
    def _command(self) -> tuple[str | Path, ...]:
        return (
            *("podman", "--root", self.folder / "storage", "--runroot", self.folder / "run"),
            *("--tmpdir", self.folder / "tmp", "--network-config-dir", self.folder / "networks"),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        )


@frozen
class Container:
    """A container that was started."""

    _podman: Podman
    _name: str

    @property
    def state(self) -> dict[str, Any]:
        """Its ``Status``, its ``Pid`` and what else podman knows."""
        return dict(self._podman.inspect("container", self._name)["State"])

    @property
    def log(self) -> str:
        """Read all that it wrote."""
        return self._podman("logs", self._name)

    def wait(self) -> int:
        """Wait for its end, and return its exit status."""
        return int(self._podman("wait", self._name))

    def stop(self, grace: int) -> int:
        """Send the image's stop signal, after `grace` seconds SIGKILL; return the exit status."""
        self._podman("stop", "--time", str(grace), self._name)
        return self.wait()

    def children(self) -> list[int]:
        """List the processes that its first process has started, and that still run."""
        pid = self.state["Pid"]
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _limit(name: str, number: int) -> tuple[str, str]:
    hard = resource.getrlimit(number)[1]
    most = _AMPLE if hard == resource.RLIM_INFINITY else min(hard, _AMPLE)
    return "--ulimit", f"{name}={most}:{most}"


# Podman's own are higher, and not every root may raise a limit.
_AMPLE = 4096
_LIMITS = (*_limit("nofile", resource.RLIMIT_NOFILE), *_limit("nproc", resource.RLIMIT_NPROC))
