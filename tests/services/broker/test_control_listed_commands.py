"""/commands: the last ones, in full."""

from __future__ import annotations

import pytest

from brokerproto.commands import COMMANDS_KEPT, Key
from services.broker.control.views import NAMED_IN_LIST
from tests.services.broker.controlled import BOOT, Controlled


def test_commands_are_listed_in_full_the_last_one_first() -> None:
    controlled = Controlled("a", "b")
    for path in ("/dowork?time=20", "/kill?engine=a", "/dowork?match=x"):
        controlled.get(path)
        controlled.clock.advance(1)
    controlled.engines["a"].says(f"Report:{BOOT}-1:done", f"Report:{BOOT}-2:failed:error=odd")
    shown = controlled.get("/commands")
    assert shown["total"] == 3
    assert [each["command"] for each in shown["commands"]] == [f"{BOOT}-{n}" for n in (3, 2, 1)]
    assert [each["issued"][-10:] for each in shown["commands"]] == [
        "00:02.000Z", "00:01.000Z", "00:00.000Z"
    ]  # fmt: skip
    assert shown["commands"] == [
        controlled.get(f"/commands/{each['command']}") for each in shown["commands"]
    ]
    assert controlled.get("/commands?limit=1")["commands"] == shown["commands"][:1]
    assert controlled.get("/commands?limit=1")["total"] == 3


def test_no_commands_are_an_empty_list() -> None:
    assert Controlled("a").get("/commands") == {"total": 0, "commands": []}


def test_a_hundred_commands_are_listed() -> None:
    controlled = Controlled()
    for _ in range(COMMANDS_KEPT + 1):
        controlled.get("/kill")
    shown = controlled.get("/commands")
    assert (shown["total"], len(shown["commands"])) == (COMMANDS_KEPT, COMMANDS_KEPT)
    assert shown["commands"][-1]["command"] == f"{BOOT}-2"


def test_a_command_in_a_list_names_fewer_engines() -> None:
    controlled = Controlled(*(f"e-{n}" for n in range(2 * NAMED_IN_LIST + 3)))
    controlled.get("/dowork")
    for n in range(NAMED_IN_LIST + 1):
        controlled.engines[f"e-{n}"].reports("failed:error=odd")
    (listed,) = controlled.get("/commands")["commands"]
    assert (len(listed["failed"]), listed["failed_total"]) == (NAMED_IN_LIST, NAMED_IN_LIST + 1)
    assert (len(listed["silent"]), listed["silent_total"]) == (NAMED_IN_LIST, NAMED_IN_LIST + 2)


def test_large_commands_are_shown_in_turns_of_the_reactor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.broker.control.commanding._ENTRIES_AT_ONCE", 5)
    controlled = Controlled("a", "b", "c")
    for _ in range(4):
        controlled.get("/dowork")
    asked = controlled.ask("/commands")
    for _ in range(3):
        assert not asked.is_answered
        # One call a turn: a Clock would run what is due at once in one go.
        (call,) = controlled.clock.calls
        controlled.clock.calls.clear()
        call.called = 1
        call.func(*call.args, **call.kw)
    assert [each["command"] for each in asked.answer.json["commands"]] == [
        f"{BOOT}-{n}" for n in (4, 3, 2, 1)
    ]


def test_a_client_that_goes_away_ends_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.broker.control.commanding._ENTRIES_AT_ONCE", 1)
    controlled = Controlled("a", "b")
    for _ in range(3):
        controlled.get("/dowork")
    wire = controlled.wire()
    wire.send(b"GET /commands HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert controlled.clock.getDelayedCalls()
    wire.lose()
    assert not controlled.clock.getDelayedCalls()


def test_a_key_shows_nowhere() -> None:
    controlled = Controlled("a")
    members = list(controlled.broker.fleet)
    controlled.broker.order("KILL", 0, members, Key("secret", None))
    assert b"secret" not in controlled.answer_to("/commands").body
