"""Two connections and one id: who gets it, when, and what the other one is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.ownership import TAKEOVER_SECONDS, TAKEOVERS
from brokerproto.states import BrokerState
from brokerproto.terms import Limits
from tests.brokerproto.broker_bench import Bench, Caller
from tests.brokerproto.contention import (
    LIFE,
    OTHER,
    REFUSED,
    SUPERSEDED,
    account_of,
    epoch_in,
    hello,
    lives,
    token_in,
)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# A holder that is there


@pytest.mark.fault("C040")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("HeartBeat:a:1", ["ACK:1"]),
        ("HeartBeat:a:0", ["ACK:0"]),
        ("HeartBeat:a:5", ["ACK:5"]),
        ("Report:b0-9:done", []),
    ],
)
def test_newcomer_is_refused_when_the_holder_answers(
    bench: Bench, answer: str, said: list[str]
) -> None:
    holder = bench.registers("a")
    bench.passes(3.5)
    newcomer = bench.calls("newcomer")
    assert newcomer.says(hello()) == []
    assert newcomer.session.state is BrokerState.HELD
    assert holder.hears() == ["PING"]
    bench.hears()
    assert holder.says(answer) == said
    assert newcomer.hears() == [REFUSED.format(16)]
    assert newcomer.session.is_over
    assert bench.broker.fleet.get("a") is bench.broker.fleet.member_of(holder.session)
    assert ("refused", "a", 409) in bench.hears()
    stats = bench.stats
    assert (stats.probes, stats.takeovers, stats.rejected) == (1, {}, {409: 1})
    # What came of the probe is over: a heartbeat is no event any more.
    assert not holder.session.attentive
    bench.passes(5)
    assert holder.hears() == []


@pytest.mark.parametrize("said", ["What:1", "", "HeartBeat:a"])
def test_what_is_no_sign_of_life_is_no_answer(bench: Bench, said: str) -> None:
    holder, newcomer = bench.registers("a"), bench.calls("newcomer")
    newcomer.says(hello())
    holder.sends(said.encode() + (b"" if said == "HeartBeat:a" else b"\n"))
    bench.passes(2)
    assert epoch_in(newcomer.hears()) == 2


def test_a_holder_is_asked_again_at_each_tick_for_one_ping_may_go_unanswered(bench: Bench) -> None:
    """An engine answers no second PING within a quarter of a second."""
    holder = bench.registers("a")
    for _ in range(2):
        newcomer = bench.calls()
        assert newcomer.says(hello()) == []
        bench.clock.advance(0.125)
        assert holder.hears() == ["PING"]
        holder.says("HeartBeat:a:1")
        assert newcomer.codes() == [409]
    newcomer = bench.calls()
    newcomer.says(hello())
    bench.passes(1.5)
    assert holder.hears() == ["PING"] * 4
    assert newcomer.hears() == []
    holder.says("HeartBeat:a:2")
    assert newcomer.codes() == [409]


def test_an_answer_is_heard_though_a_command_is_written_meanwhile(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello())
    bench.orders("DOWORK", 5)
    holder.says("HeartBeat:a:1")
    assert newcomer.codes() == [409]


def test_an_answer_that_was_under_way_counts_only_if_read_after_the_ping(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    holder.says("HeartBeat:a:1")
    assert newcomer.says(hello()) == []
    bench.passes(1.5)
    assert newcomer.hears() == []
    holder.says("HeartBeat:a:2")
    assert newcomer.codes() == [409]


def test_nobody_else_is_asked(bench: Bench) -> None:
    others = [bench.registers(name) for name in ("b", "c")]
    bench.registers("a")
    newcomer = bench.calls()
    newcomer.says(hello())
    for other in others:
        other.says(f"HeartBeat:{other.session.engine_id}:1")
    bench.passes(2)
    assert epoch_in(newcomer.hears()) == 2
    assert [other.hears() for other in others] == [[], []]


# A holder that is silent


@pytest.mark.fault("C041")
def test_silent_holder_is_superseded_when_its_time_is_over(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls("newcomer")
    bench.hears()
    assert newcomer.says(hello()) == []
    bench.passes(1.5)
    assert newcomer.hears() == []
    bench.passes(0.5)
    assert epoch_in(newcomer.hears()) == 2
    assert holder.hears() == ["PING"] * 4 + [SUPERSEDED]
    assert holder.session.is_over
    assert bench.hears() == [
        ("lost", "a", "410"),
        ("taken over", "a", "silent"),
        ("registered", "a", 2),
    ]
    (end,) = bench.broker.fleet.ends
    assert (end.cause, end.epoch, end.origin.address) == ("410", 1, "peer")
    stats = bench.stats
    assert (stats.takeovers, stats.rejected) == ({"silent": 1}, {410: 1})
    assert (stats.registered, stats.causes) == (1, {"lost:410": 1})
    assert stats.registrations == stats.registered + stats.left + stats.lost


@given(
    interval=st.sampled_from([1, 2, 3, 4, 10, 30, 60, 300]),
    hundredths=st.integers(0, 99),
)
def test_holder_has_its_time_and_the_newcomer_waits_one_tick_longer_at_most(
    interval: int, hundredths: int
) -> None:
    bench = Bench(Limits(interval=interval, handshake=20))
    tick, patience = bench.broker.tick_length, min(2.0, interval / 2)
    bench.registers("a")
    bench.clock.advance(tick * hundredths / 100)
    asked = bench.clock.now
    newcomer = bench.calls()
    newcomer.says(hello())
    for at in range(1, 30):
        bench.clock.now = at * tick
        bench.broker.tick()
        if newcomer.session.is_open:
            break
    # A hundredth of a tick does not add up exactly.
    assert patience - 1e-9 <= bench.clock.now - asked <= patience + tick + 1e-9


@pytest.mark.fault("C041")
def test_stopped_broker_blames_nobody_for_what_it_has_not_read(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello())
    bench.passes(1)
    bench.clock.advance(3600)
    bench.broker.tick()
    assert newcomer.hears() == []
    holder.says("HeartBeat:a:1")
    assert newcomer.codes() == [409]


def test_stopped_broker_waits_for_whoever_is_silent_after_all(bench: Bench) -> None:
    bench.registers("a")
    newcomer = bench.calls()
    newcomer.says(hello())
    bench.clock.advance(3600)
    bench.broker.tick()
    assert newcomer.hears() == []
    bench.passes(1)
    assert epoch_in(newcomer.hears()) == 2


def test_time_before_the_hello_in_which_the_broker_stood_still_is_not_the_holders(
    bench: Bench,
) -> None:
    bench.registers("a")
    bench.clock.advance(3600)
    newcomer = bench.calls()
    newcomer.says(hello())
    bench.broker.tick()
    bench.passes(1.5)
    assert newcomer.hears() == []
    bench.passes(0.5)
    assert epoch_in(newcomer.hears()) == 2


def test_holder_that_is_not_read_for_a_while_keeps_its_id(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    holder.says(*["HeartBeat:a:0"] * 500)
    assert holder.session.is_throttled
    (refusal,) = newcomer.says(hello())
    assert refusal.startswith("FAILED:409:")
    assert bench.stats.probes == 0


@pytest.mark.parametrize(("work", "passed", "retry"), [(86_400_000, 0, 16), (1000, 5, 12)])
def test_who_wants_the_id_of_a_plain_engine_at_work_may_ask_before_the_day_is_over(
    work: int, passed: float, retry: int, bench: Bench
) -> None:
    holder = bench.calls()
    holder.says("NewEngine:a:0")
    bench.orders("DOWORK", work)
    holder.says("HeartBeat:a:1")
    bench.passes(passed)
    newcomer = bench.calls()
    assert newcomer.says(hello()) == [f"FAILED:409:DUPLICATE_ID:{retry}:this id is registered"]


# The one before


@pytest.mark.fault("C046")
def test_frames_of_a_superseded_connection_are_stale_and_change_nothing(bench: Bench) -> None:
    holder, token = lives(bench)
    again = bench.calls()
    again.says(hello(f"{LIFE};resume={token}", 2))
    again.says("HeartBeat:a:3")
    before = account_of(bench)
    command = bench.orders("DOWORK", 5)
    holder.hears()
    said = holder.says("HeartBeat:a:4", "Bye", "oops!", f"Report:{command.command}:done")
    assert said == []
    assert bench.stats.stale == 4
    assert account_of(bench) == before
    assert again.session.is_open
    assert not command.is_settled


@pytest.mark.fault("C046")
@pytest.mark.parametrize("reset", [False, True])
def test_late_close_of_a_superseded_connection_removes_nobody(bench: Bench, reset: bool) -> None:
    holder, token = lives(bench)
    again = bench.calls()
    again.says(hello(f"{LIFE};resume={token}"))
    bench.hears()
    holder.goes(reset=reset)
    assert bench.hears() == []
    assert again.says("HeartBeat:a:1") == ["ACK:1"]
    stats = bench.stats
    assert (stats.registered, stats.connections, stats.causes) == (1, 1, {"lost:410": 1})


# Going to and fro


def fight(bench: Bench, times: int) -> list[Caller]:
    """Have an engine come back so often with its token."""
    caller, token = lives(bench)
    callers = [caller]
    for _ in range(times):
        caller = bench.calls()
        token = token_in(caller.says(hello(f"{LIFE};resume={token}"))[0])
        callers.append(caller)
    return callers


@pytest.mark.fault("C044")
def test_id_that_goes_to_and_fro_stays_with_its_holder(bench: Bench) -> None:
    *_, holder = fight(bench, TAKEOVERS)
    bench.passes(1)
    newcomer = bench.calls()
    assert newcomer.says(hello()) == [
        "FAILED:429:TOO_MANY:60:this id was taken over too often",
    ]
    member = bench.broker.fleet.get("a")
    assert member is not None
    token = bench.broker._ownership.token(member)
    back = bench.calls()
    back.says(hello(f"{LIFE};resume={token}"))
    assert bench.stats.rejected[429] == 2
    # Nobody was asked: it makes no difference what the holder would say.
    assert holder.hears() == []
    assert bench.stats.takeovers == {"resumed": TAKEOVERS}
    assert bench.stats.probes == 0


def test_takeovers_are_forgotten_after_a_minute(bench: Bench) -> None:
    fight(bench, 1)
    bench.passes(30)
    for _ in range(TAKEOVERS - 1):
        bench.calls().says(hello())
        bench.passes(2)
    assert bench.calls().codes() == []
    assert bench.stats.takeovers == {"resumed": 1, "late": 1, "silent": TAKEOVERS - 2}
    bench.passes(TAKEOVER_SECONDS - 30 - 2 * (TAKEOVERS - 1) - 0.5)
    refused = bench.calls()
    refused.says(hello())
    assert bench.stats.rejected[429] == 1
    bench.passes(0.5)
    newcomer = bench.calls()
    assert newcomer.says(hello())[0].startswith("SUCCESS")


def test_id_that_is_free_is_given_whatever_was_before(bench: Bench) -> None:
    *_, holder = fight(bench, TAKEOVERS)
    holder.says("Bye")
    assert epoch_in(bench.calls().says(hello())) == TAKEOVERS + 2


def test_one_id_that_goes_to_and_fro_is_nobody_elses_trouble(bench: Bench) -> None:
    fight(bench, TAKEOVERS)
    bench.registers("b")
    newcomer = bench.calls()
    assert newcomer.says(hello(engine_id="b")) == []
    bench.passes(2)
    assert epoch_in(newcomer.hears()) == 2


@pytest.mark.fault("C044")
def test_what_is_kept_of_takeovers_is_bounded() -> None:
    bench = Bench()
    fight(bench, 0)
    for _ in range(100):
        bench.calls().says(hello())
        bench.passes(16)
    member = bench.broker.fleet.get("a")
    assert member is not None
    assert len(member.takeovers) == TAKEOVERS
    assert sum(bench.stats.takeovers.values()) == 100


@pytest.mark.fault("C047")
def test_ten_thousand_registrations_and_takeovers_of_a_thousand_ids_leave_nothing() -> None:
    bench = Bench()
    for turn in range(10):
        callers = []
        for number in range(1000):
            caller = bench.calls()
            caller.says(hello(f":v=1;instance={turn + 1:x}", engine_id=f"e{number}"))
            callers.append(caller)
        rivals = []
        for number in range(0, 1000, 5):
            rival = bench.calls()
            rival.says(hello(OTHER, engine_id=f"e{number}"))
            rivals.append(rival)
        if turn % 2:
            bench.passes(2)
        for caller in [*callers, *rivals]:
            caller.goes(reset=turn % 3 == 0)
    stats = bench.stats
    assert (stats.connections, stats.registered, stats.late) == (0, 0, 0)
    assert stats.opened == stats.closed == 12_000
    assert stats.probes == 2000
    # In the other turns the holder went first, and the newcomer after it.
    assert stats.takeovers == {"silent": 1000}
    assert stats.registrations == stats.lost == 12_000
    assert list(bench.broker._ownership.running()) == []
