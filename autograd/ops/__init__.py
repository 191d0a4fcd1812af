"""The ops, one family a file. `docs/add_an_op.md` says how to add one."""

from autograd.ops import (
    activation,
    comparison,
    elementwise,
    erf,
    explog,
    index,
    leaf,
    linalg,
    piecewise,
    reduce,
    shape,
    trigonometric,
)

__all__ = [
    "activation",
    "comparison",
    "elementwise",
    "erf",
    "explog",
    "index",
    "leaf",
    "linalg",
    "piecewise",
    "reduce",
    "shape",
    "trigonometric",
]
