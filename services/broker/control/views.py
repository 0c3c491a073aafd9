"""A broker's records as the control API shows them, and what their members mean.

Beside each view stands its schema. Times are seconds, but latencies and round trips
milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict

from brokerproto.broker import Broker
from brokerproto.fleet import End, Manner, Member
from services.broker.control.command_view import (
    COMMAND,
    LATENCY,
    NAMED,
    NAMED_IN_LIST,
    VALUE_NAMES,
    command_view,
)
from services.broker.control.process_view import PROCESS, process_view
from services.broker.control.schemas import (
    Schema,
    array,
    count,
    counts,
    flag,
    nullable,
    number,
    record,
    ref,
    text,
    word,
)
from services.broker.control.wall_clock import WallClock
from services.program.health import Figures

__all__ = [
    "NAMED",
    "NAMED_IN_LIST",
    "STATES",
    "VALUE_NAMES",
    "VIEWS",
    "command_view",
    "end_view",
    "engine_view",
    "state_of",
    "stats_view",
]

STATES = ("alive", "late")
"""What a registered engine can be."""


def state_of(member: Member, broker: Broker) -> str:
    """Say whether a registered engine is late."""
    return "late" if member.session in broker.detector.late else "alive"


def engine_view(member: Member, broker: Broker) -> dict[str, Any]:
    """Show a registered engine; its account closes: last - first = counted + missed."""
    session, account = member.session, member.account
    assert session is not None
    assert session.terms is not None
    rtt_us = session.rtt_us
    return {
        "id": member.engine_id,
        "epoch": member.epoch,
        "state": state_of(member, broker),
        # A plain engine at work is excused, and dated ahead.
        "age": round(max(0.0, broker.now - session.seen), 3),
        "address": member.origin.address,
        "transport": member.origin.transport,
        "labels": dict(member.labels),
        "plain": session.terms.plain,
        "busy": session.busy,
        "rtt": None if rtt_us is None else rtt_us / 1000,
        "interval": session.terms.interval,
        "account": {
            "first": account.first,
            "last": account.last,
            "counted": account.counted,
            "missed": account.missed,
            "repeated": account.repeated,
            "joined": account.joined,
        },
    }


_ID = text("Its id.", "engine-2")
_EPOCH = count("How many times this id was registered.", 1, least=1)
_ADDRESS = text("Where it connects from.", "127.0.0.1:51922")
_TRANSPORT = text("The address on which the broker listens for it.", "tcp://127.0.0.1:1337")
_LABELS = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "What it says of itself.",
    "examples": [{"node": "aks-1"}],
}
_NUMBERS = {
    "counted": count("Heartbeats counted, each number once.", 9),
    "missed": count("Numbers that never came.", 0),
    "repeated": count("Heartbeats whose number had been counted.", 0),
}

_ENGINE = record(
    "A registered engine.",
    {
        "id": _ID,
        "epoch": _EPOCH,
        "state": word("Whether it is heard in time.", STATES),
        "age": number("Seconds since its last sign of life.", 6.999),
        "address": _ADDRESS,
        "transport": _TRANSPORT,
        "labels": _LABELS,
        "plain": flag("Whether its hello had no options."),
        "busy": nullable(text("The command whose work runs.", "2ace9095-1")),
        "rtt": nullable(number("Milliseconds from a heartbeat to its ACK.", 0.595)),
        "interval": count("Seconds between its heartbeats.", 10, least=1),
        "account": record(
            "Of its present life: last - first = counted + missed.",
            {
                "first": count("The number it had when the broker met it.", 0),
                "last": count("The highest number settled.", 9),
                **_NUMBERS,
                "joined": flag("Whether it had begun to beat before the broker met it."),
            },
        ),
    },
)


def end_view(end: End, clock: WallClock) -> dict[str, Any]:
    """Show how a registration ended."""
    return {
        "number": end.number,
        "id": end.engine_id,
        "epoch": end.epoch,
        "ended": clock.date(end.ended_at),
        "duration": round(end.duration, 3),
        "manner": end.manner.value,
        "cause": end.cause,
        "address": end.origin.address,
        "transport": end.origin.transport,
        "labels": dict(end.labels),
        "account": {
            "counted": end.totals.counted,
            "missed": end.totals.missed,
            "repeated": end.totals.repeated,
        },
    }


_END = record(
    "An engine that left, or was lost.",
    {
        "number": count("Which end of all since the broker's start.", 1, least=1),
        "id": _ID,
        "epoch": _EPOCH,
        "ended": text("When, in UTC.", "2026-11-22T13:17:20.123Z", format="date-time"),
        "duration": number("Seconds for which it was registered.", 12.5),
        "manner": word("Whether it left on purpose.", [manner.value for manner in Manner]),
        "cause": text(
            "The reason that it gave; or closed, reset, timeout, or a code of the protocol.",
            "killed",
        ),
        "address": _ADDRESS,
        "transport": _TRANSPORT,
        "labels": _LABELS,
        "account": record("Of its life, up to this end.", _NUMBERS),
    },
)


def stats_view(
    broker: Broker,
    started: float,
    clock: WallClock,
    refused: Mapping[int, int],
    figures: Figures,
) -> dict[str, Any]:
    """Show what a broker has counted since `started`, its own monotonic seconds.

    Args:
        broker: The broker.
        started: See above.
        clock: Dates what happened.
        refused: What the control API refused, by status.
        figures: How the process runs.
    """
    counted = asdict(broker.stats())
    counted["lost_time"] = round(counted["lost_time"], 3)
    limits, since = broker.limits, counted["brake_since"]
    return {
        "boot": broker.boot,
        "uptime": round(broker.seconds() - started, 3),
        "interval": limits.interval,
        "timeout": limits.timeout_of(limits.interval),
        **counted,
        "brake_since": None if since is None else clock.date(since),
        "rejected": _by_code(counted["rejected"]),
        "control_rejected": _by_code(refused),
        "process": process_view(figures),
    }


def _by_code(counted: Mapping[int, int]) -> dict[str, int]:
    return {str(code): n for code, n in sorted(counted.items())}


_STATS = record(
    "What the broker has counted: opened = closed + connections, "
    "registrations = registered + left + lost.",
    {
        "boot": text("The name of the broker's start.", "2ace9095"),
        "uptime": number("Seconds since then.", 91.718),
        "interval": count("Seconds between heartbeats.", 10, least=1),
        "timeout": number("Seconds of silence until an engine is lost.", 40),
        "draining": flag("Whether it has sent its engines away.", False),
        "connections": count("Open connections.", 3),
        "unregistered": count("Those of them that never registered.", 0),
        "registered": count("Registered engines.", 3),
        "late": count("Registered engines that are late.", 0),
        "brake": flag("Whether so many are late that the broker suspects itself."),
        "brake_since": nullable(
            text(
                "Since when the brake is on, in UTC; null while it is off.",
                "2026-11-22T13:17:20.123Z",
                format="date-time",
            )
        ),
        "brakes": count("How many times the brake went on.", 0),
        "evicted": count("Engines lost whose loss the brake had put off.", 0),
        "opened": count("Connections ever accepted.", 4),
        "closed": count("Connections gone.", 1),
        "registrations": count("Registrations ever granted.", 4),
        "takeovers": counts(
            "Registrations that took an id over, by why: resumed, late, silent.", {"resumed": 1}
        ),
        "probes": count("Holders of an id that were asked whether they are there.", 0),
        "heartbeats": count("Heartbeats counted, each number once.", 27),
        "missed": count("Numbers that never came.", 0),
        "gaps": count("How many times numbers were missing.", 0),
        "repeated": count("Heartbeats whose number had been counted.", 0),
        "left": count("Registrations that ended on purpose.", 1),
        "lost": count("Registrations that ended otherwise.", 0),
        "causes": counts("Ends by manner and cause.", {"left:killed": 1}),
        "rejected": counts("Refusals by the protocol's code.", {"408": 1}),
        "wrong_protocol": counts("Peers that spoke another protocol, by its name.", {"http": 1}),
        "unknown_verbs": count("Frames of registered engines with a verb that is none.", 0),
        "stale": count("Frames that came after an end.", 0),
        "reports": count("Reports taken.", 16),
        "strange_reports": count("Reports that fitted no command.", 0),
        "reads_paused": count("How many times an engine sent too fast to be read on.", 0),
        "unread": count("Bytes that wait because engines do not read.", 0),
        "accepts_paused": count("How many times connections were left waiting.", 0),
        "short_of_memory": flag("Whether newcomers are refused for want of memory."),
        "lost_time": number("Seconds in which the broker did not run.", 0.0),
        "control_rejected": counts("Requests of this API refused, by HTTP status.", {"404": 1}),
        "process": PROCESS,
    },
)


def _list_of(name: str, items: str, description: str) -> Schema:
    """Describe a list that comes in pages."""
    return record(
        description,
        {
            "total": count("How many there are on all pages.", 1),
            "next": nullable(
                text("Path and query of the next page; null on the last one.", f"/{name}?after=x")
            ),
            name: array(ref(items), "This page."),
        },
    )


VIEWS: dict[str, Schema] = {
    "Latency": LATENCY,
    "Command": COMMAND,
    "Commands": record(
        "The commands that are kept, the last one first.",
        {
            "total": count("How many are kept.", 1),
            "commands": array(ref("Command"), "As many as asked for."),
        },
    ),
    "Engine": _ENGINE,
    "Engines": _list_of("engines", "Engine", "Registered engines."),
    "End": _END,
    "History": _list_of("history", "End", "Engines that left or were lost, the last one first."),
    "Stats": _STATS,
    "Status": record("How the broker is.", {"status": word("In a word.", ("ok", "ready"))}),
    "Index": record(
        "What there is.",
        {
            "openapi": text("Where the description of it all is.", "/openapi.json"),
            "paths": array(
                record(
                    "A path.",
                    {
                        "path": text("It; parts in braces are to be filled in.", "/healthz"),
                        "summary": text("What it is for.", "Tell that the process answers."),
                    },
                ),
                "All paths.",
            ),
        },
    ),
    "OpenAPI": {
        "type": "object",
        "description": "A document of OpenAPI 3.1.",
        "required": ["openapi", "info", "paths", "components"],
        "properties": {
            "openapi": {"type": "string", "pattern": "^3[.]1[.]"},
            **{name: {"type": "object"} for name in ("info", "paths", "components")},
        },
        "examples": [{"openapi": "3.1.1", "info": {}, "paths": {}, "components": {}}],
    },
}
"""The schemas of all answers but errors, by name."""
