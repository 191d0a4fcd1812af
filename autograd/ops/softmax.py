"""logsumexp, softmax and log_softmax, for logits of any size.

A row that is -inf throughout has no largest element to subtract: its logsumexp is -inf with the
gradient 0, its softmax and log_softmax are NaN (0 divided by 0), as in PyTorch and JAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from autograd.op import DIVISION, FUNCTION, Op, register
from autograd.ops.explog import exp_difference
from autograd.ops.reduce import Axes, Reduction, _sum, normalized, restored
from autograd.ops.shape import checked_axes
from autograd.spec import Array, Spec


def _shift(x: Array, axis: Axes) -> Any:
    """Return the largest element of each row, 0 for an empty one."""
    return np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)


def _log_sum(shifted: Array, axis: Axes) -> Any:
    """Return log(sum(exp(shifted))) of rows whose largest element is 0.

    As log1p of the others' sum, which keeps its digits where one element outweighs all others.
    """
    e = np.exp(shifted)
    top = np.equal(shifted, 0)
    others = np.add.reduce(np.subtract(e, top), axis=axis, keepdims=True)
    tops = np.add.reduce(top, axis=axis, keepdims=True, dtype=e.dtype)
    return np.log1p(others + (tops - 1))


class LogSumExp(Reduction):
    """log(sum(exp(x))) over axes; of nothing: -inf."""

    weight = 3 + FUNCTION  # maximum, difference, exp, sum
    finish = 1 + FUNCTION

    @np.errstate(under="ignore", divide="ignore")
    def forward(self, x: Array, *, axis: Axes, keepdims: bool) -> Any:
        x = x if x.dtype.kind == "f" else x.astype(np.float64)
        largest = _shift(x, axis)
        largest = np.where(np.isfinite(largest), largest, 0)
        y = _log_sum(x - largest, axis) + largest
        return y if keepdims else y.reshape([n for i, n in enumerate(y.shape) if i not in axis])

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x, axis = xs[0], attrs["axis"]
        return (restored(g, x, axis) * exp_difference(x, restored(y, x, axis)),)


_logsumexp = register(LogSumExp("logsumexp"))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """Return log(sum(exp(x))) over `axis` (None: all), without overflow."""
    return _logsumexp(x, axis=normalized(axis, len(x.shape), x), keepdims=keepdims)


class Softmax(Op):
    """exp(x) / sum(exp(x)) over axes."""

    weight = 3 + FUNCTION + DIVISION  # maximum, difference, exp, sum, quotient

    vjps = (lambda g, y, x, axis: y * (g - _sum(g * y, axis=axis, keepdims=True)),)

    @np.errstate(under="ignore", invalid="ignore")  # invalid: inf - inf, whose answer is NaN
    def forward(self, x: Array, *, axis: Axes) -> Any:
        e = np.exp(x - _shift(x, axis))
        return e / np.add.reduce(e, axis=axis, keepdims=True)

    def infer(self, x: Spec, *, axis: Axes) -> Spec:
        checked_axes(axis, x.ndim)
        return Spec(x.shape, x.dtype if x.floating else np.dtype(np.float64))

    def batch(self, batched: Sequence[bool], x: Any, *, axis: Axes) -> Any:
        return self(x, axis=tuple(a + 1 for a in axis))


class LogSoftmax(Softmax):
    """log(softmax(x)) over axes, exact where softmax is 0."""

    weight = 4 + FUNCTION  # maximum, difference, exp, sum, difference; a log a row on top

    vjps = (lambda g, y, x, axis: g - softmax(x, axis) * _sum(g, axis=axis, keepdims=True),)

    @np.errstate(under="ignore", invalid="ignore", divide="ignore")
    def forward(self, x: Array, *, axis: Axes) -> Any:
        shifted = x - _shift(x, axis)
        return shifted - _log_sum(shifted, axis)

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        (x,) = inputs
        rows = prod(n for a, n in enumerate(x.shape) if a not in attrs["axis"])
        return self.weight * x.size + FUNCTION * rows


_softmax = register(Softmax("softmax"))
_log_softmax = register(LogSoftmax("log_softmax"))


def softmax(x: Any, axis: Any = -1) -> Any:
    """Return exp(x) / sum(exp(x)) over `axis` (None: all): positive weights that sum to 1."""
    return _softmax(x, axis=normalized(axis, len(x.shape), x))


def log_softmax(x: Any, axis: Any = -1) -> Any:
    """Return log(softmax(x)) over `axis` (None: all), without log(0)."""
    return _log_softmax(x, axis=normalized(axis, len(x.shape), x))
