"""An engine and its work: one piece at a time, reported whatever happens."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import define, field

from brokerproto.commands import WORK_WAITING
from brokerproto.engine import Engine, EngineObserver
from brokerproto.engine_session import EngineSession
from brokerproto.errors import LocalProtocolError, RefusedError
from brokerproto.life import Life, Wishes
from brokerproto.messages import Success
from brokerproto.testing import ManualClock, RecordingCarrier, RecordingWorker
from tests.brokerproto.drawn import Drawn
from tests.brokerproto.engine_conversation import GRANTED


@define
class Diary(EngineObserver):
    """Writes down what an engine tells, and what its worker had been told by then."""

    worker: RecordingWorker
    entries: list[tuple[str, object]] = field(factory=list)

    def registered(self, engine: Engine, success: Success) -> None:
        self.entries.append(("registered", success.interval))

    def ended(self, engine: Engine, session: EngineSession) -> None:
        self.entries.append(("ended", type(session.failure).__name__))
        self.entries.append(("exit", self.worker.exit_code))


class Bench:
    """An engine at work, and the broker's words put into its ear one by one."""

    def __init__(self, worker: RecordingWorker | None = None) -> None:
        self.clock = ManualClock()
        self.worker = RecordingWorker() if worker is None else worker
        self.diary = Diary(self.worker)
        life = Life("e", "a1")
        self.engine = Engine(life, self.worker, self.clock.seconds, Drawn(), observer=self.diary)
        self.carrier = RecordingCarrier()

    def connects(self, success: str = GRANTED) -> list[str]:
        """Connect, register, and return what is said after the hello."""
        self.carrier.session = self.engine.open(self.carrier)
        self.says()
        self.hears(success)
        return self.says()

    def hears(self, *frames: str) -> None:
        self.engine.receive_data("".join(f"{frame}\n" for frame in frames).encode())

    def says(self) -> list[str]:
        return self.carrier.take().decode().splitlines()

    def answers(self, *frames: str) -> list[str]:
        self.hears(*frames)
        return self.says()


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.connects()
    return bench


def test_work_is_reported_as_it_goes(bench: Bench) -> None:
    assert bench.answers("DOWORK:500:command=c-1") == [
        "Report:c-1:received",
        "Report:c-1:started",
    ]
    assert bench.worker.running == 500
    bench.clock.advance(0.75)
    bench.engine.worked()
    assert bench.carrier.written == b"Report:c-1:done:ms=750\n"


def test_work_that_fails_says_why(bench: Bench) -> None:
    bench.answers("DOWORK:500:command=c-1")
    bench.engine.worked("crashed")
    assert bench.says() == ["Report:c-1:failed:ms=0;error=crashed"]


def test_work_runs_one_at_a_time_and_in_order(bench: Bench) -> None:
    said = bench.answers(*[f"DOWORK:{n}:command=c-{n}" for n in (3, 1, 2)])
    assert said == [
        "Report:c-3:received",
        "Report:c-3:started",
        "Report:c-1:received",
        "Report:c-2:received",
    ]
    bench.engine.worked()
    assert bench.says() == ["Report:c-3:done:ms=0", "Report:c-1:started"]
    bench.engine.worked()
    assert bench.says() == ["Report:c-1:done:ms=0", "Report:c-2:started"]
    bench.engine.worked()
    assert bench.says() == ["Report:c-2:done:ms=0"]
    assert bench.worker.started == [3, 1, 2]


def test_sixteen_pieces_may_wait_and_one_more_fails(bench: Bench) -> None:
    assert WORK_WAITING == 16
    said = bench.answers(*[f"DOWORK:1:command=c-{n}" for n in range(18)])
    assert said[-2:] == ["Report:c-16:received", "Report:c-17:failed:error=queue-full"]
    assert "Report:c-17:received" not in said
    bench.engine.worked()
    bench.says()
    assert bench.answers("DOWORK:1:command=c-18") == ["Report:c-18:received"]
    for _ in range(17):
        bench.engine.worked()
    assert len(bench.worker.started) == 18
    assert bench.says()[-1] == "Report:c-18:done:ms=0"


