"""Which engines are meant: by id, by glob, by label, and a share of them at random.

Rules: control API's reference, section "Whom a command reaches".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import translate
from random import Random

from attrs import field, frozen, validators

from brokerproto.errors import UnknownEngineError
from brokerproto.fleet import Fleet, Member

__all__ = ["Label", "Selection", "has_labels", "matches", "share_of"]

Label = tuple[str, str]
"""A label's name, and its value."""


def matches(globs: Iterable[str]) -> Callable[[str], object]:
    """Make the test whether a text is matched by one of `globs`.

    Args:
        globs: Case-sensitive, for the whole text: ``*``, ``?``, ``[a-c]``, ``[!a-c]``.
            Where there is none, nothing is matched.

    Returns:
        What gives something true for a text that is matched.
    """
    return re.compile("|".join(map(translate, globs)) or r"(?!)").match


def has_labels(labels: Iterable[Label]) -> Callable[[Mapping[str, str]], bool]:
    """Make the test whether all of `labels` are among an engine's.

    Args:
        labels: Two values for one name are never both there.
    """
    wanted = set(labels)
    return lambda labels: wanted <= labels.items()


def share_of(count: int, percent: int) -> int:
    """Return how many engines a share is: rounded half up, and at least one of any.

    Args:
        count: How many there are, 0 or more.
        percent: 1 to 100.
    """
    return max((count * percent + 50) // 100, min(count, 1))


@frozen
class Selection:
    """A choice among the registered engines.

    It takes those that are named or matched, or all where nothing is named and there is
    no glob; of these those that have every label; and of these a share.

    Selections are equal that ask for the same, in whatever order.

    Attributes:
        engine_ids: Ids of registered engines.
        globs: See `matches`.
        labels: All of them must be there.
        share: Percent, 1 to 100; see `share_of`.
    """

    engine_ids: tuple[str, ...] = field(default=(), eq=frozenset)
    globs: tuple[str, ...] = field(default=(), eq=frozenset)
    labels: tuple[Label, ...] = field(default=(), eq=frozenset)
    share: int = field(default=100, validator=[validators.ge(1), validators.le(100)])

    def members(self, fleet: Fleet, random: Random) -> list[Member]:
        """Choose, each engine once.

        Args:
            fleet: Whom to choose from.
            random: Draws the share.

        Raises:
            UnknownEngineError: An id is not registered.
        """
        chosen = self._chosen(fleet)
        if self.labels:
            have_all = has_labels(self.labels)
            chosen = [member for member in chosen if have_all(member.labels)]
        n = share_of(len(chosen), self.share)
        if n < len(chosen):
            chosen = [chosen[i] for i in sorted(random.sample(range(len(chosen)), n))]
        return chosen

    def _chosen(self, fleet: Fleet) -> list[Member]:
        if not self.engine_ids and not self.globs:
            return list(fleet)
        chosen: dict[str, Member] = {}
        for engine_id in self.engine_ids:
            member = fleet.get(engine_id)
            if member is None:
                raise UnknownEngineError(engine_id)
            chosen[engine_id] = member
        if self.globs:
            is_matched = matches(self.globs)
            chosen.update(
                (member.engine_id, member) for member in fleet if is_matched(member.engine_id)
            )
        return list(chosen.values())
