"""The command: ``python -m fuzz TARGET [--seconds N | --runs N | --smoke | --keep]``."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from fuzz.campaign import ROOT, Campaign, FuzzingError, unavailable
from fuzz.targets import TARGETS

_WORK = ROOT / "build" / "fuzz"
_SMOKE = ROOT / "build" / "fuzz-smoke"
_SECONDS = 60


def main(arguments: list[str] | None = None) -> int:
    """Fuzz, play inputs again, or keep what was found.

    Returns:
        The exit status: 1 where something was found, else 0.
    """
    options = _parsed(arguments)
    names = list(TARGETS) if options.target == "all" else [options.target]
    if options.inputs:
        return _play(names, options.inputs)
    if (reason := unavailable()) is not None:
        print(f"fuzz: {reason}.", file=sys.stderr)
        # As with images: what cannot be checked on this platform fails nobody's run.
        return 0 if options.smoke else 1
    failures = 0
    for name in names:
        try:
            print(_do(name, options), flush=True)
        except FuzzingError as error:
            print(error, file=sys.stderr, flush=True)
            failures += 1
    return 1 if failures else 0


def _do(name: str, options: argparse.Namespace) -> str:
    target = TARGETS[name]
    if options.smoke:
        work = _SMOKE / name
        shutil.rmtree(work, ignore_errors=True)
        return Campaign(name, target, work).run(runs=target.smoke, seed=1)
    campaign = Campaign(name, target, _WORK / name)
    if options.keep:
        return campaign.keep()
    seconds = _SECONDS if options.seconds is None and options.runs is None else options.seconds
    return campaign.run(seconds=seconds, runs=options.runs, seed=options.seed)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    about = "\n".join(f"  {name:16}{target.about}" for name, target in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=f"Look for bytes that break what must always hold.\n\ntargets:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=[*TARGETS, "all"], metavar="TARGET", help="or all")
    parser.add_argument(
        "inputs", nargs="*", type=Path, metavar="FILE", help="play these inputs, and no others"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seconds", type=int, help=f"how long for each; {_SECONDS} by default")
    what.add_argument("--runs", type=int, help="how many inputs for each")
    what.add_argument(
        "--smoke", action="store_true", help="so many that it takes about ten seconds for each"
    )
    what.add_argument(
        "--keep", action="store_true", help="minimise what was found into the kept corpus"
    )
    parser.add_argument("--seed", type=int, default=0, help="0, the default, draws one")
    return parser.parse_args(arguments)


def _play(names: list[str], inputs: list[Path]) -> int:
    """Give inputs to targets without a fuzzer; what they raise is shown as it is."""
    for name in names:
        check = TARGETS[name].load()
        for path in inputs:
            check(path.read_bytes())
            print(f"{name}: {path} breaks nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
