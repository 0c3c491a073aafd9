"""The page about the image runs it as the manifests and the tests do."""

from __future__ import annotations

import re
import shlex
import tomllib

from tests.docs.page import ROOT, Page
from tests.image.test_containers import RESTRICTED
from tests.image.test_image import LAYERS
from tests.k8s.manifests import container, deployed

PAGE = Page.of("docs/how-to/image.md")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = f"broker-engine:{VERSION}"

# What a reader need not type: where there is swap, or a /tmp, the programs are no worse off.
OURS_ALONE = {"--read-only-tmpfs=false", "--memory-swap"}


def runs() -> list[tuple[list[str], list[str]]]:
    """Give the options and the program of each container that the page starts."""
    lines = [
        shlex.split(line)
        for block in PAGE.blocks
        for line in block.text.replace("\\\n", "").splitlines()
        if line.startswith("$ docker run")
    ]
    return [(line[: line.index(IMAGE)], line[line.index(IMAGE) + 1 :]) for line in lines]


def test_broker_is_run_as_the_manifest_runs_it() -> None:
    (_, broker), _ = runs()
    assert broker == container(deployed().broker)["args"]


def test_engine_is_run_with_the_name_of_the_broker() -> None:
    (options, _), (_, engine) = runs()
    assert engine == ["twistd", "-n", "engine", "--host", options[options.index("--name") + 1]]


def test_containers_are_as_restricted_as_in_the_tests() -> None:
    for options, _ in runs():
        assert set(RESTRICTED) - OURS_ALONE <= set(options)


def test_image_has_the_version_of_the_project() -> None:
    assert set(re.findall(r"broker-engine:\d[\w.]*", PAGE.text)) == {IMAGE}


def test_layers_are_no_larger_than_is_tested() -> None:
    (size,) = re.findall(r"^\| layers of ours \| (\d+) MB,", PAGE.text, re.MULTILINE)
    assert int(size) * 1_000_000 <= LAYERS
