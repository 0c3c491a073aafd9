"""The fakes that others test with, and the examples that the documentation shows."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import pytest
import twisted.internet
from twisted.internet.testing import MemoryReactorClock

import brokerproto.engine_session
import brokerproto.protocol
import brokerproto.testing
from brokerproto.broker import Broker
from brokerproto.carrier import Carrier
from brokerproto.engine import Engine, Worker
from brokerproto.errors import DrainingError
from brokerproto.fleet import Origin
from brokerproto.life import Life
from brokerproto.observer import Observer
from brokerproto.terms import Limits
from brokerproto.testing import (
    ManualClock,
    RecordingCarrier,
    RecordingObserver,
    RecordingWorker,
    Wire,
)
from tests.brokerproto.edge import Socket


class Pair:
    """A broker and an engine that are not connected yet."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.observer = RecordingObserver()
        self.broker = Broker(self.clock.seconds, "b0", Limits(interval=1), self.observer)
        self.worker = RecordingWorker()
        self.engine = Engine(Life("e1", "a1"), self.worker, self.clock.seconds)


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_time_passes_only_when_told_to() -> None:
    clock = ManualClock(5.0)
    seconds = clock.seconds
    assert seconds() == seconds() == 5.0
    clock.advance(0.25)
    assert seconds() == 5.25


@pytest.mark.parametrize(
    ("stands_for", "fake"),
    [(Carrier, RecordingCarrier), (Worker, RecordingWorker), (Observer, RecordingObserver)],
)
def test_a_fake_has_all_that_it_stands_for(stands_for: type, fake: type) -> None:
    assert {name for name in vars(stands_for) if not name.startswith("_")} <= vars(fake).keys()


def test_a_carrier_takes_what_is_owed_when_it_is_settled(pair: Pair) -> None:
    carrier = RecordingCarrier()
    carrier.settle()
    assert (carrier.written, carrier.settled) == (b"", 1)
    carrier.session = pair.broker.open(carrier, Origin("here", "there"))
    pair.broker.receive_data(carrier.session, b"NewEngine:a:0\n")
    assert carrier.written == b""
    carrier.settle()
    assert carrier.written == b"SUCCESS:Registered\n"
    pair.broker.order("KILL", 3, list(pair.broker.fleet))
    assert carrier.take() == b"SUCCESS:Registered\nKILL:3\n"
    assert carrier.take() == b""
    assert carrier.settled == 5


def test_a_worker_writes_down_what_it_is_told() -> None:
    worker = RecordingWorker()
    worker.start(5)
    worker.start(7)
    assert worker == RecordingWorker(running=7, started=[5, 7])
    worker.stop()
    assert worker == RecordingWorker(started=[5, 7], stopped=1)
    worker.exit(0)
    assert worker == RecordingWorker(started=[5, 7], stopped=1, exit_code=0)


def test_an_observer_writes_down_all_it_is_told(pair: Pair) -> None:
    wire = Wire(pair.broker, pair.engine)
    wire.exchange()
    pair.engine.life.seq += 2
    for _ in range(4):
        pair.clock.advance(0.25)
        wire.tick()
    for _ in range(9):
        pair.clock.advance(0.25)
        pair.broker.tick()
    wire.exchange()
    for _ in range(16):
        pair.clock.advance(0.25)
        pair.broker.tick()
    pair.broker.receive_data(
        pair.broker.open(RecordingCarrier(), Origin("stranger", "x")), b"oops!\n"
    )
    assert [event[:2] for event in pair.observer.events] == [
        ("registered", "e1"),
        ("missed", "e1"),
        ("late", "e1"),
        ("recovered", "e1"),
        ("late", "e1"),
        ("lost", "e1"),
        ("refused", "stranger"),
    ]


# The wire


