"""What happened in training: means of each epoch, as a table, a plot, and data."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autograd.errors import DrawError, LoopGradError
from autograd.spec import Array

FEW = 24
"""The most epochs that a table shows all of."""
NOT_PLOTTED = ("lr", "seconds")


class Means:
    """Means of numbers by name, each value weighted by the number of examples it is of.

    Values are added one by one, in their order and in float64, so the same values give the same
    bits however they came. What is no single number (an array) is left out.
    """

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self.weights: dict[str, float] = {}

    def add(self, size: int, outputs: Mapping[str, Any]) -> None:
        """Add the outputs of one batch of `size` examples."""
        for name, x in outputs.items():
            if x.ndim == 0:
                self.totals[name] = self.totals.get(name, 0.0) + size * float(x)
                self.weights[name] = self.weights.get(name, 0.0) + size

    def add_all(self, sizes: Sequence[int], outputs: Mapping[str, Array]) -> None:
        """Add the stacked outputs (steps,) of several batches."""
        for name, x in outputs.items():
            total = self.totals.get(name, 0.0)
            for size, value in zip(sizes, x.tolist(), strict=True):
                total += size * float(value)
            self.totals[name] = total
            self.weights[name] = self.weights.get(name, 0.0) + sum(sizes)

    def means(self) -> dict[str, float]:
        """Return the means by name."""
        return {name: total / self.weights[name] for name, total in self.totals.items()}


class History(Mapping[str, list[float]]):
    """The means of each epoch by name: `history["loss"]` is a list, one number an epoch.

    Beside the outputs of the loss function there are those of validation (`val_loss`), `lr` (that
    of the last update), and `seconds`. An epoch without a number has NaN there. It prints as a
    table; `history.plot("loss.png")` draws it; `dict(history)` is JSON.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        """One dict an epoch."""
        self.steps = 0
        """How many updates there have been, in all epochs."""
        self.batch = 0
        """How many batches of the running epoch are done: 0 between two epochs."""
        self.running = Means()
        """The means of the running epoch."""
        self.seconds = 0.0
        """How long the running epoch has taken."""
        self.stopped: str | None = None
        """Why training ended before its last epoch; None if it did not."""
        self.best_values: list[Array] = []
        """The values of the parameters after the best epoch, where `fit` looks for one."""

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.rows)

    def _names(self) -> dict[str, None]:
        names = dict.fromkeys([name for row in self.rows for name in row])
        # what is about the run and not about the model goes last
        return {x: None for x in names if x not in NOT_PLOTTED} | names

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._names():
            raise KeyError(f"{name!r} is not in the history; it has {', '.join(self) or 'nothing'}")
        return [row.get(name, math.nan) for row in self.rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def add(self, row: Mapping[str, float]) -> None:
        """Add the row of the epoch that is over, and begin the next one."""
        self.rows.append({name: float(x) for name, x in row.items()})
        self.batch, self.running, self.seconds = 0, Means(), 0.0

    def best(
        self, name: str = "loss", *, largest: bool = False, min_delta: float = 0.0
    ) -> int | None:
        """Return the number (from 0) of the epoch in which `name` was best: smallest, or largest.

        An epoch is better than the best one so far if it is so by more than `min_delta`; so the
        first of equal ones counts. NaN is never better; None if there is nothing else.
        """
        found, edge = None, math.inf
        for i, value in enumerate(self[name] if self.rows else []):
            value = -value if largest else value
            if value < edge:
                found, edge = i, value - min_delta
        return found

    # As data.

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, as a checkpoint keeps it."""
        own = {name: getattr(self, name) for name in ("steps", "batch", "seconds", "stopped")}
        own["rows"] = [dict(row) for row in self.rows]
        own["totals"], own["weights"] = dict(self.running.totals), dict(self.running.weights)
        return own | {f"best.{i}": np.array(x) for i, x in enumerate(self.best_values)}

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over what `state_dict` returned."""
        best = {name for name in state if name.startswith("best.")}
        if set(state) - best != set(History().state_dict()) or best != {
            f"best.{i}" for i in range(len(best))
        }:
            raise LoopGradError(
                f"this is not the state of a History: it has {', '.join(map(str, state)):.200}"
            )
        self.rows = [dict(row) for row in state["rows"]]
        self.steps, self.batch = int(state["steps"]), int(state["batch"])
        self.seconds, self.stopped = float(state["seconds"]), state["stopped"]
        self.running = Means()
        self.running.totals = dict(state["totals"])
        self.running.weights = dict(state["weights"])
        self.best_values = [np.array(state[f"best.{i}"]) for i in range(len(best))]

    # To look at.

    def __repr__(self) -> str:
        if not self.rows:
            return "<History of no epoch>"
        names = list(self)
        table = [["epoch", *names]]
        for i, row in enumerate(self.rows):
            table.append([str(i + 1), *[_shown(name, row.get(name)) for name in names]])
        if len(table) > FEW + 1:
            table[4 : len(table) - FEW + 4] = [["..."] * len(table[0])]
        widths = [max([len(line[k]) for line in table]) for k in range(len(table[0]))]
        lines = ["  ".join(map(str.rjust, line, widths)) for line in table]
        return "\n".join([*lines, *([f"stopped: {self.stopped}"] if self.stopped else [])])

    def plot(self, path: str | os.PathLike[str], *names: str) -> Path:
        """Draw curves over the epochs to a file (.png, .svg, .pdf), and return its path.

        `names` are those drawn, by default all but lr and seconds. A measure and its validation
        (`loss`, `val_loss`) share axes. DrawError says what to install, or what to draw.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise DrawError(
                "curves are drawn by matplotlib, which is not installed; install it with: python "
                "-m pip install 'loopgrad[demos]'"
            ) from None
        wanted = names or [name for name in self if name not in NOT_PLOTTED]
        missing = [name for name in wanted if name not in self]
        if missing or not wanted:
            raise DrawError(
                f"there is no '{', '.join(missing) or 'epoch'}' in the history to draw; it has "
                f"{', '.join(self) or 'nothing'}"
            )
        together: dict[str, list[str]] = {}
        for name in wanted:
            together.setdefault(name.removeprefix("val_"), []).append(name)
        figure = Figure(figsize=(6, 3 * len(together)), layout="constrained")
        epochs = range(1, self.epochs + 1)
        for i, (measure, lines) in enumerate(together.items()):
            axes = figure.add_subplot(len(together), 1, i + 1, xlabel="epoch", ylabel=measure)
            for name in lines:
                axes.plot(epochs, self[name], marker="." if self.epochs < 50 else "", label=name)
            axes.legend()
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target)
        return target


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if name == "seconds" else f"{value:.5g}"
