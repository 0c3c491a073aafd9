"""The kinds of words, each against the reference read off once more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerproto import grammar
from brokerproto.errors import BadFrameError, BadIdError
from brokerproto.grammar import Kind
from tests.brokerproto import reference as ref
from tests.brokerproto.strategies import UNFIT_NUMBERS, VALUES

NAMES: dict[str, Kind] = {
    "id": grammar.ID,
    "number": grammar.NUMBER,
    "work": grammar.WORK_MS,
    "status": grammar.CODE,
    "command": grammar.COMMAND,
    "word": grammar.WORD,
    "hex": grammar.HEX,
    "token": grammar.TOKEN,
    "name": grammar.NAME,
    "state": grammar.REPORT_STATE,
    "retry": grammar.RETRY,
    "label": grammar.LABEL_NAME,
    "value": grammar.LABEL_VALUE,
    "registered": grammar.literal("Registered"),
    "text": grammar.TEXT,
}
BYTES = [bytes([each]) for each in range(256)]

EDGES = [
    ("id", b"a" * 253, b"a" * 254),
    ("id", b"a" + b"." * 251 + b"a", b"a" + b"." * 252 + b"a"),
    ("id", b"a", b""),
    ("id", b"9", b"-"),
    ("id", b"a.b", b".b"),
    ("id", b"a-b", b"a-"),
    ("number", b"0", b"00"),
    ("number", b"9007199254740991", b"9007199254740992"),
    ("number", b"9007199254740991", b"90071992547409910"),
    ("work", b"86400000", b"86400001"),
    ("status", b"255", b"256"),
    ("command", b"a" * 64, b"a" * 65),
    ("command", b"-", b""),
    ("command", b"a-1", b"a_1"),
    ("word", b"a" * 32, b"a" * 33),
    ("word", b"_", b""),
    ("hex", b"f" * 32, b"f" * 33),
    ("hex", b"0", b""),
    ("hex", b"f", b"F"),
    ("hex", b"f", b"g"),
    ("token", b"0" * 64, b"0" * 65),
    ("token", b"0" * 64, b"0" * 63),
    ("name", b"A" * 32, b"A" * 33),
    ("name", b"BAD_ID", b"Bad"),
    ("label", b"a" * 26, b"a" * 27),
    ("label", b"-0", b""),
    ("label", b"a", b"A"),
    ("label", b"a", b"a."),
    ("value", b"a" * 256, b"a" * 257),
    ("value", b"", b"/"),
    ("value", b"Aks-1.local_2", b"a=b"),
    ("state", b"done", b"done "),
    ("retry", b"never", b"neve"),
    ("retry", b"now", b"nowa"),
    ("retry", b"9007199254740991", b"9007199254740992"),
    ("retry", b"0", b"00"),
    ("registered", b"Registered", b"registered"),
    ("text", b"", b"\n"),
    ("text", b" ~", b"\x7f"),
    ("text", b"a:b;c", b"\x1f"),
]


def fits(kind: Kind, raw: bytes) -> bool:
    try:
        kind.read(raw)
    except BadFrameError:
        return False
    return True


def may_begin(kind: Kind, raw: bytes) -> bool:
    try:
        kind.check_beginning(raw, BadFrameError)
    except BadFrameError:
        return False
    return True


@pytest.mark.parametrize(("name", "good", "bad"), EDGES)
def test_a_kind_ends_where_the_reference_says(name: str, good: bytes, bad: bytes) -> None:
    assert fits(NAMES[name], good)
    assert not fits(NAMES[name], bad)


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_is_judged_as_the_reference_does(name: str) -> None:
    kind, expected = NAMES[name], ref.KINDS[name]
    samples = {good for which, good, _ in EDGES if which == name} | {b"a", b"1", b"10", b"abc"}
    for sample in samples:
        for place in {0, 1, len(sample) // 2, len(sample) - 1, len(sample)}:
            for byte in BYTES:
                raw = sample[:place] + byte + sample[place + 1 :]
                assert fits(kind, raw) is expected(raw.decode("latin-1")), raw


@pytest.mark.parametrize("name", NAMES)
def test_every_beginning_is_judged_as_the_reference_does(name: str) -> None:
    kind = NAMES[name]
    samples = {good for which, good, _ in EDGES if which == name} | {b"a", b"1", b"10", b"abc"}
    for sample in samples:
        for place in {0, 1, 2, len(sample) // 2, len(sample) - 2, len(sample) - 1, len(sample)}:
            begun = sample[: max(0, place)]
            for raw in [begun, *(begun + byte for byte in BYTES)]:
                assert may_begin(kind, raw) is ref.may_begin_value(name, raw.decode("latin-1")), raw


@pytest.mark.parametrize("kind", [*VALUES, grammar.literal("Registered")], ids=lambda k: k.name)
def test_every_beginning_of_a_valuemay_begin_value_one(kind: Kind) -> None:
    @given(VALUES.get(kind, st.just("Registered")))
    def law(value: Any) -> None:
        raw = kind.format(value).encode()
        assert kind.read(raw) == value
        assert kind.accepts(value)
        for end in range(len(raw) + 1):
            kind.check_beginning(raw[:end], BadFrameError)

    law()


@pytest.mark.parametrize("kind", [*VALUES, grammar.literal("Registered")], ids=lambda k: k.name)
def test_nothing_that_may_not_begin_a_value_begins_one(kind: Kind) -> None:
    @given(st.binary(max_size=4), st.sampled_from([b"", b"a", b"0", b"rec", b"ne"]), st.binary())
    def law(junk: bytes, before: bytes, after: bytes) -> None:
        if not may_begin(kind, before + junk):
            assert not may_begin(kind, before + junk + after)
            assert not fits(kind, before + junk + after)

    law()


@pytest.mark.parametrize("raw", UNFIT_NUMBERS)
@pytest.mark.parametrize("kind", [grammar.NUMBER, grammar.WORK_MS, grammar.CODE, grammar.RETRY])
def test_what_only_other_languages_call_a_number_is_none(kind: Kind, raw: bytes) -> None:
    assert not fits(kind, raw)


@pytest.mark.parametrize("raw", [b"9007199254740992", b"90071992547409920", b"9007199254740992x"])
def test_an_offence_is_told_alike_at_its_first_byte_and_at_its_end(raw: bytes) -> None:
    with pytest.raises(BadFrameError) as at_the_end:
        grammar.NUMBER.read(raw)
    with pytest.raises(BadFrameError) as at_first:
        grammar.NUMBER.check_beginning(raw[:16], BadFrameError)
    assert at_the_end.value == at_first.value


def test_the_error_is_the_one_asked_for() -> None:
    with pytest.raises(BadIdError):
        grammar.ID.read(b"-", BadIdError)
    with pytest.raises(BadIdError):
        grammar.ID.check_beginning(b"-", BadIdError)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (grammar.NUMBER, -1),
        (grammar.NUMBER, 2**53),
        pytest.param(grammar.NUMBER, 10**5000, id="more digits than str gives"),
        (grammar.NUMBER, 1.0),
        (grammar.NUMBER, True),
        (grammar.NUMBER, "1"),
        (grammar.NUMBER, None),
        (grammar.RETRY, "1"),
        (grammar.RETRY, "soon"),
        (grammar.ID, 5),
        (grammar.ID, b"a"),
        (grammar.ID, "\u0661"),
        (grammar.ID, "\ud800"),
        (grammar.TEXT, "two\nlines"),
        (grammar.TEXT, "\xe9"),
        (grammar.REPORT_STATE, "lost"),
    ],
)
def test_a_value_of_another_type_or_range_cannot_be_sent(kind: Kind, value: Any) -> None:
    assert not kind.accepts(value)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (grammar.VERB, b"a" * 16, b"a" * 17),
        (grammar.VERB, b"Z", b""),
        (grammar.VERB, b"z", b"1"),
        (grammar.VERB_BEGINNING, b"", b"a" * 17),
        (grammar.PAIR, b"k" * 32 + b"=", b"k" * 33 + b"="),
        (grammar.PAIR, b"k=" + b"v" * 256, b"k=" + b"v" * 257),
        (grammar.PAIR, b"!0-9=A.z_-", b"!!k=v"),
        (grammar.PAIR, b"k=", b"=v"),
        (grammar.PAIR, b"k=", b"K="),
        (grammar.PAIR, b"k=v", b"k=v=v"),
        (grammar.PAIR, b"k=v", b""),
        (grammar.PAIR_BEGINNING, b"", b"="),
        (grammar.PAIR_BEGINNING, b"!", b"!="),
        (grammar.PAIR_BEGINNING, b"k" * 32, b"k" * 33),
        (grammar.PAIR_BEGINNING, b"!k=" + b"v" * 256, b"!k=" + b"v" * 257),
    ],
)
def test_verbs_and_pairs_end_where_the_reference_says(
    pattern: Any, good: bytes, bad: bytes
) -> None:
    assert pattern.fullmatch(good)
    assert not pattern.fullmatch(bad)
