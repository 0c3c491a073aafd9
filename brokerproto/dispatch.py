"""Commands on their way to the engines: each is written when its turn has come.

The ledger says whose turn it is; the session turns a command into a frame. Rules:
protocol reference, section "Commands".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import define

from brokerproto.brake import Brake
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.commands import Command, Key, Target, Verb
from brokerproto.fleet import Member
from brokerproto.isolation import Apart
from brokerproto.ledger import Ledger
from brokerproto.observer import Observer
from brokerproto.turns import Turns

__all__ = ["Dispatch"]


@define(eq=False)
class Dispatch:
    """Brings the ledger's commands to the engines.

    Args:
        ledger: The commands.
        brake: Who is late.
        seconds: A monotonic clock.
        observer: Hears of each command before it is written.
        apart: Keeps one's error from the next one.
        turns: Has a command to many go out in parts.
    """

    ledger: Ledger
    brake: Brake[BrokerSession]
    seconds: Callable[[], float]
    observer: Observer
    apart: Apart
    turns: Turns

    def send(
        self, verb: Verb, value: int, engines: Iterable[Member], key: Key | None = None
    ) -> Command:
        """Enter a command into the ledger, and have it written to all whose turn it is.

        Args and errors: see `brokerproto.broker.Broker.order`.
        """
        members = list(engines)
        targets = [Target(each.engine_id, each.instance, each.is_plain) for each in members]
        command = self.ledger.issue(verb, value, targets, self.seconds(), key)
        self.apart(self.observer.command_issued, command)
        # Who comes back meanwhile comes with another session, and is not meant.
        sessions = [member.session for member in members if member.session is not None]
        self.turns.take(self._sending(command, sessions))
        return command

    def _sending(self, command: Command, sessions: list[BrokerSession]) -> Iterator[None]:
        for session in sessions:
            if self._write(command, session, self.seconds()):
                self.apart(settle, session)
            yield

    def beaten(self, member: Member) -> None:
        """Take note of a plain engine's heartbeat for which its session was waiting."""
        now = self.seconds()
        following = self.ledger.heartbeat(member.engine_id, now)
        session = member.session
        if session is not None:
            if following is not None:
                self._write(following, session, now)
            session.attentive = self.ledger.is_waiting(member.engine_id)

    def _write(self, command: Command, session: BrokerSession, now: float) -> bool:
        engine_id = session.engine_id
        # A session that ended meanwhile takes nothing any more.
        if not session.is_open or session.terms is None or engine_id is None:
            return False
        if session.terms.plain:
            # Its heartbeat is the only report it ever makes.
            session.attentive = True
        if not self.ledger.write(command, engine_id, now):
            return False
        session.command(command.message, self.brake.detector.clock.now)
        if session.pings == 0:
            self.brake.recovered(session)
        return True
