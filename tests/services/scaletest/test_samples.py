"""Whether memory is flat is told from samples, not from an impression."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scaletest.samples import Sample, flatness, open_files, resident


def samples(count: int, memory: Callable[[int], float]) -> list[Sample]:
    """Make a sample each 30 s, with so much memory each."""
    return [Sample(30.0 * n, round(memory(n)), 10, 0, 0) for n in range(count)]


@given(count=st.integers(10, 100), bytes_held=st.integers(1, 2**40))
def test_memory_that_stays_is_flat(count: int, bytes_held: int) -> None:
    flat = flatness(samples(count, lambda _: bytes_held))
    assert flat.grown == 0
    assert abs(flat.slope) <= bytes_held * 1e-9


@given(st.integers(10, 100))
def test_what_is_taken_once_at_the_beginning_is_no_growth(count: int) -> None:
    flat = flatness(samples(count, lambda n: 50e6 if n >= count // 5 else 10e6))
    assert flat.grown == 0


@given(count=st.integers(30, 100), per_minute=st.integers(10_000, 10_000_000))
def test_a_leak_shows_in_the_slope_and_in_the_growth(count: int, per_minute: int) -> None:
    flat = flatness(samples(count, lambda n: 50e6 + per_minute * n / 2))
    assert flat.slope == pytest.approx(per_minute, rel=0.01)
    assert flat.grown > 0


@given(st.randoms(use_true_random=False))
def test_noise_is_no_growth_to_speak_of(random: object) -> None:
    flat = flatness(samples(60, lambda n: 50e6 + (n * 7919 % 13) * 10_000))
    assert abs(flat.grown) < 0.001


def test_a_process_is_looked_at_from_outside() -> None:
    before = open_files(os.getpid())
    with open(os.devnull):
        assert open_files(os.getpid()) == before + 1
    assert resident(os.getpid()) > 1_000_000
