"""How an engine keeps a CPU busy: what every kind of work keeps, and the ones without a child."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater

from services.engine.work import (
    WORK_NAMES,
    BlockWork,
    ChildWork,
    PretendWork,
    WorkFailed,
    work_for,
)
from tests.services.engine.children import (
    A_MINUTE,
    reason_of,
)

# What every kind of work keeps.


@pytest.mark.parametrize("name", WORK_NAMES)
@pytest.mark.parametrize("ms", [0, 1, 60])
async def test_work_is_over_in_a_later_turn_and_not_before_its_time(
    reactor: Any, name: str, ms: int
) -> None:
    work = work_for(name, reactor)
    begun = time.monotonic()
    over = work.start(ms)
    assert not over.called
    await over
    # Clocks of different kinds and coarse timers may differ by a tick.
    assert time.monotonic() - begun >= ms / 1000 - 0.002
    await work.stop()


@pytest.mark.parametrize("name", WORK_NAMES)
@pytest.mark.parametrize("first", [0, A_MINUTE])
async def test_a_second_start_raises_and_leaves_the_first_alone(
    reactor: Any, name: str, first: int
) -> None:
    work = work_for(name, reactor)
    over = work.start(first)
    for ms in (0, 5):
        with pytest.raises(RuntimeError):
            work.start(ms)
    assert not over.called
    stopped = work.stop()
    assert await reason_of(over) == "stopped"
    await stopped


@pytest.mark.parametrize("name", WORK_NAMES)
async def test_the_next_work_may_start_from_the_end_of_the_last(reactor: Any, name: str) -> None:
    work = work_for(name, reactor)
    over = work.start(1)
    over.addCallback(lambda _: work.start(0))
    over.addCallback(lambda _: work.start(1))
    await over
    await work.stop()


@pytest.mark.parametrize("name", WORK_NAMES)
async def test_stop_has_failed_the_start_when_it_returns(reactor: Any, name: str) -> None:
    work = work_for(name, reactor)
    over = work.start(A_MINUTE)
    stopped = work.stop()
    assert over.called
    assert await reason_of(over) == "stopped"
    await gatherResults([stopped, work.start(0)])


@pytest.mark.parametrize("name", WORK_NAMES)
async def test_stop_has_nothing_to_do_where_no_work_runs(reactor: Any, name: str) -> None:
    work = work_for(name, reactor)
    assert work.stop().called
    await work.start(0)
    assert work.stop().called


def test_names_make_what_they_say() -> None:
    clock = Clock()
    made = [type(work_for(name, clock)) for name in WORK_NAMES]
    assert made == [ChildWork, BlockWork, PretendWork]


def test_an_unknown_name_is_a_value_error_that_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"'sleep'.*child, block, pretend"):
        work_for("sleep", Clock())


# Work that only waits.


@pytest.mark.parametrize("ms", [250, 86_400_000])
def test_pretended_work_is_over_exactly_at_its_time(ms: int) -> None:
    clock = Clock()
    over = PretendWork(clock).start(ms)
    clock.advance(ms / 1000 - 0.125)
    assert not over.called
    clock.advance(0.125)
    assert over.called


def test_stopped_pretended_work_leaves_no_delayed_call() -> None:
    clock = Clock()
    work = PretendWork(clock)
    over = work.start(250)
    assert work.stop().called
    assert clock.getDelayedCalls() == []
    over.addErrback(lambda failure: failure.trap(WorkFailed))


# Work inside the reactor.


def test_blocking_work_burns_its_time_in_the_reactors_thread() -> None:
    clock = Clock()
    over = BlockWork(clock).start(40)
    begun, used = time.monotonic(), time.thread_time()
    clock.advance(0)
    assert over.called
    assert time.monotonic() - begun >= 0.04
    assert time.thread_time() > used


@pytest.mark.parametrize(
    ("name", "order"), [("block", ["over", "beat"]), ("child", ["beat", "over"])]
)
async def test_heartbeats_go_on_unless_the_work_blocks(
    reactor: Any, name: str, order: list[str]
) -> None:
    happened: list[str] = []
    beat = deferLater(reactor, 0.05, happened.append, "beat")
    work = work_for(name, reactor)
    over = work.start(150)
    over.addCallback(lambda _: happened.append("over"))
    await gatherResults([beat, over])
    assert happened == order
    await work.stop()


class ReportsThenWorks(Protocol):
    def __init__(self, reactor: Any) -> None:
        self.work = BlockWork(reactor)
        self.over: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(b"started")
        self.work.start(1).chainDeferred(self.over)


async def test_what_was_written_before_blocking_work_leaves_before_it(reactor: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = TCP4ClientEndpoint(reactor, *listening.getsockname())
        engine = await connectProtocol(endpoint, ReportsThenWorks(reactor))
        broker, _ = listening.accept()
    with broker:
        broker.setblocking(False)
        seen: Deferred[bytes] = engine.over.addCallback(lambda _: broker.recv(64))
        broker.send(b"work")
        assert await seen == b"started"
        engine.transport.abortConnection()
