"""The results as a picture: a row of dots for each case, lines where the number of steps grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import LIMIT, MASKED, OURS, Case
from benchmarks.report import duration
from benchmarks.suite import Result

OUR_COLOR, HAND_COLOR, PEER_COLOR = "#c4572e", "#7a8f3c", "#8a94a6"
COLUMNS = 3


def draw(cases: Sequence[Case], results: Mapping[str, Result], path: Path) -> None:
    """Write a picture in the format of the path's suffix: svg, png, pdf."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [case for case in cases if results[case.name].samples]
    height = -(-len(shown) // COLUMNS)
    figure, axes = pyplot.subplots(
        max(height, 1), COLUMNS, figsize=(5.2 * COLUMNS, 2.9 * max(height, 1)), squeeze=False
    )
    for axis, case in zip(axes.flat, shown, strict=False):
        (lines if case.kind == "growing" else dots)(axis, case, results[case.name])
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def color(name: str) -> str:
    if name in (*OURS, *MASKED):
        return OUR_COLOR
    return HAND_COLOR if name.startswith("hand") or name == "c" else PEER_COLOR


def dots(axis: Any, case: Case, result: Result) -> None:
    """One dot a contender, the fastest at the top, with its quartiles, on a logarithmic scale.

    Dots and not bars, whose length would mean nothing there. The dotted line is the BLAS limit.
    """
    found = {name: f for name, f in result.figures.items() if name != LIMIT}
    ranked = sorted(found, key=lambda name: found[name]["median"], reverse=True)
    unit = 1e-3 * (case.problem.updates if case.kind == "rounds" else 1)
    for place, name in enumerate(ranked):
        figures = found[name]
        middle = figures["median"] / unit
        quartiles = [figures.get(key, figures["median"]) / unit for key in ("low", "high")]
        axis.plot(quartiles, [place, place], color=color(name), lw=1.5)
        axis.plot([middle], [place], "o", ms=6, color=color(name))
        text = f"  {duration(middle / 1e3)}"
        axis.text(max(middle, quartiles[1]), place, text, va="center", fontsize=7)
    if LIMIT in result.figures:
        axis.axvline(result.figures[LIMIT]["median"] / unit, color="black", lw=0.8, ls=":")
    axis.set_yticks(range(len(ranked)), ranked)
    axis.set_ylim(-0.7, len(ranked) - 0.3)
    axis.grid(axis="y", color="#e4e4e4", lw=0.6)
    axis.set_axisbelow(True)
    axis.set_xscale("log")
    axis.margins(x=0.25)
    decorate(axis, case, "ms (dotted: BLAS limit)" if LIMIT in result.figures else "ms")


def lines(axis: Any, case: Case, result: Result) -> None:
    """Seconds a call over the number of steps, both logarithmic."""
    for name, rows in result.samples.items():
        axis.plot(
            [row["steps"] for row in rows],
            [row["seconds"] for row in rows],
            marker="o",
            ms=3,
            label=name,
            color=color(name),
        )
        axis.annotate(name, (rows[-1]["steps"], rows[-1]["seconds"]), fontsize=7)
    axis.set_xscale("log")
    axis.set_yscale("log")
    decorate(axis, case, "steps; vertically seconds a call")


def decorate(axis: Any, case: Case, label: str) -> None:
    axis.set_title(case.title.replace("`", ""), fontsize=8)
    axis.set_xlabel(label, fontsize=7)
    axis.tick_params(labelsize=7)
    axis.tick_params(axis="x", which="minor", labelbottom=False)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
