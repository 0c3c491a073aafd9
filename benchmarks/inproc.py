"""What a heartbeat, an engine and a registration cost on ``inproc://``.

Both ends live in one process, so both are measured: the broker, and engines that are no
more than a Protocol which writes frames. Run as a program it prints its figures as JSON,
so that nothing else has made that process large.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from benchmarks.process_cost import ProcessCost
from benchmarks.results import Sample
from brokerproto.broker import Broker
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from transports import URI, transport_for

__all__ = ["measure_inproc"]

_URI = URI.parse("inproc://bench")
_FIRST = 123_456
_BEATS = 10


def measure_inproc(engines: int, number: int) -> Sample:
    """Measure once, in a process of its own.

    Args:
        engines: How many.
        number: Of the round.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.inproc", str(engines)],
        check=True,
        stdout=subprocess.PIPE,
    )
    figures = json.loads(done.stdout)
    expected = engines * _BEATS
    inexact = [
        f"{name}: {found} instead of {right}"
        for name, right in (("heartbeats", expected), ("missed", 0))
        if (found := figures.pop(name)) != right
    ]
    return Sample(
        "transports", "inproc", "all", engines, number, "aged", 0, figures, inexact=inexact
    )


class _Engine(Protocol):
    """Says hello, and remembers when it was answered."""

    def __init__(self, number: int, herd: _Herd) -> None:
        self.engine_id = b"engine-7d9f8b6c5-%05d" % number
        self.herd = herd

    def connectionMade(self) -> None:
        self.herd.write(self, b"NewEngine:%b:%d:v=1;instance=%032x\n", int(self.engine_id[-5:]))

    def dataReceived(self, data: bytes) -> None:
        self.herd.answered.append(time.perf_counter() - self.herd.began)


@define(eq=False)
class _Herd(Factory):
    """All engines, on the connections of one reactor."""

    reactor: Any
    count: int
    broker: Broker
    engines: list[_Engine] = field(init=False, factory=list)
    answered: list[float] = field(init=False, factory=list)
    began: float = field(init=False, default=0.0)
    beats: int = field(init=False, default=0)

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> _Engine:
        self.engines.append(_Engine(len(self.engines), self))
        return self.engines[-1]

    def write(self, engine: _Engine, frame: bytes, *more: int) -> None:
        assert engine.transport is not None
        engine.transport.write(frame % (engine.engine_id, _FIRST + self.beats, *more))

    async def register(self) -> None:
        """Connect all at once; done when the last one is answered."""
        endpoint = transport_for(_URI.scheme).client_endpoint(self.reactor, _URI)
        self.began = time.perf_counter()
        for _ in range(self.count):
            endpoint.connect(self)
        while len(self.answered) < self.count:
            await self._turn()

    async def beat(self) -> None:
        """Send a heartbeat of each; done when all are counted."""
        self.beats += 1
        for engine in self.engines:
            self.write(engine, b"HeartBeat:%b:%d\n")
        # All that was written in one turn arrives in the next ones.
        for _ in range(3):
            await self._turn()

    def _turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self.reactor.callLater(0, turn.callback, None)
        return turn


async def _main(reactor: Any, count: int) -> None:
    broker = Broker(reactor.seconds, "b0", Limits(accept_rate=0, frame_rate=1_000_000))
    endpoint = transport_for(_URI.scheme).server_endpoint(reactor, _URI)
    await endpoint.listen(BrokerFactory(broker, reactor, str(_URI)))
    herd = _Herd(reactor, count, broker)
    before = ProcessCost.now(os.getpid())
    await herd.register()
    registered = time.process_time()
    for _ in range(_BEATS):
        await herd.beat()
    cpu = time.process_time() - registered
    after = ProcessCost.now(os.getpid())
    stats = broker.stats()
    figures = {
        "us_per_heartbeat": cpu * 1e6 / (count * _BEATS),
        "resident_bytes_per_engine": (after.resident - before.resident) / count,
        "p99_ms": statistics.quantiles(herd.answered, n=100)[98] * 1000,
        "rate": count / max(herd.answered),
        "heartbeats": stats.heartbeats,
        "missed": stats.missed,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    from twisted.internet.task import react

    react(lambda reactor: Deferred.fromCoroutine(_main(reactor, int(sys.argv[1]))))
