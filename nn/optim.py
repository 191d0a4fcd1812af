"""Optimizers: update rules in ops, for training steps drawn as graphs and for the eager habit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

import autograd as ag
from autograd import Parameter
from autograd.errors import DTypeError, GradientError, LoopGradError, ShapeError
from autograd.node import _next_serial
from autograd.spec import Array, Spec

State = tuple[Any, ...]
Number = float | Callable[[int], float]
"""A number, or a schedule: a function of how many updates there have been, 0 before the first."""


class Optimizer:
    """What all optimizers share: parameters, their state, and the step.

    A subclass says how one parameter is updated: `init`, `update` and, if some numbers are worked
    out once a step for all parameters, `scalars`. They are written in ops, so the same code
    computes (`step`, after `backward()`) and draws (`nn.TrainingStep`); the two may take turns.
    Parameters are given new values, never written into.
    """

    hyper: ClassVar[tuple[str, ...]] = ("lr",)
    """The attributes that are numbers >= 0, or schedules. They may be changed between steps."""
    state_names: ClassVar[tuple[str, ...]] = ()
    """What each part of a parameter's state is called in graphs and pictures."""
    lr: Number

    def __init__(self, parameters: Iterable[Parameter], **hyper: Number) -> None:
        name = type(self).__name__
        given: Any = parameters
        if not isinstance(given, Iterable) or isinstance(given, Parameter):
            raise DTypeError(
                f"{name} takes a list of parameters, but got {type(parameters).__name__} "
                f"{parameters!r:.60}; pass module.parameters(), or [parameter]"
            )
        self.parameters = list(parameters)
        for key, number in hyper.items():
            setattr(self, key, number if callable(number) else _at_least_zero(key, number))
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise DTypeError(
                    f"{name} trains parameters, but got {type(parameter).__name__} {parameter!r}; "
                    "make it with autograd.parameter(name, value)"
                )
        if not self.parameters or len(set(self.parameters)) < len(self.parameters):
            raise LoopGradError(
                f"{name} needs parameters, each of them once, but got {len(self.parameters)} with "
                f"{len(set(self.parameters))} different ones; pass module.parameters()"
            )
        self._state: list[State] = [self.init(parameter) for parameter in self.parameters]
        self._steps = 0
        self._lent: Any = None
        """The training step in whose memory state and steps are (`nn.resident`), or None."""
        self._known_places: dict[tuple[int, ...], tuple[list[Any], list[str]]] = {}

    @property
    def state(self) -> list[State]:
        """The state of each parameter, in their order: arrays."""
        self.settle()
        return self._state

    @property
    def steps(self) -> int:
        """How many updates there have been."""
        lent = self._lent
        return self._steps if lent is None else lent.steps

    def settle(self) -> None:
        """Take back what is in a training step's memory, as `Parameter.settle` does."""
        lent = self._lent
        if lent is None:
            return
        with lent.lock:
            if self._lent is lent:
                kept = lent if lent.busy else None
                state, steps = lent.read(self._state)
                self._state, self._steps, self._lent = state, steps, kept

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies take over: nothing of it is in a training step's memory."""
        self.settle()
        return {**self.__dict__, "_lent": None, "_known_places": {}}

    def init(self, parameter: Any) -> State:
        """Return the state of a parameter before the first update: arrays of any shape."""
        return ()

    def scalars(self, step: Any, *args: Any, **hyper: Any) -> dict[str, Any]:
        """Return the numbers `update` takes, from those in `hyper` and the number of this update.

        All are float64 scalars; the first update is number 1. `update` is given them in the dtype
        of its parameter.
        """
        return hyper

    def update(
        self, parameter: Any, gradient: Any, state: State, *args: Any, **scalars: Any
    ) -> tuple[Any, State]:
        """Return the new parameter and the new state; `scalars` come as keyword arguments."""
        raise LoopGradError(
            f"{type(self).__name__} has no update; write one that returns the new parameter and "
            "state, in ops"
        )

    def numbers(self, steps: int) -> dict[str, float]:
        """Return the numbers in `hyper` as they are after `steps` updates."""
        found = {}
        for name in self.hyper:
            number = getattr(self, name)
            found[name] = _at_least_zero(name, number(steps) if callable(number) else number)
        return found

    def updated(
        self,
        parameters: Sequence[Any],
        gradients: Sequence[Any],
        states: Sequence[State],
        step: Any,
        hyper: Mapping[str, Any],
    ) -> list[tuple[Any, State]]:
        """Return the new value and state of each parameter: arrays, or nodes if these are nodes.

        `step` (1 for the first update) and the values of `hyper` are float64 scalars.
        """
        scalars = self.scalars(step, **hyper)
        cast: dict[Any, dict[str, Any]] = {}
        results = []
        for parameter, gradient, state in zip(parameters, gradients, states, strict=True):
            dtype = parameter.dtype
            if dtype not in cast:
                cast[dtype] = {name: _in(dtype, number) for name, number in scalars.items()}
            result, after = self.update(parameter, gradient, state, **cast[dtype])
            self._check_kept("a parameter", parameter, result)
            if len(after) != len(state):
                raise LoopGradError(
                    f"the update of {type(self).__name__} must return a state of {len(state)} "
                    f"parts, as its init does, but returned {len(after)}"
                )
            for x, y in zip(state, after, strict=True):
                self._check_kept("a state", x, y)
            results.append((result, after))
        return results

    def _check_kept(self, what: str, before: Any, after: Any) -> None:
        if before.shape != after.shape or before.dtype != after.dtype:
            raise ShapeError(
                f"the update of {type(self).__name__} made {Spec(after.shape, after.dtype)} of "
                f"{what} that was {Spec(before.shape, before.dtype)}; it must keep shape and dtype"
            )

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
        for parameter, gradient in zip(self.parameters, given, strict=True):
            if gradient is not None and gradient.shape != parameter.shape:
                raise ShapeError(
                    f"the gradient of parameter '{parameter.name}' must be of shape "
                    f"{parameter.shape}, but is {gradient.shape}"
                )
        chosen = [i for i, gradient in enumerate(given) if gradient is not None]
        hyper = {name: np.array(x) for name, x in self.numbers(self.steps).items()}
        with ag.no_grad():
            results = self.updated(
                [self.parameters[i].value for i in chosen],
                [given[i] for i in chosen],
                [self.state[i] for i in chosen],
                np.array(self.steps + 1.0),
                hyper,
            )
        self.replace(chosen, [x for x, _ in results], [state for _, state in results], 1)

    def replace(
        self,
        numbers: Sequence[int],
        values: Sequence[Any],
        states: Sequence[State],
        steps: int,
    ) -> None:
        """Give the parameters of these numbers new values and states, after so many more updates.

        All of it happens in one call into C, in which no signal is handled and no other thread
        runs: Ctrl-C leaves the model before a step or after it, and nobody sees half of one.
        """
        every = self.state
        if any(states):
            every = list(every)
            for i, state in zip(numbers, states, strict=True):
                every[i] = tuple([_own(x) for x in state])
        targets, names = self._places(tuple(numbers))
        new: list[Any] = [_own(x) for x in values]
        count = len(new)
        new += [_next_serial()] * count
        new += [None] * count
        new += [every, self.steps + steps, None]
        deque(map(setattr, targets, names, new), maxlen=0)

    def _places(self, numbers: tuple[int, ...]) -> tuple[list[Any], list[str]]:
        """Return the objects and the names of the attributes that an update replaces."""
        known = self._known_places.get(numbers)
        if known is None:
            some = [self.parameters[i] for i in numbers]
            names = [name for name in ("_array", "_assigned", "_lent") for _ in some]
            names += ["_state", "_steps", "_lent"]
            # the optimizer itself is left out, or it would be a cycle
            known = self._known_places[numbers] = [*some, *some, *some], names
        targets, names = known
        return [*targets, self, self, self], names

    def zero_grad(self) -> None:
        """Forget the gradients that `backward()` has accumulated."""
        for parameter in self.parameters:
            parameter.grad = None


