from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from attrs import define, field
from twisted.internet.error import ReactorNotRunning

from services.program.exit_status import ExitStatus


@define
class FakeReactor:
    """Counts the stops; `run` is when it starts to run."""

    running: bool = False
    stopping: bool = False
    stops: int = 0
    _waiting: list[Callable[[], object]] = field(factory=list)

    def callWhenRunning(self, function: Callable[[], object], /) -> object:
        if self.running:
            return function()
        self._waiting.append(function)
        return None

    def callFromThread(self, function: Callable[[], object], /) -> object:
        return self.callWhenRunning(function)

    def stop(self) -> None:
        if self.stopping:
            raise ReactorNotRunning
        self.stopping = True
        self.stops += 1

    def run(self) -> None:
        self.running = True
        for function in self._waiting:
            function()


def test_first_status_wins_and_stops_the_reactor_once() -> None:
    reactor = FakeReactor(running=True)
    exit_status = ExitStatus(reactor)
    exit_status.end(3)
    exit_status.end(0)
    assert (exit_status.status, reactor.stops) == (3, 1)


def test_end_before_the_reactor_runs_waits_for_it() -> None:
    reactor = FakeReactor()
    ExitStatus(reactor).end(3)
    assert reactor.stops == 0
    reactor.run()
    assert reactor.stops == 1


def test_end_of_a_reactor_that_stops_already_keeps_the_status() -> None:
    reactor = FakeReactor(running=True, stopping=True)
    exit_status = ExitStatus(reactor)
    exit_status.end(4)
    assert exit_status.status == 4


@pytest.mark.parametrize("status", [0, 255])
def test_every_status_that_a_process_can_have_is_accepted(status: int) -> None:
    exit_status = ExitStatus(FakeReactor())
    exit_status.end(status)
    assert exit_status.status == status


@pytest.mark.parametrize("status", [-1, 256])
def test_status_that_no_process_can_have_is_refused(status: int) -> None:
    exit_status = ExitStatus(FakeReactor())
    with pytest.raises(ValueError, match=str(status)):
        exit_status.end(status)
    assert exit_status.status is None


def test_process_is_left_alone_until_installed() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    ExitStatus(FakeReactor()).on_signal(lambda: None)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
