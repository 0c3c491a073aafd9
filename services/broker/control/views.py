"""A broker's records as the control API shows them.

Times are seconds, but latencies and round trips milliseconds.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from attrs import asdict

from brokerproto.broker import Broker
from brokerproto.commands import Command, Latency, Step, Verb
from brokerproto.fleet import Member

__all__ = ["NAMED", "VALUE_NAMES", "command_view", "engine_view", "stats_view"]

NAMED = 1000
"""How many engines a command's record names, of each kind."""

VALUE_NAMES: dict[Verb, str] = {"DOWORK": "time", "KILL": "code"}
"""What a command's number is called, in the query and in the answer."""

_MEASURED = tuple(step for step in Step if step is not Step.QUEUED)


def command_view(command: Command) -> dict[str, Any]:
    """Show a command: ``targets`` is the sum of ``states``."""
    failed = [
        {"engine": engine_id, "error": entry.error}
        for engine_id, entry in command.entries.items()
        if entry.step is Step.FAILED
    ]
    return {
        "command": command.command,
        "verb": command.verb,
        VALUE_NAMES[command.verb]: command.value,
        "targets": len(command.entries),
        "settled": command.is_settled,
        "states": {step.value: command.states[step] for step in Step},
        "latencies": {step.value: _latency_view(command.latency(step)) for step in _MEASURED},
        "silent": list(islice(command.silent, NAMED)),
        "silent_total": command.states[Step.QUEUED] + command.states[Step.WRITTEN],
        "failed": failed[:NAMED],
        "failed_total": len(failed),
    }


def engine_view(member: Member, broker: Broker) -> dict[str, Any]:
    """Show a registered engine; its account closes: last - first = counted + missed."""
    session, account = member.session, member.account
    assert session is not None
    assert session.terms is not None
    rtt_us = session.rtt_us
    return {
        "id": member.engine_id,
        "epoch": member.epoch,
        "state": "late" if session in broker.detector.late else "alive",
        # A plain engine at work is excused, and dated ahead.
        "age": round(max(0.0, broker.now - session.seen), 3),
        "address": member.origin.address,
        "transport": member.origin.transport,
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


def stats_view(broker: Broker, started: float) -> dict[str, Any]:
    """Show what a broker has counted since `started`, its own monotonic seconds."""
    counts = asdict(broker.stats())
    counts["lost_time"] = round(counts["lost_time"], 3)
    limits = broker.limits
    return {
        **counts,
        "rejected": {str(code): n for code, n in sorted(counts["rejected"].items())},
        "uptime": round(broker.seconds() - started, 3),
        "boot": broker.boot,
        "interval": limits.interval,
        "timeout": limits.timeout_of(limits.interval),
    }


def _latency_view(latency: Latency | None) -> dict[str, float] | None:
    if latency is None:
        return None
    return {
        "n": latency.n,
        **{
            name: round(getattr(latency, name) * 1000, 3)
            for name in ("min", "p50", "p90", "p99", "max")
        },
    }
