"""An image with Python, made of Debian's packages, for machines that reach no registry."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.commands import run
from tests.image.podman import Podman

__all__ = ["base_image"]

_CACHE = Path(__file__).resolve().parents[2] / "build" / "image-check"
_PACKAGES = ("python3", "python3-venv")
# As the official image of Python, it has no bytecode of the standard library.
_LEFT_OUT = ("__pycache__", "./dev/*", "./var/cache/apt/archives/*", "./var/lib/apt/lists/*")


def base_image(podman: Podman) -> str:
    """Name an image with Python that `podman` has or can pull.

    It is that of the environment's ``PYTHON_IMAGE``, else this Debian's own release, which
    is kept as a file for the next time.
    """
    if image := os.environ.get("PYTHON_IMAGE"):
        podman("pull", "--quiet", image)
        return image
    name = "localhost/python:debian"
    podman("import", "--quiet", _tar(), name)
    return name


def _tar() -> Path:
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    recipe = zlib.crc32(repr((_PACKAGES, _LEFT_OUT)).encode())
    tar = _CACHE / f"debian-{release}-{platform.machine()}-{recipe:08x}.tar"
    if not tar.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with _new_folder() as folder:
            root = folder / "root"
            packages = f"--include={','.join(_PACKAGES)}"
            run("debootstrap", "--variant=minbase", packages, release, root, *_mirror_of(release))
            excluded = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
            run("tar", "--create", "--file", folder / "tar", *excluded, "--directory", root, ".")
            (folder / "tar").rename(tar)
    return tar


@contextmanager
def _new_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=_CACHE))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _mirror_of(release: str) -> list[str]:
    """Find where this machine's apt has the release from; debootstrap knows another place."""
    sources = run(
        *("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(CODENAME) $(COMPONENT)"),
        "Created-By: Packages",
    )
    for line in sources.splitlines():
        uri, *rest = line.split()
        if release in rest[:-1] and rest[-1] == "main":
            return [uri]
    return []
