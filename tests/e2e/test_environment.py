"""Programs set up by their environment, and not by what Kubernetes puts there."""

from __future__ import annotations

import pytest

from tests.e2e.peers import RawEngine
from tests.e2e.scene import BrokerProgram, Stage

pytestmark = pytest.mark.e2e

SERVICE_LINKS = {
    f"{service}_{name}": value
    for service in ("BROKER", "ENGINE", "BROKERS_INSTRUCT", "BROKERS")
    for name, value in {
        "PORT": "tcp://10.0.0.1:1337",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "1337",
        "SERVICE_PORT_ENGINES": "1337",
        "PORT_1337_TCP": "tcp://10.0.0.1:1337",
        "PORT_1337_TCP_PROTO": "tcp",
        "PORT_1337_TCP_PORT": "1337",
        "PORT_1337_TCP_ADDR": "10.0.0.1",
    }.items()
}


def test_variables_set_both_programs_up_and_service_links_disturb_nothing(
    stage: Stage, port: int
) -> None:
    program = stage.program(
        "broker",
        environment={
            **SERVICE_LINKS,
            "BROKER_LISTEN": "tcp://127.0.0.1:0, tcp://[::1]:0",
            "BROKER_INTERVAL": "2",
            "BROKER_TIMEOUT": "7",
            "BROKER_HANDSHAKE_TIMEOUT": "3",
            "BROKER_MAX_CONNECTIONS": "12",
            "BROKER_LOG_FORMAT": "text",
            "PORT": str(port),
        },
    )
    broker = BrokerProgram(program)
    assert broker.api.address == f"http://127.0.0.1:{port}"
    addresses = [event["address"] for event in program.events() if "address" in event][:2]
    assert addresses[1].startswith("tcp://[::1]:")
    stats = broker.stats()
    assert (stats["interval"], stats["timeout"]) == (2, 7)
    engine_port = addresses[0].rpartition(":")[2]
    stage.program(
        "engine",
        "--port",
        engine_port,
        environment={**SERVICE_LINKS, "BROKER_HOST": "127.0.0.1", "ENGINE_ID": "by-host"},
    )
    stage.program(
        "engine",
        environment={
            **SERVICE_LINKS,
            "BROKER_URI": addresses[1],
            "ENGINE_ID": "by-uri",
            "ENGINE_COUNT": "2",
            "ENGINE_INTERVAL": "30",
        },
    )
    broker.until(registered=3)
    engines = broker.engines()
    assert {name: engine["interval"] for name, engine in engines.items()} == {
        "by-host": 2,
        "by-uri-1": 30,
        "by-uri-2": 30,
    }
    assert engines["by-uri-1"]["address"].startswith("[::1]:")
    assert engines["by-uri-1"]["transport"] == addresses[1]
    assert engines["by-host"]["transport"] == addresses[0]


def test_command_line_wins_over_the_environment(stage: Stage) -> None:
    # None of these values would do: that they are not read is the point.
    program = stage.program(
        "broker",
        "--listen",
        "tcp://127.0.0.1:0",
        "--control",
        "http://127.0.0.1:0",
        "--interval",
        "1",
        environment={
            "BROKER_LISTEN": "nonsense",
            "BROKER_CONTROL": "nonsense",
            "BROKER_INTERVAL": "nonsense",
            "PORT": "nonsense",
        },
    )
    broker = BrokerProgram(program)
    RawEngine.at(broker.address, "here").leave()
    assert broker.until(registered=0)["left"] == 1
