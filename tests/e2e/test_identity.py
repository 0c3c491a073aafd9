"""One id and two who want it, with real programs: who has it, and what it cost the other."""

from __future__ import annotations

import select
import signal
import socket
import threading
from datetime import datetime
from typing import Any

import pytest

from services.scaletest.programs import Program, wait_until
from tests.e2e.peers import Peer, RawEngine, host_and_port, refused_with
from tests.e2e.scene import BrokerProgram, Stage, signalled

pytestmark = pytest.mark.e2e


class Link:
    """A way to a broker that can be cut so that only the engine notices.

    Attributes:
        address: What the engine connects to.
    """

    def __init__(self, broker: str) -> None:
        self._broker = host_and_port(broker)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut: list[socket.socket] = []
        self._wake, self._woken = socket.socketpair()
        self._stopping = self._paused = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def cut(self) -> socket.socket:
        """End the engine's side of its connection; the broker's stays as it is."""
        with self._lock:
            [(engine, broker)] = self._pairs
            self._pairs.clear()
            # Closed at the end: it may be waited for just now.
            engine.shutdown(socket.SHUT_RDWR)
            self._cut.append(engine)
        return broker

    def pause(self) -> None:
        """Carry nothing until `resume`; what is sent meanwhile waits."""
        self._paused = True
        self._wake.send(b"x")

    def resume(self) -> None:
        """Carry on."""
        self._paused = False
        self._wake.send(b"x")

    def close(self) -> None:
        """Carry nothing any more."""
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()
        for end in (*self._cut, self._listening, self._wake, self._woken):
            end.close()

    def _carry(self) -> None:
        while not self._stopping:
            with self._lock:
                ends = {} if self._paused else dict(self._pairs)
            ends |= {broker: engine for engine, broker in ends.items()}
            readable = select.select([self._listening, self._woken, *ends], [], [])[0]
            with self._lock:
                for end in readable:
                    if end is self._woken:
                        end.recv(1)
                    elif end is self._listening:
                        self._pairs.append(
                            (end.accept()[0], socket.create_connection(self._broker))
                        )
                    elif end in ends:
                        self._pass(end, ends[end])

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        # One that was cut meanwhile is no longer among them.
        pair = next((pair for pair in self._pairs if source in pair), None)
        if pair is None:
            return
        data = source.recv(65536)
        if data:
            target.sendall(data)
        else:
            self._pairs.remove(pair)
            for end in pair:
                end.close()


def messages(program: Program) -> list[str]:
    return [event["message"] for event in program.events()]


def history(broker: BrokerProgram, **query: str) -> list[dict[str, Any]]:
    """Ask who went, the last one first."""
    ends: list[dict[str, Any]] = broker.api.ask("/history", **query)["history"]
    return ends


def account(broker: BrokerProgram, engine_id: str) -> dict[str, Any]:
    """Ask for an engine's account."""
    found: dict[str, Any] = broker.engines()[engine_id]["account"]
    return found


@pytest.mark.fault("C040")
def test_of_two_healthy_engines_with_one_id_the_first_goes_on(stage: Stage) -> None:
    broker = stage.broker()
    first = stage.engines(broker.address, "twin", "--ack", "1")
    broker.until(registered=1, heartbeats=1)
    second = stage.engines(broker.address, "twin", "--ack", "1")
    reason = second.logged("reason", "not registered as twin: ")
    assert reason == "409 DUPLICATE_ID: this id is registered"
    shown = broker.engines()["twin"]
    assert (shown["epoch"], shown["state"]) == (1, "alive")
    assert second.end() == 0
    assert first.end() == 0
    stats = broker.until(registered=0, connections=0)
    assert stats["takeovers"] == {}
    # One for each try of the second; each was answered.
    assert stats["probes"] == stats["rejected"]["409"] >= 1
    assert stats["causes"] == {"left:stopped": 1}
    assert stats["heartbeats"] == first.logged("heartbeats", "")
    assert (stats["missed"], second.logged("heartbeats", "")) == (0, 0)
    assert not any("not registered" in message for message in messages(first))


