"""What a broker tells of itself as it happens."""

from __future__ import annotations

from brokerproto.account import Gap
from brokerproto.commands import Command
from brokerproto.errors import RemoteProtocolError
from brokerproto.fleet import End, Member, Origin
from brokerproto.ownership import Ground

__all__ = ["Observer"]


class Observer:
    """Hears what happens at a broker. Override what is of interest.

    The calls come in the order of the events, from within the broker's own calls: an
    observer must not call the broker back at once. What one raises costs nobody anything:
    the broker hands it to its `failed`, and goes on.
    """

    def engine_registered(self, member: Member) -> None:
        """An engine is registered."""

    def engine_missed(self, member: Member, gap: Gap) -> None:
        """Heartbeats of a registered engine never came."""

    def engine_late(self, member: Member, silence: float) -> None:
        """An engine has been silent for `silence` detector seconds."""

    def engine_recovered(self, member: Member) -> None:
        """A late engine was heard again."""

    def engine_paused(self, member: Member, rate: int, seconds: float) -> None:
        """An engine sends more than `rate` frames a second: it is not read for `seconds`."""

    def engine_taken_over(self, member: Member, origin: Origin, ground: Ground) -> None:
        """A newcomer from `origin` took an id over.

        The end of its holder, with the cause 410, came just before, and the newcomer's
        registration follows.
        """

    def engine_ended(self, end: End) -> None:
        """An engine left, or was lost; its id is free."""

    def brake_applied(self, late: int, registered: int) -> None:
        """So many of the registered engines are late that the broker suspects itself."""

    def brake_released(self, seconds: float, evicted: int) -> None:
        """After `seconds` no more are late than may be; so many were LOST meanwhile."""

    def peer_refused(
        self, origin: Origin, engine_id: str | None, error: RemoteProtocolError
    ) -> None:
        """A peer that is not registered was told `error`; no id before a hello."""

    def command_issued(self, command: Command) -> None:
        """A command is about to be sent to its targets."""
