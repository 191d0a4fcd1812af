"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import autograd as ag
from nn.optim.optimizer import Number, Optimizer, State, decayed, zeros


class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012, lecture 6.5), as in torch.

    gradient = gradient + weight_decay * parameter
    square = alpha * square + (1 - alpha) * gradient^2
    direction = gradient / (sqrt(square) + eps)
    velocity = momentum * velocity + direction             without momentum: direction
    parameter = parameter - lr * velocity

    centered (Graves 2013): the root is that of square - mean^2, the variance of the gradient, where
    mean = alpha * mean + (1 - alpha) * gradient; what rounding makes of it below 0 is 0.
    """

    hyper = ("lr", "alpha", "eps", "weight_decay", "momentum")
    optional = ("weight_decay", "momentum")
    below_one = ("alpha",)
    alpha: Number
    eps: Number
    weight_decay: Number
    momentum: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 0.01,
        alpha: Number = 0.99,
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        momentum: Number = 0.0,
        centered: bool = False,
        **clipping: Number | None,
    ) -> None:
        self.centered = centered
        self.state_names = ("square", "mean", "velocity") if centered else ("square", "velocity")
        super().__init__(
            parameters,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            **clipping,
        )

    def init(self, parameter: Any) -> State:
        names = self.state_names if "momentum" in self.used else self.state_names[:-1]
        return tuple([zeros(parameter) for _ in names])

    def scalars(self, step: Any, alpha: Any, **hyper: Any) -> dict[str, Any]:
        """Return the numbers of `update`, with the weight of what is new."""
        return {"alpha": alpha, "new": 1 - alpha, **hyper}

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        lr: Any,
        alpha: Any,
        new: Any,
        eps: Any,
        weight_decay: Any = None,
        momentum: Any = None,
    ) -> tuple[Any, State]:
        gradient = decayed(parameter, gradient, weight_decay)
        square = alpha * state[0] + new * ag.square(gradient)
        after: State = (square,)
        variance = square
        if self.centered:
            mean = alpha * state[1] + new * gradient
            after, variance = (square, mean), ag.maximum(square - ag.square(mean), 0.0)
        direction = gradient / (ag.sqrt(variance) + eps)
        if momentum is None:
            return parameter - lr * direction, after
        velocity = momentum * state[-1] + direction
        return parameter - lr * velocity, (*after, velocity)
