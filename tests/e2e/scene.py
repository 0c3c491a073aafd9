"""Running programs, and the broker's account of what was done to it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from services.scaletest.programs import PATIENCE, ControlAPI, Program, ProgramError, wait_until
from tests.e2e.peers import RawEngine

CONTROL_ANYWHERE = ("--control", "http://127.0.0.1:0")
ANYWHERE = ("--listen", "tcp://127.0.0.1:0", *CONTROL_ANYWHERE)
# A test may look as often as it likes.
UNRATED = ("--control-rate", "0")
COMPLAINTS = ("error", "critical")

_NEIGHBOURS = 3
_NOW = {"connections", "registered", "late", "brake"}
# What says how the broker is set up, and what depends on the machine's load.
_NO_COUNT = {"uptime", "boot", "interval", "timeout", "process", "brake_since"}
_UNEXACT = {"lost_time"}


class BrokerProgram:
    """A broker's process, its two addresses, and what it counts."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.address: str = program.logged("address", "accepting engines on")
        self.api = ControlAPI(program.logged("address", "control API on"))
        self._before: dict[str, Any] = {}

    def count_anew(self) -> None:
        """Let what was counted so far be nothing to `stats`."""
        self._before = {}
        self._before = {
            name: value for name, value in self.stats().items() if name not in _NOW | _NO_COUNT
        }

    @property
    def pid(self) -> int:
        """The process."""
        return self.program.process.pid

    def stats(self) -> dict[str, Any]:
        """Ask for the counts; what must hold of them at any time holds."""
        stats = self.api.ask("/stats")
        assert stats["opened"] == stats["closed"] + stats["connections"], stats
        assert stats["registrations"] == stats["registered"] + stats["left"] + stats["lost"], stats
        return {name: _since(self._before.get(name), value) for name, value in stats.items()}

    def until(self, seconds: float = PATIENCE, **wanted: int) -> dict[str, Any]:
        """Wait until the counts named are these, and return all."""
        seen: dict[str, Any] = {}

        def reached() -> dict[str, Any] | None:
            seen.update(self.stats())
            return seen if all(seen[name] == value for name, value in wanted.items()) else None

        try:
            found: dict[str, Any] = wait_until(str(wanted), reached, seconds)
        except ProgramError as error:
            raise AssertionError(f"{error}; it stands at {seen}") from None
        return found

    def engines(self) -> dict[str, dict[str, Any]]:
        """Ask for the registered engines, by id."""
        return {engine["id"]: engine for engine in self.api.ask("/engines")["engines"]}

    def open_files(self) -> int:
        """Count the process's descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def until_open_files(self, most: int) -> None:
        """Wait until no more descriptors are open; a request just answered has one too."""
        wait_until(f"at most {most} open files", lambda: self.open_files() <= most)

    def cpu_seconds(self) -> float:
        """Return the processor time that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Return the bytes of memory that the process holds."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def forget_peak(self) -> None:
        """Have `peak` begin anew, where the system can do so."""
        with suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """Return the most bytes of memory that the process has held."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _since(before: Any, value: Any) -> Any:
    """Give how much a count, or each of several, has grown."""
    if before is None:
        return value
    if not isinstance(value, dict):
        return value - before
    grown = {name: count - before.get(name, 0) for name, count in value.items()}
    return {name: count for name, count in grown.items() if count}


@define
class Stage:
    """Starts programs in folders of their own, and ends whatever it has started."""

    folder: Path
    reactor_options: list[str]
    _started: list[Program] = field(factory=list)

    def program(
        self,
        name: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> Program:
        """Start ``twistd -n`` with a program."""
        folder = self.folder / f"{len(self._started)}-{name}"
        folder.mkdir()
        program = Program(
            name, list(arguments), folder, self.reactor_options, environment or {}, within
        )
        self._started.append(program)
        return program

    def broker(
        self, *arguments: str, interval: int = 1, port: int = 0, within: Sequence[str] = ()
    ) -> BrokerProgram:
        """Start a broker, and wait until it listens."""
        listen = ("--listen", f"tcp://127.0.0.1:{port}", *CONTROL_ANYWHERE)
        told = (*listen, *UNRATED, "--interval", str(interval), *arguments)
        return BrokerProgram(self.program("broker", *told, within=within))

    def engines(self, address: str, engine_id: str, *arguments: str) -> Program:
        """Start an engine's process."""
        return self.program("engine", "--broker", address, "--id", engine_id, *arguments)

    def check(self) -> None:
        """See every program end well that still runs, and none complain."""
        for program in reversed(self._started):
            if program.process.poll() is None:
                assert program.end() == 0, f"{program.name}: {program.process.returncode}"
        for program in self._started:
            complaints = [
                event
                for event in program.events()
                if event.get("level") in COMPLAINTS or "traceback" in event or "level" not in event
            ]
            assert complaints == []

    def clear(self) -> None:
        """Leave no process behind."""
        for program in self._started:
            if program.process.poll() is None:
                program.process.kill()
                program.process.wait()


