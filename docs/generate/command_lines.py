"""The options of both programs as tables, from the programs' own."""

from __future__ import annotations

from collections.abc import Sequence

from services.broker.options import Options as BrokerOptions
from services.engine.options import Options as EngineOptions
from services.program.options import Option

__all__ = ["tables"]


def tables() -> dict[str, str]:
    """Give the table of each program's options, by its name."""
    return {
        f"options of {options.program}": _table(options.table)
        for options in (BrokerOptions, EngineOptions)
    }


def _table(options: Sequence[Option]) -> str:
    header = ["| option, variable | meaning |", "|---|---|"]
    return "".join(f"{row}\n" for row in [*header, *map(_row, options)])


def _row(option: Option) -> str:
    names = "<br>".join(_code(name) for name in (f"--{option.usage_name}", option.env) if name)
    default = "" if option.default is None else f" Default: {_code(option.default)}."
    return f"| {names} | {option.doc}{default} |"


def _code(text: str) -> str:
    return "`{}`".format(text.replace("|", r"\|"))
