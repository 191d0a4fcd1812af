"""Exponential functions and logarithms. Gradients come from the output where that is as exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograd.op import FUNCTION
from autograd.ops.elementwise import elementwise
from autograd.spec import Array

LN_2 = 0.6931471805599453
LN_10 = 2.302585092994046

exp = elementwise("exp", np.exp, lambda g, y, x: g * y, doc="e to the power of x", weight=FUNCTION)
exp2 = elementwise(
    "exp2", np.exp2, lambda g, y, x: g * y * LN_2, doc="2 to the power of x", weight=FUNCTION
)
expm1 = elementwise(
    "expm1",
    np.expm1,
    lambda g, y, x: g * exp(x),
    doc="exp(x) - 1, exact for small x too",
    weight=FUNCTION,
)
log = elementwise(
    "log",
    np.log,
    lambda g, y, x: g / x,
    doc="The natural logarithm; its gradient at 0 is infinite",
    weight=FUNCTION,
)
log2 = elementwise(
    "log2", np.log2, lambda g, y, x: g / (x * LN_2), doc="The logarithm to base 2", weight=FUNCTION
)
log10 = elementwise(
    "log10",
    np.log10,
    lambda g, y, x: g / (x * LN_10),
    doc="The logarithm to base 10",
    weight=FUNCTION,
)
log1p = elementwise(
    "log1p",
    np.log1p,
    lambda g, y, x: g / (1 + x),
    doc="log(1 + x), exact for small x too",
    weight=FUNCTION,
)


def _exp_difference(x: Array, y: Array) -> Any:
    return np.exp(np.subtract(x, np.where(np.equal(x, -np.inf), 0, y)))


exp_difference = elementwise(
    "exp_difference",
    np.errstate(under="ignore")(_exp_difference),
    lambda g, y, a, b: g * y,
    lambda g, y, a, b: -g * y,
    doc="""exp(a - b), and 0 where a is -inf, even if b is.

    The share of a in b = log(sum(exp(a))), which is the gradient of logsumexp and logaddexp.
    """,
    weight=FUNCTION,
)


logaddexp = elementwise(
    "logaddexp",
    np.logaddexp,
    lambda g, y, a, b: g * exp_difference(a, y),
    lambda g, y, a, b: g * exp_difference(b, y),
    doc="log(exp(a) + exp(b)), without overflow",
    weight=FUNCTION,
)
