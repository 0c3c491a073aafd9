"""What a broker has counted: the running tally, and the whole as it stands."""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen

from brokerproto.admission import Admission
from brokerproto.brake import Brake
from brokerproto.broker_events import Foreign, Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import UnknownVerbError
from brokerproto.fleet import Fleet, Manner
from brokerproto.flow import Flow
from brokerproto.messages import Unknown

__all__ = ["Stats", "Tally", "take_stock"]


@define(eq=False)
class Tally:
    """What is counted as it happens; `Stats` says what each count means."""

    opened: int = 0
    closed: int = 0
    registrations: int = 0
    probes: int = 0
    gaps: int = 0
    stale: int = 0
    unknown_verbs: int = 0
    reports: int = 0
    strange_reports: int = 0
    takeovers: Counter[str] = field(factory=Counter)
    rejected: Counter[int] = field(factory=Counter)
    wrong_protocol: Counter[str] = field(factory=Counter)

    def count(self, event: Stale | Unknown | Foreign) -> None:
        """Count what a peer said that concerns nobody."""
        if isinstance(event, Stale):
            self.stale += event.frames
        elif isinstance(event, Foreign):
            self.wrong_protocol[event.protocol] += 1
        else:
            self.unknown_verbs += 1
            self.rejected[UnknownVerbError.code] += 1


@frozen
class Stats:
    """What a broker has counted since its start, and where it stands.

    At any time ``opened == closed + connections``, and ``heartbeats + missed`` is the
    number of heartbeats that all engines sent since they joined, less those on the way.

    Attributes:
        draining: Whether it has sent its engines away.
        connections: Open connections.
        unregistered: Those of them that never registered.
        registered: Registered engines.
        late: Registered engines that are late.
        brake: Whether so many are late that the broker suspects itself.
        brake_since: Monotonic seconds since when the brake is on; None while it is off.
        brakes: How many times it went on.
        evicted: Engines LOST whose LOST it had put off.
        opened: Connections ever accepted.
        closed: Connections gone.
        registrations: Registrations ever granted.
        takeovers: Those of them that took an id over, by why the newcomer got it:
            ``resumed``, ``late`` or ``silent``.
        probes: Holders of an id that were asked whether they are there.
        heartbeats: Heartbeats counted, each number once.
        missed: Numbers that never came.
        gaps: Times that numbers were missing.
        repeated: Heartbeats whose number had been counted.
        left: Engines that left on purpose.
        lost: Engines lost.
        causes: Ends by manner and cause, ``left:killed``, ``lost:timeout``.
        rejected: FAILED frames by code.
        wrong_protocol: Peers that spoke another protocol, by its name.
        unknown_verbs: Frames with a verb that no engine has, and that ended no session.
        stale: Frames that came after an end.
        reports: Reports taken.
        strange_reports: Reports that fitted no command.
        reads_paused: Times that an engine sent too fast and was not read for a while.
        unread: Bytes that wait because engines do not read.
        accepts_paused: Times that connections were left waiting.
        short_of_memory: Whether newcomers are refused for want of memory.
        lost_time: Seconds in which the broker did not run.
    """

    draining: bool
    connections: int
    unregistered: int
    registered: int
    late: int
    brake: bool
    brake_since: float | None
    brakes: int
    evicted: int
    opened: int
    closed: int
    registrations: int
    takeovers: dict[str, int]
    probes: int
    heartbeats: int
    missed: int
    gaps: int
    repeated: int
    left: int
    lost: int
    causes: dict[str, int]
    rejected: dict[int, int]
    wrong_protocol: dict[str, int]
    unknown_verbs: int
    stale: int
    reports: int
    strange_reports: int
    reads_paused: int
    unread: int
    accepts_paused: int
    short_of_memory: bool
    lost_time: float


def take_stock(
    fleet: Fleet,
    brake: Brake[BrokerSession],
    tally: Tally,
    admission: Admission,
    flow: Flow,
    *,
    draining: bool,
) -> Stats:
    """Count; the cost grows with the number of ids known.

    Args:
        fleet: Who is registered.
        brake: Who is late, and whether too many are.
        tally: What was counted as it happened.
        admission: Who is inside.
        flow: Who sends too fast, or does not read.
        draining: Whether the engines were sent away.
    """
    totals = fleet.totals
    return Stats(
        draining=draining,
        connections=admission.inside,
        unregistered=admission.unregistered,
        registered=len(fleet),
        late=len(brake.detector.late),
        brake=brake.is_on,
        brake_since=brake.since,
        brakes=brake.times,
        evicted=brake.evicted,
        opened=tally.opened,
        closed=tally.closed,
        registrations=tally.registrations,
        takeovers=dict(tally.takeovers),
        probes=tally.probes,
        heartbeats=totals.counted,
        missed=totals.missed,
        gaps=tally.gaps,
        repeated=totals.repeated,
        left=fleet.count(Manner.LEFT),
        lost=fleet.count(Manner.LOST),
        causes={f"{manner.value}:{cause}": n for (manner, cause), n in fleet.causes.items()},
        rejected=dict(tally.rejected),
        wrong_protocol=dict(tally.wrong_protocol),
        unknown_verbs=tally.unknown_verbs,
        stale=tally.stale,
        reports=tally.reports,
        strange_reports=tally.strange_reports,
        reads_paused=flow.frame_rate.pauses,
        unread=flow.backlog.size,
        accepts_paused=admission.pauses,
        short_of_memory=admission.is_short_of_memory,
        lost_time=brake.detector.clock.lost_time,
    )
