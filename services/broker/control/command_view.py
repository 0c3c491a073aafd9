"""A command as the control API shows it, and what its members mean."""

from __future__ import annotations

from itertools import islice
from typing import Any

from brokerproto.commands import Command, Latency, Step, Verb
from services.broker.control.schemas import (
    Schema,
    array,
    count,
    flag,
    nullable,
    number,
    record,
    ref,
    text,
    word,
)
from services.broker.control.wall_clock import WallClock

__all__ = ["COMMAND", "LATENCY", "NAMED", "NAMED_IN_LIST", "VALUE_NAMES", "command_view"]

NAMED = 1000
"""How many engines a command's record names, of each kind."""

NAMED_IN_LIST = 100
"""How many it names where it is one of a list."""

VALUE_NAMES: dict[Verb, str] = {"DOWORK": "time", "KILL": "code"}
"""What a command's number is called, in the query and in the answer."""

_MEASURED = tuple(step for step in Step if step is not Step.QUEUED)
_RANKS = ("min", "p50", "p90", "p99", "max")


def command_view(command: Command, clock: WallClock, named: int = NAMED) -> dict[str, Any]:
    """Show a command: ``targets`` is the sum of ``states``."""
    return {
        "command": command.command,
        "verb": command.verb,
        VALUE_NAMES[command.verb]: command.value,
        "issued": clock.date(command.issued_at),
        "targets": len(command.entries),
        "settled": command.is_settled,
        "states": {step.value: command.states[step] for step in Step},
        "latencies": {step.value: _latency_view(command.latency(step)) for step in _MEASURED},
        "silent": list(islice(command.silent, named)),
        "silent_total": command.states[Step.QUEUED] + command.states[Step.WRITTEN],
        "failed": [
            {"engine": engine_id, "error": entry.error}
            for engine_id, entry in islice(command.standing(Step.FAILED), named)
        ],
        "failed_total": command.states[Step.FAILED],
    }


def _latency_view(latency: Latency | None) -> dict[str, float] | None:
    if latency is None:
        return None
    ranks = {name: round(getattr(latency, name) * 1000, 3) for name in _RANKS}
    return {"n": latency.n, **ranks}


LATENCY: Schema = record(
    "How long the targets took to reach a step, in milliseconds, by nearest rank.",
    {
        "n": count("How many reached it.", 3, least=1),
        **{name: number(f"Milliseconds: {name}.", 10.401) for name in _RANKS},
    },
)

COMMAND: Schema = {
    **record(
        "A command, and what became of it.",
        {
            "command": text("Its id; up to the hyphen the broker's start.", "2ace9095-1"),
            "verb": word("What was ordered.", VALUE_NAMES),
            "time": count("Milliseconds of work; only of a DOWORK.", 10),
            "code": count("Exit status; only of a KILL.", 3),
            "issued": text(
                "When it was ordered, in UTC.", "2026-11-22T13:17:20.123Z", format="date-time"
            ),
            "targets": count("How many engines it was meant for.", 3),
            "settled": flag("Whether all targets are done, failed or lost.", True),
            "states": record(
                "How many targets stand at each step now.",
                {
                    step.value: count(f"Targets that are {step.value}.", 3 * (step is Step.DONE))
                    for step in Step
                },
            ),
            "latencies": record(
                "For each step how long it took from the command to it; null where nobody did.",
                {
                    step.value: {
                        **nullable(ref("Latency")),
                        **({"examples": [None]} if step in (Step.FAILED, Step.LOST) else {}),
                    }
                    for step in _MEASURED
                },
            ),
            "silent": array(
                text("An engine's id.", "engine-1"),
                f"Targets that have said nothing, the first {NAMED}; "
                f"the first {NAMED_IN_LIST} in a list of commands.",
                maxItems=NAMED,
                examples=[[]],
            ),
            "silent_total": count("How many have said nothing.", 0),
            "failed": array(
                record(
                    "A target that failed.",
                    {
                        "engine": text("Its id.", "engine-1"),
                        "error": nullable(text("Why, if it said so.", "queue-full")),
                    },
                ),
                f"Targets that failed, the first {NAMED}; "
                f"the first {NAMED_IN_LIST} in a list of commands.",
                maxItems=NAMED,
                examples=[[]],
            ),
            "failed_total": count("How many have failed.", 0),
        },
        optional=VALUE_NAMES.values(),
    ),
    "oneOf": [{"required": [name]} for name in VALUE_NAMES.values()],
}
