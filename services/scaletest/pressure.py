"""``python -m services.scaletest.pressure C034``: one case of too much, at its full size.

The cases are those of the catalogue, "What was broken on purpose". The broker is a
process of its own, and tells what it cost; the engines are bare connections of this one.
What is printed are figures; the exit status is 1 only where something is wrong on a
machine of any speed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from attrs import define, field, frozen
from rich.console import Console

from services.program.open_files import raise_open_files
from services.scaletest.arrivals import Arrivals
from services.scaletest.programs import ControlAPI, Program, wait_until
from services.scaletest.samples import resident

_MIB = 1024 * 1024
_UNREAD_IN_ALL = 256 * _MIB
_LITTLE = 4096
_SIP_EACH = 7.0
_ENOUGH_CUT_OFF = 0.05


@define(eq=False)
class Watch:
    """Looks each second at what a broker costs, from a thread of its own.

    Attributes:
        lags: Its longest lag of the last 10 s, in milliseconds, at each look.
        sizes: Bytes of memory that its process holds.
        unread: Bytes that waited because engines do not read.
    """

    api: ControlAPI
    pid: int
    lags: list[float] = field(init=False, factory=list)
    sizes: list[int] = field(init=False, factory=list)
    unread: list[int] = field(init=False, factory=list)
    last: dict[str, Any] = field(init=False, factory=dict)
    _over: threading.Event = field(init=False, factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def look(self) -> dict[str, Any]:
        """Look once more; return what the broker counts."""
        self.last = self.api.ask("/stats")
        self.lags.append(self.last["process"]["lag"]["max_10s"])
        self.unread.append(self.last["unread"])
        self.sizes.append(resident(self.pid))
        return self.last

    def stop(self) -> None:
        """Look no longer."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            self.look()


