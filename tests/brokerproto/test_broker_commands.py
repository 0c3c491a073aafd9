"""Commands from a broker to its engines, and what the engines make of them."""

from __future__ import annotations

import pytest

from brokerproto.broker import Broker
from brokerproto.commands import Command, Key, Step, Verb
from brokerproto.engine import Engine
from brokerproto.errors import KeyReusedError
from brokerproto.life import Life
from brokerproto.observer import Observer
from brokerproto.testing import ManualClock, RecordingObserver, RecordingWorker, Wire
from tests.brokerproto.broker_bench import Bench

RICH = ":v=1;instance=a1;ack=1"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def steps(command: Command) -> dict[str, str]:
    return {engine_id: entry.step.value for engine_id, entry in command.entries.items()}


def test_a_command_is_written_to_each_of_its_engines_at_once(bench: Bench) -> None:
    callers = [bench.registers(engine_id) for engine_id in ("a", "b", "c")]
    members = [member for member in bench.broker.fleet if member.engine_id != "b"]
    settled = [caller.carrier.settled for caller in callers]
    command = bench.broker.order("DOWORK", 2000, members)
    assert [caller.carrier.settled - n for caller, n in zip(callers, settled, strict=True)] == [
        1,
        0,
        1,
    ]
    assert [caller.hears() for caller in callers] == [
        [f"DOWORK:2000:command={command.command}"],
        [],
        [f"DOWORK:2000:command={command.command}"],
    ]
    assert steps(command) == {"a": "written", "c": "written"}


def test_each_command_is_told_once_and_before_it_is_written() -> None:
    told: list[tuple[str, dict[str, str]]] = []

    class Listening(Observer):
        def command_issued(self, command: Command) -> None:
            told.append((command.command, steps(command)))

    bench = Bench(observer=Listening())
    for engine_id in ("a", "b", "c"):
        bench.registers(engine_id)
    members = list(bench.broker.fleet)
    key = Key("again", ("DOWORK", 2000))
    bench.broker.order("DOWORK", 2000, members, key)
    with pytest.raises(KeyReusedError):
        bench.broker.order("DOWORK", 2000, members, key)
    bench.broker.order("KILL", 0, [])
    queued = dict.fromkeys(("a", "b", "c"), "queued")
    assert told == [("b0-1", queued), ("b0-2", {})]


@pytest.mark.parametrize(
    ("verb", "value", "sentence"),
    [
        ("DOWORK", -1, "DOWORK takes milliseconds, 0 to 86400000, not -1"),
        ("DOWORK", 86_400_001, "DOWORK takes milliseconds, 0 to 86400000, not 86400001"),
        ("KILL", -1, "KILL takes an exit status, 0 to 255, not -1"),
        ("KILL", 256, "KILL takes an exit status, 0 to 255, not 256"),
    ],
)
def test_a_value_that_no_engine_could_obey_is_refused_and_leaves_no_trace(
    verb: Verb, value: int, sentence: str, bench: Bench
) -> None:
    engine = bench.registers("a")
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        bench.orders(verb, value)
    assert engine.hears() == []
    assert len(bench.broker.ledger) == 0
    assert bench.orders("DOWORK", 86_400_000).command == "b0-1"
    assert bench.orders("KILL", 255).command == "b0-2"


def test_observer_that_fails_keeps_no_command_from_its_engines() -> None:
    class Faulty(Observer):
        def command_issued(self, command: Command) -> None:
            raise ZeroDivisionError

    bench = Bench(observer=Faulty())
    callers = [bench.registers(engine_id) for engine_id in ("a", "b")]
    bench.orders("KILL", 3)
    assert [type(error) for error in bench.failures] == [ZeroDivisionError]
    assert [caller.hears() for caller in callers] == [["KILL:3:command=b0-1"]] * 2


def test_no_command_reaches_a_connection_before_its_success(bench: Bench) -> None:
    bench.registers("a")
    caller = bench.calls()
    bench.orders("KILL", 3)
    assert caller.says(f"NewEngine:b:0{RICH}")[0].startswith("SUCCESS")
    assert caller.hears() == []


def test_reports_move_the_ledger_and_show_that_the_engine_lives(bench: Bench) -> None:
    caller = bench.registers("a")
    command = bench.orders("DOWORK", 5)
    bench.passes(20)
    assert bench.stats.late == 1
    caller.says(f"Report:{command.command}:received")
    assert bench.stats.late == 0
    assert steps(command) == {"a": "received"}
    caller.says(f"Report:{command.command}:started", f"Report:{command.command}:done:ms=5")
    assert command.is_settled
    assert bench.stats.reports == 3


