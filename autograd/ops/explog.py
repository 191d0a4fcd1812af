"""Exponential functions and logarithms. Gradients come from the output where that is as exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.ops.elementwise import elementwise
from autograd.ops.comparison import equal, where

LN_2 = 0.6931471805599453
LN_10 = 2.302585092994046

exp = elementwise("exp", np.exp, lambda g, y, x: g * y, doc="e to the power of x")
exp2 = elementwise("exp2", np.exp2, lambda g, y, x: g * y * LN_2, doc="2 to the power of x")
expm1 = elementwise(
    "expm1",
    np.expm1,
    lambda g, y, x: g * exp(x),
    doc="exp(x) - 1, exact for small x too",
)
log = elementwise(
    "log", np.log, lambda g, y, x: g / x, doc="The natural logarithm; its gradient at 0 is infinite"
)
log2 = elementwise("log2", np.log2, lambda g, y, x: g / (x * LN_2), doc="The logarithm to base 2")
log10 = elementwise(
    "log10", np.log10, lambda g, y, x: g / (x * LN_10), doc="The logarithm to base 10"
)
log1p = elementwise(
    "log1p", np.log1p, lambda g, y, x: g / (1 + x), doc="log(1 + x), exact for small x too"
)


def _weight(x: Any, y: Any) -> Any:
    """Return exp(x - y), the part of x in y = log(sum(exp(x))): 0 where y = log(0)."""
    return exp(x - where(equal(y, -np.inf), 0.0, y))


logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda g, y, a, b: g * _weight(a, y),
    lambda g, y, a, b: g * _weight(b, y),
    doc="log(exp(a) + exp(b)), without overflow",
)
