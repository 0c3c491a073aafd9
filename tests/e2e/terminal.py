"""What a person at a terminal does: run commands, see lines, statuses and files."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from attrs import define, field

from services.scaletest.programs import clean_environment, wait_until

_HUNG = 300.0
_SCRIPTS = Path(sys.executable).parent


@define
class Outcome:
    """How a command ended, and all that it said."""

    status: int
    out: str
    err: str


@define
class Terminal:
    """A directory, and the commands that run there."""

    directory: Path
    reactor_options: list[str]
    _started: list[subprocess.Popen[str]] = field(factory=list)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``twistd ...`` or ``twist ...``, on the reactor under test."""
        process = subprocess.Popen(
            [str(_SCRIPTS / command[0]), *self.reactor_options, *command[1:]],
            cwd=self.directory,
            env={**clean_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *command: str, **environment: str) -> Outcome:
        """Run a command to its end."""
        return ended(self.start(*command, **environment))

    def background(self, name: str) -> int:
        """Give the number of the process that a pid file names."""
        return int(self.read(name))

    def read(self, name: str) -> str:
        """Read a file of the directory."""
        return (self.directory / name).read_text()

    def files(self) -> list[str]:
        """List the directory."""
        return sorted(os.listdir(self.directory))

    def logged(self, name: str, text: str) -> str:
        """Wait for a line of a log that holds `text`; return what follows it there."""

        def look() -> str | None:
            with contextlib.suppress(FileNotFoundError):
                for line in self.read(name).splitlines(keepends=True):
                    if text in line and line.endswith("\n"):
                        return f"{line.partition(text)[2].strip()} "
            return None

        found: str = wait_until(f"{name} to say {text!r}", look)
        return found[:-1]

    def close(self) -> None:
        """Leave no process behind."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for pid_file in self.directory.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


def ended(process: subprocess.Popen[str]) -> Outcome:
    """Wait until a command has ended."""
    out, err = process.communicate(timeout=_HUNG)
    return Outcome(process.returncode, out, err)


def said(process: subprocess.Popen[str], text: str) -> str:
    """Wait for a line of a command's output that holds `text`; return what follows."""
    assert process.stdout is not None
    limit = threading.Timer(_HUNG, process.kill)
    limit.start()
    try:
        for line in process.stdout:
            if text in line:
                return line.partition(text)[2].strip()
    finally:
        limit.cancel()
    raise AssertionError(f"{text!r} was never said")
