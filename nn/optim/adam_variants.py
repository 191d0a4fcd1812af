"""Variants of Adam: NAdam, RAdam, Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import autograd as ag
from nn.optim.adam import Moments, begun, to_the
from nn.optim.optimizer import Number, State, decayed, zeros


class NAdam(Moments):
    """Adam with Nesterov's momentum (Dozat 2016), as in torch.

    momentum_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2), and their product so far
    look = (1 - momentum_t) * gradient / (1 - product)
           + momentum_(t+1) * mean / (1 - product * momentum_(t+1))
    parameter = parameter - lr * look / (sqrt(square / (1 - beta2^t)) + eps)

    mean and square are Adam's. Weight decay goes through the gradient, or, with
    `decoupled_weight_decay`, is that of AdamW.
    """

    hyper = (*Moments.hyper, "momentum_decay")
    state_names = ("mean", "square", "product")
    momentum_decay: Number

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 2e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        momentum_decay: Number = 4e-3,
        decoupled_weight_decay: bool = False,
        **clipping: Number | None,
    ) -> None:
        self.decoupled = decoupled_weight_decay
        super().__init__(
            parameters, lr, betas, eps, weight_decay, momentum_decay=momentum_decay, **clipping
        )

    def init(self, parameter: Any) -> State:
        return zeros(parameter), zeros(parameter), np.ones((), parameter.dtype)

    def scalars(
        self,
        step: Any,
        lr: Any,
        beta1: Any,
        beta2: Any,
        eps: Any,
        momentum_decay: Any,
        weight_decay: Any = None,
    ) -> dict[str, Any]:
        """Return the momenta of this step and of the next, and the correction of the root."""
        return {
            "lr": lr,
            "momentum": beta1 * (1 - 0.5 * to_the(0.96, step * momentum_decay)),
            "following": beta1 * (1 - 0.5 * to_the(0.96, (step + 1) * momentum_decay)),
            "root": ag.sqrt(begun(beta2, step)),
            "eps": eps,
            **self.weights(lr, beta1, beta2, eps, weight_decay),
        }

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        lr: Any,
        momentum: Any,
        following: Any,
        root: Any,
        eps: Any,
        **weights: Any,
    ) -> tuple[Any, State]:
        parameter, gradient, mean, square = self.moved(parameter, gradient, state, **weights)
        product = state[2] * momentum
        look = (1 - momentum) / (1 - product) * gradient
        look = look + following / (1 - product * following) * mean
        scale = ag.sqrt(square) / root + eps
        return parameter - lr * look / scale, (mean, square, product)


class RAdam(Moments):
    """Rectified Adam (Liu et al. 2020, arXiv:1908.03265), as in torch.

    most = 2 / (1 - beta2) - 1, length = most - 2 * t * beta2^t / (1 - beta2^t)
    length > 5:  parameter - lr * rectifier * (mean / (1 - beta1^t)) * sqrt(1 - beta2^t)
                                                                        / (sqrt(square) + eps)
    else:        parameter - lr * mean / (1 - beta1^t)
    rectifier = sqrt((length - 4) (length - 2) most / ((most - 4) (most - 2) length))

    mean and square are Adam's. Weight decay goes through the gradient, or, with
    `decoupled_weight_decay`, is that of AdamW.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 1e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        decoupled_weight_decay: bool = False,
        **clipping: Number | None,
    ) -> None:
        self.decoupled = decoupled_weight_decay
        super().__init__(parameters, lr, betas, eps, weight_decay, **clipping)

    def scalars(
        self, step: Any, lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any = None
    ) -> dict[str, Any]:
        """Return the rate, and the weights of the plain and of the adaptive direction."""
        left, done = to_the(beta2, step), begun(beta2, step)
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * left / done
        rectified = ag.greater(length, 5.0)
        # where it is not taken, the rectifier is that of length 5, and no root of something < 0
        length, most = ag.maximum(length, 5.0), ag.maximum(most, 5.0)
        ratio = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
        return {
            "rate": lr / begun(beta1, step),
            "plain": ag.where(rectified, 0.0, 1.0),
            "adaptive": ag.where(rectified, ag.sqrt(ratio * done), 0.0),
            "eps": eps,
            **self.weights(lr, beta1, beta2, eps, weight_decay),
        }

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        rate: Any,
        plain: Any,
        adaptive: Any,
        eps: Any,
        **weights: Any,
    ) -> tuple[Any, State]:
        parameter, _, mean, square = self.moved(parameter, gradient, state, **weights)
        scale = plain + adaptive / (ag.sqrt(square) + eps)
        return parameter - rate * mean * scale, (mean, square)


class Adamax(Moments):
    """Adamax (Kingma and Ba 2015, section 7.1): Adam with the largest of gradients, as in torch.

    gradient = gradient + weight_decay * parameter
    mean = beta1 * mean + (1 - beta1) * gradient
    largest = max(beta2 * largest, |gradient| + eps)
    parameter = parameter - lr / (1 - beta1^t) * mean / largest
    """

    state_names = ("mean", "largest")

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: Number = 2e-3,
        betas: tuple[Number, Number] = (0.9, 0.999),
        eps: Number = 1e-8,
        weight_decay: Number = 0.0,
        **clipping: Number | None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, **clipping)

    def scalars(self, step: Any, lr: Any, beta1: Any, **hyper: Any) -> dict[str, Any]:
        """Return the numbers of `update`, with the rate corrected for the start from zero."""
        return {
            "rate": lr / begun(beta1, step),
            "beta1": beta1,
            "new1": 1 - beta1,
            **hyper,
        }

    def update(
        self,
        parameter: Any,
        gradient: Any,
        state: State,
        rate: Any,
        beta1: Any,
        new1: Any,
        beta2: Any,
        eps: Any,
        weight_decay: Any = None,
    ) -> tuple[Any, State]:
        gradient = decayed(parameter, gradient, weight_decay)
        mean = beta1 * state[0] + new1 * gradient
        largest = ag.maximum(beta2 * state[1], ag.abs(gradient) + eps)
        return parameter - rate * mean / largest, (mean, largest)
