"""A broker without sockets: many sessions, one fleet, one ledger, one detector.

`Broker` owns the sessions: it decides about hellos, keeps the account, judges silence,
hands out commands, and tells an `Observer` what happened. It knows no transport and no
reactor; ``brokerproto.protocol`` brings it bytes and ticks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from attrs import define, field

from brokerproto.account import Gap, Repeat
from brokerproto.broker_session import BrokerEvent, BrokerSession, Foreign, Recovered, Stale
from brokerproto.carrier import Carrier
from brokerproto.commands import Command, Key, Target, Verb
from brokerproto.errors import (
    BrokerFullError,
    HandshakeTimeoutError,
    HeartbeatTimeoutError,
    RemoteProtocolError,
    UnknownVerbError,
)
from brokerproto.fleet import Fleet, Manner, Member, Origin
from brokerproto.framing import Framing
from brokerproto.ledger import Ledger
from brokerproto.liveness import (
    LONGEST_LOOK,
    DeadlineRing,
    Detector,
    DetectorClock,
    Verdict,
    tick_length,
    worst_detection,
)
from brokerproto.messages import Bye, Heartbeat, NewEngine, Report, Unknown
from brokerproto.observer import Observer, Stats
from brokerproto.terms import Grant, Limits, Terms

__all__ = ["Broker"]

# So many that are refused may take their time to read why.
_LINGERING = 16

_TERMS_SHARED = 1000


@define(eq=False)
class Broker:
    """Many sessions and what they amount to.

    Args:
        seconds: A monotonic clock, as ``reactor.seconds``.
        boot: Names this start, 1 to 32 lower-case hex digits, drawn at random.
        limits: How it is set up.
        observer: Hears what happens.

    Attributes:
        fleet: Who is registered.
        ledger: The commands.
        detector: Who is late.
    """

    seconds: Callable[[], float]
    boot: str
    limits: Limits = field(factory=Limits)
    observer: Observer = field(factory=Observer)
    fleet: Fleet = field(init=False, factory=Fleet)
    ledger: Ledger = field(init=False)
    detector: Detector[BrokerSession] = field(init=False)
    _handshakes: DeadlineRing[BrokerSession] = field(init=False)
    _origins: dict[BrokerSession, Origin] = field(init=False, factory=dict)
    _ending: set[BrokerSession] = field(init=False, factory=set)
    _terms: dict[Terms, Terms] = field(init=False, factory=dict)
    _counts: Counter[str] = field(init=False, factory=Counter)
    _rejected: Counter[int] = field(init=False, factory=Counter)
    _wrong_protocol: Counter[str] = field(init=False, factory=Counter)

    def __attrs_post_init__(self) -> None:
        self.ledger = Ledger(self.boot)
        self.detector = Detector(DetectorClock(tick_length(self.limits.interval), self.seconds()))
        self._handshakes = DeadlineRing(self.tick_length)

    @property
    def now(self) -> float:
        """Detector seconds."""
        return self.detector.clock.now

    @property
    def connections(self) -> int:
        """How many connections are open, registered or not."""
        return len(self._origins)

    @property
    def is_overrun(self) -> bool:
        """Whether too many are on their way out to wait until each has read why."""
        return len(self._ending) > _LINGERING

    @property
    def tick_length(self) -> float:
        """Seconds between two calls of `tick`."""
        return self.detector.clock.tick

    @property
    def worst_detection(self) -> float:
        """Longest seconds from a last sign of life to LOST, at the broker's interval."""
        return worst_detection(self.limits.timeout_of(self.limits.interval), self.tick_length)

    def open(self, carrier: Carrier, origin: Origin, framing: Framing = "lines") -> BrokerSession:
        """Begin the session of a new connection.

        Beyond the cap on connections the session is over at once, with 507 owed.

        Args:
            carrier: Moves the session's bytes; settled when something is owed.
            origin: Where the connection comes from.
            framing: How its transport delivers frames.
        """
        session = BrokerSession(self.now, framing)
        session.carrier = carrier
        self._counts["opened"] += 1
        # Whoever is on the way out holds no place against a newcomer.
        full = self.connections - len(self._ending) >= self.limits.connections
        self._origins[session] = origin
        if full:
            retry = max(5, self.limits.herd(len(self.fleet)))
            session.end(BrokerFullError("no more connections", retry))
            self._ended(session)
        else:
            self._await_registration(session)
        return session

    def receive_data(self, session: BrokerSession, data: bytes) -> None:
        """Take what a connection delivered; what is owed then waits in the session."""
        was_over = session.is_over
        self._follow(session, session.receive_data(data, self.now))
        if session.is_over and not was_over:
            self._ended(session)

    def lose(self, session: BrokerSession, *, reset: bool) -> None:
        """Take note that a session's connection is gone.

        Args:
            session: Whose.
            reset: Whether it broke, rather than being closed by the peer.
        """
        member = self.fleet.member_of(session)
        session.lose()
        self.detector.late.discard(session)
        self._ending.discard(session)
        del self._origins[session]
        self._counts["closed"] += 1
        if member is not None:
            self._free(member, Manner.LOST, "reset" if reset else "closed")

    def tick(self) -> None:
        """Judge everybody's silence; call it each `tick_length` seconds.

        Raises:
            ExceptionGroup: What the observer raised; everybody has been judged.
        """
        with _everybody("silence was judged") as apart:
            for session, verdict in self.detector.tick(self.seconds()):
                with apart():
                    self._judge(session, verdict)
            for session in self._handshakes.due(self.now):
                if not (session.is_open or session.is_over):
                    with apart():
                        self._await_registration(session)

    def end(self, session: BrokerSession, error: RemoteProtocolError | None) -> None:
        """End a session on the broker's own account, and have its carrier settle."""
        if session.is_over:
            return
        self._follow(session, session.end(error))
        try:
            self._ended(session)
        finally:
            _settle(session)

    def close(self, error: RemoteProtocolError | None) -> None:
        """End every session, as `end` does.

        Raises:
            ExceptionGroup: What the observer raised; every session has ended.
        """
        with _everybody("everybody was closed") as apart:
            for session in list(self._origins):
                with apart():
                    self.end(session, error)

    def order(
        self, verb: Verb, value: int, engines: Iterable[Member], key: Key | None = None
    ) -> Command:
        """Send a command, and return its entry in the ledger.

        Args:
            verb: ``DOWORK`` or ``KILL``.
            value: Milliseconds of work, 0 to 86,400,000; or an exit status, 0 to 255.
            engines: Registered ones, each once, as ``brokerproto.orders`` chooses them.
            key: The caller's name for it, if there is one.

        Raises:
            KeyReusedError: The ledger keeps a command of this key.
            ExceptionGroup: What carriers raised; everybody else was sent the command.
        """
        members = list(engines)
        targets = [Target(each.engine_id, each.instance, each.is_plain) for each in members]
        command = self.ledger.issue(verb, value, targets, self.seconds(), key)
        with _everybody("a command was sent") as apart:
            for member in members:
                with apart():
                    if self._write(command, member, self.seconds()) and member.session is not None:
                        _settle(member.session)
        return command

    def stats(self) -> Stats:
        """Count; the cost grows with the number of ids known."""
        totals = self.fleet.totals
        counts = self._counts
        return Stats(
            connections=self.connections,
            registered=len(self.fleet),
            late=len(self.detector.late),
            opened=counts["opened"],
            closed=counts["closed"],
            registrations=counts["registrations"],
            heartbeats=totals.counted,
            missed=totals.missed,
            repeated=totals.repeated,
            gaps=counts["gaps"],
            left=self.fleet.count(Manner.LEFT),
            lost=self.fleet.count(Manner.LOST),
            causes={
                f"{manner.value}:{cause}": n for (manner, cause), n in self.fleet.causes.items()
            },
            rejected=dict(self._rejected),
            stale=counts["stale"],
            unknown_verbs=counts["unknown_verbs"],
            wrong_protocol=dict(self._wrong_protocol),
            reports=counts["reports"],
            strange_reports=counts["strange_reports"],
            lost_time=self.detector.clock.lost_time,
        )

    def _judge(self, session: BrokerSession, verdict: Verdict) -> None:
        if verdict is Verdict.LOST:
            self.end(session, HeartbeatTimeoutError("silent for too long"))
            return
        session.ping()
        _settle(session)
        member = self.fleet.member_of(session)
        if verdict is Verdict.LATE and member is not None:
            self.observer.engine_late(member, self.now - session.seen)

    def _await_registration(self, session: BrokerSession) -> None:
        """Give a session up whose handshake takes too long, or look again later."""
        deadline = session.seen + self.limits.handshake
        if self.now >= deadline:
            self.end(session, HandshakeTimeoutError("not registered in time"))
        else:
            # As in the detector: one that is over must not be held until then.
            self._handshakes.put(session, min(deadline, self.now + LONGEST_LOOK))

    def _follow(self, session: BrokerSession, events: Iterable[BrokerEvent]) -> None:
        for event in events:
            if isinstance(event, NewEngine):
                self._follow(session, self._decide(session, event))
            elif isinstance(event, Gap):
                self._missed(session, event)
            elif isinstance(event, Heartbeat):
                self._beaten(session)
            elif isinstance(event, Report):
                self._reported(session, event)
            elif isinstance(event, Recovered):
                self._recovered(session)
            elif isinstance(event, Stale):
                self._counts["stale"] += event.frames
            elif isinstance(event, Unknown):
                self._counts["unknown_verbs"] += 1
                self._rejected[UnknownVerbError.code] += 1
            elif isinstance(event, Foreign):
                self._wrong_protocol[event.protocol] += 1
            else:
                # A Bye shows in the session's end, a repeat in its account.
                assert isinstance(event, (Bye, Repeat))

    def _decide(self, session: BrokerSession, hello: NewEngine) -> Iterable[BrokerEvent]:
        try:
            member, gap = self.fleet.register(hello, session, self._origins[session], self.now)
        except RemoteProtocolError as error:
            return session.end(error)
        self._counts["registrations"] += 1
        terms = self.limits.grant(hello)
        # A bound, because a stranger may wish for something else each time.
        if terms in self._terms or len(self._terms) < _TERMS_SHARED:
            terms = self._terms.setdefault(terms, terms)
        self.observer.engine_registered(member)
        if gap is not None:
            self._missed(session, gap)
        herd = self.limits.herd(len(self.fleet))
        grant = Grant(terms, member.account, member.epoch, herd, self.boot)
        events = session.accept(grant, self.now)
        self.detector.watch(session)
        return events

    def _missed(self, session: BrokerSession, gap: Gap) -> None:
        self._counts["gaps"] += 1
        member = self.fleet.member_of(session)
        if member is not None:
            self.observer.engine_missed(member, gap)

    def _recovered(self, session: BrokerSession) -> None:
        self.detector.late.discard(session)
        member = self.fleet.member_of(session)
        if member is not None:
            self.observer.engine_recovered(member)

    def _reported(self, session: BrokerSession, report: Report) -> None:
        self._counts["reports"] += 1
        member = self.fleet.member_of(session)
        if member is None or not self.ledger.report(
            member.engine_id, member.instance, report, self.seconds()
        ):
            self._counts["strange_reports"] += 1

    def _beaten(self, session: BrokerSession) -> None:
        member = self.fleet.member_of(session)
        if member is None:
            return
        now = self.seconds()
        following = self.ledger.heartbeat(member.engine_id, now)
        if following is not None:
            self._write(following, member, now)
        session.attentive = self.ledger.is_waiting(member.engine_id)

    def _write(self, command: Command, member: Member, now: float) -> bool:
        session = member.session
        # A session that ended behind the heartbeat takes nothing any more.
        if session is None or not session.is_open:
            return False
        # A plain engine's heartbeat is the only report it ever makes.
        session.attentive = member.is_plain
        if not self.ledger.write(command, member.engine_id, now):
            return False
        session.command(command.message, self.now)
        if session.pings == 0:
            self.detector.late.discard(session)
        return True

    def _ended(self, session: BrokerSession) -> None:
        """Draw the conclusions from a session that is over, and not yet gone."""
        self.detector.late.discard(session)
        self._ending.add(session)
        error = session.failure
        if error is not None:
            self._rejected[error.code] += 1
        member = self.fleet.member_of(session)
        if member is None:
            if error is not None:
                engine_id = None if session.hello is None else session.hello.engine_id
                self.observer.peer_refused(self._origins[session], engine_id, error)
        elif session.bye is not None:
            self._free(member, Manner.LEFT, session.bye.reason or "bye")
        elif isinstance(error, HeartbeatTimeoutError):
            self._free(member, Manner.LOST, "timeout")
        else:
            self._free(member, Manner.LOST, "closed" if error is None else str(error.code))

    def _free(self, member: Member, manner: Manner, cause: str) -> None:
        end = self.fleet.end(member, manner, cause, self.now, self.seconds())
        self.ledger.ended(member.engine_id, self.seconds())
        self.observer.engine_ended(end)


def _settle(session: BrokerSession) -> None:
    if session.carrier is not None:
        session.carrier.settle()


@contextmanager
def _everybody(what: str) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Keep one's error from the next one, and raise them all together at the end."""
    errors: list[Exception] = []

    @contextmanager
    def apart() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            errors.append(error)

    yield apart
    if errors:
        raise ExceptionGroup(f"while {what}", errors)
