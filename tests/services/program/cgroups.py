"""Control groups made of files, and real ones where the system lets us make them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1024 * 1024


def written(folder: Path, **contents: object) -> Path:
    """Write files into a folder; in a name ``__`` stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


@contextmanager
def real_memory_group(limit: int) -> Iterator[Path]:
    """Make a control group with a memory limit; skips where that cannot be had."""
    for base, limit_file in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = base / f"brokerproto-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            try:
                (group / limit_file).write_text(str(limit))
            except OSError:
                continue
            yield group
            return
        finally:
            group.rmdir()
    pytest.skip("no control group with a memory limit can be made here")
