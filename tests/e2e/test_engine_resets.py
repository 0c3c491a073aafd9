"""Connections to a broker that break, in every state of an engine: it comes back as it was."""

from __future__ import annotations

import pytest

from tests.e2e.peers import RawBroker
from tests.e2e.scene import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.fault("C100")]

GRANTED = "SUCCESS:Registered:v=1;epoch=1;interval=60;timeout=240;ack=1;herd=1;boot=b0"


def test_engine_comes_back_whatever_state_it_was_reset_in(
    stage: Stage, raw_broker: RawBroker
) -> None:
    """Many in one process, each reset in another state."""
    resets = {
        "before the hello": b"",
        "in the midst of SUCCESS": GRANTED[:20].encode(),
        "registered": f"{GRANTED}\n".encode(),
        "after a PING": f"{GRANTED}\nPING\n".encode(),
        "in the midst of an order": f"{GRANTED}\nDOWORK:10".encode(),
        "sent away": f"{GRANTED}\nGOAWAY:600000\n".encode(),
    }
    engines = stage.engines(raw_broker.address, "torn", "--count", str(len(resets)))
    instances: dict[str, str] = {}
    beaten = ""
    for state, sent in resets.items():
        peer = raw_broker.accept()
        hello = peer.frame() if sent else ""
        peer.write(sent)
        if hello:
            engine_id, instance = who_says(hello)
            instances[engine_id] = instance
        if state == "after a PING":
            assert peer.frame() == f"HeartBeat:{engine_id}:1"
            beaten = engine_id
        peer.reset()
    for _ in resets:
        peer = raw_broker.accept()
        hello = peer.frame()
        engine_id, instance = who_says(hello)
        assert instances.get(engine_id, instance) == instance
        assert hello.split(":")[2] == ("1" if engine_id == beaten else "0")
        peer.send(GRANTED, "PING")
        number = 2 if engine_id == beaten else 1
        assert peer.frame() == f"HeartBeat:{engine_id}:{number}"
    engines.process.terminate()
    assert engines.process.wait(300) == 0


def who_says(hello: str) -> tuple[str, str]:
    """Give the id and the instance of a hello."""
    _, engine_id, _, options = hello.split(":")
    return engine_id, options.partition("instance=")[2].partition(";")[0]
