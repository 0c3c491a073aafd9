"""How an event is written: one line of text, or one JSON object.

Whatever an event holds, each of these gives a whole line and never raises.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import frozen
from twisted.logger import ILogFilterPredicate, LogEvent, LogLevel, PredicateResult, formatEvent
from twisted.python.failure import Failure
from twisted.python.reflect import safe_repr, safe_str
from zope.interface import implementer

from .counted import Counted
from .escaping import escaped

FIELD_LIMIT = 8192
"""Characters of one field that a line shows; a mark says what was cut."""

STACK = "log_stack"
"""A field with where a thread is, as text; it is shown as a traceback is."""

EventFormat = Callable[[LogEvent], str]
"""Gives an event's line, or lines, the last line end included."""

_OURS = frozenset({"brokerproto", "services", "transports"})
_LIBRARIES = frozenset({"klein", "log_legacy", "twisted"})
_FACTORY_NOISE = frozenset({"Starting factory {factory!r}", "Stopping factory {factory!r}"})
# What twisted.python.log puts into an event for its own observers.
_OLD_STYLE = frozenset({"failure", "format", "isError", "message", "system", "time", "why"})
_INTEGER_LIMIT = 2**63
_COLOURS = {
    LogLevel.debug: "\x1b[2m",
    LogLevel.warn: "\x1b[33m",
    LogLevel.error: "\x1b[31m",
    LogLevel.critical: "\x1b[1;31m",
}


@implementer(ILogFilterPredicate)
def without_library_chatter(event: LogEvent) -> Any:
    """Keep what libraries say of themselves out, but no warning or error.

    Twisted, and whoever logs the old way, report each port, factory and idle
    client at the level of information. A program's user has no use for that.
    """
    if (level := level_of(event)) > LogLevel.info:
        return PredicateResult.maybe
    if level < LogLevel.info or event.get("log_format") in _FACTORY_NOISE:
        return PredicateResult.no
    return PredicateResult.no if _top(event) in _LIBRARIES else PredicateResult.maybe


@frozen
class TextFormat:
    """``2026-11-22T12:00:00Z [broker] message``, and a traceback indented below.

    Levels other than info follow the name: ``[broker#warn]``. Events of other
    packages carry their namespace instead of the program's name.

    Args:
        program: What the project's own events are labelled with.
        coloured: Whether levels other than info have a colour.
    """

    program: str
    coloured: bool = False

    def __call__(self, event: LogEvent) -> str:
        """Give the event's line, and those of its traceback."""
        level = level_of(event)
        label = self.program if _top(event) in _OURS else escaped(namespace_of(event))
        if level is not LogLevel.info:
            label = f"{label}#{level.name}"
        label = f"[{label}]"
        if self.coloured and level in _COLOURS:
            label = f"{_COLOURS[level]}{label}\x1b[0m"
        when = _time(event).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines = [f"{when} {label} {escaped(_cut(_message(event)))}"]
        if (traceback := _traceback(event)) is not None:
            lines += [f"    {escaped(line)}" for line in traceback.split("\n")]
        return "\n".join(lines) + "\n"


def json_format(event: LogEvent) -> str:
    """Give the event as one JSON object on a line, in plain ASCII.

    ``time`` (RFC 3339, UTC, ms), ``level``, ``namespace`` and ``message``
    come first, then the event's own fields, then ``traceback`` if it has a
    failure or a stack. A field of one of these five names gets an underscore appended.
    None, booleans, finite floats and integers of 64 bits stay what they are;
    everything else is text.
    """
    record: dict[str, Any] = {
        "time": _time(event).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level_of(event).name,
        "namespace": _text(namespace_of(event)),
        "message": _text(_message(event)),
    }
    traceback = _traceback(event)
    taken = {*record, "traceback"}
    old_style = _OLD_STYLE if _is_old_style(event) else frozenset()
    for key, value in event.items():
        name = _text(key if isinstance(key, str) else safe_repr(key))
        if name.startswith("log_") or name in old_style:
            continue
        while name in taken:
            name += "_"
        taken.add(name)
        record[name] = _plain(value)
    if traceback is not None:
        record["traceback"] = _valid(traceback)
    return json.dumps(record) + "\n"


def _plain(value: object) -> object:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind in (int, Counted) and -_INTEGER_LIMIT <= value < _INTEGER_LIMIT:  # type: ignore[operator]
        return int(value)  # type: ignore[call-overload]
    if kind is float and math.isfinite(value):  # type: ignore[arg-type]
        return value
    return _text(value if isinstance(value, str) else safe_repr(value))


def _text(text: str) -> str:
    return _valid(_cut(text))


def _valid(text: str) -> str:
    # A lone surrogate is valid JSON for some readers and an error for others.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _cut(text: str) -> str:
    if len(text) <= FIELD_LIMIT:
        return text
    return f"{text[:FIELD_LIMIT]}... ({len(text) - FIELD_LIMIT} more characters)"


def _message(event: LogEvent) -> str:
    if _is_old_style(event) and failure_of(event) is not None:
        # The text of an old-style error repeats its traceback.
        return safe_str(event.get("why") or "unhandled error")
    return formatEvent(event)


def failure_of(event: LogEvent) -> Failure | None:
    """Give the failure that an event is about, however it was logged."""
    failure = event.get("failure" if _is_old_style(event) else "log_failure")
    return failure if isinstance(failure, Failure) else None


def _is_old_style(event: LogEvent) -> bool:
    return "log_text" in event


def _traceback(event: LogEvent) -> str | None:
    failure = failure_of(event)
    if failure is None:
        stack = event.get(STACK)
        if not isinstance(stack, str):
            return None
        text = stack.rstrip("\n")
    else:
        try:
            text = _text_of(failure)
        except Exception:
            text = safe_repr(failure)
    # The end of a traceback says what happened; its middle repeats itself.
    surplus = len(text) - FIELD_LIMIT
    return text if surplus <= 0 else f"({surplus} more characters) ...{text[surplus:]}"


def _text_of(failure: Failure) -> str:
    """Give a traceback, and those of all errors in a group: Twisted leaves them out."""
    text = failure.getTraceback().rstrip("\n")
    if isinstance(failure.value, BaseExceptionGroup):
        text = "\n".join((text, *(_text_of(Failure(each)) for each in failure.value.exceptions)))
    return text


def _time(event: LogEvent) -> datetime:
    try:
        return datetime.fromtimestamp(event["log_time"], UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(time.time(), UTC)


def level_of(event: LogEvent) -> Any:
    """Give an event's level; information where it has none."""
    level = event.get("log_level")
    return level if level in _LEVELS else LogLevel.info


def namespace_of(event: LogEvent) -> str:
    """Give the name of who logged an event."""
    namespace = event.get("log_namespace")
    return namespace if isinstance(namespace, str) else "-"


def _top(event: LogEvent) -> str:
    return namespace_of(event).partition(".")[0]


_LEVELS = tuple(LogLevel.iterconstants())