@frozen
class Run:
    """A broker that one case is tried at.

    Args:
        broker: Its process.
        console: Where to tell of it.
        scale: What part of the full size is tried, 1 for all.
    """

    broker: Program
    console: Console
    scale: float
    api: ControlAPI
    address: tuple[str, int]
    watch: Watch

    def say(self, what: str, detail: str) -> None:
        """Tell of one thing."""
        self.console.print(f"  [bold]{what:<22}[/] {detail}", highlight=False)

    def count(self, full: int) -> int:
        """Return how many are tried, of so many at full size."""
        return max(1, round(full * self.scale))

    def arrivals(self, name: str, **more: Any) -> Arrivals:
        """Make engines whose ids begin so."""
        return Arrivals(self.address, name, **more)

    def cost(self) -> None:
        """Tell what it cost the broker."""
        sizes = [size / _MIB for size in self.watch.sizes] or [0.0]
        middle = sizes[len(sizes) // 2]
        self.say("memory, MiB", f"{sizes[0]:.1f}, {middle:.1f}, {sizes[-1]:.1f}; {max(sizes):.1f}")
        lag = self.watch.look()["process"]["lag"]
        worst = max(self.watch.lags)
        self.say("lag, ms", f"{lag['p99']} (99 % of the last minute), {worst} at most")


def _herd(run: Run) -> bool:
    """C032: 5,000 at once, then 1,500 a second that come and go for a minute."""
    count = run.count(5000)
    herd = run.arrivals("herd")
    seconds = herd.come(count, 1.0)
    run.say("5,000 in a second", f"{herd.registered} of {count} registered after {seconds:.2f} s")
    run.say("lag so far, ms", f"{run.watch.look()['process']['lag']['max_10s']} at most")
    herd.close()
    wait_until("the first to be gone", lambda: run.watch.look()["connections"] == 0, 60)
    run.watch.lags.clear()
    run.watch.sizes.clear()
    churn = run.arrivals("churn", held=False)
    tried = run.count(90_000)
    seconds = churn.come(tried, tried / 1500)
    run.say("churn", f"{churn.registered} in {seconds:.1f} s, {churn.registered / seconds:.0f}/s")
    run.cost()
    return herd.refused == churn.refused == 0


def _fleet(run: Run) -> bool:
    """C037: 10,000 register within 5 s, and stay."""
    count = run.count(10_000)
    fleet = run.arrivals("fleet")
    seconds = fleet.come(count, 5.0 * run.scale)
    stats = run.watch.look()
    run.say("registered", f"{fleet.registered} of {count} after {seconds:.2f} s")
    run.say("lost, refused", f"{stats['lost']}, {fleet.refused}")
    run.cost()
    fleet.close()
    return (stats["registered"], stats["lost"], fleet.refused) == (count, 0, 0)


def _beside_non_readers(run: Run) -> bool:
    """C034: an engine that reads, beside 500 that do not, and commands to all."""
    return _unread(run, run.count(500), sips=False)


def _all_budget(run: Run) -> bool:
    """C035: 2,000 that read next to nothing, until 256 MiB wait in all."""
    return _unread(run, run.count(2000), sips=True)


def _unread(run: Run, count: int, *, sips: bool) -> bool:
    deaf = run.arrivals("deaf", receive_buffer=_LITTLE)
    deaf.come(count, 1.0)
    reading = run.arrivals("reading")
    reading.come(1, 0.0)
    (sock,) = reading.sockets
    sock.settimeout(300)
    delays: list[float] = []
    sipped = began = time.monotonic()
    with ThreadPoolExecutor(1) as orders, sock.makefile("rb") as frames:
        while True:
            ordered = time.monotonic()
            order = orders.submit(run.api.ask, "/dowork", time=0)
            while (frame := frames.readline()) == b"PING\n":
                # It has not beaten since it came.
                sock.sendall(b"HeartBeat:reading-1:0\n")
            assert frame.startswith(b"DOWORK:0:"), frame
            delays.append((time.monotonic() - ordered) * 1000)
            order.result()
            cut_off = run.watch.last.get("causes", {}).get("lost:508", 0)
            if cut_off >= (count * _ENOUGH_CUT_OFF if sips else count):
                break
            if time.monotonic() - began > 900:
                raise TimeoutError(f"nobody was cut off; it stands at {run.watch.last}")
            # Whoever takes nothing for 10 s would be gone before so much waits.
            if sips and ordered - sipped >= _SIP_EACH:
                sipped = ordered
                sum(deaf.sip(_LITTLE))
    stats = run.watch.look()
    run.say("commands", f"{len(delays)} to all {count + 1}, in {time.monotonic() - began:.1f} s")
    p99 = quantiles(delays, n=100)[98] if len(delays) > 1 else delays[0]
    run.say("read after, ms", f"{median(delays):.1f} (median), {p99:.1f} (99 %), {max(delays):.1f}")
    most = max(run.watch.unread)
    run.say("waited at most, bytes", f"{most} of {_UNREAD_IN_ALL} in all")
    run.say("cut off by 508", f"{stats['causes'].get('lost:508', 0)} of {count}")
    run.cost()
    deaf.close()
    reading.close()
    causes = set(stats["causes"]) - {"lost:508"}
    return most <= _UNREAD_IN_ALL and not causes and stats["registered"] >= 1


_CASES: dict[str, Callable[[Run], bool]] = {
    "C032": _herd,
    "C034": _beside_non_readers,
    "C035": _all_budget,
    "C037": _fleet,
}


def _tried(case: str, scale: float, console: Console) -> bool:
    arguments = [
        *("--listen", "tcp://127.0.0.1:0", "--control", "http://127.0.0.1:0"),
        *("--frame-rate", "0", "--control-rate", "0", "--drain-timeout", "0"),
    ]
    with tempfile.TemporaryDirectory(prefix="brokerproto-pressure-") as folder:
        broker = Program("broker", arguments, Path(folder))
        try:
            address = str(broker.logged("address", "accepting engines on"))
            api = ControlAPI(broker.logged("address", "control API on"))
            host, _, port = address.removeprefix("tcp://").rpartition(":")
            watch = Watch(api, broker.process.pid)
            run = Run(broker, console, scale, api, (host, int(port)), watch)
            try:
                holds = _CASES[case](run)
            finally:
                watch.stop()
            return broker.end() == 0 and holds
        finally:
            if broker.process.poll() is None:
                broker.process.kill()


def main() -> int:
    """Read the command line, and run; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="pressure", description="One case of too much at a broker, measured."
    )
    parser.add_argument("case", choices=sorted(_CASES), help="its number in the catalogue")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="X", help="part of the full size, 1 for all"
    )
    told = parser.parse_args()
    raise_open_files()
    console = Console(soft_wrap=True)
    console.print(f"{_CASES[told.case].__doc__}  Scale {told.scale:g}.", highlight=False)
    holds = _tried(told.case, told.scale, console)
    console.print("[bold green]PASS[/]" if holds else "[bold red]FAIL[/]")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
