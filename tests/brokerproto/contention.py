"""Two who want one id: what they say, and what is read from the answers."""

from __future__ import annotations

from tests.brokerproto.broker_bench import Bench, Caller

LIFE = ":v=1;instance=a1;ack=1"
OTHER = ":v=1;instance=b2;ack=1"
REFUSED = "FAILED:409:DUPLICATE_ID:{}:this id is registered"
SUPERSEDED = "FAILED:410:SUPERSEDED:never:a newer connection took this id over"


def hello(options: str = OTHER, seq: int = 0, engine_id: str = "a") -> str:
    return f"NewEngine:{engine_id}:{seq}{options}"


def token_in(success: str) -> str:
    """Read the token of a SUCCESS."""
    options = dict(pair.split("=") for pair in success.split(":")[2].split(";"))
    return options["resume"]


def lives(bench: Bench, options: str = LIFE) -> tuple[Caller, str]:
    """Register an engine with an instance, and return its token too."""
    caller = bench.calls("old")
    (success,) = caller.says(hello(options))
    return caller, token_in(success)


def epoch_in(answers: list[str]) -> int:
    """Read the epoch of the only answer, a SUCCESS."""
    (success,) = answers
    assert success.startswith("SUCCESS:Registered:v=1;epoch=")
    return int(success.split(";")[1].removeprefix("epoch="))


def account_of(bench: Bench) -> tuple[int, int, int, int]:
    """Give what is counted, missed, repeated, and how often the id was registered."""
    member = bench.broker.fleet.get("a")
    assert member is not None
    totals = member.account.totals
    return totals.counted, totals.missed, totals.repeated, member.epoch
