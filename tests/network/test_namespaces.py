"""What a run that was killed has left is removed by the next one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.commands import run
from tests.network.namespaces import Namespace, forgotten

pytestmark = pytest.mark.network


def named() -> set[str]:
    return {line.split()[0] for line in run("ip", "netns", "list").splitlines()}


@pytest.mark.usefixtures("tools")
def test_namespaces_of_the_dead_are_forgotten_ones_and_no_others() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    # Tests beside this one remove what begins as theirs do.
    mine, other = f"mine{os.getpid()}", f"other{os.getpid()}"
    names = [f"{mine}-{gone.pid}-0-1", f"{mine}-{os.getpid()}-0-1", f"{other}-{gone.pid}-0-1"]
    made = [Namespace(name) for name in names]
    try:
        for namespace in made:
            namespace.make()
        assert [namespace.name for namespace in forgotten(mine)] == names[:1]
        for namespace in forgotten(mine):
            namespace.delete()
        assert named() & set(names) == set(names[1:])
    finally:
        for namespace in made:
            namespace.delete()
