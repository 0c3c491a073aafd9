"""Who is registered, and how each one went, by example."""

from __future__ import annotations

import pytest
from attrs import evolve, fields

from brokerproto.account import Gap, Totals
from brokerproto.broker_session import BrokerSession
from brokerproto.errors import LocalProtocolError, SequenceRegressedError
from brokerproto.fleet import ENDS_KEPT, End, Fleet, Manner, Member, Origin
from brokerproto.messages import NO_LABELS, NewEngine
from tests.brokerproto.strategies import frame_of
from tests.brokerproto.talk import grant_for

HERE = Origin("192.0.2.1:40001", "tcp://*:1337")


def register(
    fleet: Fleet, hello: NewEngine, now: float = 0.0, origin: Origin = HERE
) -> tuple[Member, Gap | None]:
    """Register `hello` with a session of its own."""
    session = BrokerSession(now)
    session.receive_data(frame_of(hello) + b"\n", now)
    member, gap = fleet.register(hello, session, origin, now)
    session.accept(grant_for(hello, now), now)
    return member, gap


def life(seq: int = 0, instance: str | None = "a1", engine_id: str = "e") -> NewEngine:
    return NewEngine(engine_id, seq, v=1, instance=instance)


def beat(member: Member, *numbers: int, now: float = 0.0) -> None:
    for number in numbers:
        member.account.count(number, now, 1)


def test_a_registered_engine_is_found_by_id_and_by_session() -> None:
    fleet = Fleet()
    member, gap = register(fleet, life(), 2.0)
    assert gap is None
    assert fleet.get("e") is member
    assert fleet.get("f") is None
    assert member.session is not None
    assert fleet.member_of(member.session) is member
    assert (len(fleet), list(fleet), fleet.remembered) == (1, [member], 1)
    assert (member.engine_id, member.instance, member.epoch) == ("e", "a1", 1)
    assert (member.since, member.origin) == (2.0, HERE)


def test_a_session_that_holds_no_registration_has_no_member() -> None:
    fleet = Fleet()
    member, _ = register(fleet, life())
    fresh, refused = BrokerSession(0.0), BrokerSession(0.0)
    refused.receive_data(b"NewEngine:e:0\n", 0.0)
    assert fleet.member_of(fresh) is None
    assert fleet.member_of(refused) is None
    session = member.session
    fleet.end(member, Manner.LOST, "closed", 1.0, 7.0)
    assert session is not None
    assert fleet.member_of(session) is None


def test_an_id_that_is_held_is_not_given_away() -> None:
    fleet = Fleet()
    holder, _ = register(fleet, life())
    with pytest.raises(LocalProtocolError):
        register(fleet, life(instance="b2"))
    assert fleet.get("e") is holder
    assert (holder.epoch, holder.instance, len(fleet)) == (1, "a1", 1)


@pytest.mark.parametrize(
    ("known", "instance", "continues"),
    [("a1", "a1", True), ("a1", "b2", False), ("a1", None, False), (None, None, False)],
)
def test_a_life_is_known_by_its_instance(
    known: str | None, instance: str | None, continues: bool
) -> None:
    member, _ = register(Fleet(), life(instance=known))
    assert member.continues(life(instance=instance)) is continues


def test_each_registration_of_an_id_raises_its_epoch() -> None:
    fleet = Fleet()
    for epoch, instance in enumerate(["a1", "a1", "b2", None, None], 1):
        member, _ = register(fleet, life(instance=instance), epoch)
        assert (member.epoch, member.since) == (epoch, epoch)
        fleet.end(member, Manner.LOST, "closed", epoch, 7.0)


@pytest.mark.parametrize("instance", ["a1", "b2", None])
def test_labels_are_those_of_the_last_registration(instance: str | None) -> None:
    fleet = Fleet()
    member, _ = register(fleet, life())
    assert member.labels == {}
    for labels in ({"node": "n1", "spot": ""}, {"zone": "2"}, NO_LABELS):
        fleet.end(member, Manner.LOST, "closed", 0.0, 7.0)
        before = member.labels
        member, _ = register(fleet, evolve(life(instance=instance), labels=labels))
        assert member.labels == labels != before


def test_a_known_life_goes_on_and_misses_what_was_sent_meanwhile() -> None:
    fleet = Fleet()
    member, _ = register(fleet, life())
    beat(member, 1, 2)
    fleet.end(member, Manner.LOST, "reset", 3.0, 7.0)
    again, gap = register(fleet, life(5), 9.0)
    assert again is member
    assert gap == Gap(3, 5)
    assert fleet.totals == Totals(2, 3, 0)
    assert again.account.counted_at == 9.0
    fleet.end(again, Manner.LOST, "reset", 9.0, 7.0)
    _, gap = register(fleet, life(5), 10.0)
    assert gap is None


def test_a_known_life_that_goes_back_is_refused_and_stays_known() -> None:
    fleet = Fleet()
    member, _ = register(fleet, life(4))
    fleet.end(member, Manner.LOST, "reset", 1.0, 7.0)
    with pytest.raises(SequenceRegressedError):
        register(fleet, life(3), 2.0)
    assert (len(fleet), fleet.remembered, member.epoch) == (0, 1, 1)
    _, gap = register(fleet, life(6), 3.0)
    assert gap == Gap(5, 6)


