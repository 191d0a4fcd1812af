"""Losses: from predictions and targets of one shape to a scalar (or, unreduced, to that shape).

With `lengths` they are sequences (T, B, ...), time first, of which row b has `lengths[b]` steps:
the loss is reduced over these only, and 0 in the padding if it is not reduced. "mean" counts
valid steps, and is 0 if there is none. What lies in the padding, NaN included, reaches no value
and no gradient. (`lengths` may be a mask (T, B) as well: see `loops.valid_mask`.)

Losses of one class out of many are in `nn.classification`, those of label sequences in `nn.ctc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from loops.ragged import fill_padding, masked_mean, masked_sum, spread, valid_mask


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


def absolute_error(
    prediction: Any, target: Any, reduction: str = "mean", *, lengths: Any = None
) -> Node:
    """Return |prediction - target| (the L1 loss), whose gradient where they are equal is 0."""
    prediction, target, valid = _checked(prediction, target, lengths)
    return _reduced(ag.abs(prediction - target), reduction, valid)


def huber(
    prediction: Any,
    target: Any,
    reduction: str = "mean",
    *,
    delta: float = 1.0,
    lengths: Any = None,
) -> Node:
    """Return d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), for d = prediction - target.

    Huber 1964, doi:10.1214/aoms/1177703732. The smooth L1 loss of Fast R-CNN with its parameter
    beta is `huber(..., delta=beta) / beta`.
    """
    _check_delta(delta)
    prediction, target, valid = _checked(prediction, target, lengths)
    d = prediction - target
    inner = ag.clip(d, -delta, delta)  # so that no square overflows, and no kink is left
    return _reduced(inner * (d - 0.5 * inner), reduction, valid)


def binary_cross_entropy_with_logits(
    logits: Any,
    target: Any,
    reduction: str = "mean",
    *,
    weight: Any = None,
    pos_weight: Any = None,
    lengths: Any = None,
) -> Node:
    """Return -t log s(z) - (1 - t) log(1 - s(z)) for logits z, s the sigmoid and targets in [0, 1].

    Written as t softplus(-z) + (1 - t) softplus(z): no cancellation and no overflow, so that value
    and gradient are right for z = +-1e4 too. An infinite z gives inf, but NaN (0 times inf) where
    the target is what it says.

    `pos_weight` multiplies the first term, `weight` the whole; both broadcast against the logits.
    "mean" divides by the number of elements, whatever they weigh.
    """
    logits, target, valid = _checked(logits, target, lengths)
    positive = target * ag.softplus(-logits)
    if pos_weight is not None:
        positive = _factor("pos_weight", pos_weight, logits, valid) * positive
    loss = positive + (1.0 - target) * ag.softplus(logits)
    if weight is not None:
        loss = _factor("weight", weight, logits, valid) * loss
    return _reduced(loss, reduction, valid)


def binary_cross_entropy(
    probability: Any,
    target: Any,
    reduction: str = "mean",
    *,
    weight: Any = None,
    lengths: Any = None,
) -> Node:
    """Return -t log p - (1 - t) log(1 - p) for probabilities p and targets in [0, 1].

    Logarithms stop at that of the smallest normal number, so the loss is finite for p = 0 and
    p = 1, and flat there. Near them p has no digits left: train on
    `binary_cross_entropy_with_logits`, which also says what `weight` is. Values outside of [0, 1]
    are an error on tensors; in a graph nobody looks at them.
    """
    probability, target, valid = _checked(probability, target, lengths)
    outside = not probability.virtual and bool(
        np.any((probability.value < 0) | (probability.value > 1))
    )
    if outside:
        raise LoopGradError(
            f"binary_cross_entropy takes probabilities from 0 to 1, but got {describe(probability)}"
            f" from {probability.value.min():.6g} to {probability.value.max():.6g}; give logits to "
            "binary_cross_entropy_with_logits"
        )
    smallest = float(np.finfo(probability.dtype).tiny)
    log_p = ag.log(ag.maximum(probability, smallest))
    log_q = ag.log(ag.maximum(1.0 - probability, smallest))
    loss = -(target * log_p + (1.0 - target) * log_q)
    if weight is not None:
        loss = _factor("weight", weight, probability, valid) * loss
    return _reduced(loss, reduction, valid)


def checked_scores(scores: Any, what: str = "prediction") -> Node:
    """Return what a loss is taken of as a node, checked to be of a float dtype."""
    node: Node = ag.tensor(scores)
    if node.dtype.kind != "f":
        raise DTypeError(f"a loss needs a float {what}, but got {describe(node)}")
    return node


def checked_reduction(reduction: Any) -> str:
    """Return `reduction`, checked to be one of the three there are."""
    if reduction not in ("mean", "sum", "none"):
        raise LoopGradError(f"reduction must be 'mean', 'sum' or 'none', but is {reduction!r}")
    return str(reduction)


def _checked(prediction: Any, target: Any, lengths: Any) -> tuple[Node, Node, Node | None]:
    """Return both as nodes of one shape and of the prediction's dtype, and the mask of lengths.

    With lengths, both are zeros in the padding: were only the loss masked, its gradient there would
    be 0 * NaN.
    """
    prediction, target = checked_scores(prediction), ag.tensor(target)
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


def _check_delta(delta: Any) -> None:
    if isinstance(delta, bool) or not isinstance(delta, (int, float)) or not delta > 0:
        raise LoopGradError(
            f"huber: delta must be a number > 0, but is {delta!r}; it is the error from which on "
            "the loss is linear"
        )


def _factor(name: str, weight: Any, prediction: Node, valid: Node | None) -> Node:
    """Return the weight called `name`, which broadcasts against the prediction, in its dtype."""
    factor: Node = ag.tensor(weight)
    try:
        fits = np.broadcast_shapes(factor.shape, prediction.shape) == prediction.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{name} of a loss must broadcast to the shape of the prediction, but is "
            f"{describe(factor)} for {describe(prediction)}; give one number for each element of "
            "its last axis, or for each of its elements"
        )
    if factor.dtype != prediction.dtype:
        factor = factor.astype(prediction.dtype)
    if valid is not None:
        factor = ag.where(spread(valid, prediction, 1), factor, 0.0)
    return factor


def _reduced(loss: Any, reduction: str, valid: Node | None) -> Node:
    plain = {"mean": ag.mean, "sum": ag.sum, "none": lambda loss: loss}
    masked = {"mean": masked_mean, "sum": masked_sum, "none": fill_padding}
    how = checked_reduction(reduction)
    reduced: Node = plain[how](loss) if valid is None else masked[how](loss, valid)
    return reduced
