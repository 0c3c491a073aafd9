"""What a broker tells of itself: events as they happen, and its counts."""

from __future__ import annotations

from attrs import frozen

from brokerproto.account import Gap
from brokerproto.errors import RemoteProtocolError
from brokerproto.fleet import End, Member, Origin

__all__ = ["Observer", "Stats"]


class Observer:
    """Hears what happens at a broker. Override what is of interest.

    The calls come in the order of the events, from within the broker's own calls: an
    observer must not call the broker back at once.
    """

    def engine_registered(self, member: Member) -> None:
        """An engine is registered."""

    def engine_missed(self, member: Member, gap: Gap) -> None:
        """Heartbeats of a registered engine never came."""

    def engine_late(self, member: Member, silence: float) -> None:
        """An engine has been silent for `silence` detector seconds."""

    def engine_recovered(self, member: Member) -> None:
        """A late engine was heard again."""

    def engine_ended(self, end: End) -> None:
        """An engine left, or was lost; its id is free."""

    def peer_refused(
        self, origin: Origin, engine_id: str | None, error: RemoteProtocolError
    ) -> None:
        """A peer that is not registered was told `error`; no id before a hello."""


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
