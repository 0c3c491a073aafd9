"""SIGHUP, SIGSTOP and a blocked reactor, at real processes."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import define

from .conftest import Host, until

pytestmark = pytest.mark.e2e


def following(process: subprocess.Popen[str]) -> Callable[[str], list[str]]:
    """Read what a process says until it has said something, and give all of it."""
    said: list[str] = []

    def until_said(text: str) -> list[str]:
        assert process.stdout is not None
        while not any(text in line for line in said):
            line = process.stdout.readline()
            assert line, f"{text!r} was never said: {said}"
            said.append(line.rstrip())
        return said

    return until_said


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=300)
    assert err == ""
    return process.returncode, out


@pytest.mark.fault("C069")
def test_hangup_in_the_background_opens_the_log_anew(host: Host) -> None:
    assert host.run("twistd", "sample") == (0, "", "")
    log, moved = host.directory / "sample.log", host.directory / "moved"
    pid = host.background("sample.pid")
    until(lambda: "ready" in log.read_text())
    log.rename(moved)
    os.kill(pid, signal.SIGHUP)
    until(lambda: log.exists() and "SIGHUP: the log file is opened anew" in log.read_text())
    assert "SIGHUP" not in moved.read_text()
    for _ in range(3):
        os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGTERM)
    until(lambda: not (host.directory / "sample.pid").exists())
    assert "last trigger" in log.read_text()


@pytest.mark.fault("C069")
@pytest.mark.parametrize("command", [("twistd", "-n"), ("twist",)])
def test_hangup_without_a_terminal_and_a_log_file_changes_nothing(
    host: Host, command: tuple[str, ...]
) -> None:
    process = host.start(*command, "sample", start_new_session=True)
    said = following(process)
    said("ready")
    process.send_signal(signal.SIGHUP)
    said("SIGHUP: there is no log file to open anew")
    process.send_signal(signal.SIGTERM)
    status, rest = ended(process)
    assert status == 0
    assert "last trigger" in rest


@define
class AtATerminal:
    """The sample program, ready, on a terminal of its own.

    Attributes:
        process: The program.
        log: Its log file.
    """

    process: subprocess.Popen[str]
    log: Path
    _master: int

    @classmethod
    def of(cls, host: Host, *options: str, reactor: str = "--reactor=default") -> AtATerminal:
        """Start it, with these options of its own."""
        master, terminal = pty.openpty()
        log = host.directory / "x.log"
        process = host.start(
            *("twistd", reactor, "-n", f"--logfile={log}", "sample", *options),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(terminal, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        until(lambda: log.exists() and "ready" in log.read_text())
        return cls(process, log, master)

    def go_away(self) -> None:
        """Close the terminal."""
        os.close(self._master)


@pytest.mark.fault("C069")
@pytest.mark.parametrize("reactor", ["--reactor=default", "--reactor=asyncio"])
def test_program_whose_terminal_goes_away_ends_in_order(host: Host, reactor: str) -> None:
    sample = AtATerminal.of(host, reactor=reactor)
    sample.go_away()
    assert sample.process.wait(300) == 0
    assert "last trigger" in sample.log.read_text()


def test_second_hangup_does_not_cut_the_end_short(host: Host) -> None:
    sample = AtATerminal.of(host, "--deaf")
    sample.process.send_signal(signal.SIGHUP)
    until(lambda: "asked to stop" in sample.log.read_text())
    time.sleep(0.2)
    sample.process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert sample.process.poll() is None
    sample.process.send_signal(signal.SIGTERM)
    assert sample.process.wait(300) == 0
    sample.go_away()


def test_hangup_that_is_ignored_from_the_start_stays_so(host: Host) -> None:
    """As under nohup."""
    process = host.start(
        *("twistd", "-n", "sample"),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    said = following(process)
    said("ready")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    status, rest = ended(process)
    assert status == 0
    assert "SIGHUP" not in rest


@pytest.mark.fault("C051")
@pytest.mark.parametrize("command", [("twistd", "-n"), ("twistd", "--reactor=asyncio", "-n")])
def test_blocked_reactor_is_told_while_it_is_blocked_and_when_it_runs_again(
    host: Host, command: tuple[str, ...]
) -> None:
    process = host.start(*command, "sample", "--block=5")
    said = following(process)
    lines = said(" and is in Told._block, ")
    assert not any("blocks no more" in line for line in lines)
    assert "sample.py:" in lines[-1]
    lines = said("the reactor runs again")
    assert any('time.sleep(self.options["block"])' in line for line in lines)
    lines = said("] held up for ")
    process.send_signal(signal.SIGTERM)
    status, rest = ended(process)
    assert status == 0
    blocked = [line for line in [*lines, *rest.splitlines()] if "has been blocked" in line]
    assert len([line for line in blocked if "Told._block" in line]) == 1


@pytest.mark.fault("C050")
def test_process_that_was_stopped_was_held_up_and_not_blocked(host: Host) -> None:
    process = host.start("twistd", "-n", "sample")
    said = following(process)
    said("ready")
    time.sleep(1)
    stat = Path(f"/proc/{process.pid}/stat")
    for _ in range(2):
        process.send_signal(signal.SIGSTOP)
        until(lambda: stat.read_text().rpartition(") ")[2][0] == "T")
        time.sleep(4)
        process.send_signal(signal.SIGCONT)
        time.sleep(1)
    lines = said("] held up for ")
    process.send_signal(signal.SIGTERM)
    status, rest = ended(process)
    assert status == 0
    everything = [*lines, *rest.splitlines()]
    assert not any("the reactor" in line for line in everything), everything
    # Whether by name or by number: both times are told, the second at the end at the latest.
    assert sum(" held up " in line for line in everything) >= 2
