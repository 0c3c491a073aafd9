from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    globalLogPublisher,
)
from twisted.python import log as old_log
from twisted.python.failure import Failure
from zope.interface import implementer

from services.program.log_output import LogWriter
from services.program.logs import (
    FIELD_LIMIT,
    TextFormat,
    json_format,
    without_library_chatter,
)

text_format = TextFormat("broker")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[")


@implementer(ILogObserver)
class Seen(list[LogEvent]):
    """The events that were published."""

    def __call__(self, event: LogEvent) -> None:
        self.append(event)


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def failure(text: str, kind: type[Exception] = ValueError) -> Failure:
    try:
        raise kind(text)
    except kind:
        return Failure()


any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
tricky_text = st.one_of(
    any_text,
    st.sampled_from(["{0.__class__}", "%s %(x)s", "{secret}", "\x1b[31m\r\n", "\u2028", "{"]),
)
any_value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    tricky_text,
    st.binary(),
    st.lists(tricky_text),
    st.dictionaries(tricky_text, st.integers()),
    st.builds(object),
    st.builds(Unshowable),
    st.builds(failure, tricky_text),
    st.builds(failure, tricky_text, st.just(HostileError)),
    st.sampled_from([10**5000, -(10**400), LogLevel.warn, 1j, int]),
)
any_key = st.one_of(
    any_text,
    st.sampled_from(
        [
            "log_time",
            "log_level",
            "log_namespace",
            "log_format",
            "log_failure",
            "log_text",
            "log_system",
            "log_source",
            "time",
            "level",
            "message",
            "traceback",
            "why",
        ]
    ),
)
any_event = st.dictionaries(any_key, any_value, max_size=12)


def events_of(say: Any) -> list[dict[str, Any]]:
    """Give the events that calling `say` with a logger publishes."""
    events = Seen()
    say(Logger("services.sample", observer=events))
    return events


@pytest.mark.fault("C023")
@given(any_event)
@example({"log_time": 1e300, "log_level": "info", "log_namespace": 7})
@example({7: "a key that is no text"})
@example({"x": "\ud800", "\ud800": 1, "log_namespace": "\ud800"})
def test_any_event_gives_exactly_one_json_line(event: dict[str, Any]) -> None:
    line = json_format(event)
    assert line.endswith("\n")
    assert line.isascii()
    assert len(line.splitlines()) == 1

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    record = json.loads(line, parse_constant=refuse)
    assert list(record)[:4] == ["time", "level", "namespace", "message"]
    assert all(isinstance(record[key], str) for key in list(record)[:4])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert not [key for key in record if key.startswith("log_")]
    json.dumps(record, ensure_ascii=False).encode("utf-8")


@pytest.mark.fault("C023")
@given(any_event)
def test_any_event_gives_one_line_of_text_and_an_indented_traceback(event: dict[str, Any]) -> None:
    text = text_format(event)
    first, *rest, last = text.split("\n")
    assert last == ""
    assert STAMP.match(first)
    assert all(line.isprintable() for line in (first, *rest))
    assert all(line.startswith("    ") for line in rest)
    assert bool(rest) is isinstance(
        event.get("failure" if "log_text" in event else "log_failure"), Failure
    )
    text.encode("utf-8")


@pytest.mark.fault("C024")
@pytest.mark.parametrize("text", ["{x}", "{x()}", "{x.y}", "{y}", "{0}", "{", "{x!r:>9}"])
def test_format_that_cannot_be_filled_is_still_one_line(text: str) -> None:
    (event,) = events_of(lambda log: log.info(text, x=Unshowable()))
    assert len(json_format(event).splitlines()) == 1
    assert len(text_format(event).splitlines()) == 1


@pytest.mark.fault("C024")
@given(tricky_text)
def test_data_never_becomes_format(value: str) -> None:
    (event,) = events_of(lambda log: log.info("said {value}", value=value))
    assert json.loads(json_format(event))["message"] == "said " + value.encode(
        "utf-8", "backslashreplace"
    ).decode("utf-8")


def test_plain_values_keep_their_kind() -> None:
    fields = {"a": None, "b": True, "c": -3, "d": 0.5, "e": "\u00e9", "f": 2**63 - 1}
    (event,) = events_of(lambda log: log.info("x", **fields))
    record = json.loads(json_format(event))
    assert {key: record[key] for key in fields} == fields


def test_other_values_are_text() -> None:
    (event,) = events_of(
        lambda log: log.info("x", a=b"x", b=[1], c=float("nan"), d=2**63, e=float("inf"))
    )
    record = json.loads(json_format(event))
    assert [record[key] for key in "abcde"] == ["b'x'", "[1]", "nan", str(2**63), "inf"]


def test_field_with_a_taken_name_gets_an_underscore() -> None:
    (event,) = events_of(lambda log: log.info("x", time_=3, time=50, message="y", traceback="z"))
    record = json.loads(json_format(event))
    assert record["message"] == "x"
    assert (record["message_"], record["traceback_"]) == ("y", "z")
    assert sorted(record[key] for key in record if key.startswith("time_")) == [3, 50]


def test_time_is_utc() -> None:
    event = {"log_time": 1795348800.0625, "log_namespace": "services.x"}
    assert json.loads(json_format(event))["time"] == "2026-11-22T12:00:00.062Z"
    assert text_format(event) == "2026-11-22T12:00:00Z [broker] \n"


