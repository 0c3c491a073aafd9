"""``python -m services.scaletest.soak``: a broker and 2,000 engines, and half an hour of trouble.

The broker is a process of its own; the engines are virtual ones of this process, so that
what each has sent is known exactly. A part of them are victims of `services.scaletest.mischief`.
At the end all is healed and everybody leaves, and what the broker says is held against
what was done. The exit status is 0 where every verdict holds, 1 where not, and 4 where
this process itself had too little of the machine to send heartbeats in time: then nobody
can tell whose fault a late one is.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen
from rich.console import Console
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import LoopingCall, react
from twisted.internet.threads import deferToThread

from brokerproto.commands import COMMANDS_KEPT
from brokerproto.fleet import ENDS_KEPT
from services.program.lag import LagMeter
from services.program.open_files import raise_open_files
from services.scaletest.mischief import Mischief
from services.scaletest.programs import ControlAPI, Program
from services.scaletest.samples import Sample, flatness, open_files, resident
from services.scaletest.virtual_fleet import Interruption, VirtualFleet
from transports import URI
from transports.fault import Amount, Faults

_STEP_SECONDS = 1.0
_LINES = 60
_MOST_GROWTH = 0.03
_PATIENCE = 120.0
_CIRCUMSTANCES = 15.0
_VISITORS = 100
_LONG = 1.0
_INVALID = 4
_SHIFTY = {
    "slice=1": Faults(slice=Amount.bytes(1)),
    "delay=20-80": Faults(delay=Amount.seconds(0.02, 0.08)),
    "limit=1000": Faults(limit=Amount.bytes(1000)),
}


@frozen
class Settings:
    """What is asked for.

    Attributes:
        minutes: How long trouble is made.
        engines: How many there are.
        interval: Whole seconds between their heartbeats.
        seed: What all draws are made from.
    """

    minutes: float
    engines: int
    interval: int
    seed: int


@frozen
class Verdict:
    """One thing that must hold, and what was found."""

    fact: str
    holds: bool
    found: str


@define(eq=False)
class Soak:
    """One run.

    Args:
        reactor: Its clock.
        settings: What is asked for.
        broker: The broker's process.
        console: Where to tell of it.
    """

    reactor: Any
    settings: Settings
    broker: Program
    console: Console
    api: ControlAPI = field(init=False)
    fleet: VirtualFleet = field(init=False)
    mischief: Mischief = field(init=False)
    samples: list[Sample] = field(init=False, factory=list)
    verdicts: list[Verdict] = field(init=False, factory=list)
    _began: float = field(init=False, factory=time.monotonic)
    _broken: list[str] = field(init=False, factory=list)
    _stories: list[str] = field(init=False, factory=list)
    _lag: LagMeter = field(init=False)
    _joined_at: float = field(init=False, default=0.0)
    _worst_lag: float = field(init=False, default=0.0)
    _files_before: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        random = Random(self.settings.seed)  # noqa: S311 - a run can be repeated
        self.api = ControlAPI(self.broker.logged("address", "control API on"))
        address = self.broker.logged("address", "accepting engines on")
        self.fleet = VirtualFleet(self.reactor, URI.parse(address), "soak", random)
        self.mischief = Mischief(
            self.reactor,
            self.fleet,
            range(1, self.settings.engines // 2 + 1),
            self.broker.process.pid,
            lambda path, **parameters: self._ask(path, **parameters).addErrback(lambda _: None),
            self.settings.interval,
            random,
        )
        self._files_before = open_files(self.broker.process.pid)
        self._lag = LagMeter(self.reactor, self._lagged)

    async def run(self) -> int:
        """Do it all; return the exit status."""
        is_long = self.settings.minutes >= _LONG
        if is_long:
            await self._fill_ends()
        await self._join()
        if is_long:
            await self._fill_commands()
        self._lag.start()
        await self._trouble()
        self._lag.stop()
        await self._heal()
        await self._part()
        for verdict in self.verdicts:
            mark = "[green]✓[/]" if verdict.holds else "[bold red]✗[/]"
            self.console.print(f"  {mark} {verdict.fact}: {verdict.found}", highlight=False)
        if self._worst_lag > self.settings.interval:
            self._tell("[bold yellow]INVALID[/]", "the engines' own process was held up for ")
            return _INVALID
        holds = all(verdict.holds for verdict in self.verdicts)
        outcome = "[bold green]PASS[/]" if holds else "[bold red]FAIL[/]"
        self._tell(outcome, "the engines' own process was never late by more than ")
        return 0 if holds else 1

    def _lagged(self, seconds: float) -> None:
        self._worst_lag = max(self._worst_lag, seconds)

    def _tell(self, outcome: str, what: str) -> None:
        self.console.print(f"{outcome} {what}{self._worst_lag:.2f} s", highlight=False)

    async def _join(self) -> None:
        count = self.settings.engines
        self._say("joining", f"{count} engines register at {self.fleet.broker}")
        shifty = list(_SHIFTY.values())
        for number in range(1, count + 1):
            # One in fifty of the innocent has a bad line, which is none of its fault.
            is_shifty = number > count // 2 and number % 50 == 0
            faults = shifty[number // 50 % len(shifty)] if is_shifty else None
            self.fleet.start(number, faults)
            if number % 100 == 0:
                await _later(self.reactor, 0.05)
        await self._until("all engines to register", registered=count)
        # A first attempt may fail on a busy machine, and is nobody's trouble.
        self.fleet.interruptions.clear()
        self._joined_at = self.reactor.seconds()
        self._say("joined", f"{count} engines, one in fifty of them by a bad line")

    async def _fill_ends(self) -> None:
        """Have as many ends remembered as can be: what they take is no growth later on."""
        # Before the engines come: a line that carries one byte in a turn would starve.
        for first in range(0, ENDS_KEPT, _VISITORS):
            visits = [
                self.mischief.register_and_vanish(f"visitor-{number}")
                for number in range(first, first + _VISITORS)
            ]
            await gatherResults(visits)
        self._say("filled", f"{ENDS_KEPT} ends are remembered")

    async def _fill_commands(self) -> None:
        """Have as many commands remembered as can be, likewise."""
        for _ in range(COMMANDS_KEPT):
            await self._ask("/dowork", time=0, share=10)
        self._say("filled", f"{COMMANDS_KEPT} commands are remembered")

    async def _trouble(self) -> None:
        seconds = self.settings.minutes * 60
        loop = LoopingCall(self.mischief.step, _STEP_SECONDS / 60)
        loop.clock = self.reactor
        ending = loop.start(_STEP_SECONDS, now=False)
        beginning = time.monotonic()
        while (passed := time.monotonic() - beginning) < seconds:
            await _later(self.reactor, min(seconds / _LINES, seconds - passed))
            await self._look()
        loop.stop()
        await ending
        done = ", ".join(f"{n} {name}" for name, n in sorted(self.mischief.done.items()))
        self._say("trouble", done)

    async def _look(self) -> None:
        stats = await self._ask("/stats")
        pid = self.broker.process.pid
        sample = Sample(
            time.monotonic() - self._began,
            resident(pid),
            open_files(pid),
            stats["connections"],
            stats["registered"],
        )
        self.samples.append(sample)
        self._check(stats)
        self._say(
            "",
            f"{sample.registered} registered, {stats['late']} late; {stats['heartbeats']}"
            f" heartbeats, {stats['missed']} missed; {stats['left']} left, {stats['lost']} lost;"
            f" {sample.resident / 2**20:.1f} MiB, {sample.open_files} open files",
        )

    def _check(self, stats: dict[str, Any]) -> None:
        """See that the counts of one moment agree with each other."""
        for left, right in (
            (stats["opened"], stats["closed"] + stats["connections"]),
            (stats["registrations"], stats["registered"] + stats["left"] + stats["lost"]),
        ):
            if left != right:
                self._broken.append(f"{left} is not {right} in {stats}")

    async def _heal(self) -> None:
        await self._until_true("the last trouble to be over", lambda: self.mischief.is_over)
        await self._until("everybody to be back", registered=self.settings.engines, late=0)
        await self._until_true(
            "the engines to know it", lambda: self.fleet.population == self.settings.engines
        )
        self._say("healed", f"{self.settings.engines} engines are registered, none is late")

    async def _part(self) -> None:
        await self.fleet.stop()
        stats = await self._until("the connections to close", connections=0)
        files = await self._files_after()
        status = await deferToThread(self.broker.end)
        self._judge_account(stats)
        self._judge_process(files, status)
        for found in (*self._broken[:5], *self._stories[:20]):
            self.console.print(found, markup=False)

    def _judge_account(self, stats: dict[str, Any]) -> None:
        fleet = self.fleet
        known = stats["heartbeats"] + stats["missed"]
        self._judge(
            "sent = counted + missed",
            0 <= fleet.sent - known <= fleet.untold,
            f"{fleet.sent} = {stats['heartbeats']} + {stats['missed']}; {fleet.sent - known} of at"
            f" most {fleet.untold} died with their senders",
        )
        self._judge(
            "the counts of each moment agree", not self._broken, f"{len(self._broken)} did not"
        )
        self._judge(
            "opened = closed",
            stats["opened"] == stats["closed"],
            f"{stats['opened']} = {stats['closed']}",
        )
        self._judge(
            "registrations = left + lost",
            stats["registrations"] == stats["left"] + stats["lost"],
            f"{stats['registrations']} = {stats['left']} + {stats['lost']}",
        )
        innocent = [
            each
            for each in fleet.interruptions
            if int(each.engine_id.rpartition("-")[2]) not in self.mischief.victims
        ]
        counts = Counter(each.reason for each in innocent)
        reasons = ", ".join(f"{n} x {reason}" for reason, n in counts.most_common(3))
        self._stories += map(self._circumstances, innocent)
        self._judge("the innocent noticed nothing", not innocent, reasons or "none interrupted")

    def _circumstances(self, interruption: Interruption) -> str:
        """Tell what went wrong in the seconds before an interruption."""
        at = interruption.at
        before = [
            f"{name} {at - then:.1f} s"
            for then, name in self.mischief.story
            if 0 <= at - then <= _CIRCUMSTANCES and name not in ("strangers", "leaves", "crashes")
        ]
        return (
            f"{at - self._joined_at:.1f} s after all had joined, {interruption.engine_id}:"
            f" {interruption.reason}; before"
            f" that: {', '.join(before) or 'nothing'}"
        )

    def _judge_process(self, files: int, status: int) -> None:
        before = self._files_before
        self._judge("descriptors", files == before, f"{before} before, {files} after")
        memory = flatness(self.samples)
        self._judge(
            "memory is flat",
            memory.grown <= _MOST_GROWTH,
            f"{100 * memory.grown:+.2f} % from the middle third to the last,"
            f" {memory.slope / 1024:+.1f} KiB a minute",
        )
        complaints = [
            event["message"]
            for event in self.broker.events()
            if event.get("level") in ("error", "critical") or "traceback" in event
        ]
        self._judge("the broker complained of nothing", not complaints, str(complaints[:3]))
        self._judge("the broker ended with status 0", status == 0, str(status))

    def _judge(self, fact: str, holds: bool, found: str) -> None:
        self.verdicts.append(Verdict(fact, holds, found))

    async def _files_after(self) -> int:
        """Count the broker's descriptors once its connections have had time to close."""
        pid = self.broker.process.pid
        for _ in range(100):
            if open_files(pid) <= self._files_before:
                break
            await _later(self.reactor, 0.1)
        return open_files(pid)

    def _ask(self, path: str, **parameters: str | int) -> Deferred[dict[str, Any]]:
        return deferToThread(self.api.ask, path, **parameters)

    async def _until(self, what: str, **wanted: int) -> dict[str, Any]:
        stats: dict[str, Any] = {}
        for look in range(int(_PATIENCE / 0.5)):
            stats = await self._ask("/stats")
            if all(stats[name] == value for name, value in wanted.items()):
                return stats
            await _later(self.reactor, 0.5)
            if look % 10 == 0:
                self._say("", f"waiting for {what}: {stats['registered']} are registered")
        raise TimeoutError(f"{what}: not within {_PATIENCE:g} s; it stands at {stats}")

    async def _until_true(self, what: str, happened: Any) -> None:
        for _ in range(int(_PATIENCE / 0.5)):
            if happened():
                return
            await _later(self.reactor, 0.5)
        raise TimeoutError(f"{what}: not within {_PATIENCE:g} s")

    def _say(self, what: str, detail: str) -> None:
        seconds = time.monotonic() - self._began
        self.console.print(
            f"[dim]{seconds:7.1f} s[/]  [bold]{what:<8}[/] {detail}", highlight=False
        )


