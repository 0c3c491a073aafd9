"""One target in a process of its own, led by atheris; `fuzz.campaign` starts it.

The arguments are the target's module, the packages that are watched with commas between
them, the command that starts all this anew, and whatever libFuzzer is told.
"""

from __future__ import annotations

import sys

import atheris

from fuzz.targets import Target


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    module, watched, again, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=[*watched.split(","), "fuzz", "tests.brokerproto"]):
        check = Target(module, "").load()
    # libFuzzer starts itself anew to merge, and its name for itself stands first.
    atheris.Setup([again, *arguments], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
