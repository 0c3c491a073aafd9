"""What can be fuzzed: the targets by name, and their kept corpora."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from attrs import frozen

__all__ = ["CORPUS", "TARGETS", "WORDS", "Check", "Target"]

CORPUS = Path(__file__).with_name("corpus")
"""Where the kept inputs are, in a folder for each target."""

WORDS = Path(__file__).with_name("words.dict")
"""What a fuzzer may put in anywhere, in the form that libFuzzer reads."""

Check = Callable[[bytes], None]
"""Raises where something does not hold; any exception is a finding."""


@frozen
class Target:
    """What is fuzzed.

    Attributes:
        module: Where its `check` is.
        about: What it is, for people.
        watched: Packages whose branches lead the fuzzer.
        longest: Most bytes of one input.
        smoke: Inputs that take about ten seconds.
    """

    module: str
    about: str
    watched: tuple[str, ...] = ("brokerproto",)
    longest: int = 2048
    smoke: int = 5_000

    def load(self) -> Check:
        """Import the target."""
        check: Check = import_module(self.module).check
        return check


TARGETS: Mapping[str, Target] = {
    "wire": Target("fuzz.wire", "frames, beginnings of frames, and framing"),
    "broker-session": Target("fuzz.broker_session", "what an engine says to one session"),
    "engine-session": Target("fuzz.engine_session", "what a broker says to one session"),
    "broker": Target(
        "fuzz.broker", "a broker, honest engines and strangers", longest=600, smoke=600
    ),
    "uri": Target(
        "fuzz.uri",
        "the parser of addresses",
        ("transports", "brokerproto.errors"),
        longest=512,
        smoke=50_000,
    ),
    "parameters": Target(
        "fuzz.parameters",
        "queries and headers of the control API",
        ("services.broker.control", "services.program.values"),
        longest=512,
        smoke=50_000,
    ),
}
