"""An engine that its broker sends away: it stays until its slot, and comes back by itself."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from brokerproto.wheel import SLOT
from tests.services.engine.dialled import WELCOME, Rig, Transport
from tests.uniformity import is_uniform


def welcomed(rig: Rig) -> Transport:
    """Let the attempt that waits succeed; the engine has been registered for 3 T after."""
    transport = rig.registered()
    for _ in range(3):
        rig.advance(10)
        transport.say("PING")
    transport.take()
    return transport


@pytest.mark.fault("C068")
def test_engine_stays_until_its_slot_then_says_bye_and_comes_back_within_the_herd() -> None:
    rig = Rig()
    rig.runner.start()
    transport = welcomed(rig)
    transport.say("GOAWAY:7500:reason=drain")
    rig.advance(7.4)
    transport.say("PING")
    assert {frame.partition(":")[0] for frame in transport.take()} == {"HeartBeat"}
    early = transport.half_closed
    rig.advance(0.2)
    assert transport.take() == ["Bye:reason=goaway"]
    assert (early, transport.half_closed) == (False, True)
    assert rig.journal.take() == []
    transport.go()
    reason, seconds = rig.lost()
    assert reason == "the broker drains"
    assert 0 <= seconds <= 4
    rig.advance(seconds * 0.99)
    assert len(rig.endpoint.attempts) == 1
    rig.advance(seconds * 0.02)
    assert len(rig.endpoint.attempts) == 2


def test_broker_that_does_not_close_keeps_nobody() -> None:
    rig = Rig()
    rig.runner.start()
    transport = welcomed(rig)
    transport.say("GOAWAY:0:reason=drain")
    rig.advance(SLOT)
    assert transport.take()[-1] == "Bye:reason=goaway"
    rig.advance(1)
    assert rig.lost()[0] == "the broker drains"


def test_short_session_that_a_drain_ends_does_not_make_the_next_wait_a_short_one() -> None:
    rig = Rig()
    rig.runner.start()
    for _ in range(4):
        transport = rig.registered()
        transport.say("GOAWAY:100:reason=drain")
        rig.advance(0.2)
        transport.go()
        rig.advance(rig.lost()[1])
    assert rig.runner._own().policy.attempts == 4


def test_work_goes_on_and_is_reported_to_whoever_comes_next() -> None:
    rig = Rig()
    rig.runner.start()
    transport = welcomed(rig)
    transport.say("DOWORK:60000:command=b-1", "DOWORK:5:command=b-2")
    transport.take()
    transport.say("GOAWAY:2000:reason=drain")
    rig.advance(2)
    assert transport.take()[-1] == "Bye:reason=goaway"
    transport.go()
    assert rig.work.stopped == 0
    rig.advance(rig.lost()[1])
    transport = rig.endpoint.succeed()
    [hello] = transport.take()
    transport.say(WELCOME)
    assert transport.take() == ["Report:b-1:started", "Report:b-2:received"]
    assert rig.work.over is not None
    rig.work.over.callback(None)
    done, started = transport.take()
    assert done.startswith("Report:b-1:done:ms=")
    assert started == "Report:b-2:started"
    assert f"instance={rig.runner.life.instance}" in hello


def test_kill_before_the_slot_is_a_kill() -> None:
    rig = Rig()
    rig.runner.start()
    transport = welcomed(rig)
    transport.say("GOAWAY:2000:reason=drain", "KILL:3:command=b-1")
    assert transport.take() == ["Report:b-1:done", "Bye:reason=killed"]
    transport.go()
    rig.advance(60)
    assert (rig.journal.take(), len(rig.endpoint.attempts)) == ([("killed", 3, None)], 1)


def test_engine_told_to_end_does_not_wait_for_its_slot() -> None:
    rig = Rig()
    rig.runner.start()
    transport = welcomed(rig)
    transport.say("GOAWAY:20000:reason=drain")
    gone: list[Any] = []
    rig.runner.stop().addCallback(gone.append)
    assert transport.take() == ["Bye:reason=stopped"]
    transport.go()
    assert gone == [None]
    assert rig.clock.getDelayedCalls() == []


def test_each_virtual_engine_draws_a_wait_of_its_own() -> None:
    """All engines of a process share one source of randomness, and none its draw."""
    shared = Random(5)
    waits = []
    for _ in range(300):
        rig = Rig(random=shared)
        rig.runner.start()
        transport = welcomed(rig)
        transport.say("GOAWAY:1000:reason=drain")
        rig.advance(1)
        transport.go()
        waits.append(rig.lost()[1])
    assert is_uniform(waits, 0, 4)
    assert len(set(waits)) == len(waits)
