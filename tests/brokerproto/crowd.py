"""Rules for a crowd, of which so many may fall silent that the broker suspects itself."""

from __future__ import annotations

from abc import abstractmethod

from attrs import define
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerproto.broker_session import BrokerSession
from brokerproto.testing import RecordingCarrier
from tests.brokerproto.broker_model import Peer
from tests.brokerproto.limits_model import stop, waiting
from tests.brokerproto.shadowed_broker import ShadowedBroker

CROWD = 14


@define(eq=False)
class Stranger:
    """A connection on which the test itself says what it likes."""

    session: BrokerSession
    carrier: RecordingCarrier
    shadow: Peer
    engine_id: str = ""
    seq: int = 0


class CrowdMachine(RuleBasedStateMachine):
    """A machine whose strangers may be a crowd."""

    broker: ShadowedBroker
    strangers: list[Stranger]

    @abstractmethod
    def opens(self) -> Stranger:
        """Have a stranger connect."""

    @abstractmethod
    def say(self, stranger: Stranger, text: str, cut: int = 0) -> None:
        """Have a stranger say something."""

    @abstractmethod
    def passes(self) -> None:
        """Let a tick pass."""

    @rule(options=st.sampled_from([":v=1;ack=2", ":v=1;interval=2", ""]))
    def crowd_comes(self, options: str) -> None:
        for number in range(CROWD):
            engine_id = f"q{number}"
            if self.broker.fleet.get(engine_id) is None:
                stranger = self.opens()
                stranger.engine_id = engine_id
                self.say(stranger, f"NewEngine:{engine_id}:0{options}\n")

    @rule(heard=st.integers(1, CROWD))
    def some_of_the_crowd_beat(self, heard: int) -> None:
        for stranger in self.strangers:
            if stranger.engine_id[:1] == "q" and int(stranger.engine_id[1:]) < heard:
                stranger.seq += 1
                self.say(stranger, f"HeartBeat:{stranger.engine_id}:{stranger.seq}\n")

    @rule(ticks=st.integers(8, 60), heard=st.sampled_from([0, 0, 0, 1, 2, 5]))
    def most_of_the_crowd_are_silent(self, ticks: int, heard: int) -> None:
        for tick in range(ticks):
            self.passes()
            if heard and tick % 4 == 3:
                self.some_of_the_crowd_beat(heard)

    @rule(data=st.data())
    def stranger_stops_reading_or_reads_on(self, data: st.DataObject) -> None:
        known = [stranger for stranger in self.strangers if stranger.session.is_open]
        if not known:
            return
        stranger = data.draw(st.sampled_from(known))
        if waiting(stranger.shadow) is None:
            self.broker.flow.hold(stranger.session, self.broker.now)
            stop(self.broker.model, stranger.shadow)
        else:
            self.broker.flow.release(stranger.session)
            stranger.shadow.flow.stuck_since = None
            stranger.carrier.settle()

    @invariant()
    def flow_is_that_of_the_model(self) -> None:
        model, stats = self.broker.model, self.broker.stats()
        assert stats.unregistered == sum(peer.interval == 0 for peer in model.peers)
        assert stats.unread == sum(waiting(peer) or 0 for peer in model.peers)
        for member in self.broker.fleet:
            session, peer = member.session, model.registered[member.engine_id]
            assert session is not None
            assert session.is_full is peer.flow.is_throttled

    @invariant()
    def brake_is_that_of_the_model(self) -> None:
        brake, model = self.broker.brake, self.broker.model.brake
        assert (brake.is_on, brake.times, brake.evicted) == (model.on, model.times, model.evicted)
        assert brake.waiting == len(model.waiting)
