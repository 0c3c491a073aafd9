"""The options of both programs as tables, from the programs' own."""

from __future__ import annotations

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


def _table(options: tuple[Option, ...]) -> str:
    rows = [
        "| option | default | environment | meaning |",
        "|---|---|---|---|",
        *map(_row, options),
    ]
    return "".join(f"{row}\n" for row in rows)


def _row(option: Option) -> str:
    cells = [_code(f"--{option.usage_name}"), _code(option.default), _code(option.env), option.doc]
    return "|".join(["", *(f" {cell} ".replace("  ", " ") for cell in cells), ""])


def _code(text: str | None) -> str:
    return "" if text is None else "`{}`".format(text.replace("|", r"\|"))
