"""A conversation of a page, drawn as arrows between those who speak."""

from __future__ import annotations

import re

__all__ = ["sequence_diagram"]

_ORDER = re.compile(r"(\w+ \w+) is ordered")

_HEAD = """\
digraph conversation {
  graph [bgcolor=white, nodesep=1.2, ranksep=0.22, pad=0.2]
  node [shape=point, width=0.01, color="#808080"]
  edge [fontname="Helvetica", fontsize=11]
  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=12]
  operator0 [label=operator, fillcolor="#f3f3f3", color=black]
  broker0 [label=broker, fillcolor="#e8eefc", color=black]
  engine0 [label=engine, fillcolor="#e8f5e4", color=black]
  node [shape=point, width=0.01]
"""


def sequence_diagram(conversation: str) -> str:
    """Draw a conversation between an engine, its broker, and who gives orders.

    Args:
        conversation: Lines that begin with ``E:``, ``B:`` or ``--``.

    Returns:
        The diagram's text for Graphviz.
    """
    rows = [_row(number, line) for number, line in enumerate(conversation.splitlines(), start=1)]
    lines = [_HEAD, "  { rank=same; operator0 -> broker0 -> engine0 [style=invis] }\n"]
    for who in ("operator", "broker", "engine"):
        life = " -> ".join(f"{who}{number}" for number in range(len(rows) + 1))
        lines.append(f'  {life} [weight=1000, arrowhead=none, style=dashed, color="#808080"]\n')
    return "".join([*lines, *rows, "}\n"])


def _row(number: int, line: str) -> str:
    kind, _, said = line.partition(" ")
    operator, broker, engine = (f"{who}{number}" for who in ("operator", "broker", "engine"))
    if kind == "E:":
        arrow = f"{broker} -> {engine} [dir=back, "
    elif kind == "B:":
        arrow = f"{broker} -> {engine} ["
    elif order := _ORDER.fullmatch(said):
        arrow, said = f"{operator} -> {broker} [", order[1]
    else:
        arrow = f'{broker} -> {engine} [style=dotted, dir=none, fontcolor="#606060", '
    return f'  {{ rank=same; {arrow}label="{_without_options(said)}"] }}\n'


def _without_options(frame: str) -> str:
    """Leave out of a frame's end what makes it longer than one can look at."""
    head, equals, _ = frame.partition("=")
    return f"{head.rpartition(':')[0]}:..." if equals and len(frame) > 50 else frame
