"""/dowork and /kill: a share, a label, an expected number, and a key."""

from __future__ import annotations

from typing import Any

import pytest

from brokerproto.commands import COMMANDS_KEPT
from services.broker.control.accepted import KEY_HEADER
from services.broker.control.routes import REPLAYED_HEADER
from tests.services.broker.controlled import BOOT, Answer, Controlled, exchange, request

LABELLED = {"a-1": "node=aks-1", "a-2": "node=aks-2", "b-1": "node=aks-1;label-kind="}


@pytest.fixture
def three() -> Controlled:
    controlled = Controlled()
    for engine_id, label in LABELLED.items():
        controlled.register(engine_id, f":v=1;instance=a1;label-{label}")
    return controlled


def reached(controlled: Controlled) -> set[str]:
    return {engine_id for engine_id, commands in controlled.sent.items() if commands}


@pytest.mark.parametrize(
    ("query", "targets"),
    [
        ("label=node:aks-1", {"a-1", "b-1"}),
        ("label=node:aks-1&label=kind:", {"b-1"}),
        ("label=node:aks-1&label=node:aks-2", set()),
        ("label=kind:x", set()),
        ("label=node%3Aaks-2", {"a-2"}),
        ("match=a-*&label=node:aks-1", {"a-1"}),
        ("engine=a-2&engine=b-1&label=node:aks-1", {"b-1"}),
        ("engine=a-2&label=node:aks-1", set()),
    ],
)
def test_labels_hold_of_whatever_was_chosen(
    three: Controlled, query: str, targets: set[str]
) -> None:
    record = three.get(f"/kill?{query}")
    assert reached(three) == targets
    assert record["targets"] == len(targets)
    assert record["settled"] is not targets


@pytest.mark.parametrize(
    ("query", "targets"), [("share=100", 3), ("share=50", 2), ("share=1", 1), ("share=49", 1)]
)
def test_a_share_reaches_so_many(three: Controlled, query: str, targets: int) -> None:
    assert three.get(f"/dowork?{query}")["targets"] == targets == len(reached(three))


def test_a_share_is_of_what_was_chosen_and_by_chance(three: Controlled) -> None:
    hit: set[str] = set()
    for _ in range(30):
        record = three.get("/dowork?match=a-*&label=node:aks-1&match=b-*&share=50")
        hit.update(record["silent"])
        assert record["targets"] == 1
    assert hit == {"a-1", "b-1"}


def test_a_share_of_nobody_is_nobody(three: Controlled) -> None:
    record = three.get("/kill?match=x&share=100&wait=600")
    assert (record["targets"], record["settled"]) == (0, True)


@pytest.mark.parametrize(
    ("query", "targets"),
    [("", 3), ("&match=a-*", 2), ("&share=50", 2), ("&match=x", 0), ("&label=node:aks-2", 1)],
)
def test_expecting_what_it_would_reach_sends_it(
    three: Controlled, query: str, targets: int
) -> None:
    assert three.get(f"/kill?expect={targets}{query}")["targets"] == targets


@pytest.mark.fault("C084")
@pytest.mark.parametrize(
    ("query", "expected", "targets"),
    [
        ("expect=2", 2, 3),
        ("expect=4", 4, 3),
        ("expect=0", 0, 3),
        ("expect=3&match=a-*", 3, 2),
        ("expect=3&share=50", 3, 2),
        ("expect=1&match=nobody*", 1, 0),
    ],
)
def test_expecting_another_number_sends_nothing(
    three: Controlled, query: str, expected: int, targets: int
) -> None:
    answer = three.answer_to(f"/kill?{query}", headers={KEY_HEADER: "k"})
    assert answer.status == 409
    assert (answer.error["expected"], answer.error["targets"]) == (expected, targets)
    assert three.did_nothing
    # What was refused has not taken the key.
    assert three.answer_to("/kill", headers={KEY_HEADER: "k"}).status == 200


def ask(controlled: Controlled, path: str, key: str = "k", method: str = "GET") -> Answer:
    return controlled.answer_to(path, method, headers={KEY_HEADER: key})


def is_replayed(answer: Answer) -> bool:
    value = answer.headers.get(REPLAYED_HEADER)
    assert value in (None, "true")
    return value is not None


@pytest.mark.fault("C090")
@pytest.mark.parametrize("path", ["/dowork", "/kill?code=3&share=50", "/kill?match=x"])
def test_a_key_sends_a_command_once(three: Controlled, path: str) -> None:
    first = ask(three, path)
    sent = {engine_id: list(commands) for engine_id, commands in three.sent.items()}
    assert not is_replayed(first)
    for _ in range(3):
        again = ask(three, path)
        assert is_replayed(again)
        assert again.json == first.json
    assert three.sent == sent
    assert [each.command for each in three.broker.ledger] == [f"{BOOT}-1"]


