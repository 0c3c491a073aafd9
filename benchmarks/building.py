"""The tools in C, made from ``benchmarks/native`` where there is a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import frozen

__all__ = ["BuildError", "NativeTools", "build", "compiler"]

SOURCES = Path(__file__).with_name("native")

# Whoever measures must be as fast as it gets; whoever compiles must be heard.
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror")

_COMPILERS = ("cc", "gcc", "clang")


class BuildError(Exception):
    """The tools cannot be had; the message says in one sentence why."""


@frozen
class NativeTools:
    """Where the programs are."""

    limit_broker: Path
    load_generator: Path


def compiler() -> str | None:
    """Find a C compiler: the one that ``CC`` names, or the first that there is."""
    named = os.environ.get("CC", "").strip()
    return next(filter(None, map(shutil.which, (named,) if named else _COMPILERS)), None)


def build(folder: Path) -> NativeTools:
    """Compile the tools into a folder, which is made.

    Raises:
        BuildError: The system is not Linux, there is no compiler, or it does not compile.
    """
    if sys.platform != "linux":
        raise BuildError("the load generator needs Linux: it uses epoll, and measures by /proc")
    command = compiler()
    if command is None:
        raise BuildError(
            "there is no C compiler to build the load generator with (Debian: apt-get install"
            " --no-install-recommends gcc libc6-dev)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    tools = NativeTools(folder / "limit_broker", folder / "load_generator")
    _compile(command, tools.limit_broker, "limit_broker.c")
    _compile(
        command, tools.load_generator, "load_generator.c", "engines.c", "phases.c", "process.c"
    )
    return tools


def _compile(command: str, program: Path, *sources: str) -> None:
    done = subprocess.run(
        [command, *FLAGS, "-o", program, *(SOURCES / source for source in sources), "-lm"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BuildError(f"{program.name} does not compile: {done.stderr.strip()}")
