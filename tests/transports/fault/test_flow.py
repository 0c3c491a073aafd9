"""What comes out of a slowed and cut-up connection is what went in, when it should."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone

from tests.transports.fault.bench import Bench
from tests.transports.recording import Producer, Recorder
from transports.fault import HIGH_WATER, Amount, Faults
from transports.fault.lane import HEAP

SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "slice": st.sampled_from(["1", "3", "1-7"]),
        "delay": st.sampled_from(["5", "40-60", "2s"]),
        "limit": st.sampled_from(["100", "100000", "50-5000"]),
        "direction": st.sampled_from(["in", "out", "both"]),
        "seed": st.integers(0, 3).map(str),
    },
)
WRITES = st.lists(
    st.tuples(st.sampled_from(["near", "far"]), st.binary(max_size=60), st.integers(0, 100)),
    max_size=12,
)


def options_of(shape: dict[str, str]) -> str:
    return "?" + "&".join(f"{key}={value}" for key, value in shape.items()) if shape else ""


def exchanged(bench: Bench, writes: list[tuple[str, bytes, int]]) -> dict[str, bytes]:
    """Write, and let time pass in between; give what each end has written."""
    written = {"near": b"", "far": b""}
    for end, data, pause_ms in writes:
        getattr(bench, end).transport.write(data)
        written[end] += data
        bench.pass_time(pause_ms / 1000)
    return written


@given(
    shape=SHAPES, other=st.none() | SHAPES, writes=WRITES, closing=st.sampled_from(["near", "far"])
)
def test_what_comes_out_is_what_went_in(
    shape: dict[str, str],
    other: dict[str, str] | None,
    writes: list[tuple[str, bytes, int]],
    closing: str,
) -> None:
    bench = Bench(options_of(shape), None if other is None else options_of(other)).meet()
    written = exchanged(bench, writes)
    bench.pass_time(60)
    assert bench.near.received == written["far"]
    assert bench.far.received == written["near"]
    bench.near.transport.write(b"last words")
    bench.far.transport.write(b"last words")
    getattr(bench, closing).transport.loseConnection()
    bench.pass_time(60)
    other_end = bench.far if closing == "near" else bench.near
    assert other_end.received.endswith(b"last words")
    for end in bench.near, bench.far:
        assert end.events[-1:] == [ConnectionDone]
    assert bench.switch.links == ()
    assert bench.clock.calls == []


@given(shape=SHAPES, writes=WRITES)
def test_same_seed_and_number_give_the_same(
    shape: dict[str, str], writes: list[tuple[str, bytes, int]]
) -> None:
    def told() -> list[Any]:
        bench = Bench(options_of(shape)).meet()
        times: list[Any] = []
        for end in bench.near, bench.far:
            end.on_data = lambda data, end=end: times.append(
                (bench.clock.seconds(), end is bench.near, data)
            )
        exchanged(bench, writes)
        bench.pass_time(60)
        return times

    assert told() == told()


def drawn(seed: int, number: int) -> list[bytes]:
    bench = Bench(f"?slice=1-20&direction=in&seed={seed}")
    for _ in range(number):
        bench.dial()
    bench.far.transport.write(bytes(300))
    bench.pass_time()
    return list(bench.near.events)


def test_another_seed_and_another_number_give_something_else() -> None:
    assert len({tuple(map(len, drawn(seed, number))) for seed in (1, 2) for number in (1, 2)}) == 4


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_where_it_is_cut_does_not_depend_on_the_writes(lengths: list[int]) -> None:
    def cuts(writes: list[bytes]) -> set[int]:
        bench = Bench("?slice=1-20&direction=in").meet()
        for data in writes:
            bench.far.transport.write(data)
        bench.pass_time()
        places, at = set(), 0
        for event in bench.near.events:
            at += len(event)
            places.add(at)
        return places

    whole = cuts([bytes(sum(lengths))])
    assert whole <= cuts([bytes(length) for length in lengths])


@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_sliced_bytes_come_one_by_one_in_the_directions_that_are_named(direction: str) -> None:
    bench = Bench(f"?slice=1&direction={direction}").meet()
    bench.near.transport.write(b"from near")
    bench.far.transport.write(b"from far")
    bench.pass_time()
    singly = [len(event) == 1 for end in (bench.near, bench.far) for event in end.events]
    ins, outs = singly[: len(bench.near.events)], singly[len(bench.near.events) :]
    assert (all(ins), all(outs)) == (direction != "out", direction != "in")
    assert (bench.near.received, bench.far.received) == (b"from far", b"from near")


def test_pieces_are_joined_only_while_many_bytes_wait() -> None:
    bench = Bench("?slice=1&direction=in").meet()
    bench.far.transport.write(bytes(HEAP - 1))
    bench.pass_time()
    assert len(bench.near.events) == HEAP - 1
    bench.far.transport.write(bytes(20 * HEAP))
    bench.pass_time()
    assert len(bench.near.events) < 20 * HEAP
    assert max(len(event) for event in bench.near.events) <= 1 + 20


def test_delay_is_kept_for_each_write_and_pieces_are_under_way_together() -> None:
    bench = Bench("?delay=200&direction=out").meet()
    times: list[float] = []
    bench.far.on_data = lambda data: times.append(round(bench.clock.seconds(), 3))
    bench.near.transport.write(b"one")
    bench.pass_time(0.05)
    bench.near.transport.write(b"two")
    bench.pass_time(1)
    assert times == [0.2, 0.25]


def test_jitter_lies_around_the_delay_and_never_turns_the_order_round() -> None:
    bench = Bench("?delay=50&jitter=20&direction=in&slice=1").meet()
    times: list[float] = []
    bench.near.on_data = lambda data: times.append(bench.clock.seconds())
    for number in range(100):
        bench.far.transport.write(bytes([number]))
        bench.pass_time(0.1)
    assert bench.near.received == bytes(range(100))
    delays = [came - number * 0.1 for number, came in enumerate(times)]
    assert 0.03 <= min(delays) < 0.04 < 0.06 < max(delays) <= 0.0701


@given(st.integers(1, 5000), st.integers(1, 3000))
def test_no_more_comes_than_the_limit_allows(limit: int, size: int) -> None:
    bench = Bench(f"?limit={limit}&direction=out").meet()
    arrived: list[tuple[float, int]] = []
    bench.far.on_data = lambda data: arrived.append(
        (bench.clock.seconds(), len(bench.far.received))
    )
    bench.near.transport.write(bytes(size))
    bench.pass_time(size / limit + 1)
    assert bench.far.received == bytes(size)
    for when, count in arrived:
        assert count <= limit * when + 1e-6
    assert arrived[-1][0] == pytest.approx(size / limit)


@pytest.mark.parametrize("options", ["?delay=1s", "?limit=1000"])
def test_who_can_be_stopped_is_stopped_before_much_is_under_way(options: str) -> None:
    bench = Bench(options).meet()
    producer = Producer(bench.near.transport)
    bench.near.transport.registerProducer(producer, True)
    bench.near.transport.write(bytes(HIGH_WATER))
    assert producer.asked == []
    bench.near.transport.write(b"x")
    assert producer.asked == ["pause"]
    held = Producer(bench.far.transport)
    bench.far.transport.registerProducer(held, True)
    for _ in range(4):
        bench.far.transport.write(bytes(HIGH_WATER))
        bench.pass_time()
    assert "pause" in held.asked
    bench.pass_time(600)
    assert producer.asked == ["pause", "resume"]
    assert held.asked[-1] == "resume"
    assert len(bench.near.received) == 4 * HIGH_WATER
    bench.near.transport.unregisterProducer()
    bench.near.transport.loseConnection()
    bench.pass_time(10)
    assert bench.clock.calls == []


@pytest.mark.parametrize("options", ["", "?delay=10"])
@pytest.mark.parametrize("close", ["loseConnection", "loseWriteConnection"])
def test_pull_producer_is_asked_until_it_has_finished(options: str, close: str) -> None:
    bench = Bench(options).meet()
    producer = Producer(bench.near.transport, parts=3)
    bench.near.transport.registerProducer(producer, False)
    getattr(bench.near.transport, close)()
    bench.pass_time(1)
    assert bench.far.received == b"210"
    assert bench.far.events[-1:] == [ConnectionDone]


def test_paused_protocol_receives_nothing_though_bytes_are_under_way() -> None:
    bench = Bench("?delay=100&slice=1").meet()
    bench.far.transport.write(b"words")
    bench.pass_time(0.05)
    bench.near.transport.pauseProducing()
    bench.pass_time(1)
    assert bench.near.events == []
    bench.near.transport.resumeProducing()
    assert bench.near.events == []
    bench.pass_time(1)
    assert bench.near.received == b"words"


def test_protocol_that_pauses_itself_gets_no_piece_more() -> None:
    bench = Bench("?slice=1&direction=in").meet()
    bench.near.on_data = lambda data: bench.near.transport.pauseProducing()
    bench.far.transport.write(b"abc")
    for expected in b"a", b"ab", b"abc":
        bench.pass_time(1)
        assert bench.near.received == expected
        bench.near.transport.resumeProducing()


def test_what_a_protocol_raises_costs_it_its_connection_alone(logged_failures: list[Any]) -> None:
    class Failing(Recorder):
        def dataReceived(self, data: bytes) -> None:
            raise KeyError("failed")

    bench = Bench("?delay=10", near=Failing).meet()
    bench.far.transport.write(b"x")
    bench.pass_time(1)
    assert bench.near.events == [KeyError]
    assert bench.far.events == [ConnectionDone]
    assert [failure.type for failure in logged_failures] == [KeyError]
    logged_failures.clear()
    assert bench.switch.links == ()


def test_only_bytes_can_be_written() -> None:
    bench = Bench().meet()
    text: Any = "text"
    with pytest.raises(TypeError):
        bench.near.transport.write(text)


def test_reactor_that_calls_a_little_early_delays_no_piece() -> None:
    bench = Bench(faults=Faults(delay=Amount.seconds(1))).meet()
    bench.near.transport.write(b"x")
    bench.pass_time()
    [call] = bench.clock.calls
    bench.clock.rightNow = call.getTime() - 1e-9  # as asyncio does, by its clock's resolution
    bench.clock.calls.remove(call)
    call.called = True
    call.func(*call.args, **call.kw)
    bench.pass_time()
    assert bench.far.received == b"x"
