"""Reductions: ops that take an axis, several or all, and leave fewer elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.ops.shape import broadcast_to, reshape
from autograd.spec import Array, Spec

Axes = tuple[int, ...]


def normalized(axis: Any, ndim: int) -> Axes:
    """Return `axis` (None, a number or several) as sorted numbers >= 0, checked."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    result = []
    for a in axes:
        if not -ndim <= a < ndim:
            raise ShapeError(f"axis {a} does not exist in a value with {ndim} axes")
        result.append(int(a) % ndim)
    if len(set(result)) != len(result):
        raise ShapeError(f"axis {axis} names one axis twice")
    return tuple(sorted(result))


class Reduction(Op):
    """Base of ops with attrs `axis` (sorted, not negative) and `keepdims`."""

    def infer(self, x: Spec, *, axis: Axes, keepdims: bool) -> Spec:
        shape = tuple(
            1 if i in axis else n for i, n in enumerate(x.shape) if keepdims or i not in axis
        )
        return Spec(shape, np.asarray(self.forward(np.zeros((1,), x.dtype), axis=(0,), keepdims=False)).dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axis: Axes, keepdims: bool) -> Any:
        return self(x, axis=tuple(a + 1 for a in axis), keepdims=keepdims)


def restored(reduced: Any, x: Any, axis: Axes) -> Any:
    """Return a reduced value with its axes put back as length 1, ready to broadcast against x."""
    return reshape(reduced, tuple(1 if i in axis else n for i, n in enumerate(x.shape)))


class Sum(Reduction):
    vjps = (lambda g, y, x, axis, keepdims: broadcast_to(restored(g, x, axis), x.shape),)

    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        return np.add.reduce(x, axis=axis, keepdims=keepdims)


_sum = register(Sum("sum"))


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum over `axis` (None: all). The empty sum is 0."""
    return _sum(x, axis=normalized(axis, len(x.shape)), keepdims=keepdims)


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the mean over `axis` (None: all). The mean of nothing is NaN, as in NumPy."""
    axes = normalized(axis, len(x.shape))
    count = 1
    for a in axes:
        count *= x.shape[a]
    return sum(x, axis=axes, keepdims=keepdims) / count
