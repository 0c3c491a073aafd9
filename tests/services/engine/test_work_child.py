"""Work in a child process: what it uses, how it ends, and that it outlives nobody."""

from __future__ import annotations

import ast
import os
import resource
import signal
import socket
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from services.engine.work import (
    PATIENCE,
    ChildWork,
    WorkFailed,
)
from tests.services.engine.children import (
    A_MINUTE,
    BURN,
    ProcessEnd,
    burning,
    gives_way,
    linux_only,
    reason_of,
)


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