def test_heartbeats_say_which_work_runs(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1", "DOWORK:1:command=c-2")
    assert bench.answers("PING") == ["HeartBeat:e:1:busy=c-1"]
    bench.engine.worked()
    bench.clock.advance(1)
    assert bench.answers("PING")[-1] == "HeartBeat:e:2:busy=c-2"
    bench.engine.worked()
    bench.clock.advance(1)
    assert bench.answers("PING")[-1] == "HeartBeat:e:3"


def test_the_end_of_no_work_is_nothing(bench: Bench) -> None:
    bench.engine.worked()
    assert bench.says() == []


@pytest.mark.parametrize("frame", ["DOWORK:86400001:command=c-1", "KILL:256:command=c-1"])
def test_a_bad_value_is_reported_and_nothing_is_done(bench: Bench, frame: str) -> None:
    assert bench.answers(frame) == ["Report:c-1:failed:error=bad-value"]
    assert bench.worker == RecordingWorker()
    assert bench.engine.exit_code is None


# KILL


def test_kill_overtakes_work(bench: Bench) -> None:
    bench.answers(*[f"DOWORK:1:command=c-{n}" for n in range(3)])
    bench.clock.advance(0.5)
    assert bench.answers("KILL:3:command=c-9") == [
        "Report:c-0:failed:ms=500;error=killed",
        "Report:c-1:failed:error=killed",
        "Report:c-2:failed:error=killed",
        "Report:c-9:done",
        "Bye:reason=killed",
    ]
    assert bench.worker.stopped == 1


def test_the_process_ends_when_the_connection_is_gone(bench: Bench) -> None:
    bench.answers("KILL:3:command=c-9")
    assert bench.engine.exit_code == 3
    assert bench.worker == RecordingWorker()
    bench.engine.lose()
    assert bench.worker == RecordingWorker(exit_code=3)
    assert bench.diary.entries[-2:] == [("ended", "NoneType"), ("exit", 3)]


@pytest.mark.parametrize("segments", [1, 2])
def test_nothing_is_started_after_a_kill(bench: Bench, segments: int) -> None:
    frames = ["KILL:0:command=c-9", "DOWORK:1:command=c-1", "KILL:4:command=c-10"]
    if segments == 1:
        bench.hears(*frames)
    else:
        for frame in frames:
            bench.hears(frame)
    bench.engine.worked()
    assert bench.says() == ["Report:c-9:done", "Bye:reason=killed"]
    assert bench.worker.started == []
    bench.engine.lose()
    assert bench.worker.exit_code == 0


def test_a_refusal_behind_a_kill_does_not_save_the_process(bench: Bench) -> None:
    bench.hears("DOWORK:1:command=c-1", "KILL:7:command=c-9", "FAILED:410:SUPERSEDED:never:")
    assert bench.worker.stopped == 1
    bench.engine.lose()
    assert bench.worker.exit_code == 7


def test_a_connection_that_just_ends_ends_no_process(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1")
    bench.engine.lose()
    assert bench.worker.exit_code is None
    assert bench.worker.running == 1


# Leaving and coming back


def test_work_that_ends_between_two_connections_is_reported_after_the_next(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1", "DOWORK:2:command=c-2", "DOWORK:3:command=c-3")
    bench.engine.lose()
    bench.clock.advance(4)
    bench.engine.worked()
    assert bench.worker.running == 2
    assert bench.connects() == [
        "Report:c-3:received",
        "Report:c-1:done:ms=4000",
        "Report:c-2:started",
    ]
    bench.engine.worked()
    assert bench.says() == ["Report:c-2:done:ms=0", "Report:c-3:started"]


def test_work_that_ends_before_success_is_reported_once(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1")
    bench.engine.lose()
    bench.carrier.session = bench.engine.open(bench.carrier)
    bench.says()
    bench.engine.worked()
    assert bench.says() == []
    assert bench.answers(GRANTED) == ["Report:c-1:done:ms=0"]


def test_last_reports_of_at_most_thirty_two_commands_are_repeated(bench: Bench) -> None:
    for n in range(40):
        bench.hears(f"DOWORK:1:command=c-{n}")
        bench.engine.worked()
    bench.engine.lose()
    assert bench.connects() == [f"Report:c-{n}:done:ms=0" for n in range(8, 40)]
    bench.engine.lose()
    assert len(bench.connects()) == 32


def test_leaving_drops_all_work_and_says_so(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1", "DOWORK:1:command=c-2")
    bench.engine.leave("stopped")
    assert bench.carrier.written.decode().splitlines() == [
        "Report:c-1:failed:ms=0;error=stopped",
        "Report:c-2:failed:error=stopped",
        "Bye:reason=stopped",
    ]
    assert bench.worker.stopped == 1
    assert bench.engine.exit_code is None


def test_leaving_without_a_connection_drops_the_work_too(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1")
    bench.engine.lose()
    bench.engine.leave("stopped")
    assert bench.worker.running is None
    assert bench.connects() == ["Report:c-1:failed:ms=0;error=stopped"]


def test_a_broker_that_drains_does_not_stop_the_work(bench: Bench) -> None:
    bench.answers("DOWORK:1:command=c-1", "GOAWAY:1000")
    bench.clock.advance(1)
    assert bench.engine.session is not None
    bench.engine.session.tick(bench.clock.seconds())
    assert bench.says() == ["Bye:reason=goaway"]
    bench.engine.lose()
    assert bench.worker.running == 1
    assert bench.connects() == ["Report:c-1:started"]


def test_an_engine_has_one_connection_at_a_time(bench: Bench) -> None:
    with pytest.raises(LocalProtocolError):
        bench.engine.open(RecordingCarrier())


def test_what_comes_without_a_connection_is_nothing() -> None:
    bench = Bench()
    bench.hears(GRANTED)
    bench.engine.lose()
    assert bench.diary.entries == []


def test_an_observer_hears_of_each_registration_and_each_end(bench: Bench) -> None:
    bench.hears("FAILED:503:DRAINING:now:bye")
    session = bench.engine.session
    bench.engine.lose()
    assert session is not None
    assert isinstance(session.failure, RefusedError)
    bench.connects("SUCCESS:Registered:interval=2")
    assert bench.diary.entries == [
        ("registered", 10),
        ("ended", "RefusedError"),
        ("exit", None),
        ("registered", 2),
    ]


def test_whoever_hears_nothing_need_not_say_so() -> None:
    engine = Engine(Life("e", "a1"), RecordingWorker(), ManualClock().seconds)
    engine.open(RecordingCarrier())
    engine.receive_data(f"{GRANTED}\n".encode())
    engine.lose()
    assert engine.session is None


# A plain broker


def test_a_plain_broker_is_obeyed_and_hears_no_report() -> None:
    bench = Bench()
    assert bench.connects("SUCCESS:Registered") == []
    assert bench.answers("DOWORK:5", "DOWORK:6") == []
    bench.engine.worked()
    assert bench.worker.started == [5, 6]
    assert bench.answers("KILL:9") == []
    assert bench.engine.session is not None
    assert bench.engine.session.is_over
    assert bench.worker.stopped == 1
    bench.engine.lose()
    assert bench.worker.exit_code == 9


# A worker that is done at once


@define
class AtOnce(RecordingWorker):
    """Has done its work when `start` returns, once it was told to hurry."""

    engine: Engine | None = None
    hurries: bool = True

    def start(self, ms: int) -> None:
        RecordingWorker.start(self, ms)
        if self.hurries and self.engine is not None:
            self.engine.worked()


@pytest.fixture
def at_once() -> AtOnce:
    return AtOnce()


@pytest.fixture
def hurried(at_once: AtOnce) -> Bench:
    bench = Bench(at_once)
    at_once.engine = bench.engine
    bench.connects()
    return bench


def test_work_may_be_done_before_start_returns(hurried: Bench) -> None:
    hurried.hears(*[f"DOWORK:{n}:command=c-{n}" for n in range(20)])
    expected: list[str] = []
    for n in range(20):
        expected += [f"Report:c-{n}:{state}" for state in ("received", "started", "done:ms=0")]
    assert hurried.says() == expected
    assert hurried.engine.life.busy is None


def test_waiting_work_may_be_done_before_start_returns(hurried: Bench, at_once: AtOnce) -> None:
    at_once.hurries = False
    hurried.hears(*[f"DOWORK:{n}:command=c-{n}" for n in range(17)])
    hurried.says()
    at_once.hurries = True
    hurried.engine.worked()
    said = [frame.split(":")[1:3] for frame in hurried.says()]
    expected = [["c-0", "done"]]
    for n in range(1, 17):
        expected += [[f"c-{n}", "started"], [f"c-{n}", "done"]]
    assert said == expected
    assert at_once.started == list(range(17))


def _engine(engine_id: str, labels: Mapping[str, str]) -> Engine:
    clock = ManualClock()
    wishes = Wishes(labels=labels)
    return Engine(Life(engine_id, "a1"), RecordingWorker(), clock.seconds, wishes=wishes)


@pytest.mark.parametrize("labels", [{"Node": "1"}, {"n": "a:b"}, {f"l{n}": "" for n in range(17)}])
def test_engine_with_labels_that_are_none_is_not_made(labels: Mapping[str, str]) -> None:
    with pytest.raises(LocalProtocolError):
        _engine("e", labels)


def test_engine_is_made_only_where_every_hello_of_it_can_be_read() -> None:
    """However high its number will be, however long its instance, and with a token."""
    labels = dict.fromkeys(("a", "b", "c"), "v" * 256)
    hello = f"NewEngine:e:{2**53 - 1}:v=1;instance={'f' * 32};ack=1;resume={'0' * 32}"
    hello += "".join(f";label-{name}={value}" for name, value in labels.items()) + ";label-d="
    spare = 1024 - len(hello)
    engine = _engine("e", {**labels, "d": "v" * spare})
    engine.life.seq, engine.life.instance = 2**53 - 1, "f" * 32
    engine.life.resume = "0" * 32
    carrier = RecordingCarrier()
    carrier.session = engine.open(carrier)
    assert carrier.take().decode() == hello + "v" * spare + "\n"
    with pytest.raises(LocalProtocolError, match="id and labels are 1 bytes too long together"):
        _engine("e", {**labels, "d": "v" * (spare + 1)})