@pytest.mark.fault("C041")
@pytest.mark.fault("C058")
def test_engine_that_stands_still_loses_its_id_to_the_one_that_wants_it(stage: Stage) -> None:
    broker = stage.broker(interval=10)
    first = stage.engines(broker.address, "pod-0")
    broker.until(registered=1)
    signalled(first, signal.SIGSTOP)
    second = stage.engines(broker.address, "pod-0")
    second.logged("epoch", "registered at ")
    stats = broker.until(registered=1, registrations=2)
    assert sum(stats["takeovers"].values()) == 1
    assert stats["causes"] == {"lost:410": 1}
    shown = broker.engines()["pod-0"]
    assert (shown["epoch"], shown["state"], shown["account"]["first"]) == (2, "alive", 0)
    [end] = history(broker, cause="410")
    assert (end["id"], end["epoch"], end["manner"]) == ("pod-0", 1, "lost")
    # It hears of it when it goes on, and tries once more in a minute.
    signalled(first, signal.SIGCONT)
    reason = first.logged("reason", "not registered as pod-0: ")
    assert reason == "410 SUPERSEDED: a newer connection took this id over"
    assert first.logged("seconds", "not registered as pod-0: ") == 60
    broker.until(registered=1, connections=1)
    taken = [event for event in broker.program.events() if "taken over" in event["message"]]
    assert [(event["engine"], event["epoch"]) for event in taken] == [("pod-0", 1)]
    assert (second.end(), first.end()) == (0, 0)


@pytest.mark.fault("C041")
def test_holder_that_says_nothing_is_asked_for_two_seconds_of_the_brokers_own(
    stage: Stage,
) -> None:
    broker = stage.broker(interval=10)
    with Peer.to(broker.address) as silent, RawEngine.to(broker.address) as newcomer:
        silent.send("NewEngine:pod-0:0:v=1;instance=a1")
        silent.frame()
        assert ";epoch=2;" in newcomer.register("pod-0", options="v=1;instance=b2;ack=1")
        *asked, last = silent.rest()
        # One at once, and one at each tick of half a second; each brings a whole one at
        # most, however late it comes.
        assert set(asked) == {"PING"}
        assert 2 <= len(asked) <= 5
        assert refused_with([last]) == 410
        newcomer.beat()
        newcomer.leave()
    stats = broker.until(connections=0)
    assert (stats["takeovers"], stats["probes"]) == ({"silent": 1}, 1)


@pytest.mark.fault("C041")
@pytest.mark.fault("C046")
def test_engine_whose_link_was_cut_has_its_id_back_at_once(stage: Stage) -> None:
    broker = stage.broker(interval=10)
    link = Link(broker.address)
    try:
        engine = stage.engines(link.address, "far", "--ack", "1", "--interval", "10")
        broker.until(registered=1)
        command = broker.api.ask("/dowork", time=2000)["command"]

        def step(name: str) -> bool:
            states = broker.api.ask(f"/commands/{command}")["states"]
            return bool(states[name])

        wait_until("the work to begin", lambda: step("started"), 60)
        old = Peer(link.cut())
        stats = broker.until(60, registrations=2, registered=1)
        assert (stats["takeovers"], stats["probes"]) == ({"resumed": 1}, 0)
        assert broker.engines()["far"]["epoch"] == 2
        # What was lost with the connection is done nevertheless.
        wait_until("the work to be done", lambda: step("done"), 60)
        before = account(broker, "far")
        assert refused_with(old.rest()[-1:]) == 410
        old.socket.close()
        broker.until(connections=1)
        assert broker.engines()["far"]["epoch"] == 2
        assert account(broker, "far")["missed"] == before["missed"]
        assert engine.end() == 0
        stats = broker.until(registered=0, connections=0)
        assert stats["causes"] == {"lost:410": 1, "left:stopped": 1}
        assert stats["strange_reports"] == 0
        assert stats["heartbeats"] + stats["missed"] == engine.logged("heartbeats", "")
    finally:
        link.close()


