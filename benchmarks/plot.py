"""Costs against the number of engines, as a picture. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.goals import Spread
from benchmarks.results import Results

__all__ = ["draw"]

_PANELS = (
    ("CPU per heartbeat, queued batch", "us", "stop", "us_per_heartbeat"),
    ("CPU per heartbeat, 20,000/s evenly", "us", "hb:20000", "cpu_us_each"),
    ("Memory per engine", "bytes", "memory", "resident_bytes_per_engine"),
)
# Colours that those tell apart, too, who do not see all (Okabe and Ito).
_COLOURS = {
    "limit": "#000000",
    "hub": "#0072B2",
    "reactor": "#E69F00",
    "line-receiver": "#009E73",
}


def draw(results: Results, path: Path) -> None:
    """Draw the costs of every contender without ACKs, the limit beside them.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(_PANELS), figsize=(13, 4.2), layout="constrained")
    for panel, (title, unit, work, name) in zip(axes, _PANELS, strict=True):
        _draw_panel(panel, results, work, name)
        panel.set_title(title)
        panel.set_ylabel(unit)
        panel.set_xlabel("engines")
        panel.set_xticks(results.sizes(), [f"{size:,}" for size in results.sizes()])
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_panel(panel: Any, results: Results, work: str, name: str) -> None:
    for contender in CONTENDERS:
        if contender.acks:
            continue
        found = [
            (size, spread)
            for size in results.sizes()
            if (
                spread := Spread.of(
                    results.values("fleet", contender.name, work, name, engines=size, age="aged")
                )
            )
        ]
        if not found:
            continue
        middle = [spread.median for _, spread in found]
        panel.errorbar(
            [size for size, _ in found],
            middle,
            yerr=(
                [spread.median - spread.least for _, spread in found],
                [spread.most - spread.median for _, spread in found],
            ),
            label=contender.says,
            color=_COLOURS.get(contender.name),
            linestyle="--" if contender.kind == "limit" else "-",
            marker="o",
            capsize=3,
        )
