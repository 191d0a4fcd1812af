"""Gradients kept small: by value, or all together by their norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import autograd as ag
from autograd.errors import DTypeError, LoopGradError
from autograd.node import Node
from autograd.tree import flatten, unflatten
from nn.optim.groups import number_at_least_zero

EPSILON = 1e-6
"""What is added to the norm before it divides; the number is torch's."""


def clip_by_value(gradients: Any, limit: Any) -> Any:
    """Return `gradients` limited to [-limit, limit], element by element.

    `gradients` is an array, a node, or a tree (dicts, lists, tuples) of them; None stays None.
    NaN stays NaN.
    """
    leaves, structure, present = _leaves("clip_by_value", gradients, limit)
    clipped = iter(clipped_by_value(present, limit))
    return unflatten(structure, [None if x is None else next(clipped) for x in leaves])


def clip_by_norm(gradients: Any, limit: Any) -> tuple[Any, Any]:
    """Return `gradients`, scaled so that their norm is at most `limit`, and the norm before.

    The norm is that of all elements of all gradients as one vector. They are multiplied by
    min(1, limit / (norm + 1e-6)), as by torch's `clip_grad_norm_`: those within the limit keep
    their bits. With an infinite gradient the factor is 0, which makes 0 of finite elements and NaN
    of infinite ones; with a NaN everything is NaN. Look at the norm to leave such a step out.

    `gradients` is an array, a node, or a tree (dicts, lists, tuples) of them; None stays None.
    """
    leaves, structure, present = _leaves("clip_by_norm", gradients, limit)
    if not present:
        raise LoopGradError("clip_by_norm needs gradients, but got none; call backward() before")
    results, norm = clipped_by_norm(present, limit)
    clipped = iter(results)
    return unflatten(structure, [None if x is None else next(clipped) for x in leaves]), norm


def clipped_by_value(gradients: Sequence[Any], limit: Any) -> list[Any]:
    """Return each gradient limited to [-limit, limit]."""
    results = []
    for g in gradients:
        high = in_dtype(g.dtype, limit)
        results.append(ag.maximum(ag.minimum(g, high), -high))
    return results


def clipped_by_norm(gradients: Sequence[Any], limit: Any) -> tuple[list[Any], Any]:
    """Return the gradients scaled to a norm of at most `limit`, and the norm before."""
    norm = global_norm(gradients)
    factor = ag.minimum(in_dtype(norm.dtype, limit) / (norm + EPSILON), 1.0)
    return [g * in_dtype(g.dtype, factor) for g in gradients], norm


def global_norm(gradients: Sequence[Any]) -> Any:
    """Return the Euclidean norm of all gradients as one vector, in their widest dtype.

    They are divided by the largest element before they are squared, so nothing overflows.
    """
    widest = np.result_type(*[g.dtype for g in gradients])
    gradients = [g for g in gradients if 0 not in g.shape] or [np.zeros((), widest)]
    largest = _folded(ag.maximum, [in_dtype(widest, ag.max(ag.abs(g))) for g in gradients])
    finite = ag.logical_and(ag.greater(largest, 0.0), ag.isfinite(largest))
    # the norm does not depend on it, so neither does its gradient
    unit = ag.stop_gradient(ag.where(finite, largest, 1.0))
    squares = [ag.sum(ag.square(g / in_dtype(g.dtype, unit))) for g in gradients]
    return unit * ag.sqrt(_folded(ag.add, [in_dtype(widest, x) for x in squares]))


def _folded(op: Callable[[Any, Any], Any], values: Sequence[Any]) -> Any:
    """Return op(op(a, b), c) and so on."""
    total = values[0]
    for value in values[1:]:
        total = op(total, value)
    return total


def in_dtype(dtype: Any, number: Any) -> Any:
    """Return a scalar (a Python number, an array or a node) for use beside `dtype`."""
    if isinstance(number, float) and type(number) is float:
        return number
    return number if number.dtype == dtype else ag.astype(number, dtype=dtype.name)


def _leaves(name: str, gradients: Any, limit: Any) -> tuple[list[Any], Any, list[Any]]:
    """Return the leaves of a tree of gradients, its structure, and the leaves that are not None."""
    if not isinstance(limit, (Node, np.ndarray)):
        number_at_least_zero(f"the limit of {name}", limit)
    leaves, structure = flatten(gradients)
    for leaf in leaves:
        if leaf is not None and not isinstance(leaf, (Node, np.ndarray, np.floating)):
            raise DTypeError(
                f"{name} takes gradients (arrays, nodes, or dicts and lists of them), but got "
                f"{type(leaf).__name__} {leaf!r:.60}"
            )
    return leaves, structure, [leaf for leaf in leaves if leaf is not None]
