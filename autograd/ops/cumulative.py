"""Running sums and products along an axis; and the product, whose gradient needs them.

No rule here divides, so zeros among the factors are exact to every order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod as product
from typing import Any, ClassVar

import numpy as np

from autograd.op import Op, register
from autograd.ops.comparison import where
from autograd.ops.reduce import Axes, Fold, normalized, restored
from autograd.ops.shape import checked_axis, permute_dims, reshape, roll
from autograd.spec import Array, Spec


class Cumulative(Op):
    """Base of running reductions: attrs `axis` (not negative), and `reverse` to run backwards."""

    accumulate: ClassVar[Any]
    """NumPy's function of (array, axis) that runs from the front."""

    def forward(self, x: Array, *, axis: int, reverse: bool) -> Any:
        if reverse:
            return np.flip(self.accumulate(np.flip(x, axis), axis), axis)
        return self.accumulate(x, axis)

    def infer(self, x: Spec, *, axis: int, reverse: bool) -> Spec:
        checked_axis(axis, x.ndim)
        return Spec(x.shape, self.accumulate(np.zeros((1,), x.dtype), 0).dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axis: int, reverse: bool) -> Any:
        return self(x, axis=axis + 1, reverse=reverse)

    def public(self, x: Any, axis: int | None, reverse: bool) -> Any:
        """Apply with `axis` as a user gives it; None: over all elements in row-major order."""
        if axis is None:
            x, axis = reshape(x, (-1,)), 0
        return self(x, axis=checked_axis(axis, len(x.shape)), reverse=reverse)


class CumSum(Cumulative):
    """Running sums."""

    vjps = (lambda g, y, x, axis, reverse: _cumsum(g, axis=axis, reverse=not reverse),)

    accumulate = staticmethod(np.cumsum)


def _shifted(x: Any, by: int, axis: int, fill: float) -> Any:
    """Return `x` moved `by` places (backwards if negative) along `axis`, with `fill` moving in."""
    n = x.shape[axis]
    place = np.arange(n).reshape((n,) + (1,) * (len(x.shape) - axis - 1))
    moved_in = place < by if by > 0 else place >= n + by
    return where(moved_in, fill, roll(x, by, axis))


def _cumprod_rule(g: Any, y: Any, x: Any, axis: int, reverse: bool) -> Any:
    """Return the gradient through log2(n) doublings: y <- y * (y shifted by 1, 2, 4, ...).

    (The running product computed like that has multiplications only, so this has no division.)
    """
    sign = -1 if reverse else 1
    steps = []
    part, by = x, 1
    while by < x.shape[axis]:
        shifted = _shifted(part, sign * by, axis, 1.0)
        steps.append((by, part, shifted))
        part, by = part * shifted, 2 * by
    for by, part, shifted in reversed(steps):
        g = g * shifted + _shifted(g * part, -sign * by, axis, 0.0)
    return g


class CumProd(Cumulative):
    """Running products."""

    vjps = (_cumprod_rule,)

    accumulate = staticmethod(np.cumprod)


_cumsum: CumSum = register(CumSum("cumsum"))
_cumprod = register(CumProd("cumprod"))


def cumsum(x: Any, axis: int | None = None, reverse: bool = False) -> Any:
    """Return the running sums along `axis` (None: over all elements), from the end if `reverse`."""
    return _cumsum.public(x, axis, reverse)


def cumprod(x: Any, axis: int | None = None, reverse: bool = False) -> Any:
    """Return the running products along `axis` (None: over all), from the end if `reverse`."""
    return _cumprod.public(x, axis, reverse)


class Prod(Fold):
    """The product over axes; the product of nothing is 1."""

    ufunc = np.multiply

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x, axis = xs[0], attrs["axis"]
        return (restored(g, x, axis) * _product_of_others(x, axis),)


def _product_of_others(x: Any, axis: Axes) -> Any:
    """Return for each element the product of all others over `axis`."""
    kept = tuple(i for i in range(len(x.shape)) if i not in axis)
    order = kept + axis
    moved = x if order == tuple(range(len(order))) else permute_dims(x, order)
    flat = reshape(moved, (*[x.shape[i] for i in kept], product(x.shape[i] for i in axis)))
    last = len(kept)
    before = cumprod(_shifted(flat, 1, last, 1.0), last)
    after = cumprod(_shifted(flat, -1, last, 1.0), last, reverse=True)
    others = reshape(before * after, moved.shape)
    if moved is x:
        return others
    return permute_dims(others, tuple(order.index(i) for i in range(len(order))))


_prod = register(Prod("prod"))


def prod(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the product over `axis` (None: all). The empty product is 1."""
    return _prod(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)
