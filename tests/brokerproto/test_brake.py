"""The brake: when it is on, whose LOST it puts off, and for how long."""

from __future__ import annotations

from collections import Counter

import pytest

from brokerproto.brake import PATIENT_INTERVALS, evictions, most_late
from brokerproto.liveness import Patience
from tests.brokerproto.braked_fleet import TICK, Fleet, Peer


@pytest.mark.parametrize(
    ("registered", "late", "lost"),
    [
        (1, 10, 1),
        (10, 10, 1),
        (33, 10, 1),
        (34, 10, 1),
        (40, 12, 1),
        (300, 90, 3),
        (15_000, 4500, 150),
    ],
)
def test_limits_are_shares_of_the_fleet_and_never_nothing(
    registered: int, late: int, lost: int
) -> None:
    assert (most_late(registered), evictions(registered)) == (late, lost)


@pytest.mark.parametrize(("size", "silent"), [(10, 10), (100, 30), (300, 90), (36, 10)])
def test_as_many_as_may_be_late_are_judged_as_ever(size: int, silent: int) -> None:
    fleet = Fleet(size)
    assert len(fleet.passes(4.25, beating=size - silent)) == silent
    assert (fleet.said, fleet.brake.times, fleet.brake.evicted) == ([], 0, 0)


@pytest.mark.fault("C053")
@pytest.mark.parametrize(("size", "silent"), [(11, 11), (100, 31), (300, 91), (36, 11), (300, 180)])
def test_one_more_puts_the_brake_on(size: int, silent: int) -> None:
    fleet = Fleet(size)
    assert fleet.passes(4, beating=size - silent) == []
    assert fleet.said == [(2.0, "on")]
    assert fleet.brake.waiting == silent


@pytest.mark.parametrize(("until", "said"), [(1.0, [(2.75, "on")]), (1.25, [])])
def test_who_became_late_longer_ago_than_an_interval_does_not_count(
    until: float, said: list[tuple[float, str]]
) -> None:
    """Twenty of a hundred fall silent at once, and twenty more a little later."""
    fleet = Fleet(100)
    fleet.passes(until, beating=80)
    fleet.passes(2, beating=60)
    assert fleet.said == said
    assert len(fleet.brake.detector.late) == 40


@pytest.mark.parametrize("longer", [2, 60])
def test_engines_that_beat_less_often_count_for_an_interval_of_their_own(longer: int) -> None:
    fleet = Fleet(0)
    fleet.size = 40
    patience = Patience.of(longer, 4 * longer)
    for number in range(40):
        # Cut while they beat in any phase: they become late one by one.
        peer = Peer(f"e{number}", seen=longer * number / 40, terms=patience)
        fleet.peers.append(peer)
        fleet.brake.detector.watch(peer)
    assert fleet.passes(4 * longer) == []
    assert fleet.said != []


