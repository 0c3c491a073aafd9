"""What is in the image, and what it says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.image.podman import Podman

pytestmark = [pytest.mark.image, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]

LAYERS = 40_000_000
"""Bytes that our layers may have, above those of the image with Python."""

CACHED = """
import importlib, json, pkgutil, sys
from pathlib import Path
from twisted.internet import reactor
for program in ("services.broker", "services.engine"):
    package = importlib.import_module(program)
    for found in pkgutil.walk_packages(package.__path__, program + "."):
        importlib.import_module(found.name)
bad = []
for name, module in list(sys.modules.items()):
    spec = getattr(module, "__spec__", None)
    if spec is not None and str(spec.origin).endswith(".py"):
        # Flags 1: made from a hash, which is not checked.
        cached = Path(spec.cached)
        flags = cached.read_bytes()[4:8] if cached.exists() else None
        if flags != bytes([1, 0, 0, 0]):
            bad.append([name, str(flags)])
print(json.dumps(bad))
"""

PLUGINS = """
import json, sys
from twisted.application.service import IServiceMaker
import twisted.plugin, twisted.plugins
found = twisted.plugin.getCache(twisted.plugins)
loaded = [name for name in sys.modules if name.startswith("twisted.plugins.")]
print(json.dumps([sorted(found), loaded]))
"""

INSTALLED = """
import importlib.metadata, json
print(json.dumps([f"{each.name}=={each.version}" for each in importlib.metadata.distributions()]))
"""

LEFT_OVER = """
import json, sys
from pathlib import Path
print(json.dumps([
    str(path)
    for path in Path(sys.prefix).rglob("*")
    if path.name in ("test", "tests", "pip", "setuptools", "hatchling")
]))
"""

WRITABLE = """
import json, os, sys
print(json.dumps([
    path
    for top in (sys.prefix, os.path.dirname(os.__file__))
    for path, _folders, _files in os.walk(top)
    if os.access(path, os.W_OK)
]))
"""


def normal(pin: str) -> str:
    """Write a package's name as an index does."""
    return re.sub(r"[-_.]+(?=.*==)", "-", pin).lower()


@pytest.fixture
def said(podman: Podman, image: str) -> Any:
    """What a Python program says in the image, with nothing but the image's environment."""

    def run(program: str) -> Any:
        return json.loads(podman.output_of(image, "python", "-c", program))

    return run


def test_image_says_how_it_is_to_be_run(podman: Podman, image: str) -> None:
    config = podman.inspect("image", image)["Config"]
    assert config["User"] == "65532:65532"
    assert config["Cmd"] == ["twistd", "-n", "broker"]
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"1337/tcp", "8080/tcp"}
    assert config["Labels"]["org.opencontainers.image.title"] == "broker-engine"
    assert "Entrypoint" not in config
    assert "Healthcheck" not in config


def test_environment_is_the_path_alone(podman: Podman, image: str, base: str) -> None:
    ours = podman.inspect("image", image)["Config"]["Env"]
    theirs = podman.inspect("image", base)["Config"].get("Env", [])
    assert [each for each in ours if each not in theirs] == [
        each for each in ours if each.startswith("PATH=/opt/broker-engine/bin:")
    ]


def test_installed_is_what_is_locked_and_ours(said: Any) -> None:
    lock = (ROOT / "requirements" / "image.txt").read_text()
    locked = {normal(pin) for pin in re.findall(r"^[\w.-]+==\S+", lock, re.MULTILINE)}
    installed = {normal(pin) for pin in said(INSTALLED)}
    assert {pin.partition("==")[0] for pin in installed - locked} == {"brokerproto"}
    assert locked <= installed


def test_nothing_is_left_of_what_built_it_or_tests_it(said: Any) -> None:
    assert said(LEFT_OVER) == []


def test_nothing_is_compiled_when_a_program_starts(said: Any) -> None:
    assert said(CACHED) == []


def test_plugins_are_known_without_loading_them(said: Any) -> None:
    found, loaded = said(PLUGINS)
    assert "brokerproto_plugins" in found
    assert loaded == []


def test_its_user_can_change_none_of_it(said: Any) -> None:
    assert said(WRITABLE) == []


def test_our_layers_are_small(podman: Podman, image: str, base: str) -> None:
    ours, theirs = (podman.inspect("image", name)["Size"] for name in (image, base))
    assert ours - theirs < LAYERS
