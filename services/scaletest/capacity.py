"""``python -m services.scaletest.capacity``: how many engines does this machine hold?

The open files of one process bound what one broker holds. So several brokers listen,
each independent of the others, and beside each stands a process full of its engines.
What they hold together is reported, what each engine costs, and what of the machine is
nearest to its end. Exit status 0 where all engines registered and the account closes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen
from rich.console import Console
from rich.table import Table

from services.program.open_files import raise_open_files
from services.scaletest.machine import CPUMeter, Share, kernel_memory, shares
from services.scaletest.programs import ControlAPI, Program, ProgramError, wait_until
from services.scaletest.samples import resident
from services.scaletest.show import Show

_OTHER_FILES = 600
"""Of each process: what a broker keeps for its control API, its log and the like."""

_JOINING_SECONDS = 1800.0
_LOOK_SECONDS = 2.0
_INTERRUPTED = 130


@frozen
class Settings:
    """What is asked for.

    Attributes:
        engines: How many in all.
        brokers: How many processes share them, on either side.
        interval: Seconds between an engine's heartbeats.
        minutes: How long to watch, once all are there.
        accept_rate: Connections that each broker accepts a second.
    """

    engines: int
    brokers: int
    interval: int
    minutes: float
    accept_rate: int

    def part(self, number: int) -> int:
        """How many engines the broker of this number holds, from 0."""
        return self.engines // self.brokers + (number < self.engines % self.brokers)


@frozen
class Cost:
    """What the processes of one side took.

    Attributes:
        bytes_each: Resident memory that an engine took, above the empty process.
        cores: Parts of a core, of all processes together, while heartbeats came.
        us_each: Microseconds of CPU for a heartbeat.
    """

    bytes_each: float
    cores: float
    us_each: float


@frozen
class Found:
    """What a run has found.

    Attributes:
        registered: Engines at the same time.
        joining: Seconds that it took until all were.
        heartbeats: Counted a second, while watching.
        sent: Heartbeats, by what the engines say.
        counted: By what the brokers say.
        missed: By what the brokers say.
        lost: Engines that were given up.
        late: The most that were late at one look.
        broker: What brokers took.
        engine: What engines took.
        kernel_bytes_each: What the kernel took for an engine's connection, both ends.
        shares: What was used of the machine, whatever is nearest to its end first.
    """

    registered: int
    joining: float
    heartbeats: float
    sent: int
    counted: int
    missed: int
    lost: int
    late: int
    broker: Cost
    engine: Cost
    kernel_bytes_each: float
    shares: list[Share]


@define(eq=False)
class Pair:
    """A broker, and a process with its engines."""

    broker: Program
    api: ControlAPI
    engines: Program | None = None

    def stats(self) -> dict[str, Any]:
        """Ask the broker how it stands."""
        return self.api.ask("/stats")


@define(eq=False)
class Capacity:
    """One run.

    Args:
        settings: What is asked for.
        folder: Where the programs run.
        show: Where to tell of it.
    """

    settings: Settings
    folder: Path
    show: Show
    pairs: list[Pair] = field(init=False, factory=list)
    _late: int = field(init=False, default=0)

    def run(self) -> Found:
        """Do it all.

        Raises:
            ProgramError: Something did not come to pass.
        """
        kernel_before = kernel_memory()
        for number in range(self.settings.brokers):
            self._start_broker(number)
        empty = [resident(pair.broker.process.pid) for pair in self.pairs]
        self.show.done("listening", f"{len(self.pairs)} brokers")
        began = time.monotonic()
        for number, pair in enumerate(self.pairs):
            self._start_engines(number, pair)
        self._until("registered", self.settings.engines)
        joining = time.monotonic() - began
        self.show.done("joined", f"{self.settings.engines} engines in {joining:.0f} s")
        kernel = kernel_memory() - kernel_before
        rate, busy = self._watch()
        brokers = [pair.broker.process.pid for pair in self.pairs]
        engines = [_engines(pair).process.pid for pair in self.pairs]
        used = shares([*brokers, *engines], busy, self.settings.part(0))
        taken = sum(map(resident, brokers)) - sum(empty)
        # Nothing tells what a process of engines would take without any of them: the
        # whole of it, its interpreter included, is divided among them.
        broker_cost = self._cost(taken, sum(busy[pid] for pid in brokers), rate)
        engine_cost = self._cost(
            sum(map(resident, engines)), sum(busy[pid] for pid in engines), rate
        )
        sent, stats = self._account()
        return Found(
            self.settings.engines,
            joining,
            rate,
            sent,
            stats["heartbeats"],
            stats["missed"],
            stats["lost"],
            self._late,
            broker_cost,
            engine_cost,
            kernel / self.settings.engines,
            used,
        )

    def end(self) -> None:
        """End all programs that still run."""
        for pair in self.pairs:
            if pair.engines is not None:
                pair.engines.end()
            pair.broker.end()

    def _start_broker(self, number: int) -> None:
        folder = self.folder / f"broker-{number}"
        folder.mkdir()
        arguments = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]
        arguments += ["--interval", str(self.settings.interval), "--drain-timeout", "0"]
        arguments += ["--accept-rate", str(self.settings.accept_rate)]
        broker = Program("broker", arguments, folder)
        # Known before it has told anything, so that it is ended whatever happens.
        pair = Pair(broker, ControlAPI(""))
        self.pairs.append(pair)
        pair.api = ControlAPI(broker.logged("address", "control API on"))

    def _start_engines(self, number: int, pair: Pair) -> None:
        folder = self.folder / f"engines-{number}"
        folder.mkdir()
        address = pair.broker.logged("address", "accepting engines on")
        count = str(self.settings.part(number))
        arguments = ["--broker", address, "--id", f"capacity-{number}", "--count", count]
        pair.engines = Program("engine", arguments, folder)

    def _until(self, key: str, wanted: int) -> dict[str, int]:
        def reached() -> dict[str, int] | None:
            for pair in self.pairs:
                if pair.engines is not None and pair.engines.process.poll() is not None:
                    # It says why in its last line.
                    pair.engines.logged("heartbeats", "sent ")
            stats = self._stats()
            return stats if stats[key] >= wanted else None

        found: dict[str, int] = wait_until(f"{wanted} {key}", reached, _JOINING_SECONDS)
        return found

    def _stats(self) -> dict[str, int]:
        """Sum up what all brokers say, and show it."""
        each = [pair.stats() for pair in self.pairs]
        keys = ("registered", "late", "heartbeats", "missed", "lost", "opened", "closed")
        sums = {key: sum(stats[key] for stats in each) for key in keys}
        self._late = max(self._late, sums["late"])
        self.show.now(
            f"{sums['registered']} engines registered, {sums['late']} late, {sums['lost']} lost, "
            f"{sums['heartbeats']} heartbeats, {sums['missed']} missed"
        )
        return sums

    def _watch(self) -> tuple[float, dict[int, float]]:
        """Let heartbeats come; return how many a second, and what each process took."""
        programs = [pair.broker for pair in self.pairs] + [_engines(pair) for pair in self.pairs]
        before, began = self._stats()["heartbeats"], time.monotonic()
        meter = CPUMeter(tuple(program.process.pid for program in programs))
        ending = began + self.settings.minutes * 60
        while (left := ending - time.monotonic()) > 0:
            time.sleep(min(_LOOK_SECONDS, left))
            self._stats()
        busy = meter.look()
        rate = (self._stats()["heartbeats"] - before) / (time.monotonic() - began)
        self.show.done("beating", f"{rate:.0f} heartbeats a second")
        return rate, busy

    def _cost(self, taken: int, cores: float, rate: float) -> Cost:
        return Cost(taken / self.settings.engines, cores, 1e6 * cores / max(rate, 1e-9))

    def _account(self) -> tuple[int, dict[str, int]]:
        """Stop all engines; return what they sent, and what the brokers say then."""
        for pair in self.pairs:
            _engines(pair).process.terminate()
        for pair in self.pairs:
            if status := _engines(pair).end():
                raise ProgramError(f"engines ended with status {status}")
        sent = sum(_engines(pair).logged("heartbeats", "sent ") for pair in self.pairs)
        stats = self._until("closed", self._stats()["opened"])
        self.show.done("left", f"{sent} heartbeats were sent")
        for pair in self.pairs:
            if status := pair.broker.end():
                raise ProgramError(f"a broker ended with status {status}")
        return sent, stats


def _engines(pair: Pair) -> Program:
    assert pair.engines is not None
    return pair.engines


def report(console: Console, found: Found) -> bool:
    """Show what was found; return whether the account closes."""
    table = Table(title="One engine costs", title_justify="left", box=None)
    for head in ("", "bytes", "us a heartbeat", "cores, of all"):
        table.add_column(head, justify="left" if not head else "right")
    for side, cost in (("its broker", found.broker), ("its own process", found.engine)):
        cells = f"{cost.bytes_each:.0f}", f"{cost.us_each:.1f}", f"{cost.cores:.2f}"
        table.add_row(side, *cells)
    table.add_row("the kernel, both ends", f"{found.kernel_bytes_each:.0f}", "", "")
    console.print(table)
    console.print("What binds, the nearest to its end first")
    for share in found.shares:
        console.print(f"  {share}", highlight=False)
    facts = {
        f"sent = counted + missed: {found.sent} = {found.counted} + {found.missed}": found.sent
        == found.counted + found.missed,
        f"no heartbeat missed: {found.missed}": found.missed == 0,
        f"nobody lost: {found.lost}": found.lost == 0,
    }
    for fact, holds in facts.items():
        mark = "[green]✓[/]" if holds else "[bold red]✗[/]"
        console.print(f"  {mark} {fact}", highlight=False)
    return all(facts.values())


def _brokers_for(engines: int, files: int) -> int:
    """Return how few brokers hold so many engines, with this limit of open files."""
    return max(1, math.ceil(engines / max(1, files - _OTHER_FILES))) if files > 0 else 1


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is less than {least}")
        return number

    return parse


def _settings() -> tuple[Settings, Path | None]:
    parser = argparse.ArgumentParser(
        prog="capacity", description="How many engines does this machine hold?"
    )
    whole = _whole(1)
    parser.add_argument(
        "--engines", type=whole, default=100_000, metavar="N", help="how many [default: 100000]"
    )
    parser.add_argument(
        "--brokers",
        type=whole,
        metavar="N",
        help="processes to share them, on either side [default: as few as open files allow]",
    )
    parser.add_argument(
        "--interval", type=whole, default=60, metavar="S", help="between heartbeats [default: 60]"
    )
    parser.add_argument(
        "--minutes", type=float, default=3, metavar="M", help="how long to watch [default: 3]"
    )
    parser.add_argument(
        "--accept-rate",
        type=_whole(0),
        default=300,
        metavar="N",
        help="connections a second that each broker accepts; 0 for as they come [default: 300]",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there too")
    told = parser.parse_args()
    _, files = raise_open_files()
    brokers = min(told.brokers or _brokers_for(told.engines, files), told.engines)
    return (
        Settings(told.engines, brokers, told.interval, told.minutes, told.accept_rate),
        told.json,
    )


def main() -> int:
    """Run it; return the exit status."""
    settings, result = _settings()
    console = Console()
    console.print(
        f"{settings.engines} engines at {settings.brokers} brokers, T = {settings.interval} s",
        highlight=False,
    )
    with tempfile.TemporaryDirectory(prefix="brokerproto-capacity-") as name:
        show = Show(console)
        run = Capacity(settings, Path(name), show)
        try:
            with show.running():
                found = run.run()
        except (ProgramError, OSError) as error:
            console.print(f"[bold red]FAIL[/] {error}", highlight=False)
            return 1
        except KeyboardInterrupt:
            console.print("stopped; all programs have ended")
            return _INTERRUPTED
        finally:
            run.end()
    if result is not None:
        result.write_text(json.dumps(asdict(found), indent=2) + "\n")
    holds = report(console, found)
    verdict = "[bold green]PASS[/]" if holds else "[bold red]FAIL[/]"
    console.print(f"{verdict} {found.registered} engines", highlight=False)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
