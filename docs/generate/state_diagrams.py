"""The states of both sides, drawn from their tables of transitions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from brokerproto import messages
from brokerproto.states import (
    BROKER_TRANSITIONS,
    ENGINE_TRANSITIONS,
    BrokerState,
    EngineState,
    Input,
    Move,
)

__all__ = ["INPUTS", "diagrams"]

INPUTS: Mapping[Input, str] = {
    messages.NewEngine: "NewEngine",
    messages.Proof: "Proof",
    messages.Heartbeat: "HeartBeat",
    messages.Report: "Report",
    messages.Bye: "Bye",
    messages.Challenge: "CHALLENGE",
    messages.Success: "SUCCESS",
    messages.Ack: "ACK",
    messages.Ping: "PING",
    messages.DoWork: "DOWORK",
    messages.Kill: "KILL",
    messages.Unusable: "bad value",
    messages.GoAway: "GOAWAY",
    messages.Failed: "FAILED",
    messages.Unknown: "unknown verb",
    Move.ACCEPT: "accept",
    Move.CHALLENGE: "challenge",
    Move.END: "end",
    Move.LOSE: "lose",
}
"""What the pages call an input, in the order in which they list them."""

# White also where the page is dark: the lines and letters are black.
_HEAD = """\
digraph {title} {{
  graph [bgcolor=white, rankdir=LR, nodesep=0.4, ranksep=0.5, pad=0.2]
  node [shape=box, style="rounded,filled", fillcolor="{colour}", fontname="Helvetica", fontsize=12]
  edge [fontname="Helvetica", fontsize=10]
  start [shape=point, width=0.12]
  start -> {first}
"""


def diagrams() -> dict[str, str]:
    """Give each diagram's text for Graphviz, by the name of its file."""
    return {
        "broker-states.dot": _diagram("broker", "#e8eefc", BrokerState, BROKER_TRANSITIONS),
        "engine-states.dot": _diagram("engine", "#e8f5e4", EngineState, ENGINE_TRANSITIONS),
    }


def _diagram(
    title: str, colour: str, states: type[Enum], transitions: Mapping[Any, Mapping[Input, Any]]
) -> str:
    first, *_ = states
    lines = [_HEAD.format(title=title, colour=colour, first=first.name)]
    lines += [f"  {state.name}\n" for state in states]
    for state in states:
        labels: dict[str, list[str]] = {}
        for event, name in INPUTS.items():
            following = transitions[state].get(event)
            if isinstance(following, Enum):
                target = following.name
            elif following is None:
                continue
            else:
                # Which code is told stands in the table beside the diagram.
                target, name = "CLOSING", "error"
            if target != state.name and name not in labels.setdefault(target, []):
                labels[target].append(name)
        for target, names in labels.items():
            lines.append(f'  {state.name} -> {target} [label="{", ".join(names)}"]\n')
    return "".join([*lines, "}\n"])
