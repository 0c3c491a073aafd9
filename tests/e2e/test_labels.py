"""What an engine is told to say of itself, from the command line to the control API."""

from __future__ import annotations

import pytest

from tests.e2e.peers import RawBroker, RawEngine
from tests.e2e.scene import BrokerProgram, Stage

pytestmark = pytest.mark.e2e

NODE = "aks-nodepool1-12345678-vmss000001"


def test_labels_are_said_in_every_hello(stage: Stage, raw_broker: RawBroker) -> None:
    stage.engines(raw_broker.address, "e1", "--label", f"node={NODE}", "--label=spot=")
    first = raw_broker.accept()
    hello = first.frame()
    assert hello.endswith(f";label-node={NODE};label-spot=")
    # A plain broker takes no notice.
    first.send("SUCCESS:Registered")
    first.finish()
    first.rest()
    again = raw_broker.accept()
    assert again.frame() == hello
    again.send("SUCCESS:Registered")
    again.finish()
    again.rest()


def test_labels_show_at_the_broker_and_go_with_the_next_hello(
    stage: Stage, broker: BrokerProgram
) -> None:
    by_option = stage.engines(broker.address, "by-option", f"--label=node={NODE}", "--count=2")
    by_variable = stage.program(
        "engine",
        environment={
            "BROKER_URI": broker.address,
            "ENGINE_ID": "by-variable",
            "ENGINE_LABELS": f"node={NODE},zone=2",
        },
    )
    without = RawEngine.at(broker.address, "without")
    broker.until(registered=4)
    assert {name: engine["labels"] for name, engine in broker.engines().items()} == {
        "by-option-1": {"node": NODE},
        "by-option-2": {"node": NODE},
        "by-variable": {"node": NODE, "zone": "2"},
        "without": {},
    }
    for program in (by_option, by_variable):
        assert program.end() == 0
    without.leave()
    RawEngine.at(broker.address, "by-variable").leave()
    labelled = RawEngine.to(broker.address)
    labelled.register("without", options="label-zone=3")
    assert broker.engines()["without"]["labels"] == {"zone": "3"}
    labelled.leave()


def test_labels_that_break_the_grammar_are_refused(broker: BrokerProgram) -> None:
    many = ";".join(f"label-l{n}=" for n in range(17))
    for options in ("label-=x", many):
        peer = RawEngine.to(broker.address)
        peer.send(f"NewEngine:e1:0:v=1;{options}")
        [answer] = peer.rest()
        assert answer.startswith("FAILED:400:BAD_FRAME:now:")
        peer.socket.close()
    assert broker.until(connections=0)["rejected"] == {"400": 2}
