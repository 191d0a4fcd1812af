"""Adam and its relatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import autograd as ag
from nn.optim.optimizer import Number, Optimizer, State, checked_betas, decayed, zeros

_TINY = float(np.finfo(float).tiny)


def to_the(base: Any, exponent: Any) -> Any:
    """Return base^exponent for a base in [0, 1), by functions that machine code has."""
    return ag.exp(exponent * ag.log(ag.maximum(base, _TINY)))


def begun(beta: Any, step: Any) -> Any:
    """Return 1 - beta^step: how much of a mean that began at zero is made of gradients so far."""
    return -ag.expm1(step * ag.log(ag.maximum(beta, _TINY)))


class Moments(Optimizer):
    """What optimizers with a mean of gradients and one of their squares have in common.

    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient^2

    With `decoupled_weight_decay` (AdamW) weights decay by themselves, parameter * (1 - lr * decay),
    and not through the gradient, gradient + decay * parameter.
    """

    hyper: tuple[str, ...] = ("lr", "beta1", "beta2", "eps", "weight_decay")
    optional = ("weight_decay",)
    below_one = ("beta1", "beta2")
    state_names: tuple[str, ...] = ("mean", "square")
    decoupled = False
    beta1: Number
    beta2: Number
    eps: Number
    weight_decay: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number,
        betas: tuple[Number, Number],
        eps: Number,
        weight_decay: Number,
        **numbers: Number | None,
    ) -> None:
        beta1, beta2 = checked_betas(type(self).__name__, betas)
        super().__init__(
            parameters,
            lr=lr,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            **numbers,
        )

    def init(self, parameter: Any) -> State:
        return zeros(parameter), zeros(parameter)

    def weights(
        self, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any = None
    ) -> dict[str, Any]:
        """Return what `moved` takes of the numbers in `hyper`."""
        found = {"beta1": beta1, "new1": 1 - beta1, "beta2": beta2, "new2": 1 - beta2}
        if weight_decay is None:
            return found
        if self.decoupled:
            return {**found, "keep": 1 - lr * weight_decay}
        return {**found, "weight_decay": weight_decay}

    def moved(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        beta1: Any,
        new1: Any,
        beta2: Any,
        new2: Any,
        weight_decay: Any = None,
        keep: Any = None,
    ) -> tuple[Any, Any, Any, Any]:
        """Return parameter and gradient after the decay of weights, and the two means."""
        gradient = decayed(parameter, gradient, weight_decay)
        if keep is not None:
            parameter = keep * parameter
        mean = beta1 * state[0] + new1 * gradient
        square = beta2 * state[1] + new2 * ag.square(gradient)
        return parameter, gradient, mean, square


class Adam(Moments):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), `eps` outside the root, as in torch.

    gradient = gradient + weight_decay * parameter
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient^2
    parameter = parameter - lr * (mean / (1 - beta1^t)) / (sqrt(square / (1 - beta2^t)) + eps)

    amsgrad (Reddi, Kale and Kumar 2018): the root is that of the largest square so far.
    """

    state_names = ("mean", "square", "largest")

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 1e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        amsgrad: bool = False,
        **clipping: Number | None,
    ) -> None:
        self.amsgrad = amsgrad
        super().__init__(parameters, lr, betas, eps, weight_decay, **clipping)

    def init(self, parameter: Any) -> State:
        return tuple([zeros(parameter) for _ in range(3 if self.amsgrad else 2)])

    def scalars(
        self, step: Any, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any = None
    ) -> dict[str, Any]:
        """Return the rate and the root with both corrections for the start from zero."""
        return {
            "rate": lr / begun(beta1, step),
            "root": ag.sqrt(begun(beta2, step)),
            "eps": eps,
            **self.weights(lr, beta1, beta2, eps, weight_decay),
        }

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        rate: Any,
        root: Any,
        eps: Any,
        **weights: Any,
    ) -> tuple[Any, State]:
        parameter, _, mean, square = self.moved(parameter, gradient, state, **weights)
        after: State = (mean, square)
        largest = square
        if self.amsgrad:
            largest = ag.maximum(state[2], square)
            after = (mean, square, largest)
        scale = ag.sqrt(largest) / root + eps
        return parameter - rate * mean / scale, after


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101), as in torch.

    parameter = parameter * (1 - lr * weight_decay), and then Adam without weight decay.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 1e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 1e-2,
        amsgrad: bool = False,
        **clipping: Number | None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, amsgrad, **clipping)
