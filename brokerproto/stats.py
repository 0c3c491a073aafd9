"""What a broker has counted: the running tally, and the whole as it stands."""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen

__all__ = ["Stats", "Tally"]


@define(eq=False)
class Tally:
    """What is counted as it happens; `Stats` says what each count means."""

    opened: int = 0
    closed: int = 0
    registrations: int = 0
    gaps: int = 0
    stale: int = 0
    unknown_verbs: int = 0
    reports: int = 0
    strange_reports: int = 0
    rejected: Counter[int] = field(factory=Counter)
    wrong_protocol: Counter[str] = field(factory=Counter)


@frozen
class Stats:
    """What a broker has counted since its start, and where it stands.

    At any time ``opened == closed + connections``, and ``heartbeats + missed`` is the
    number of heartbeats that all engines sent since they joined, less those on the way.

    Attributes:
        connections: Open connections.
        registered: Registered engines.
        late: Registered engines that are late.
        opened: Connections ever accepted.
        closed: Connections gone.
        registrations: Registrations ever granted.
        heartbeats: Heartbeats counted, each number once.
        missed: Numbers that never came.
        repeated: Heartbeats whose number had been counted.
        gaps: Times that numbers were missing.
        left: Engines that left on purpose.
        lost: Engines lost.
        causes: Ends by manner and cause, ``left:killed``, ``lost:timeout``.
        rejected: FAILED frames by code.
        stale: Frames that came after an end.
        unknown_verbs: Frames with a verb that no engine has, and that ended no session.
        wrong_protocol: Peers that spoke another protocol, by its name.
        reports: Reports taken.
        strange_reports: Reports that fitted no command.
        lost_time: Seconds in which the broker did not run.
        draining: Whether it has sent its engines away.
    """

    connections: int
    registered: int
    late: int
    opened: int
    closed: int
    registrations: int
    heartbeats: int
    missed: int
    repeated: int
    gaps: int
    left: int
    lost: int
    causes: dict[str, int]
    rejected: dict[int, int]
    stale: int
    unknown_verbs: int
    wrong_protocol: dict[str, int]
    reports: int
    strange_reports: int
    lost_time: float
    draining: bool