@pytest.mark.parametrize("size", [FIELD_LIMIT, FIELD_LIMIT + 1, 2**20])
def test_long_text_is_cut_with_a_mark(size: int) -> None:
    (event,) = events_of(lambda log: log.info("{x}", x="a" * size, y=["b" * size]))
    record = json.loads(json_format(event))
    surplus = size - FIELD_LIMIT
    mark = f"... ({surplus} more characters)" if surplus else ""
    assert record["x"] == record["message"] == "a" * FIELD_LIMIT + mark
    assert len(record["y"]) < FIELD_LIMIT + 100
    assert len(text_format(event)) < FIELD_LIMIT + 100


def test_traceback_of_a_group_shows_each_of_its_errors() -> None:
    errors: list[Any] = [failure(text).value for text in ("first", "second", "third")]
    first, second, third = errors
    group = ExceptionGroup("several", [first, ExceptionGroup("more", [second, third])])
    event = {"log_format": "it failed", "log_failure": Failure(group)}
    for text in (json.loads(json_format(event))["traceback"], text_format(event)):
        assert re.findall(r"several|more|first|second|third", text) == [
            "several",
            "first",
            "more",
            "second",
            "third",
        ]
        assert text.count("raise kind(text)") == 3


def test_long_traceback_keeps_its_end() -> None:
    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
        raise ValueError("the bottom")

    def say(log: Logger) -> None:
        try:
            descend(300)
        except ValueError:
            log.failure("it failed")

    (event,) = events_of(say)
    traceback = json.loads(json_format(event))["traceback"]
    assert traceback.endswith("the bottom")
    assert len(traceback) < FIELD_LIMIT + 100


@pytest.mark.parametrize(
    ("namespace", "level", "label"),
    [
        ("services.broker.service", LogLevel.info, "[broker]"),
        ("brokerproto.protocol.BrokerFactory", LogLevel.warn, "[broker#warn]"),
        ("transports.tcp", LogLevel.error, "[broker#error]"),
        ("twisted.internet.tcp", LogLevel.critical, "[twisted.internet.tcp#critical]"),
        ("stdout", LogLevel.info, "[stdout]"),
        ("bad\n]", LogLevel.info, r"[bad\n]]"),
    ],
)
def test_label_names_the_program_or_the_package(namespace: str, level: Any, label: str) -> None:
    event = {"log_namespace": namespace, "log_level": level, "log_format": "x"}
    assert text_format(event).partition(" ")[2] == f"{label} x\n"


def test_colour_marks_every_level_but_info() -> None:
    coloured = TextFormat("broker", coloured=True)
    for level in LogLevel.iterconstants():
        event = {"log_namespace": "services.x", "log_level": level, "log_format": "\x1b[0m"}
        expected = 0 if level is LogLevel.info else 2
        assert coloured(event).count("\x1b") == expected


def test_old_style_error_says_its_traceback_once(logged_failures: list[Failure]) -> None:
    events = Seen()
    globalLogPublisher.addObserver(events)
    old_log.err(failure("the reason"), "why\nindeed")
    globalLogPublisher.removeObserver(events)
    logged_failures.clear()
    text = text_format(events[0])
    assert text.count("Traceback") == 1
    assert r"[log_legacy#critical] why\nindeed" in text
    record = json.loads(json_format(events[0]))
    assert list(record) == ["time", "level", "namespace", "message", "traceback"]
    assert record["message"] == "why\nindeed"


def passes(**event: Any) -> bool:
    seen = Seen()
    FilteringLogObserver(seen, [without_library_chatter])({"log_format": "x", **event})
    return bool(seen)


@pytest.mark.parametrize(
    "event",
    [
        {"log_namespace": "twisted.internet.base", "log_level": LogLevel.info},
        {"log_namespace": "twisted.web.http.HTTPChannel", "log_level": LogLevel.info},
        {"log_namespace": "log_legacy", "log_level": LogLevel.info},
        {"log_namespace": "klein.app", "log_level": LogLevel.info},
        {"log_namespace": "services.broker", "log_level": LogLevel.debug},
        {
            "log_namespace": "brokerproto.protocol.BrokerFactory",
            "log_level": LogLevel.info,
            "log_format": "Starting factory {factory!r}",
        },
    ],
)
def test_chatter_is_kept_out(event: dict[str, Any]) -> None:
    assert not passes(**event)


@pytest.mark.parametrize("level", [LogLevel.warn, LogLevel.error, LogLevel.critical])
@pytest.mark.parametrize("namespace", ["twisted.internet.tcp", "log_legacy", "klein", "services.x"])
def test_warnings_and_errors_always_pass(namespace: str, level: Any) -> None:
    assert passes(log_namespace=namespace, log_level=level)


@pytest.mark.parametrize("namespace", ["services.x", "stdout", "somebody.transport", "twistedish"])
def test_information_of_programs_passes(namespace: str) -> None:
    assert passes(log_namespace=namespace, log_level=LogLevel.info)


def test_twisted_still_says_what_the_filter_expects() -> None:
    from twisted.internet.protocol import Factory

    events = Seen()
    globalLogPublisher.addObserver(events)
    factory = Factory()
    factory.doStart()
    factory.doStop()
    globalLogPublisher.removeObserver(events)
    assert len(events) == 2
    for event in events:
        assert not passes(**{**event, "log_namespace": "services.x"})


@pytest.mark.fault("C024")
def test_publisher_never_disables_the_observer() -> None:
    lines: list[str] = []
    publisher = LogPublisher(LogWriter(json_format, lines.append))
    log = Logger("services.x", observer=publisher)
    for data in ("{0.__class__}", "{", "%s"):
        log.info(data)
        log.info("{x}", x=data)
    assert len(lines) == 6
