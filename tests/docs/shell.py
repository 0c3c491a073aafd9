"""A terminal with a shell in it, at which a page's commands are typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_PATIENCE = 120.0
_LONGEST_PAUSE = 0.2
_PROMPT = "$ "
# Whoever runs the tests in the background has them, and all below, ignore Ctrl-C.
_AT_THE_TERMINAL = """
import fcntl, os, signal, termios
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
    signal.signal(number, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
"""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Shell:
    """An interactive bash at a terminal of its own, as a reader has it.

    Args:
        directory: Where it begins.
        environment: All the variables that it has.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._terminal, theirs = pty.openpty()
        # So wide that no line of the page is broken.
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 500, 0, 0))
        self._bash = subprocess.Popen(
            [sys.executable, "-c", _AT_THE_TERMINAL],
            cwd=directory,
            env={**environment, "PS1": _PROMPT, "TERM": "dumb", "HISTFILE": ""},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._read = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Whoever is left is hung up on, what was stopped with ^Z too.
        os.close(self._terminal)
        self._bash.wait(_PATIENCE)

    def type(self, text: str) -> None:
        """Type a line at the prompt, when it is there; or, at any time, ``^Z`` and the like."""
        if re.fullmatch(r"\^[A-Z]", text):
            os.write(self._terminal, bytes([ord(text[1]) - ord("@")]))
        else:
            self._until(lambda printed: printed.endswith(_PROMPT), "the prompt")
            os.write(self._terminal, f"{text}\n".encode())

    def line(self) -> str:
        """Wait for the next whole line, what was typed and the prompt before it included."""
        self._until(lambda printed: "\n" in printed, "a line")
        line, _, self._read = self._read.partition("\n")
        return line

    def _until(self, come: Callable[[str], bool], what: str) -> None:
        waited = 0.0
        while not come(self._read):
            began = time.monotonic()
            ready, _, _ = select.select([self._terminal], [], [], _LONGEST_PAUSE)
            if ready:
                self._read += _ESCAPES.sub("", os.read(self._terminal, 65536).decode())
            # Time in which this process itself stood still is not held against them.
            waited += min(time.monotonic() - began, _LONGEST_PAUSE)
            if waited > _PATIENCE:
                raise AssertionError(f"{what} did not come; what came is {self._read!r}")
