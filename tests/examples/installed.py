"""An environment that has our wheel and that of an example, and nothing of the source tree."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from services.scaletest.programs import clean_environment

ROOT = Path(__file__).resolve().parents[2]
_HUNG = 300.0


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=_HUNG,
        check=False,
    )


def _well(*command: str | Path, cwd: Path) -> None:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def installed(folder: Path, *projects: Path) -> Path:
    """Build wheels and install them, without network.

    Args:
        folder: Where to; new files only.
        projects: Folders with a pyproject.toml.

    Returns:
        The environment's Python. What the wheels depend on comes from the environment of
        this process, except what is editable there.
    """
    wheels = folder / "wheels"
    for project in projects:
        build = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
        _well(*build, "--outdir", wheels, project, cwd=folder)
    environment = folder / "venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    options = ("--disable-pip-version-check", "--no-deps", "--no-index")
    _well(*pip, *options, *sorted(wheels.glob("*.whl")), cwd=folder)
    [site] = environment.glob("lib/python*/site-packages")
    # A folder named in such a file is searched, but the .pth files in it are not read.
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    twistd = environment / "bin" / "twistd"
    script = Path(sys.executable).with_name("twistd").read_text().partition("\n")[2]
    twistd.write_text(f"#!{python}\n{script}")
    twistd.chmod(0o755)
    return python
