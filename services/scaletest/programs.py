"""The project's programs as processes of this machine, and a broker's control API."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from attrs import define, field

__all__ = ["PATIENCE", "ControlAPI", "Program", "ProgramError", "clean_environment", "wait_until"]

PATIENCE = 60.0
"""Seconds, counted in looks, for what a machine with much else to do may be late with."""

_POLL = 0.05

_HUNG = 300.0
"""Seconds after which a process or a request does not merely take long."""


class ProgramError(Exception):
    """A program did not do what it was started for; the message says what."""


def wait_until(what: str, happened: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return the first true result of `happened`.

    Seconds are counted in looks: those in which the whole machine stood still, or had
    no time for this process, are not held against what is waited for.

    Raises:
        ProgramError: There was none within `seconds`.
    """
    for _ in range(math.ceil(seconds / _POLL)):
        if result := happened():
            return result
        time.sleep(_POLL)
    if result := happened():
        return result
    raise ProgramError(f"{what}: not within {seconds:g} s")


@define(eq=False)
class Program:
    """One ``twistd`` program in the foreground, its log as JSON in a file.

    Args:
        name: ``broker`` or ``engine``.
        arguments: Its command line, without ``--log-format``.
        folder: Where it runs, and where its log goes, as ``<name>.jsonl``.
        twistd: What ``twistd`` itself is told, such as ``--reactor``.
        environment: Variables of its own. Those of this process that would set our
            programs up are not handed on.
        within: A command that runs the one given to it, such as ``nice``.
    """

    name: str
    arguments: list[str]
    folder: Path
    twistd: Sequence[str] = ()
    environment: Mapping[str, str] = field(factory=dict)
    within: Sequence[str] = ()
    process: subprocess.Popen[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        twistd = [str(Path(sys.executable).with_name("twistd")), *self.twistd, "-n"]
        with self._log("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [*self.within, *twistd, self.name, "--log-format", "json", *self.arguments],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**clean_environment(), **self.environment},
            )

    @property
    def log_path(self) -> Path:
        """Where the log is."""
        return self.folder / f"{self.name}.jsonl"

    def events(self) -> Iterator[dict[str, Any]]:
        """Read the log from its beginning; a line that is no JSON is a ``message``."""
        with self._log("rb") as log:
            for line in log:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                yield (
                    event
                    if isinstance(event, dict)
                    else {"message": line.decode(errors="replace").rstrip()}
                )

    def logged(self, key: str, beginning: str, seconds: float = _HUNG) -> Any:
        """Wait for an event whose message begins so, and return its field `key`.

        Raises:
            ProgramError: The program ended, or time is over, before it came.
        """

        def look() -> tuple[Any] | None:
            last = ""
            for event in self.events():
                last = str(event["message"])
                if last.startswith(beginning) and key in event:
                    return (event[key],)
            if self.process.poll() is not None:
                raise ProgramError(f"the {self.name} ended, and said: {last}")
            return None

        return wait_until(f"the {self.name} to say {beginning!r}", look, seconds)[0]

    def end(self, seconds: float = _HUNG) -> int:
        """Send SIGTERM, and return the exit status; kill it where it does not end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _log(self, mode: str) -> IO[bytes]:
        return self.log_path.open(mode)


def clean_environment() -> dict[str, str]:
    """Take this process's environment, without what would set our programs up."""
    ours = ("BROKER_", "ENGINE_")
    return {
        name: value
        for name, value in os.environ.items()
        if name != "PORT" and not name.startswith(ours)
    }


@define
class ControlAPI:
    """A broker's control API, by HTTP.

    Args:
        address: Such as ``http://127.0.0.1:8080``.
    """

    address: str

    def ask(self, path: str, **parameters: str | int) -> dict[str, Any]:
        """Return the answer to one request.

        Raises:
            OSError: There was none, or it was an error.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        request = Request(f"{self.address}{path}{query}")  # noqa: S310 - http:// alone
        with build_opener(ProxyHandler({})).open(request, timeout=_HUNG) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
