"""Inputs changed at random, for where no fuzzer leads: tests, and real sockets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from attrs import field, frozen

from fuzz.targets import CORPUS, WORDS

__all__ = ["Mutator", "kept_inputs"]

_MOST_CHANGES = 4
_AWKWARD = (b"\0", b"\n", b"\r", b"\n\n", b"\xff", b"\x80", b"\x1b", b" ", b":", b";", b"=", b"-")
_WORD = re.compile(r'^"(.*)"$', re.MULTILINE)


def kept_inputs(target: str) -> list[bytes]:
    """Return the kept corpus of a target, in the order of its files' names."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def _words() -> list[bytes]:
    found = _WORD.findall(WORDS.read_text(encoding="ascii"))
    return [word.encode().decode("unicode_escape").encode("latin-1") for word in found]


@frozen
class Mutator:
    """Changes inputs in a few places.

    Args:
        random: Decides on everything.
        inputs: What to begin with, at least one.
    """

    random: Random
    inputs: Sequence[bytes]
    _words: list[bytes] = field(init=False, factory=_words)

    def mutated(self) -> bytes:
        """Change one of the inputs."""
        data = self.random.choice(self.inputs)
        for _ in range(self.random.randint(0, _MOST_CHANGES)):
            data = self._changed(data)
        return data

    def _changed(self, data: bytes) -> bytes:
        random = self.random
        here = random.randint(0, len(data))
        there = min(len(data), here + random.choice([0, 1, 1, 2, 8, 64]))
        before, piece, after = data[:here], data[here:there], data[there:]
        match random.randint(0, 5):
            case 0:
                return before + random.choice(self._words) + after
            case 1:
                return before + random.choice(_AWKWARD) + after
            case 2:
                return before + bytes([random.randint(0, 255)]) + after
            case 3:
                return before + after
            case 4:
                return before + piece * random.choice([2, 2, 3, 20]) + after
        other = random.choice(self.inputs)
        return before + other[random.randint(0, len(other)) :]
