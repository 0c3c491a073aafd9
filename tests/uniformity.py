"""Is it uniform? The test of Kolmogorov and Smirnov, which needs no more than sorting."""

from __future__ import annotations

import math
from collections.abc import Iterable

_ONE_IN_A_THOUSAND = 1.95


def distance_from_uniform(values: Iterable[float], low: float, high: float) -> float:
    """Return the greatest distance of a sample from the uniform distribution.

    In units in which a sample that is uniform exceeds 1.95 once in a thousand times.
    """
    shares = sorted((value - low) / (high - low) for value in values)
    count = len(shares)
    furthest = max(
        max(share - number / count, (number + 1) / count - share)
        for number, share in enumerate(shares)
    )
    return furthest * math.sqrt(count)


def is_uniform(values: Iterable[float], low: float, high: float) -> bool:
    """Whether nothing speaks against a sample being uniform between two bounds."""
    return distance_from_uniform(values, low, high) < _ONE_IN_A_THOUSAND
