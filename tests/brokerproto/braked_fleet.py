"""Peers that beat when a test says so, a detector, and the brake on it."""

from __future__ import annotations

from attrs import define, field

from brokerproto.brake import Brake
from brokerproto.liveness import Detector, DetectorClock, Patience, Verdict

TICK = 0.25
USUAL = Patience.of(1, 4)
LOST = Verdict.LOST


@define(eq=False)
class Peer:
    """What is watched, and how much looking at it has cost."""

    name: str = ""
    seen: float = 0.0
    pings: int = 0
    looks: int = 0
    terms: Patience | None = USUAL
    timeout: float = 4.0

    @property
    def patience(self) -> Patience | None:
        self.looks += 1
        return self.terms


@define(eq=False)
class Fleet:
    """Engines at one heartbeat a second, a detector, and the brake on it."""

    size: int
    tick: float = TICK
    real: float = 0.0
    peers: list[Peer] = field(init=False)
    brake: Brake[Peer] = field(init=False)
    lost: list[Peer] = field(init=False, factory=list)
    said: list[tuple[float, str]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        detector: Detector[Peer] = Detector(DetectorClock(self.tick, 0.0))
        self.brake = Brake(detector, 1, USUAL)
        self.peers = [Peer(f"e{number}") for number in range(self.size)]
        for peer in self.peers:
            detector.watch(peer)

    @property
    def now(self) -> float:
        return self.brake.detector.clock.now

    @property
    def registered(self) -> int:
        return self.size - len(self.lost)

    def hears(self, peer: Peer) -> None:
        self.brake.heard = peer.seen = self.now
        if peer.pings:
            peer.pings = 0
            self.brake.recovered(peer)

    def passes(self, seconds: float, beating: int = 0) -> list[Peer]:
        """Let time pass while the first so many beat; return who was LOST."""
        lost = []
        for _ in range(round(seconds / self.tick)):
            for peer in self.peers[:beating]:
                self.hears(peer)
            lost += self.steps(self.tick)
        return lost

    def steps(self, seconds: float) -> list[Peer]:
        """Tick once, so many seconds after the last time."""
        self.real += seconds
        was_on = self.brake.is_on
        verdicts = self.brake.tick(self.real, self.registered)
        if self.brake.is_on is not was_on:
            self.said.append((self.now, "on" if self.brake.is_on else "off"))
        lost = [peer for peer, verdict in verdicts if verdict is LOST]
        for peer in lost:
            peer.terms = None
            self.brake.over(peer)
        self.lost += lost
        return lost
