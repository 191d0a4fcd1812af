"""How far training is, on stderr: a bar by tqdm, or a line where that is not installed."""

from __future__ import annotations

import sys
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from nn.history import History

EVERY = 0.1
"""Seconds between two looks at the numbers; what is shown faster nobody reads."""


class Progress:
    """Shows the epoch, the steps, and the running mean of the loss, for the time of a `with` block.

    `shown` is whether to; None means if stderr is a terminal. `total` is the number of steps of
    all epochs, or None if nobody knows.
    """

    def __init__(self, shown: bool | None, history: History, epochs: int, total: int | None):
        self.shown = sys.stderr.isatty() if shown is None else shown
        self.history = history
        self.epochs = epochs
        self.total = total
        self._bar: Any = None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self.shown:
            try:
                from tqdm import tqdm
            except ImportError:
                return self
            self._bar = tqdm(total=self.total, initial=self.history.steps, unit="step", leave=False)
        return self

    def tell(self) -> None:
        """Show how it is, if that was not done just before."""
        if self.shown and perf_counter() >= self._next:
            self._show()
            self._next = perf_counter() + EVERY

    def _show(self) -> None:
        history = self.history
        epoch = f"epoch {min(history.epochs + 1, self.epochs)}/{self.epochs}"
        numbers = dict(history.rows[-1]) if history.rows else {}
        if "loss" in history.running.totals:
            numbers["loss"] = history.running.means()["loss"]
        said = {name: f"{numbers[name]:.4g}" for name in ("loss", "val_loss") if name in numbers}
        if self._bar is None:
            of = f" of {self.total:,}" if self.total else ""
            losses = "".join(f", {name} {value}" for name, value in said.items())
            sys.stderr.write(f"\r{epoch}, {history.steps:,}{of} steps{losses}".ljust(70))
            sys.stderr.flush()
            return
        self._bar.set_description(epoch, refresh=False)
        self._bar.set_postfix(said, refresh=False)
        self._bar.update(history.steps - self._bar.n)
        self._bar.refresh()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.shown:
            return
        self._show()
        if self._bar is None:
            sys.stderr.write("\n")
        else:
            self._bar.close()
