"""What is done with a heartbeat at once is what is done with one that is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from brokerproto.backlog import Unread
from brokerproto.beats import beginning_of, end_of, id_in, run_of
from brokerproto.broker_session import BrokerSession
from brokerproto.circumstances import Circumstances
from brokerproto.commands import Verb
from brokerproto.messages import Heartbeat
from brokerproto.terms import Limits
from brokerproto.wire import encode
from tests.brokerproto.broker_bench import Bench, Caller
from tests.brokerproto.talk import opened

LARGEST = 2**53 - 1
DOWORK: Verb = "DOWORK"
KILL: Verb = "KILL"

# Where the number of digits changes, and with it how the bytes are put together.
firsts = st.sampled_from([0, 0, 0, 8, 98, 995, 998, 9_998, 999_995, 10**7, LARGEST - 3])
options = st.sampled_from(
    [
        "",
        ":v=1",
        ":v=1;ack=1",
        ":v=1;instance=a1;ack=3",
        ":v=1;instance=a1;interval=7",
        ":v=1;interval=2;ack=2",
    ]
)
orders = st.sampled_from([(DOWORK, 700), (DOWORK, 0), (KILL, 3)])
limits = st.sampled_from(
    [Limits(interval=1), Limits(interval=1, frame_rate=3), Limits(interval=2, frame_rate=0)]
)


class Double:
    """Two brokers that are told the same; one of them reads everything.

    A session that is at rest is the only one that does anything at once, so that whoever
    is never at rest reads.
    """

    def __init__(self, limits: Limits, *, drains: bool) -> None:
        self.benches = Bench(limits), Bench(limits)
        self.callers: list[tuple[Caller, Caller]] = []
        self.drains = drains
        self.at_once = 0

    def does(self, act: Callable[[Bench], object]) -> None:
        for bench in self.benches:
            act(bench)
        self.agree()

    def calls(self) -> None:
        quick, slow = (bench.calls(f"peer {len(self.callers)}") for bench in self.benches)
        self.callers.append((quick, slow))

    def sends(self, which: int, data: bytes) -> None:
        quick, slow = self.callers[which]
        if quick.session.is_over:
            return
        if slow.session.circumstances is None:
            slow.session.circumstances = Circumstances()
        self._brings(self.benches[0], quick.session, data)
        self._brings(self.benches[1], slow.session, data)
        self.agree()

    def _brings(self, bench: Bench, session: BrokerSession, data: bytes) -> None:
        if not self.drains:
            before = session.used_until
            bench.broker.receive_data(session, data)
            self.at_once += session.circumstances is None and before < session.used_until
            return
        events = session.receive_data(data, bench.broker.now)
        if events is None:
            self.at_once += 1
            bench.broker.heard()
        else:
            bench.broker.received(session, events, data)

    def agree(self) -> None:
        quick, slow = self.benches
        assert quick.observer.events == slow.observer.events
        assert quick.stats == slow.stats
        assert quick.broker.brake.heard == slow.broker.brake.heard
        assert quick.broker.brake.waiting == slow.broker.brake.waiting
        for pair in self.callers:
            one, other = (shown(caller) for caller in pair)
            assert one == other
            if quick.broker.limits.frame_rate:
                assert pair[0].session.used_until == pair[1].session.used_until


def shown(caller: Caller) -> tuple[Any, ...]:
    """All that shows of a session, what it says included."""
    session = caller.session
    account = session.account
    return (
        caller.hears(),
        session.state,
        str(session.failure),
        session.bye,
        session.engine_id,
        session.terms,
        session.seen,
        session.pings,
        session.busy,
        session.rtt_us,
        session.attentive,
        session.is_throttled,
        session.is_full,
        account
        and (account.first, account.last, account.missed, account.repeated, account.counted_at),
    )


@st.composite
def chunks(draw: st.DrawFn, name: str, last: int) -> tuple[bytes, int]:
    """What an engine sends at once: mostly its next heartbeat, alone and whole."""
    if draw(st.integers(0, 3)):
        return encode(Heartbeat(name, min(last + 1, LARGEST))), last + 1
    data = b""
    for _ in range(draw(st.sampled_from([1, 1, 2, 3, 30]))):
        how = draw(st.integers(0, 19))
        last += {0: 0, 1: 3, 2: -1}.get(how, 1)
        frame = f"HeartBeat:{name}:{last}"
        if how in (3, 4, 5, 6):
            value = draw(st.sampled_from(["0", "321", "9" * 15, "9" * 16, "07", "1;rtt=2", ""]))
            frame += f":rtt={value}"
        elif how == 7:
            frame += ":busy=b0-1"
        elif how == 8:
            frame = f"Report:b0-{draw(st.integers(1, 3))}:done"
            last -= 1
        elif how == 9:
            other = draw(st.sampled_from(["q", name + "x", name[:-1] or "z"]))
            frame = f"HeartBeat:{other}:{last}"
        elif how == 10:
            frame = draw(st.sampled_from(["Nonsense", "Bye", "", f"HeartBeat:{name}:0{last}"]))
            last -= 1
        data += frame.encode() + draw(st.sampled_from([b"\n"] * 9 + [b"\r\n"]))
    cut = draw(st.sampled_from([0, 0, 0, 1, 2, 12]))
    return (data[:-cut] if cut else data), last


@given(limits=limits, drains=st.booleans(), data=st.data())
def test_it_makes_no_difference_whether_a_heartbeat_is_read(
    limits: Limits, drains: bool, data: st.DataObject
) -> None:
    double = Double(limits, drains=drains)
    names = ["a", "engine-12"]
    lasts, tails = [], [b""] * len(names)
    for which, name in enumerate(names):
        first = data.draw(firsts, "first")
        double.calls()
        double.sends(which, f"NewEngine:{name}:{first}{data.draw(options)}\n".encode())
        lasts.append(first)
    for _ in range(data.draw(st.integers(1, 40), "steps")):
        step = data.draw(st.integers(0, 15), "step")
        if step < 9:
            which = data.draw(st.integers(0, 1), "which")
            if data.draw(st.booleans(), "first of a tick"):
                double.does(lambda bench: bench.passes(bench.broker.tick_length))
            # What was cut off the last time comes first.
            piece, lasts[which] = data.draw(chunks(names[which], lasts[which]), "chunk")
            double.sends(which, tails[which] + piece)
        elif step < 13:
            seconds = data.draw(st.sampled_from([0.25, 0.5, 0.75, 2.5, 9.0]), "seconds")
            double.does(partial(Bench.passes, seconds=seconds))
        elif step == 13:
            verb, value = data.draw(orders)
            double.does(partial(Bench.orders, verb=verb, value=value))
        elif step == 14:
            # Somebody wants an id that may be held: its holder may be asked.
            double.calls()
            name = data.draw(st.sampled_from(names))
            double.sends(len(double.callers) - 1, f"NewEngine:{name}:0:v=1\n".encode())
        else:
            stuck = data.draw(st.sampled_from([True, False]))
            for bench, caller in zip(double.benches, double.callers[0], strict=True):
                if stuck:
                    bench.broker.flow.hold(caller.session, bench.broker.now)
                else:
                    bench.broker.flow.release(caller.session)
            double.agree()
    event(f"at once: {min(double.at_once, 3)}")


def test_the_next_heartbeat_of_an_engine_at_rest_is_done_with_at_once() -> None:
    for first in (0, 7, 998, 999, 1000, 99_999, 999_998, 999_999, 5_000_000):
        session = opened(b"NewEngine:a:%d:v=1\n" % first)
        for step in (1, 2, 3):
            data = b"HeartBeat:a:%d\n" % (first + step)
            assert session.receive_data(data, float(step)) is None
            assert (session.seen, session.used_until) == (step, step)
        rtt = b"HeartBeat:a:%d:rtt=77\n" % (first + 4)
        assert session.receive_data(rtt, 4.0) is None
        assert session.rtt_us == 77
        assert session.account is not None
        assert session.account.counted == 4


def test_an_ack_is_owed_and_so_is_a_look() -> None:
    session = opened(b"NewEngine:a:0:v=1;ack=2\n")
    assert session.receive_data(b"HeartBeat:a:1\n", 1.0) is None
    assert session.receive_data(b"HeartBeat:a:2\n", 2.0) == ()
    assert session.data_to_send() == b"ACK:2\n"
    several = b"".join(b"HeartBeat:a:%d\n" % seq for seq in range(3, 8))
    assert session.receive_data(several, 3.0) == ()
    assert session.data_to_send() == b"ACK:4\nACK:6\n"


def test_the_second_of_a_tick_is_looked_at() -> None:
    session = opened(b"NewEngine:a:0:v=1\n")
    assert session.receive_data(b"HeartBeat:a:1\n", 1.0) is None
    assert session.receive_data(b"HeartBeat:a:2\n", 1.0) == ()
    assert session.receive_data(b"HeartBeat:a:3\n", 2.0) is None


@pytest.mark.parametrize("framing", ["lines", "message"])
def test_who_is_not_at_rest_is_read(framing: Any) -> None:
    session = opened(b"NewEngine:a:0:v=1\n")
    session.framing = framing
    session.pings = 1
    assert session.circumstances is not None
    events = session.receive_data(b"HeartBeat:a:1" + b"\n" * (framing == "lines"), 1.0)
    assert [type(each).__name__ for each in events or ()] == ["Recovered"]
    assert (session.circumstances is None) is (framing == "lines")


@given(st.integers(0, 2_000_000) | st.integers(0, LARGEST))
def test_a_heartbeat_is_its_beginning_and_its_end(seq: int) -> None:
    beginning = beginning_of("e-1")
    assert beginning + end_of(seq) == encode(Heartbeat("e-1", seq))
    assert id_in(beginning) == "e-1"
    run = run_of(beginning + end_of(seq), beginning, seq - 1)
    assert run is not None
    assert (run.last, run.rtt_us) == (seq, None)


@pytest.mark.parametrize(
    "frames",
    [
        b"HeartBeat:a:2",
        b"HeartBeat:a:2\nHeartBeat:a:4\n",
        b"HeartBeat:a:2\n\n",
        b"HeartBeat:a:2\r\n",
        b"HeartBeat:a:2:rtt=\n",
        b"HeartBeat:a:2:rtt=01\n",
        b"HeartBeat:a:2:rtt=9007199254740992\n",
        b"HeartBeat:a:2:busy=c\n",
        b"HeartBeat:ab:2\n",
        b"HeartBeat:a:2\nBye\n",
    ],
)
def test_anything_else_is_no_run(frames: bytes) -> None:
    assert run_of(frames, beginning_of("a"), 1) is None


def test_there_is_no_number_after_the_last_one() -> None:
    frames = b"HeartBeat:a:%d\nHeartBeat:a:%d\n" % (LARGEST, LARGEST + 1)
    assert run_of(frames, beginning_of("a"), LARGEST - 1) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attentive", True),
        ("is_throttled", True),
        ("unread", Unread(0.0, None)),
        ("_excused_until", 2.0),
        ("_unknown_verbs", 2),
        ("framing", "lines"),
    ],
)
def test_a_session_is_not_at_rest_before_all_is_over(name: str, value: Any) -> None:
    session = opened(b"NewEngine:a:0:v=1\n")
    setattr(session, name, value)
    session.receive_data(b"Report:c:done\n", 1.0)
    assert getattr(session, name) == value
    assert (session.circumstances is None) is (name == "framing")


def test_work_is_told_of_until_a_heartbeat_tells_of_none() -> None:
    session = opened(b"NewEngine:a:0:v=1\n")
    session.receive_data(b"HeartBeat:a:1:busy=c\n", 1.0)
    session.receive_data(b"Report:c:done\n", 2.0)
    told = [session.busy]
    session.receive_data(b"HeartBeat:a:2\n", 3.0)
    assert [*told, session.busy] == ["c", None]
    assert session.circumstances is None


def test_a_round_trip_is_remembered_until_another_one_is_told() -> None:
    session = opened(b"NewEngine:a:0:v=1\n")
    session.receive_data(b"HeartBeat:a:1:rtt=5\n", 1.0)
    session.receive_data(b"HeartBeat:a:2\nHeartBeat:a:3:rtt=0\n", 2.0)
    assert session.rtt_us == 5
