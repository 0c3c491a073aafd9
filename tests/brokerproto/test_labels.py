"""Labels cost a fleet no more than the differences between its engines."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest

from brokerproto import labels
from brokerproto.labels import read_labels
from brokerproto.messages import NO_LABELS
from brokerproto.wire import decode


def read(*options: str) -> dict[str, str]:
    """Read a hello with these labels."""
    pairs = ";".join(f"label-{option}" for option in options)
    found: dict[str, str] = decode(f"NewEngine:e:0:v=1;{pairs}".encode(), "engine").labels
    return found


def test_engines_without_labels_share_what_they_have() -> None:
    for frame in (b"NewEngine:e:0", b"NewEngine:e:0:v=1;ack=1"):
        assert decode(frame, "engine").labels is NO_LABELS
    assert read_labels({}) is NO_LABELS


def test_engines_with_equal_labels_share_them() -> None:
    assert read("node=n1", "zone=2") is read("node=n1", "zone=2")
    assert read("node=n1", "zone=2") == read("zone=2", "node=n1")


def test_engines_with_labels_in_common_share_the_words() -> None:
    one, other = read("node=n1", "pod=p1"), read("node=n1", "pod=p2")
    for name, value in one.items():
        theirs = [word for word in (*other, *other.values()) if word in (name, value)]
        assert all(word is name or word is value for word in theirs)
        assert theirs


@pytest.mark.parametrize("shared", [labels._shared_labels, labels._shared_word])
def test_what_a_stranger_invents_is_not_kept_for_ever(shared: object) -> None:
    before = shared.cache_info().maxsize  # type: ignore[attr-defined]
    for number in range(before + 10):
        read(f"n{number}=v{number}")
    assert shared.cache_info().currsize <= before  # type: ignore[attr-defined]
    found = [read(f"node=new-{number}") for number in range(3)]
    assert found == [{"node": f"new-{number}"} for number in range(3)]


def test_labels_of_a_node_cost_its_engines_nothing() -> None:
    frame = b"NewEngine:e:0:v=1;label-node=aks-nodepool1-12345678-vmss000001;label-zone=2"
    hellos = [decode(frame, "engine") for _ in range(10)]
    tracemalloc.start()
    try:
        bare = [decode(b"NewEngine:e:0:v=1", "engine") for _ in range(1000)]
        gc.collect()
        without, _ = tracemalloc.get_traced_memory()
        hellos += [decode(frame, "engine") for _ in range(1000)]
        gc.collect()
        both, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(bare) == 1000
    # Less than a tenth of a message more for each, whatever its size.
    assert both - without <= without + 1000 * sys.getsizeof(bare[0]) / 10
