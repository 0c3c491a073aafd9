"""The ledger of commands by example: steps, latencies, plain engines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.commands import (
    COMMANDS_KEPT,
    Command,
    Latency,
    Step,
    Target,
    Verb,
)
from brokerproto.ledger import Ledger
from brokerproto.messages import DoWork, Kill, Report

RICH = Target("e", "a1")
PLAIN = Target("p", None, plain=True)


def report(
    ledger: Ledger, command: Command, state: str, now: float = 1.0, instance: str | None = "a1"
) -> bool:
    return ledger.report("e", instance, Report(command.command, state), now)


def steps(command: Command) -> dict[str, int]:
    return {step.value: n for step, n in command.states.items() if n}


def test_a_command_is_named_after_its_broker_and_counts_its_targets() -> None:
    ledger = Ledger("b0")
    first = ledger.issue("DOWORK", 250, [RICH, PLAIN], 7.0)
    second = ledger.issue("KILL", 3, [], 8.0)
    assert (first.command, second.command) == ("b0-1", "b0-2")
    assert (first.verb, first.value, first.issued_at) == ("DOWORK", 250, 7.0)
    assert first.message == DoWork(250, "b0-1")
    assert second.message == Kill(3, "b0-2")
    assert steps(first) == {"queued": 2}
    assert (ledger.get("b0-1"), ledger.get("b0-3")) == (first, None)
    assert list(ledger) == [first, second]


def test_an_order_to_nobody_is_settled() -> None:
    assert Ledger("b0").issue("KILL", 0, [], 0.0).is_settled


def test_a_command_goes_through_its_steps() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    entry = command.entries["e"]
    assert ledger.write(command, "e", 0.5)
    assert not ledger.write(command, "e", 0.6)
    for state, now in [("received", 1.0), ("started", 2.0), ("done", 3.0)]:
        assert not command.is_settled
        assert report(ledger, command, state, now)
        assert steps(command) == {state: 1}
    assert command.is_settled
    moments = [entry.at(step) for step in list(Step)[1:]]
    assert moments == [0.5, 1.0, 2.0, 3.0, None, None]


@pytest.mark.parametrize("final", ["done", "failed"])
@pytest.mark.parametrize("later", ["received", "started", "done", "failed"])
def test_no_step_leads_out_of_an_end(final: str, later: str) -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    report(ledger, command, final, 1.0)
    assert report(ledger, command, later, 2.0)
    ledger.ended("e", 3.0)
    assert steps(command) == {final: 1}
    assert command.entries["e"].at(Step(final)) == 1.0


@pytest.mark.parametrize(
    ("stands", "said"),
    [("received", "received"), ("started", "received"), ("started", "started")],
)
def test_no_step_is_taken_back_or_twice(stands: str, said: str) -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    report(ledger, command, stands, 1.0)
    assert report(ledger, command, said, 2.0)
    assert steps(command) == {stands: 1}
    assert command.entries["e"].at(Step(stands)) == 1.0


def test_a_failure_says_why() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    ledger.report("e", "a1", Report(command.command, "failed", error="killed"), 1.0)
    assert command.entries["e"].error == "killed"


def test_a_report_that_fits_nothing_is_not_taken() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH, PLAIN], 0.0)
    assert not report(ledger, command, "done", instance="b2")
    assert not report(ledger, command, "done", instance=None)
    assert not ledger.report("f", "a1", Report(command.command, "done"), 1.0)
    assert not ledger.report("e", "a1", Report("b0-2", "done"), 1.0)
    assert not ledger.report("p", None, Report(command.command, "done"), 1.0)
    assert steps(command) == {"queued": 2}


def test_what_was_open_is_lost_with_its_engine() -> None:
    ledger = Ledger("b0")
    commands = [ledger.issue("DOWORK", 250, [RICH], 0.0) for _ in range(4)]
    ledger.write(commands[1], "e", 0.0)
    report(ledger, commands[2], "started")
    report(ledger, commands[3], "done")
    other = ledger.issue("DOWORK", 250, [Target("f")], 0.0)
    ledger.ended("e", 5.0)
    assert [steps(each) for each in commands] == [{"lost": 1}] * 3 + [{"done": 1}]
    assert commands[0].entries["e"].lost_at == 5.0
    assert steps(other) == {"queued": 1}


def test_a_kill_is_done_when_the_connection_ends_after_it_was_written() -> None:
    ledger = Ledger("b0")
    commands = [ledger.issue("KILL", 0, [RICH], 0.0) for _ in range(3)]
    ledger.write(commands[1], "e", 0.0)
    report(ledger, commands[2], "received")
    ledger.ended("e", 5.0)
    assert [steps(each) for each in commands] == [{"lost": 1}, {"done": 1}, {"done": 1}]
    assert commands[1].entries["e"].done_at == 5.0


def test_what_was_lost_may_still_be_done() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    ledger.write(command, "e", 0.0)
    ledger.ended("e", 1.0)
    assert not report(ledger, command, "done", instance="b2")
    assert steps(command) == {"lost": 1}
    assert report(ledger, command, "started", 2.0)
    assert steps(command) == {"started": 1}
    assert not command.is_settled
    assert not ledger.write(command, "e", 2.5)
    assert report(ledger, command, "done", 3.0)
    assert steps(command) == {"done": 1}


def test_a_loss_takes_no_step_back() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    report(ledger, command, "started", 1.0)
    ledger.ended("e", 2.0)
    # An older report, come late: the engine had gone further than that.
    assert report(ledger, command, "received", 3.0)
    assert steps(command) == {"lost": 1}
    # Its last report, repeated: it is at work still, and has been since then.
    assert report(ledger, command, "started", 4.0)
    assert steps(command) == {"started": 1}
    assert command.entries["e"].started_at == 1.0


def test_a_life_without_a_name_ends_with_its_connection() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [Target("e", None)], 0.0)
    assert report(ledger, command, "received", instance=None)
    ledger.ended("e", 1.0)
    assert not report(ledger, command, "done", instance=None)
    assert steps(command) == {"lost": 1}


def test_the_silent_have_said_nothing() -> None:
    ledger = Ledger("b0")
    names = ["queued", "written", "received", "started", "done", "failed", "lost"]
    command = ledger.issue("DOWORK", 250, [Target(name, "x") for name in names], 0.0)
    ledger.write(command, "written", 0.0)
    for name in ["received", "started", "done", "failed"]:
        ledger.report(name, "x", Report(command.command, name), 0.0)
    ledger.ended("lost", 0.0)
    assert list(command.silent) == ["queued", "written"]
    assert steps(command) == dict.fromkeys(names, 1)


def test_the_oldest_command_is_forgotten_first() -> None:
    ledger = Ledger("b0", kept=2)
    first, second, third = (ledger.issue("KILL", 0, [RICH], 0.0) for _ in range(3))
    assert list(ledger) == [second, third]
    assert ledger.get(first.command) is None
    assert not report(ledger, first, "done")
    ledger.ended("e", 1.0)
    assert (steps(first), steps(second)) == ({"queued": 1}, {"lost": 1})
    assert (COMMANDS_KEPT, Ledger("b0").kept) == (100, 100)


# Whoever waits for a command


def test_whoever_waits_is_told_once() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    told: list[Command] = []
    command.when_settled(told.append)
    report(ledger, command, "received")
    assert told == []
    ledger.ended("e", 1.0)
    assert told == [command]
    report(ledger, command, "started")
    report(ledger, command, "done")
    assert told == [command]


def test_whoever_asks_of_a_settled_command_is_told_at_once() -> None:
    told: list[Command] = []
    command = Ledger("b0").issue("KILL", 0, [], 0.0)
    command.when_settled(told.append)
    assert told == [command]


def test_whoever_gave_up_is_not_told() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [RICH], 0.0)
    told: list[Command] = []
    other: list[Command] = []
    command.when_settled(told.append)
    command.when_settled(other.append)
    command.forget(told.append)
    command.forget(told.append)
    report(ledger, command, "done")
    command.forget(other.append)
    assert (told, other) == ([], [command])


# Latencies


def test_latency_is_measured_from_the_issue() -> None:
    ledger = Ledger("b0")
    command = ledger.issue("DOWORK", 250, [Target(f"e{n}", "x") for n in range(3)], 10.0)
    assert command.latency(Step.DONE) is None
    for n, now in enumerate([12.0, 11.0]):
        ledger.report(f"e{n}", "x", Report(command.command, "done"), now)
    assert command.latency(Step.DONE) == Latency(2, 1.0, 1.0, 2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, Latency(1, 1, 1, 1, 1, 1)),
        (2, Latency(2, 1, 1, 2, 2, 2)),
        (10, Latency(10, 1, 5, 9, 10, 10)),
        (11, Latency(11, 1, 6, 10, 11, 11)),
        (100, Latency(100, 1, 50, 90, 99, 100)),
        (101, Latency(101, 1, 51, 91, 100, 101)),
    ],
)
def test_latencies_are_summed_up_by_nearest_rank(n: int, expected: Latency) -> None:
    assert Latency.of(float(n - each) for each in range(n)) == expected


@given(st.lists(st.integers(0, 1000).map(float)))
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(seconds: list[float]) -> None:
    latency = Latency.of(seconds)
    if latency is None:
        assert seconds == []
        return
    assert (latency.n, latency.min, latency.max) == (len(seconds), min(seconds), max(seconds))
    for percent, value in [(50, latency.p50), (90, latency.p90), (99, latency.p99)]:
        assert sum(each <= value for each in seconds) * 100 >= percent * len(seconds)
        assert sum(each < value for each in seconds) * 100 < percent * len(seconds)


# Plain engines


def plain_ledger(*orders: tuple[Verb, int]) -> tuple[Ledger, list[Command]]:
    ledger = Ledger("b0")
    return ledger, [ledger.issue(verb, value, [PLAIN], 0.0) for verb, value in orders]


@pytest.mark.parametrize(
    ("ms", "seconds"), [(0, 1.0), (999, 1.0), (1000, 1.0), (1500, 1.5), (50_000, 50.0)]
)
def test_a_plain_engines_work_is_done_at_the_first_heartbeat_after_it(
    ms: int, seconds: float
) -> None:
    ledger, (command,) = plain_ledger(("DOWORK", ms))
    assert ledger.write(command, "p", 2.0)
    assert ledger.heartbeat("p", 2.0 + seconds - 0.125) is None
    assert steps(command) == {"written": 1}
    assert ledger.is_waiting("p")
    assert ledger.heartbeat("p", 2.0 + seconds) is None
    assert steps(command) == {"done": 1}
    assert command.entries["p"].done_at == 2.0 + seconds
    assert not ledger.is_waiting("p")


def test_a_plain_engine_takes_one_command_at_a_time_in_their_order() -> None:
    ledger, (first, second, third) = plain_ledger(("DOWORK", 0), ("DOWORK", 0), ("DOWORK", 0))
    assert not ledger.write(second, "p", 0.0)
    assert ledger.write(first, "p", 0.0)
    assert not ledger.write(second, "p", 0.0)
    assert ledger.heartbeat("p", 0.5) is None
    assert ledger.heartbeat("p", 1.0) is second
    assert not ledger.write(third, "p", 1.0)
    assert ledger.write(second, "p", 1.0)
    assert ledger.heartbeat("p", 1.5) is None
    assert ledger.heartbeat("p", 2.5) is third
    assert ledger.heartbeat("p", 9.0) is third
    assert ledger.write(third, "p", 9.0)


def test_a_plain_engine_that_is_told_to_die_is_told_no_more() -> None:
    ledger, (kill, work) = plain_ledger(("KILL", 0), ("DOWORK", 0))
    assert ledger.write(kill, "p", 0.0)
    assert ledger.heartbeat("p", 99.0) is None
    assert not ledger.write(work, "p", 99.0)
    assert steps(kill) == {"written": 1}
    ledger.ended("p", 100.0)
    assert (steps(kill), steps(work)) == ({"done": 1}, {"lost": 1})
    assert not ledger.is_waiting("p")


def test_a_plain_engine_that_comes_back_is_not_held_to_what_it_lost() -> None:
    ledger, (lost,) = plain_ledger(("DOWORK", 50_000))
    assert ledger.write(lost, "p", 0.0)
    ledger.ended("p", 1.0)
    command = ledger.issue("DOWORK", 0, [PLAIN], 2.0)
    assert not ledger.write(lost, "p", 2.0)
    assert ledger.write(command, "p", 2.0)


def test_heartbeats_of_others_do_not_matter_to_the_ledger() -> None:
    ledger = Ledger("b0")
    ledger.issue("DOWORK", 0, [RICH], 0.0)
    assert not ledger.is_waiting("e")
    assert ledger.heartbeat("e", 1.0) is None


# What is kept.


def test_what_is_settled_is_forgotten_before_what_is_not() -> None:
    ledger = Ledger("b0", kept=3)
    open_one = ledger.issue("DOWORK", 1, [Target("e", "1")], 0.0)
    settled = [ledger.issue("DOWORK", 1, [], 0.0) for _ in range(5)]
    assert list(ledger) == [open_one, *settled[-2:]]


def test_a_command_that_must_be_forgotten_keeps_nobody_waiting() -> None:
    ledger = Ledger("b0", kept=2)
    called: list[Command] = []
    commands = [ledger.issue("DOWORK", 1, [Target("e", "1")], 0.0)]
    commands[0].when_settled(called.append)
    commands += [ledger.issue("DOWORK", 1, [Target("e", "1")], 0.0) for _ in range(2)]
    assert called == commands[:1]
    assert list(ledger) == commands[1:]


def test_large_commands_are_forgotten_sooner_but_the_last_is_kept() -> None:
    ledger = Ledger("b0", kept=100, entries_kept=5)
    first, second, third = (
        ledger.issue("DOWORK", 1, [Target(f"e{n}", "1") for n in range(size)], 0.0)
        for size in (2, 3, 1)
    )
    assert list(ledger) == [second, third]
    huge = ledger.issue("DOWORK", 1, [Target(f"e{n}", "1") for n in range(9)], 0.0)
    assert list(ledger) == [huge]
    assert first.command != second.command
