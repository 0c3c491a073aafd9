from __future__ import annotations

import resource

import pytest

from services.program import open_files
from services.program.open_files import raise_open_files

UNLIMITED = resource.RLIM_INFINITY


class FakeSystem:
    """The limits of a process, and the highest soft one that is accepted."""

    RLIMIT_NOFILE = resource.RLIMIT_NOFILE
    RLIM_INFINITY = UNLIMITED

    def __init__(self, soft: int, hard: int, accepted: int) -> None:
        self.limits = soft, hard
        self.accepted = accepted

    def getrlimit(self, _which: int) -> tuple[int, int]:
        return self.limits

    def setrlimit(self, _which: int, limits: tuple[int, int]) -> None:
        soft = limits[0]
        if self.accepted != UNLIMITED and (soft == UNLIMITED or soft > self.accepted):
            raise ValueError("current limit exceeds maximum limit")
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "accepted", "now"),
    [
        (1024, 4096, 4096, 4096),
        (4096, 4096, 4096, 4096),
        (1024, UNLIMITED, UNLIMITED, -1),
        (256, UNLIMITED, 10_240, 10_240),
        (256, UNLIMITED, 256, 256),
        (12_000, UNLIMITED, 10_240, 12_000),
        (256, 512, 256, 256),
        (UNLIMITED, UNLIMITED, UNLIMITED, -1),
    ],
)
def test_soft_limit_is_raised_as_far_as_the_system_lets(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, accepted: int, now: int
) -> None:
    system = FakeSystem(soft, hard, accepted)
    monkeypatch.setattr(open_files, "resource", system)
    before = -1 if soft == UNLIMITED else soft
    assert raise_open_files() == (before, now)
    assert system.limits == (UNLIMITED if now == -1 else now, hard)


def test_this_system_raises_the_limit_to_the_hard_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = soft // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        before, now = raise_open_files()
        assert before == lower
        assert now == -1 if hard == UNLIMITED else lower < now <= hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