def test_a_wire_carries_both_ways_until_nothing_is_owed(pair: Pair) -> None:
    wire = Wire(pair.broker, pair.engine, "somewhere")
    wire.exchange()
    assert wire.engine_side.is_open
    assert wire.broker_side.is_open
    member = pair.broker.fleet.get("e1")
    assert member is not None
    assert member.origin == Origin("somewhere", "wire://")
    pair.broker.order("DOWORK", 5, list(pair.broker.fleet))
    wire.exchange()
    assert pair.worker.running == 5
    assert pair.broker.stats().reports == 2
    assert not wire.is_cut


def test_a_wire_is_gone_when_a_side_has_ended(pair: Pair) -> None:
    for of_its_own in (True, False):
        wire = Wire(pair.broker, pair.engine)
        wire.exchange()
        if of_its_own:
            pair.engine.leave("stopped")
        else:
            pair.broker.close(DrainingError("the broker stops"))
        wire.exchange()
        assert wire.is_cut
        assert pair.broker.connections == 0
    assert pair.broker.stats().causes == {"left:stopped": 1, "lost:503": 1}


def test_an_engine_that_ends_without_a_bye_closes_its_wire_and_resets_nothing(
    pair: Pair,
) -> None:
    wire = Wire(pair.broker, pair.engine)
    wire.exchange()
    pair.engine.receive_data(b"oops!\n")
    wire.exchange()
    assert wire.is_cut
    assert pair.observer.events[-1] == ("lost", "e1", "closed")


@pytest.mark.parametrize(("reset", "cause"), [(True, "reset"), (False, "closed")])
def test_what_is_on_a_cut_wire_is_lost(pair: Pair, reset: bool, cause: str) -> None:
    wire = Wire(pair.broker, pair.engine)
    wire.exchange()
    pair.clock.advance(1)
    wire.engine_side.tick(pair.clock.now)
    wire.cut(reset=reset)
    wire.cut(reset=not reset)
    wire.exchange()
    wire.tick()
    assert pair.broker.stats().heartbeats == 0
    Wire(pair.broker, pair.engine).exchange()
    assert pair.observer.events[1:] == [
        ("lost", "e1", cause),
        ("registered", "e1", 2),
        ("missed", "e1", 1),
    ]


def test_a_second_wire_of_an_engine_does_not_disturb_the_first_end(pair: Pair) -> None:
    first = Wire(pair.broker, pair.engine)
    first.exchange()
    first.cut()
    second = Wire(pair.broker, pair.engine)
    second.exchange()
    first.exchange()
    first.cut()
    assert first.is_cut
    assert not second.is_cut
    assert pair.broker.stats().registered == 1


# The examples


def example(module: Any) -> str:
    """Cut the indented block out of a module's docstring."""
    lines = (module.__doc__ or "").split("::\n", 1)[1].splitlines()
    block = [line for line in lines if not line.strip() or line.startswith("    ")]
    return textwrap.dedent("\n".join(block)).strip()


def test_example_of_the_fakes_runs() -> None:
    code = example(brokerproto.testing)
    names = {
        **vars(brokerproto.testing),
        **vars(brokerproto.engine_session),
        "Broker": Broker,
        "Engine": Engine,
    }
    exec(code, names)
    assert "assert broker.stats().heartbeats == 1" in code


def test_example_of_a_broker_runs_and_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = example(brokerproto.protocol)
    assert len(code.splitlines()) <= 30
    reactor: Any = MemoryReactorClock()
    monkeypatch.setattr(twisted.internet, "reactor", reactor, raising=False)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", reactor)
    with pytest.raises(SystemExit):
        exec(code, {"__name__": "__main__"})
    assert reactor.hasRun
    ((port, factory, _, interface),) = reactor.tcpServers
    assert (port, interface) == (1337, "127.0.0.1")
    socket = Socket()
    socket.connect(factory.buildProtocol(socket.peerAddr))
    socket.hears("NewEngine:e1:0")
    assert socket.said() == ["SUCCESS:Registered"]
    for _ in range(200):
        reactor.advance(0.5)
    assert socket.calls == ["half-close", "abort"]
    assert capsys.readouterr().out == "registered e1\nlost e1 timeout\n"
