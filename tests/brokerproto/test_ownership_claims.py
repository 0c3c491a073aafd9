"""Who gets an id without waiting, and what may happen while somebody waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.broker import Broker
from brokerproto.errors import DrainingError
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


# Who need not wait


@pytest.mark.fault("C041")
def test_engine_gets_its_id_back_at_once_with_its_token(bench: Bench) -> None:
    holder, token = lives(bench)
    holder.says("HeartBeat:a:1")
    bench.hears()
    again = bench.calls("new")
    (success,) = again.says(hello(f"{LIFE};resume={token}", 3))
    assert epoch_in([success]) == 2
    assert token_in(success) != token
    assert holder.hears() == [SUPERSEDED]
    assert bench.hears() == [
        ("lost", "a", "410"),
        ("taken over", "a", "resumed"),
        ("registered", "a", 2),
        ("missed", "a", 2),
    ]
    assert again.says("HeartBeat:a:4") == ["ACK:4"]
    assert account_of(bench) == (2, 2, 0, 2)
    assert (bench.stats.takeovers, bench.stats.probes) == ({"resumed": 1}, 0)


@pytest.mark.parametrize(
    "options",
    [
        f"{LIFE};resume={'0' * 32}",
        f"{LIFE};resume=0",
        f"{OTHER};resume={{token}}",
        ":v=1;resume={token}",
        LIFE,
    ],
)
def test_token_that_does_not_fit_counts_as_none(bench: Bench, options: str) -> None:
    holder, token = lives(bench)
    newcomer = bench.calls()
    assert newcomer.says(hello(options.format(token=token))) == []
    assert holder.hears() == ["PING"]


def test_token_fits_one_registration_of_one_id_at_one_broker(bench: Bench) -> None:
    _, first = lives(bench)
    again = bench.calls()
    second = token_in(again.says(hello(f"{LIFE};resume={first}"))[0])
    assert bench.calls().says(hello(f"{LIFE};resume={first}")) == []
    other = bench.calls()
    other.says(hello(LIFE, engine_id="b"))
    assert bench.calls().says(hello(f"{LIFE};resume={second}", engine_id="b")) == []
    restarted = Bench()
    restarted.broker = Broker(restarted.clock.seconds, "b1", resume_key=b"another")
    lives(restarted)
    assert restarted.calls().says(hello(f"{LIFE};resume={first}")) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "a-1", "1"]),
            st.sampled_from(["1", "a1", "11"]),
            st.integers(1, 3),
            st.sampled_from([b"x", b"y" * 64]),
        ),
        unique=True,
    )
)
def test_no_two_registrations_have_the_same_token(
    registrations: list[tuple[str, str, int, bytes]],
) -> None:
    tokens = set()
    for engine_id, instance, epoch, key in registrations:
        bench = Bench()
        bench.broker = Broker(bench.clock.seconds, "b0", resume_key=key)
        for _ in range(epoch):
            caller = bench.calls()
            (success,) = caller.says(hello(f":v=1;instance={instance}", engine_id=engine_id))
            caller.goes()
        tokens.add(token_in(success))
    assert len(tokens) == len(registrations)
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)


def test_broker_draws_a_key_of_its_own() -> None:
    keys = {Broker(lambda: 0.0, "b0").resume_key for _ in range(3)}
    assert len(keys) == 3
    assert "resume_key" not in repr(Broker(lambda: 0.0, "b0"))


@pytest.mark.parametrize("options", ["", ":v=1", ":v=1;label-a=b"])
def test_nobody_without_an_instance_gets_a_token(bench: Bench, options: str) -> None:
    (success,) = bench.calls().says(hello(options))
    assert "resume" not in success


@pytest.mark.parametrize("options", [LIFE, OTHER, ""])
def test_late_holder_gives_way_at_once(bench: Bench, options: str) -> None:
    holder, _ = lives(bench)
    bench.passes(16)
    assert holder.hears() == ["PING"]
    newcomer = bench.calls()
    (success,) = newcomer.says(hello(options))
    assert success.startswith("SUCCESS:Registered")
    assert holder.hears() == [SUPERSEDED]
    assert (bench.stats.takeovers, bench.stats.late) == ({"late": 1}, 0)
    assert bench.stats.probes == 0


def test_holder_on_its_way_out_holds_nothing(bench: Bench) -> None:
    holder, _ = lives(bench)
    bench.broker.end(holder.session, DrainingError("one only"))
    assert holder.session.state is BrokerState.CLOSING
    newcomer = bench.calls()
    assert epoch_in(newcomer.says(hello())) == 2
    assert bench.stats.takeovers == {}
    holder.goes()
    assert bench.stats.registered == 1


def test_plain_holder_is_not_asked_and_gives_way_only_when_late(bench: Bench) -> None:
    holder = bench.registers("a", "")
    bench.passes(3.5)
    newcomer = bench.calls()
    assert newcomer.says(hello()) == [REFUSED.format(13)]
    bench.passes(12)
    assert bench.calls().says(hello()) == [REFUSED.format(1)]
    bench.passes(0.5)
    assert epoch_in(bench.calls().says(hello())) == 2
    assert holder.hears() == [SUPERSEDED]
    assert bench.stats.probes == 0


def test_newcomer_asks_again_before_the_work_of_a_plain_holder_is_over(bench: Bench) -> None:
    bench.registers("a", "")
    bench.orders("DOWORK", 50_000)
    assert bench.calls().says(hello()) == [REFUSED.format(16)]


# What may come between


def test_second_newcomer_is_refused_at_once_and_the_first_waits_on(bench: Bench) -> None:
    bench.registers("a")
    first, second = bench.calls(), bench.calls()
    first.says(hello())
    bench.passes(0.5)
    assert second.says(hello(LIFE)) == [REFUSED.format(16)]
    bench.passes(1.5)
    assert epoch_in(first.hears()) == 2
    assert bench.stats.probes == 1


def test_second_newcomer_is_refused_also_where_the_holder_has_become_late(bench: Bench) -> None:
    bench.registers("a")
    bench.passes(15)
    first, second = bench.calls(), bench.calls()
    first.says(hello())
    bench.passes(1)
    assert bench.stats.late == 1
    assert second.says(hello(LIFE)) == [REFUSED.format(1)]
    bench.passes(1)
    assert epoch_in(first.hears()) == 2


def test_engine_with_its_token_comes_before_whoever_waits(bench: Bench) -> None:
    holder, token = lives(bench)
    first, second = bench.calls(), bench.calls()
    first.says(hello())
    assert epoch_in(second.says(hello(f"{LIFE};resume={token}"))) == 2
    assert first.codes() == [409]
    assert holder.hears() == ["PING", SUPERSEDED]
    third = bench.calls()
    assert third.says(hello()) == []
    assert second.hears() == ["PING"]


@pytest.mark.parametrize("reset", [False, True])
def test_newcomer_that_goes_away_leaves_the_holder_alone(bench: Bench, reset: bool) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello())
    newcomer.goes(reset=reset)
    assert not holder.session.attentive
    bench.passes(10)
    assert holder.hears() == ["PING"]
    assert (bench.stats.registered, bench.stats.lost) == (1, 0)
    # And the next one is judged anew.
    following = bench.calls()
    assert following.says(hello()) == []
    bench.passes(2)
    assert epoch_in(following.hears()) == 2


def test_newcomer_has_no_more_time_to_register_than_others() -> None:
    bench = Bench(Limits(handshake=1))
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello())
    bench.passes(1)
    assert newcomer.codes() == [408]
    holder.hears()
    bench.passes(5)
    assert holder.hears() == []
    assert not holder.session.attentive


def test_decision_comes_before_the_deadline_of_the_same_tick() -> None:
    bench = Bench(Limits(handshake=2))
    bench.registers("a")
    newcomer = bench.calls()
    newcomer.says(hello())
    bench.passes(2)
    assert epoch_in(newcomer.hears()) == 2


@pytest.mark.parametrize(
    ("leave", "ended"),
    [
        (lambda bench, holder: holder.says("Bye"), "left:bye"),
        (lambda bench, holder: holder.says("oops!"), "lost:400"),
        (lambda bench, holder: holder.says("HeartBeat:b:1"), "lost:442"),
        (lambda bench, holder: holder.says("HeartBeat:a:99"), "lost:422"),
        (lambda bench, holder: holder.says("NewEngine:a:0"), "lost:431"),
        (lambda bench, holder: holder.goes(), "lost:closed"),
        (lambda bench, holder: holder.goes(reset=True), "lost:reset"),
    ],
)
def test_newcomer_is_registered_when_the_holder_goes_by_itself(
    bench: Bench, leave: Callable[[Bench, Caller], object], ended: str
) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello())
    leave(bench, holder)
    assert epoch_in(newcomer.hears()) == 2
    assert newcomer.carrier.settled > 0
    stats = bench.stats
    assert (stats.takeovers, stats.causes, stats.registered) == ({}, {ended: 1}, 1)
    bench.passes(10)
    assert bench.stats.registered == 1


def test_holder_that_becomes_late_meanwhile_has_its_time_nevertheless(bench: Bench) -> None:
    bench.registers("a")
    bench.passes(15.5)
    newcomer = bench.calls()
    newcomer.says(hello())
    bench.passes(1)
    assert bench.stats.late == 1
    assert newcomer.hears() == []
    bench.passes(1)
    assert epoch_in(newcomer.hears()) == 2
    assert (bench.stats.late, bench.stats.takeovers) == (0, {"silent": 1})


def test_bytes_behind_the_hello_are_judged_when_the_newcomer_has_the_id(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    assert newcomer.says(hello(), "HeartBeat:a:1", "HeartBeat:a:2", "HeartBeat:a") == []
    bench.passes(2)
    assert [said.split(":")[0] for said in newcomer.hears()] == ["SUCCESS", "ACK", "ACK", "FAILED"]
    assert bench.stats.heartbeats == 2
    assert bench.stats.causes == {"lost:410": 1, "lost:400": 1}
    assert (bench.stats.registered, bench.stats.stale) == (0, 0)
    assert holder.session.is_over


def test_bytes_behind_a_hello_that_is_refused_are_stale(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello(), "HeartBeat:a:1", "Bye")
    holder.says("HeartBeat:a:1")
    assert newcomer.codes() == [409]
    assert (bench.stats.stale, bench.stats.heartbeats, bench.stats.left) == (2, 1, 0)


def test_nobody_gets_an_id_from_an_engine_that_is_sent_away(bench: Bench) -> None:
    holder, newcomer = bench.registers("a"), bench.calls()
    newcomer.says(hello())
    bench.broker.close(DrainingError("the broker stops"))
    assert [caller.codes() for caller in (holder, newcomer)] == [[503], [503]]
    assert (bench.stats.registered, bench.stats.registrations) == (0, 1)
