"""How each op is printed by the NumPy plan: source that computes it into an array that is there.

A rule writes what `op.forward` computes, with the same calls of NumPy, into given arrays, and so
gives the same bits. These forms are faster, and differ in the last digits or in what is said:

| op | is written as | difference |
|---|---|---|
| matmul | `a.dot(b, out)` | rounding of another BLAS kernel; no floating-point warnings |
| sum, sum_to, mean, norm, softmax, log_softmax, logsumexp: sums of contiguous floats over leading \
axes, or over up to `reductions.SHORT` elements along trailing ones | a product with ones | \
rounding; no floating-point warnings |
| the same, where axes of length 1 are summed | a copy | -0.0 stays |
| power by a constant 2, -1, 1 or 0 | square, 1 / x, a copy, ones | 1 ulp |
| einsum, more than 20,000 products of two | products of matrices | rounding |
| place, delays_adjoint | parts added in order, the first one copied | -0.0 stays |

What is computed anew each time costs nothing but calls: rules allocate no arrays, but for the
small exceptions that `NO_RULE` names, inputs of products that are not laid out for BLAS, and
buffers of 8,192 elements where NumPy converts between dtypes.
"""

from __future__ import annotations

from autograd.execute.numpy_rules import (
    delaying,
    elementwise,
    products,
    reductions,
    structure,
)
from autograd.execute.numpy_rules.writing import RULES, Printed, Rule, Writer
from autograd.node import Node

NO_RULE = {
    "input": "is given its value",
    "parameter": "is given its value",
    "constant": "is given its value",
    "item": "is one of the outputs of another node",
    "fused": "is drawn for executors that go through a body element by element",
    "erf": "is 80 operations on float64, whatever the dtype, which their temporaries hardly slow",
    "erfc": "as erf",
    "scatter": "adds with np.add.at, which wants flat arrays and is slow beside what it is given",
    "solve": "LAPACK allocates its factors, and singular matrices have an error of their own",
    "inv": "as solve",
    "det": "as solve",
    "cofactor": "as solve",
    "slogdet": "as solve",
    "cholesky": "as solve",
    "random_split": "makes a generator of bits for each key",
    "random_fold_in": "as random_split",
    "random_uniform": "as random_split",
    "random_normal": "as random_split",
}
"""Ops whose `forward` is called and the result copied, and why. So are nodes that a rule is not for
(`Printed.when`): mixed dtypes, ragged delays, gather over several axes, einsum of many."""


def rule_for(node: Node) -> Rule | None:
    """Return how `node` is written, or None: call `op.forward`, and copy."""
    printed = _printed(node)
    return None if printed is None else printed.write


def _printed(node: Node) -> Printed | None:
    printed = RULES.get(node.op.name)
    return printed if printed is not None and printed.when(node) else None


__all__ = [
    "NO_RULE",
    "RULES",
    "Rule",
    "Writer",
    "delaying",
    "elementwise",
    "products",
    "reductions",
    "rule_for",
    "structure",
]
