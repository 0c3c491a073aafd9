"""A broker and its engines over connections that are bad on purpose."""

from __future__ import annotations

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.scene import BrokerProgram, Stage

pytestmark = pytest.mark.e2e

CONTROL = ("--control", "http://127.0.0.1:0")


@pytest.mark.fault("C003")
def test_engines_are_served_byte_by_byte_and_late(stage: Stage) -> None:
    listen = ("--listen", "fault+tcp://127.0.0.1:0?slice=1")
    broker = BrokerProgram(stage.program("broker", *listen, *CONTROL, "--interval", "1"))
    assert broker.address.startswith("fault+tcp://127.0.0.1:")
    assert broker.address.endswith("?slice=1")
    slow = f"{broker.address}&delay=20&jitter=20&seed=7"
    plain = broker.address.removeprefix("fault+").partition("?")[0]
    engines = [stage.engines(slow, "slow"), stage.engines(plain, "plain")]
    broker.until(60, registered=2)
    assert {each["transport"] for each in broker.engines().values()} == {broker.address}
    assert broker.api.ask("/dowork", time=20, wait=60)["states"]["done"] == 2
    assert broker.api.ask("/kill", code=3, wait=60)["states"]["done"] == 2
    assert [engine.process.wait(60) for engine in engines] == [3, 3]


def test_engine_comes_back_whenever_its_connection_is_reset(stage: Stage) -> None:
    broker = stage.broker()
    engine = stage.engines(f"fault+{broker.address}?reset-after=300ms", "unlucky")
    wait_until("three resets", lambda: broker.stats()["causes"].get("lost:reset", 0) >= 3, 120)
    assert engine.process.poll() is None


def test_half_open_connection_is_noticed_by_the_broker_alone(stage: Stage) -> None:
    broker = stage.broker("--timeout", "4")
    engine = stage.engines(f"fault+{broker.address}?half-open-after=200b&direction=out", "cut-off")
    wait_until("a timeout", lambda: broker.stats()["causes"].get("lost:timeout", 0) >= 1, 120)
    assert engine.process.poll() is None


def test_engine_that_is_refused_says_why_and_tries_again(stage: Stage) -> None:
    broker = stage.broker()
    address = f"fault+{broker.address}?refuse=0.5&seed=7"
    engine = stage.engines(address, "refused")
    reason = engine.logged("reason", "not registered as")
    assert reason == f"cannot connect to {address}: refused on purpose"
    broker.until(60, registered=1)
