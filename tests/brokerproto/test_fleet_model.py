"""Drive a fleet and a dictionary side by side: no number is ever lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from attrs import define
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerproto.account import Gap, Totals
from brokerproto.errors import LocalProtocolError, SequenceRegressedError
from brokerproto.fleet import Fleet, Manner, Member
from brokerproto.messages import NO_LABELS, NewEngine
from tests.brokerproto.test_fleet import register

TICK = 0.125
names = st.sampled_from(["a", "b", "c", "d"])
instances = st.sampled_from([None, "1", "2"])
labels = st.sampled_from([NO_LABELS, {"node": "n1"}, {"node": "n2", "spot": ""}])


@define
class Known:
    """What a broker should know of an id."""

    instance: str | None
    last: int
    epoch: int = 0
    since: float = 0.0
    registered: bool = False
    labels: Mapping[str, str] = NO_LABELS


class FleetMachine(RuleBasedStateMachine):
    """The model never forgets a number, and an id as soon as its last end is gone."""

    @initialize(ends_kept=st.integers(0, 4))
    def start(self, ends_kept: int) -> None:
        self.fleet = Fleet(ends_kept)
        self.now = 0.0
        self.known: dict[str, Known] = {}
        self.members: dict[str, Member] = {}
        self.ends: list[tuple[str, int, float, float, int]] = []
        self.causes: Counter[tuple[Manner, str]] = Counter()
        self.counted = self.missed = self.repeated = 0

    @rule(ticks=st.integers(1, 40))
    def time_passes(self, ticks: int) -> None:
        self.now += ticks * TICK

    @rule(name=names, instance=instances, ahead=st.integers(-2, 3), labels=labels)
    def greet(self, name: str, instance: str | None, ahead: int, labels: Mapping[str, str]) -> None:
        known = self.known.get(name)
        seq = max(0, ahead + (known.last if known else 0))
        hello = NewEngine(name, seq, v=1, instance=instance, labels=labels)
        if known is not None and known.registered:
            with pytest.raises(LocalProtocolError):
                register(self.fleet, hello, self.now)
            return
        same_life = known is not None and None is not instance == known.instance
        if known is not None and same_life and seq < known.last:
            with pytest.raises(SequenceRegressedError):
                register(self.fleet, hello, self.now)
            return
        member, gap = register(self.fleet, hello, self.now)
        expected = None
        if known is None:
            known = self.known[name] = Known(instance, seq)
        elif same_life:
            if seq > known.last:
                expected = Gap(known.last + 1, seq)
                self.missed += seq - known.last
        else:
            known.instance = instance
        known.last, known.registered, known.since = seq, True, self.now
        known.epoch += 1
        known.labels = labels
        self.members[name] = member
        assert gap == expected

    @rule(name=names, missing=st.integers(0, 3))
    def beat(self, name: str, missing: int) -> None:
        known = self.known.get(name)
        if known is not None and known.registered:
            seq = known.last + 1 + missing
            self.members[name].account.count(seq, self.now, 1)
            known.last = seq
            self.counted += 1
            self.missed += missing

    @rule(name=names)
    def beat_again(self, name: str) -> None:
        known = self.known.get(name)
        if known is not None and known.registered:
            self.members[name].account.count(known.last, self.now, 1)
            self.repeated += 1

    @rule(name=names, manner=st.sampled_from(Manner), cause=st.sampled_from(["bye", "reset"]))
    def end(self, name: str, manner: Manner, cause: str) -> None:
        known = self.known.get(name)
        if known is None or not known.registered:
            return
        end = self.fleet.end(self.members.pop(name), manner, cause, self.now, self.now + 7)
        assert (end.engine_id, end.epoch, end.manner, end.cause) == (
            name,
            known.epoch,
            manner,
            cause,
        )
        known.registered = False
        self.causes[manner, cause] += 1
        number = self.causes.total()
        self.ends.append((name, known.epoch, self.now - known.since, self.now + 7, number))
        self.ends = self.ends[len(self.ends) - min(len(self.ends), self.fleet.ends_kept) :]
        kept = {name for name, *_ in self.ends}
        for gone in [n for n, each in self.known.items() if not each.registered and n not in kept]:
            del self.known[gone]

    @invariant()
    def no_number_is_lost_and_none_counted_twice(self) -> None:
        assert self.fleet.totals == Totals(self.counted, self.missed, self.repeated)

    @invariant()
    def it_knows_whom_the_model_knows(self) -> None:
        fleet = self.fleet
        registered = {name for name, known in self.known.items() if known.registered}
        assert {member.engine_id for member in fleet} == registered
        assert len(fleet) == len(registered)
        assert fleet.remembered == len(self.known)
        for name in registered:
            member, known = fleet.get(name), self.known[name]
            assert member is self.members[name]
            assert (member.epoch, member.instance) == (known.epoch, known.instance)
            assert member.labels == known.labels
            assert (member.account.last, member.since) == (known.last, known.since)
            assert member.session is not None
            assert fleet.member_of(member.session) is member

    @invariant()
    def the_last_ends_are_kept(self) -> None:
        kept = [
            (end.engine_id, end.epoch, end.duration, end.ended_at, end.number)
            for end in self.fleet.ends
        ]
        assert kept == self.ends
        assert self.fleet.causes == self.causes
        for manner in Manner:
            went = sum(n for (how, _), n in self.causes.items() if how is manner)
            assert self.fleet.count(manner) == went

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        for member in list(self.fleet):
            self.fleet.end(member, Manner.LOST, "closed", self.now, 7.0)
        assert self.fleet.totals == Totals(self.counted, self.missed, self.repeated)
        assert self.fleet.remembered <= self.fleet.ends_kept
        assert len(self.fleet) == 0


TestFleetStateful = FleetMachine.TestCase
