"""Adadelta, and what the C++ article called so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import autograd as ag
from nn.optim.optimizer import Number, Optimizer, State, decayed, zeros


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012, arXiv:1212.5701), as in torch.

    gradient = gradient + weight_decay * parameter
    square = rho * square + (1 - rho) * gradient^2
    delta = sqrt(moved + eps) / sqrt(square + eps) * gradient
    moved = rho * moved + (1 - rho) * delta^2
    parameter = parameter - lr * delta

    The paper has no rate: its lr is 1, the default.
    """

    hyper = ("lr", "rho", "eps", "weight_decay")
    optional = ("weight_decay",)
    below_one = ("rho",)
    state_names = ("square", "moved")
    rho: Number
    eps: Number
    weight_decay: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 1.0,
        rho: Number = 0.9,
        eps: Number = 1e-6,
        weight_decay: Number = 0.0,
        **clipping: Number | None,
    ) -> None:
        super().__init__(parameters, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, **clipping)

    def init(self, parameter: Any) -> State:
        return zeros(parameter), zeros(parameter)

    def scalars(self, step: Any, rho: Any, **hyper: Any) -> dict[str, Any]:
        """Return the numbers of `update`, with the weight of what is new."""
        return {"rho": rho, "new": 1 - rho, **hyper}

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        lr: Any,
        rho: Any,
        new: Any,
        eps: Any,
        weight_decay: Any = None,
    ) -> tuple[Any, State]:
        gradient = decayed(parameter, gradient, weight_decay)
        square = rho * state[0] + new * ag.square(gradient)
        delta = ag.sqrt(state[1] + eps) / ag.sqrt(square + eps) * gradient
        moved = rho * state[1] + new * ag.square(delta)
        return parameter - lr * delta, (square, moved)


class ArticleAdadelta(Optimizer):
    """What the C++ article called Adadelta: an RMSProp variant that trains its adder.

    parameter = parameter - lr * gradient / (sqrt(square) + eps)        the first: lr * gradient
    square = (1 - decay) * square + decay * gradient^2                  the first: gradient^2

    The root is that of the square before this step, and eps is 0.5. The article's program also
    keeps a square for each of the eight uses of a weight; here a parameter has one.
    """

    hyper = ("lr", "decay", "eps")
    state_names = ("square",)
    decay: Number
    eps: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 0.2,
        decay: Number = 0.3,
        eps: Number = 0.5,
        **clipping: Number | None,
    ) -> None:
        super().__init__(parameters, lr=lr, decay=decay, eps=eps, **clipping)

    def init(self, parameter: Any) -> State:
        return (zeros(parameter),)

    def scalars(self, step: Any, lr: Any, decay: Any, eps: Any) -> dict[str, Any]:
        """Return the numbers of `update`; at first the square is 0, so weight and eps are 1."""
        first = ag.equal(step, 1)
        return {
            "lr": lr,
            "keep": 1 - decay,
            "new": ag.where(first, 1.0, decay),
            "eps": ag.where(first, 1.0, eps),
        }

    def update(
        self, parameter: Any, gradient: Any, state: State, lr: Any, keep: Any, new: Any, eps: Any
    ) -> tuple[Any, State]:
        result = parameter - lr * gradient / (ag.sqrt(state[0]) + eps)
        return result, (keep * state[0] + new * ag.square(gradient),)
