"""Run the sample program under the real ``twistd`` and ``twist``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(sys.executable).parent
PLUGIN = """
from twisted.application.service import ServiceMaker
sample = ServiceMaker("sample", "tests.services.program.sample", "A sample.", "sample")
"""
HUNG = 300.0
LOOKS = 2000


def until(condition: Callable[[], Any]) -> Any:
    """Wait for what another process does, which only asking can tell."""
    for _ in range(LOOKS):
        if outcome := condition():
            return outcome
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {condition}")


@define
class Host:
    """A directory to run commands in, and the commands that ran there."""

    directory: Path
    environ: Mapping[str, str]
    _started: list[subprocess.Popen[str]] = field(factory=list)

    def start(self, *command: str, **more: Any) -> subprocess.Popen[str]:
        """Start ``twistd ...`` or ``twist ...``."""
        return self._start([str(SCRIPTS / command[0]), *command[1:]], **more)

    def _start(self, command: list[str], **more: Any) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            **{
                "cwd": self.directory,
                "env": self.environ,
                "stdin": subprocess.DEVNULL,
                "stdout": pipe,
                "stderr": pipe,
                "text": True,
                **more,
            },
        )
        self._started.append(process)
        return process

    def run(self, *command: str, **more: Any) -> tuple[int, str, str]:
        """Run a command to its end; give status, stdout and stderr."""
        return self._ended(self.start(*command, **more))

    def shell(self, line: str) -> tuple[int, str, str]:
        """Run a line of shell to its end; give status, stdout and stderr."""
        return self._ended(self._start(["sh", "-c", f"exec {SCRIPTS}/{line}"]))

    def _ended(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=HUNG)
        return process.returncode, out or "", err or ""

    def background(self, name: str) -> int:
        """Give the number of the process that a pid file names."""
        return int((self.directory / name).read_text())

    def close(self) -> None:
        """End what a failed test left behind."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for pid_file in self.directory.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    plugins = tmp_path / "path" / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "sample_plugin.py").write_text(PLUGIN)
    directory = tmp_path / "here"
    directory.mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "path"), str(ROOT)]),
        # What is still open when a process ends is the system's to close.
        "PYTHONWARNINGS": "error,ignore::ResourceWarning",
        "COLUMNS": "200",
    }
    host = Host(directory, environ)
    yield host
    host.close()


def turn_of(reactor: Any) -> Deferred[None]:
    """Wait for a moment, in which the reactor takes its turns."""
    return deferLater(reactor, 0.01)


def own_lines(text: str) -> list[str]:
    """Give a log's lines, less those that a slow machine adds."""
    told = ("] held up ", "] the reactor ")
    return [line for line in text.splitlines() if not any(each in line for each in told)]