@pytest.mark.parametrize("report", ["Report:b0-9:done", "Report:b0-1:done"])
def test_a_report_that_fits_nothing_is_counted_as_strange(bench: Bench, report: str) -> None:
    bench.registers("a")
    command = bench.orders("DOWORK", 5)
    other = bench.registers("b")
    other.says(report)
    assert (bench.stats.reports, bench.stats.strange_reports) == (1, 1)
    assert steps(command) == {"a": "written"}


def test_another_instance_cannot_report_for_the_one_that_was_sent_it(bench: Bench) -> None:
    bench.registers("a", RICH).goes()
    first = bench.registers("a", RICH)
    command = bench.orders("DOWORK", 5)
    first.goes()
    bench.registers("a", ":v=1;instance=b2").says(f"Report:{command.command}:done")
    assert steps(command) == {"a": "lost"}
    assert bench.stats.strange_reports == 1


def test_what_was_lost_may_still_be_done(bench: Bench) -> None:
    first = bench.registers("a", RICH)
    command = bench.orders("DOWORK", 5)
    first.goes()
    assert steps(command) == {"a": "lost"}
    bench.registers("a", RICH).says(f"Report:{command.command}:done")
    assert steps(command) == {"a": "done"}


def test_a_kill_is_done_when_the_connection_ends(bench: Bench) -> None:
    caller = bench.registers("a")
    command = bench.orders("KILL", 3)
    assert caller.hears() == [f"KILL:3:command={command.command}"]
    caller.goes(reset=True)
    assert steps(command) == {"a": "done"}


# Plain engines


def test_a_plain_engine_holds_one_command_at_a_time(bench: Bench) -> None:
    caller = bench.registers("p", "")
    first, second, third = (
        bench.orders("DOWORK", 3000),
        bench.orders("DOWORK", 0),
        bench.orders("DOWORK", 1),
    )
    assert caller.hears() == ["DOWORK:3000"]
    assert [steps(command)["p"] for command in (first, second, third)] == [
        "written",
        "queued",
        "queued",
    ]
    bench.passes(2.5)
    assert caller.says("HeartBeat:p:1") == []
    bench.passes(0.5)
    assert caller.says("HeartBeat:p:2") == ["DOWORK:0"]
    assert [steps(command)["p"] for command in (first, second)] == ["done", "written"]
    bench.passes(0.5)
    assert caller.says("HeartBeat:p:3") == []
    bench.passes(0.5)
    assert caller.says("HeartBeat:p:4") == ["DOWORK:1"]
    bench.passes(1)
    assert caller.says("HeartBeat:p:5") == []
    assert steps(third) == {"p": "done"}


def test_a_kill_overtakes_the_work_that_waits_for_a_plain_engine(bench: Bench) -> None:
    caller = bench.registers("p", "")
    commands = [bench.orders("DOWORK", 1000), bench.orders("DOWORK", 1000)]
    kill = bench.orders("KILL", 7)
    bench.passes(1)
    assert caller.hears() == ["DOWORK:1000"]
    assert caller.says("HeartBeat:p:1") == ["KILL:7"]
    bench.passes(10)
    assert caller.says("HeartBeat:p:2") == []
    assert steps(kill) == {"p": "written"}
    caller.goes()
    assert [steps(command)["p"] for command in (*commands, kill)] == ["done", "lost", "done"]


def test_sixteen_commands_wait_for_a_plain_engine_and_no_more(bench: Bench) -> None:
    bench.registers("p", "")
    commands = [bench.orders("DOWORK", 60_000) for _ in range(18)]
    assert [steps(command)["p"] for command in commands] == [
        "written",
        *["queued"] * 16,
        "failed",
    ]
    assert commands[-1].entries["p"].error == "queue-full"
    assert steps(bench.orders("KILL", 7)) == {"p": "queued"}


def test_work_for_a_late_plain_engine_excuses_it(bench: Bench) -> None:
    caller = bench.registers("p", "")
    bench.passes(16)
    assert bench.stats.late == 1
    bench.orders("DOWORK", 50_000)
    assert bench.stats.late == 0
    bench.passes(50 + 15.5)
    assert (bench.stats.late, caller.session.is_open) == (0, True)
    bench.passes(0.5)
    assert bench.stats.late == 1


def test_a_plain_engine_that_beats_without_work_is_not_listened_to_closely(bench: Bench) -> None:
    caller = bench.registers("p", "")
    caller.says("HeartBeat:p:1")
    attentive = [caller.session.attentive]
    bench.orders("DOWORK", 0)
    attentive.append(caller.session.attentive)
    bench.passes(1)
    caller.says("HeartBeat:p:2")
    attentive.append(caller.session.attentive)
    assert attentive == [False, True, False]


