"""What waits for engines that do not read: counted to the byte, and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerproto.backlog import Backlog, Unread, end_of_piece
from brokerproto.commands import Verb
from brokerproto.terms import Limits
from tests.brokerproto.broker_bench import Bench, Caller

MOST, IN_ALL, PATIENCE = 40, 100, 3.0
frames = st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"_") + b"\n")


@given(st.lists(frames, max_size=20), st.integers(1, 60))
def test_pieces_are_whole_frames_and_all_of_them(lines: list[bytes], most: int) -> None:
    rest, pieces = b"".join(lines), []
    while rest:
        end = end_of_piece(rest, most)
        pieces.append(rest[:end])
        rest = rest[end:]
    assert b"".join(pieces) == b"".join(lines)
    for piece in pieces:
        assert piece.endswith(b"\n")
        assert len(piece) <= most or piece.count(b"\n") == 1


def test_what_has_no_end_is_one_piece() -> None:
    assert end_of_piece(b"0123456789", 4) == 10


class Reader:
    def __init__(self) -> None:
        self.unread: Unread | None = None

    def hold_back(self, unread: Unread) -> None:
        self.unread = unread
        unread.add(b"first\n")


class BacklogMachine(RuleBasedStateMachine):
    """Beside it a list of texts for each reader, looked at as a whole."""

    @initialize()
    def start(self) -> None:
        self.backlog: Backlog[Reader] = Backlog(MOST, IN_ALL, PATIENCE)
        self.readers = [Reader() for _ in range(4)]
        self.texts: dict[Reader, bytes] = {}
        self.stuck: list[tuple[Reader, float]] = []
        self.now = 0.0

    def _unstick(self, reader: Reader) -> None:
        self.stuck = [each for each in self.stuck if each[0] is not reader]

    @rule(n=st.integers(0, 3))
    def takes_no_more(self, n: int) -> None:
        reader = self.readers[n]
        self.backlog.hold(reader, self.now)
        self.texts.setdefault(reader, b"first\n")
        if reader not in dict(self.stuck):
            self.stuck.append((reader, self.now))

    @rule(n=st.integers(0, 3), frame=frames)
    def is_sent_something(self, n: int, frame: bytes) -> None:
        reader = self.readers[n]
        if reader.unread is not None:
            reader.unread.add(frame)
            self.texts[reader] += frame

    @rule(n=st.integers(0, 3), most=st.integers(1, 30))
    def takes_a_piece(self, n: int, most: int) -> None:
        reader = self.readers[n]
        self.backlog.release(reader)
        self._unstick(reader)
        if reader.unread is not None:
            taken = reader.unread.take(most)
            assert self.texts[reader].startswith(taken)
            self.texts[reader] = self.texts[reader].removeprefix(taken)
            assert bool(taken) or not self.texts[reader]

    @rule(n=st.integers(0, 3))
    def ends(self, n: int) -> None:
        reader = self.readers[n]
        self.backlog.forget(reader)
        self._unstick(reader)
        if reader.unread is not None:
            assert reader.unread.take() == self.texts.pop(reader)
            reader.unread = None

    @rule(seconds=st.sampled_from([0.5, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def sizes_are_those_of_the_texts(self) -> None:
        assert self.backlog.size == sum(map(len, self.texts.values()))
        for reader, text in self.texts.items():
            assert reader.unread is not None
            assert len(reader.unread) == len(text)
            if reader in dict(self.stuck):
                assert reader.unread.take() == b""

    @invariant()
    def overdue_are_those_who_took_nothing_for_long(self) -> None:
        long = [reader for reader, since in self.stuck if self.now - since >= PATIENCE]
        assert list(self.backlog.overdue(self.now)) == long

    @rule()
    def who_is_beyond_the_limits_goes(self) -> None:
        while True:
            sizes = {reader: len(self.texts[reader]) for reader, _ in self.stuck}
            total = sum(map(len, self.texts.values()))
            largest = max(sizes, key=lambda each: sizes[each], default=None)
            given = next(self.backlog.excess(), None)
            if largest is None or (sizes[largest] <= MOST and total <= IN_ALL):
                assert given is None
                return
            assert given is largest
            self.ends(self.readers.index(given))


TestBacklog = BacklogMachine.TestCase


# At a broker

LIMITS = Limits(interval=1, unread=300, unread_in_all=800, frame_rate=0)


def stuck(bench: Bench, engine_id: str) -> Caller:
    caller = bench.registers(engine_id, ":v=1;ack=1;interval=60")
    bench.broker.flow.hold(caller.session, bench.broker.now)
    return caller


def orders(bench: Bench, count: int, verb: Verb = "DOWORK") -> None:
    for _ in range(count):
        bench.orders(verb, 1)


def test_what_is_owed_waits_and_comes_in_order() -> None:
    bench = Bench(LIMITS)
    caller = stuck(bench, "a")
    orders(bench, 3)
    assert caller.says("HeartBeat:a:1") == []
    assert bench.stats.unread == 3 * len("DOWORK:1:command=b0-1\n") + len("ACK:1\n")
    bench.broker.flow.release(caller.session)
    assert caller.session.data_to_send(30) == b"DOWORK:1:command=b0-1\n"
    assert bench.stats.unread == 50
    assert [frame.split(":")[0] for frame in caller.hears()] == ["DOWORK", "DOWORK", "ACK"]
    assert bench.stats.unread == 0
    assert caller.session.unread is None


@pytest.mark.fault("C034")
def test_who_lets_too_much_wait_is_cut_and_others_are_not() -> None:
    bench = Bench(LIMITS)
    deaf, other = stuck(bench, "a"), bench.registers("b")
    for n in range(1, 21):
        orders(bench, 1)
        assert other.hears()[0].endswith(f"command=b0-{n}")
    assert ("lost", "a", "508") in bench.hears()
    assert deaf.session.is_over
    assert bench.stats.unread == 0
    assert bench.stats.rejected == {508: 1}
    assert bench.stats.causes == {"lost:508": 1}


def test_acks_that_are_not_read_count_too() -> None:
    bench = Bench(LIMITS)
    deaf = stuck(bench, "a")
    for seq in range(1, 100):
        if deaf.session.is_over:
            break
        deaf.says(f"HeartBeat:a:{seq}")
        assert bench.stats.unread <= 300
    assert bench.stats.causes == {"lost:508": 1}


@pytest.mark.fault("C101")
def test_who_reads_nothing_for_ten_seconds_is_cut() -> None:
    bench = Bench(LIMITS)
    bench.passes(1)
    deaf = stuck(bench, "a")
    bench.passes(9.75)
    assert not deaf.session.is_over
    bench.passes(0.25)
    assert bench.stats.causes == {"lost:508": 1}


def test_progress_begins_the_ten_seconds_anew() -> None:
    bench = Bench(LIMITS)
    slow = stuck(bench, "a")
    for _ in range(4):
        bench.passes(9)
        bench.broker.flow.release(slow.session)
        slow.hears()
        bench.broker.flow.hold(slow.session, bench.broker.now)
    assert not slow.session.is_over
    bench.broker.flow.release(slow.session)
    bench.passes(11)
    assert not slow.session.is_over


def test_time_in_which_the_broker_did_not_run_is_not_held_against_a_reader() -> None:
    bench = Bench(LIMITS)
    slow = stuck(bench, "a")
    bench.passes(9.75)
    bench.clock.advance(100)
    bench.broker.tick()
    # What the connection has taken meanwhile is not known yet.
    assert not slow.session.is_over
    bench.passes(0.25)
    assert slow.session.is_over


@pytest.mark.fault("C035")
def test_beyond_what_all_may_let_wait_the_largest_goes_first() -> None:
    bench = Bench(LIMITS)
    first = [stuck(bench, f"a{n}") for n in range(3)]
    orders(bench, 5)
    for caller in first[1:2]:
        caller.says("HeartBeat:a1:1")
    second = [stuck(bench, f"b{n}") for n in range(3)]
    while not any(caller.session.is_over for caller in (*first, *second)):
        assert bench.stats.unread <= 800
        orders(bench, 1)
    assert bench.stats.unread <= 800
    lost = [event[1] for event in bench.hears() if event[0] == "lost"]
    assert lost[0] == "a1"
    assert not any(caller.session.is_over for caller in second)
    for caller in (*first, *second):
        caller.goes()
    assert bench.stats.unread == 0


def test_pings_that_are_not_read_count_too() -> None:
    bench = Bench(Limits(interval=1, unread=3))
    deaf = bench.registers("a", ":v=1")
    bench.broker.flow.hold(deaf.session, bench.broker.now)
    bench.passes(2)
    assert bench.stats.causes == {"lost:508": 1}


def test_who_is_over_holds_nothing_back() -> None:
    bench = Bench(LIMITS)
    deaf = stuck(bench, "a")
    orders(bench, 1)
    answers = deaf.says("What is this")
    assert [frame.split(":")[0] for frame in answers] == ["DOWORK", "FAILED"]
    bench.broker.flow.hold(deaf.session, bench.broker.now)
    assert deaf.session.unread is None
    assert bench.stats.unread == 0
