"""Noticing cheaply that something is not finite any more; `autograd.finite` then finds out where.

A screened program runs under `np.errstate(over="raise", divide="raise", invalid="raise")`, so what
NumPy notices anyway costs nothing: an infinity or NaN that arithmetic makes raises a
FloatingPointError at once, also where a `where` or a comparison would hide it later. NumPy does not
notice everything (BLAS in other threads, einsum, functions of the user's), so the results of all
other ops are looked at, except those that cannot make one of finite values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from autograd.node import OPS

if TYPE_CHECKING:
    from autograd.node import Node
    from autograd.op import Op

FLAGGED = frozenset(
    {"add", "subtract", "multiply", "divide", "reciprocal", "square", "sqrt"}
    | {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p"}
    | {"sum", "sum_to", "mean"}
)
"""Ops made of NumPy ufuncs that raise whenever they make an infinity or NaN of finite values."""

SAFE = frozenset(
    {"identity", "stop_gradient", "negative", "abs", "sign", "floor", "ceil", "round"}
    | {"relu", "sigmoid", "tanh", "sin", "cos", "arctan", "erf", "erfc", "where"}
    | {"maximum", "minimum", "clip", "max", "min", "argmax", "argmin", "any", "all", "count"}
    | {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
    | {"logical_and", "logical_or", "logical_xor", "logical_not", "isnan", "isinf", "isfinite"}
    | {"reshape", "permute_dims", "swapaxes", "broadcast_to", "flip", "roll", "item", "positions"}
    | {"stack", "unstack", "split", "concat", "pad", "slice", "slice_set", "gather", "scatter_set"}
    | {"diagonal", "embed_diagonal", "tril", "triu"}
    | {"random_uniform", "random_normal", "random_split", "random_fold_in"}
)
"""Ops whose results are finite for all finite inputs of the dtype of the result."""

ZEROS = 16384
_zeros: dict[np.dtype[Any], Any] = {}


class ScreenError(ArithmeticError):
    """Something is not finite; raised inside a screened run only, and caught around it."""


def finite(value: Any) -> bool:
    """Whether `value`, an array or several, has neither NaN nor infinity in it.

    The product with zeros is NaN if it has: one pass over small arrays, without a temporary.
    """
    if type(value) is tuple:
        return all(map(finite, value))
    dtype = value.dtype
    if dtype.kind != "f":
        return True
    size = value.size
    if size > ZEROS or dtype.itemsize < 4:
        return bool(np.isfinite(value).all())
    return bool(np.vdot(value, _zeros_of(dtype)[:size]) == 0)


def is_safe(op: Op) -> bool:
    """Whether results of `op` are finite for all finite inputs."""
    return op.name in SAFE and OPS.get(op.name) is op


def screened(node: Node, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return `forward` of `node`; where NumPy would not notice, one that raises a ScreenError."""
    op = node.op
    spec: Any = node.spec
    specs = spec if type(spec) is tuple else (spec,)
    flagged = op.name in FLAGGED and OPS.get(op.name) is op
    if flagged or is_safe(op) or not any(part.floating for part in specs):
        return forward

    def looked_at(*arrays: Any) -> Any:
        value = forward(*arrays)
        if not finite(value if op.multiple else np.asarray(value)):
            raise ScreenError(op.name)
        return value

    if op.multiple or spec.size > ZEROS or spec.dtype.itemsize < 4:
        return looked_at
    zeros = _zeros_of(spec.dtype)[: spec.size]
    vdot = np.vdot

    def looked_at_quickly(*arrays: Any) -> Any:
        value = forward(*arrays)
        try:
            clean = vdot(value, zeros) == 0  # else NaN, for NaN and infinity times 0
        except ValueError:  # as long as a loop that the data stop
            clean = finite(np.asarray(value))
        if not clean:
            raise ScreenError(op.name)
        return value

    return looked_at_quickly


def _zeros_of(dtype: np.dtype[Any]) -> Any:
    zeros = _zeros.get(dtype)
    if zeros is None:
        zeros = _zeros[dtype] = np.zeros(ZEROS, dtype)
    return zeros