def _later(reactor: Any, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


async def soak(reactor: Any, settings: Settings, console: Console) -> None:
    """Run it all; ends the process with its status.

    Raises:
        SystemExit: With 0, 1 or 4.
    """
    raise_open_files()
    with tempfile.TemporaryDirectory(prefix="brokerproto-soak-") as name:
        anywhere = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]
        interval = ["--interval", str(settings.interval)]
        console.print(
            f"a soak of a broker and {settings.engines} engines in {name}: T = {settings.interval}"
            f" s, {settings.minutes:g} minutes of trouble, seed {settings.seed}",
            highlight=False,
        )
        broker = Program("broker", [*anywhere, *interval], Path(name))
        try:
            status = await Soak(reactor, settings, broker, console).run()
        finally:
            if broker.process.poll() is None:
                broker.process.kill()
    raise SystemExit(status)


def main() -> None:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(
        prog="soak", description="A broker, many engines, and half an hour of trouble."
    )
    parser.add_argument("--minutes", type=float, default=30, metavar="M", help="how long")
    parser.add_argument("--engines", type=int, default=2000, metavar="N", help="how many")
    parser.add_argument("--interval", type=int, default=1, metavar="S", help="T, in seconds")
    parser.add_argument("--seed", type=int, default=1, help="what all draws are made from")
    told = parser.parse_args()
    settings = Settings(told.minutes, max(100, told.engines), told.interval, told.seed)
    console = Console(soft_wrap=True)
    react(lambda reactor: ensureDeferred(soak(reactor, settings, console)))


if __name__ == "__main__":
    main()
