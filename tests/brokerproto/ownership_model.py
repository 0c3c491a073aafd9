"""Who owns an id, as the protocol reference says it, for the model of a broker."""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING

from attrs import define, field

from brokerproto.messages import NewEngine

if TYPE_CHECKING:
    from tests.brokerproto.broker_model import ModelBroker, Peer


@define(eq=False)
class ModelOwnership:
    """What a model does where two connections want one id."""

    model: ModelBroker
    key: bytes
    tick: float
    takeovers: Counter[str] = field(factory=Counter)
    times: defaultdict[str, list[float]] = field(factory=lambda: defaultdict(list))

    def token(self, engine_id: str) -> str | None:
        model = self.model
        instance = model.lives[engine_id].instance
        if instance is None:
            return None
        registration = f"{engine_id}:{instance}:{model.epochs[engine_id]}"
        return blake2b(registration.encode(), key=self.key, digest_size=16).hexdigest()

    def contend(self, peer: Peer, hello: NewEngine, real: float) -> None:
        model, name = self.model, peer.engine_id
        holder, life = model.registered[name], model.lives[name]
        now = model.now + min(real - model.real, 2 * self.tick)
        same_life = hello.instance is not None and hello.instance == life.instance
        if sum(now - time < 60 for time in self.times[name]) >= 5:
            model._refuse(peer, 429)
        elif same_life and hello.resume == self.token(name):
            self.take_over(peer, hello, "resumed")
        elif self._waiting(name):
            model._refuse(peer, 409)
        elif holder.pings:
            self.take_over(peer, hello, "late")
        elif holder.plain or holder.flow.is_throttled:
            model._refuse(peer, 409)
        else:
            peer.where, peer.hello, peer.asked_at = "held", hello, now
            holder.said.append("PING")
            model.counts["probes"] += 1

    def take_over(self, peer: Peer, hello: NewEngine, ground: str) -> None:
        model, name = self.model, peer.engine_id
        life = model.lives[name]
        same_life = hello.instance is not None and hello.instance == life.instance
        if same_life and hello.seq < life.settled:
            model._refuse(peer, 441)
            return
        self.takeovers[ground] += 1
        self.times[name].append(model.now)
        for rival in self._waiting(name):
            if rival is not peer:
                model._refuse(rival, 409)
        # It waits for nothing any more.
        peer.where = "hello"
        model._refuse(model.registered[name], 410)
        model.events.append(("taken over", name, ground))
        model.admit(peer, hello)

    def answered(self, engine_id: str) -> None:
        for peer in self._waiting(engine_id):
            self.model._refuse(peer, 409)

    def released(self, engine_id: str) -> None:
        for peer in self._waiting(engine_id):
            assert peer.hello is not None
            self.model.admit(peer, peer.hello)

    def ticked(self, horizon: float) -> None:
        for peer in list(self.model.peers):
            if peer.where != "held":
                continue
            holder = self.model.registered[peer.engine_id]
            if horizon - peer.asked_at >= min(2.0, holder.interval / 2):
                assert peer.hello is not None
                self.take_over(peer, peer.hello, "silent")
            else:
                holder.said.append("PING")

    def _waiting(self, engine_id: str) -> list[Peer]:
        return [
            peer
            for peer in self.model.peers
            if peer.where == "held" and peer.engine_id == engine_id
        ]
