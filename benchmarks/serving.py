"""A contender's process, and its account, asked for over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field

from benchmarks.building import NativeTools
from benchmarks.contenders import BROKER_SETTINGS, Contender
from services.program.start import CONFIGURATION_ERROR
from services.scaletest.programs import ControlAPI, Program, ProgramError, clean_environment
from transports import URI

__all__ = ["Generator", "RefusedError", "Serving", "end", "pin", "serve"]

_ANYWHERE = "http://127.0.0.1:0"
_END_SECONDS = 60.0


class RefusedError(Exception):
    """The broker refuses the contender's address; the message is what it said."""


def pin(pid: int, core: int | None) -> None:
    """Keep a process that has just begun, and all threads that it will start, on a core."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


@define(eq=False)
class Serving:
    """A broker that runs.

    Attributes:
        process: Its process.
        place: What tells the generator where it accepts engines.
        api: Where it tells its account.
    """

    process: subprocess.Popen[Any]
    place: list[str]
    api: ControlAPI

    @property
    def http_port(self) -> int:
        """The port of its control API."""
        return urlsplit(self.api.address).port or 0

    def stats(self) -> dict[str, Any]:
        """Ask for the account."""
        return self.api.ask("/stats")

    def end(self) -> None:
        """End it, stopped or not; kill it where it does not end."""
        end(self.process)
        if self.process.stdout is not None:
            self.process.stdout.close()


def end(process: subprocess.Popen[Any]) -> None:
    """End a process of ours, stopped or not; kill it where it does not end."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)  # A stopped one would not hear of the other.
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(
    contender: Contender,
    tools: NativeTools,
    folder: Path,
    core: int | None,
    options: tuple[str, ...] = (),
) -> Serving:
    """Start a contender on a core of its own.

    Args:
        contender: Who.
        tools: Where the limit is.
        folder: An empty one, for its log and its socket.
        core: None to leave it to the system.
        options: Of the limit, beside its own.

    Raises:
        RefusedError: It does not know the address.
        ProgramError: It did not start otherwise.
    """
    if contender.kind == "broker":
        return _serve_broker(contender, folder, core)
    command = (
        [str(tools.limit_broker), *(["--ack"] if contender.acks else []), *options]
        if contender.kind == "limit"
        else [sys.executable, "-m", "benchmarks.line_receiver"]
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment())
    pin(process.pid, core)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ProgramError(f"{contender.name} did not start")
        ports = json.loads(line)
    except BaseException:
        end(process)
        raise
    return Serving(
        process,
        ["--port", str(ports["port"])],
        ControlAPI(f"http://127.0.0.1:{ports['http_port']}"),
    )


def _serve_broker(contender: Contender, folder: Path, core: int | None) -> Serving:
    settings = [word for each in BROKER_SETTINGS for word in (each.option, each.value)]
    listen = contender.listen.format(folder=folder)
    program = Program(
        "broker", ["--listen", listen, "--control", _ANYWHERE, *settings], folder=folder
    )
    pin(program.process.pid, core)
    try:
        address = URI.parse(program.logged("address", "accepting engines on"))
        api = ControlAPI(program.logged("address", "control API on"))
    except ProgramError as error:
        if program.process.poll() == CONFIGURATION_ERROR:
            raise RefusedError(str(error)) from None
        raise
    except BaseException:
        end(program.process)
        raise
    place = ["--path", address.path] if address.path else ["--port", str(address.port)]
    return Serving(program.process, place, api)


@define(eq=False)
class Generator:
    """The load generator, told what to do phase by phase.

    Args:
        tools: Where it is.
        serving: Who is measured.
        options: Of its command line, beside those that say where the broker is.
        core: Its own; None to leave it to the system.
    """

    tools: NativeTools
    serving: Serving
    options: list[str]
    core: int | None
    process: subprocess.Popen[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        target = ["--pid", self.serving.process.pid, "--http-port", self.serving.http_port]
        command = [self.tools.load_generator, *self.serving.place, *target, *self.options]
        self.process = subprocess.Popen(
            [*map(str, command), "--phases", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        pin(self.process.pid, self.core)

    def run(self, phase: str) -> dict[str, Any]:
        """Run one phase, and return what it reports.

        Raises:
            ProgramError: The generator ended instead.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{phase}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise ProgramError(f"the load generator ended in {phase}")
        report: dict[str, Any] = json.loads(line)
        return report

    def end(self) -> None:
        """End it; connections that are still open break."""
        end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
