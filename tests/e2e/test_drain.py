"""A broker that is told to end sends its engines away one by one; a killed one just goes."""

from __future__ import annotations

import os
import signal
import urllib.error

import pytest

from services.scaletest.programs import wait_until
from tests.e2e.peers import Peer, RawEngine
from tests.e2e.scene import ANYWHERE, BrokerProgram, Stage
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e

STOPS = "FAILED:503:DRAINING:now:the broker stops"


def status_of(broker: BrokerProgram, path: str) -> int:
    try:
        broker.api.ask(path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def until_draining(broker: BrokerProgram) -> None:
    wait_until("the broker to drain", lambda: broker.stats()["draining"])


@pytest.mark.fault("C068")
def test_drain_with_commands_under_way_loses_nobody_and_ends_with_0(stage: Stage) -> None:
    broker = stage.broker("--accept-rate", "60")
    engines = stage.engines(broker.address, "drained", "--count", "200", "--interval", "60")
    broker.until(60, registered=200)
    witness, plain = RawEngine.at(broker.address, "witness"), Peer.to(broker.address)
    plain.send("NewEngine:plain:0")
    assert plain.frame() == "SUCCESS:Registered"
    quick = broker.api.ask("/dowork", time=0, engine="drained-1", wait=60)
    slow = broker.api.ask("/dowork", time=600_000, match="drained-*")
    newcomer = Peer.to(broker.address)
    broker.until(connections=203)
    broker.program.process.terminate()

    # Whoever has nothing to lose is told at once, the others when to leave.
    assert newcomer.rest() == [STOPS]
    verb, delay_ms, reason = witness.frame().split(":")
    assert (verb, reason) == ("GOAWAY", "reason=drain")
    assert 0 < int(delay_ms) < 5050
    until_draining(broker)
    with pytest.raises(ConnectionRefusedError):
        Peer.to(broker.address)
    assert (status_of(broker, "/readyz"), status_of(broker, "/healthz")) == (503, 200)
    assert status_of(broker, "/dowork") == 503
    assert broker.api.ask(f"/commands/{quick['command']}")["states"]["done"] == 1
    witness.beat()
    witness.send("Bye:reason=goaway")
    assert witness.rest() == []
    assert plain.rest() == [STOPS]

    assert broker.program.process.wait(300) == 0
    *_, told, last = broker.program.events()
    assert (last["registered"], last["left"], last["lost"]) == (0, 201, 1)
    assert last["connections"] == 0
    assert (told["command"], told["targets"], told["lost"]) == (slow["command"], 200, 200)
    assert engines.process.poll() is None


@pytest.mark.fault("C068")
def test_who_has_not_left_when_the_time_is_over_is_told_503(stage: Stage) -> None:
    broker = stage.broker("--drain-timeout", "1")
    deaf = RawEngine.at(broker.address, "deaf")
    assert broker.program.end() == 0
    assert deaf.frame() == "GOAWAY:500:reason=drain"
    assert deaf.rest() == [STOPS]
    *_, last = broker.program.events()
    assert (last["left"], last["lost"]) == (0, 1)


@pytest.mark.fault("C069")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_a_drain_at_once_with_status_0(
    stage: Stage, number: signal.Signals
) -> None:
    broker = stage.broker("--drain-timeout", "86400", "--accept-rate", "1")
    engines = [RawEngine.at(broker.address, f"patient-{n}") for n in range(3)]
    broker.program.process.send_signal(number)
    for engine in engines:
        assert engine.frame().startswith("GOAWAY:")
    until_draining(broker)
    wait_until("half a second", lambda: engines[0].is_silent(0.5), 1)
    broker.program.process.send_signal(number)
    assert broker.program.process.wait(300) == 0
    for engine in engines:
        assert engine.rest() == []


@pytest.mark.fault("C069")
def test_second_signal_in_the_background_leaves_no_pid_file(terminal: Terminal) -> None:
    assert terminal.run("twistd", "broker", *ANYWHERE, "--drain-timeout", "86400").status == 0
    address = terminal.logged("broker.log", "accepting engines on ")
    engine = RawEngine.at(address, "patient")
    os.kill(terminal.background("broker.pid"), signal.SIGTERM)
    assert engine.frame().startswith("GOAWAY:")
    terminal.logged("broker.log", "draining: 1 engine leaves over 5.0 s; a second signal ends")
    assert terminal.files() == ["broker.log", "broker.pid"]
    assert engine.is_silent(0.3)
    os.kill(terminal.background("broker.pid"), signal.SIGTERM)
    assert engine.rest() == []
    wait_until("the pid file to go", lambda: terminal.files() == ["broker.log"])


@pytest.mark.fault("C069")
def test_signal_in_the_middle_of_handshakes_ends_the_broker_at_once(stage: Stage) -> None:
    broker = stage.broker("--drain-timeout", "86400")
    silent, halfway, talkative = (Peer.to(broker.address) for _ in range(3))
    halfway.write(b"NewEngine:halfway:0:v=1;inst")
    broker.until(connections=3)
    broker.program.process.terminate()
    for peer in (silent, halfway, talkative):
        assert peer.rest() == [STOPS]
    halfway.write_to_the_deaf(b"ance=a1\n")
    assert broker.program.process.wait(300) == 0
    *_, last = broker.program.events()
    assert (last["registered"], last["left"], last["lost"]) == (0, 0, 0)


@pytest.mark.fault("C067")
def test_engines_of_a_killed_broker_all_come_back_to_the_next_one(stage: Stage, port: int) -> None:
    broker = stage.broker("--accept-rate", "100", port=port)
    engines = stage.engines(broker.address, "back", "--count", "300")
    before = broker.until(60, registered=300)
    command = broker.api.ask("/dowork", time=600_000)["command"]
    wait_until(
        "all to work",
        lambda: broker.api.ask(f"/commands/{command}")["states"]["started"] == 300,
        60,
    )
    broker.program.process.kill()
    broker.program.process.wait()
    again = stage.broker("--accept-rate", "100", port=port)
    # The herd is 3 s; the rest of the time is for those who tried while there was nobody.
    after = again.until(33 + 60, registered=300)
    assert after["registrations"] == 300
    assert after["rejected"] == {}
    assert after["lost"] == after["left"] == 0
    # They say again what they last said of their work, which nobody has ordered here.
    assert after["reports"] == after["strange_reports"] == 300
    assert before["boot"] != after["boot"]
    assert engines.end() == 0
    last = again.until(registered=0, connections=0)
    assert last["causes"] == {"left:stopped": 300}
    sent = engines.logged("heartbeats", "sent ")
    joined = sum(
        end["account"]["counted"] + end["account"]["missed"]
        for page in (again.api.ask("/history", limit=1000),)
        for end in page["history"]
    )
    assert joined == last["heartbeats"] + last["missed"] <= sent
