from __future__ import annotations

import ast
import os
import re
import resource
import signal
import socket
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ProcessTerminated
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

import services.engine.burn
from services.engine.work import (
    PATIENCE,
    WORK_NAMES,
    BlockWork,
    ChildWork,
    PretendWork,
    WorkFailed,
    work_for,
)

A_MINUTE = 60_000
BURN = services.engine.burn.__file__

linux_only = pytest.mark.skipif(
    not hasattr(os, "pidfd_open") or not os.path.isdir("/proc/self/fd"),
    reason="looks at a process through /proc and pidfd_open",
)


@pytest.fixture
def reactor() -> Any:
    from twisted.internet import reactor

    return reactor


@implementer(IReadDescriptor)
class ProcessEnd:
    """Fires `seen` when any process, our child or not, has ended."""

    def __init__(self, reactor: Any, pid: int) -> None:
        self.seen: Deferred[None] = Deferred()
        self._reactor = reactor
        self._fd = os.pidfd_open(pid)
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        self._reactor.removeReader(self)
        os.close(self._fd)
        self.seen.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        os.close(self._fd)

    def logPrefix(self) -> str:
        return "process end"


async def until(reactor: Any, condition: Callable[[], bool]) -> None:
    while not condition():
        await deferLater(reactor, 0.005)


def gives_way(pid: int) -> bool:
    idle = os.sched_getscheduler(pid) == os.SCHED_IDLE
    return idle or os.getpriority(os.PRIO_PROCESS, pid) == 19


async def burning(reactor: Any, work: ChildWork) -> int:
    """Wait until the child has come to its loop; return its pid."""
    pid = work.pid
    assert pid is not None
    await until(reactor, lambda: gives_way(pid))
    return pid


async def reason_of(failing: Deferred[None]) -> str:
    with pytest.raises(WorkFailed) as caught:
        await failing
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", caught.value.reason)
    return caught.value.reason


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


# Work in a child process.


async def test_the_child_uses_a_cpu_for_its_time(reactor: Any) -> None:
    from twisted.internet.utils import getProcessOutputAndValue

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    said, complained, status = await getProcessOutputAndValue(
        sys.executable, ["-I", "-S", BURN, "150"], reactor=reactor
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (status, complained) == (0, b"")
    assert time.monotonic() - begun >= 0.15
    assert after.ru_utime > before.ru_utime
    assert 0 < float(said) < 1.5


async def test_the_work_knows_what_share_of_a_cpu_it_got(reactor: Any) -> None:
    said = (sys.executable, "-I", "-S", "-c", "print('0.75')")
    work = ChildWork(reactor, command=said)
    assert work.share is None
    await work.start(A_MINUTE)
    assert work.share == 0.75


@linux_only
async def test_the_child_gives_way_and_stands_in_a_group_of_its_own(reactor: Any) -> None:
    work = ChildWork(reactor)
    over = work.start(A_MINUTE)
    pid = await burning(reactor, work)
    assert os.getpgid(pid) == pid
    assert not gives_way(os.getpid())
    stopped = work.stop()
    assert await reason_of(over) == "stopped"
    await stopped


@linux_only
async def test_the_child_is_isolated_from_site_packages_and_environment(reactor: Any) -> None:
    work = ChildWork(reactor)
    over = work.start(A_MINUTE)
    # Before it burns, the child may still be the engine's own image.
    pid = await burning(reactor, work)
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    stopped = work.stop()
    assert await reason_of(over) == "stopped"
    await stopped
    assert {b"-I", b"-S"} <= set(arguments)


@linux_only
async def test_the_child_is_always_running_or_ready_to_run(reactor: Any) -> None:
    work = ChildWork(reactor)
    over = work.start(A_MINUTE)
    pid = await burning(reactor, work)
    states = []
    for _ in range(20):
        await deferLater(reactor, 0.005)
        states.append(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0])
    stopped = work.stop()
    assert await reason_of(over) == "stopped"
    await stopped
    assert states.count("R") >= 18


