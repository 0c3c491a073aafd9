"""Build the wheel, look into it, install it alone, ask twistd and run both programs.

Run from the repository's root by ``make wheel-check``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "wheel-check"
PACKAGES = {"brokerproto", "transports", "services"}
SUBCOMMANDS = {"broker", "engine"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and give its output; end with that output where it fails."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"wheel check: {' '.join(map(str, command))} ended with {done.returncode}\n"
            f"{done.stdout}{done.stderr}"
        )
    return done.stdout


def strangers_in(wheel: Path) -> list[str]:
    """List what the wheel holds beyond our three packages and the plugins."""
    names = zipfile.ZipFile(wheel).namelist()
    dist_info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    return [
        name
        for name in names
        if not (
            name.split("/")[0] in PACKAGES | {dist_info}
            or (
                name.startswith("twisted/plugins/")
                and name.count("/") == 2
                and name.endswith(".py")
                and not name.endswith("__init__.py")
            )
        )
    ]


def subcommands_of(twistd: Path, cwd: Path) -> set[str]:
    """List the subcommands that ``twistd --help`` names."""
    listing = run(twistd, "--help", cwd=cwd).partition("Commands:")[2]
    return {line.split()[0] for line in listing.splitlines() if line.strip()}


def main() -> None:
    """Check what ``pip install`` of the built wheel gives."""
    shutil.rmtree(WORK, ignore_errors=True)
    elsewhere = WORK / "elsewhere"
    elsewhere.mkdir(parents=True)
    print("wheel check: building the sdist, and the wheel from it")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", WORK, ROOT)
    [wheel] = WORK.glob("*.whl")

    if strangers := strangers_in(wheel):
        sys.exit("wheel check: not ours to install: " + ", ".join(strangers))
    held = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    if missing := (PACKAGES | {"twisted"}) - held:
        sys.exit("wheel check: the wheel lacks " + ", ".join(sorted(missing)))
    print(f"wheel check: {wheel.name} holds brokerproto, transports, services, twisted/plugins")

    environment = WORK / "venv"
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    pip = (binaries / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    print("wheel check: installing it with the locked run-time packages only")
    run(*pip, "--require-hashes", "-r", ROOT / "requirements" / "image.txt")
    run(*pip, "--no-deps", "--no-index", wheel)
    run(*pip[:3], "--disable-pip-version-check", "check")
    run(binaries / "python", "-c", "import brokerproto, transports", cwd=elsewhere)
    if missing := SUBCOMMANDS - subcommands_of(binaries / "twistd", elsewhere):
        sys.exit("wheel check: twistd --help does not list " + ", ".join(sorted(missing)))
    print("wheel check: twistd --help lists " + ", ".join(sorted(SUBCOMMANDS)))
    # Without this folder, the environment and the user's own packages on its path.
    run(binaries / "python", "-I", ROOT / ".ci" / "wheel_smoke.py", cwd=elsewhere)
    print("wheel check: an engine registered, worked, and ended with the code it was killed with")


if __name__ == "__main__":
    main()
