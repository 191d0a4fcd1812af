"""fit: the loop over epochs and batches around a training step, and what is done between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from time import perf_counter
from typing import Any

import numpy as np

from autograd.describe import brief
from autograd.errors import GraphError, LoopGradError
from autograd.spec import make_spec
from nn.callbacks import Callbacks
from nn.checkpoint.folder import Checkpoints
from nn.checkpoint.stopping import Stop
from nn.data import Batch, Epochs, checked_bool, checked_size
from nn.evaluate import Evaluation, Given, as_epochs, count_of, evaluating
from nn.history import History
from nn.module import Module, assign
from nn.optim import Average
from nn.optim.groups import number_at_least_zero
from nn.optim.schedules import Plateau
from nn.progress import Progress
from nn.train import TrainingStep

ALL = 1e9
"""Seconds that no call of `many` takes: all its steps are one chunk."""


def fit(
    step: TrainingStep,
    batches: Any,
    epochs: int = 1,
    *,
    validation: Any = None,
    metrics: Any = None,
    model: Module | None = None,
    patience: int | None = None,
    monitor: str | None = None,
    min_delta: float = 0.0,
    largest: bool = False,
    restore_best: bool = True,
    callbacks: Any = (),
    progress: bool | None = None,
    checkpoints: Checkpoints | str | os.PathLike[str] | None = None,
    history: History | None = None,
    steps_per_call: int = 1,
) -> History:
    """Train for `epochs` epochs; return the history: the means of each.

        step = nn.TrainingStep(loss, nn.Adam(model.parameters()))
        history = nn.fit(step, nn.Batches(32, xs=xs, ys=ys), epochs=10, validation=held_out)
        print(history)                      # epoch, loss, val_loss, lr, seconds

    `batches` are `nn.Batches` and its like, a list of dicts of arrays, or a function of the number
    of the epoch that returns such. Each output of the loss function that is a single number has its
    mean over an epoch in the history, weighted by the examples of the batches.

    `validation`, batches or one dict of arrays, is measured after each epoch as by `nn.evaluate`:
    by the loss function, or by `metrics`, a function of such a batch; or it is a function of
    nothing that returns a dict of numbers. `model` is in `eval()` meanwhile. If the optimizer is an
    `nn.Average`, the parameters are their averages meanwhile.

    Training ends early if `monitor` (by default "val_loss", or "loss" without validation) was no
    better than in its best epoch by more than `min_delta` for `patience` epochs; with patience the
    parameters are at last those of the best epoch, unless `restore_best=False`. `monitor` is told
    to `nn.schedules.Plateau` schedules of the optimizer, too. Better is smaller, or `largest`.

    `callbacks` are functions of the history, called after each epoch, or objects with
    `on_epoch_end(history)` or `on_step(history, outputs)`. One that returns True ends training;
    `history.stopped` says why it ended (set it to None to go on all the same). `progress` shows a
    bar (by tqdm, else a line) on stderr; by default if that is a terminal.

    `checkpoints` (a folder, or `nn.Checkpoints` with model and optimizer among its parts) are saved
    whenever one is due, and at the end. If the folder has any, training goes on from the last one
    to the bit: parameters, optimizer, order of data, means. `history=` goes on with an earlier one
    in the same process, as after Ctrl-C.

    Ctrl-C waits for the end of the step (a second one does not), then a checkpoint is saved, and it
    is a KeyboardInterrupt whose attribute `history` is the history up to there.

    `steps_per_call=k` does k steps on batches of one kind in one call of `step.many`: quicker for
    small models, equal to rounding. Steps are told, saved and interrupted only between calls.
    """
    if not isinstance(step, TrainingStep):
        raise LoopGradError(
            "fit takes a training step first: nn.fit(nn.TrainingStep(loss, optimizer), batches, "
            f"epochs=10), but got {brief(step)}"
        )
    if history is None:
        history = History()
    if not isinstance(history, History):
        raise LoopGradError(f"history must be an nn.History, but is {type(history).__name__}")
    return _Fit(
        step,
        as_epochs(batches, "batches", checked_size("epochs", epochs)),
        int(epochs),
        history,
        Callbacks(callbacks),
        _Validation(step, validation, metrics, model),
        _Measure(monitor, validation is not None, patience, min_delta, largest, restore_best),
        _saver(step, checkpoints, model),
        checked_size("steps_per_call", steps_per_call),
    ).train(None if progress is None else checked_bool("progress", progress))


class _Validation:
    """What is measured between epochs."""

    def __init__(self, step: TrainingStep, given: Any, metrics: Any, model: Module | None) -> None:
        self.optimizer = step.optimizer
        self.model = model
        self.function = None
        self.source: Epochs | None = None
        self.names: list[str] = []
        """What the numbers are called; of a function nobody knows before it is called."""
        with evaluating(model):
            if given is None:
                if metrics is not None:
                    raise LoopGradError("metrics measure validation=..., but there is none")
            elif callable(given) and not isinstance(given, Epochs):
                self.function = given
            else:
                self.source = as_epochs(given, "validation", 2)
                measured = step.loss if metrics is None else metrics
                self.evaluation = Evaluation(measured, step.backend)
                try:
                    for batch in islice(self.source.of_epoch(0), 1):
                        self.names = [f"val_{x}" for x in self.evaluation.draw(batch)]
                except LoopGradError as error:
                    error.add_note("this is about the data given as validation=")
                    raise

    @contextmanager
    def measured(self) -> Iterator[dict[str, float]]:
        """Measure; while the `with` block is open, parameters are as they were measured."""
        optimizer = self.optimizer
        swap = optimizer.swapped() if isinstance(optimizer, Average) else nullcontext()
        with swap:
            with evaluating(self.model):
                found = self._found()
            yield {f"val_{name}": x for name, x in found.items()}

    def _found(self) -> Mapping[str, float]:
        if self.source is not None:
            return self.evaluation.means(self.source)
        if self.function is None:
            return {}
        found = self.function()
        if not isinstance(found, Mapping):
            raise LoopGradError(
                "a function given as validation must return a dict of numbers, but returned "
                f"{type(found).__name__} {found!r:.60}"
            )
        values: dict[str, Any] = {name: getattr(x, "value", x) for name, x in found.items()}
        return {name: float(x) for name, x in values.items()}


class _Measure:
    """Which number says how good an epoch was, and when to have patience no longer."""

    def __init__(
        self,
        name: str | None,
        validated: bool,
        patience: Any,
        min_delta: Any,
        largest: Any,
        restore: Any,
    ) -> None:
        self.asked = name is not None
        self.name = name or ("val_loss" if validated else "loss")
        self.patience = None if patience is None else checked_size("patience", patience)
        self.min_delta = number_at_least_zero("min_delta", min_delta)
        self.largest = checked_bool("largest", largest)
        self.restore = checked_bool("restore_best", restore) and patience is not None

    def best(self, history: History) -> int | None:
        """Return the number of the best epoch."""
        return history.best(self.name, largest=self.largest, min_delta=self.min_delta)

    def check(self, names: Sequence[str], needed: bool) -> None:
        """Check that an epoch has the number, if it was asked for or is needed."""
        if (self.asked or needed or self.patience is not None) and self.name not in names:
            raise LoopGradError(
                f"monitor is '{self.name}', but an epoch has {', '.join(names)}; give the name of "
                "one of these"
            )

    def over(self, history: History) -> str | None:
        """Return why to stop, if patience is over."""
        if self.patience is None or not history.epochs:
            return None
        best = self.best(history)
        bad = history.epochs - (0 if best is None else best + 1)
        if bad < self.patience:
            return None
        value = "" if best is None else f", which was {history[self.name][best]:.5g}"
        best_epoch = "no epoch" if best is None else f"epoch {best + 1}"
        return f"{self.name} was best in {best_epoch}{value}"


class _Fit:
    """One call of `fit`."""

    def __init__(
        self,
        step: TrainingStep,
        source: Epochs,
        epochs: int,
        history: History,
        callbacks: Callbacks,
        validation: _Validation,
        measure: _Measure,
        checkpoints: Checkpoints | None,
        steps_per_call: int,
    ) -> None:
        self.step = step
        self.source = source
        self.epochs = epochs
        self.history = history
        self.callbacks = callbacks
        self.validation = validation
        self.measure = measure
        self.checkpoints = checkpoints
        self.steps_per_call = steps_per_call
        self.stop = Stop()
        optimizer = step.optimizer
        schedules = [
            where.get(key) if isinstance(where, dict) else getattr(where, key)
            for _, where, key in optimizer.number_places()
        ]
        self.plateaus = [x for x in dict.fromkeys(schedules) if isinstance(x, Plateau)]
        if callbacks.on_step and steps_per_call > 1:
            raise LoopGradError(
                f"a callback has on_step, which is told of each step, but steps_per_call="
                f"{steps_per_call} does many at a time; leave out one of them"
            )

    def train(self, progress: bool | None) -> History:
        history, source = self.history, self.source
        if self.checkpoints is not None:
            self._share_parts(self.checkpoints)
            self.checkpoints.resume()
        self._find_place()
        count = count_of(source)
        total = None if count is None else count * self.epochs
        try:
            with self._guard(), Progress(progress, history, self.epochs, total) as shown:
                while history.epochs < self.epochs and history.stopped is None:
                    self._epoch(shown)
                if self.checkpoints is not None:
                    self.checkpoints.save(history.steps)
                if self.measure.restore and history.best_values:
                    assign(dict(zip(self._parameters(), _copies(history.best_values), strict=True)))
        except KeyboardInterrupt as error:
            error.history = history  # type: ignore[attr-defined]
            raise
        return history

    # Where to begin.

    def _share_parts(self, checkpoints: Checkpoints) -> None:
        """Make what this run remembers parts of the checkpoints, besides those that are there."""
        parts: dict[str, Any] = {"history": self.history}
        if not isinstance(self.source, Given):
            parts["batches"] = self.source
        if self.callbacks.state_dict():
            parts["callbacks"] = self.callbacks
        if self.step.carry:
            parts["step"] = self.step
        checkpoints.parts |= parts

    def _find_place(self) -> None:
        """Find where in which epoch to go on."""
        history, source = self.history, self.source
        if isinstance(source, Given):
            source.epoch, source.position = history.epochs, history.batch
            return
        begin = source.start()
        if not history.batch:
            source.position = begin
            if begin == len(source):
                source.advance()
            history.batch = source.position
        elif source.position != history.batch:
            raise LoopGradError(
                f"the history goes on after batch {history.batch} of an epoch, but the batches "
                f"after batch {source.position}; give those that it was made with, or a new history"
            )

    def _guard(self) -> AbstractContextManager[Any]:
        if self.checkpoints is not None:
            return self.checkpoints.guard()
        return self.stop

    # Training.

    def _epoch(self, shown: Progress) -> None:
        history, source = self.history, self.source
        before = perf_counter() - history.seconds
        for sizes, outputs in self._taken():
            if len(sizes) == 1:
                history.running.add(sizes[0], outputs)
            else:
                history.running.add_all(sizes, outputs)
            history.steps += len(sizes)
            history.batch += len(sizes)
            source.position += len(sizes)
            history.seconds = perf_counter() - before
            if history.steps == len(sizes):
                self._check_monitor()
            shown.tell()
            for hook in self.callbacks.on_step:
                if hook(history, outputs) is True:
                    history.stopped = f"a callback stopped it after step {history.steps}"
            self._between_steps()
            if history.stopped is not None:
                return
        self._end_epoch(before)
        self._between_steps()

    def _taken(self) -> Iterator[tuple[Sequence[int], Mapping[str, Any]]]:
        """Take steps on the rest of the epoch; yield (examples of each batch, outputs)."""
        source, step = self.source, self.step
        if self.steps_per_call == 1:
            for size, batch in source.sized(source.epoch, source.position):
                yield (size,), step.run(**batch)
            return
        for sizes, batches in source.grouped(source.epoch, source.position, self.steps_per_call):
            if len(sizes) == 1:
                yield sizes, step.run(**{name: x[0] for name, x in batches.items()})
            else:
                yield sizes, _many(step, batches)

    def _check_monitor(self) -> None:
        """Check after the first step that there will be the number, where that can be known."""
        if self.validation.function is None:
            names = [*self.history.running.totals, *self.validation.names]
            self._check_measured([*names, *self._rates(), "seconds"])

    def _check_measured(self, names: Iterable[str]) -> None:
        self.measure.check(list(names), bool(self.plateaus))

    def _end_epoch(self, before: float) -> None:
        history, measure = self.history, self.measure
        if not history.running.totals:
            raise GraphError(f"epoch {history.epochs + 1} has no batches")
        row, rates = history.running.means(), self._rates()
        with self.validation.measured() as found:
            row |= {**found, **rates}
            row["seconds"] = perf_counter() - before
            self._check_measured(row)
            history.add(row)
            if measure.restore and measure.best(history) == history.epochs - 1:
                history.best_values = _copies([p.value for p in self._parameters()])
        self.source.advance()
        for plateau in self.plateaus:
            plateau.report(row[measure.name])
        history.stopped = measure.over(history)
        for hook in self.callbacks.on_epoch_end:
            if hook(history) is True:
                history.stopped = f"a callback stopped it after epoch {history.epochs}"

    def _rates(self) -> dict[str, float]:
        """Return the rates of the last update."""
        optimizer = self.step.optimizer
        numbers = optimizer.numbers(max(0, optimizer.steps - 1))
        return {name: x for name, x in numbers.items() if name == "lr" or name.endswith(".lr")}

    def _between_steps(self) -> None:
        """Save if a checkpoint is due; obey Ctrl-C."""
        if self.checkpoints is not None:
            self.checkpoints.maybe_save(self.history.steps)
        elif self.stop.signal is not None:
            self.stop.leave(self.stop.signal)

    def _parameters(self) -> list[Any]:
        return self.step.optimizer.parameters


def _many(step: TrainingStep, stacked: Batch) -> dict[str, Any]:
    """Take a step on each of several batches in one call; return the numbers among the outputs.

    All of it is one chunk, whatever time others took: so the same batches give the same bits.
    """
    specs = {name: make_spec(x.shape[1:], x.dtype) for name, x in stacked.items()}
    drawn = step._drawn_for(specs)
    numbers = [name for name in drawn.outputs if not drawn.graph.outputs[name].ndim]
    given: dict[str, Any] = stacked
    chunk, drawn.chunk = drawn.chunk, len(next(iter(stacked.values())))
    try:
        return step.many(**given, outputs=numbers, seconds=ALL)
    finally:
        drawn.chunk = chunk


def _copies(values: Sequence[Any]) -> list[Any]:
    return [np.array(x) for x in values]


def _saver(step: TrainingStep, given: Any, model: Module | None) -> Checkpoints | None:
    """Return the checkpoints of a run, which must have all that it changes."""
    if given is None:
        return None
    if isinstance(given, (str, os.PathLike)):
        if model is None:
            raise LoopGradError(
                "checkpoints of a folder need to know what to save: give model=..., or "
                "nn.Checkpoints(folder, {'model': model, 'optimizer': optimizer})"
            )
        return Checkpoints(given, {"model": model, "optimizer": step.optimizer})
    if not isinstance(given, Checkpoints):
        raise LoopGradError(
            f"checkpoints must be a folder or nn.Checkpoints, but is {type(given).__name__}"
        )
    parts = list(given.parts.values())
    held = {p for part in parts if isinstance(part, Module) for p in part.parameters()}
    if step.optimizer not in parts or not held.issuperset(step.optimizer.parameters):
        raise LoopGradError(
            "to go on exactly, checkpoints must have the optimizer of the training step and a "
            f"model with all its parameters among their parts, but have {', '.join(given.parts)}"
        )
    return given
