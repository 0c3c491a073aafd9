"""What a heartbeat, a registration and a command cost in a broker without sockets.

Each case runs in rounds that alternate with the other cases, beside ``floor``: the same
bytes split at their colons and counted in a dictionary, which no broker can do without.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from attrs import define, field

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.fleet import Origin
from brokerproto.testing import ManualClock, RecordingCarrier

ORIGIN = Origin("127.0.0.1:1", "tcp://127.0.0.1:1337")
ROUNDS = 5


@define(eq=False)
class Herd:
    """A broker in memory with engines whose frames are made beforehand.

    Args:
        engines: How many.
        options: What follows the number in each hello; empty for plain engines.
        first: The number that the hellos name: aged engines have large ones.
    """

    engines: int
    options: bytes = b""
    first: int = 0
    clock: ManualClock = field(factory=ManualClock)
    broker: Broker = field(init=False)
    sessions: list[BrokerSession] = field(init=False, factory=list)
    beats: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.broker = Broker(self.clock.seconds, "b0")

    def register(self) -> int:
        """Register all; return how many."""
        for number in range(self.engines):
            session = self.broker.open(RecordingCarrier(), ORIGIN)
            self.broker.receive_data(
                session, b"NewEngine:e%d:%d%b\n" % (number, self.first, self.options)
            )
            session.data_to_send()
            self.sessions.append(session)
        return self.engines

    def beat(self) -> Callable[[], int]:
        """Prepare one heartbeat of each; the call feeds them and returns how many."""
        self.beats += 1
        # Nobody beats twice in a tick.
        self.clock.advance(self.broker.tick_length)
        self.broker.tick()
        frames = [
            b"HeartBeat:e%d:%d\n" % (number, self.first + self.beats)
            for number in range(self.engines)
        ]

        def feed() -> int:
            receive = self.broker.receive_data
            for session, frame in zip(self.sessions, frames, strict=True):
                receive(session, frame)
                session.data_to_send()
            return len(frames)

        return feed

    def order(self) -> int:
        """Send work to all; return how many were written."""
        command = self.broker.order("DOWORK", 1, list(self.broker.fleet))
        for session in self.sessions:
            session.data_to_send()
        return len(command.entries)

    def check(self) -> None:
        """See that the account closes.

        Raises:
            AssertionError: It does not.
        """
        stats = self.broker.stats()
        expected = (self.engines, self.beats * self.engines, 0)
        found = (stats.registered, stats.heartbeats, stats.missed)
        if found != expected:
            raise AssertionError(f"expected {expected}, found {found}")


def floor(engines: int) -> Callable[[], int]:
    """Prepare the least that can be done with a heartbeat of each engine."""
    frames = [b"HeartBeat:e%d:%d\n" % (number, 7) for number in range(engines)]
    last = {b"e%d" % number: 6 for number in range(engines)}

    def feed() -> int:
        for frame in frames:
            _, engine, number = frame.split(b":")
            seq = int(number)
            if seq == last[engine] + 1:
                last[engine] = seq
        return len(frames)

    return feed


def timed(call: Callable[[], int]) -> float:
    """Return microseconds for each of the things that `call` says it has done."""
    began = time.perf_counter()
    done = call()
    return (time.perf_counter() - began) * 1e6 / done


def measure(engines: int, beats: int) -> dict[str, float]:
    """Return the median microseconds of each case."""
    samples: dict[str, list[float]] = {}

    def sample(case: str, call: Callable[[], int]) -> None:
        samples.setdefault(case, []).append(timed(call))

    for _ in range(ROUNDS):
        herds = {
            "heartbeat, plain": Herd(engines),
            "heartbeat, aged": Herd(engines, b":v=1;instance=ab", 123_456),
            "heartbeat, acked": Herd(engines, b":v=1;instance=ab;ack=1"),
        }
        for herd in herds.values():
            sample("registration", herd.register)
        for _ in range(beats):
            sample("floor", floor(engines))
            for case, herd in herds.items():
                sample(case, herd.beat())
        sample("command", herds["heartbeat, aged"].order)
        for herd in herds.values():
            herd.check()
    return {case: statistics.median(times) for case, times in samples.items()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what can be asked for."""
    parser.add_argument("--engines", type=int, default=5000, help="how many [default: 5000]")
    parser.add_argument("--beats", type=int, default=10, help="heartbeats of each [default: 10]")


def run(options: argparse.Namespace) -> int:
    """Measure, and print a table; return the exit status."""
    medians = measure(options.engines, options.beats)
    print(f"{options.engines} engines, medians of {ROUNDS} rounds")
    for case, median in medians.items():
        print(f"{case:<18}{median:8.2f} us{median / medians['floor']:8.1f} x floor")
    return 0


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_options(parser)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
