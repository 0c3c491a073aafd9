"""A blocked reactor is told, with where it is; a process that was stopped is not blocked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, capturedLogs, formatEvent

from services.program.logs import STACK, TextFormat, json_format
from services.program.watchdog import PATIENCE, TICK, Watchdog
from tests.services.program.kernel import Kernel

pytestmark = pytest.mark.fault("C051")


@define
class Scene:
    """A watchdog whose looks the test makes, and a reactor that may be deaf."""

    now: float = 100.0
    deaf: bool = False
    kernel: Kernel = field(factory=lambda: Kernel(waits=0.0))
    watchdog: Watchdog = field(init=False)
    _calls: list[Callable[[], object]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.watchdog = Watchdog(self, lambda: self.now)
        self.watchdog.watch(self.kernel)

    def callFromThread(self, function: Callable[[], object]) -> None:
        self._calls.append(function)
        self.turn()

    def turn(self) -> None:
        if not self.deaf:
            calls, self._calls = self._calls, []
            for call in calls:
                call()

    def look(self, after: float = TICK, waited: float = 0.0, throttled: float = 0.0) -> None:
        self.now += after
        self.kernel.waits = (self.kernel.waits or 0.0) + waited
        self.kernel.throttles = (self.kernel.throttles or 0.0) + throttled
        self.watchdog.look()

    def heard_again(self) -> None:
        self.deaf = False
        self.turn()


@pytest.fixture
def said() -> Iterator[list[LogEvent]]:
    with capturedLogs() as events:
        found: Any = events
        yield found


def texts(events: list[LogEvent]) -> list[str]:
    return [formatEvent(event).partition(", and is")[0] for event in events]


def test_reactor_that_answers_is_not_mentioned(said: list[LogEvent]) -> None:
    scene = Scene()
    for _ in range(100):
        scene.look()
    assert said == []


def test_blocking_is_told_once_while_it_lasts_and_once_when_it_is_over(
    said: list[LogEvent],
) -> None:
    scene = Scene()
    scene.deaf = True
    for _ in range(21):
        scene.look()
    assert texts(said) == ["the reactor has been blocked for 2.0 s"]
    scene.now += TICK / 2
    scene.heard_again()
    for _ in range(20):
        scene.look()
    assert texts(said)[1:] == ["the reactor runs again; it was blocked for 10.2 s"]
    scene.deaf = True
    for _ in range(10):
        scene.look()
    assert texts(said)[2:] == ["the reactor has been blocked for 2.0 s"]


def test_what_takes_less_than_two_seconds_is_not_told(said: list[LogEvent]) -> None:
    scene = Scene()
    for _ in range(5):
        scene.deaf = True
        for _ in range(int(PATIENCE / TICK)):
            scene.look()
        scene.heard_again()
        scene.look()
    assert said == []


def test_line_names_where_the_watched_thread_is_and_shows_how_it_came_there(
    said: list[LogEvent],
) -> None:
    scene = Scene()
    scene.deaf = True

    def blocks() -> None:
        for _ in range(6):
            in_another_thread(scene.look)

    blocks()
    [event] = said
    assert event["function"] == "in_another_thread"
    assert event["file"] == __file__
    assert "in blocks\n" in event[STACK]
    text = TextFormat("broker")(event)
    first, *stack = text.splitlines()
    assert first.partition(" ")[2].startswith(
        "[broker#warn] the reactor has been blocked for 2.0 s, and is in in_another_thread, "
    )
    assert all(line.startswith("    ") for line in stack)
    assert "blocks()" in text
    assert '"traceback": "  File ' in json_format(event)


def in_another_thread(look: Callable[[], object]) -> None:
    begun: list[bool] = []
    done: list[bool] = []

    def run() -> None:
        while not begun:
            time.sleep(0.001)
        look()
        done.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    begun.append(True)
    while not done:
        pass
    thread.join()


@given(st.lists(st.floats(PATIENCE, 1e6), max_size=3), st.integers(0, 2))
def test_process_that_was_stopped_is_not_blocked(stops: list[float], looks: int) -> None:
    """Each look after a stop finds that hours have passed; it counts for one tick."""
    with capturedLogs() as events:
        scene = Scene()
        for stop in stops:
            scene.deaf = True
            scene.look()
            scene.look(after=stop)
            for _ in range(looks):
                scene.look()
            scene.heard_again()
            scene.look()
    assert not events


@given(
    st.lists(
        st.tuples(st.floats(TICK, 10 * TICK), st.sampled_from(["waited", "throttled"])),
        min_size=4,
        max_size=200,
    )
)
def test_thread_that_gets_no_cpu_is_not_blocked(script: list[tuple[float, str]]) -> None:
    with capturedLogs() as events:
        scene = Scene()
        scene.deaf = True
        for after, what in script:
            # It runs for a fiftieth of the time.
            scene.look(after, **{what: after * 0.98})
    spent = sum(after * 0.02 for after, _ in script)
    assert spent >= PATIENCE or not events


def test_thread_that_was_throttled_before_is_blocked_all_the_same(said: list[LogEvent]) -> None:
    scene = Scene()
    scene.look(waited=0.4, throttled=0.4)
    scene.deaf = True
    for _ in range(6):
        scene.look()
    assert texts(said) == ["the reactor has been blocked for 2.0 s"]


def test_kernel_that_tells_nothing_is_no_hindrance(said: list[LogEvent]) -> None:
    scene = Scene()
    scene.kernel.waits = None
    scene.watchdog.watch(scene.kernel)
    scene.deaf = True
    for _ in range(6):
        scene.now += TICK
        scene.watchdog.look()
    assert len(said) == 1


def test_thread_that_is_gone_is_not_blocked(said: list[LogEvent]) -> None:
    scene = Scene()
    thread = threading.Thread(target=scene.watchdog.watch)
    thread.start()
    thread.join()
    scene.deaf = True
    for _ in range(6):
        scene.look()
    assert said == []


async def test_real_reactor_that_is_blocked_is_told(said: list[LogEvent]) -> None:
    from twisted.internet import reactor

    from tests.services.program.conftest import turn_of

    watchdog = Watchdog(reactor)
    watchdog.start()
    began = time.monotonic()
    # However busy the machine is: until it was told, or a minute is over.
    while not said and time.monotonic() - began < 60:
        time.sleep(0.05)
    blocked = time.monotonic() - began
    while len(said) < 2:
        await turn_of(reactor)
    watchdog.stop()
    first, last = said
    assert first["function"].endswith("test_real_reactor_that_is_blocked_is_told")
    assert blocked > PATIENCE
    assert PATIENCE <= last["seconds"] <= blocked + 60


async def test_watchdog_that_is_stopped_has_no_thread_and_leaves_nothing_in_the_reactor() -> None:
    from twisted.internet import reactor

    from tests.services.program.conftest import turn_of

    watchdog = Watchdog(reactor)
    watchdog.stop()
    watchdog = Watchdog(reactor)
    watchdog.start()
    for _ in range(3):
        await turn_of(reactor)
    watchdog.stop()
    watchdog.stop()
    assert "watchdog" not in [each.name for each in threading.enumerate()]
