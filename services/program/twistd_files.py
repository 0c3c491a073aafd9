"""The files that ``twistd`` keeps for a program: its pid file and its log.

A program in the background has ``<program>.pid`` and ``<program>.log`` in the
current directory, one in the foreground has none, and ``--pidfile`` and
``--logfile`` say otherwise for both. No two programs meet over a file.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from twisted.python import usage

from .start import fail

_PROCESS = re.compile(r"[1-9][0-9]{0,9}")


def settle(program: str, twistd: usage.Options) -> None:
    """Name the files in the options of ``twistd``, and refuse a taken one.

    Args:
        program: The subcommand's name.
        twistd: The options of ``twistd`` itself, parsed but not yet used.

    Raises:
        SystemExit: After one line: the pid file names a live process, or one
            of the files cannot be written.
    """
    foreground = bool(twistd["nodaemon"] or twistd["debug"])
    if twistd["pidfile"] is twistd.defaults["pidfile"]:
        # Identity: who types this very name has another string and keeps it.
        twistd["pidfile"] = "" if foreground else f"{program}.pid"
    if not foreground:
        _keep_standard_descriptors(program)
    if not foreground and not twistd["syslog"]:
        if twistd["logfile"] == "-":
            fail(program, "--logfile: a program in the background has no stdout; add -n")
        twistd["logfile"] = twistd["logfile"] or f"{program}.log"
    if twistd["logfile"] and twistd["logfile"] != "-":
        # twistd changes to --rundir later, and a log that rotates is reopened.
        twistd["logfile"] = os.path.abspath(twistd["logfile"])
    if twistd["pidfile"]:
        _claim(program, Path(os.path.abspath(twistd["pidfile"])))


def _keep_standard_descriptors(program: str) -> None:
    """See to it that 0, 1 and 2 are no descriptors of ours.

    ``twistd`` points them at /dev/null on its way to the background. Started
    with one of them closed, the system would give its number to the reactor,
    or to a port that listens, and twistd would cut that off.
    """
    streams = (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    for number in (number for number, stream in enumerate(streams) if stream is None):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        else:
            # It was closed, and is in use now: the reactor is there already.
            fail(program, "stdin, stdout or stderr is closed; redirect it to /dev/null instead")


def _claim(program: str, path: Path) -> None:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        if not os.access(path.parent, os.W_OK):
            fail(program, f"--pidfile: cannot write {path}")
        return
    except OSError as error:
        fail(program, f"--pidfile: cannot read {path}: {error.strerror}")
    if not _PROCESS.fullmatch(text):
        fail(program, f"--pidfile: {path} holds no process number; remove it if nothing needs it")
    process = int(text)
    # A container gives the same small numbers again after each restart.
    if process != os.getpid() and _lives(process):
        fail(
            program,
            f"{path} says that process {process} runs already;"
            " a second one needs another --pidfile and --logfile, or another directory",
        )
    try:
        path.unlink()
    except OSError as error:
        fail(program, f"--pidfile: cannot remove the stale {path}: {error.strerror}")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # It lives, and is another user's.
    return True
