"""The ops, one family a file. `docs/add_an_op.md` says how to add one."""

from autograd.ops import (
    activation,
    comparison,
    cumulative,
    elementwise,
    erf,
    explog,
    index,
    leaf,
    linalg,
    piecewise,
    random,
    reduce,
    shape,
    softmax,
    trigonometric,
)

__all__ = [
    "activation",
    "comparison",
    "cumulative",
    "elementwise",
    "erf",
    "explog",
    "index",
    "leaf",
    "linalg",
    "piecewise",
    "random",
    "reduce",
    "shape",
    "softmax",
    "trigonometric",
]
