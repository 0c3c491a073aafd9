"""Lets pip inside a build find its packages where this machine's pip finds them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

__all__ = ["volumes_for_pip"]

_ENVIRONMENT = ":env:"
# In the order in which those who make requests heed them.
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def volumes_for_pip(folder: Path) -> list[str]:
    """Write this machine's configuration of pip down, for a build to read.

    It is mounted and not copied, so that nothing of it can come into an image.

    Args:
        folder: Where the file is written.

    Returns:
        Arguments of ``--volume``: the file, and what on this machine it points to.
    """
    settings = _settings()
    file = folder / "pip.conf"
    parser = RawConfigParser()
    for (section, name), value in settings.items():
        if not parser.has_section(section):
            parser.add_section(section)
        parser.set(section, name, value)
    with file.open("w") as config:
        parser.write(config)
    paths = sorted({path for value in settings.values() for path in _paths_in(value)})
    return [f"{file}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in paths)]


def _settings() -> dict[tuple[str, str], str]:
    """Give pip's settings by section and name; the environment's are global, and win."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    files: dict[tuple[str, str], str] = {}
    environment: dict[str, str] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section == _ENVIRONMENT:
            environment[name] = ast.literal_eval(value)
        else:
            files[section, name] = ast.literal_eval(value)
    if "cert" not in environment and ("global", "cert") not in files:
        bundles = [os.environ[name] for name in _CERTIFICATES if os.environ.get(name)]
        if bundles:
            environment["cert"] = bundles[0]
    return {
        **{key: value for key, value in files.items() if key[1] not in environment},
        **{("global", name): value for name, value in environment.items()},
    }


def _paths_in(value: str) -> list[Path]:
    found = []
    for word in value.split():
        if word.startswith("file:"):
            # What an index links to may lie beside it.
            found.append(Path(url2pathname(urlsplit(word).path)).parent)
        elif word.startswith("/"):
            found.append(Path(word))
    return [path for path in found if path.exists() and path != Path("/")]
