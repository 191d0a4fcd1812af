"""A small task for cells that keep something: the latest marked number, at each step."""

from pathlib import Path
from typing import Any

import numpy as np

from autograd.spec import Array
from demos.charts import chart

MARKED = 0.15
"""The probability of a mark."""


def latch(rng: np.random.Generator, steps: int = 20, size: int = 16) -> dict[str, Array]:
    """Return xs (steps, size, 2), numbers and marks (0 or 1), and ys (steps, size, 1).

    ys are the numbers that came with the latest mark so far, 0 before the first one.
    """
    numbers, marks = rng.normal(size=(steps, size)), rng.random((steps, size)) < MARKED
    ys = np.zeros((steps + 1, size))
    for t in range(steps):
        ys[t + 1] = np.where(marks[t], numbers[t], ys[t])
    return {"xs": np.stack([numbers, marks], axis=2), "ys": ys[1:, :, None]}


def show_gate(path: Path, xs: Array, ys: Array, outputs: Array, gate: Array) -> None:
    """Chart the first of some sequences (T, B, ...): what goes in and out, below it the gates."""
    xs, ys, outputs, gate = (x[:, 0] for x in (xs, ys, outputs, gate))

    def paint(figure: Any) -> None:
        upper, lower = figure.subplots(2, sharex=True)
        marked = np.flatnonzero(xs[:, 1])
        upper.plot(xs[:, 0], ".", color="0.7", label="numbers")
        upper.plot(marked, xs[marked, 0], "o", color="tab:red", label="marked numbers")
        upper.step(range(len(ys)), ys[:, 0], where="mid", color="0.5", label="wanted")
        upper.plot(outputs[:, 0], "x", color="tab:blue", label="put out")
        upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
        image = lower.imshow(gate.T, aspect="auto", vmin=0, vmax=1, cmap="Blues")
        lower.set(xlabel="step", ylabel="unit")
        figure.colorbar(image, ax=(upper, lower), label="gate f")

    chart(path, "the gate at each step", paint, (8, 4.5))
