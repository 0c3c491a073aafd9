"""What every test has: its reactor, hypothesis profiles, and checks that it leaves nothing."""

from __future__ import annotations

import functools
import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

# Without the phase that explains a failure: on Python 3.11 it traces every line,
# and the time limit would end the run before the example is told.
PHASES = [phase for phase in Phase if phase is not Phase.explain]

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True, phases=PHASES)
settings.register_profile(
    "nightly",
    phases=PHASES,
    max_examples=1000,
    stateful_step_count=100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Programs under test must not inherit from nohup, or the like, that it is ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Most tests wait for much of their time, for programs or for a clock.
WORKERS_PER_CORE = 2

# A closed connection leaves the reactor a turn or two after the test that
# closed it; what is still there after so many turns was forgotten.
TURNS = 50

# Of the time that a test has: when it is over, an `async def` test fails alone
# and with its name, before pytest-timeout ends the whole run.
SHARE_OF_TIMEOUT = 0.8


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what another reactor may change, which ``-m reactor`` runs alone.

    That is what awaits something, and what asks for the reactor's name to start programs on it.
    """
    if isinstance(item, pytest.Function) and (
        inspect.iscoroutinefunction(item.function) or "reactor_name" in item.fixturenames
    ):
        item.add_marker("reactor")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say what ``-n auto`` means."""
    usable = getattr(os, "sched_getaffinity", None)
    return WORKERS_PER_CORE * (len(usable(0)) if usable else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def reactor_name(request: pytest.FixtureRequest) -> str:
    """The reactor under test, as ``--reactor`` names it."""
    name: str = request.config.getoption("reactor")
    return name


@pytest.fixture(scope="session")
def reactor_options(reactor_name: str) -> list[str]:
    """What ``twistd`` must be told to run on the reactor under test."""
    return [] if reactor_name == "default" else ["--reactor", reactor_name]


@pytest.fixture(scope="session", autouse=True)
def _threads_are_not_traced() -> None:
    """Have the coverage not follow threads, in which nothing of what it measures runs.

    On Python 3.11 a traced thread goes in circles from a child's signal on, until another
    thread wants to run. The main thread, waiting for it in a lock, is not woken by Twisted's
    SIGCHLD, and never does.
    """
    threading.settrace(cast(Any, None))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Bound what an `async def` test waits for."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test):
        marker = pyfuncitem.get_closest_marker("timeout")
        limit = float(marker.args[0] if marker else pyfuncitem.config.getini("timeout"))

        @functools.wraps(test)
        async def bounded(*args: Any, **kwargs: Any) -> Any:
            from twisted.internet import reactor
            from twisted.internet.defer import ensureDeferred

            waiting = ensureDeferred(test(*args, **kwargs))
            return await waiting.addTimeout(limit * SHARE_OF_TIMEOUT, cast(Any, reactor))

        pyfuncitem.obj = bounded
    return (yield)


@pytest.fixture(autouse=True)
def nothing_left_in_the_reactor(
    request: pytest.FixtureRequest, logged_failures: list[Failure]
) -> Iterator[None]:
    """Fail a test that leaves delayed calls, readers or writers behind.

    It asks for `logged_failures` to be finished first: what is logged in the
    turns that it waits for belongs to the same test. A test that is not marked
    as one of the reactor's may not give it anything to do for a single turn.
    """
    reactor: Any = sys.modules.get("twisted.internet.reactor")
    if reactor is None:
        yield
        return
    before = {id(thing) for thing in _held_by(reactor)}
    yield
    for _ in range(TURNS if request.node.get_closest_marker("reactor") else 1):
        leaked = [thing for thing in _held_by(reactor) if id(thing) not in before]
        if not leaked:
            return
        _let_a_turn_pass(reactor)
    for thing in leaked:
        if hasattr(thing, "cancel"):
            thing.cancel()
        else:
            reactor.removeReader(thing)
            reactor.removeWriter(thing)
    pytest.fail("left in the reactor: " + "; ".join(map(str, leaked)))


@pytest.fixture(autouse=True)
def logged_failures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Failure]]:
    """Fail a test in which an exception was logged, or shown, that it did not expect.

    A test that provokes one asks for this fixture, looks at the list and
    clears it.
    """
    failures: list[Failure] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        # The reactor still logs the old way, where the key is "failure".
        failure = event.get("log_failure", event.get("failure"))
        if failure is not None and event.get("log_level") is LogLevel.critical:
            failures.append(failure)

    monkeypatch.setattr(
        sys, "excepthook", lambda kind, error, stack: failures.append(Failure(error, kind, stack))
    )
    globalLogPublisher.addObserver(observe)
    yield failures
    globalLogPublisher.removeObserver(observe)
    if failures:
        pytest.fail("logged:\n" + "\n".join(each.getTraceback() for each in failures))


def _held_by(reactor: Any) -> list[Any]:
    internal = getattr(reactor, "_internalReaders", ())
    return [
        *reactor.getDelayedCalls(),
        *(reader for reader in reactor.getReaders() if reader not in internal),
        *reactor.getWriters(),
    ]


def _let_a_turn_pass(reactor: Any) -> None:
    import pytest_twisted
    from twisted.internet.task import deferLater

    pytest_twisted.blockon(deferLater(reactor, 0.005))
