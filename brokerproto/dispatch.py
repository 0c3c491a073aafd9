"""Commands on their way to the engines: each is written when its turn has come.

The ledger says whose turn it is; the session turns a command into a frame. Rules:
protocol reference, section "Commands".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define

from brokerproto.brake import Brake
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import settle
from brokerproto.commands import Command, Key, Target, Verb
from brokerproto.fleet import Member
from brokerproto.isolation import Apart
from brokerproto.ledger import Ledger
from brokerproto.observer import Observer

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
    """

    ledger: Ledger
    brake: Brake[BrokerSession]
    seconds: Callable[[], float]
    observer: Observer
    apart: Apart

    def send(
        self, verb: Verb, value: int, engines: Iterable[Member], key: Key | None = None
    ) -> Command:
        """Enter a command into the ledger, and write it to all whose turn it is.

        Args and errors: see `brokerproto.broker.Broker.order`.
        """
        members = list(engines)
        targets = [Target(each.engine_id, each.instance, each.is_plain) for each in members]
        command = self.ledger.issue(verb, value, targets, self.seconds(), key)
        self.apart(self.observer.command_issued, command)
        for member in members:
            if self._write(command, member, self.seconds()) and member.session is not None:
                self.apart(settle, member.session)
        return command

    def beaten(self, member: Member) -> None:
        """Take note of a plain engine's heartbeat for which its session was waiting."""
        now = self.seconds()
        following = self.ledger.heartbeat(member.engine_id, now)
        if following is not None:
            self._write(following, member, now)
        if member.session is not None:
            member.session.attentive = self.ledger.is_waiting(member.engine_id)

    def _write(self, command: Command, member: Member, now: float) -> bool:
        session = member.session
        # A session that ended behind the heartbeat takes nothing any more.
        if session is None or not session.is_open:
            return False
        if member.is_plain:
            # Its heartbeat is the only report it ever makes.
            session.attentive = True
        if not self.ledger.write(command, member.engine_id, now):
            return False
        session.command(command.message, self.brake.detector.clock.now)
        if session.pings == 0:
            self.brake.recovered(session)
        return True
