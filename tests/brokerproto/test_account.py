"""The account of a life: sent since joined is counted and missed, always."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerproto.account import Account, Gap, Repeat, Totals, largest_gap
from brokerproto.errors import BadSequenceError, SequenceRegressedError

INTERVAL = 1.0
TICK = 0.125


@pytest.mark.parametrize(
    ("silence", "interval", "expected"),
    [
        (0.0, 10, 8),
        (4.875, 10, 8),
        (5.0, 10, 9),
        (9.875, 10, 9),
        (10.0, 10, 10),
        (0.5, 1, 9),
        (0.375, 1, 8),
        (30.0, 1, 68),
    ],
)
def test_the_largest_gap_grows_with_the_silence(
    silence: float, interval: float, expected: int
) -> None:
    assert largest_gap(silence, interval) == expected


def test_a_number_in_order_is_counted() -> None:
    account = Account(0, 0.0)
    assert account.count(1, 3.0, INTERVAL) is None
    assert account.totals == Totals(1, 0, 0)
    assert (account.last, account.counted_at) == (1, 3.0)


@pytest.mark.fault("C016")
def test_a_repeat_is_counted_as_such_and_moves_nothing() -> None:
    account = Account(0, 0.0)
    account.count(1, 1.0, INTERVAL)
    assert account.count(1, 2.0, INTERVAL) == Repeat(1)
    assert account.totals == Totals(1, 0, 1)
    assert (account.last, account.counted_at) == (1, 1.0)


def test_the_hellos_number_is_a_repeat_before_the_first_heartbeat() -> None:
    assert Account(5, 0.0).count(5, 0.0, INTERVAL) == Repeat(5)
    assert Account(0, 0.0).count(0, 0.0, INTERVAL) == Repeat(0)


@pytest.mark.fault("C017")
def test_a_gap_is_missed_and_the_account_goes_on_behind_it() -> None:
    account = Account(0, 0.0)
    assert account.count(1, 1.0, INTERVAL) is None
    assert account.count(3, 2.0, INTERVAL) == Gap(2, 2)
    assert account.count(4, 3.0, INTERVAL) is None
    assert account.totals == Totals(3, 1, 0)
    assert Gap(2, 2).missed == 1
    assert Gap(3, 7).missed == 5


@pytest.mark.fault("C018")
def test_a_lower_number_is_refused_and_changes_nothing() -> None:
    account = Account(3, 0.0)
    account.count(4, 1.0, INTERVAL)
    for seq in (3, 0):
        with pytest.raises(SequenceRegressedError):
            account.count(seq, 9.0, INTERVAL)
    assert (account.last, account.counted_at, account.totals) == (4, 1.0, Totals(1, 0, 0))


@pytest.mark.parametrize("silence", [0.0, 0.5, 12.0])
def test_a_gap_is_a_loss_up_to_the_largest_and_no_further(silence: float) -> None:
    largest = largest_gap(silence, INTERVAL)
    too_far = Account(0, 0.0)
    with pytest.raises(BadSequenceError):
        too_far.count(largest + 2, silence, INTERVAL)
    assert (too_far.last, too_far.counted_at, too_far.totals) == (0, 0.0, Totals())
    account = Account(0, 0.0)
    assert account.count(largest + 1, silence, INTERVAL) == Gap(1, largest)
    assert account.totals == Totals(1, largest, 0)
    assert account.counted_at == silence


def test_silence_is_measured_from_the_last_counted_heartbeat_not_from_a_repeat() -> None:
    account = Account(0, 0.0)
    account.count(1, 1.0, INTERVAL)
    account.count(1, 2.0, INTERVAL)
    assert account.count(12, 2.0, INTERVAL) == Gap(2, 11)


def test_a_life_resumes_where_its_engine_is() -> None:
    account = Account(0, 0.0)
    account.count(1, 1.0, INTERVAL)
    assert account.resume(1, 2.0) is None
    assert account.counted_at == 2.0
    assert account.resume(1_000_001, 3.0) == Gap(2, 1_000_001)
    assert account.totals == Totals(1, 1_000_000, 0)
    assert (account.last, account.counted_at) == (1_000_001, 3.0)


def test_a_life_that_knows_less_than_it_sent_is_refused() -> None:
    account = Account(4, 1.0)
    with pytest.raises(SequenceRegressedError):
        account.resume(3, 5.0)
    assert (account.last, account.counted_at, account.totals) == (4, 1.0, Totals())


@pytest.mark.parametrize(("first", "joined"), [(0, False), (1, True), (2**53 - 1, True)])
def test_an_account_that_begins_later_is_marked(first: int, joined: bool) -> None:
    assert Account(first, 0.0).joined is joined


def test_totals_add_up() -> None:
    assert Totals(1, 2, 3) + Totals(10, 20, 30) == Totals(11, 22, 33)
    assert Totals() == Totals(0, 0, 0)


class AccountMachine(RuleBasedStateMachine):
    """The model is a set of the numbers that came, and one of those that did not."""

    @initialize(first=st.integers(0, 3) | st.integers(0, 2**53 - 10_000))
    def join(self, first: int) -> None:
        self.now = self.counted_at = 0.0
        self.account = Account(first, self.now)
        self.first = self.last = first
        self.came: set[int] = set()
        self.lost: set[int] = set()
        self.repeats = 0

    @rule(ticks=st.integers(1, 40))
    def time_passes(self, ticks: int) -> None:
        self.now += ticks * TICK

    @rule(missing=st.integers(0, 30))
    def beat(self, missing: int) -> None:
        seq = self.last + 1 + missing
        allowed = 8 + int((self.now - self.counted_at) * 2)
        if missing > allowed:
            with pytest.raises(BadSequenceError):
                self.account.count(seq, self.now, INTERVAL)
            return
        found = self.account.count(seq, self.now, INTERVAL)
        assert found == (Gap(self.last + 1, seq - 1) if missing else None)
        self._settle(seq, seq - 1)
        self.came.add(seq)

    @rule(back=st.integers(0, 3))
    def beat_again(self, back: int) -> None:
        if back:
            with pytest.raises(SequenceRegressedError):
                self.account.count(self.last - back, self.now, INTERVAL)
        else:
            assert self.account.count(self.last, self.now, INTERVAL) == Repeat(self.last)
            self.repeats += 1

    @rule(ahead=st.integers(0, 1000))
    def come_back(self, ahead: int) -> None:
        found = self.account.resume(self.last + ahead, self.now)
        assert found == (Gap(self.last + 1, self.last + ahead) if ahead else None)
        self._settle(self.last + ahead, self.last + ahead)

    @rule(back=st.integers(1, 3))
    def come_back_forgetful(self, back: int) -> None:
        with pytest.raises(SequenceRegressedError):
            self.account.resume(self.last - back, self.now)

    def _settle(self, last: int, last_missing: int) -> None:
        self.lost.update(range(self.last + 1, last_missing + 1))
        self.last, self.counted_at = last, self.now

    @invariant()
    def each_number_is_counted_or_missed_once(self) -> None:
        account = self.account
        assert account.totals == Totals(len(self.came), len(self.lost), self.repeats)
        assert account.counted + account.missed == account.last - account.first
        assert (account.first, account.last) == (self.first, self.last)
        assert account.counted_at == self.counted_at


TestAccountStateful = AccountMachine.TestCase


@given(st.integers(0, 2**53 - 1), st.lists(st.integers(-2, 12), max_size=30))
def test_sent_since_joined_is_counted_and_missed(first: int, steps: list[int]) -> None:
    account = Account(first, 0.0)
    for step in steps:
        try:
            account.count(account.last + step, 0.0, INTERVAL)
        except (BadSequenceError, SequenceRegressedError):
            continue
    assert account.last - first == account.counted + account.missed
    assert account.repeated == sum(step == 0 for step in steps)