@pytest.mark.fault("C090")
def test_a_client_that_gave_up_and_asks_again_sends_nothing_again(three: Controlled) -> None:
    raw = request("/dowork?time=20&wait=600", headers={KEY_HEADER: "k"})
    impatient, patient = three.wire(), three.wire()
    impatient.send(raw)
    impatient.lose()
    patient.send(raw)
    # And a third that asks the same at the same time.
    third = three.wire()
    third.send(raw)
    for engine in three.engines.values():
        assert len(engine.commands) == 1
        engine.reports("done")
    three.clock.advance(0)
    for wire in (patient, third):
        (answer,) = wire.answers
        assert is_replayed(answer)
        assert answer.json["settled"] is True
        wire.lose()
    assert len(list(three.broker.ledger)) == 1


def test_a_repeated_request_is_answered_with_what_has_become_of_its_command(
    three: Controlled,
) -> None:
    ask(three, "/dowork?engine=a-1&expect=1")
    three.engines["a-1"].reports("done")
    three.broker.lose(three.engines["a-1"].session, reset=True)
    # Neither is the engine there any more, nor would it be expected.
    record = ask(three, "/dowork?engine=a-1&expect=1").json
    assert (record["settled"], record["states"]["done"]) == (True, 1)


def test_a_repeated_request_may_wait_again_and_longer(three: Controlled) -> None:
    first = three.ask("/dowork?time=20&wait=1", headers={KEY_HEADER: "k"})
    three.clock.advance(1)
    assert first.answer.json["settled"] is False
    again = three.ask("/dowork?time=20&wait=600", headers={KEY_HEADER: "k"})
    assert not again.is_answered
    for engine in three.engines.values():
        assert len(engine.commands) == 1
        engine.reports("done")
    three.clock.advance(0)
    assert is_replayed(again.answer)
    assert again.answer.json["settled"] is True
    assert not three.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("path", "same"),
    [
        ("/dowork?engine=a-1&engine=a-2", "/dowork?engine=a-2&engine=a-1&engine=a-2"),
        ("/dowork", "/dowork?time=50000&share=100&wait=0"),
        ("/kill?match=a&match=b", "/kill?code=0&match=b&match=a"),
        ("/kill?label=n:1&label=m:2", "/kill?label=m:2&label=n%3A1"),
    ],
)
def test_a_request_that_means_the_same_is_the_same(three: Controlled, path: str, same: str) -> None:
    ask(three, path)
    assert is_replayed(ask(three, same, method="POST"))


@pytest.mark.parametrize(
    ("path", "other"),
    [
        ("/dowork", "/kill"),
        ("/dowork?time=0", "/kill?code=0"),
        ("/dowork", "/dowork?time=50001"),
        ("/kill", "/kill?code=1"),
        ("/kill?match=a-1", "/kill?engine=a-1"),
        ("/kill", "/kill?match=*"),
        ("/kill", "/kill?expect=3"),
        ("/kill?share=99", "/kill?share=98"),
        ("/kill?label=n:1", "/kill?label=n:2"),
    ],
)
def test_a_key_is_for_one_request(three: Controlled, path: str, other: str) -> None:
    ask(three, path)
    sent = three.sent
    answer = ask(three, other)
    assert (answer.status, answer.error["parameter"]) == (422, KEY_HEADER)
    assert f"{BOOT}-1" in answer.error["message"]
    assert three.sent == sent
    assert ask(three, other, key="another").status == 200


def test_a_key_is_kept_as_long_as_its_command(three: Controlled) -> None:
    ask(three, "/kill?match=x")
    for n in range(COMMANDS_KEPT - 1):
        ask(three, "/kill?match=x", key=f"k{n}")
    assert is_replayed(ask(three, "/kill?match=x"))
    three.get("/kill?match=x")
    assert three.answer_to(f"/commands/{BOOT}-1").status == 404
    assert not is_replayed(ask(three, "/kill?match=x"))


@pytest.mark.parametrize("key", ["!", "~", "x" * 255, '"8e03978e-40d5"', "a,b;c=d"])
def test_visible_characters_are_a_key(three: Controlled, key: str) -> None:
    assert not is_replayed(ask(three, "/kill?match=x", key))
    assert is_replayed(ask(three, "/kill?match=x", key))
    assert not is_replayed(ask(three, "/kill?match=x", key[:-1] + "z"))


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "x" * 256, "\u00e4", "a\x7f", "k1, k2"])
def test_what_cannot_be_a_key_does_nothing(three: Controlled, key: str) -> None:
    answer = exchange(three, request("/kill", headers={KEY_HEADER: key}))
    assert (answer.status, answer.error["parameter"]) == (400, KEY_HEADER)
    assert len(answer.body) < 500
    assert three.did_nothing


def test_two_keys_do_nothing(three: Controlled) -> None:
    headers: Any = {KEY_HEADER: "k", KEY_HEADER.lower(): "k"}
    answer = exchange(three, request("/kill", headers=headers))
    assert (answer.status, answer.error["parameter"]) == (400, KEY_HEADER)
    assert three.did_nothing


def test_a_key_means_nothing_to_a_question(three: Controlled) -> None:
    for path in ("/engines", "/stats"):
        assert ask(three, path, key="a b").status == 200
