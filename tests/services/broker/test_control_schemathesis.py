"""A real broker and real engines, asked whatever the description of the API allows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import define
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater

from brokerproto.broker import Broker
from brokerproto.life import Wishes
from brokerproto.protocol import BrokerFactory
from brokerproto.terms import Limits
from services.broker.control import control_site
from services.engine.dialler import Dialler
from services.engine.runner import Crew, Runner
from tests.services.engine.dialled import RecordedJournal
from transports import URI, transport_for

ENGINES = 5
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@define
class Quick:
    """Work that is done at once, however long it should take."""

    reactor: Any

    def start(self, ms: int) -> Deferred[None]:
        return deferLater(self.reactor, 0, lambda: None)

    def stop(self) -> Deferred[None]:
        return deferLater(self.reactor, 0, lambda: None)


@asynccontextmanager
async def served(reactor: Any) -> AsyncIterator[tuple[Broker, int]]:
    """Serve a broker whose engines come back at once when they are killed."""
    broker = Broker(reactor.seconds, "b007", Limits(interval=1))
    ticks = LoopingCall(broker.tick)
    ticks.start(broker.tick_length, now=False)
    address = "tcp://127.0.0.1"
    ports = [
        reactor.listenTCP(0, factory, interface="127.0.0.1")
        for factory in (
            BrokerFactory(broker, reactor, address),
            # Whoever asks so much is refused most of it.
            control_site(broker, reactor, rate=0),
        )
    ]
    uri = URI.parse(f"{address}:{ports[0].getHost().port}")
    endpoint = transport_for("tcp").client_endpoint(reactor, uri)
    runners = [
        Runner(
            f"engine-{n}",
            Crew(
                Dialler(reactor, [endpoint]),
                lambda: Quick(reactor),
                Wishes(labels={"node": f"aks-{n % 2}"}),
                RecordedJournal(),
                lambda _deaths: 0.01,
                Random(n),
            ),
        )
        for n in range(ENGINES)
    ]
    for runner in runners:
        runner.start()
    try:
        while len(broker.fleet) < ENGINES:
            await deferLater(reactor, 0.01)
        yield broker, ports[1].getHost().port
    finally:
        await gatherResults([runner.stop() for runner in runners])
        while broker.connections:
            await deferLater(reactor, 0.01)
        ticks.stop()
        await gatherResults([port.stopListening() for port in ports])


@pytest.mark.e2e
@pytest.mark.timeout(600)
async def test_schemathesis_finds_nothing(reactor_name: str, tmp_path: Path) -> None:
    if reactor_name != "default":
        pytest.skip("it asks from another process, and that on the default reactor")
    from twisted.internet import reactor as installed

    reactor: Any = installed
    report = tmp_path / "report.txt"
    async with served(reactor) as (broker, port):
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION)]
        command += ["run", f"http://127.0.0.1:{port}/openapi.json"]
        with report.open("wb") as output:
            asking = subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path)
        try:
            while asking.poll() is None:
                await deferLater(reactor, 0.05)
        finally:
            asking.kill()
            asking.wait()
        counts = broker.stats()
    told = report.read_text()
    assert asking.returncode == 0, told
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in told, told
    # It has not only knocked: engines worked, and were killed, and came back.
    assert counts.reports > 100
    assert counts.causes["left:killed"] > ENGINES
