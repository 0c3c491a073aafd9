"""SIGTERM ends each program in order, with status 0, whatever is going on."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.peers import Peer, RawEngine
from tests.e2e.scene import BrokerProgram, Stage

pytestmark = pytest.mark.e2e


def test_broker_without_time_for_a_drain_tells_its_engines_that_it_stops(stage: Stage) -> None:
    broker = stage.broker("--drain-timeout", "0")
    engines = stage.engines(broker.address, "left-behind", "--count", "10")
    broker.until(registered=10)
    witness = RawEngine.at(broker.address, "witness")
    newcomer = Peer.to(broker.address)
    broker.until(connections=12)
    broker.program.process.terminate()
    for peer in (witness, newcomer):
        assert peer.rest() == ["FAILED:503:DRAINING:now:the broker stops"]
        peer.socket.close()
    assert broker.program.end() == 0
    *_, last = broker.program.events()
    assert last["message"].startswith("0 connections, 0 engines registered, ")
    assert (last["lost"], last["left"]) == (11, 0)
    wait_until(
        "the engines to miss it",
        lambda: any("503 DRAINING" in event["message"] for event in engines.events()),
        5,
    )
    assert engines.end() == 0


@pytest.mark.fault("C069")
def test_impatient_signals_change_nothing_about_the_status(stage: Stage) -> None:
    broker = stage.broker().program.process

    def signalled_until_gone() -> bool:
        broker.terminate()
        return broker.poll() is not None

    wait_until("the broker to end", signalled_until_gone)
    assert broker.returncode == 0


def test_broker_does_not_wait_for_the_deaf_and_the_patient(stage: Stage) -> None:
    """An engine that never closes, and a request that waits for ten minutes."""
    broker = stage.broker("--drain-timeout", "1")
    deaf = RawEngine.at(broker.address, "deaf")
    asking = threading.Thread(target=_ask_in_vain, args=(broker.api.address,))
    asking.start()
    assert deaf.frame().startswith("DOWORK:")
    assert broker.program.end() == 0
    asking.join(10)
    assert not asking.is_alive()


def _ask_in_vain(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with Peer.to(f"tcp://{host}:{port}") as client:
        client.write(b"GET /dowork?wait=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # No answer, or a part of one: what matters is that the waiting ends.
        with contextlib.suppress(ConnectionError, AssertionError):
            client.rest()


def test_engine_at_work_ends_at_once_and_reports_the_work_as_failed(
    stage: Stage, broker: BrokerProgram
) -> None:
    engine = stage.engines(broker.address, "interrupted")
    broker.until(registered=1)
    command = broker.api.ask("/dowork", time=60_000)["command"]

    def states() -> dict[str, int]:
        asked: dict[str, int] = broker.api.ask(f"/commands/{command}")["states"]
        return asked

    wait_until("the work to start", lambda: states()["started"] == 1)
    assert engine.end() == 0
    record = broker.api.ask(f"/commands/{command}")
    assert record["failed"] == [{"engine": "interrupted", "error": "stopped"}]
    assert broker.until(registered=0)["causes"] == {"left:stopped": 1}


@pytest.mark.parametrize("host", ["nosuch.invalid", "127.0.0.1"])
def test_engine_without_a_broker_goes_on_trying_and_ends_well(stage: Stage, host: str) -> None:
    with socket.socket() as deaf:
        # Bound, so that nobody else takes the port, and not listening.
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        engine = stage.program("engine", "--host", host, "--port", str(port))

        def attempts() -> list[str]:
            return [event["message"] for event in engine.events()]

        wait_until("the second attempt", lambda: len(attempts()) >= 2)
    unknown = "no such host, or its name cannot be looked up now"
    reason = "connection refused" if host == "127.0.0.1" else unknown
    said = f": cannot connect to tcp://{host}:{port}: {reason}; next try in "
    assert all(message.startswith("not registered as ") for message in attempts())
    assert all(said in message for message in attempts())
    engine.process.send_signal(signal.SIGINT)
    assert engine.process.wait(10) == 0
    assert attempts()[-1] == "sent 0 heartbeats in all"
