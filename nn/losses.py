"""Losses: from predictions and targets of one shape to a scalar (or, unreduced, to that shape).

With `lengths` they are sequences (T, B, ...), time first, of which row b has `lengths[b]` steps:
the loss is reduced over these only, and 0 in the padding if it is not reduced. "mean" counts
valid steps, and is 0 if there is none. What lies in the padding, NaN included, reaches no value
and no gradient. (`lengths` may be a mask (T, B) as well: see `loops.valid_mask`.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from loops.ragged import fill_padding, masked_mean, masked_sum, valid_mask


def squared_error(
    prediction: Any, target: Any, reduction: str = "mean", *, lengths: Any = None
) -> Node:
    """Return (prediction - target)^2, reduced by "mean", "sum" or "none"."""
    prediction, target, valid = _checked(prediction, target, lengths)
    return _reduced(ag.square(prediction - target), reduction, valid)


def half_squared_error(
    prediction: Any, target: Any, reduction: str = "mean", *, lengths: Any = None
) -> Node:
    """Return (prediction - target)^2 / 2, whose gradient is prediction - target."""
    prediction, target, valid = _checked(prediction, target, lengths)
    return 0.5 * _reduced(ag.square(prediction - target), reduction, valid)


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, reduction: str = "mean", *, lengths: Any = None
) -> Node:
    """Return -t log s(z) - (1 - t) log(1 - s(z)) for logits z, s the sigmoid and targets in [0, 1].

    Written as t softplus(-z) + (1 - t) softplus(z): no cancellation and no overflow, so that value
    and gradient are right for z = +-1e4 too.
    """
    logits, target, valid = _checked(logits, target, lengths)
    loss = target * ag.softplus(-logits) + (1.0 - target) * ag.softplus(logits)
    return _reduced(loss, reduction, valid)


def binary_cross_entropy(
    probability: Any, target: Any, reduction: str = "mean", *, lengths: Any = None
) -> Node:
    """Return -t log p - (1 - t) log(1 - p) for probabilities p and targets in [0, 1].

    Logarithms stop at that of the smallest normal number, so the loss is finite for p = 0 and
    p = 1, and flat there. Near them p has no digits left: train on
    `binary_cross_entropy_with_logits`.
    """
    probability, target, valid = _checked(probability, target, lengths)
    smallest = float(np.finfo(probability.dtype).tiny)
    log_p = ag.log(ag.maximum(probability, smallest))
    log_q = ag.log(ag.maximum(1.0 - probability, smallest))
    return _reduced(-(target * log_p + (1.0 - target) * log_q), reduction, valid)


def _checked(prediction: Any, target: Any, lengths: Any) -> tuple[Node, Node, Node | None]:
    """Return both as nodes of one shape and of the prediction's dtype, and the mask of lengths.

    With lengths, both are zeros in the padding: were only the loss masked, its gradient there would
    be 0 * NaN.
    """
    prediction, target = ag.tensor(prediction), ag.tensor(target)
    if prediction.dtype.kind != "f":
        raise DTypeError(f"a loss needs a float prediction, but got {describe(prediction)}")
    if prediction.shape != target.shape:
        raise ShapeError(
            f"prediction and target of a loss must have one shape, but are {describe(prediction)} "
            f"and {describe(target)}; reshape one of them (broadcasting would pair wrong elements)"
        )
    if target.dtype != prediction.dtype:
        target = target.astype(prediction.dtype)
    if lengths is None:
        return prediction, target, None
    valid = valid_mask(prediction, lengths)
    return fill_padding(prediction, valid), fill_padding(target, valid), valid


def _reduced(loss: Any, reduction: str, valid: Node | None) -> Node:
    plain = {"mean": ag.mean, "sum": ag.sum, "none": lambda loss: loss}
    masked = {"mean": masked_mean, "sum": masked_sum, "none": fill_padding}
    if reduction not in plain:
        raise LoopGradError(f"reduction must be 'mean', 'sum' or 'none', but is {reduction!r}")
    reduced: Node = plain[reduction](loss) if valid is None else masked[reduction](loss, valid)
    return reduced
