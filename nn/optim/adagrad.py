"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import autograd as ag
from nn.optim.groups import number_at_least_zero
from nn.optim.optimizer import Number, Optimizer, State, decayed


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer 2011), as in torch.

    gradient = gradient + weight_decay * parameter
    total = total + gradient^2                             before the first: initial_accumulator
    parameter = parameter - lr / (1 + (t - 1) * lr_decay) * gradient / (sqrt(total) + eps)
    """

    hyper = ("lr", "lr_decay", "weight_decay", "eps")
    optional = ("lr_decay", "weight_decay")
    state_names = ("total",)
    lr_decay: Number
    weight_decay: Number
    eps: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 0.01,
        lr_decay: Number = 0.0,
        weight_decay: Number = 0.0,
        initial_accumulator: float = 0.0,
        eps: Number = 1e-10,
        **clipping: Number | None,
    ) -> None:
        self.initial_accumulator = number_at_least_zero("initial_accumulator", initial_accumulator)
        super().__init__(
            parameters, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, eps=eps, **clipping
        )

    def init(self, parameter: Any) -> State:
        return (np.full(parameter.shape, self.initial_accumulator, parameter.dtype),)

    def scalars(self, step: Any, lr: Any, lr_decay: Any = None, **hyper: Any) -> dict[str, Any]:
        """Return the numbers of `update`, with the rate of this step."""
        return {"lr": lr if lr_decay is None else lr / (1 + (step - 1) * lr_decay), **hyper}

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        lr: Any,
        eps: Any,
        weight_decay: Any = None,
    ) -> tuple[Any, State]:
        gradient = decayed(parameter, gradient, weight_decay)
        total = state[0] + ag.square(gradient)
        return parameter - lr * gradient / (ag.sqrt(total) + eps), (total,)
