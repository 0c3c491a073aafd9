"""What is sent to many goes out in parts, and the ledger is right between any two of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from brokerproto.broker import Broker
from brokerproto.commands import Command, Step, Verb
from brokerproto.errors import DrainingError
from brokerproto.turns import Turns
from tests.brokerproto.broker_bench import Bench, Caller

AT_ONCE = 3


class SlowBench(Bench):
    """A broker that sends to three at once; the test says when it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.due: list[Callable[[], object]] = []
        self.broker = Broker(
            self.clock.seconds, "b0", observer=self.observer, later=self.due.append
        )
        self.broker._turns.at_once = AT_ONCE

    def goes_on(self) -> bool:
        """Have one more part sent; tell whether there was one to send."""
        assert len(self.due) <= 1
        if not self.due:
            return False
        self.due.pop()()
        return True


@define(eq=False)
class Known:
    """A connection, what it was ordered to do, and what it was sent."""

    caller: Caller
    engine_id: str
    plain: bool
    ordered: list[str] = field(factory=list)
    sent: list[str] = field(factory=list)

    def hears(self) -> None:
        frames = self.caller.hears()
        self.sent += [each for each in frames if each.split(":")[0] in ("DOWORK", "KILL")]


engine_ids = st.integers(0, 9)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.sampled_from(["DOWORK", "DOWORK", "KILL"])),
        st.tuples(st.just("go on"), st.just(0)),
        st.tuples(st.just("leave"), engine_ids),
        st.tuples(st.just("come"), engine_ids),
        st.tuples(st.just("break"), engine_ids),
        st.tuples(st.just("drain"), st.just(0)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    max_size=25,
)


@define
class Fleet:
    """The engines of a bench; every third one is plain."""

    bench: SlowBench = field(factory=SlowBench)
    here: dict[int, Known] = field(factory=dict)
    gone: list[Known] = field(factory=list)
    commands: dict[str, tuple[Command, list[Known]]] = field(factory=dict)

    def comes(self, number: int) -> None:
        plain = number % 3 == 2
        if number in self.here or self.bench.broker.is_draining:
            return
        options = "" if plain else f":v=1;instance=a{number}"
        known = Known(self.bench.calls(), f"e{number}", plain)
        # The same life goes on, with another connection.
        known.caller.says(f"NewEngine:{known.engine_id}:0{options}")
        self.here[number] = known

    def goes(self, number: int, how: str) -> None:
        known = self.here.pop(number, None)
        if known is None:
            return
        known.hears()
        if how == "leave" and known.caller.session.is_open:
            known.caller.says("Bye")
        known.caller.goes()
        self.gone.append(known)

    def orders(self, verb: Verb) -> None:
        if self.bench.broker.is_draining:
            return
        there = {each.engine_id: each for each in self.here.values()}
        targets = [there[member.engine_id] for member in self.bench.broker.fleet]
        command = self.bench.orders(verb, 3)
        self.commands[command.command] = command, targets
        for each in targets:
            each.ordered.append(f"{verb}:3:command={command.command}")

    def check(self) -> None:
        for known in self.here.values():
            known.hears()
        for known in (*self.here.values(), *self.gone):
            if not known.plain:
                # In their order, nothing twice, nothing left out, nothing of another's.
                assert known.sent == known.ordered[: len(known.sent)]
        for name, (command, targets) in self.commands.items():
            for known in targets:
                step = command.entries[known.engine_id].step
                was_sent = any(frame.endswith(f"command={name}") for frame in known.sent)
                if known.plain:
                    continue
                if known.caller.session.is_open:
                    assert step is (Step.WRITTEN if was_sent else Step.QUEUED)
                elif command.verb == "KILL":
                    assert step is (Step.DONE if was_sent else Step.LOST)
                else:
                    assert step is Step.LOST

    def ends(self) -> None:
        """Have all parts sent; nobody who is still there was forgotten."""
        steps = 0
        while self.bench.goes_on():
            steps += 1
            assert steps < 1000
        self.check()
        for known in self.here.values():
            if known.caller.session.is_open and not known.plain:
                assert known.sent == known.ordered
        for command, _ in self.commands.values():
            assert sum(command.states.values()) == len(command.entries)


@given(st.integers(0, 10), acts)
def test_ledger_is_right_whatever_happens_between_two_parts(
    engines: int, steps: list[tuple[str, str | int]]
) -> None:
    fleet = Fleet()
    for number in range(engines):
        fleet.comes(number)
    for what, which in steps:
        if what == "order":
            fleet.orders("KILL" if which == "KILL" else "DOWORK")
        elif what == "go on":
            fleet.bench.goes_on()
        elif what == "come":
            fleet.comes(int(which))
        elif what == "drain":
            fleet.bench.broker.drain(Random(0))
        elif what == "close":
            for known in fleet.here.values():
                known.hears()
            fleet.bench.broker.close(DrainingError())
        else:
            fleet.goes(int(which), what)
        fleet.check()
    fleet.ends()


def test_goaways_go_out_in_parts_and_keep_their_time() -> None:
    bench = SlowBench()
    callers = [bench.registers(f"e{number}") for number in range(7)]
    bench.broker.drain(Random(1))
    told = [caller.hears() for caller in callers]
    assert [bool(frames) for frames in told] == [True] * 3 + [False] * 4
    bench.clock.advance(0.25)
    while bench.goes_on():
        pass
    told = [frames or caller.hears() for frames, caller in zip(told, callers, strict=True)]
    delays = [int(frames[0].split(":")[1]) for frames in told]
    part = 5000 / 7
    slots = sorted(delays[:3] + [delay + 250 for delay in delays[3:] if delay])
    wanted = [round(part * (number + 0.5)) for number in range(7)]
    assert all(slot in wanted for slot in slots)


def test_without_later_all_is_done_at_once_and_work_waits_for_work() -> None:
    did: list[str] = []
    due: list[Callable[[], object]] = []

    def work(name: str, count: int) -> Iterator[None]:
        for number in range(count):
            did.append(f"{name}{number}")
            yield

    turns = Turns(None, lambda: did.append("|"), 2)
    turns.take(work("a", 5))
    assert did == ["a0", "a1", "a2", "a3", "a4", "|"]
    did.clear()
    turns = Turns(due.append, lambda: did.append("|"), 2)
    turns.take(work("a", 3))
    turns.take(work("b", 2))
    assert did == ["a0", "a1", "|"]
    while due:
        due.pop()()
    assert "".join(did).replace("|", "") == "a0a1a2b0b1"
    assert max(len(part) for part in "".join(did).split("|")) == 4
