"""``python -m services.scaletest.demo``: watch a broker and 500 engines for a minute.

Two processes of this machine: a broker, and 500 virtual engines that beat once a second.
They join, work, lose one in ten, get it back, and leave; at the end the heartbeats that
the broker counted are held against those that the engines sent. The exit status is 0
where the account closes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from attrs import define
from rich.console import Console
from rich.table import Table

from services.scaletest.programs import ControlAPI, Program, ProgramError, wait_until
from services.scaletest.show import Show

_ENGINES = 500
_WORK_MS = 2000
_KILL_CODE = 3
_INTERRUPTED = 130


@define(eq=False)
class Demo:
    """The steps of the demonstration, in order."""

    broker: Program
    engines: Program
    api: ControlAPI
    show: Show
    count: int

    def stats(self) -> dict[str, Any]:
        """Ask the broker how the fleet stands, and show it."""
        stats = self.api.ask("/stats")
        self.show.now(
            f"{stats['registered']} engines registered, {stats['late']} late, "
            f"{stats['heartbeats']} heartbeats, {stats['missed']} missed"
        )
        return stats

    def until(self, what: str, key: str, least: int, seconds: float = 30) -> dict[str, Any]:
        """Watch until one of the counts has come so far."""

        def reached() -> dict[str, Any] | None:
            stats = self.stats()
            return stats if stats[key] >= least else None

        found: dict[str, Any] = wait_until(what, reached, seconds)
        return found

    def join(self) -> None:
        """All engines register."""
        began = time.monotonic()
        self.until("all engines to register", "registered", self.count)
        seconds = time.monotonic() - began
        self.show.done("joined", f"{self.count} engines registered in {seconds:.1f} s")

    def beat(self, intervals: int) -> None:
        """Heartbeats come for some intervals of a second."""
        before = self.stats()["heartbeats"]
        after = self.until("heartbeats", "heartbeats", before + intervals * self.count)
        counted = after["heartbeats"] - before
        self.show.done("beating", f"{counted} heartbeats counted, {after['missed']} missed")

    def work(self) -> None:
        """Everybody works."""
        answer = self.api.ask("/dowork", time=_WORK_MS, wait=20)
        done = answer["states"]["done"]
        if done != self.count:
            raise ProgramError(f"work: only {done} engines have done it")
        self.show.done(
            "worked",
            f"/dowork?time={_WORK_MS}: {done} of {answer['targets']} done, "
            f"the last after {answer['latencies']['done']['max'] / 1000:.2f} s",
        )

    def kill(self) -> None:
        """One in ten is killed, and comes back."""
        match = f"{self.engines.arguments[self.engines.arguments.index('--id') + 1]}-*0"
        answer = self.api.ask("/kill", code=_KILL_CODE, match=match, wait=20)
        killed = answer["targets"]
        self.show.done("killed", f"/kill?code={_KILL_CODE}&match={match}: {killed} engines gone")
        self.until("the killed to come back", "registrations", self.count + killed, 40)
        self.until("all engines to register", "registered", self.count)
        self.show.done("came back", f"{self.count} engines registered again, {killed} of them new")

    def account(self) -> bool:
        """Stop the engines, and hold what they sent against what was counted."""
        status = self.engines.end()
        sent = self.engines.logged("heartbeats", "sent ")
        stats = self.until("the connections to close", "closed", self.stats()["opened"])
        table = Table(title="The account", title_justify="left", show_header=False, box=None)
        table.add_column(justify="right")
        table.add_column()
        for number, meaning in (
            (sent, "heartbeats sent by the engines"),
            (stats["heartbeats"], "counted by the broker"),
            (stats["missed"], "missed"),
            (stats["repeated"], "repeated"),
            (stats["registrations"], f"registrations of {self.count} engines"),
            (stats["left"], "left, with a Bye"),
            (stats["lost"], "lost"),
        ):
            table.add_row(str(number), meaning)
        self.show.console.print(table)
        facts = {
            "sent = counted + missed": sent == stats["heartbeats"] + stats["missed"],
            "no heartbeat missed": stats["missed"] == 0,
            "registrations = left + lost": stats["registrations"] == stats["left"] + stats["lost"],
            "nobody lost": stats["lost"] == 0,
            "opened = closed": stats["opened"] == stats["closed"],
            "the engines ended with status 0": status == 0,
            "the broker ended with status 0": self.broker.end() == 0,
        }
        for fact, holds in facts.items():
            mark = "[green]✓[/]" if holds else "[bold red]✗[/]"
            self.show.console.print(f"  {mark} {fact}", highlight=False)
        return all(facts.values())


def main() -> int:
    """Run the demonstration; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="demo", description="Watch a broker and many engines for a minute."
    )
    parser.add_argument("--engines", type=int, default=_ENGINES, metavar="N", help="how many")
    count = max(10, parser.parse_args().engines)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="brokerproto-demo-") as name:
        folder = Path(name)
        try:
            holds = _demonstrate(console, folder, count)
        except (ProgramError, OSError) as error:
            console.print(f"[bold red]FAIL[/] {error}", highlight=False)
            for log in sorted(folder.glob("*.jsonl")):
                tail = log.read_text(errors="replace").splitlines()[-10:]
                console.print(f"the last lines of {log.name}:", *tail, sep="\n", markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("stopped; both programs have ended")
            return _INTERRUPTED
    verdict = "[bold green]PASS[/] the account closes" if holds else "[bold red]FAIL[/]"
    console.print(verdict, highlight=False)
    return 0 if holds else 1


def _demonstrate(console: Console, folder: Path, count: int) -> bool:
    started: list[Program] = []
    try:
        anywhere = ["--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"]
        broker = Program("broker", [*anywhere, "--interval", "1"], folder)
        started.append(broker)
        address = broker.logged("address", "accepting engines on")
        api = ControlAPI(broker.logged("address", "control API on"))
        console.print(f"broker on {address}, control API on {api.address}", highlight=False)
        engines = Program(
            "engine", ["--broker", address, "--id", "demo", "--count", str(count)], folder
        )
        started.append(engines)
        show = Show(console)
        demo = Demo(broker, engines, api, show, count)
        with show.running():
            demo.join()
            demo.beat(5)
            demo.work()
            demo.kill()
            demo.beat(3)
        return demo.account()
    finally:
        for program in reversed(started):
            program.end()


if __name__ == "__main__":
    sys.exit(main())
