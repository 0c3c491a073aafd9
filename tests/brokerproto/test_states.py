"""The tables of transitions, against the reference read off once more."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from brokerproto.errors import RemoteProtocolError
from brokerproto.messages import (
    Ack,
    BrokerMessage,
    Bye,
    Challenge,
    DoWork,
    EngineMessage,
    Failed,
    GoAway,
    Heartbeat,
    Kill,
    NewEngine,
    Ping,
    Proof,
    Report,
    Success,
    Unknown,
    Unusable,
)
from brokerproto.states import (
    BROKER_TRANSITIONS,
    ENGINE_TRANSITIONS,
    MAX_UNKNOWN_VERBS,
    BrokerState,
    EngineState,
    Move,
)

# Section "States" of the reference, row by row: a state, or the code that ends it.
BROKER_COLUMNS: tuple[type[Any], ...] = (NewEngine, Proof, Heartbeat, Report, Bye, Unknown)
BROKER_ROWS: dict[str, tuple[str | int, ...]] = {
    "HELLO": ("HELD", 424, 424, 424, "CLOSING", 405),
    "PROVING": (431, "HELD", 424, 424, "CLOSING", 405),
    "OPEN": (431, 431, "OPEN", "OPEN", "CLOSING", "OPEN"),
}
BROKER_MOVES = {
    "HELLO": {"END": "CLOSING", "LOSE": "CLOSED"},
    "PROVING": {"END": "CLOSING", "LOSE": "CLOSED"},
    "HELD": {"ACCEPT": "OPEN", "CHALLENGE": "PROVING", "END": "CLOSING", "LOSE": "CLOSED"},
    "OPEN": {"END": "CLOSING", "LOSE": "CLOSED"},
    "CLOSING": {"END": "CLOSING", "LOSE": "CLOSED"},
    "CLOSED": {"END": "CLOSED", "LOSE": "CLOSED"},
}

ENGINE_COLUMNS: tuple[type[Any], ...] = (
    *(Challenge, Success, Ack, Ping, DoWork, Kill, Unusable),
    *(GoAway, Failed, Unknown),
)
ENGINE_ROWS: dict[str, tuple[str | int, ...]] = {
    "GREETING": ("PROVED", "OPEN", 400, 400, 400, 400, 400, "GREETING", "CLOSING", "GREETING"),
    "PROVED": (400, "OPEN", 400, 400, 400, 400, 400, "PROVED", "CLOSING", "PROVED"),
    "OPEN": (400, 400, "OPEN", "OPEN", "OPEN", "OPEN", "OPEN", "OPEN", "CLOSING", "OPEN"),
}


def _read(step: Any) -> str | int:
    return str(step.name) if isinstance(step, BrokerState | EngineState) else int(step.code)


def test_the_columns_are_all_that_each_side_reads() -> None:
    assert set(BROKER_COLUMNS) == set(get_args(EngineMessage))
    assert set(ENGINE_COLUMNS) == set(get_args(BrokerMessage))


@pytest.mark.parametrize("state", BrokerState)
def test_the_brokers_table_is_that_of_the_reference(state: BrokerState) -> None:
    expected: dict[Any, str | int] = {
        **dict(zip(BROKER_COLUMNS, BROKER_ROWS.get(state.name, ()), strict=False)),
        **{Move[name]: to for name, to in BROKER_MOVES[state.name].items()},
    }
    assert {key: _read(step) for key, step in BROKER_TRANSITIONS[state].items()} == expected


@pytest.mark.parametrize("state", EngineState)
def test_the_engines_table_is_that_of_the_reference(state: EngineState) -> None:
    closed = state is EngineState.CLOSED
    expected: dict[Any, str | int] = {
        **dict(zip(ENGINE_COLUMNS, ENGINE_ROWS.get(state.name, ()), strict=False)),
        Move.END: "CLOSED" if closed else "CLOSING",
        Move.LOSE: "CLOSED",
    }
    assert {key: _read(step) for key, step in ENGINE_TRANSITIONS[state].items()} == expected


@pytest.mark.parametrize(
    ("table", "start"),
    [(BROKER_TRANSITIONS, BrokerState.HELLO), (ENGINE_TRANSITIONS, EngineState.GREETING)],
    ids=["broker", "engine"],
)
def test_every_state_can_be_reached_and_ends(table: dict[Any, dict[Any, Any]], start: Any) -> None:
    reached, fresh = {start}, [start]
    while fresh:
        for step in table[fresh.pop()].values():
            if step in table and step not in reached:
                reached.add(step)
                fresh.append(step)
    assert reached == set(table) == set(type(start).__members__.values())
    for steps in table.values():
        assert steps[Move.LOSE].name == "CLOSED"


def test_a_refusal_is_an_error_of_the_protocol() -> None:
    for table in (BROKER_TRANSITIONS, ENGINE_TRANSITIONS):
        for steps in table.values():
            for step in steps.values():
                if isinstance(step, type):
                    assert issubclass(step, RemoteProtocolError)


def test_the_third_unknown_verb_ends_a_session() -> None:
    assert MAX_UNKNOWN_VERBS == 3
