"""A broker, and the model of one that is told the same."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from random import Random

from brokerproto.broker import Broker
from brokerproto.broker_session import BrokerSession
from brokerproto.carrier import Carrier
from brokerproto.commands import Command, Key, Verb
from brokerproto.drain import Drain
from brokerproto.fleet import Member, Origin
from brokerproto.framing import Framing
from tests.brokerproto.broker_model import ModelBroker, Peer


class ShadowedBroker(Broker):
    """A broker, and the model that is told the same."""

    model: ModelBroker
    shadows: dict[BrokerSession, Peer]

    def shadow(self) -> None:
        """Begin; call it once, before anything else."""
        self.model = ModelBroker(self.limits, self.boot, self.resume_key, self.tick_length)
        self.shadows = {}

    def open(self, carrier: Carrier, origin: Origin, framing: Framing = "lines") -> BrokerSession:
        session = super().open(carrier, origin, framing)
        self.shadows[session] = self.model.opened(origin.address)
        return session

    def receive_data(self, session: BrokerSession, data: bytes) -> None:
        super().receive_data(session, data)
        self.model.heard(self.shadows[session], data, self.seconds())

    def lose(self, session: BrokerSession, *, reset: bool) -> None:
        super().lose(session, reset=reset)
        self.model.gone(self.shadows.pop(session), reset=reset)

    def tick(self) -> None:
        super().tick()
        stayed = [self.shadows[member.session] for member in self.fleet if member.session]
        self.model.ticked(self.seconds(), stayed)

    def drain(self, random: Random) -> Drain:
        same = copy(random)
        drain = super().drain(random)
        if not self.model.draining:
            self.model.drained(same, drain.spread, self.seconds())
        return drain

    def order(
        self, verb: Verb, value: int, engines: Iterable[Member], key: Key | None = None
    ) -> Command:
        members = list(engines)
        command = super().order(verb, value, members, key)
        ids = [member.engine_id for member in members]
        self.model.ordered(command.command, verb, value, ids, self.seconds())
        return command