@linux_only
async def test_the_child_inherits_nothing_but_its_pipes(reactor: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        work = ChildWork(reactor)
        over = work.start(A_MINUTE)
        pid = await burning(reactor, work)
        held = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        stopped = work.stop()
        assert await reason_of(over) == "stopped"
        await stopped
    assert held.keys() == {"0", "1", "2"}
    assert all(kind.startswith("pipe:") for kind in held.values())


def test_the_child_imports_only_what_the_interpreter_has_loaded() -> None:
    tree = ast.parse(Path(BURN).read_bytes())
    imported: set[str | None] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= {"__future__", "os", "sys", "time"}


@linux_only
async def test_stop_kills_the_child_and_reaps_it(reactor: Any) -> None:
    work = ChildWork(reactor)
    over = work.start(A_MINUTE)
    pid = await burning(reactor, work)
    stopped = work.stop()
    assert work.pid is None
    assert await reason_of(over) == "stopped"
    await stopped
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def test_a_child_that_is_killed_fails_the_work(reactor: Any) -> None:
    work = ChildWork(reactor)
    over = work.start(A_MINUTE)
    assert work.pid is not None
    os.kill(work.pid, signal.SIGKILL)
    assert await reason_of(over) == "child-died"
    await work.start(0)


@pytest.mark.parametrize("program", ["pass", "print('welcome')", "raise SystemExit('no')"])
async def test_a_child_that_ends_without_its_share_fails_the_work(
    reactor: Any, program: str
) -> None:
    work = ChildWork(reactor, command=(sys.executable, "-I", "-S", "-c", program))
    assert await reason_of(work.start(A_MINUTE)) == "child-died"


async def test_a_child_that_cannot_be_spawned_fails_the_work_at_once(reactor: Any) -> None:
    work = ChildWork(reactor, command=("/nonexistent/python",))
    over = work.start(A_MINUTE)
    assert over.called
    assert await reason_of(over) == "spawn-failed"
    await work.start(0)


class NeverEnds:
    """A reactor whose children run until they are killed, and then on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.children: list[ProcessProtocol] = []
        self.signals: list[str] = []
        self.pid = 7

    def spawnProcess(self, child: ProcessProtocol, *args: object, **kwargs: object) -> None:
        self.children.append(child)
        child.makeConnection(self)

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)


def test_a_child_starved_of_cpu_does_not_delay_the_end_beyond_patience() -> None:
    reactor = NeverEnds()
    work = ChildWork(reactor)
    over = work.start(500)
    reactor.clock.advance(0.5 + PATIENCE - 0.125)
    assert (over.called, reactor.signals) == (False, [])
    reactor.clock.advance(0.125)
    assert (over.called, reactor.signals) == (True, ["KILL"])


def test_the_late_end_of_an_old_child_does_not_touch_the_next_work() -> None:
    reactor = NeverEnds()
    work = ChildWork(reactor)
    work.start(500)
    reactor.clock.advance(0.5 + PATIENCE)
    following = work.start(500)
    reactor.children[0].processEnded(Failure(ProcessTerminated(signal=9)))
    assert not following.called
    assert work.pid is not None


def test_stop_waits_for_every_child_that_is_not_yet_gone() -> None:
    reactor = NeverEnds()
    work = ChildWork(reactor)
    work.start(500)
    reactor.clock.advance(0.5 + PATIENCE)
    over = work.start(500)
    over.addErrback(lambda failure: failure.trap(WorkFailed))
    stops = [work.stop(), work.stop()]
    seen = [[stop.called for stop in stops]]
    for child in reactor.children:
        child.processEnded(Failure(ProcessTerminated(signal=9)))
        seen.append([stop.called for stop in stops])
    assert seen == [[False, False], [False, False], [True, True]]


PARENT = textwrap.dedent(
    """
    import sys
    from twisted.application.reactors import installReactor
    reactor = installReactor(sys.argv[1])
    from services.engine.work import ChildWork

    def begin():
        work = ChildWork(reactor)
        work.start(60_000)
        print(work.pid, flush=True)

    reactor.callWhenRunning(begin)
    reactor.run()
    """
)


class Parent(ProcessProtocol):
    """An engine's process, for the tests: says the pid of its child."""

    def __init__(self) -> None:
        self.said: Deferred[int] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._line = b""

    def outReceived(self, data: bytes) -> None:
        self._line += data
        if self._line.endswith(b"\n"):
            self.said.callback(int(self._line))

    def errReceived(self, data: bytes) -> None:
        sys.stderr.write(data.decode())

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(None)


@linux_only
@pytest.mark.parametrize("name", ["epoll", "asyncio"])
@pytest.mark.parametrize("how", ["KILL", "TERM"])
async def test_the_child_dies_with_its_parent(reactor: Any, name: str, how: str) -> None:
    parent = Parent()
    root = str(Path(BURN).parents[2])
    process = reactor.spawnProcess(
        parent,
        sys.executable,
        [sys.executable, "-c", PARENT, name],
        env={**os.environ, "PYTHONPATH": root},
    )
    child = ProcessEnd(reactor, await parent.said)
    process.signalProcess(how)
    await gatherResults([parent.ended, child.seen])
