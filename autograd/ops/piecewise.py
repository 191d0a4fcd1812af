"""Functions with kinks, ties and steps; `docs/conventions.md` says their gradients there."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.errors import GraphError
from autograd.op import register
from autograd.ops.comparison import equal, greater, greater_equal, less, less_equal, where
from autograd.ops.elementwise import Elementwise, elementwise
from autograd.spec import Array

abs = elementwise(
    "abs",
    np.absolute,
    lambda g, y, x: g * sign(x),
    doc="The absolute value of x; its gradient at 0 is 0",
)
sign: Elementwise = elementwise(
    "sign", np.sign, None, doc="-1, 0 or 1; a step function: its gradient is zero"
)
floor = elementwise("floor", np.floor, None, doc="The next whole number below; gradient zero")
ceil = elementwise("ceil", np.ceil, None, doc="The next whole number above; gradient zero")
round = elementwise(
    "round", np.round, None, doc="The nearest whole number, halves to even; gradient zero"
)


def _shared(g: Any, wins: Any, ties: Any) -> Any:
    return where(ties, 0.5 * g, where(wins, g, 0.0))


maximum = elementwise(
    "maximum",
    np.maximum,
    lambda g, y, a, b: _shared(g, greater(a, b), equal(a, b)),
    lambda g, y, a, b: _shared(g, less(a, b), equal(a, b)),
    doc="The larger of a and b, NaN if either is; equal ones share the gradient",
)
minimum = elementwise(
    "minimum",
    np.minimum,
    lambda g, y, a, b: _shared(g, less(a, b), equal(a, b)),
    lambda g, y, a, b: _shared(g, greater(a, b), equal(a, b)),
    doc="The smaller of a and b, NaN if either is; equal ones share the gradient",
)


def _clip(x: Array, *, low: float | None, high: float | None) -> Any:
    y = x if low is None else np.maximum(x, low)
    return y if high is None else np.minimum(y, high)


def _unclipped(g: Any, y: Any, x: Any, low: float | None, high: float | None) -> Any:
    if low is not None:
        g = where(greater_equal(x, low), g, 0.0)
    return g if high is None else where(less_equal(x, high), g, 0.0)


_clip_op = register(Elementwise("clip", _clip, (_unclipped,)))


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """Return `x` limited to [low, high]; None is no limit.

    The gradient passes inside the limits and on them. Limits that are tensors or arrays give
    `minimum(maximum(x, low), high)`, where `x` and a limit it equals share the gradient.
    """
    if low is None and high is None:
        raise GraphError("clip needs a lower limit, an upper limit or both, but got neither")
    if isinstance(low, _NUMBER) and isinstance(high, _NUMBER):
        return _clip_op(x, low=_number(low), high=_number(high))
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


_NUMBER = (type(None), bool, int, float, np.generic)


def _number(limit: Any) -> Any:
    return limit.item() if isinstance(limit, np.generic) else limit
