"""One life over several connections and brokers: its account and its commands go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.broker import Broker
from brokerproto.commands import Step
from brokerproto.engine import Engine
from brokerproto.life import Life
from brokerproto.testing import ManualClock, RecordingObserver, RecordingWorker, Wire
from tests.brokerproto.broker_bench import Bench, Caller
from tests.brokerproto.contention import LIFE, OTHER, account_of, hello, lives, token_in

# The account


def test_number_below_the_lifes_last_is_refused_and_the_holder_untouched(bench: Bench) -> None:
    holder, token = lives(bench)
    holder.says("HeartBeat:a:1", "HeartBeat:a:2")
    again = bench.calls()
    (said,) = again.says(hello(f"{LIFE};resume={token}", 1))
    assert said.startswith("FAILED:441:SEQUENCE_REGRESSED:now:")
    assert holder.says("HeartBeat:a:3") == ["ACK:3"]
    assert account_of(bench) == (3, 0, 0, 1)
    assert bench.stats.takeovers == {}
    member = bench.broker.fleet.get("a")
    assert member is not None
    assert member.takeovers == ()


def test_number_below_the_lifes_last_is_refused_also_after_the_holder_was_asked(
    bench: Bench,
) -> None:
    holder, _ = lives(bench)
    holder.says("HeartBeat:a:1", "HeartBeat:a:2")
    again = bench.calls()
    assert again.says(hello(LIFE, 1)) == []
    bench.passes(2)
    assert again.codes() == [441]
    assert holder.session.is_open
    assert not holder.session.attentive
    # A new instance has an account of its own, and any number will do.
    other = bench.calls()
    other.says(hello(OTHER, 1))
    bench.passes(2)
    assert other.hears()[0].startswith("SUCCESS")
    assert (bench.stats.heartbeats, bench.stats.missed) == (2, 0)


@given(ahead=st.integers(0, 2**40), late=st.booleans())
def test_life_that_takes_over_misses_what_was_sent_meanwhile(ahead: int, late: bool) -> None:
    bench = Bench()
    holder, token = lives(bench)
    holder.says("HeartBeat:a:1")
    bench.passes(16 if late else 1)
    again = bench.calls()
    again.says(hello(LIFE if late else f"{LIFE};resume={token}", 1 + ahead))
    again.says(f"HeartBeat:a:{2 + ahead}")
    assert account_of(bench) == (2, ahead, 0, 2)
    assert (bench.stats.heartbeats, bench.stats.missed) == (2, ahead)
    assert bench.stats.gaps == (ahead > 0)


def test_new_instance_that_takes_over_closes_the_old_account(bench: Bench) -> None:
    holder, _ = lives(bench)
    holder.says("HeartBeat:a:1", "HeartBeat:a:3")
    newcomer = bench.calls()
    newcomer.says(hello(OTHER, 7), "HeartBeat:a:8")
    bench.passes(2)
    assert account_of(bench) == (1, 0, 0, 2)
    member = bench.broker.fleet.get("a")
    assert member is not None
    assert (member.account.first, member.account.joined) == (7, True)
    (end,) = bench.broker.fleet.ends
    assert (end.totals.counted, end.totals.missed) == (2, 1)
    assert (bench.stats.heartbeats, bench.stats.missed) == (3, 1)
    # The old life is over: it comes back as one that this broker does not know.
    newcomer.says("Bye")
    (success,) = bench.calls().says(hello(LIFE, 3))
    assert success.startswith("SUCCESS")
    assert account_of(bench)[:2] == (0, 0)


# Commands


def test_command_that_was_lost_with_a_connection_is_done_by_the_same_life(bench: Bench) -> None:
    holder, token = lives(bench)
    command = bench.orders("DOWORK", 5)
    holder.says(f"Report:{command.command}:started")
    again = bench.calls()
    again.says(hello(f"{LIFE};resume={token}"))
    assert command.states[Step.LOST] == 1
    again.says(f"Report:{command.command}:done:ms=5")
    assert (command.states[Step.LOST], command.states[Step.DONE]) == (0, 1)
    assert bench.stats.strange_reports == 0


def test_command_of_a_superseded_life_stays_lost(bench: Bench) -> None:
    lives(bench)
    command = bench.orders("DOWORK", 5)
    newcomer = bench.calls()
    newcomer.says(hello(), f"Report:{command.command}:done")
    bench.passes(2)
    assert command.states[Step.LOST] == 1
    assert bench.stats.strange_reports == 1


def test_kill_that_was_written_is_done_when_the_holder_is_superseded(bench: Bench) -> None:
    lives(bench)
    kill = bench.orders("KILL", 3)
    bench.calls().says(hello())
    bench.passes(2)
    assert kill.states[Step.DONE] == 1
    assert kill.is_settled


def test_command_after_a_takeover_goes_to_the_newcomer_alone(bench: Bench) -> None:
    holder, token = lives(bench)
    again = bench.calls()
    again.says(hello(f"{LIFE};resume={token}"))
    holder.hears()
    command = bench.orders("DOWORK", 5)
    assert again.hears() == [f"DOWORK:5:command={command.command}"]
    assert holder.hears() == []


# The engine's side


class Stage:
    """A broker, an engine with work to do, and the wires between them."""

    def __init__(self) -> None:
        self.clock, self.observer = ManualClock(), RecordingObserver()
        self.broker = Broker(self.clock.seconds, "b0", observer=self.observer)
        self.engine = Engine(Life("a", "a1"), RecordingWorker(), self.clock.seconds)

    def connects(self) -> Wire:
        """Make the next connection, and exchange hello and answer."""
        wire = Wire(self.broker, self.engine)
        wire.exchange()
        return wire

    def passes(self, wire: Wire, seconds: float) -> None:
        """Let time pass for both sides."""
        for _ in range(round(seconds / self.broker.tick_length)):
            self.clock.advance(self.broker.tick_length)
            wire.tick()

    def restarts_broker(self) -> None:
        """Replace the broker by one that knows nothing."""
        self.broker = Broker(self.clock.seconds, "b1", observer=self.observer)

    def is_exact(self) -> bool:
        """Whether all heartbeats that the engine sent are accounted for."""
        member = self.broker.fleet.get("a")
        assert member is not None
        account = member.account
        return account.counted + account.missed == self.engine.life.seq - account.first


def test_engine_whose_connection_only_it_saw_end_is_back_at_once() -> None:
    stage = Stage()
    wire = stage.connects()
    stage.passes(wire, 35)
    token = stage.engine.life.resume
    # The broker sees nothing: no FIN, no reset.
    stage.engine.lose()
    again = stage.connects()
    assert again.engine_side.is_open
    assert stage.engine.life.resume not in (None, token)
    assert stage.broker.stats().takeovers == {"resumed": 1}
    stage.passes(again, 35)
    assert stage.is_exact()
    assert stage.broker.stats().missed == 0


@pytest.mark.fault("C097")
@pytest.mark.parametrize(
    ("intervals", "events", "epoch"),
    [
        (0.5, [], 1),
        (2, [("late", "a", 16.0), ("recovered", "a", None)], 1),
        (6, [("late", "a", 16.0), ("lost", "a", "timeout"), ("registered", "a", 2)], 2),
    ],
)
def test_partition_that_heals_costs_at_most_a_registration_and_its_gap_is_counted_once(
    intervals: float, events: list[object], epoch: int
) -> None:
    stage = Stage()
    wire = stage.connects()
    while stage.clock.now < wire.engine_side.due:
        stage.clock.advance(0.5)
        stage.broker.tick()
    # Cut right after a heartbeat.
    wire.engine_side.tick(stage.clock.now)
    wire.exchange()
    before = stage.engine.life.seq
    stage.observer.events.clear()
    for _ in range(round(intervals * 10 / 0.5)):
        stage.clock.advance(0.5)
        if wire.engine_side.due <= stage.clock.now:
            wire.engine_side.tick(stage.clock.now)
        stage.broker.tick()
    wire.exchange()
    # It still answers the PINGs that it finds before the 440.
    meanwhile = stage.engine.life.seq - before
    assert wire.is_cut is (epoch == 2)
    if wire.is_cut:
        wire = stage.connects()
    stage.passes(wire, 35)
    missed = meanwhile if epoch == 2 else 0
    told = [("missed", "a", missed)] if missed else []
    assert stage.observer.events == [*events, *told]
    member = stage.broker.fleet.get("a")
    assert member is not None
    assert (member.epoch, member.account.missed) == (epoch, missed)
    assert stage.is_exact()
    assert stage.broker.stats().takeovers == {}


def test_engine_repeats_its_reports_after_it_has_taken_its_id_back() -> None:
    stage = Stage()
    wire = stage.connects()
    command = stage.broker.order("DOWORK", 60_000, list(stage.broker.fleet))
    wire.broker_side.carrier.settle()  # type: ignore[union-attr]
    wire.exchange()
    stage.engine.lose()
    assert command.states[Step.STARTED] == 1
    again = stage.connects()
    assert command.states[Step.STARTED] == 1
    stage.engine.worked()
    again.exchange()
    assert command.states[Step.DONE] == 1


def test_life_goes_on_at_a_broker_that_was_restarted() -> None:
    stage = Stage()
    wire = stage.connects()
    stage.passes(wire, 35)
    sent, token = stage.engine.life.seq, stage.engine.life.resume
    wire.cut()
    stage.restarts_broker()
    again = stage.connects()
    member = stage.broker.fleet.get("a")
    assert member is not None
    assert (member.account.first, member.account.joined, member.epoch) == (sent, True, 1)
    assert stage.engine.life.resume not in (None, token)
    stage.passes(again, 35)
    assert stage.is_exact()
    # The token is that of the new broker, and is good there.
    stage.engine.lose()
    assert stage.connects().engine_side.is_open
    assert stage.broker.stats().takeovers == {"resumed": 1}


def test_command_of_a_broker_that_was_restarted_is_a_strange_one_to_the_next() -> None:
    stage = Stage()
    wire = stage.connects()
    stage.broker.order("DOWORK", 60_000, list(stage.broker.fleet))
    wire.exchange()
    wire.cut()
    stage.restarts_broker()
    stage.connects()
    assert stage.broker.stats().strange_reports == 1
    assert len(stage.broker.ledger) == 0


def test_token_of_one_broker_is_none_to_another() -> None:
    stage = Stage()
    stage.connects()
    stage.engine.lose()
    stage.restarts_broker()
    other = Caller(stage.broker)
    other.says(hello(LIFE))
    again = stage.connects()
    assert not again.engine_side.is_open
    assert other.hears() == ["PING"]


@pytest.mark.parametrize(
    ("told", "kept"), [("", None), (":v=1;resume=00ff", "00ff"), (":v=1", None)]
)
def test_engine_keeps_the_token_of_its_last_registration_only(told: str, kept: str | None) -> None:
    life = Life("a", "a1", resume="ff")
    engine = Engine(life, RecordingWorker(), ManualClock().seconds)

    class Silent:
        def settle(self) -> None:
            """Nothing: the test takes what is owed."""

    session = engine.open(Silent())
    assert session.data_to_send() == b"NewEngine:a:0:v=1;instance=a1;ack=1;resume=ff\n"
    engine.receive_data(f"SUCCESS:Registered{told}\n".encode())
    engine.lose()
    assert life.resume == kept
    following = engine.open(Silent()).data_to_send()
    assert (b";resume=" in following) is (kept is not None)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_token_in_reads_what_is_there(bench: Bench) -> None:
    _, token = lives(bench)
    assert len(token) == 32
    assert token_in(f"SUCCESS:Registered:v=1;resume={token}") == token
