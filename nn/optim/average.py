"""Averages of parameters over the steps of training, kept beside them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import DTypeError, LoopGradError
from autograd.node import _next_serial
from nn.optim.clip import in_dtype
from nn.optim.groups import Group
from nn.optim.optimizer import CLIPPING, Number, Optimizer, State


class Average(Optimizer):
    """An optimizer that also keeps an average of each parameter: it takes the place of `optimizer`.

        averaged = nn.Average(nn.Adam(model.parameters()), decay=0.999)
        step = nn.TrainingStep(loss, averaged)
        ...
        with averaged.swapped():  # the model's parameters are their averages
            evaluate(model)

    average = decay * average + (1 - decay) * parameter, after every update; the first time the
    parameter itself, as in torch's AveragedModel with an EMA. `corrected=True` weighs the start as
    Adam does: 1 - decay becomes (1 - decay) / (1 - decay^n) for the n-th, so that all weights add
    up to 1 and none is that of the first value only. `decay=None` is the mean of all (Polyak and
    Juditsky 1992; stochastic weight averaging). Averages begin after `begin` updates, from where
    the optimizer is by default, and until then are the parameters.

    The rates and other numbers are those of `optimizer`, which goes on from where it was: change
    them there (`averaged.optimizer.lr`), or in `averaged.groups`; `averaged.lr` is the same too.
    A parameter that is given no gradient keeps its average. The state is in here from now on, so
    `optimizer` itself is not to be stepped or saved any more.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        decay: Number | None = 0.999,
        *,
        corrected: bool = False,
        begin: int | None = None,
    ) -> None:
        given: Any = optimizer
        if not isinstance(given, Optimizer) or isinstance(given, Average):
            raise DTypeError(
                f"Average takes an optimizer (and no other Average), but got "
                f"{type(given).__name__} {given!r:.60}; write for example "
                "nn.Average(nn.Adam(model.parameters()))"
            )
        if decay is None and corrected:
            raise LoopGradError(
                "the mean of all parameters (decay=None) needs no correction; leave out corrected"
            )
        self.optimizer = optimizer
        self.corrected = corrected
        self.hyper = ("begin",) if decay is None else ("decay", "begin")
        self.below_one = (*optimizer.below_one, "decay")
        self._swapped = False
        numbers = {} if decay is None else {"decay": decay}
        begin = optimizer.steps if begin is None else begin
        super().__init__(optimizer.parameters, begin=begin, **numbers)
        own = [f"average.{name}" for name in self.hyper]
        self.number_names = (*optimizer.number_names, *own)
        self._elsewhere = {*optimizer.hyper, *CLIPPING} - {"lr", *self.hyper}
        values = [np.array(parameter.value) for parameter in self.parameters]
        self._state = [(*x, y) for x, y in zip(optimizer.state, values, strict=True)]
        self._steps = optimizer.steps

    @property
    def lr(self) -> Number:
        """The rate of the optimizer."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, number: Number) -> None:
        self.optimizer.lr = number

    @property
    def groups(self) -> list[Group]:
        """The groups of the optimizer."""
        return self.optimizer.groups

    @property
    def averages(self) -> list[Any]:
        """The average of each parameter, in their order: arrays."""
        return [state[-1] for state in self.state]

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Give the parameters their averages as values, for the time of a `with` block.

        After it they have their own again, whatever is raised. No step can be taken in it.
        """
        if self._swapped:
            raise LoopGradError("the parameters are their averages already: swapped() is open")
        own = [parameter._value for parameter in self.parameters]
        self._swapped = True
        try:
            self._assign(self.averages)
            yield
        finally:
            self._assign(own)
            self._swapped = False

    def _assign(self, values: Sequence[Any]) -> None:
        """Give all parameters values, in one call into C."""
        count = len(values)
        names = [name for name in ("_array", "_assigned", "_lent") for _ in range(count)]
        new = [*values, *[_next_serial()] * count, *[None] * count]
        deque(map(setattr, self.parameters * 3, names, new), maxlen=0)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies take over: an optimizer of their own, too."""
        return {**super().__getstate__(), "optimizer": copy(self.optimizer), "_swapped": False}

    def __repr__(self) -> str:
        return f"<Average of {self.optimizer!r}, at {self.steps} updates>"

    def part_names(self, state: State) -> list[str]:
        return [*self.optimizer.part_names(state[:-1]), "average"]

    def number_places(self) -> list[tuple[str, Any, str]]:
        own = [(f"average.{name}", self, name) for name in self.hyper]
        return [*self.optimizer.number_places(), *own]

    def numbers(self, steps: int) -> dict[str, float]:
        own = {}
        for name in self.hyper:
            number = getattr(self, name)
            own[f"average.{name}"] = self.checked(
                name, number(steps) if callable(number) else number
            )
        return {**self.optimizer.numbers(steps), **own}

    def _given(self) -> tuple[Any, ...]:
        if self._swapped:
            raise LoopGradError(
                "the parameters are their averages inside swapped(), and must not be trained; take "
                "steps after the block"
            )
        lost = self._elsewhere & self.__dict__.keys()
        if lost:
            name = min(lost)
            raise LoopGradError(
                f"{name} is a number of the optimizer that is averaged; set it there: "
                f"averaged.optimizer.{name} = {getattr(self, name)!r:.60}"
            )
        own = [getattr(self, name) for name in self.hyper]
        return (*self.optimizer._given(), *own)

    def updated(
        self,
        numbers: Sequence[int],
        parameters: Sequence[Any],
        gradients: Sequence[Any],
        states: Sequence[State],
        step: Any,
        hyper: Mapping[str, Any],
    ) -> list[tuple[Any, State]]:
        inner = [state[:-1] for state in states]
        updated = self.optimizer.updated(numbers, parameters, gradients, inner, step, hyper)
        keep, new = self._weights(step, hyper)
        results = []
        for (value, after), state in zip(updated, states, strict=True):
            dtype = value.dtype
            average = in_dtype(dtype, keep) * state[-1] + in_dtype(dtype, new) * value
            results.append((value, (*after, average)))
        return results

    def _weights(self, step: Any, hyper: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return how much of the old average and of the parameter the new average has."""
        count = ag.maximum(step - hyper["average.begin"], 1.0)
        if "average.decay" not in hyper:
            return 1 - 1 / count, 1 / count
        decay = hyper["average.decay"]
        if self.corrected:
            left = 1 - ag.power(decay, count)
            new = (1 - decay) / left
            return 1 - new, new
        first = ag.less_equal(count, 1.0)
        return ag.where(first, 0.0, decay), ag.where(first, 1.0, 1 - decay)
