"""Reductions: ops that take an axis, several or all, and leave fewer elements.

Rules and public functions know axes as sorted tuples of numbers >= 0 (`normalized`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod as product
from typing import Any, ClassVar

import numpy as np

from autograd.errors import GraphError, ShapeError
from autograd.op import DIVISION, Op, register
from autograd.ops.comparison import equal, where
from autograd.ops.elementwise import sqrt, square
from autograd.ops.piecewise import abs
from autograd.ops.shape import astype, broadcast_to, checked_axes, reshape
from autograd.spec import Array, Spec

Axes = tuple[int, ...]


def normalized(axis: Any, ndim: int, x: Any = None) -> Axes:
    """Return `axis` (None, a number or several) as sorted numbers >= 0, checked."""
    return tuple(range(ndim)) if axis is None else tuple(sorted(checked_axes(axis, ndim, x)))


class Reduction(Op):
    """Base of ops with attrs `axis` (sorted, not negative) and `keepdims`."""

    of_nothing: ClassVar[bool] = True
    """Whether the op has a result for no elements at all."""
    finish: ClassVar[int] = 0
    """How many flops each element of the result takes besides."""

    def infer(self, x: Spec, *, axis: Axes, keepdims: bool) -> Spec:
        checked_axes(axis, x.ndim)
        if not self.of_nothing and 0 in [x.shape[a] for a in axis]:
            raise ShapeError(
                f"{self.name} over axis {axis} of shape {x.shape}: nothing has no {self.name}; "
                "reduce over axes that are not empty"
            )
        shape = tuple(
            1 if i in axis else n for i, n in enumerate(x.shape) if keepdims or i not in axis
        )
        one = self.forward(np.zeros((1,), x.dtype), axis=(0,), keepdims=False)
        return Spec(shape, np.asarray(one).dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axis: Axes, keepdims: bool) -> Any:
        return self(x, axis=tuple(a + 1 for a in axis), keepdims=keepdims)

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        """Return 1 for each element read; `weight` and `finish` of those that compute more."""
        return self.weight * inputs[0].size + self.finish * int(output.size)


def restored(reduced: Any, x: Any, axis: Axes) -> Any:
    """Return a reduced value with its axes put back as length 1, ready to broadcast against x."""
    shape = reduced.shape
    if not shape or len(shape) == len(x.shape):  # it broadcasts as it is
        return reduced
    return reshape(reduced, tuple(1 if i in axis else n for i, n in enumerate(x.shape)))


class Fold(Reduction):
    """A reduction by a NumPy ufunc of two arguments."""

    ufunc: ClassVar[Any]

    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        return self.ufunc.reduce(x, axis=axis, keepdims=keepdims)


class Sum(Fold):
    """The sum over axes; the sum of nothing is 0."""

    ufunc = np.add

    vjps = (lambda g, y, x, axis, keepdims: broadcast_to(restored(g, x, axis), x.shape),)


_sum = register(Sum("sum"))


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the sum over `axis` (None: all). The empty sum is 0."""
    return _sum(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


class Mean(Reduction):
    """The mean over axes. (One op, not sum / n: a graph that is resized divides by its new n.)"""

    finish = DIVISION

    vjps = (
        lambda g, y, x, axis, keepdims: broadcast_to(
            restored(g, x, axis) / product(x.shape[a] for a in axis), x.shape
        ),
    )

    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        return _sum.forward(x, axis=axis, keepdims=keepdims) / product(x.shape[a] for a in axis)


_mean = register(Mean("mean"))


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the mean over `axis` (None: all). The mean of nothing is NaN, as in NumPy."""
    return _mean(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


class Count(Op):
    """How many elements lie along axes, in the dtype of a mean over them; for `var` and `std`."""

    weight = 0
    shape_only = True
    vjps = (None,)

    def forward(self, x: Array, *, axis: Axes) -> Array:
        dtype = x.dtype if x.dtype.kind == "f" else np.float64
        return np.asarray(product(x.shape[a] for a in axis), dtype)

    def infer(self, x: Spec, *, axis: Axes) -> Spec:
        checked_axes(axis, x.ndim)
        return Spec((), x.dtype if x.floating else np.dtype(np.float64))

    def batch(self, batched: Sequence[bool], x: Any, *, axis: Axes) -> Any:
        return broadcast_to(self(x, axis=tuple(a + 1 for a in axis)), x.shape[:1])


_count = register(Count("count"))


def _extreme(g: Any, y: Any, x: Any, axis: Axes, keepdims: bool) -> Any:
    """Return the gradient of max or min: n equal ones get 1/n each."""
    hits = astype(equal(x, restored(y, x, axis)), x.dtype)
    return restored(g, x, axis) * (hits / _sum(hits, axis=axis, keepdims=True))


class Max(Fold):
    """The largest element over axes; equal ones share the gradient."""

    ufunc = np.maximum
    vjps = (_extreme,)
    of_nothing = False


class Min(Fold):
    """The smallest element over axes; equal ones share the gradient."""

    ufunc = np.minimum
    vjps = (_extreme,)
    of_nothing = False


_max = register(Max("max"))
_min = register(Min("min"))


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the largest element over `axis` (None: all); n equal ones share the gradient."""
    return _max(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return the smallest element over `axis` (None: all); n equal ones share the gradient."""
    return _min(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


class Norm(Reduction):
    """The Euclidean length over axes, scaled so that no square overflows; gradient 0 at 0."""

    weight = 4 + DIVISION  # absolute value, maximum, scaling, square, sum
    finish = 1 + DIVISION

    @np.errstate(under="ignore")  # squares that vanish beside the largest
    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        largest = np.maximum.reduce(np.absolute(x), axis=axis, keepdims=True, initial=0)
        unit = np.where((largest > 0) & (largest < np.inf), largest, 1)
        y = unit * np.sqrt(np.add.reduce(np.square(x / unit), axis=axis, keepdims=True))
        return y if keepdims else y.reshape([n for i, n in enumerate(y.shape) if i not in axis])

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x, axis = xs[0], attrs["axis"]
        y = restored(y, x, axis)
        zero = equal(y, 0)
        return (restored(g, x, axis) * where(zero, 0.0, x / where(zero, 1.0, y)),)


_norm = register(Norm("norm"))


def norm(x: Any, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """Return the vector norm over `axis` (None: all elements, as one vector) of order 1, 2 or inf.

    The gradient at 0 is 0.
    """
    if ord == 2:
        return _norm(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)
    if ord == 1:
        return sum(abs(x), axis, keepdims)
    if ord == np.inf:
        return max(abs(x), axis, keepdims)
    raise GraphError(f"norm: ord must be 1, 2 or inf, but is {ord!r}")


def _check_freedom(name: str, x: Any, axis: Axes, correction: float) -> None:
    count = product(x.shape[a] for a in axis)
    if count <= correction:
        raise ShapeError(
            f"{name} over {count} elements with correction {correction} would divide by "
            f"{count - correction}; use more elements or correction=0"
        )


def var(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """Return the mean square deviation from the mean over `axis` (None: all).

    `correction` is subtracted from the number of elements (NumPy's ddof); a ShapeError if nothing
    is left to divide by.
    """
    axes = normalized(axis, len(x.shape), x)
    _check_freedom("var", x, axes, correction)
    squares = _sum(square(x - mean(x, axes, True)), axis=axes, keepdims=keepdims)
    return squares / (_count(x, axis=axes) - correction)


def std(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """Return the square root of `var`; its gradient is 0 where all elements are equal."""
    axes = normalized(axis, len(x.shape), x)
    _check_freedom("std", x, axes, correction)
    norms = _norm(x - mean(x, axes, True), axis=axes, keepdims=keepdims)
    return norms / sqrt(_count(x, axis=axes) - correction)


class AnyTrue(Fold):
    """Whether any element over axes is true."""

    ufunc = np.logical_or
    vjps = (None,)


class AllTrue(Fold):
    """Whether all elements over axes are true."""

    ufunc = np.logical_and
    vjps = (None,)


_any = register(AnyTrue("any"))
_all = register(AllTrue("all"))


def any(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return whether any element over `axis` (None: all) is true; of nothing: False."""
    return _any(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


def all(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return whether all elements over `axis` (None: all) are true; of nothing: True."""
    return _all(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


class ArgMax(Reduction):
    """The position of the largest element along one axis, the first of equal ones."""

    vjps = (None,)
    of_nothing = False

    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        return np.argmax(x, axis=axis[0], keepdims=keepdims)


class ArgMin(Reduction):
    """The position of the smallest element along one axis, the first of equal ones."""

    vjps = (None,)
    of_nothing = False

    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        return np.argmin(x, axis=axis[0], keepdims=keepdims)


_argmax = register(ArgMax("argmax"))
_argmin = register(ArgMin("argmin"))


def _position(op: Reduction, x: Any, axis: int | None, keepdims: bool) -> Any:
    if axis is not None:
        return op(x, axis=checked_axes(int(axis), len(x.shape), x), keepdims=keepdims)
    found = op(reshape(x, (-1,)), axis=(0,), keepdims=False)
    return reshape(found, (1,) * len(x.shape)) if keepdims else found


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return where the largest element along `axis` is, the first of equal ones.

    None: its place among all elements in row-major order.
    """
    return _position(_argmax, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return where the smallest element along `axis` is, the first of equal ones.

    None: its place among all elements in row-major order.
    """
    return _position(_argmin, x, axis, keepdims)
