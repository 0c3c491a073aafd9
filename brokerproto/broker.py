"""A broker without sockets: many sessions, one fleet, one ledger, one detector.

`Broker` owns the sessions: it decides about hellos, keeps the account, judges silence,
hands out commands, and tells an `Observer` what happened. It knows no transport and no
reactor; ``brokerproto.protocol`` brings it bytes and ticks.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from random import Random

from attrs import define, field

from brokerproto.admission import Admission
from brokerproto.brake import Brake
from brokerproto.broker_events import BrokerEvent
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import Carrier, settle
from brokerproto.commands import Command, Key, Verb
from brokerproto.dispatch import Dispatch
from brokerproto.drain import Drain
from brokerproto.errors import (
    DrainingError,
    HandshakeTimeoutError,
    InternalError,
    NoMoreOrdersError,
    RemoteProtocolError,
)
from brokerproto.fleet import Fleet, Manner, Member, Origin, manner_of
from brokerproto.flow import Flow
from brokerproto.following import Following
from brokerproto.framing import Framing
from brokerproto.isolation import Apart, shown
from brokerproto.judge import Judge
from brokerproto.ledger import Ledger
from brokerproto.liveness import (
    Detector,
    DetectorClock,
    Patience,
    tick_length,
    worst_detection,
)
from brokerproto.observer import Observer
from brokerproto.ownership import Ground, Ownership, Probe
from brokerproto.registrar import Registrar
from brokerproto.stats import Stats, Tally, take_stock
from brokerproto.terms import Limits
from brokerproto.turns import Later, Turns

__all__ = ["Broker"]


@define(eq=False)
class Broker:
    """Many sessions and what they amount to.

    Args:
        seconds: A monotonic clock, as ``reactor.seconds``.
        boot: Names this start, 1 to 32 lower-case hex digits, drawn at random.
        limits: How it is set up.
        observer: Hears what happens.
        resume_key: What the tokens are made with that give an id back; drawn at random.
        failed: Hears what the observer or a carrier raised, which concerns nobody else.
        later: Has what is sent to many go on in a later turn of the reactor; None to send
            it to all at once.

    Attributes:
        fleet: Who is registered.
        ledger: The commands.
        detector: Who is late.
        brake: Whether so many are late that the broker suspects itself.
        tally: What has been counted.
        admission: The door.
        flow: Who sends too fast, or does not read.
    """

    seconds: Callable[[], float]
    boot: str
    limits: Limits = field(factory=Limits)
    observer: Observer = field(factory=Observer)
    resume_key: bytes = field(factory=lambda: secrets.token_bytes(32), repr=False)
    failed: Callable[[Exception], object] = shown
    later: Later | None = None
    fleet: Fleet = field(init=False, factory=Fleet)
    ledger: Ledger = field(init=False)
    detector: Detector[BrokerSession] = field(init=False)
    brake: Brake[BrokerSession] = field(init=False)
    tally: Tally = field(init=False, factory=Tally)
    admission: Admission = field(init=False)
    flow: Flow = field(init=False)
    _apart: Apart = field(init=False)
    _turns: Turns = field(init=False)
    _dispatch: Dispatch = field(init=False)
    _judge: Judge = field(init=False)
    _drain: Drain | None = field(init=False, default=None)
    _ownership: Ownership = field(init=False)
    _registrar: Registrar = field(init=False)
    _following: Following = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._apart = Apart(self.failed)
        self.ledger = Ledger(self.boot)
        self.detector = Detector(DetectorClock(tick_length(self.limits.interval), self.seconds()))
        self.admission = Admission(self.limits, self.tick_length)
        self.flow = Flow(self.limits, self.tick_length, self.end, self._paused, self._apart)
        interval, timeout = self.limits.interval, self.limits.timeout_of(self.limits.interval)
        self.brake = Brake(self.detector, interval, Patience.of(interval, timeout))
        self._turns = Turns(self.later, self.flow.cut_excess)
        self._dispatch = Dispatch(
            self.ledger, self.brake, self.seconds, self.observer, self._apart, self._turns
        )
        self._ownership = Ownership(self.resume_key, self._apart)
        self._registrar = Registrar(
            self.boot,
            self.limits,
            self.fleet,
            self.detector,
            self.admission,
            self._ownership,
            self.tally,
            self.seconds,
            self.end,
            self.observer,
            self._apart,
        )
        self._following = Following(
            self.fleet,
            self.ledger,
            self.brake,
            self._registrar,
            self._dispatch,
            self.tally,
            self.seconds,
            self.observer,
            self._apart,
        )
        self._judge = Judge(
            self.fleet, self.brake, self.seconds, self.end, self.observer, self._apart
        )

    @property
    def now(self) -> float:
        """Detector seconds."""
        return self.detector.clock.now

    @property
    def connections(self) -> int:
        """How many connections are open, registered or not."""
        return self.admission.inside

    @property
    def is_draining(self) -> bool:
        """Whether it has sent its engines away."""
        return self._drain is not None

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
        self.tally.opened += 1
        refusal = self.admission.enter(session, origin, self.now, len(self.fleet))
        if refusal is not None:
            session.end(refusal)
            self._ended(session)
        return session

    def receive_data(self, session: BrokerSession, data: bytes) -> None:
        """Take what a connection delivered; what is owed then waits in the session.

        Raises:
            Exception: The broker itself failed; the session has ended (500).
        """
        events = session.receive_data(data, self.now)
        if events is None:
            self.heard()
        else:
            self.received(session, events, data)

    def heard(self) -> None:
        """Take note that somebody was heard whose session said that all was done."""
        self.brake.heard = self.now

    def received(self, session: BrokerSession, events: Iterable[BrokerEvent], data: bytes) -> None:
        """Follow what a session made of what its connection delivered.

        Args:
            session: Whose.
            events: What its ``receive_data`` returned, not None.
            data: What that was given.
        """
        now = self.now
        try:
            self._following.follow(session, events)
        except Exception:
            self._failed(session)
            raise
        if session.terms is not None and session.seen >= now:
            self.brake.heard = now
        if not session.is_over:
            self.flow.frame_rate.read(session, data, now)
        elif not self.admission.is_leaving(session):
            self._ended(session)
        if self.flow.backlog.is_exceeded:
            self.flow.cut_excess()

    def lose(self, session: BrokerSession, *, reset: bool) -> None:
        """Take note that a session's connection is gone.

        Args:
            session: Whose.
            reset: Whether it broke, rather than being closed by the peer.
        """
        member = self.fleet.member_of(session)
        self.flow.backlog.forget(session)
        session.lose()
        self.brake.over(session)
        self._ownership.withdrawn(session)
        self.admission.left(session)
        self.tally.closed += 1
        if member is not None:
            self._free(member, Manner.LOST, "reset" if reset else "closed")

    def tick(self) -> None:
        """Judge everybody's silence; call it each `tick_length` seconds.

        Between two calls all must be read once that can be read, as a reactor does
        between two delayed calls.
        """
        self._judge.tick()
        # Before the handshakes: a decision that is due comes first.
        for probe in self._ownership.running():
            self._probed(probe)
        for session in self.admission.overdue(self.detector.horizon):
            self.end(session, HandshakeTimeoutError("not registered in time"))
        self.flow.sweep(self.now, self.detector.horizon)

    def end(self, session: BrokerSession, error: RemoteProtocolError | None) -> None:
        """End a session on the broker's own account, and have its carrier settle."""
        if session.is_over:
            return
        self._following.follow(session, session.end(error))
        self._ended(session)
        self._apart(settle, session)

    def close(self, error: RemoteProtocolError | None) -> None:
        """End every session, as `end` does."""
        # Nobody who waits for an id is to get it from one who is sent away.
        holders = [member.session for member in self.fleet if member.session is not None]
        for session in (*self.admission.newcomers, *holders):
            self.end(session, error)

    def drain(self, random: Random) -> Drain:
        """Let nobody in any more, and give each engine a slot to leave in.

        Whoever is still here when the time for it is over is the caller's to `close`.

        Args:
            random: Draws who leaves when.

        Returns:
            What goes on from here; the same one when it is asked again.
        """
        if self._drain is None:
            self.admission.closed = DrainingError()
            spread = self.limits.spread(len(self.fleet))
            self._drain = Drain(self.seconds, self.end, spread, self._apart, self._turns)
            self._drain.begin(self.fleet, self.admission.newcomers, random)
        return self._drain

    def order(
        self, verb: Verb, value: int, engines: Iterable[Member], key: Key | None = None
    ) -> Command:
        """Send a command, and return its entry in the ledger.

        To many it goes out in parts, and each engine is sent commands in their order.

        Args:
            verb: ``DOWORK`` or ``KILL``.
            value: Milliseconds of work, 0 to 86,400,000; or an exit status, 0 to 255.
            engines: Registered ones, each once, as ``brokerproto.orders`` chooses them.
            key: The caller's name for it, if there is one.

        Raises:
            ValueError: `value` is none that the verb can have.
            KeyReusedError: The ledger keeps a command of this key.
            NoMoreOrdersError: It drains.
        """
        if self._drain is not None:
            raise NoMoreOrdersError
        return self._dispatch.send(verb, value, engines, key)

    def stats(self) -> Stats:
        """Count; the cost grows with the number of ids known."""
        return take_stock(
            self.fleet, self.brake, self.tally, self.admission, self.flow, draining=self.is_draining
        )

    def _probed(self, probe: Probe) -> None:
        """Ask a holder once more, or give up waiting for its answer."""
        if probe.is_over(self.detector.horizon):
            self._ownership.withdrawn(probe.newcomer)
            self._decide_later(probe.newcomer, Ground.SILENT)
        else:
            probe.ask()

    def _decide_later(self, session: BrokerSession, ground: Ground | None = None) -> None:
        """Decide about one that has waited, apart from what its connection brings."""
        try:
            self._following.follow(session, self._registrar.decide(session, ground))
        except Exception as error:
            self._failed(session)
            self.failed(error)
        else:
            if session.is_over:
                self._ended(session)
        self._apart(settle, session)

    def _failed(self, session: BrokerSession) -> None:
        """End a session that is at fault for nothing; its events were not followed."""
        if session.is_over:
            self._ended(session)
        else:
            self.end(session, InternalError("the broker failed, the fault is its own"))

    def _paused(self, session: BrokerSession, seconds: float) -> None:
        member = self.fleet.member_of(session)
        if member is not None:
            rate = self.limits.frame_rate
            self._apart(self.observer.engine_paused, member, rate, seconds)

    def _ended(self, session: BrokerSession) -> None:
        """Draw the conclusions from a session that is over, and not yet gone."""
        self.brake.over(session)
        self._ownership.withdrawn(session)
        self.admission.leaving(session)
        self.flow.backlog.forget(session)
        error = session.failure
        if error is not None:
            self.tally.rejected[error.code] += 1
        member = self.fleet.member_of(session)
        if member is None:
            if error is not None:
                origin = self.admission.newcomers[session]
                self._apart(self.observer.peer_refused, origin, session.engine_id, error)
        else:
            self._free(member, *manner_of(session))

    def _free(self, member: Member, manner: Manner, cause: str) -> None:
        end = self.fleet.end(member, manner, cause, self.now, self.seconds())
        self.ledger.ended(member.engine_id, self.seconds())
        newcomer = self._ownership.released(member.engine_id)
        self._apart(self.observer.engine_ended, end)
        if newcomer is not None:
            self._decide_later(newcomer)
