"""Labels: what an engine says of itself, for people to choose engines by.

A label is an option of the hello, ``label-<name>=<value>``. Rules: protocol reference,
section "Labels".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from brokerproto.errors import BadFrameError, LocalProtocolError
from brokerproto.grammar import LABEL_NAME, LABEL_VALUE
from brokerproto.messages import NO_LABELS

__all__ = ["LABEL_PREFIX", "MAX_LABELS", "label_options", "read_labels"]

LABEL_PREFIX = "label-"
"""What the key of every label begins with."""

MAX_LABELS = 16
"""Most labels that one engine may have."""


def label_options(labels: Mapping[str, str]) -> Iterator[str]:
    """Give the options that stand for `labels`, in their order.

    Raises:
        LocalProtocolError: A name or a value breaks the grammar, or there are too many.
    """
    if len(labels) > MAX_LABELS:
        raise LocalProtocolError(f"{len(labels)} labels, and {MAX_LABELS} are the most")
    for name, value in labels.items():
        for part, kind in ((name, LABEL_NAME), (value, LABEL_VALUE)):
            if not kind.accepts(part):
                raise LocalProtocolError(f"labels: {part!r:.80} is not {kind.name}")
        yield f"{LABEL_PREFIX}{name}={value}"


def read_labels(options: Mapping[str, bytes]) -> Mapping[str, str]:
    """Return the labels of a hello, to be read only.

    Args:
        options: Its labels' whole keys and their values, both of the grammar.

    Raises:
        BadFrameError: A label has no name, or there are too many.
    """
    if not options:
        return NO_LABELS
    if len(options) > MAX_LABELS:
        raise BadFrameError("too many labels")
    if LABEL_PREFIX in options:
        raise BadFrameError("a label has no name")
    return _shared_labels(
        *(
            (_shared_word(key.removeprefix(LABEL_PREFIX)), _shared_word(value.decode("ascii")))
            for key, value in options.items()
        )
    )


# Engines of one node or kind have the same labels, or at least words in common: kept
# once, they cost a fleet nothing. Bounded, because a stranger may invent new ones.
@lru_cache(maxsize=1024)
def _shared_labels(*labels: tuple[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(labels))


@lru_cache(maxsize=4096)
def _shared_word(word: str) -> str:
    return word
