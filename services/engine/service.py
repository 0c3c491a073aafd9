"""A process full of engines, one or many, and what its log says of them."""

from __future__ import annotations

from random import Random
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from brokerproto.messages import Success
from services.engine.runner import Runner
from services.program.counted import Counted
from services.program.exit_status import ExitStatus
from services.program.start import CONFIGURATION_ERROR

__all__ = ["EngineService", "reborn_after"]

_SUMMARY_SECONDS = 1.0
_REASONS_NAMED = 5

# Of its many engines a process begins to connect so many in one turn of the reactor, and goes on
# as the broker registers them: an attempt takes more memory than an engine that beats.
_AT_ONCE = 100
_MOST_UNDER_WAY = 200
_BREATH = 0.01

_SHORTEST_DEATH, _LONGEST_SHORT_DEATH, _LONGEST_DEATH = 1.0, 3.0, 30.0

log = Logger()


def reborn_after(deaths: int, random: Random) -> float:
    """Return the seconds from an engine's death to its next life.

    Rule: protocol reference, section "Commands": 1 to 3 s, doubling to 30.

    Args:
        deaths: How often it has died, from 1.
        random: Draws.
    """
    doubled: float = 2.0 ** min(deaths - 1, 8)
    return min(_LONGEST_DEATH, random.uniform(_SHORTEST_DEATH, _LONGEST_SHORT_DEATH) * doubled)


@define(eq=False, slots=False)
class EngineService(Service):
    """Runs engines, says what becomes of them, and ends the process when it must.

    A single engine has a line in the log for each change of its state; of many there
    is one line a second at most, while something changes.

    Args:
        reactor: Its clock.
        exit_status: Ends the process.
        broker: The broker's address, for the log.
    """

    _reactor: Any
    _exit_status: ExitStatus
    _broker: str
    runners: list[Runner] = field(init=False, factory=list)
    _away: int = field(init=False, default=0)
    _started: int = field(init=False, default=0)
    _under_way: list[Runner] = field(init=False, factory=list)
    _starting: IDelayedCall | None = field(init=False, default=None)
    _reasons: dict[str, int] = field(init=False, factory=dict)
    _summary: IDelayedCall | None = field(init=False, default=None)

    def startService(self) -> None:
        """Connect all engines, as fast as the broker registers them."""
        Service.startService(self)
        self._started = 0
        self._start_some()

    def stopService(self) -> Deferred[None]:
        """Have all engines say Bye; fires when their connections are gone."""
        Service.stopService(self)
        for call in self._summary, self._starting:
            if call is not None:
                call.cancel()
        self._summary = self._starting = None
        stopped = gatherResults([runner.stop() for runner in self.runners])
        return stopped.addCallback(lambda _: self._farewell())

    def registered(self, runner: Runner, success: Success) -> None:
        """See `services.engine.runner.Journal`."""
        if self._is_single:
            log.info(
                "registered at {broker} as {engine}, epoch {epoch}; a heartbeat each {interval} s",
                broker=self._broker,
                engine=runner.engine_id,
                epoch=success.epoch or 1,
                interval=runner.session.interval if runner.session else None,
            )
        else:
            self._changed()

    def lost(self, runner: Runner, reason: str, seconds: float) -> None:
        """See `services.engine.runner.Journal`."""
        if self._is_single:
            log.warn(
                "not registered as {engine}: {reason}; next try in {seconds} s",
                engine=runner.engine_id,
                reason=reason,
                seconds=round(seconds, 1),
            )
        else:
            self._count(reason)

    def gave_up(self, runner: Runner, reason: str) -> None:
        """See `services.engine.runner.Journal`."""
        self._away += 1
        log.error("{engine} stays away: {reason}", engine=runner.engine_id, reason=reason)
        if self._away == len(self.runners):
            self._exit_status.end(CONFIGURATION_ERROR)

    def killed(self, runner: Runner, code: int, seconds: float | None) -> None:
        """See `services.engine.runner.Journal`."""
        if seconds is None:
            log.info("killed by the broker: exit status {code}", code=code)
            self._exit_status.end(code)
        elif self._is_single:
            log.info(
                "{engine} was killed by the broker with {code}; starts again in {seconds} s",
                engine=runner.engine_id,
                code=code,
                seconds=round(seconds, 1),
            )
        else:
            self._count(f"killed with {code}")

    def _start_some(self) -> None:
        self._starting = None
        self._under_way = [runner for runner in self._under_way if runner.is_under_way]
        room = min(_AT_ONCE, _MOST_UNDER_WAY - len(self._under_way))
        some = self.runners[self._started : self._started + room]
        self._started += len(some)
        self._under_way += some
        for runner in some:
            runner.start()
        if self._started < len(self.runners):
            self._starting = self._reactor.callLater(_BREATH, self._start_some)
        else:
            self._under_way = []

    @property
    def _is_single(self) -> bool:
        return len(self.runners) == 1

    def _count(self, reason: str) -> None:
        self._reasons[reason] = self._reasons.get(reason, 0) + 1
        self._changed()

    def _changed(self) -> None:
        if self._summary is None and self.running:
            self._summary = self._reactor.callLater(_SUMMARY_SECONDS, self._summarise)

    def _summarise(self) -> None:
        self._summary = None
        reasons, self._reasons = self._reasons, {}
        log.info(
            "{registered} of {engines} engines registered at {broker}{lost}",
            registered=sum(runner.is_registered for runner in self.runners),
            engines=len(self.runners),
            broker=self._broker,
            lost=_summed_up(reasons),
        )

    def _farewell(self) -> None:
        log.info(
            "sent {heartbeats} in all",
            engines=len(self.runners),
            heartbeats=Counted(sum(runner.heartbeats_sent for runner in self.runners), "heartbeat"),
        )


def _summed_up(reasons: dict[str, int]) -> str:
    """Name the reasons of losses, the most frequent alone where there are many."""
    named = reasons
    if len(reasons) > _REASONS_NAMED:
        named = dict(sorted(reasons.items(), key=lambda item: -item[1])[:_REASONS_NAMED])
    others = sum(reasons.values()) - sum(named.values())
    text = "".join(f"; {n} x {reason}" for reason, n in named.items())
    return f"{text}; {others} x for other reasons" if others else text
