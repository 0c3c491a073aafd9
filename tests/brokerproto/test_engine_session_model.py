"""Drive an engine's session and a small model of it side by side, life after life."""

from __future__ import annotations

import math
from random import Random
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from brokerproto.engine_session import EngineSession
from brokerproto.errors import BadFrameError, RefusedError, SilentBrokerError
from brokerproto.life import Life
from brokerproto.messages import Report

# Exact in binary: the run lands on deadlines, not only near them.
TICK = 0.125
NEVER = math.inf


class Recorded(Random):
    """Remembers what was drawn, so that the model need not draw for itself."""

    last = (0.0, 0.0, 0.0)

    def uniform(self, a: float, b: float) -> float:
        self.last = (a, b, a + (b - a) * self.randrange(5) / 4)
        return self.last[2]


def is_open(self: RuleBasedStateMachine) -> bool:
    return cast(EngineSessionMachine, self).where == "open"


def is_greeting(self: RuleBasedStateMachine) -> bool:
    return cast(EngineSessionMachine, self).where == "greeting"


class EngineSessionMachine(RuleBasedStateMachine):
    """The model: where, which number, what was heard since, and what is due when."""

    @initialize(seed=st.integers(0, 1000))
    def be_born(self, seed: int) -> None:
        self.random = Recorded(seed)
        self.life = Life("e", "a1")
        self.now = 0.0
        self.seq = 0
        self.busy: str | None = None
        self.reports: dict[str, str] = {}
        self._connect()

    def _connect(self) -> None:
        self.session = EngineSession(self.life, self.now, self.random)
        self.where = "greeting"
        self.failure: type[Exception] | None = None
        self.plain = False
        self.ack: int | None = None
        self.interval, self.timeout = 10, 0
        self.deadline = self.now + 30
        self.beat_at = self.leave_at = NEVER
        self.pinged_at = -NEVER
        self.unheard = 0
        self.measured: tuple[int, float] | None = None
        self.rtt: int | None = None
        self._says(f"NewEngine:e:{self.seq}:v=1;instance=a1;ack=1")

    def _says(self, *frames: str) -> None:
        said = self.session.data_to_send().decode()
        assert said.splitlines() == list(frames)

    def _hears(self, *frames: str) -> None:
        if self.where in ("greeting", "open"):
            self.unheard = 0
        data = "".join(f"{frame}\n" for frame in frames).encode()
        events = self.session.receive_data(data, self.now) or ()
        self.events = [type(event).__name__ for event in events]

    def _closes(self, failure: type[Exception] | None) -> None:
        self.where, self.failure = "over", failure

    def _beat(self) -> str:
        self.seq += 1
        if self.ack and self.measured is None and self.seq % self.ack == 0:
            self.measured = self.seq, self.now
        options = [f"busy={self.busy}"] if self.busy else []
        if self.seq % 6 == 0 and self.rtt is not None:
            options.append(f"rtt={self.rtt}")
        frame = f"HeartBeat:e:{self.seq}"
        return ":".join([frame, ";".join(options)]) if options and not self.plain else frame

    # What the broker says

    @precondition(is_greeting)
    @rule(
        interval=st.sampled_from([1, 2]), timeout=st.integers(0, 10), ack=st.sampled_from([0, 1, 5])
    )
    def grants(self, interval: int, timeout: int, ack: int) -> None:
        self._hears(f"SUCCESS:Registered:v=1;interval={interval};timeout={timeout};ack={ack}")
        self.interval, self.timeout, self.ack = interval, timeout, ack
        self._registered()
        self._says(*self.reports.values())

    @precondition(is_greeting)
    @rule()
    def grants_plainly(self) -> None:
        self._hears("SUCCESS:Registered")
        self.plain = True
        self._registered()
        self._says()

    def _registered(self) -> None:
        assert self.events == ["Success"]
        least, most, drawn = self.random.last
        assert (least, most) == (0, self.interval)
        self.where, self.beat_at = "open", self.now + drawn

    @precondition(is_open)
    @rule(times=st.integers(1, 3))
    def pings(self, times: int) -> None:
        self._hears(*["PING"] * times)
        if self.now - self.pinged_at >= 0.25:
            self.pinged_at = self.now
            self._says(self._beat())
        else:
            self._says()

    @precondition(is_open)
    @rule(behind=st.integers(0, 3))
    def acknowledges(self, behind: int) -> None:
        seq = max(0, self.seq - behind)
        self._hears(f"ACK:{seq}")
        if self.measured is not None and seq >= self.measured[0]:
            self.rtt, self.measured = round((self.now - self.measured[1]) * 1_000_000), None
        self._says()

    @precondition(is_open)
    @rule(frame=st.sampled_from(["DOWORK:1:command=c-1", "KILL:1", "DOWORK:x:command=c-1"]))
    def commands(self, frame: str) -> None:
        self._hears(frame)
        kinds = {"DOWORK:1": "DoWork", "KILL:1": "Kill", "DOWORK:x": "Unusable"}
        assert self.events == [kinds[frame.removesuffix(":command=c-1")]]
        self._says()

    @rule()
    def says_what_nobody_knows(self) -> None:
        self._hears("Whatever:1")
        assert self.events == []
        self._says()

    @rule(delay=st.integers(0, 80))
    def sends_away(self, delay: int) -> None:
        self._hears(f"GOAWAY:{round(delay * TICK * 1000)}")
        if self.where in ("greeting", "open"):
            self.leave_at = self.now + delay * TICK
        self._says()

    @rule()
    def refuses(self) -> None:
        self._hears("FAILED:503:DRAINING:now:", "PING")
        if self.where != "over":
            self._closes(RefusedError)
        self._says()

    @rule(frame=st.sampled_from(["ACK:x", "PING:y", "SUCCESS:Nothing"]))
    def says_nonsense(self, frame: str) -> None:
        self._hears(frame, "PING")
        if self.where != "over":
            self._closes(BadFrameError)
        self._says()

    # What the owner does

    @rule(command=st.integers(0, 40), state=st.sampled_from(["received", "done"]))
    def reports_work(self, command: int, state: str) -> None:
        frame = f"Report:c-{command}:{state}"
        self.session.report(Report(f"c-{command}", state))
        self.reports.pop(f"c-{command}", None)
        self.reports[f"c-{command}"] = frame
        self.reports = dict(list(self.reports.items())[-32:])
        self._says(*[frame] * (self.where == "open" and not self.plain))

    @rule(busy=st.sampled_from([None, "c-1"]))
    def begins_or_ends_work(self, busy: str | None) -> None:
        self.life.busy = self.busy = busy

    @rule(ticks=st.integers(0, 40))
    def looks_after_each_tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += TICK
            self._look()

    @rule(ticks=st.integers(1, 4000))
    def oversleeps(self, ticks: int) -> None:
        self.now += ticks * TICK
        self._look()

    @precondition(lambda self: self.session.due < math.inf)
    @rule()
    def sleeps_until_something_is_due(self) -> None:
        self.now = max(self.now, self.session.due)
        self._look()

    def _look(self) -> None:
        self.session.tick(self.now)
        bye = ["Bye:reason=goaway"] if self.where == "open" and not self.plain else []
        if self.where == "over":
            self._says()
        elif self.now >= self.leave_at:
            self._closes(None)
            self._says(*bye)
        elif self.where == "greeting":
            if self.now >= self.deadline:
                self._closes(Exception)
            self._says()
        elif self.now < self.beat_at:
            self._says()
        elif self.ack and self.unheard >= max(self.ack + 1.5, 3 * self.timeout / self.interval):
            self._closes(SilentBrokerError)
            self._says()
        else:
            self.unheard += 1
            self._says(self._beat())
            self._plan_next()

    def _plan_next(self) -> None:
        least, most, drawn = self.random.last
        assert (least, most) == (0.9, 1.1)
        kept = self.beat_at + self.interval * drawn
        self.beat_at = kept if kept > self.now else self.now + self.interval * drawn

    @rule(reason=st.sampled_from([None, "stopped"]))
    def leaves(self, reason: str | None) -> None:
        self.session.leave(reason)
        bye = "Bye" if reason is None else f"Bye:reason={reason}"
        self._says(*[bye] * (self.where == "open" and not self.plain))
        if self.where != "over":
            self._closes(None)

    @rule()
    def connects_again(self) -> None:
        self.session.lose()
        assert self.session.data_to_send() == b""
        self._connect()

    # What always holds

    @invariant()
    def stands_where_the_model_stands(self) -> None:
        assert self.session.is_open is (self.where == "open")
        assert self.session.is_over is (self.where == "over")
        assert self.life.seq == self.seq
        if self.failure is None:
            assert self.session.failure is None
        else:
            assert isinstance(self.session.failure, self.failure)

    @invariant()
    def is_due_when_the_model_is(self) -> None:
        at = {"greeting": self.deadline, "open": self.beat_at, "over": NEVER}[self.where]
        leave_at = NEVER if self.where == "over" else self.leave_at
        assert self.session.due == min(at, leave_at)


TestEngineSession = EngineSessionMachine.TestCase