def signalled(program: Program, number: signal.Signals) -> None:
    """Send a signal, and where it is SIGSTOP see the process stand still."""
    program.process.send_signal(number)
    if number is signal.SIGSTOP:
        status = Path(f"/proc/{program.process.pid}/stat")
        wait_until(
            "the process to stop", lambda: status.read_text().rpartition(") ")[2][0] == "T", 5
        )


def counts(stats: Mapping[str, Any]) -> Counter[str]:
    """Lay the numbers of a broker's stats flat: ``rejected:415``."""
    flat: Counter[str] = Counter()
    for name, value in stats.items():
        if name in _NO_COUNT | _UNEXACT:
            continue
        if isinstance(value, dict):
            flat.update({f"{name}:{key}": n for key, n in value.items()})
        else:
            flat[name] = value
    return flat


class Scene:
    """A broker, some quiet neighbours, and what their account must be.

    The account is carried on from test to test: what changes too late, or once too often,
    is noticed.
    """

    def __init__(self, broker: BrokerProgram) -> None:
        self.broker = broker
        self.address, self.api = broker.address, broker.api
        self._neighbours = [
            RawEngine.at(broker.address, f"neighbour-{n}") for n in range(_NEIGHBOURS)
        ]
        self._expected = counts(broker.stats())

    @contextmanager
    def changed_by(self, **changes: int) -> Iterator[dict[str, int]]:
        """See that what happens inside changes exactly these counts, and harms nobody.

        In a name `__` stands for the colon: ``rejected__415=1``. What is opened is to be
        closed at the end. Changes that show only meanwhile may be put into what this gives.
        """
        expected = self._expected.copy()
        self._beat(expected)
        try:
            yield changes
            self._beat(expected)
            for name, change in changes.items():
                expected[name.replace("__", ":")] += change
            expected["closed"] += changes.get("opened", 0)
            self._settle(expected)
        finally:
            # One test that fails is enough; the next ones begin anew.
            self._expected = counts(self.broker.stats())

    def engine(self, engine_id: str) -> RawEngine:
        """Register a well-behaved engine."""
        return RawEngine.at(self.address, engine_id)

    def close(self) -> None:
        """Let the neighbours leave; their account is exact to the end."""
        for neighbour in self._neighbours:
            account = self.broker.engines()[neighbour.engine_id]["account"]
            assert (account["counted"], account["missed"]) == (neighbour.seq, 0)
            neighbour.leave()
        self.broker.until(connections=0, registered=0)

    def _beat(self, expected: Counter[str]) -> None:
        for neighbour in self._neighbours:
            neighbour.beat()
        expected["heartbeats"] += len(self._neighbours)

    def _settle(self, expected: Counter[str]) -> None:
        wanted = +expected
        try:
            wait_until("the account", lambda: +counts(self.broker.stats()) == wanted)
        except ProgramError:
            now = +counts(self.broker.stats())
            differs = {
                name: f"{now[name]}, not {wanted[name]}"
                for name in sorted({*now, *wanted})
                if now[name] != wanted[name]
            }
            raise AssertionError(f"the account differs: {differs}") from None
