"""The protocol's reference says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest
from attrs import evolve

from brokerproto import (
    account,
    commands,
    engine_session,
    fleet,
    framing,
    labels,
    life,
    messages,
    ownership,
    wire,
)
from brokerproto.broker import Broker
from brokerproto.carrying import FLUSH_DEADLINE
from brokerproto.errors import CODES, LocalProtocolError, RemoteProtocolError
from brokerproto.flow import READING_DEADLINE
from brokerproto.grammar import MAX_NUMBER, MAX_WORK_MS
from brokerproto.liveness import tick_length, worst_detection
from brokerproto.retry import LAST_TRY, LONGEST_TOLD, RetryPolicy
from brokerproto.states import (
    BROKER_TRANSITIONS,
    ENGINE_TRANSITIONS,
    MAX_UNKNOWN_VERBS,
    BrokerState,
    EngineState,
    Input,
    Move,
)
from brokerproto.terms import Limits, Terms
from services.broker.resources import MOST_MEMORY
from services.engine.runner import LONG_LIFE
from services.engine.service import reborn_after
from tests.brokerproto import reference
from tests.docs.page import ROOT, Block, Page
from tests.docs.picture import Picture
from tests.docs.replay import BrokerSide, replay, side_for

PAGE = Page.of("docs/reference/protocol.md")


def _conversations() -> Iterator[Any]:
    for block in PAGE.blocks:
        marker, *speakers = block.info.split()
        if marker == "conversation":
            for speaker in speakers or ["broker"]:
                yield pytest.param(speaker, block, id=f"{speaker}-line-{block.line}")


@pytest.mark.parametrize("slice_length", [1 << 20, 1])
@pytest.mark.parametrize(("speaker", "block"), list(_conversations()))
def test_conversation_happens_as_it_is_told(speaker: str, block: Block, slice_length: int) -> None:
    replay(block.text, side_for(speaker, block.text), slice_length)


@pytest.mark.parametrize(
    "lines",
    [
        ["E: NewEngine:e1:0", "B: SUCCESS"],
        ["E: NewEngine:e1:0"],
        ["E: NewEngine:e1:0", "-- 1 s pass"],
        ["E: NewEngine:e1:0", "B: SUCCESS:Registered", "B: PING"],
        ["E: NewEngine:e1:0", "B: SUCCESS:Registered", "-- closed"],
        ["E: Bye", "-- 1 s pass"],
        ["E: Bye", "-- closed", "E: Bye"],
        ["-- 10 s pass", "B: FAILED:408:HANDSHAKE_TIMEOUT:now:not registered in time"],
        ["-- 10 s pass", "-- closed"],
        ["-- 0.3 s pass"],
        ["-- whatever"],
        ["X: Bye"],
    ],
)
def test_replay_notices_a_false_conversation(lines: list[str]) -> None:
    with pytest.raises(AssertionError):
        replay("\n".join(lines), BrokerSide())


def test_codes_are_those_of_the_errors() -> None:
    rows = PAGE.section("Codes").table("code", "name", "retry", "sent when")
    # The one code whose retry is drawn up anew for each refusal.
    of_the_class = {"409": str(CODES[409].default_retry)}
    assert [(row[0], row[1], of_the_class.get(row[0], row[2])) for row in rows] == [
        (str(error.code), error.name, str(error.default_retry))
        for _, error in sorted(CODES.items())
    ]


def test_refusal_of_one_connection_too_many_is_told_the_herd() -> None:
    broker = Broker(lambda: 0.0, "b0", Limits(connections=6, accept_rate=1))
    for number in range(6):
        _say(broker, f"NewEngine:e{number}:0:v=1")
    assert _say(broker, "") == "FAILED:507:BROKER_FULL:6:no more connections\n"


def _say(broker: Broker, frame: str) -> str:
    session = broker.open(_Deaf(), fleet.Origin("peer", "wire://"))
    broker.receive_data(session, frame.encode() + b"\n")
    return session.data_to_send().decode()


class _Deaf:
    def settle(self) -> None:
        """Nothing: the test takes what is owed."""


BROKER_ROWS: Mapping[str, Input] = {
    "NewEngine": messages.NewEngine,
    "Proof": messages.Proof,
    "HeartBeat": messages.Heartbeat,
    "Report": messages.Report,
    "Bye": messages.Bye,
    "unknown verb": messages.Unknown,
    "accept": Move.ACCEPT,
    "challenge": Move.CHALLENGE,
    "end": Move.END,
    "lose": Move.LOSE,
}
ENGINE_ROWS: Mapping[str, Input] = {
    "CHALLENGE": messages.Challenge,
    "SUCCESS": messages.Success,
    "ACK": messages.Ack,
    "PING": messages.Ping,
    "DOWORK": messages.DoWork,
    "KILL": messages.Kill,
    "bad value": messages.Unusable,
    "GOAWAY": messages.GoAway,
    "FAILED": messages.Failed,
    "unknown verb": messages.Unknown,
    "end": Move.END,
    "lose": Move.LOSE,
}
SIDES = pytest.mark.parametrize(
    ("title", "states", "transitions", "names"),
    [
        ("Broker", BrokerState, BROKER_TRANSITIONS, BROKER_ROWS),
        ("Engine", EngineState, ENGINE_TRANSITIONS, ENGINE_ROWS),
    ],
)


def _cell(step: Any) -> str:
    if step is None:
        return ""
    if isinstance(step, BrokerState | EngineState):
        return step.name
    assert issubclass(step, RemoteProtocolError)
    return str(step.code)


@SIDES
def test_state_table_is_that_of_the_code(
    title: str, states: Any, transitions: Any, names: Mapping[str, Input]
) -> None:
    header = ["input", *(state.name for state in states)]
    rows = {row[0]: row[1:] for row in PAGE.section("States").section(title).table(*header)}
    # An engine sends no codes: all its errors look the same from outside.
    told = {"400": "error"} if states is EngineState else {}
    assert list(rows) == list(names)
    for name, event in names.items():
        cells = [_cell(transitions[state].get(event)) for state in states]
        assert rows[name] == [told.get(cell, cell) for cell in cells], name
    assert {event for row in transitions.values() for event in row} == set(names.values())


@SIDES
def test_state_diagram_is_that_of_the_code(
    title: str, states: Any, transitions: Any, names: Mapping[str, Input]
) -> None:
    drawn = set()
    for state in states:
        for name, event in names.items():
            cell = _cell(transitions[state].get(event))
            if cell.isdigit():
                drawn.add((state.name, "CLOSING", "error"))
            elif cell not in ("", state.name):
                drawn.add((state.name, cell, name))
    [image] = PAGE.section("States").section(title).images
    picture = Picture.drawn(ROOT / "docs/reference" / image)
    told = {
        (source, target, label)
        for source, target, labels in picture.arrows
        for label in labels.split(", ")
    }
    assert told == drawn | {("start", next(iter(states)).name, "")}


@pytest.mark.parametrize("sender", ["engine", "broker"])
def test_forms_of_frames_are_those_of_the_grammar(sender: wire.Sender) -> None:
    kinds = set(re.findall(r"^(\w+) +=", PAGE.section("Frames").blocks[0].text, re.MULTILINE))
    for verb, form, _ in _frames(sender):
        head, _, options = form.removesuffix("]").partition("[:")
        expected = reference.VERBS[sender][verb]
        fields = head.split(":")[1:]
        assert head.split(":")[0] == verb
        assert fields == expected[0]
        pairs = dict(pair.split("=") for pair in options.split(";")) if options else {}
        assert pairs == expected[1]
        assert {*fields, *pairs.values()} <= kinds
    assert [row[0] for row in _frames(sender)] == list(reference.VERBS[sender])


@pytest.mark.parametrize("sender", ["engine", "broker"])
def test_examples_of_frames_are_read_and_written_so(sender: wire.Sender) -> None:
    for verb, _, example in _frames(sender):
        message = wire.decode(example.encode(), sender)
        assert wire.encode(message) == example.encode() + b"\n"
        assert example.partition(":")[0] == verb


def _frames(sender: wire.Sender) -> list[list[str]]:
    title = {"engine": "Engine to broker", "broker": "Broker to engine"}[sender]
    return PAGE.section(title).table("frame", "form", "example")


def test_limits_of_the_grammar_are_those_of_the_code() -> None:
    grammar = PAGE.section("Frames").blocks[0].text
    assert f"; 0 to {MAX_NUMBER}\n" in grammar
    assert f"; 0 to {MAX_WORK_MS}, milliseconds\n" in grammar


def test_room_for_labels_is_that_of_the_longest_hello() -> None:
    told = re.search(r"The longest id leaves (\d+)", PAGE.section("Labels").text)
    assert told is not None
    spare = int(told[1])
    wishes = life.Wishes(interval=300, ack=MAX_NUMBER)
    longest = "label-" + "n" * 26 + "=" + "v" * 256
    rest = spare - 2 * len(";" + longest) - len(";label-n=")
    for extra in (0, 1):
        names = {"m" * 26: "v" * 256, "n" * 26: "v" * 256, "n": "v" * (rest + extra)}
        labelled = evolve(wishes, labels=names)
        if extra:
            with pytest.raises(LocalProtocolError, match="1 bytes too long"):
                labelled.check("e" * 253)
        else:
            labelled.check("e" * 253)


def test_allowed_gaps_are_those_of_the_account() -> None:
    rows = PAGE.section("Sequence and account").table("T", "s", "may be left out")
    assert rows
    for interval, silence, allowed in rows:
        assert account.largest_gap(float(silence), float(interval)) == int(allowed)


def test_worked_example_is_what_the_account_does() -> None:
    rows = PAGE.section("A worked example").table("frame", "last", "counted", "missed", "repeated")
    (told, *_) = PAGE.section("A worked example").blocks
    said = [line.removeprefix("E: ") for line in told.text.splitlines() if line[0] == "E"]
    assert [row[0] for row in rows] == said
    side = BrokerSide()
    for frame, *sums in rows:
        if frame.startswith("NewEngine") and side.session.is_open:
            side.disconnect()
            side.connect()
        side.hear(frame.encode() + b"\n")
        kept = side.session.account
        assert kept is not None
        assert [kept.last, kept.counted, kept.missed, kept.repeated] == list(map(int, sums))


def test_times_of_liveness_are_those_of_the_detector() -> None:
    rows = PAGE.section("Liveness").table(
        "T", "timeout", "late", "second PING", "lost", "tick", "worst detection"
    )
    assert [row[0] for row in rows] == ["1", "10", "60"]
    for row in rows:
        interval = int(row[0])
        timeout = Limits(interval=interval).timeout_of(interval)
        patience = Terms(interval, timeout).patience
        tick = tick_length(interval)
        expected = [timeout, patience.late, patience.again, patience.lost, tick]
        assert list(map(float, row[1:])) == [*expected, worst_detection(timeout, tick)]


class _Bounds(Random):
    """Draws nothing, and says between which bounds it was asked to."""

    def uniform(self, a: float, b: float) -> float:
        self.bounds = (a, b)
        return b


def test_waits_are_those_of_the_retry_policy() -> None:
    rows = PAGE.section("Reconnecting").table("try", "from", "to")
    random = _Bounds()
    policy = RetryPolicy(random)
    policy.registered(messages.Success(v=1, herd=7))
    for _, low, high in rows:
        policy.ended(None)
        assert random.bounds == (float(low), 7.0 if high == "herd" else float(high))
    for _ in range(20):
        policy.ended(None)
        assert random.bounds == (float(rows[-1][1]), float(rows[-1][2]))


def test_waits_after_a_kill_are_those_of_the_engine() -> None:
    text = " ".join(PAGE.section("KILL").text.split())
    random = _Bounds()
    longest = max(reborn_after(deaths, random) for deaths in range(1, 20))
    low, high = random.bounds
    assert f"uniform({low:.0f}, {high:.0f}) s at its first death" in text
    assert f"and so on, {longest:.0f} s at most" in text
    assert f"a life of {LONG_LIFE:.0f} s" in text


def test_limits_are_those_of_the_code() -> None:
    rows = PAGE.section("Limits").table("what", "limit", "beyond", "option")
    limits = Limits()
    assert [float(row[1]) for row in rows] == [
        framing.LIMIT_UNREGISTERED,
        framing.LIMIT_REGISTERED,
        labels.MAX_LABELS,
        _empty_lines_allowed(),
        MAX_UNKNOWN_VERBS - 1,
        limits.handshake,
        limits.drain,
        limits.connections,
        limits.unregistered,
        ownership.TAKEOVERS,
        ownership.LONGEST_PROBE,
        limits.accept_rate,
        100 * MOST_MEMORY,
        limits.frame_rate,
        limits.unread,
        READING_DEADLINE,
        limits.unread_in_all,
        FLUSH_DEADLINE,
        fleet.ENDS_KEPT,
        commands.COMMANDS_KEPT,
        commands.WORK_WAITING,
        life.REPORTS_KEPT,
        engine_session.SUCCESS_DEADLINE,
        LONGEST_TOLD,
    ]
    assert f"{LAST_TRY:.0f} s, once" in PAGE.section("Reconnecting").text


def _empty_lines_allowed() -> int:
    side = BrokerSide()
    for allowed in range(100):
        side.hear(b"\n")
        if side.is_over:
            return allowed
    raise AssertionError("no limit")


def test_titles_are_those_that_the_code_cites() -> None:
    cited = set()
    for package in ("brokerproto", "transports", "services"):
        for path in (ROOT / package).rglob("*.py"):
            text = " ".join(path.read_text(encoding="utf-8").split())
            for titles in re.findall(
                r"protocol (?:reference|\.md``),? (?:sections? )?"
                r'((?:"[^"]+"(?:, | and )?)+)',
                text,
            ):
                cited.update(re.findall(r'"([^"]+)"', titles))
    assert {"Frames", "States", "Who owns an id", "Limits"} <= cited
    assert cited <= set(PAGE.headings)
