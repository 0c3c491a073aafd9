"""How the broker's process runs, as the control API shows it, and what its members mean."""

from __future__ import annotations

from typing import Any

from services.broker.control.schemas import Schema, count, flag, nullable, number, record
from services.program.health import Figures

__all__ = ["PROCESS", "process_view"]


def process_view(figures: Figures) -> dict[str, Any]:
    """Show how a process runs."""
    return {
        "degraded": figures.degraded,
        "held_up": figures.held_up,
        "held_up_for": round(figures.held_up_for, 3),
        "lag": {
            "p99": _ms(figures.lag_p99),
            "max_10s": _ms(figures.lag_recent),
            "max": _ms(figures.lag_minute),
        },
        "garbage": {
            "collections": figures.collections,
            "total": _ms(figures.collecting),
            "longest": _ms(figures.longest_collection),
        },
        "cpu": {
            "used": round(figures.ran, 3),
            "waited": None if figures.waited is None else round(figures.waited, 3),
            "throttled": None if figures.throttled is None else round(figures.throttled, 3),
        },
        "log": {"left_out": figures.log_left_out, "lost": figures.log_lost},
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


PROCESS: Schema = record(
    "How the broker's process runs.",
    {
        "degraded": flag(
            "Whether in the last minute it was held up for 1 s at once, or throttled for 6 s."
        ),
        "held_up": count("How many times nothing was done for 1 s or more.", 0),
        "held_up_for": number("Seconds of these times.", 0.0),
        "lag": record(
            "How late timed calls came in the last minute, in milliseconds.",
            {
                "p99": number("What 99 % of them did not exceed.", 1.284),
                "max_10s": number("The longest of the last 10 s.", 0.962),
                "max": number("The longest.", 4.117),
            },
        ),
        "garbage": record(
            "The pauses in which Python collected garbage, in milliseconds.",
            {
                "collections": count("How many there were.", 27),
                "total": number("How long they were in all.", 12.031),
                "longest": number("The longest.", 3.208),
            },
        ),
        "cpu": record(
            "What the process got of the CPUs, in seconds.",
            {
                "used": number("CPU time.", 0.518),
                "waited": nullable(
                    number("Time in which its main thread could have run, and had no CPU.", 0.006)
                ),
                "throttled": nullable(
                    number("Time in which a limit of CPU time kept it from running.", 0.0)
                ),
            },
        ),
        "log": record(
            "Lines that its log does not have.",
            {
                "left_out": count("Lines left out because there were too many of their kind.", 0),
                "lost": count("Lines that could not be written.", 0),
            },
        ),
    },
)
