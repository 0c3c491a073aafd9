"""Who is registered: ids, lives, epochs, the account of all, how each one left.

The fleet keeps for each id one `Member`, while the id is registered and as long as one
of its ends is among the last ones kept. What is forgotten stays in the totals, so that
the account of numbers closes for ever. Rules: protocol reference, sections "Sequence
and account" and "Who owns an id".
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from enum import Enum

from attrs import define, field, frozen

from brokerproto.account import Account, Gap, Totals
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import HeartbeatTimeoutError, LocalProtocolError
from brokerproto.messages import NO_LABELS, NewEngine

__all__ = ["ENDS_KEPT", "End", "Fleet", "Manner", "Member", "Origin", "manner_of"]

ENDS_KEPT = 10_000
"""How many ends are remembered, with the lives and epochs of their ids."""

_REASONS_COUNTED = 100


class Manner(Enum):
    """How an engine went."""

    LEFT = "left"
    LOST = "lost"


@frozen(weakref_slot=False)
class Origin:
    """Where a connection comes from.

    Attributes:
        address: The peer, as text for people.
        transport: The address on which the broker accepted it.
    """

    address: str
    transport: str


@frozen(weakref_slot=False)
class End:
    """How one registration ended.

    Attributes:
        engine_id: Whose.
        epoch: Which registration of this id, from 1.
        origin: Where it came from.
        duration: Detector seconds from registration to end.
        manner: LEFT on purpose, or LOST.
        cause: The reason of the Bye; or ``closed``, ``reset``, ``timeout``, or a code.
        totals: The life's account at that time.
        labels: What it had said of itself.
        ended_at: When, monotonic seconds.
        number: Which end of all that the fleet has seen, from 1.
    """

    engine_id: str
    epoch: int
    origin: Origin
    duration: float
    manner: Manner
    cause: str
    totals: Totals
    labels: Mapping[str, str] = field(hash=False)
    ended_at: float
    number: int


@define(eq=False, weakref_slot=False)
class Member:
    """One engine's id, as the broker knows it.

    Attributes:
        engine_id: The id.
        account: The account of its present or last life.
        instance: That life's name; None where the engine gave none.
        session: The registered session; None while the id is free.
        origin: Where its present or last connection came from.
        labels: What it said of itself at its last registration.
        epoch: How many times the id was registered.
        since: Detector seconds of the last registration.
        ends: How many of its ends are still kept.
        takeovers: When the id was last taken over, detector seconds, oldest first; kept
            by `brokerproto.ownership`.
    """

    engine_id: str
    account: Account
    instance: str | None
    origin: Origin
    session: BrokerSession | None = None
    epoch: int = 0
    since: float = 0.0
    ends: int = 0
    labels: Mapping[str, str] = NO_LABELS
    takeovers: tuple[float, ...] = ()

    def continues(self, hello: NewEngine) -> bool:
        """Whether a hello is of the life that this broker knows."""
        return hello.instance is not None and hello.instance == self.instance

    @property
    def is_plain(self) -> bool:
        """Whether it is registered, and by a hello without options."""
        session = self.session
        return session is not None and session.terms is not None and session.terms.plain


def manner_of(session: BrokerSession) -> tuple[Manner, str]:
    """Tell how an engine went whose session is over, and for what cause; see `End`."""
    error = session.failure
    if session.bye is not None:
        return Manner.LEFT, session.bye.reason or "bye"
    if isinstance(error, HeartbeatTimeoutError):
        return Manner.LOST, "timeout"
    return Manner.LOST, "closed" if error is None else str(error.code)


@define(eq=False)
class Fleet:
    """The registered engines, and the memory of those that went.

    Args:
        ends_kept: How many ends to remember.

    Attributes:
        ends: The last ends, oldest first.
        causes: How many went, by manner and cause; reasons of a Bye beyond a hundred
            are counted together as ``other``.
    """

    ends_kept: int = ENDS_KEPT
    ends: deque[End] = field(init=False, factory=deque)
    causes: Counter[tuple[Manner, str]] = field(init=False, factory=Counter)
    _registered: dict[str, Member] = field(init=False, factory=dict)
    _gone: dict[str, Member] = field(init=False, factory=dict)
    _forgotten: Totals = field(init=False, factory=Totals)

    def __len__(self) -> int:
        """How many engines are registered."""
        return len(self._registered)

    def __iter__(self) -> Iterator[Member]:
        """The registered engines, in the order of their registration."""
        return iter(self._registered.values())

    def get(self, engine_id: str) -> Member | None:
        """Return the registered engine of this id."""
        return self._registered.get(engine_id)

    def member_of(self, session: BrokerSession) -> Member | None:
        """Return the member whose registration is held by `session`."""
        engine_id = session.engine_id
        member = None if engine_id is None else self._registered.get(engine_id)
        return member if member is not None and member.session is session else None

    @property
    def remembered(self) -> int:
        """How many ids are known, registered or not."""
        return len(self._registered) + len(self._gone)

    @property
    def totals(self) -> Totals:
        """The account of all lives that this broker ever knew."""
        counted, missed, repeated = (
            self._forgotten.counted,
            self._forgotten.missed,
            self._forgotten.repeated,
        )
        for members in (self._registered, self._gone):
            for member in members.values():
                account = member.account
                counted += account.counted
                missed += account.missed
                repeated += account.repeated
        return Totals(counted, missed, repeated)

    def register(
        self, hello: NewEngine, session: BrokerSession, origin: Origin, now: float
    ) -> tuple[Member, Gap | None]:
        """Give a free id to a session, and move its account to the hello.

        Args:
            hello: What the engine said.
            session: Whose hello it was; its state is not looked at.
            origin: Where it comes from.
            now: Detector seconds.

        Returns:
            The member, and the numbers that its life missed since it was here last.

        Raises:
            LocalProtocolError: The id is registered.
            SequenceRegressedError: The hello's number is below this life's last one.
        """
        engine_id = hello.engine_id
        if engine_id in self._registered:
            raise LocalProtocolError(f"{engine_id} is registered")
        member = self._gone.get(engine_id)
        gap = None
        if member is None:
            account = Account(hello.seq, now)
            member = Member(engine_id, account, hello.instance, origin)
        elif member.continues(hello):
            gap = member.account.resume(hello.seq, now)
        else:
            self._forgotten += member.account.totals
            member.account = Account(hello.seq, now)
            member.instance = hello.instance
        self._gone.pop(engine_id, None)
        self._registered[engine_id] = member
        member.session, member.origin, member.since = session, origin, now
        member.labels = hello.labels
        member.epoch += 1
        return member, gap

    def end(self, member: Member, manner: Manner, cause: str, now: float, ended_at: float) -> End:
        """Free a registered id, and remember how it went.

        Args:
            member: One that is registered.
            manner: LEFT or LOST.
            cause: See `End`.
            now: Detector seconds.
            ended_at: Monotonic seconds.
        """
        del self._registered[member.engine_id]
        self._gone[member.engine_id] = member
        member.session = None
        end = End(
            member.engine_id,
            member.epoch,
            member.origin,
            now - member.since,
            manner,
            cause,
            member.account.totals,
            member.labels,
            ended_at,
            sum(self.causes.values()) + 1,
        )
        self.ends.append(end)
        member.ends += 1
        counted = manner, cause
        is_new = manner is Manner.LEFT and counted not in self.causes
        # A bound, because an engine may think up another reason each time.
        if is_new and len(self.causes) >= _REASONS_COUNTED:
            counted = manner, "other"
        self.causes[counted] += 1
        if len(self.ends) > self.ends_kept:
            self._forget(self.ends.popleft())
        return end

    def count(self, manner: Manner) -> int:
        """Return how many went in this manner."""
        return sum(n for (went, _), n in self.causes.items() if went is manner)

    def _forget(self, end: End) -> None:
        member = self._registered.get(end.engine_id) or self._gone[end.engine_id]
        member.ends -= 1
        if member.ends == 0 and member.session is None:
            del self._gone[end.engine_id]
            self._forgotten += member.account.totals
