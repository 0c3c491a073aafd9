"""The results as tables: for a terminal, or as Markdown for a page."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

from attrs import frozen

from benchmarks.contenders import CONTENDERS
from benchmarks.goals import Judgement, Spread, judge, ratios
from benchmarks.results import Results

__all__ = ["Table", "as_markdown", "as_text", "goals_table", "print_report", "tables"]

Form = Literal["text", "markdown"]

_QUIET = 0.05
"""The share of a phase that waiting for a CPU may take on a machine that is quiet."""


@frozen
class Table:
    """A table with a title; its first columns are text, all others figures."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1


def tables(results: Results) -> Iterator[Table]:
    """Give every table for which there are samples, the goals first."""
    candidates = (
        goals_table(results),
        *(_fleet_table(results, size) for size in reversed(results.sizes())),
        _virtual_table(results),
        _transports_table(results),
        _sweep_table(results),
        _start_up_table(results),
        _imports_table(results),
    )
    return (table for table in candidates if table.rows)


def goals_table(results: Results) -> Table:
    """Hold the run against each goal."""
    return Table(
        "Goals",
        ("what", "goal", "measured", "least to most", "verdict"),
        tuple(_goal_row(each) for each in judge(results)),
    )


def _goal_row(judgement: Judgement) -> tuple[str, ...]:
    goal, spread = judgement.goal, judgement.spread
    sign = ">=" if goal.at_least else "<="
    aim = f"{sign} {goal.bound:g}"
    if goal.stretch is not None:
        aim += f", better {goal.stretch:g}"
    measured = spread_text = ""
    if spread is not None:
        measured = f"{_short(spread.median)} {goal.unit}".removesuffix(" x")
        spread_text = f"{_short(spread.least)} to {_short(spread.most)}"
    return goal.work, aim, measured, spread_text, judgement.verdict