@pytest.mark.fault("C053")
@pytest.mark.parametrize("size", [40, 300, 1000])
def test_evictions_are_one_percent_a_second_and_the_longest_silent_first(size: int) -> None:
    fleet = Fleet(size)
    silent = size * 6 // 10
    for number, peer in enumerate(fleet.peers):
        peer.seen = -TICK * (number % 4)
    fleet.brake.detector.clock.now = fleet.brake.heard = 0.0
    fleet.passes(3.0, beating=size - silent)
    evicted: list[tuple[float, Peer]] = []
    for _ in range(1000):
        if not fleet.brake.is_on:
            break
        evicted += [(fleet.now, peer) for peer in fleet.passes(TICK, beating=size - silent)]
    assert not fleet.brake.is_on
    assert fleet.brake.evicted == fleet.brake.evicted_of_late == len(evicted)
    # Until no more than may be late are late.
    assert silent - len(evicted) <= most_late(size - len(evicted))
    assert silent - len(evicted) + 1 > most_late(size - len(evicted) + 1) - 1
    for at, _ in evicted:
        within = sum(at <= other < at + 1 for other, _ in evicted)
        assert within <= max(1, size // 100)
    assert [peer.seen for _, peer in evicted] == sorted(peer.seen for _, peer in evicted)
    # In the seconds without any, nothing is saved up.
    assert len(evicted) <= (evicted[-1][0] - 3.0) * max(1, size // 100) + 1


@pytest.mark.fault("C054")
def test_nobody_is_lost_for_ten_intervals_where_all_are_silent() -> None:
    fleet = Fleet(300)
    assert fleet.passes(2 + PATIENT_INTERVALS - TICK) == []
    assert fleet.said == [(2.0, "on")]
    assert fleet.brake.waiting == 300
    # Then as ever while it is on.
    assert 8 <= len(fleet.passes(4)) <= 12


@pytest.mark.fault("C054")
def test_those_who_are_heard_first_again_do_not_end_the_patience_with_the_others() -> None:
    fleet = Fleet(300)
    fleet.passes(4)
    assert fleet.passes(2 + PATIENT_INTERVALS - fleet.now - TICK, beating=100) == []
    assert fleet.brake.is_on
    assert 8 <= len(fleet.passes(4, beating=100)) <= 12
    assert fleet.lost == fleet.peers[100 : 100 + len(fleet.lost)]


@pytest.mark.fault("C054")
def test_there_is_no_patience_where_somebody_is_heard_all_the_time() -> None:
    fleet = Fleet(300)
    fleet.passes(4, beating=1)
    assert 8 <= len(fleet.passes(4, beating=1)) <= 12
    # From then on all are silent, and of the ten intervals some are left.
    fleet.passes(1.75)
    count = len(fleet.lost)
    assert fleet.passes(2 + PATIENT_INTERVALS - fleet.now - TICK) == []
    assert len(fleet.lost) == count


@pytest.mark.fault("C054")
def test_whoever_is_heard_while_put_off_is_judged_anew() -> None:
    fleet = Fleet(300)
    fleet.passes(8)
    waiting = fleet.brake.waiting
    assert waiting == 300
    fleet.hears(fleet.peers[7])
    assert fleet.brake.waiting == 299
    heard_at = fleet.now
    assert fleet.peers[7] not in fleet.brake.detector.late
    fleet.passes(1.75)
    assert fleet.peers[7].pings == 0
    fleet.passes(0.25)
    assert fleet.peers[7].pings == 1
    fleet.passes(2.25)
    assert fleet.now == heard_at + 4.25
    # Its time ran out last, so it waits behind all others.
    assert fleet.brake.waiting + len(fleet.lost) == 300
    assert fleet.peers[7] not in fleet.lost


@pytest.mark.fault("C054")
def test_the_rest_of_a_fleet_that_comes_back_has_its_timeout_again() -> None:
    fleet = Fleet(300)
    fleet.passes(8)
    for peer in fleet.peers[:210]:
        fleet.hears(peer)
    assert fleet.passes(3.75, beating=210) == []
    assert fleet.said == [(2.0, "on"), (8.25, "off")]
    for peer in fleet.peers[210:290]:
        fleet.hears(peer)
    assert fleet.passes(0.25, beating=290) == []
    # What does not come is lost, no faster than while the brake was on.
    gone: Counter[float] = Counter()
    for _ in range(20):
        for peer in fleet.passes(TICK, beating=290):
            gone[fleet.now] += 1
            assert peer in fleet.peers[290:]
    assert sum(gone.values()) == 10
    assert max(gone.values()) == 1


@pytest.mark.fault("C054")
@pytest.mark.parametrize("longer", [2, 30])
def test_engines_that_beat_less_often_have_ten_of_their_own_intervals(longer: int) -> None:
    fleet = Fleet(20)
    for peer in fleet.peers:
        peer.terms = Patience.of(longer, 4 * longer)
    assert fleet.passes(1.5 * longer + 1 + PATIENT_INTERVALS * longer - TICK) == []
    assert (fleet.brake.is_on, fleet.brake.waiting) == (True, 20)
    assert len(fleet.passes(4)) >= 3


@pytest.mark.fault("C054")
def test_engines_that_beat_less_often_keep_no_other_ones_registered() -> None:
    fleet = Fleet(40)
    for peer in fleet.peers[:20]:
        peer.terms = Patience.of(5, 20)
        peer.seen = -16.0
    fleet.passes(14)
    assert fleet.brake.waiting + len(fleet.lost) == 40
    fleet.passes(4)
    assert fleet.lost
    assert not set(fleet.lost) & set(fleet.peers[:20])


def test_brake_that_goes_on_again_takes_nothing_of_the_timeout_it_gave() -> None:
    fleet = Fleet(300)
    fleet.passes(8)
    for peer in fleet.peers[:210]:
        fleet.hears(peer)
    fleet.passes(0.25, beating=210)
    assert fleet.said == [(2.0, "on"), (8.25, "off")]
    # Somebody is heard all the time, so that there is no other patience.
    assert fleet.passes(3.75, beating=100) == []
    assert fleet.said[2:] == [(10.0, "on")]
    assert fleet.passes(1, beating=100) != []
    assert set(fleet.lost) <= set(fleet.peers[210:])


def test_sessions_that_are_over_are_forgotten() -> None:
    fleet = Fleet(20)
    fleet.passes(8)
    assert fleet.brake.waiting == len(fleet.brake.detector.late) == 20
    for peer in fleet.peers:
        peer.terms = None
        fleet.brake.over(peer)
    assert fleet.brake.waiting == len(fleet.brake.detector.late) == 0
    fleet.size = 0
    assert fleet.passes(60) == []
    assert fleet.said[-1] == (8.25, "off")


def test_whoever_is_put_off_costs_nothing_while_it_waits() -> None:
    fleet = Fleet(500)
    fleet.passes(5)
    looks = [peer.looks for peer in fleet.peers]
    assert fleet.passes(6) == []
    # Of all only whose turn is next is looked at.
    assert [peer.looks for peer in fleet.peers][1:] == looks[1:]


@pytest.mark.fault("C050")
def test_a_stop_of_the_broker_counts_neither_for_the_brake_nor_for_evictions() -> None:
    fleet = Fleet(300)
    fleet.passes(3, beating=100)
    fleet.passes(4, beating=100)
    count = fleet.brake.evicted
    for _ in range(4):
        fleet.steps(3600)
    # Of each stop half a second counts, which is read by the tick after it.
    assert fleet.brake.evicted - count <= 4 * 0.5 * 3
    assert fleet.said == [(2.0, "on")]
