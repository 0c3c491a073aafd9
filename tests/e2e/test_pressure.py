"""Too many, too fast, or not reading: who does so feels it, and nobody else does."""

from __future__ import annotations

import os
import resource
import socket
import time
from pathlib import Path

import pytest

from services.program.memory import VERSIONS, Files
from services.scaletest.programs import wait_until
from tests.e2e.peers import Peer, RawEngine, host_and_port, refused_with
from tests.e2e.scene import BrokerProgram, Stage
from tests.services.program.cgroups import MIB, real_memory_group

pytestmark = pytest.mark.e2e


def started(stage: Stage, *arguments: str) -> BrokerProgram:
    """Start a broker that does not wait for anybody when it ends."""
    return stage.broker("--drain-timeout", "0", *arguments)


def deaf_engine(address: str, engine_id: str) -> RawEngine:
    """Register an engine whose system takes next to nothing that it does not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(host_and_port(address))
    engine = RawEngine(sock)
    engine.register(engine_id)
    return engine


def beats(engine: RawEngine, count: int) -> None:
    """Send so many heartbeats, and read no answer."""
    first, engine.seq = engine.seq + 1, engine.seq + count
    frames = (f"HeartBeat:{engine.engine_id}:{first + n}\n" for n in range(count))
    engine.write_to_the_deaf("".join(frames).encode())


def fill(broker: BrokerProgram, engine: RawEngine) -> None:
    """Have more answers wait for an engine than are merely on their way."""
    for _ in range(1000):
        if broker.stats()["unread"] > 20_000:
            return
        beats(engine, 200)
    raise AssertionError("somebody reads them")


def lost_to_508(broker: BrokerProgram, engines: int) -> bool:
    causes: dict[str, int] = broker.stats()["causes"]
    return causes.get("lost:508") == engines


def told(broker: BrokerProgram, beginning: str) -> int:
    return sum(str(event["message"]).startswith(beginning) for event in broker.program.events())


# Too many


@pytest.mark.fault("C030")
def test_hundred_beyond_the_cap_at_once_are_all_told_so(stage: Stage) -> None:
    broker = started(stage, "--max-connections", "5")
    engines = [RawEngine.at(broker.address, f"inside-{n}") for n in range(5)]
    surplus = [Peer.to(broker.address) for _ in range(100)]
    for peer in surplus:
        assert refused_with(peer.rest()) == 507
        peer.socket.close()
    for engine in engines:
        engine.beat()
    broker.until(connections=5, closed=100, heartbeats=5, registered=5)


@pytest.mark.fault("C033")
def test_silent_connections_fill_the_places_and_no_more(stage: Stage) -> None:
    broker = started(stage, "--accept-rate", "0")
    engine = RawEngine.at(broker.address, "inside")
    silent = [Peer.to(broker.address) for _ in range(1100)]
    newcomer = Peer.to(broker.address)
    newcomer.send("NewEngine:newcomer:0:v=1")
    wait_until("the places to be full", lambda: broker.stats()["accepts_paused"])
    for _ in range(3):
        engine.beat()
        stats = broker.stats()
        assert (stats["unregistered"], stats["connections"]) == (1024, 1025)
        assert stats["registered"] == 1
    # They are told why at their deadline, and those who waited come in.
    assert newcomer.frame().startswith("SUCCESS:Registered")
    for peer in silent[:1024]:
        assert refused_with(peer.rest()) == 408
    engine.beat()
    for peer in silent:
        peer.socket.close()
    stats = broker.until(connections=2, unregistered=0, registered=2)
    assert stats["rejected"]["408"] >= 1024
    assert set(stats["rejected"]) == {"408"}
    assert told(broker, "1024 connections have not registered") == 1


@pytest.mark.fault("C032")
@pytest.mark.fault("C037")
def test_connections_beyond_the_rate_wait_and_are_not_refused(stage: Stage) -> None:
    broker = started(stage, "--accept-rate", "10")
    began = time.monotonic()
    peers = [Peer.to(broker.address) for _ in range(50)]
    for number, peer in enumerate(peers):
        peer.send(f"NewEngine:e{number}:0:v=1;interval=60")
    for peer in peers:
        assert peer.frame().startswith("SUCCESS:Registered")
    # Twenty may come at once.
    assert time.monotonic() - began > 2.5
    stats = broker.until(registered=50)
    assert stats["rejected"] == {}
    assert stats["accepts_paused"] > 0


@pytest.mark.fault("C031")
def test_limit_of_open_files_that_is_lowered_is_kept_and_the_api_answers(stage: Stage) -> None:
    broker = started(stage, "--accept-rate", "0")
    engines = [RawEngine.at(broker.address, f"inside-{n}") for n in range(60)]
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (100, 100))
    wait_until("the limit to be noticed", lambda: told(broker, "open files: 100 now"))
    callers = [Peer.to(broker.address) for _ in range(100)]
    for peer in callers[8:]:
        assert refused_with(peer.rest()) == 507
        assert broker.open_files() <= 100
    assert broker.api.ask("/healthz") == {"status": "ok"}
    for engine in engines:
        engine.beat()
    for peer in callers:
        peer.socket.close()
    broker.until(connections=60)
    worked = broker.cpu_seconds()
    time.sleep(2)
    assert broker.cpu_seconds() - worked < 0.5
    RawEngine.at(broker.address, "late-comer").beat()
    assert broker.stats()["registered"] == 61


@pytest.mark.fault("C031")
def test_without_any_file_left_connections_wait_and_come_in_later(stage: Stage) -> None:
    broker = started(stage, "--accept-rate", "0")
    engine = RawEngine.at(broker.address, "inside")
    limits = resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (broker.open_files(), limits[1]))
    waiting = [Peer.to(broker.address) for _ in range(20)]
    wait_until("the lack to be told", lambda: told(broker, "no file can be opened"))
    worked = broker.cpu_seconds()
    for _ in range(5):
        engine.beat()
        time.sleep(0.4)
    assert broker.cpu_seconds() - worked < 0.5
    assert told(broker, "no file can be opened") == 1
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, limits)
    for number, peer in enumerate(waiting):
        peer.send(f"NewEngine:e{number}:0:v=1")
        assert peer.frame().startswith("SUCCESS")
    assert told(broker, "files can be opened again") == 1


@pytest.mark.fault("C039")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs control groups of its own")
def test_above_eighty_percent_of_the_memory_newcomers_are_refused(stage: Stage) -> None:
    with real_memory_group(500 * MIB) as group:
        mine = _own_group(group)
        (group / "cgroup.procs").write_text(str(os.getpid()))
        try:
            broker = started(stage)
        finally:
            (mine / "cgroup.procs").write_text(str(os.getpid()))
        try:
            engine = RawEngine.at(broker.address, "inside")
            files = next(each for each in VERSIONS if (group / each.limit).exists())
            (group / files.limit).write_text(str(_used(group, files) * 10 // 9))
            wait_until("memory to be short", lambda: broker.stats()["short_of_memory"])
            with Peer.to(broker.address) as newcomer:
                assert refused_with(newcomer.rest()) == 507
            engine.beat()
            (group / files.limit).write_text(str(500 * MIB))
            wait_until("memory to be there", lambda: not broker.stats()["short_of_memory"])
            RawEngine.at(broker.address, "newcomer").beat()
            assert told(broker, "memory: ") == 2
        finally:
            broker.program.end()


def _used(group: Path, files: Files) -> int:
    told = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return int((group / files.usage).read_text()) - int(told[files.reclaimable])


def _own_group(beside: Path) -> Path:
    """Find where this process is, in the tree that has `beside`."""
    is_old = (beside / "memory.limit_in_bytes").exists()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if ("memory" in controllers.split(",")) is is_old:
            return beside.parent / path.lstrip("/")
    raise AssertionError("no group has this process")


# Too fast


def test_who_sends_too_fast_is_answered_and_then_not_read_for_a_while(stage: Stage) -> None:
    broker = started(stage)
    hasty, other = RawEngine.at(broker.address, "hasty"), RawEngine.at(broker.address, "other")
    began = time.monotonic()
    beats(hasty, 150)
    assert hasty.frames(150)[-1] == "ACK:150"
    hasty.beat()
    assert time.monotonic() - began > 2.5
    for _ in range(3):
        other.beat()
    stats = broker.stats()
    assert stats["reads_paused"] >= 1
    assert (stats["heartbeats"], stats["missed"], stats["late"]) == (154, 0, 0)
    assert stats["rejected"] == {}


# Not reading


@pytest.mark.fault("C034")
def test_who_does_not_read_is_cut_off_at_256_kib_and_others_are_served(stage: Stage) -> None:
    broker = started(stage, "--frame-rate", "0")
    other = RawEngine.at(broker.address, "other")
    deaf = deaf_engine(broker.address, "deaf")
    resident = broker.resident()
    most = 0
    for number in range(1, 1000):
        beats(deaf, 1000)
        broker.api.ask("/dowork", engine="other", time=1)
        assert other.frame().startswith("DOWORK:1:")
        other.beat()
        most = max(most, broker.stats()["unread"])
        if lost_to_508(broker, 1):
            break
        assert number < 999
    assert 100_000 < most <= 262_144
    assert broker.resident() - resident < 20 * MIB
    stats = broker.until(registered=1, unread=0)
    assert (stats["rejected"], stats["causes"]) == ({"508": 1}, {"lost:508": 1})
    with pytest.raises(ConnectionResetError):
        deaf.rest()


@pytest.mark.fault("C101")
def test_who_takes_nothing_for_ten_seconds_is_cut_off(stage: Stage) -> None:
    broker = started(stage, "--frame-rate", "0")
    other = RawEngine.at(broker.address, "other")
    deaf = deaf_engine(broker.address, "deaf")
    fill(broker, deaf)
    began = time.monotonic()

    def is_lost() -> bool:
        other.beat()
        return lost_to_508(broker, 1)

    wait_until("the deaf one to be cut off", is_lost, 60)
    assert time.monotonic() - began > 8
    with pytest.raises(ConnectionResetError):
        deaf.rest()


def test_who_reads_slowly_is_not_cut_off(stage: Stage) -> None:
    broker = started(stage, "--frame-rate", "0")
    slow = deaf_engine(broker.address, "slow")
    fill(broker, slow)
    for _ in range(15):
        time.sleep(1)
        beats(slow, 300)
        slow.frames(300)
    unread = slow.seq - 15 * 300
    assert slow.frames(unread)[-1] == f"ACK:{slow.seq}"
    slow.beat()
    assert broker.until(unread=0)["rejected"] == {}
