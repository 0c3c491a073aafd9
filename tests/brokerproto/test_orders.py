"""An order is carried out as a whole, or not at all; and under a key only once."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerproto.commands import Key
from brokerproto.errors import (
    BrokerError,
    KeyReusedError,
    OrderError,
    UnexpectedReachError,
    UnknownEngineError,
)
from brokerproto.orders import Order, Placed
from brokerproto.selection import Selection
from tests.brokerproto.broker_bench import Bench, Caller

RICH = ":v=1;instance=a1"
WORK = Order("DOWORK", 20)


class Ordered(Bench):
    """A broker with engines a, b and c, and whoever orders."""

    def __init__(self) -> None:
        super().__init__()
        self.random = Random(1)
        self.callers: dict[str, Caller] = {
            name: self.registers(name, RICH) for name in ("a", "b", "c")
        }

    def places(self, order: Order, key: str | None = None) -> Placed:
        return order.place(self.broker, self.random, key)

    @property
    def sent(self) -> int:
        """How many commands went out since the last time."""
        return sum(len(caller.hears()) for caller in self.callers.values())

    @property
    def issued(self) -> int:
        return len(list(self.broker.ledger))


@pytest.fixture
def bench() -> Ordered:
    return Ordered()


def test_an_order_is_sent_to_its_selection(bench: Ordered) -> None:
    placed = bench.places(Order("KILL", 3, Selection(("b",))))
    assert (placed.command.verb, placed.command.value) == ("KILL", 3)
    assert (list(placed.command.entries), placed.replayed) == (["b"], False)
    assert bench.callers["b"].hears() == [f"KILL:3:command={placed.command.command}"]
    assert bench.sent == 0


@pytest.mark.parametrize(("globs", "share", "targets"), [((), 100, 3), ((), 50, 2), (("x",), 9, 0)])
def test_an_order_that_reaches_as_many_as_expected_is_sent(
    bench: Ordered, globs: tuple[str, ...], share: int, targets: int
) -> None:
    placed = bench.places(Order("DOWORK", 20, Selection((), globs, (), share), expect=targets))
    assert len(placed.command.entries) == bench.sent == targets


@pytest.mark.parametrize("expect", [0, 1, 3, 4])
def test_an_order_that_would_reach_another_number_reaches_nobody(
    bench: Ordered, expect: int
) -> None:
    with pytest.raises(UnexpectedReachError) as caught:
        bench.places(Order("KILL", 0, Selection(share=50), expect), "key")
    assert (caught.value.expected, caught.value.targets) == (expect, 2)
    assert (bench.sent, bench.issued) == (0, 0)
    # Nor is the key taken by what was refused.
    assert not bench.places(Order("KILL", 0, Selection(share=50), 2), "key").replayed


def test_an_order_that_names_a_stranger_reaches_nobody(bench: Ordered) -> None:
    with pytest.raises(UnknownEngineError):
        bench.places(Order("KILL", 0, Selection(("a", "nobody"))))
    assert (bench.sent, bench.issued) == (0, 0)


@pytest.mark.fault("C090")
def test_an_order_repeated_under_its_key_is_sent_once(bench: Ordered) -> None:
    order = Order("DOWORK", 20, Selection(globs=("*",), share=50), expect=2)
    first = bench.places(order, "key")
    assert bench.sent == 2
    # The fleet has changed, and the order could not be placed any more.
    bench.callers["a"].goes()
    bench.callers["b"].goes()
    again = bench.places(order, "key")
    assert again == Placed(first.command, replayed=True)
    assert (bench.sent, bench.issued) == (0, 1)


def test_orders_without_a_key_are_sent_each_time(bench: Ordered) -> None:
    assert bench.places(WORK).command is not bench.places(WORK).command
    assert bench.sent == 6


@pytest.mark.parametrize(
    "other",
    [
        Order("KILL", 20),
        Order("DOWORK", 21),
        Order("DOWORK", 20, Selection(("a",))),
        Order("DOWORK", 20, Selection(share=99)),
        Order("DOWORK", 20, expect=3),
    ],
)
def test_a_key_is_for_one_request(bench: Ordered, other: Order) -> None:
    first = bench.places(WORK, "key")
    assert bench.sent == 3
    with pytest.raises(KeyReusedError) as caught:
        bench.places(other, "key")
    assert (caught.value.key, caught.value.command) == ("key", first.command.command)
    assert (bench.sent, bench.issued) == (0, 1)
    assert bench.places(other, "Key").command is not first.command


@pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "\u00e4", "x" * 256, "a\x7f"])
def test_what_cannot_be_a_key_is_none(bench: Ordered, key: str) -> None:
    with pytest.raises(ValueError, match="name"):
        bench.places(WORK, key)
    assert (bench.sent, bench.issued) == (0, 0)


@pytest.mark.parametrize("key", ["!", "~", '"8e03978e"', "x" * 255])
def test_visible_characters_are_a_key(bench: Ordered, key: str) -> None:
    assert bench.places(WORK, key).command is bench.places(WORK, key).command


def test_a_broker_issues_nothing_under_a_key_that_is_taken(bench: Ordered) -> None:
    bench.places(WORK, "key")
    assert bench.sent == 3
    with pytest.raises(KeyReusedError):
        bench.broker.order("DOWORK", 20, bench.broker.fleet, Key("key", WORK))
    assert (bench.sent, bench.issued) == (0, 1)


def test_errors_of_orders_are_the_librarys() -> None:
    for error in (UnknownEngineError("x"), UnexpectedReachError(1, 2), KeyReusedError("k", "c")):
        assert isinstance(error, OrderError)
        assert isinstance(error, BrokerError)
        assert "\n" not in str(error)


keys = st.sampled_from(["k", "l"])
orders = st.sampled_from([WORK, Order("KILL", 0), Order("DOWORK", 20, Selection(("a",)))])


class KeyMachine(RuleBasedStateMachine):
    """The model is one dictionary: what each key stands for, while its command is kept."""

    @initialize()
    def start(self) -> None:
        self.bench = Ordered()
        self.bench.broker.ledger.kept = 3
        self.known: dict[str, tuple[Order, str]] = {}

    @rule(order=orders, key=st.none() | keys)
    def place(self, order: Order, key: str | None) -> None:
        known = self.known.get(key or "")
        if known is not None and known[0] != order:
            with pytest.raises(KeyReusedError) as caught:
                self.bench.places(order, key)
            assert caught.value.command == known[1]
            assert self.bench.sent == 0
            return
        placed = self.bench.places(order, key)
        assert placed.replayed is (known is not None)
        if known is not None:
            assert placed.command.command == known[1]
            assert self.bench.sent == 0
            return
        assert self.bench.sent == len(placed.command.entries) > 0
        if key is not None:
            self.known[key] = order, placed.command.command
        kept = {command.command for command in self.bench.broker.ledger}
        self.known = {key: each for key, each in self.known.items() if each[1] in kept}

    @rule(name=st.sampled_from(["a", "b", "c"]))
    def settle(self, name: str) -> None:
        for command in self.bench.broker.ledger:
            if name in command.entries:
                self.bench.callers[name].says(f"Report:{command.command}:done")

    @invariant()
    def a_key_is_known_as_long_as_its_command(self) -> None:
        ledger = self.bench.broker.ledger
        for name in ("k", "l"):
            order, command = self.known.get(name, (WORK, None))
            found = ledger.known_by(Key(name, order))
            assert (found and found.command) == command
        kept = {command.key.name for command in ledger if command.key is not None}
        assert kept == set(self.known)


TestKeysStateful = KeyMachine.TestCase
