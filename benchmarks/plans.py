"""Which phases a contender goes through, at which number of engines."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from benchmarks.contenders import Contender
from benchmarks.fleet import Session
from benchmarks.phases import parse_phases

__all__ = ["FULL", "SMOKE", "Plan", "sizes_up_to"]

_SIZES = (1_000, 5_000)
_BEATS_IN_BATCHES = 90_000


@frozen
class Plan:
    """The phases of a run. In each ``{rounds}`` stands for as many as make a batch measurable.

    Attributes:
        young: Of engines that begin at 0.
        aged: Of engines whose numbers are large, from their registration on.
        mixed: What follows for full contenders, at the largest number of engines.
        scaled: All that is done with fewer engines, aged too.
        end: What follows everything.
    """

    young: str
    aged: str
    mixed: str
    scaled: str
    end: str

    def sessions(
        self, contender: Contender, engines: int, *, is_largest: bool
    ) -> Iterator[Session]:
        """Give what one round has for a contender."""
        if not is_largest:
            yield self._session(contender, engines, "aged", self.scaled, self.end)
            return
        yield self._session(contender, engines, "young", self.young)
        mixed = self.mixed if contender.is_full else ""
        yield self._session(contender, engines, "aged", self.aged, mixed, self.end)

    @staticmethod
    def _session(contender: Contender, engines: int, age: str, *texts: str) -> Session:
        rounds = max(2, min(30, _BEATS_IN_BATCHES // engines))
        text = ",".join(filter(None, texts)).format(rounds=rounds)
        return Session(contender, engines, age, parse_phases(text))


FULL = Plan(
    young="reg:herd,stop:1,memory,close",
    aged="reg:herd,hb:20000:2,hb:1500:3,stop:{rounds},memory",
    mixed="mix:6,hb:20000:2,hb:1500:3,stop:{rounds},mix:0,lad:30000:1.06:0.5",
    scaled="reg:herd,hb:20000:2,stop:{rounds},memory",
    end="fan,close",
)
"""What ``make bench`` does."""

SMOKE = Plan(
    young="reg:herd,stop:1,memory,close",
    aged="reg:64,hb:1000:0.3,stop:2,memory",
    mixed="mix:6,hb:2000:0.3,stop:2,mix:0,lad:1000:2:0.1,idle:0.1",
    scaled="reg:herd,hb:1000:0.2,stop:2,memory",
    end="fan,close",
)
"""Every phase once, for correctness."""


def sizes_up_to(engines: int) -> list[int]:
    """Give the numbers of engines that costs are shown against."""
    return [*(size for size in _SIZES if size < engines), engines]