@pytest.mark.fault("C097")
def test_link_that_stands_still_and_goes_on_costs_one_registration(stage: Stage) -> None:
    broker = stage.broker()
    link = Link(broker.address)
    try:
        engine = stage.engines(link.address, "far", "--ack", "1")
        broker.until(registered=1, heartbeats=1)
        link.pause()
        broker.until(60, late=1)
        link.resume()
        broker.until(60, late=0)
        # Had the machine stood still meanwhile, it would have been found lost already.
        before = broker.stats()
        link.pause()
        broker.until(60, registered=0)
        link.resume()
        broker.until(60, registered=1)
        stats = broker.stats()
        assert stats["lost"] == before["lost"] + 1
        assert stats["takeovers"] == {}
        assert set(stats["causes"]) == {"lost:timeout"}
        assert broker.engines()["far"]["epoch"] == stats["registrations"] == stats["lost"] + 1
        assert engine.end() == 0
        stats = broker.until(registered=0, connections=0)
        assert stats["heartbeats"] + stats["missed"] == engine.logged("heartbeats", "")
        # What came too late was stale, and is counted as missed, once.
        assert stats["missed"] >= 1
    finally:
        link.close()


@pytest.mark.fault("C046")
def test_frames_of_a_superseded_connection_change_nothing(stage: Stage) -> None:
    broker = stage.broker(interval=10)
    with Peer.to(broker.address) as old, RawEngine.to(broker.address) as new:
        old.send("NewEngine:e:0:v=1;instance=a1;ack=1", "HeartBeat:e:1")
        token = old.frame().partition("resume=")[2].partition(";")[0]
        assert old.frame() == "ACK:1"
        new.register("e", 1, f"v=1;instance=a1;ack=1;resume={token}")
        assert old.frame().startswith("FAILED:410:SUPERSEDED:never:")
        old.write_to_the_deaf(b"HeartBeat:e:2\nHeartBeat:e:3\nBye\n")
        broker.until(stale=3)
        new.beat()
        old.reset()
        broker.until(connections=1)
        new.beat()
        assert account(broker, "e") == {
            "first": 0,
            "last": 3,
            "counted": 3,
            "missed": 0,
            "repeated": 0,
            "joined": False,
        }
        new.leave()


@pytest.mark.fault("C044")
def test_two_that_fight_for_an_id_are_told_to_wait_and_the_log_is_short(stage: Stage) -> None:
    broker = stage.broker(interval=10)
    tokens: list[str] = []
    kept: list[RawEngine] = []
    refused = 0
    for _ in range(300):
        peer = RawEngine.to(broker.address)
        resume = f";resume={tokens[-1]}" if tokens else ""
        peer.send(f"NewEngine:bone:0:v=1;instance=a1{resume}")
        answer = peer.frame()
        if answer.startswith("SUCCESS"):
            tokens.append(answer.partition("resume=")[2].partition(";")[0])
            kept.append(peer)
        else:
            assert answer == "FAILED:429:TOO_MANY:60:this id was taken over too often"
            refused += 1
            peer.socket.close()
    assert refused >= 1
    taken = [datetime.fromisoformat(end["ended"]) for end in reversed(history(broker, cause="410"))]
    assert 5 <= len(taken) == 300 - refused - 1
    # Whatever the machine did meanwhile: no six of them lie within a minute.
    for first, sixth in zip(taken, taken[5:], strict=False):
        assert (sixth - first).total_seconds() >= 59
    assert broker.stats()["takeovers"] == {"resumed": len(taken)}
    told = [message for message in messages(broker.program) if "bone" in message]
    # Of one kind about one engine five lines in half a minute; three kinds, and a sum.
    windows = 1 + broker.stats()["uptime"] // 30
    assert len(told) <= 4 * 5 * windows
    kept[-1].send("Bye")
    for peer in kept:
        peer.socket.close()
    broker.until(connections=0)


def test_engine_comes_back_to_a_broker_that_was_killed_and_its_life_goes_on(
    stage: Stage, port: int
) -> None:
    broker = stage.broker(port=port)
    engine = stage.engines(broker.address, "steady", "--ack", "1")
    broker.until(registered=1, heartbeats=2)
    broker.program.process.kill()
    broker.program.process.wait()
    again = stage.broker(port=port)
    again.until(120, registered=1)
    shown = again.engines()["steady"]
    assert (shown["epoch"], shown["account"]["joined"]) == (1, True)
    first = shown["account"]["first"]
    assert first >= 2
    again.until(60, heartbeats=1)
    assert engine.end() == 0
    stats = again.until(registered=0, connections=0)
    # A token that the new broker does not know is as good as none.
    assert (stats["takeovers"], stats["probes"], stats["rejected"]) == ({}, 0, {})
    sent = engine.logged("heartbeats", "")
    assert stats["heartbeats"] + stats["missed"] == sent - first
