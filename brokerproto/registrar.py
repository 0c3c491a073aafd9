"""The broker's answer to a hello: register, refuse, or let wait.

Whom an id belongs to is `brokerproto.ownership`'s to say, and the account of its numbers
`brokerproto.fleet`'s; here stands what follows from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import define, field

from brokerproto.admission import Admission
from brokerproto.broker_session import BrokerEvent, BrokerSession
from brokerproto.errors import RemoteProtocolError, SupersededError
from brokerproto.fleet import Fleet, Member, Origin
from brokerproto.isolation import isolated
from brokerproto.liveness import Detector
from brokerproto.messages import NewEngine
from brokerproto.observer import Observer
from brokerproto.ownership import Ground, Ownership
from brokerproto.stats import Tally
from brokerproto.terms import Grant, Limits, Terms

__all__ = ["Registrar"]

_TERMS_SHARED = 1000


class _Host(Protocol):
    """What a registrar needs of the broker it works for."""

    @property
    def boot(self) -> str: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def observer(self) -> Observer: ...

    @property
    def admission(self) -> Admission: ...

    @property
    def fleet(self) -> Fleet: ...

    @property
    def detector(self) -> Detector[BrokerSession]: ...

    @property
    def tally(self) -> Tally: ...

    @property
    def seconds(self) -> Callable[[], float]: ...

    def origin_of(self, session: BrokerSession) -> Origin:
        """Tell where a connection comes from."""

    def end(self, session: BrokerSession, error: RemoteProtocolError | None) -> None:
        """End a session on the broker's own account, and free its id."""


@define(eq=False)
class Registrar:
    """Registers the engines of a broker.

    Args:
        host: The broker.
        ownership: Who owns an id.
    """

    host: _Host
    ownership: Ownership
    _terms: dict[Terms, Terms] = field(init=False, factory=dict)

    def decide(self, session: BrokerSession, ground: Ground | None = None) -> Iterable[BrokerEvent]:
        """Answer the hello of a session that is HELD, now or when the holder was asked.

        Args:
            session: Whose hello it is.
            ground: Why the holder of its id, if there is one, has to give way.

        Returns:
            What follows from the answer; nothing where there is none yet.
        """
        hello = session.hello
        assert hello is not None
        holder = self.host.fleet.get(hello.engine_id)
        try:
            if holder is not None:
                now = self.host.detector.clock.reading(self.host.seconds())
                ground = ground or self.ownership.claim(session, holder, now)
                if ground is None:
                    self.host.tally.probes += 1
                    return ()
                self._supersede(holder, session, hello, ground)
            return self._register(session, hello)
        except RemoteProtocolError as error:
            return session.end(error)

    def heard(self, session: BrokerSession) -> None:
        """Take note of a sign of life; whoever waited for it is refused."""
        newcomer = self.ownership.answered(session)
        if newcomer is not None:
            self._refuse(newcomer, self.host.fleet.member_of(session))

    def _refuse(self, newcomer: BrokerSession, holder: Member | None) -> None:
        assert holder is not None
        self.host.end(newcomer, self.ownership.refusal(holder, self.host.detector.clock.now))

    def _supersede(
        self, holder: Member, session: BrokerSession, hello: NewEngine, ground: Ground
    ) -> None:
        assert holder.session is not None
        if holder.continues(hello):
            # Before anybody is harmed by a newcomer that will be refused.
            holder.account.check_resumed(hello.seq)
        self.host.tally.takeovers[ground.value] += 1
        rival = self.ownership.taken(holder, self.host.detector.clock.now)
        with isolated("an id was taken over") as apart:
            if rival is not None:
                with apart():
                    self._refuse(rival, holder)
            with apart():
                self.host.end(
                    holder.session, SupersededError("a newer connection took this id over")
                )
            with apart():
                self.host.observer.engine_taken_over(holder, self.host.origin_of(session), ground)

    def _register(self, session: BrokerSession, hello: NewEngine) -> Iterable[BrokerEvent]:
        now = self.host.detector.clock.now
        member, gap = self.host.fleet.register(hello, session, self.host.origin_of(session), now)
        self.host.tally.registrations += 1
        self.host.observer.engine_registered(member)
        herd = self.host.limits.herd(len(self.host.fleet))
        resume = self.ownership.token(member)
        grant = Grant(
            self._granted(hello), member.account, member.epoch, herd, self.host.boot, resume
        )
        events = session.accept(grant, now)
        self.host.admission.registered()
        self.host.detector.watch(session)
        return events if gap is None else [gap, *events]

    def _granted(self, hello: NewEngine) -> Terms:
        terms = self.host.limits.grant(hello)
        # A bound, because a stranger may wish for something else each time.
        if terms in self._terms or len(self._terms) < _TERMS_SHARED:
            return self._terms.setdefault(terms, terms)
        return terms
