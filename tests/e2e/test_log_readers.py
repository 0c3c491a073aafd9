"""Whoever reads a program's log, or does not, changes nothing about what it does."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from services.scaletest.programs import ControlAPI, clean_environment, wait_until
from tests.e2e.peers import Peer, RawEngine
from tests.e2e.scene import ANYWHERE

pytestmark = [pytest.mark.e2e, pytest.mark.fault("C038")]

PAGE = 4096
LOST = " could not be written"


@define
class Logging:
    """A broker whose log goes where a test says."""

    process: subprocess.Popen[bytes]
    address: str = ""
    api: ControlAPI = field(init=False)

    def listens(self, lines: list[str]) -> bool:
        """Learn where it listens from the lines of its log, once they are there."""
        for line in lines:
            if found := re.search(r"accepting engines on (tcp://[\d.]+:\d+)", line):
                self.address = found[1]
            if found := re.search(r"control API on (http://[\d.]+:\d+)", line):
                self.api = ControlAPI(found[1])
        # The last line that it says by itself for some time.
        return any(" is due each " in line for line in lines)

    def make_lines(self, count: int) -> None:
        """Have so many lines logged, each about another host."""
        for number in range(count):
            host = f"127.24.{number // 250}.{1 + number % 250}"
            with Peer.to(self.address, host) as stranger:
                stranger.write(b"nothing\n")
                stranger.rest()

    def is_sound(self) -> None:
        """See an engine register, beat and leave, all of it in the account."""
        before = self.api.ask("/stats")
        engine = RawEngine.at(self.address, "witness")
        for _ in range(5):
            engine.beat()
        engine.leave()

        def left() -> bool:
            stats = self.api.ask("/stats")
            return bool(stats["heartbeats"] - before["heartbeats"] == 5 and not stats["registered"])

        wait_until("the account", left)
        stats = self.api.ask("/stats")
        assert (stats["missed"], stats["lost"]) == (0, 0)
        assert stats["opened"] == stats["closed"] + stats["connections"]

    def ends_well(self) -> None:
        self.process.terminate()
        assert self.process.wait(300) == 0


Start = Callable[..., Logging]


@pytest.fixture
def start(tmp_path: Path, reactor_options: list[str]) -> Iterator[Start]:
    """Start a broker with a standard output of its own."""
    started: list[subprocess.Popen[bytes]] = []
    errors = (tmp_path / "stderr").open("wb")

    def start(stdout: Any, **more: Any) -> Logging:
        twistd = str(Path(sys.executable).with_name("twistd"))
        process = subprocess.Popen(
            [twistd, *reactor_options, "-n", "broker", *ANYWHERE, "--log-format", "json"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=errors,
            cwd=tmp_path,
            env=clean_environment(),
            **more,
        )
        started.append(process)
        return Logging(process)

    try:
        yield start
        errors.close()
        assert (tmp_path / "stderr").read_bytes() == b""
    finally:
        errors.close()
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


class Reader:
    """The other end of a log, read only when asked to."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self.text = ""

    def read(self) -> list[str]:
        """Read what is there now; give all whole lines that ever came."""
        with suppress(OSError):  # There is no more now, or nobody writes any more.
            while piece := os.read(self._descriptor, 65536):
                self.text += piece.decode()
        return self.text.splitlines()[: self.text.count("\n")]


def all_refusals(lines: list[str]) -> tuple[int, int]:
    """Count the refusals that a log tells of, and the lines that it says were lost."""
    events = [json.loads(line) for line in lines]
    told = sum(event["message"].startswith("refused ") for event in events)
    return told, sum(event["lost"] for event in events if event["message"].endswith(LOST))


def test_pipe_that_nobody_reads_stops_nothing_and_is_told_when_it_is_read(start: Start) -> None:
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PAGE)
    broker = start(write)
    os.close(write)
    reader = Reader(read)
    wait_until("the broker to listen", lambda: broker.listens(reader.read()), 60)
    broker.make_lines(100)
    broker.is_sound()
    lost = broker.api.ask("/stats")["process"]["log"]["lost"]
    assert lost > 50

    def told() -> bool:
        broker.make_lines(1)
        return any(LOST in line for line in reader.read())

    wait_until("the lines to be counted", told, 60)
    broker.is_sound()
    refused = broker.api.ask("/stats")["rejected"]["405"]
    told_of, missing = all_refusals(reader.read())
    # Other lines may have been lost among them: that of how the fleet stands.
    assert told_of <= refused <= told_of + missing
    assert missing >= lost
    broker.ends_well()
    os.close(read)


def test_pipe_whose_reader_is_gone_stops_nothing(start: Start) -> None:
    read, write = os.pipe()
    broker = start(write)
    os.close(write)
    reader = Reader(read)
    wait_until("the broker to listen", lambda: broker.listens(reader.read()), 60)
    os.close(read)
    broker.make_lines(20)
    broker.is_sound()
    assert broker.api.ask("/stats")["process"]["log"]["lost"] >= 20
    broker.ends_well()


def test_terminal_that_is_stopped_stops_nothing(start: Start) -> None:
    master, terminal = pty.openpty()
    broker = start(terminal)
    os.close(terminal)
    reader = Reader(master)
    wait_until("the broker to listen", lambda: broker.listens(reader.read()), 60)
    os.write(master, b"\x13")  # Ctrl-S

    def is_stopped() -> bool:
        broker.make_lines(5)
        return bool(broker.api.ask("/stats")["process"]["log"]["lost"])

    wait_until("the terminal to stop", is_stopped, 60)
    broker.is_sound()
    os.write(master, b"\x11")  # Ctrl-Q

    def told() -> bool:
        broker.make_lines(1)
        return any(LOST in line for line in reader.read())

    wait_until("the lines to be counted", told, 60)
    all_refusals(reader.read())
    broker.ends_well()
    os.close(master)


def test_full_disk_stops_nothing(start: Start, tmp_path: Path) -> None:
    """The device is always full: where the broker listens is told by the system alone."""
    with open("/dev/full", "wb") as full:
        broker = start(full)
    listening = f"/proc/{broker.process.pid}/net/tcp"
    inodes = f"/proc/{broker.process.pid}/fd"

    def ports() -> list[int]:
        own = set()
        for name in os.listdir(inodes):
            try:
                own.add(os.readlink(f"{inodes}/{name}"))
            except FileNotFoundError:
                continue
        rows = [line.split() for line in Path(listening).read_text().splitlines()[1:]]
        return [
            int(row[1].partition(":")[2], 16)
            for row in rows
            if row[3] == "0A" and f"socket:[{row[9]}]" in own
        ]

    found = wait_until("the broker to listen", lambda: len(ports()) == 2 and ports(), 60)
    for port in found:
        api = ControlAPI(f"http://127.0.0.1:{port}")
        try:
            api.ask("/healthz")
        except (OSError, HTTPException):
            broker.address = f"tcp://127.0.0.1:{port}"
        else:
            broker.api = api
    broker.make_lines(10)
    broker.is_sound()
    assert broker.api.ask("/stats")["process"]["log"]["lost"] >= 14
    broker.ends_well()
    assert not list(tmp_path.glob("*.log*"))