class SGD(Optimizer):
    """Stochastic gradient descent with (heavy-ball) momentum, as in torch.

    velocity = momentum * velocity + gradient
    parameter = parameter - lr * velocity
    """

    hyper = ("lr", "momentum")
    state_names = ("velocity",)
    momentum: Number

    def __init__(self, parameters: Iterable[Parameter], lr: Number, momentum: Number = 0.0) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum)

    def init(self, parameter: Any) -> State:
        """Return the velocity before the first update, zero, if there is momentum."""
        return (np.zeros(parameter.shape, parameter.dtype),) if self.momentum else ()

    def update(
        self, parameter: Any, gradient: Any, state: State, lr: Any, momentum: Any
    ) -> tuple[Any, State]:
        if not state:
            return parameter - lr * gradient, ()
        velocity = momentum * state[0] + gradient
        return parameter - lr * velocity, (velocity,)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), `eps` outside the root, as in torch.

    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient^2
    parameter = parameter - lr * (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + eps)
    """

    hyper = ("lr", "beta1", "beta2", "eps")
    state_names = ("mean", "square")
    beta1: Number
    beta2: Number
    eps: Number

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: Number = 1e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
    ) -> None:
        super().__init__(parameters, lr=lr, beta1=betas[0], beta2=betas[1], eps=eps)
        for name in ("beta1", "beta2"):
            beta = getattr(self, name)
            if not callable(beta) and beta >= 1:
                raise LoopGradError(f"{name} of Adam must be a number below 1, but is {beta!r}")

    def init(self, parameter: Any) -> State:
        zeros = np.zeros(parameter.shape, parameter.dtype)
        return zeros, zeros

    def scalars(self, step: Any, lr: Any, beta1: Any, beta2: Any, eps: Any) -> dict[str, Any]:
        """Return the rate and the root with both corrections for the start from zero."""
        return {
            "rate": lr / (1 - beta1**step),
            "root": ag.sqrt(1 - beta2**step),
            "beta1": beta1,
            "new1": 1 - beta1,
            "beta2": beta2,
            "new2": 1 - beta2,
            "eps": eps,
        }

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        rate: Any,
        root: Any,
        beta1: Any,
        new1: Any,
        beta2: Any,
        new2: Any,
        eps: Any,
    ) -> tuple[Any, State]:
        mean = beta1 * state[0] + new1 * gradient
        square = beta2 * state[1] + new2 * ag.square(gradient)
        scale = ag.sqrt(square) / root + eps
        return parameter - rate * mean / scale, (mean, square)


def _in(dtype: Any, number: Any) -> Any:
    """Return a scalar array or node in another dtype."""
    return number if number.dtype == dtype else ag.astype(number, dtype=dtype.name)


def _own(value: Any) -> Array:
    """Return `value` as an array that is no part of another: it may be kept for long."""
    if type(value) is np.ndarray and value.base is None:
        return value
    return np.array(value)


def _at_least_zero(name: str, value: Any) -> float:
    try:
        number = -1.0 if isinstance(value, str) or np.ndim(value) else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise LoopGradError(f"{name} must be a number >= 0, but is {value!r}")
    return number
