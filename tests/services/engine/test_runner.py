"""One engine and its connections, one after the other, on a clock that tests move."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from brokerproto.errors import DialError
from services.engine.work import WorkFailed
from tests.services.engine.dialled import WELCOME, Rig

REFUSED = DialError("tcp://b:1", "connection refused")
NEVER = "FAILED:415:BAD_ID:never:no such id"


def test_engine_dials_and_says_its_hello() -> None:
    rig = Rig()
    rig.runner.start()
    assert rig.endpoint.attempts == [0.0]
    [hello] = rig.endpoint.succeed().take()
    assert hello.startswith("NewEngine:e1:0:v=1;instance=")


def test_failed_attempt_is_repeated_after_just_the_time_that_was_announced() -> None:
    rig = Rig()
    rig.runner.start()
    rig.endpoint.fail(REFUSED)
    reason, seconds = rig.lost()
    assert reason == "cannot connect to tcp://b:1: connection refused"
    assert 0 <= seconds <= 1
    rig.advance(seconds * 0.99)
    assert len(rig.endpoint.attempts) == 1
    rig.advance(seconds * 0.02)
    assert len(rig.endpoint.attempts) == 2


def test_waits_grow_to_half_a_minute_and_no_further() -> None:
    rig = Rig()
    rig.runner.start()
    bounds = [(0.0, 1.0), (0.5, 4.0), (0.5, 8.0), (0.5, 16.0), *[(0.5, 30.0)] * 20]
    waits = []
    for least, most in bounds:
        rig.endpoint.fail(REFUSED)
        seconds = rig.lost()[1]
        assert least <= seconds <= most
        waits.append(seconds)
        rig.advance(seconds)
    assert max(waits) > 16
    assert len(rig.endpoint.attempts) == len(bounds) + 1


def test_error_that_is_not_ours_is_named_by_its_class() -> None:
    rig = Rig()
    rig.runner.start()
    rig.endpoint.fail(OSError(24, "Too many open files"))
    assert rig.lost()[0] == "OSError: [Errno 24] Too many open files"


@pytest.mark.parametrize("reason", [None, ConnectionLost()])
def test_connection_that_goes_is_made_again_within_the_herds_time(
    reason: Exception | None,
) -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    rig.advance(5)
    transport.go(reason)
    said, seconds = rig.lost()
    assert said == "the connection was closed"
    assert 0 <= seconds <= 4
    rig.advance(seconds)
    assert len(rig.endpoint.attempts) == 2


def test_stable_session_makes_the_next_wait_a_short_one_again() -> None:
    rig = Rig()
    rig.runner.start()
    for _ in range(8):
        rig.endpoint.fail(REFUSED)
        rig.advance(rig.lost()[1])
    transport = rig.registered()
    for _ in range(3):
        rig.advance(9.9)
        transport.say("ACK:0")
    transport.go()
    unstable = rig.lost()[1]
    rig.advance(unstable)
    transport = rig.registered()
    for _ in range(3):
        rig.advance(10)
        transport.say("ACK:0")
    transport.go()
    stable = rig.lost()[1]
    assert rig.runner._own().policy.attempts == 1
    assert stable <= 4


def test_refusal_with_seconds_is_obeyed() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.endpoint.succeed()
    transport.say("FAILED:409:DUPLICATE_ID:7:this id is registered")
    assert transport.half_closed
    assert rig.journal.take() == []
    transport.go()
    reason, seconds = rig.lost()
    assert reason == "409 DUPLICATE_ID: this id is registered"
    assert 7 <= seconds <= 8
    rig.advance(seconds)
    assert len(rig.endpoint.attempts) == 2


def test_never_leaves_one_more_try_after_a_minute() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.endpoint.succeed()
    transport.say(NEVER)
    transport.go()
    assert rig.lost() == ("415 BAD_ID: no such id", 60.0)
    rig.advance(59.9)
    assert len(rig.endpoint.attempts) == 1
    rig.advance(0.2)
    transport = rig.endpoint.succeed()
    transport.say(NEVER)
    transport.go()
    assert rig.journal.take() == [("gave up", "415 BAD_ID: no such id")]
    rig.advance(10_000)
    assert len(rig.endpoint.attempts) == 2
    assert rig.clock.getDelayedCalls() == []


def test_registration_between_takes_the_first_never_back() -> None:
    rig = Rig()
    rig.runner.start()
    for _ in range(2):
        transport = rig.endpoint.succeed()
        transport.say(NEVER)
        transport.go()
        assert rig.lost()[1] == 60.0
        rig.advance(60)
        transport = rig.registered()
        transport.go()
        rig.advance(rig.lost()[1])


def test_broker_that_accepts_and_says_nothing_is_a_failed_attempt() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.endpoint.succeed()
    rig.advance(29.9)
    early = transport.half_closed
    rig.advance(0.2)
    assert (early, transport.half_closed) == (False, True)
    # Two seconds more, and the connection is cut whatever the broker does.
    rig.advance(1)
    rig.advance(1)
    assert rig.lost()[0] == "408 HANDSHAKE_TIMEOUT: no SUCCESS within 30 s"


def test_same_life_says_where_it_stands_at_the_next_broker() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    rig.advance(10)
    assert transport.take() == ["HeartBeat:e1:1"]
    transport.go()
    rig.advance(rig.lost()[1])
    transport = rig.endpoint.succeed()
    [hello] = transport.take()
    assert hello.startswith("NewEngine:e1:1:v=1;instance=")
    assert rig.runner.heartbeats_sent == 1


@pytest.mark.fault("C095")
def test_connection_is_given_up_when_it_stays_unacknowledged() -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("this system has no TCP_USER_TIMEOUT")
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    assert transport.handle.options == [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000)]


def test_work_is_started_reported_and_done() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.say("DOWORK:500:command=b-1", "DOWORK:0:command=b-2")
    assert rig.work.started == [500]
    assert transport.take() == ["Report:b-1:received", "Report:b-1:started", "Report:b-2:received"]
    first = rig.work.over
    assert first is not None
    rig.advance(0.5)
    first.callback(None)
    assert rig.work.started == [500, 0]
    assert transport.take() == ["Report:b-1:done:ms=500", "Report:b-2:started"]


@pytest.mark.parametrize("reason", ["child-died", "spawn-failed"])
def test_work_that_fails_is_reported_with_its_reason(reason: str) -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.say("DOWORK:500:command=b-1")
    transport.take()
    assert rig.work.over is not None
    rig.work.over.errback(WorkFailed(reason))
    assert transport.take() == [f"Report:b-1:failed:ms=0;error={reason}"]


def test_work_with_a_bug_is_logged_and_reported_as_internal(
    logged_failures: list[Failure],
) -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.say("DOWORK:500:command=b-1")
    transport.take()
    assert rig.work.over is not None
    rig.work.over.errback(ZeroDivisionError())
    assert transport.take() == ["Report:b-1:failed:ms=0;error=internal"]
    [failure] = logged_failures
    assert failure.check(ZeroDivisionError)
    logged_failures.clear()


def test_kill_stops_the_work_closes_and_only_then_ends_the_engine() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.say("DOWORK:500:command=b-1", "KILL:3:command=b-2")
    assert transport.take()[2:] == [
        "Report:b-1:failed:ms=0;error=killed",
        "Report:b-2:done",
        "Bye:reason=killed",
    ]
    assert (rig.work.stopped, transport.half_closed) == (1, True)
    # What was stopped has been reported, whatever comes of it now.
    assert rig.work.over is not None
    rig.work.over.errback(WorkFailed("stopped"))
    assert rig.journal.take() == []
    transport.go()
    assert rig.journal.take() == [("killed", 3, None)]
    assert transport.take() == []
    rig.advance(10_000)
    assert len(rig.endpoint.attempts) == 1
    assert rig.clock.getDelayedCalls() == []


def test_broker_that_does_not_close_cannot_keep_a_killed_engine() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.say("KILL:3:command=b-1")
    rig.advance(0.9)
    assert rig.journal.take() == []
    rig.advance(0.2)
    assert rig.journal.take() == [("killed", 3, None)]


def test_killed_engine_that_respawns_begins_a_new_life() -> None:
    rig = Rig(reborn_after=2.0)
    rig.runner.start()
    transport = rig.registered()
    instance = rig.runner.life.instance
    rig.advance(10)
    transport.say("ACK:1")
    rig.advance(11)
    sent = len([frame for frame in transport.take() if frame.startswith("HeartBeat:")])
    transport.say("KILL:3:command=b-1")
    transport.go()
    assert rig.journal.take() == [("killed", 3, 2.0)]
    assert rig.deaths == [1]
    rig.advance(1.9)
    assert len(rig.endpoint.attempts) == 1
    rig.advance(0.2)
    transport = rig.endpoint.succeed()
    [hello] = transport.take()
    assert hello.startswith("NewEngine:e1:0:v=1;instance=")
    assert instance not in hello
    assert rig.runner.heartbeats_sent == sent > 0
    transport.say(WELCOME)
    rig.advance(10)
    assert rig.runner.heartbeats_sent == sent + 1
    transport.say("KILL:0")
    transport.go()
    assert rig.deaths == [1, 2]


def test_engine_that_is_killed_while_it_stops_does_not_begin_again() -> None:
    rig = Rig(reborn_after=2.0)
    rig.runner.start()
    transport = rig.registered()
    life = rig.runner.life
    transport.say("KILL:3:command=b-1")
    gone: list[Any] = []
    rig.runner.stop().addCallback(gone.append)
    transport.go()
    assert gone == [None]
    rig.advance(60)
    assert (rig.journal.take(), rig.deaths, len(rig.endpoint.attempts)) == ([], [], 1)
    assert rig.runner.life is life
    assert rig.clock.getDelayedCalls() == []


def test_long_life_makes_up_for_earlier_deaths() -> None:
    rig = Rig(reborn_after=2.0)
    rig.runner.start()
    for lived in (10, 50, 60):
        transport = rig.registered()
        # What is said keeps an engine from giving its broker up.
        for _ in range(lived):
            rig.advance(1)
            transport.say("PING")
        transport.say("KILL:0")
        transport.go()
        rig.journal.take()
        rig.advance(2)
    assert rig.deaths == [1, 2, 1]


def test_stopped_engine_reports_its_work_as_failed_says_bye_and_stays_away() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.say("DOWORK:500:command=b-1")
    transport.take()
    gone: list[Any] = []
    stopped = rig.runner.stop()
    stopped.addCallback(gone.append)
    assert transport.take() == ["Report:b-1:failed:ms=0;error=stopped", "Bye:reason=stopped"]
    assert rig.work.stopped == 1
    transport.go()
    assert gone == [None]
    rig.advance(10_000)
    assert (rig.journal.take(), len(rig.endpoint.attempts)) == ([], 1)
    assert rig.clock.getDelayedCalls() == []


def test_engine_stopped_while_it_waits_for_the_next_try_does_not_try() -> None:
    rig = Rig()
    rig.runner.start()
    rig.endpoint.fail(REFUSED)
    rig.lost()
    gone: list[Any] = []
    rig.runner.stop().addCallback(gone.append)
    assert gone == [None]
    rig.advance(10_000)
    assert len(rig.endpoint.attempts) == 1


def test_engine_stopped_while_it_dials_gives_the_attempt_up() -> None:
    rig = Rig()
    rig.runner.start()
    gone: list[Any] = []
    rig.runner.stop().addCallback(gone.append)
    assert (rig.endpoint.cancelled, gone) == (1, [None])
    assert rig.journal.take() == []


def test_engine_stopped_before_it_is_welcome_says_nothing_more() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.endpoint.succeed()
    transport.take()
    gone: list[Any] = []
    rig.runner.stop().addCallback(gone.append)
    transport.go()
    assert (transport.take(), gone) == ([], [None])


def test_engine_whose_last_words_nobody_reads_is_cut_off() -> None:
    rig = Rig()
    rig.runner.start()
    transport = rig.registered()
    transport.is_stuck = True
    gone: list[Any] = []
    rig.runner.stop().addCallback(gone.append)
    rig.advance(1.5)
    assert (gone, transport.aborted) == ([], False)
    rig.advance(1)
    assert (gone, transport.aborted) == ([None], True)


def test_what_a_life_could_not_be_sure_of_is_still_counted_in_the_next() -> None:
    rig = Rig(reborn_after=2.0)
    rig.runner.start()
    transport = rig.registered()
    rig.advance(10)
    transport.say("ACK:1")
    rig.advance(11)
    sent = rig.runner.heartbeats_sent
    assert rig.runner.heartbeats_untold == sent - 1 > 0
    transport.say("KILL:0")
    transport.go()
    rig.advance(2)
    assert (rig.runner.life.seq, rig.runner.heartbeats_sent) == (0, sent)
    assert rig.runner.heartbeats_untold == sent - 1
