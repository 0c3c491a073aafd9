"""The query: what is no plain integer in range, or not known, does nothing."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.broker.control.accepted import ORDER
from services.broker.control.answers import ControlError
from services.broker.control.parameters import Parameter, following, read_query
from services.program.values import WholeNumber
from tests.services.broker.controlled import Answer, Controlled, exchange, request

RANGES = {
    "/dowork?time=": ("time", 0, 86_400_000),
    "/dowork?wait=": ("wait", 0, 600),
    "/kill?code=": ("code", 0, 255),
    "/kill?wait=": ("wait", 0, 600),
    "/kill?share=": ("share", 1, 100),
}
NUMBERS = st.sampled_from(sorted(RANGES))


def ask_raw(target: str) -> tuple[Controlled, Answer]:
    controlled = Controlled("a-1")
    wire = controlled.wire()
    wire.send(request(target))
    if not wire.answers:
        controlled.clock.advance(600)
    (answer,) = wire.answers
    wire.lose()
    return controlled, answer


def is_plain_integer(raw: bytes, low: int, high: int) -> bool:
    return re.fullmatch(rb"0|[1-9][0-9]{0,9}", raw) is not None and low <= int(raw) <= high


@pytest.mark.fault("C079")
@pytest.mark.fault("C080")
@given(
    NUMBERS,
    st.binary(max_size=20)
    | st.text(max_size=10).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text("0123456789+-. _e", max_size=10).map(str.encode)
    | st.integers(-5, 100_000_000).map(lambda number: str(number).encode()),
)
@example("/dowork?time=", b"86400000")
@example("/dowork?time=", b"86400001")
@example("/kill?code=", b"0")
@example("/kill?code=", b"255")
@example("/kill?code=", b"256")
@example("/dowork?wait=", b"600")
@example("/dowork?wait=", b"601")
@example("/kill?share=", b"0")
@example("/kill?share=", b"1")
@example("/kill?share=", b"100")
@example("/kill?share=", b"101")
def test_value_that_is_no_plain_integer_in_range_does_nothing(path: str, raw: bytes) -> None:
    name, low, high = RANGES[path]
    controlled, answer = ask_raw(path + quote_from_bytes(raw, safe=""))
    if is_plain_integer(raw, low, high):
        assert answer.status == 200
        assert len(controlled.sent["a-1"]) == 1
    else:
        assert (answer.status, answer.error["parameter"]) == (400, name)
        assert name in answer.error["message"]
        assert len(answer.body) < 500
        assert controlled.did_nothing


@pytest.mark.fault("C079")
@pytest.mark.fault("C080")
@pytest.mark.parametrize("path", sorted(RANGES))
@pytest.mark.parametrize(
    "value",
    [
        "-1", "+1", "%2B1", "1e999", "1e3", "NaN", "Infinity", "0x10", "0b1", "1.5", "1.0", "",
        "00", "01", "1_0", "%201", "1%20", "1%0A", "1%00", "1%0D%0A", "%EF%BC%95", "%D9%A1",
        "%B2", "%C2%B2", "%FF", "true", "null", "zz", "1,2", "1;", "1%26time%3D2", "%", "%1",
        "9" * 400, "9" * 5000, "%ED%A0%80",
    ],
)  # fmt: skip
def test_awkward_value_is_refused_by_name(path: str, value: str) -> None:
    controlled, answer = ask_raw(path + value)
    assert (answer.status, answer.error["parameter"]) == (400, RANGES[path][0])
    assert controlled.did_nothing


@pytest.mark.fault("C081")
@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/dowork?Time=5", "Time"),
        ("/dowork?TIME=5", "TIME"),
        ("/dowork?code=5", "code"),
        ("/kill?time=5", "time"),
        ("/kill?code=1&codes=2", "codes"),
        ("/kill?Engine=a-1", "Engine"),
        ("/kill?=5", ""),
        ("/kill?%20code=5", " code"),
        ("/kill?code%00=5", "code\0"),
        ("/kill?c%C3%A4de=5", "c\u00e4de"),
        ("/kill?%FFcode=5", ""),
        ("/kill?code[]=5", "code[]"),
        ("/kill?_=17", "_"),
        ("/kill?amp;code=5", "amp;code"),
        ("/kill?code=5?time=1", "code"),
        ("/kill?code", "code"),
        ("/kill?code=1&code=1", "code"),
        ("/kill?code=1&%63ode=1", "code"),
        ("/kill?code=1;code=2", "code"),
        ("/kill?wait=1&wait=2", "wait"),
        ("/dowork?time=1&time=x", "time"),
        ("/dowork?time=&time=1", "time"),
        ("/kill?engine=%FF", "engine"),
        ("/kill?match=%C3%28", "match"),
        ("/stats?a=1", "a"),
        ("/engines?state=dead", "state"),
        ("/engines?state=late&state=late", "state"),
        ("/engines?sort=none", "sort"),
        ("/engines?sort=--id", "sort"),
        ("/engines?limit=0", "limit"),
        ("/engines?limit=1001", "limit"),
        ("/engines?after=a&after=b", "after"),
        ("/engines?manner=left", "manner"),
        ("/history?manner=LEFT", "manner"),
        ("/history?after=-1", "after"),
        ("/history?after=a", "after"),
        ("/history?sort=id", "sort"),
        ("/commands?limit=101", "limit"),
        ("/commands?limit=0", "limit"),
        ("/kill?share=0", "share"),
        ("/kill?share=101", "share"),
        ("/kill?share=12.5", "share"),
        ("/kill?share=10%25", "share"),
        ("/kill?share=10&share=20", "share"),
        ("/kill?expect=-1", "expect"),
        ("/kill?expect=1000001", "expect"),
        ("/kill?expect=1&expect=1", "expect"),
        ("/kill?label=", "label"),
        ("/kill?label=node", "label"),
        ("/kill?label=:aks-1", "label"),
        ("/kill?label=Node:aks-1", "label"),
        ("/kill?label=node:aks:1", "label"),
        ("/kill?label=node:aks%201", "label"),
        ("/kill?label=node:aks-1%0A", "label"),
        ("/kill?label=node:%C3%A4", "label"),
        ("/kill?label=" + "n" * 27 + ":x", "label"),
        ("/kill?label=n:" + "x" * 257, "label"),
        ("/kill?Idempotency-Key=k", "Idempotency-Key"),
        ("/engines?label=node", "label"),
        ("/?a", "a"),
        ("/openapi.json?a", "a"),
        ("/engines/a-1?a=", "a"),
        ("/commands/x?wait=1", "wait"),
        ("/healthz?a", "a"),
        ("/readyz?verbose", "verbose"),
    ],
)
def test_unknown_or_repeated_parameter_is_refused_by_name(target: str, name: str) -> None:
    controlled, answer = ask_raw(target)
    assert (answer.status, answer.error["parameter"]) == (400, name)
    assert controlled.did_nothing


@given(st.text(max_size=12).filter(lambda name: name not in {"time", *ORDER}))
def test_no_other_name_is_a_parameter(name: str) -> None:
    raw = quote_from_bytes(name.encode("utf-8", "surrogatepass"), safe="")
    controlled, answer = ask_raw(f"/dowork?{raw}=1")
    assert answer.status == 400
    assert controlled.did_nothing


def test_empty_pairs_are_nothing() -> None:
    controlled = Controlled("a-1")
    assert exchange(controlled, request("/kill?&&code=3&")).status == 200
    assert controlled.sent["a-1"][0].startswith("KILL:3:")


ACCEPTED = {
    "n": Parameter("", WholeNumber(0, 9), 7),
    "word": Parameter(""),
    "many": Parameter("", most=3),
    "Elsewhere": Parameter("", place="header"),
}


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", {"n": 7, "word": None, "many": []}),
        (b"?n=0&word=", {"n": 0, "word": "", "many": []}),
        (b"?many=a+b&many=%C3%A4&many=c%2Bd", {"n": 7, "word": None, "many": ["a b", "ä", "c+d"]}),
    ],
)
def test_values_are_read_by_their_names(query: bytes, values: dict[str, Any]) -> None:
    assert read_query(b"/path" + query, ACCEPTED) == values


@given(st.lists(st.text(max_size=20), max_size=3), st.text(max_size=20), st.text(max_size=20))
def test_the_question_that_follows_is_the_same_but_for_its_place(
    many: list[str], word: str, after: str
) -> None:
    accepted = {**ACCEPTED, "after": Parameter("")}
    asked = [("many", each) for each in many] + [("after", "x"), ("word", word)]
    uri = f"/path?{urlencode(asked)}".encode()
    link = following(uri, after).encode("ascii")
    assert read_query(link, accepted) == {**read_query(uri, accepted), "after": after}
    assert not re.search(rb"[^!-~]|[\"'<>#\\]", link)


def test_most_is_the_most() -> None:
    with pytest.raises(ControlError) as caught:
        read_query(b"/path?many=1&many=2&many=3&many=4", ACCEPTED)
    assert caught.value.status == 400
    assert caught.value.details == {"parameter": "many"}
