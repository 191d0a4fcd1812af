"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import autograd as ag
from nn.optim.optimizer import Number, Optimizer, State, checked_betas, decayed, zeros


class Lion(Optimizer):
    """Lion (Chen et al. 2023, arXiv:2302.06675, algorithm 2): every element moves by lr.

    direction = sign(beta1 * mean + (1 - beta1) * gradient)
    mean = beta2 * mean + (1 - beta2) * gradient
    parameter = parameter - lr * (direction + weight_decay * parameter)
    """

    hyper = ("lr", "beta1", "beta2", "weight_decay")
    optional = ("weight_decay",)
    below_one = ("beta1", "beta2")
    state_names = ("mean",)
    beta1: Number
    beta2: Number
    weight_decay: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 1e-4,
        betas: tuple[Number, Number] = (0.9, 0.99),
        weight_decay: Number = 0.0,
        **clipping: Number | None,
    ) -> None:
        beta1, beta2 = checked_betas(type(self).__name__, betas)
        super().__init__(
            parameters, lr=lr, beta1=beta1, beta2=beta2, weight_decay=weight_decay, **clipping
        )

    def init(self, parameter: Any) -> State:
        return (zeros(parameter),)

    def scalars(self, step: Any, beta1: Any, beta2: Any, **hyper: Any) -> dict[str, Any]:
        """Return the numbers of `update`, with the weights of what is new."""
        return {"beta1": beta1, "new1": 1 - beta1, "beta2": beta2, "new2": 1 - beta2, **hyper}

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        lr: Any,
        beta1: Any,
        new1: Any,
        beta2: Any,
        new2: Any,
        weight_decay: Any = None,
    ) -> tuple[Any, State]:
        direction = ag.sign(beta1 * state[0] + new1 * gradient)
        direction = decayed(parameter, direction, weight_decay)
        return parameter - lr * direction, (beta2 * state[0] + new2 * gradient,)
