"""Losses: from predictions and targets of one shape to a scalar (or, unreduced, to that shape)."""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node


def squared_error(prediction: Any, target: Any, reduction: str = "mean") -> Node:
    """Return (prediction - target)^2, reduced by "mean", "sum" or "none"."""
    prediction, target = _checked(prediction, target)
    return _reduced(ag.square(prediction - target), reduction)


def half_squared_error(prediction: Any, target: Any, reduction: str = "mean") -> Node:
    """Return (prediction - target)^2 / 2, whose gradient is prediction - target."""
    prediction, target = _checked(prediction, target)
    return 0.5 * _reduced(ag.square(prediction - target), reduction)


def binary_cross_entropy_with_logits(logits: Any, target: Any, reduction: str = "mean") -> Node:
    """Return -t log s(z) - (1 - t) log(1 - s(z)) for logits z, s the sigmoid and targets in [0, 1].

    Written as t softplus(-z) + (1 - t) softplus(z): no cancellation and no overflow, so that value
    and gradient are right for z = +-1e4 too.
    """
    logits, target = _checked(logits, target)
    loss = target * ag.softplus(-logits) + (1.0 - target) * ag.softplus(logits)
    return _reduced(loss, reduction)


def binary_cross_entropy(probability: Any, target: Any, reduction: str = "mean") -> Node:
    """Return -t log p - (1 - t) log(1 - p) for probabilities p and targets in [0, 1].

    Logarithms stop at that of the smallest normal number, so the loss is finite for p = 0 and
    p = 1, and flat there. Near them p has no digits left: train on
    `binary_cross_entropy_with_logits`.
    """
    probability, target = _checked(probability, target)
    smallest = float(np.finfo(probability.dtype).tiny)
    log_p = ag.log(ag.maximum(probability, smallest))
    log_q = ag.log(ag.maximum(1.0 - probability, smallest))
    return _reduced(-(target * log_p + (1.0 - target) * log_q), reduction)


def _checked(prediction: Any, target: Any) -> tuple[Node, Node]:
    """Return both as nodes of one shape and of the prediction's dtype."""
    prediction, target = ag.tensor(prediction), ag.tensor(target)
    if prediction.dtype.kind != "f":
        raise DTypeError(f"a loss needs a float prediction, but got {describe(prediction)}")
    if prediction.shape != target.shape:
        raise ShapeError(
            f"prediction and target of a loss must have one shape, but are {describe(prediction)} "
            f"and {describe(target)}; reshape one of them (broadcasting would pair wrong elements)"
        )
    return prediction, target if target.dtype == prediction.dtype else target.astype(
        prediction.dtype
    )


def _reduced(loss: Any, reduction: str) -> Node:
    reductions = {"mean": ag.mean, "sum": ag.sum, "none": lambda loss: loss}
    if reduction not in reductions:
        raise LoopGradError(f"reduction must be 'mean', 'sum' or 'none', but is {reduction!r}")
    reduced: Node = reductions[reduction](loss)
    return reduced
