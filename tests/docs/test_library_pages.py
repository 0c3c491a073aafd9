"""The pages of the library show all that is public, each thing once."""

from __future__ import annotations

import importlib
import re
from collections import Counter

from tests.docs.page import ROOT

_DIRECTIVE = re.compile(r"^\.\. auto(\w+):: ([\w.]+)$", re.MULTILINE)


def shown() -> Counter[str]:
    """Count how often each public name is documented."""
    found: Counter[str] = Counter()
    for path in ROOT.glob("docs/reference/library/*.md"):
        for kind, name in _DIRECTIVE.findall(path.read_text(encoding="utf-8")):
            if kind == "module":
                module = importlib.import_module(name)
                found.update(f"{name}.{each}" for each in module.__all__)
            else:
                found[name] += 1
    return found


def public() -> set[str]:
    """List the public names of the library, where they are defined."""
    names: set[str] = set()
    for path in ROOT.glob("brokerproto/*.py"):
        if path.stem != "__init__":
            module = importlib.import_module(f"brokerproto.{path.stem}")
            names.update(f"{module.__name__}.{each}" for each in module.__all__)
    return names


def test_everything_public_is_shown_once() -> None:
    found = shown()
    assert public() - set(found) == set()
    assert [name for name, times in found.items() if times > 1] == []


def test_what_transports_exports_is_shown() -> None:
    exported = importlib.import_module("transports")
    names = {name.rpartition(".")[2] for name in shown()}
    assert set(exported.__all__) <= names
