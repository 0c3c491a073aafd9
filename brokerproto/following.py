"""What a broker does about what an engine says."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define

from brokerproto.account import Gap, Repeat
from brokerproto.brake import Brake
from brokerproto.broker_events import BrokerEvent, Foreign, Recovered, Stale
from brokerproto.broker_session import BrokerSession
from brokerproto.dispatch import Dispatch
from brokerproto.fleet import Fleet
from brokerproto.isolation import Apart
from brokerproto.ledger import Ledger
from brokerproto.messages import Bye, Heartbeat, NewEngine, Report, Unknown
from brokerproto.observer import Observer
from brokerproto.registrar import Registrar
from brokerproto.stats import Tally

__all__ = ["Following"]


@define(eq=False)
class Following:
    """Follows the events of a broker's sessions.

    Args:
        fleet: Who is registered.
        ledger: The commands.
        brake: Who is late.
        registrar: Answers hellos.
        dispatch: Brings commands to the engines.
        tally: What is counted.
        seconds: A monotonic clock.
        observer: Hears of it.
        apart: Keeps one's error from the next one.
    """

    fleet: Fleet
    ledger: Ledger
    brake: Brake[BrokerSession]
    registrar: Registrar
    dispatch: Dispatch
    tally: Tally
    seconds: Callable[[], float]
    observer: Observer
    apart: Apart

    def follow(self, session: BrokerSession, events: Iterable[BrokerEvent]) -> None:
        """Do what each event asks for, in their order."""
        for event in events:
            if isinstance(event, NewEngine):
                self.follow(session, self.registrar.decide(session))
            elif isinstance(event, Gap):
                self._missed(session, event)
            elif isinstance(event, Heartbeat):
                self._beaten(session)
            elif isinstance(event, Report):
                self._reported(session, event)
            elif isinstance(event, Recovered):
                self._recovered(session)
            elif isinstance(event, Stale | Unknown | Foreign):
                self.tally.count(event)
            else:
                # A Bye shows in the session's end, a repeat in its account.
                assert isinstance(event, (Bye, Repeat))

    def _missed(self, session: BrokerSession, gap: Gap) -> None:
        self.tally.gaps += 1
        member = self.fleet.member_of(session)
        if member is not None:
            self.apart(self.observer.engine_missed, member, gap)

    def _recovered(self, session: BrokerSession) -> None:
        self.brake.recovered(session)
        member = self.fleet.member_of(session)
        if member is not None:
            self.apart(self.observer.engine_recovered, member)

    def _reported(self, session: BrokerSession, report: Report) -> None:
        self.tally.reports += 1
        self.registrar.heard(session)
        member = self.fleet.member_of(session)
        if member is None or not self.ledger.report(
            member.engine_id, member.instance, report, self.seconds()
        ):
            self.tally.strange_reports += 1

    def _beaten(self, session: BrokerSession) -> None:
        self.registrar.heard(session)
        member = self.fleet.member_of(session)
        if member is not None and member.is_plain:
            self.dispatch.beaten(member)
