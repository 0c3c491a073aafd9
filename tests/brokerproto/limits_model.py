"""What the protocol reference says of the flow of frames, for the model of a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from brokerproto.broker_session import failed
from brokerproto.errors import UnknownVerbError
from brokerproto.wire import encode

if TYPE_CHECKING:
    from tests.brokerproto.broker_model import ModelBroker, Peer

_REFUSAL = len(encode(failed(UnknownVerbError()))) - 1


@define(eq=False)
class Flow:
    """Of one connection: what came, and what waits.

    Attributes:
        used_until: Until when what came uses up what is allowed.
        is_throttled: Whether it is not read for now.
        stuck_since: Since when the connection takes no more; None while it takes all.
        stops: How many stops of all had been before this one.
    """

    used_until: float = -1.0
    is_throttled: bool = False
    stuck_since: float | None = None
    stops: int = 0


def read(model: ModelBroker, peer: Peer, frames: int) -> None:
    """Judge what was read, and what was answered."""
    rate, now = model.limits.frame_rate, model.now
    if rate and peer.where != "over":
        # The first frame after all before it were paid for uses nothing.
        free = min(frames, int(peer.flow.used_until < now))
        used_until = max(peer.flow.used_until, now) if frames else peer.flow.used_until
        used_until += (frames - free) / rate
        burst = (3.2 * rate - 1) / rate
        peer.flow.used_until = min(used_until, now + burst + 3.2)
        if used_until > now + burst and peer.where == "open":
            if not peer.flow.is_throttled:
                seconds = peer.flow.used_until - burst - now
                model.events.append(("paused", peer.engine_id, seconds))
            peer.flow.is_throttled = True
            peer.excused = max(peer.excused, peer.flow.used_until - burst)
            peer.seen = max(peer.seen, peer.excused)
    cut_slow_readers(model)


def stop(model: ModelBroker, peer: Peer) -> None:
    """Let a connection take no more."""
    model.counts["stops"] += 1
    peer.flow.stuck_since, peer.flow.stops = model.now, model.counts["stops"]


def waiting(peer: Peer) -> int | None:
    """Count the bytes that wait for a connection; None while it takes all."""
    if peer.where == "over" or peer.flow.stuck_since is None:
        return None
    return sum((_REFUSAL if "FAILED:405" in frame else len(frame)) + 1 for frame in peer.said)


def sweep(model: ModelBroker) -> None:
    """Do what is due about who was too fast, or does not read."""
    for peer in model.peers:
        if model.now >= peer.flow.used_until - (3.2 - 1 / (model.limits.frame_rate or 1)):
            peer.flow.is_throttled = False
    for peer in _stuck(model):
        if model.horizon >= (peer.flow.stuck_since or 0.0) + 10:
            model._refuse(peer, 508)
    cut_slow_readers(model)


def cut_slow_readers(model: ModelBroker) -> None:
    """Cut off whoever has too much waiting, the largest first."""
    while stuck := _stuck(model):
        sizes = [waiting(peer) or 0 for peer in stuck]
        if max(sizes) <= model.limits.unread and sum(sizes) <= model.limits.unread_in_all:
            return
        model._refuse(stuck[sizes.index(max(sizes))], 508)


def _stuck(model: ModelBroker) -> list[Peer]:
    """List whose connections take no more, the first to stop first."""
    stuck = [peer for peer in model.peers if waiting(peer) is not None]
    return sorted(stuck, key=lambda peer: peer.flow.stops)
