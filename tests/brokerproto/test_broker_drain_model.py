"""Drive a broker as `test_broker_model` does, and have it drain in the middle of it all."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from brokerproto.commands import Verb
from brokerproto.drain import Drain
from brokerproto.errors import NoMoreOrdersError
from tests.brokerproto.test_broker_model import IDS, TICK, BrokerMachine


class DrainingMachine(BrokerMachine):
    """The broker is told to end, once, while its engines are there."""

    drain: Drain | None = None

    @initialize(
        seed=st.integers(0, 99),
        cap=st.sampled_from([4, 50, 50]),
        rate=st.sampled_from([1, 20, 0]),
        crowded=st.just(True),
        ticks=st.integers(0, 12),
    )
    def start(self, seed: int, cap: int, rate: int, crowded: bool, ticks: int) -> None:
        self.ticks_before = ticks
        super().start(seed, cap, rate, crowded)

    @precondition(lambda self: self.drain is None)
    @rule(seed=st.integers(0, 99))
    def broker_drains(self, seed: int) -> None:
        self.drain = self.broker.drain(Random(seed))
        self._exchange()

    @precondition(lambda self: self.drain is not None)
    @rule(seed=st.integers(0, 99))
    def broker_is_asked_to_drain_again(self, seed: int) -> None:
        assert self.broker.drain(Random(seed)) is self.drain

    @rule(
        verb=st.sampled_from(["DOWORK", "DOWORK", "KILL"]),
        value=st.sampled_from([0, 1, 250, 2500]),
        spared=st.sets(st.sampled_from([*IDS, "p", "r"])),
    )
    def command(self, verb: Verb, value: int, spared: set[str]) -> None:
        if self.drain is None:
            super().command(verb, value, spared)
        else:
            with pytest.raises(NoMoreOrdersError):
                super().command(verb, value, spared)

    def _tick(self) -> None:
        super()._tick()
        self.ticks_before -= 1
        if self.drain is None:
            if self.ticks_before < 0:
                self.broker_drains(7)
        else:
            self.drain.see_off()
            self.broker.model.seen_off(self.clock.now)
            self.observer.events.sort(key=str)
            self.broker.model.events.sort(key=str)
            self._agrees_on_events()
            self._exchange()

    def teardown(self) -> None:
        """Let everybody leave whom the drain has sent away."""
        if self.drain is None:
            super().teardown()
            return
        for session in [*self.orphans, *(stranger.session for stranger in self.strangers)]:
            self.broker.lose(session, reset=True)
        self.strangers.clear()
        self.asleep.clear()
        self._exchange()
        self.time_passes(round(self.drain.spread / TICK) + 1)
        assert self.broker.connections == len(self.broker.fleet) == 0
        stats = self.broker.stats()
        assert stats.left + stats.lost == stats.registrations
        for engine in self.engines.values():
            assert engine.session is None


TestDrainingBroker = DrainingMachine.TestCase
TestDrainingBroker.settings = settings(max_examples=settings().max_examples // 2)
