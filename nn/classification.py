"""Losses of one class out of C: cross-entropy, its half for log-probabilities, and divergence.

The classes lie along the **last** axis: scores are (..., C), of which every row along that axis is
one example. (PyTorch has them on axis 1: move it by `ag.moveaxis(logits, 1, -1)`.) Unreduced, a
loss has one number a row, shape (...).

With `lengths` the rows are sequences, (T, B, C) or (T, B, ..., C), as in `nn.losses`. Rows in the
padding, and rows whose class is `ignore`, are left out: they are 0 unreduced, and what is in them,
NaN included, reaches no value and no gradient. A mean of which all rows are left out is 0, so that
a batch without targets changes nothing. (PyTorch's is NaN, which would destroy every parameter.)

Class numbers are checked when they are known: on tensors at once, in a graph each time it runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import autograd as ag
from autograd.describe import describe
from autograd.errors import DTypeError, LoopGradError, ShapeError
from autograd.node import Node
from loops.ragged import spread, valid_mask
from nn.classes import class_numbers
from nn.losses import checked_reduction, checked_scores


def cross_entropy(
    logits: Any,
    target: Any,
    reduction: str = "mean",
    *,
    weight: Any = None,
    ignore: int | None = None,
    label_smoothing: float = 0.0,
    lengths: Any = None,
) -> Node:
    """Return -log softmax(logits)[class] of each row of `logits` (..., C), reduced.

    `target` is integers (...), the classes, or floats (..., C), probabilities q of the classes;
    the loss then is -sum(q log softmax(logits)), where 0 log 0 is 0. Any logits that are finite
    give finite values and gradients. A class whose logit is -inf has probability 0: the loss is
    inf where it is the target, and as if the class were not there elsewhere (with label smoothing
    it is inf). A row that is -inf throughout is NaN.

    `weight` (C,) multiplies the loss of each class. The "mean" of class numbers is then divided
    by the weights of the rows' classes, that of probabilities by the number of rows.
    `ignore` is a class number that marks rows to be left out (PyTorch: -100 unless said; here,
    nothing is left out unless said).
    `label_smoothing` s replaces the target q by (1 - s) q + s / C (Szegedy et al. 2015,
    arXiv:1512.00567).
    """
    _check_smoothing(label_smoothing)
    scores, target = checked_scores(logits, "logits"), ag.tensor(target)
    by_class = _by_class("cross_entropy", scores, target)
    counted = _counted("cross_entropy", scores, target if by_class else None, ignore, lengths)
    weights = _class_weights(weight, scores)
    log_p = ag.log_softmax(_filled(scores, counted))
    if by_class:
        classes = class_numbers(target, counted, scores, "cross_entropy")
        loss = -_picked(log_p, classes)
        row_weights = None if weights is None else weights[classes]
        loss = loss if row_weights is None else row_weights * loss
    else:
        target, row_weights = _filled(_cast(target, scores), counted), None
        loss = -_expected(target if weights is None else weights * target, log_p)
    if label_smoothing:
        everywhere = -ag.mean(log_p if weights is None else weights * log_p, -1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * everywhere
    return _reduced(loss, reduction, counted, row_weights)


def nll(
    log_probabilities: Any,
    classes: Any,
    reduction: str = "mean",
    *,
    weight: Any = None,
    ignore: int | None = None,
    lengths: Any = None,
) -> Node:
    """Return -log_probabilities[class] of each row (..., C), reduced: negative log-likelihood.

    `nll(ag.log_softmax(logits), classes)` is `cross_entropy(logits, classes)`, which also says
    what the other arguments are.
    """
    scores, classes = checked_scores(log_probabilities, "prediction"), ag.tensor(classes)
    if not _by_class("nll", scores, classes):
        raise DTypeError(
            f"nll: classes must be integers, but are {describe(classes)}; use cross_entropy for "
            "targets that are probabilities"
        )
    counted = _counted("nll", scores, classes, ignore, lengths)
    weights = _class_weights(weight, scores)
    classes = class_numbers(classes, counted, scores, "nll")
    loss = -_picked(_filled(scores, counted), classes)
    if weights is None:
        return _reduced(loss, reduction, counted, None)
    row_weights = weights[classes]
    return _reduced(row_weights * loss, reduction, counted, row_weights)


def kl_divergence(
    log_probabilities: Any, target: Any, reduction: str = "mean", *, lengths: Any = None
) -> Node:
    """Return sum(q (log q - log p)) of each row (..., C), reduced; `log_probabilities` is log p.

    It is the Kullback-Leibler divergence of p from the target q, both over the last axis. 0 log 0
    is 0. "mean" divides by the number of rows (PyTorch's "batchmean").
    """
    scores, target = checked_scores(log_probabilities), ag.tensor(target)
    if _by_class("kl_divergence", scores, target):
        raise DTypeError(
            f"kl_divergence: the target must be probabilities, but is {describe(target)}; use nll "
            "for class numbers"
        )
    counted = _counted("kl_divergence", scores, None, None, lengths)
    target = _filled(_cast(target, scores), counted)
    log_q = ag.log(ag.where(target == 0, 1.0, target))
    loss = ag.sum(target * log_q, -1) - _expected(target, _filled(scores, counted))
    return _reduced(loss, reduction, counted, None)


# What is refused.


def _by_class(user: str, scores: Node, target: Node) -> bool:
    """Whether the target is class numbers, one a row, and not probabilities of all classes."""
    if scores.ndim == 0:
        raise ShapeError(
            f"{user}: scores have a last axis of classes, but are {describe(scores)}; give one "
            "score for each class"
        )
    if target.dtype.kind in "iu" and target.shape == scores.shape[:-1]:
        return True
    if target.dtype.kind == "f" and target.shape == scores.shape:
        return False
    what = (
        f"{user}: the target must be integers of shape {scores.shape[:-1]}, the classes, or floats "
        f"of shape {scores.shape}, their probabilities, but is {describe(target)} for scores "
        f"{describe(scores)}; "
    )
    if target.shape in (scores.shape, scores.shape[:-1]):
        raise DTypeError(what + "convert it with .astype('int64') or .astype('float64')")
    if target.shape == (*scores.shape[:-1], 1):
        raise ShapeError(what + "take its last axis away: target[..., 0]")
    raise ShapeError(
        what + "classes are the last axis of the scores; if they are axis 1, as in PyTorch, move "
        "it by autograd.moveaxis(scores, 1, -1)"
    )


def _check_smoothing(amount: Any) -> None:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not 0 <= amount <= 1:
        raise LoopGradError(
            f"cross_entropy: label_smoothing must be a number from 0 to 1, but is {amount!r}; it "
            "is the share of the target that is spread over all classes"
        )


def _class_weights(weight: Any, scores: Node) -> Node | None:
    """Return `weight` (C,) in the dtype of the scores (..., C)."""
    if weight is None:
        return None
    node = ag.tensor(weight)
    if node.shape != scores.shape[-1:] or node.dtype.kind not in "iuf":
        raise ShapeError(
            f"weight must be one number for each of the {scores.shape[-1]} classes of "
            f"{describe(scores)}, but are {describe(node)}"
        )
    return _cast(node, scores)


# Rows and what is in them.


def _counted(
    user: str, scores: Node, classes: Node | None, ignore: Any, lengths: Any
) -> Node | None:
    """Return a mask of the rows that count, of the rows' shape; None if all do."""
    counted = None
    if ignore is not None:
        if isinstance(ignore, bool) or not isinstance(ignore, (int, np.integer)):
            raise LoopGradError(
                f"{user}: ignore must be an integer, the class of rows to be left out, but is "
                f"{ignore!r}"
            )
        if classes is None:
            raise LoopGradError(
                f"{user}: ignore={ignore} is a class number, but the target is probabilities; "
                "leave rows out by lengths, which may be a mask"
            )
        held = np.iinfo(classes.dtype)
        if held.min <= ignore <= held.max:  # else it marks nothing
            counted = classes != int(ignore)
    if lengths is None:
        return counted
    if scores.ndim < 3:
        raise ShapeError(
            f"{user}: with lengths, scores are sequences (steps, rows, ..., classes), but are "
            f"{describe(scores)}; give a single sequence a row axis of length 1"
        )
    rows = scores[..., 0] if classes is None else classes
    valid = spread(valid_mask(scores, lengths), rows, 1)
    if rows.ndim > 2:
        valid = valid & ag.logical_or(rows == rows, True)  # True of any shape, which it takes on
    return valid if counted is None else valid & counted


def _filled(rows: Node, counted: Node | None) -> Node:
    """Return rows (..., C), those that do not count as zeros: so no NaN meets a gradient of 0."""
    filled: Node = rows if counted is None else ag.where(counted[..., None], rows, 0.0)
    return filled


def _cast(x: Node, like: Node) -> Node:
    return x if x.dtype == like.dtype else x.astype(like.dtype)


def _picked(log_p: Node, classes: Node) -> Node:
    """Return `log_p[..., class]` of each row: (...). The indices follow `graph.resize`."""
    axes = range(classes.ndim)
    key = [
        ag.positions(classes, axis)[(..., *(None,) * (classes.ndim - axis - 1))] for axis in axes
    ]
    picked: Node = log_p[(*key, classes)]
    return picked


def _expected(q: Node, log_p: Node) -> Node:
    """Return sum(q log_p) of each row, where 0 times -inf is 0."""
    impossible = (q == 0) & (log_p == -np.inf)
    expected: Node = ag.sum(q * ag.where(impossible, 0.0, log_p), -1)
    return expected


def _reduced(loss: Node, reduction: str, counted: Node | None, row_weights: Node | None) -> Node:
    """Return the rows' losses, or their sum, or that divided by the number or weight of rows."""
    how = checked_reduction(reduction)
    if counted is not None:
        loss = ag.where(counted, loss, 0.0)
    if how == "none":
        return loss
    if how == "mean" and counted is None and row_weights is None:
        mean: Node = ag.mean(loss)
        return mean
    total: Node = ag.sum(loss)
    if how == "sum":
        return total
    if row_weights is None:
        size = ag.sum(counted).astype(loss.dtype)
    else:
        size = ag.sum(row_weights if counted is None else ag.where(counted, row_weights, 0.0))
    weighted: Node = total / ag.where(size == 0, 1.0, size)
    return weighted
