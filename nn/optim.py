"""Optimizers: an update rule in ops, and the eager habit of `backward()` and `step()`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from autograd import Parameter
from autograd.errors import DTypeError, GradientError, LoopGradError, ShapeError
from autograd.spec import Array

State = tuple[Any, ...]


class SGD:
    """Stochastic gradient descent with (heavy-ball) momentum, as in torch.

        velocity = momentum * velocity + gradient
        parameter = parameter - lr * velocity

    `update` is ops on (parameter, gradient, state): given arrays it computes, given virtual nodes
    it draws. Parameters are given new values, never written into.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float, momentum: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.lr = _at_least_zero("lr", lr)
        self.momentum = _at_least_zero("momentum", momentum)
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise DTypeError(
                    f"SGD trains parameters, but got {type(parameter).__name__} {parameter!r}; "
                    "make it with autograd.parameter(name, value)"
                )
        if not self.parameters or len(set(self.parameters)) < len(self.parameters):
            raise LoopGradError(
                f"SGD needs parameters, each of them once, but got {len(self.parameters)} with "
                f"{len(set(self.parameters))} different ones; pass module.parameters()"
            )
        self.state = [self.init(parameter) for parameter in self.parameters]

    def init(self, parameter: Any) -> State:
        """Return the state before the first update: the velocity, if there is momentum."""
        return (np.zeros(parameter.shape, parameter.dtype),) if self.momentum else ()

    def update(self, parameter: Any, gradient: Any, state: State) -> tuple[Any, State]:
        """Return the new parameter and the new state."""
        if not state:
            return parameter - self.lr * gradient, ()
        velocity = self.momentum * state[0] + gradient
        return parameter - self.lr * velocity, (velocity,)

    def step(self, gradients: Sequence[Array] | None = None) -> None:
        """Update every parameter by its `.grad`, or by the one of `gradients` in its place.

        Parameters without a gradient stay as they are. Call it after `backward()`.
        """
        if gradients is None:
            given = [None if p.grad is None else p.grad.value for p in self.parameters]
        elif len(gradients) == len(self.parameters):
            given = list(gradients)
        else:
            raise GradientError(
                f"step needs one gradient a parameter: {len(self.parameters)} expected, "
                f"{len(gradients)} came"
            )
        updated = []
        for parameter, gradient, state in zip(self.parameters, given, self.state, strict=True):
            if gradient is None:
                updated.append((parameter._value, state))
                continue
            if gradient.shape != parameter.shape:
                raise ShapeError(
                    f"the gradient of parameter '{parameter.name}' must be of shape "
                    f"{parameter.shape}, but is {gradient.shape}"
                )
            updated.append(self.update(parameter.value, gradient, state))
        # Nothing is replaced before everything is computed: an error leaves the model as it was.
        for i, (value, state) in enumerate(updated):
            if given[i] is not None:
                self.parameters[i].value = value
                self.state[i] = state

    def zero_grad(self) -> None:
        """Forget the gradients that `backward()` has accumulated."""
        for parameter in self.parameters:
            parameter.grad = None


def _at_least_zero(name: str, value: float) -> float:
    if not value >= 0 or value == float("inf"):
        raise LoopGradError(f"{name} must be a number >= 0, but is {value!r}")
    return value
