"""Every target over its kept corpus, as any test; a fuzzer is not needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.targets import CORPUS, TARGETS

MOST_BYTES = 300_000
FOLDERS = sorted(path for path in CORPUS.iterdir())


@pytest.mark.fault("C029")
@pytest.mark.parametrize("name", TARGETS)
def test_no_kept_input_breaks_its_target(name: str) -> None:
    check = TARGETS[name].load()
    paths = sorted((CORPUS / name).iterdir())
    assert paths
    for path in paths:
        try:
            check(path.read_bytes())
        except BaseException as error:
            error.add_note(f"the input is {path}")
            raise


def test_corpus_is_small_and_of_targets() -> None:
    assert [path.name for path in FOLDERS] == sorted(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < MOST_BYTES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_no_input_is_longer_than_a_fuzzer_would_read(folder: Path) -> None:
    longest = TARGETS[folder.name].longest
    assert [path for path in folder.iterdir() if path.stat().st_size > longest] == []