def _short(value: float) -> str:
    """Write three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


_FLEET_COLUMNS = (
    ("herd /s", "reg", "rate", None),
    ("p99 ms", "reg", "p99_ms", None),
    ("bytes, young", "memory", "resident_bytes_per_engine", "young"),
    ("bytes, aged", "memory", "resident_bytes_per_engine", "aged"),
    ("us, batch", "stop", "us_per_heartbeat", "aged"),
    ("us, 20k/s", "hb:20000", "cpu_us_each", "aged"),
    ("us, 1.5k/s", "hb:1500", "cpu_us_each", "aged"),
    ("highest /s", "lad", "highest_rate", "aged"),
    ("fan-out ms", "fan", "last_ms", "aged"),
)


def _fleet_table(results: Results, engines: int) -> Table:
    """Give medians, and behind each the ratio to what it is compared with."""
    cases = {each.case for each in results.samples if each.part == "fleet"}
    rows = []
    for contender in CONTENDERS:
        if contender.name not in cases:
            continue
        row = [contender.name]
        for _, work, figure, age in _FLEET_COLUMNS:

            def values(name: str, of: tuple[str, str, str | None]) -> dict[int, float]:
                return results.values("fleet", name, of[0], of[1], engines=engines, age=of[2])

            of = (work, figure, age)
            own = values(contender.name, of)
            cell = _median(own)
            if cell and contender.name != contender.against:
                relative = Spread.of(ratios(own, values(contender.against, of)))
                cell += f" ({relative.median:.2f})" if relative else ""
            row.append(cell)
        rows.append(tuple(row))
    header = ("broker", *(name for name, *_ in _FLEET_COLUMNS))
    return Table(f"{engines:,} engines: medians, and ratios to the limit", header, tuple(rows))


def _median(values: dict[int, float]) -> str:
    spread = Spread.of(values)
    return "" if spread is None else _short(spread.median)


def _virtual_table(results: Results) -> Table:
    columns = (
        ("joined within ms", "join", "wall_ms"),
        ("us, joining", "join", "cpu_us_each"),
        ("us, a heartbeat", "beat", "us_per_heartbeat"),
        ("% of a core", "beat", "core_percent"),
        ("bytes", "beat", "resident_bytes_per_engine"),
    )
    rows = tuple(
        (
            f"{engines:,}",
            *(
                _median(results.values("virtual", "engines", work, figure, engines=engines))
                for _, work, figure in columns
            ),
        )
        for engines in results.sizes("virtual")
    )
    return Table("Virtual engines in one process", ("engines", *(c[0] for c in columns)), rows)


def _transports_table(results: Results) -> Table:
    columns = (
        ("us, batch", "stop", "us_per_heartbeat"),
        ("us, 20k/s", "hb:20000", "cpu_us_each"),
        ("bytes", "memory", "resident_bytes_per_engine"),
        ("herd /s", "reg", "rate"),
        ("p99 ms", "reg", "p99_ms"),
    )
    alike = {"us_per_heartbeat", "resident_bytes_per_engine", "rate", "p99_ms"}
    rows = []
    for case in _cases(results, "transports"):
        cells = []
        for _, work, figure in columns:
            values = results.values("transports", case, work, figure)
            if not values and figure in alike:
                values = results.values("transports", case, "all", figure)
            cells.append(_median(values))
        rows.append((case, *cells))
    size = "".join(f", {size:,} engines" for size in results.sizes("transports")[-1:])
    return Table(
        f"The broker on each transport{size} (inproc: both ends)",
        ("transport", *(c[0] for c in columns)),
        tuple(rows),
    )


def _cases(results: Results, part: str) -> list[str]:
    return list(dict.fromkeys(each.case for each in results.samples if each.part == part))


def _sweep_table(results: Results) -> Table:
    rows = tuple(
        (
            case,
            _median(results.values("sweep", case, "tick", "us")),
            _median(results.values("sweep", case, "tick", "us_each")),
        )
        for case in _cases(results, "sweep")
    )
    size = "".join(f" of {size:,} engines" for size in results.sizes("sweep")[-1:])
    return Table(f"A tick's sweep{size}", ("found", "us", "us each"), rows)


def _start_up_table(results: Results) -> Table:
    figures = ("cpu_ms", "resident_mib", "anonymous_mib")
    rows = tuple(
        (case, *(_median(results.values("start-up", case, "idle", figure)) for figure in figures))
        for case in _cases(results, "start-up")
    )
    header = ("process, idle", "CPU ms to start", "resident MiB", "anonymous MiB")
    return Table("Start", header, rows)


def _imports_table(results: Results) -> Table:
    works = dict.fromkeys(
        (each.case, each.work) for each in results.samples if each.part == "imports"
    )
    rows = tuple(
        (
            program,
            family,
            _median(results.values("imports", program, family, "modules")),
            _median(results.values("imports", program, family, "ms")),
        )
        for program, family in works
        if (Spread.of(results.values("imports", program, family, "ms")) or _NOTHING).median >= 1
    )
    header = ("program", "family", "modules", "ms")
    return Table("Imports of 1 ms and more", header, rows, text_columns=2)


_NOTHING = Spread(0, 0, 0, 0)


def as_text(table: Table) -> str:
    """Set a table in columns."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]

    def aligned(line: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if column < table.text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([table.title, *map(aligned, lines)])


def as_markdown(table: Table) -> str:
    """Write a table as a page has it, without its title."""
    lines = [table.header, tuple("---" for _ in table.header), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def print_report(results: Results, form: Form) -> None:
    """Print every table, and what must be known to read them."""
    if form == "markdown":
        for table in tables(results):
            print(f"{table.title}:\n\n{as_markdown(table)}\n")
        return
    about = results.machine
    print(
        f"{about['cpu']}, {about['cores']} cores, {about['system']}, Python {about['python']},"
        f" Twisted {about['twisted']}; {results.settings.get('rounds')} rounds, {results.began}\n"
    )
    held_up = results.held_up
    if held_up is not None and held_up > _QUIET:
        print(
            f"THE MACHINE WAS BUSY: in half of all phases broker or generator waited for a CPU for"
            f" {held_up:.0%} of the time and more. Quote nothing of this run.\n"
        )
    pretty = sys.stdout.isatty() and shutil.get_terminal_size().columns >= 100
    for table in tables(results):
        if not (pretty and _print_pretty(table)):
            print(f"{as_text(table)}\n")
    for title, lines in (
        ("Left out:", [f"{what}: {why}" for what, why in results.skipped.items()]),
        ("Invalid, and not counted:", results.invalid),
        ("WRONG: accounts that do not close:", results.inexact),
    ):
        if lines:
            print(title, *lines, sep="\n  ")


def _print_pretty(table: Table) -> bool:
    """Print a table with rich, where it is installed."""
    try:
        from rich.console import Console
        from rich.table import Table as RichTable
    except ImportError:
        return False
    shown = RichTable(title=table.title, title_justify="left")
    for column, name in enumerate(table.header):
        shown.add_column(name, justify="left" if column < table.text_columns else "right")
    colours = {"pass": "green", "short": "bold red", "not measured": "dim"}
    for row in table.rows:
        shown.add_row(*row, style=colours.get(row[-1], ""))
    Console().print(shown)
    return True