@pytest.mark.parametrize(
    ("before", "after"), [("a1", "b2"), ("a1", None), (None, "a1"), (None, None)]
)
def test_a_new_life_begins_an_account_of_its_own(before: str | None, after: str | None) -> None:
    fleet = Fleet()
    member, _ = register(fleet, life(instance=before))
    beat(member, 1, 3)
    fleet.end(member, Manner.LOST, "reset", 1.0, 7.0)
    member, gap = register(fleet, life(1, after), 2.0)
    assert gap is None
    assert (member.account.first, member.account.joined) == (1, True)
    assert member.account.counted_at == 2.0
    assert member.instance == after
    beat(member, 2)
    assert fleet.totals == Totals(3, 1, 0)


def test_an_end_says_who_went_how_and_with_which_account() -> None:
    fleet = Fleet()
    there = Origin("192.0.2.7:1", "inproc://x")
    labels = {"node": "aks-1"}
    member, _ = register(fleet, evolve(life(), labels=labels), 1.0, there)
    beat(member, 1, 3, 3)
    end = fleet.end(member, Manner.LEFT, "killed", 4.5, 7.0)
    assert end == End(
        *("e", 1, there, 3.5, Manner.LEFT, "killed", Totals(2, 1, 1)),
        labels=labels,
        ended_at=7.0,
        number=1,
    )
    assert list(fleet.ends) == [end]
    assert (member.session, len(fleet), fleet.get("e")) == (None, 0, None)
    assert fleet.remembered == 1


def test_ends_are_counted_by_manner_and_cause() -> None:
    fleet = Fleet()
    ways = [
        (Manner.LEFT, "bye"),
        (Manner.LOST, "bye"),
        (Manner.LOST, "reset"),
        (Manner.LOST, "reset"),
    ]
    for manner, cause in ways:
        member, _ = register(fleet, life())
        fleet.end(member, manner, cause, 0.0, 7.0)
    assert fleet.causes == {
        (Manner.LEFT, "bye"): 1,
        (Manner.LOST, "bye"): 1,
        (Manner.LOST, "reset"): 2,
    }
    assert (fleet.count(Manner.LEFT), fleet.count(Manner.LOST)) == (1, 3)


def test_reasons_of_leaving_are_counted_up_to_a_hundred_and_causes_of_loss_always() -> None:
    fleet = Fleet()
    for n in range(102):
        member, _ = register(fleet, life())
        fleet.end(member, Manner.LEFT, f"reason-{n}", 0.0, 7.0)
    member, _ = register(fleet, life())
    fleet.end(member, Manner.LEFT, "reason-0", 0.0, 7.0)
    member, _ = register(fleet, life())
    fleet.end(member, Manner.LOST, "reset", 0.0, 7.0)
    assert fleet.causes[Manner.LEFT, "reason-0"] == 2
    assert fleet.causes[Manner.LEFT, "reason-99"] == 1
    assert fleet.causes[Manner.LEFT, "other"] == 2
    assert fleet.causes[Manner.LOST, "reset"] == 1
    assert len(fleet.causes) == 102
    assert [end.cause for end in fleet.ends][101] == "reason-101"


def test_ten_thousand_ends_are_kept() -> None:
    assert ENDS_KEPT == 10_000
    assert Fleet().ends_kept == ENDS_KEPT


def test_a_fleet_is_made_empty() -> None:
    assert [each.name for each in fields(Fleet) if each.init] == ["ends_kept"]
    assert Fleet().totals == Totals(0, 0, 0)


def test_an_id_is_forgotten_with_its_last_end() -> None:
    fleet = Fleet(ends_kept=2)
    for name, seq in (("a", 0), ("b", 0), ("a", 1), ("c", 0)):
        member, _ = register(fleet, life(seq, engine_id=name))
        beat(member, seq + 1)
        fleet.end(member, Manner.LOST, "closed", 0.0, 7.0)
    assert [end.engine_id for end in fleet.ends] == ["a", "c"]
    assert fleet.remembered == 2
    # What was forgotten begins anew, and joins at the number that it brings.
    member, gap = register(fleet, life(7, engine_id="b"))
    assert (member.epoch, member.account.joined, gap) == (1, True, None)
    member, _ = register(fleet, life(2, engine_id="a"))
    assert (member.epoch, member.account.first) == (3, 0)
    assert fleet.totals == Totals(4, 0, 0)


def test_a_registered_id_is_not_forgotten_with_its_ends() -> None:
    fleet = Fleet(ends_kept=1)
    member, _ = register(fleet, life())
    fleet.end(member, Manner.LOST, "closed", 0.0, 7.0)
    register(fleet, life())
    other, _ = register(fleet, life(engine_id="other"))
    fleet.end(other, Manner.LOST, "closed", 0.0, 7.0)
    assert (member.ends, fleet.get("e"), fleet.remembered) == (0, member, 2)
    fleet.end(member, Manner.LOST, "closed", 0.0, 7.0)
    assert (member.ends, fleet.remembered, member.epoch) == (1, 1, 2)


@pytest.mark.fault("C047")
def test_a_fleet_that_keeps_no_ends_remembers_nobody() -> None:
    fleet = Fleet(ends_kept=0)
    for cycle in range(10_000):
        member, _ = register(fleet, life(engine_id=f"e{cycle % 1000}"))
        beat(member, 1)
        fleet.end(member, Manner.LOST, "closed", 0.0, 7.0)
    assert (len(fleet), fleet.remembered, len(fleet.ends)) == (0, 0, 0)
    assert fleet.totals == Totals(10_000, 0, 0)


def test_engines_come_in_the_order_of_their_registration() -> None:
    fleet = Fleet()
    members = {name: register(fleet, life(engine_id=name))[0] for name in ("b", "a", "c")}
    fleet.end(members["b"], Manner.LOST, "closed", 0.0, 7.0)
    register(fleet, life(engine_id="b"))
    assert [member.engine_id for member in fleet] == ["a", "c", "b"]
