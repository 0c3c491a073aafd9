"""The broker's answer to a hello: register, refuse, or let wait.

Whom an id belongs to is `brokerproto.ownership`'s to say, and the account of its numbers
`brokerproto.fleet`'s; here stands what follows from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define, field

from brokerproto.admission import Admission
from brokerproto.broker_events import BrokerEvent
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import RemoteProtocolError, SupersededError
from brokerproto.fleet import Fleet, Member
from brokerproto.isolation import Apart
from brokerproto.liveness import Detector
from brokerproto.messages import NewEngine
from brokerproto.observer import Observer
from brokerproto.ownership import Ground, Ownership
from brokerproto.stats import Tally
from brokerproto.terms import Grant, Limits, Terms

__all__ = ["Registrar"]

_TERMS_SHARED = 1000


@define(eq=False)
class Registrar:
    """Registers the engines of a broker.

    Args:
        boot: Names the broker's start.
        limits: How it is set up.
        fleet: Who is registered.
        detector: Who is late.
        admission: The door.
        ownership: Who owns an id.
        tally: What is counted.
        seconds: A monotonic clock.
        end: Ends a session, and has its carrier settle.
        observer: Hears of it.
        apart: Keeps one's error from the next one.
    """

    boot: str
    limits: Limits
    fleet: Fleet
    detector: Detector[BrokerSession]
    admission: Admission
    ownership: Ownership
    tally: Tally
    seconds: Callable[[], float]
    end: Callable[[BrokerSession, RemoteProtocolError], None]
    observer: Observer
    apart: Apart
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
        holder = self.fleet.get(hello.engine_id)
        try:
            if holder is not None:
                now = self.detector.clock.reading(self.seconds())
                ground = ground or self.ownership.claim(session, holder, now)
                if ground is None:
                    self.tally.probes += 1
                    return ()
                self._supersede(holder, session, hello, ground)
            return self._register(session, hello)
        except RemoteProtocolError as error:
            return session.end(error)

    def heard(self, session: BrokerSession) -> None:
        """Take note of a sign of life; whoever waited for it is refused."""
        newcomer = self.ownership.answered(session)
        if newcomer is not None:
            self._refuse(newcomer, self.fleet.member_of(session))

    def _refuse(self, newcomer: BrokerSession, holder: Member | None) -> None:
        assert holder is not None
        self.end(newcomer, self.ownership.refusal(holder, self.detector.clock.now))

    def _supersede(
        self, holder: Member, session: BrokerSession, hello: NewEngine, ground: Ground
    ) -> None:
        assert holder.session is not None
        if holder.continues(hello):
            # Before anybody is harmed by a newcomer that will be refused.
            holder.account.check_resumed(hello.seq)
        self.tally.takeovers[ground.value] += 1
        rival = self.ownership.taken(holder, self.detector.clock.now)
        if rival is not None:
            self._refuse(rival, holder)
        self.end(holder.session, SupersededError("a newer connection took this id over"))
        origin = self.admission.newcomers[session]
        self.apart(self.observer.engine_taken_over, holder, origin, ground)

    def _register(self, session: BrokerSession, hello: NewEngine) -> Iterable[BrokerEvent]:
        now = self.detector.clock.now
        member, gap = self.fleet.register(hello, session, self.admission.newcomers[session], now)
        self.tally.registrations += 1
        self.apart(self.observer.engine_registered, member)
        herd = self.limits.herd(len(self.fleet))
        resume = self.ownership.token(member)
        grant = Grant(self._granted(hello), member.account, member.epoch, herd, self.boot, resume)
        events = session.accept(grant, now)
        self.admission.registered(session)
        self.detector.watch(session)
        return events if gap is None else [gap, *events]

    def _granted(self, hello: NewEngine) -> Terms:
        terms = self.limits.grant(hello)
        # A bound, because a stranger may wish for something else each time.
        if terms in self._terms or len(self._terms) < _TERMS_SHARED:
            return self._terms.setdefault(terms, terms)
        return terms
