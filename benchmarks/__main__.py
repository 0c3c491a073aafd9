"""``python -m benchmarks``: measure brokers and engines beside the limit of the machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import in_memory
from benchmarks.building import BuildError, build
from benchmarks.contenders import CONTENDERS, Contender, named
from benchmarks.phases import parse_phases
from benchmarks.plans import FULL, SMOKE, sizes_up_to
from benchmarks.report import print_report
from benchmarks.results import Results
from benchmarks.suite import PARTS, Suite, tell
from services.scaletest.programs import ProgramError

FOLDER = Path("build/bench")
_INTERRUPTED = 130
_WRONG = 1
_SMOKE_ENGINES = 200
_LARGEST = 15_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return the exit status.

    0 where everything was exact, 1 where an account did not close or a program failed, 2 for
    a mistake on the command line, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        tell("interrupted; all programs have ended")
        return _INTERRUPTED
    except (ProgramError, BuildError, OSError, ValueError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return _WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="measure, round by round, and report")
    run.add_argument("--rounds", type=_count, default=8, metavar="N", help="[default: 8]")
    run.add_argument(
        "--engines",
        type=_count,
        default=_LARGEST,
        metavar="N",
        help=f"the largest fleet [default: {_LARGEST}]",
    )
    run.add_argument(
        "--sizes",
        type=_counts,
        metavar="N,N",
        help="all fleets, in place of 1000, 5000 and the largest",
    )
    run.add_argument(
        "--contenders",
        type=_contenders,
        default=list(CONTENDERS),
        metavar="NAME,NAME",
        help=f"of {', '.join(each.name for each in CONTENDERS)} [default: all]",
    )
    run.add_argument(
        "--parts",
        type=_parts,
        default=PARTS,
        metavar="PART,PART",
        help=f"of {', '.join(PARTS)} [default: all]",
    )
    run.add_argument(
        "--phases",
        type=_phases,
        default=(),
        metavar="PHASE,PHASE",
        help="for every contender, in place of the plan's; the first registers the fleet",
    )
    run.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes")
    run.set_defaults(command=_run)
    smoke = commands.add_parser("smoke", help="do all of it small, and judge no time")
    smoke.set_defaults(command=_smoke)
    report = commands.add_parser("report", help="print what a run has measured")
    report.add_argument("file", type=Path, help="the JSON that it left")
    report.add_argument("--markdown", action="store_true", help="tables for a page")
    report.add_argument("--plot", type=Path, metavar="FILE", help="draw the costs, as PNG or SVG")
    report.set_defaults(command=_report)
    memory = commands.add_parser("in-memory", help="the library alone, without sockets")
    in_memory.add_options(memory)
    memory.set_defaults(command=in_memory.run)
    tools = commands.add_parser("build", help="compile the tools in C")
    tools.set_defaults(command=_build)
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _counts(text: str) -> list[int]:
    return sorted({_count(part) for part in text.split(",")})


def _contenders(text: str) -> list[Contender]:
    try:
        return [named(name) for name in text.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"there is no contender {error}") from None


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no part {', '.join(sorted(unknown))}")
    return parts


def _phases(text: str) -> object:
    try:
        return parse_phases(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(options: argparse.Namespace) -> int:
    sizes = options.sizes or sizes_up_to(options.engines)
    path = options.output or FOLDER / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    suite = Suite(
        build(FOLDER),
        FULL,
        sizes,
        options.contenders,
        options.rounds,
        options.parts,
        path,
        options.phases,
    )
    try:
        results = suite.run()
    finally:
        tell(f"what was measured is in {path}")
    print_report(results, "text")
    _draw(results, path.with_suffix(".png"))
    return _WRONG if results.inexact else 0


def _smoke(_: argparse.Namespace) -> int:
    try:
        tools = build(FOLDER)
    except BuildError as error:
        print(f"the benchmark is left out: {error}")
        return 0
    suite = Suite(
        tools,
        SMOKE,
        [_SMOKE_ENGINES],
        list(CONTENDERS),
        1,
        PARTS,
        FOLDER / "smoke.json",
        interval=1,
        seconds=2.0,
    )
    results = suite.run()
    for line in results.inexact:
        print(f"WRONG: {line}")
    phases = len(results.samples)
    print(f"{phases} measurements, {len(results.inexact)} accounts that do not close")
    return _WRONG if results.inexact else 0


def _report(options: argparse.Namespace) -> int:
    results = Results.load(options.file)
    print_report(results, "markdown" if options.markdown else "text")
    if options.plot:
        _draw(results, options.plot)
    return 0


def _draw(results: Results, path: Path) -> None:
    try:
        from benchmarks.plot import draw

        draw(results, path)
    except ImportError:
        tell("no plot: matplotlib is not installed (pip install 'brokerproto[bench]')")
    else:
        tell(f"drawn: {path}")


def _build(_: argparse.Namespace) -> int:
    tools = build(FOLDER)
    print(tools.limit_broker, tools.load_generator, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
