"""Who owns an id where a newcomer wants one that is held.

`Ownership` says of a newcomer's hello whether it takes the id over at once, is refused,
or waits while the holder is probed with PINGs. It ends and registers nobody itself.
Rules: protocol reference, section "Who owns an id".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum
from hashlib import blake2b
from hmac import compare_digest

from attrs import define, field, frozen

from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.errors import DuplicateIdError, TooManyError
from brokerproto.fleet import Member
from brokerproto.isolation import Apart

__all__ = ["LONGEST_PROBE", "TAKEOVERS", "TAKEOVER_SECONDS", "Ground", "Ownership", "Probe"]

TAKEOVERS = 5
"""How often an id may be taken over within `TAKEOVER_SECONDS`."""

TAKEOVER_SECONDS = 60
"""For how long a takeover counts; also when to come back after one too many."""

LONGEST_PROBE = 2.0
"""Seconds that a holder has to answer, or half its interval where that is less."""

_TOKEN_BYTES = 16


class Ground(Enum):
    """Why a newcomer gets an id that is held."""

    RESUMED = "resumed"
    """It is the same life, and shows the token of the holder's SUCCESS."""

    LATE = "late"
    """The holder was late already."""

    SILENT = "silent"
    """The holder did not answer in time."""


@frozen(eq=False)
class Probe:
    """A question to a holder, and the newcomer who waits for what it says.

    Attributes:
        newcomer: Its session, HELD.
        holder: The session that is asked.
        asked_at: Detector seconds.
        patience: Seconds that the holder has.
        apart: Keeps the holder's errors from the newcomer.
    """

    newcomer: BrokerSession
    holder: BrokerSession
    asked_at: float
    patience: float
    apart: Apart

    def ask(self) -> None:
        """Ping the holder; what it says then comes out as an event."""
        self.holder.attentive = True
        self.holder.ping()
        self.apart(settle, self.holder)

    def is_over(self, now: float) -> bool:
        """Whether the holder has had its time.

        Args:
            now: Detector seconds until which all that came has been read.
        """
        return now - self.asked_at >= self.patience


@define(eq=False)
class Ownership:
    """Decides between those who hold an id and those who want it.

    Nothing is kept for an engine that nobody contends with: a token is made anew
    whenever one is shown.

    Args:
        key: What the tokens are made with, at most 64 bytes; whoever knows it can take
            every id over.
        apart: Keeps one's error from the other.
    """

    key: bytes = field(repr=False)
    apart: Apart
    _probes: dict[str, Probe] = field(init=False, factory=dict)

    def token(self, member: Member) -> str | None:
        """Make the token that gives an id back to the life that holds it now.

        Returns:
            32 hex digits; None where the life has no name to know it by.
        """
        if member.instance is None:
            return None
        holder = f"{member.engine_id}:{member.instance}:{member.epoch}".encode()
        return blake2b(holder, key=self.key, digest_size=_TOKEN_BYTES).hexdigest()

    def claim(self, newcomer: BrokerSession, member: Member, now: float) -> Ground | None:
        """Judge a newcomer's hello that names an id which is held.

        Args:
            newcomer: Whose hello it is.
            member: The id, and who holds it.
            now: Detector seconds.

        Returns:
            Why it may take the id over; None where it must wait: the holder is asked.

        Raises:
            TooManyError: The id goes to and fro.
            DuplicateIdError: It is held, or somebody is waiting for it already.
        """
        holder = member.session
        assert holder is not None
        if len(member.takeovers) >= TAKEOVERS and now - member.takeovers[0] < TAKEOVER_SECONDS:
            raise TooManyError("this id was taken over too often", TAKEOVER_SECONDS)
        if self._resumes(newcomer, member):
            return Ground.RESUMED
        if member.engine_id in self._probes:
            raise self.refusal(member, now)
        if holder.pings:
            return Ground.LATE
        if holder.terms is None or holder.terms.plain or holder.is_throttled:
            # It cannot be asked, or its answer could not be read now.
            raise self.refusal(member, now)
        patience = min(LONGEST_PROBE, holder.terms.interval / 2)
        probe = Probe(newcomer, holder, now, patience, self.apart)
        self._probes[member.engine_id] = probe
        probe.ask()
        return None

    def refusal(self, member: Member, now: float) -> DuplicateIdError:
        """Say that an id is held, and when its holder would be late.

        A plain engine at work is not late for as long as the work may take: whoever
        waits asks again before that.
        """
        holder = member.session
        if holder is None or holder.patience is None:
            return DuplicateIdError("this id is registered", 1)
        wait = min(holder.seen - now, 0.0) + holder.patience.late
        return DuplicateIdError("this id is registered", max(1, math.ceil(wait)))

    def taken(self, member: Member, now: float) -> BrokerSession | None:
        """Take note that an id is being taken over.

        Returns:
            Whoever else was waiting for the holder's answer.
        """
        member.takeovers = (*member.takeovers, now)[-TAKEOVERS:]
        return self.released(member.engine_id)

    def running(self) -> Iterator[Probe]:
        """Give the probes that run, also where some end meanwhile."""
        for engine_id, probe in list(self._probes.items()):
            if self._probes.get(engine_id) is probe:
                yield probe

    def answered(self, session: BrokerSession) -> BrokerSession | None:
        """Take note of a sign of life.

        Returns:
            The newcomer that waited for it.
        """
        probe = self._probe_of(session)
        return self._end(probe) if probe is not None and probe.holder is session else None

    def released(self, engine_id: str) -> BrokerSession | None:
        """Take note that nobody holds an id any more.

        Returns:
            The newcomer that waited for it.
        """
        probe = self._probes.get(engine_id)
        return None if probe is None else self._end(probe)

    def withdrawn(self, session: BrokerSession) -> None:
        """Take note that a newcomer, if it was one, wants nothing any more."""
        probe = self._probe_of(session)
        if probe is not None and probe.newcomer is session:
            self._end(probe)

    def _resumes(self, newcomer: BrokerSession, member: Member) -> bool:
        hello, token = newcomer.hello, self.token(member)
        if hello is None or hello.resume is None or token is None:
            return False
        return member.continues(hello) and compare_digest(hello.resume, token)

    def _probe_of(self, session: BrokerSession) -> Probe | None:
        if not self._probes or (engine_id := session.engine_id) is None:
            return None
        return self._probes.get(engine_id)

    def _end(self, probe: Probe) -> BrokerSession:
        assert probe.newcomer.engine_id is not None
        del self._probes[probe.newcomer.engine_id]
        probe.holder.attentive = False
        return probe.newcomer
