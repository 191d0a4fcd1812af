"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import autograd as ag
from autograd.errors import LoopGradError
from nn.optim.optimizer import Number, Optimizer, State, decayed, zeros


class SGD(Optimizer):
    """Stochastic gradient descent with (heavy-ball) momentum, as in torch.

    gradient = gradient + weight_decay * parameter
    velocity = momentum * velocity + (1 - dampening) * gradient        the first: gradient
    parameter = parameter - lr * velocity
    nesterov:   parameter - lr * (gradient + momentum * velocity)

    Nesterov's momentum is that of Sutskever et al. 2013. Without momentum there is no state.
    """

    hyper = ("lr", "momentum", "dampening", "weight_decay")
    optional = ("momentum", "dampening", "weight_decay")
    state_names = ("velocity",)
    momentum: Number
    dampening: Number
    weight_decay: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number,
        momentum: Number = 0.0,
        dampening: Number = 0.0,
        weight_decay: Number = 0.0,
        nesterov: bool = False,
        **clipping: Number | None,
    ) -> None:
        super().__init__(
            parameters,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            **clipping,
        )
        if nesterov and ("momentum" not in self.used or "dampening" in self.used):
            raise LoopGradError(
                f"Nesterov's momentum needs momentum and no dampening, but momentum is "
                f"{self.momentum!r} and dampening is {self.dampening!r}"
            )
        self.nesterov = nesterov

    def init(self, parameter: Any) -> State:
        """Return the velocity before the first update, zero, if there is momentum."""
        return (zeros(parameter),) if "momentum" in self.used else ()

    def scalars(self, step: Any, dampening: Any = None, **hyper: Any) -> dict[str, Any]:
        """Return the numbers of `update`, with the weight of the gradient in place of dampening."""
        if dampening is None:
            return hyper
        return {**hyper, "weight": ag.where(ag.equal(step, 1), 1.0, 1 - dampening)}

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        lr: Any,
        momentum: Any = None,
        weight: Any = None,
        weight_decay: Any = None,
    ) -> tuple[Any, State]:
        gradient = decayed(parameter, gradient, weight_decay)
        if not state:
            return parameter - lr * gradient, ()
        velocity = momentum * state[0] + (gradient if weight is None else weight * gradient)
        if self.nesterov:
            return parameter - lr * (gradient + momentum * velocity), (velocity,)
        return parameter - lr * velocity, (velocity,)
