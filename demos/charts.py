"""Charts of the demos that train on tasks, and what they say on the way."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demos.showing import INSTALL

POINTS = 250
"""The most points of a line: a chart is seen, not read."""


def chart(path: Path, what: str, paint: Callable[[Any], None], size: tuple[float, float]) -> None:
    """Have `paint` draw on a matplotlib figure of `size` inches, and write it, or say why not."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        print(f"{what}: matplotlib is not installed, so there is no chart; {INSTALL}")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # the same chart is the same file: ids in SVG are random and dated unless they are told not to
    with matplotlib.rc_context({"svg.hashsalt": "loopgrad", "svg.fonttype": "none"}):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    print(f"{what}: {path}")


def curves(
    path: Path,
    what: str,
    named: Mapping[str, Sequence[float]],
    ylabel: str,
    *,
    level: tuple[str, float] | None = None,
    log: bool = False,
) -> None:
    """Chart values of all training steps, one line each, smoothed; `level` is a line to compare."""

    def paint(figure: Any) -> None:
        axes = figure.add_subplot(xlabel="training step", ylabel=ylabel)
        for name, values in named.items():
            axes.plot(*smoothed(values), label=name, linewidth=1.2)
        if level is not None:
            axes.axhline(level[1], color="0.5", linestyle=":", label=level[0])
        if log:
            axes.set_yscale("log")
        axes.legend()

    chart(path, what, paint, (7, 4))


def smoothed(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 250 points (steps, means of the values around them)."""
    width = -(-len(values) // POINTS)
    starts = np.arange(0, len(values), width)
    sums = np.add.reduceat(np.asarray(values, np.float64), starts)
    widths = np.diff(np.append(starts, len(values)))
    return starts + (widths + 1) / 2, sums / widths


def aside(text: str) -> None:
    """Say on stderr what is not the same in every run, such as how long it took."""
    print(text, file=sys.stderr, flush=True)


def on_a_terminal() -> bool:
    """Return whether progress bars have somebody to see them."""
    return sys.stderr.isatty()