@pytest.mark.parametrize("offence", ["HeartBeat:p:2:x", "HeartBeat:p:9:x=1:y", "Bye", "oops!"])
def test_a_plain_engine_that_ends_in_one_segment_with_its_heartbeat_gets_no_command(
    bench: Bench, offence: str
) -> None:
    caller = bench.registers("p", "")
    first, second = bench.orders("DOWORK", 0), bench.orders("DOWORK", 0)
    bench.passes(1)
    caller.hears()
    said = caller.says("HeartBeat:p:1", offence)
    assert "DOWORK:0" not in said
    assert (steps(first), steps(second)) == ({"p": "done"}, {"p": "lost"})
    cause = "left" if offence == "Bye" else "lost"
    assert [event[0] for event in bench.hears()] == ["registered", "issued", "issued", cause]


def test_what_waited_for_a_plain_engine_is_lost_with_it(bench: Bench) -> None:
    caller = bench.registers("p", "")
    first, second, third = (
        bench.orders("DOWORK", 1),
        bench.orders("DOWORK", 2),
        bench.orders("KILL", 0),
    )
    caller.goes()
    assert [steps(command)["p"] for command in (first, second, third)] == ["lost"] * 3
    again = bench.registers("p", "")
    bench.passes(5)
    assert again.says("HeartBeat:p:1") == []
    fourth = bench.orders("DOWORK", 4)
    assert again.hears() == ["DOWORK:4"]
    assert steps(fourth) == {"p": "written"}


# With real engines


class Fleet:
    """A broker and a few engines, each on a wire of its own."""

    def __init__(self, *ids: str) -> None:
        self.clock = ManualClock()
        self.observer = RecordingObserver()
        self.broker = Broker(self.clock.seconds, "b0", observer=self.observer)
        self.workers = {engine_id: RecordingWorker() for engine_id in ids}
        self.engines = {
            engine_id: Engine(Life(engine_id, "a1"), worker, self.clock.seconds)
            for engine_id, worker in self.workers.items()
        }
        self.wires = [Wire(self.broker, engine) for engine in self.engines.values()]
        self.exchange()

    def exchange(self) -> None:
        for wire in self.wires:
            wire.exchange()

    def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / self.broker.tick_length)):
            self.clock.advance(self.broker.tick_length)
            for wire in self.wires:
                wire.tick()


@pytest.mark.fault("C088")
def test_two_commands_back_to_back_have_two_results_per_engine() -> None:
    fleet = Fleet("a", "b", "c")
    commands = [fleet.broker.order("DOWORK", ms, list(fleet.broker.fleet)) for ms in (10, 20)]
    fleet.exchange()
    assert [steps(command)["a"] for command in commands] == ["started", "received"]
    for engine in fleet.engines.values():
        engine.worked()
        engine.worked()
    fleet.exchange()
    assert [command.states[Step.DONE] for command in commands] == [3, 3]
    assert [worker.started for worker in fleet.workers.values()] == [[10, 20]] * 3


@pytest.mark.fault("C059")
def test_an_engine_at_work_for_long_is_never_late() -> None:
    fleet = Fleet("a")
    command = fleet.broker.order("DOWORK", 50_000, list(fleet.broker.fleet))
    fleet.passes(50)
    session = fleet.wires[0].broker_side
    busy = [session.busy]
    fleet.engines["a"].worked()
    fleet.passes(20)
    assert [*busy, session.busy] == [command.command, None]
    assert fleet.observer.events == [("registered", "a", 1), ("issued", "b0-1", "DOWORK")]
    assert fleet.broker.stats().missed == 0
    assert steps(command) == {"a": "done"}


def test_a_killed_engine_has_left_and_its_command_is_done() -> None:
    fleet = Fleet("a", "b")
    work = fleet.broker.order("DOWORK", 5, list(fleet.broker.fleet))
    kill = fleet.broker.order("KILL", 3, [m for m in fleet.broker.fleet if m.engine_id == "a"])
    fleet.exchange()
    assert fleet.observer.events[-1] == ("left", "a", "killed")
    assert (steps(work), steps(kill)) == ({"a": "failed", "b": "started"}, {"a": "done"})
    assert work.entries["a"].error == "killed"
    assert fleet.workers["a"].exit_code == 3
    assert fleet.workers["b"].exit_code is None


def test_a_result_survives_its_connection() -> None:
    fleet = Fleet("a")
    command = fleet.broker.order("DOWORK", 5, list(fleet.broker.fleet))
    fleet.exchange()
    fleet.wires[0].cut()
    assert steps(command) == {"a": "lost"}
    fleet.engines["a"].worked()
    Wire(fleet.broker, fleet.engines["a"]).exchange()
    assert steps(command) == {"a": "done"}
