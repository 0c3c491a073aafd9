from __future__ import annotations

import gc

from services.program.garbage import GarbagePauses


def test_pauses_are_counted_and_measured() -> None:
    times = iter([1.0, 1.5, 2.0, 2.25])
    pauses = GarbagePauses(lambda: next(times))
    for phase in ("start", "stop") * 2:
        pauses.phase(phase, {})
    assert (pauses.count, pauses.total, pauses.longest) == (2, 0.75, 0.5)


def test_end_of_a_collection_that_had_begun_before_is_no_pause() -> None:
    pauses = GarbagePauses(lambda: 1.0)
    pauses.phase("stop", {})
    assert (pauses.count, pauses.total, pauses.longest) == (0, 0.0, 0.0)


def test_collector_is_watched_from_start_to_stop() -> None:
    before = list(gc.callbacks)
    pauses = GarbagePauses()
    pauses.stop()
    pauses.start()
    gc.collect()
    pauses.stop()
    counted = pauses.count
    gc.collect()
    assert counted >= 1
    assert pauses.count == counted
    assert 0 < pauses.longest <= pauses.total
    assert gc.callbacks == before
