"""Noticing cheaply that something is not finite any more; `autograd.finite` then finds out where.

A screened program runs under `np.errstate(over="raise", divide="raise", invalid="raise")`, so what
NumPy notices anyway costs nothing: an infinity or NaN that arithmetic makes raises a
FloatingPointError at once, also where a `where` or a comparison would hide it later. NumPy does not
notice everything (BLAS in other threads, einsum, functions of the user's), so the results of all
other ops are looked at, except those that cannot make one of finite values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
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
    | {"repeat_like"}
    | {"stack", "unstack", "split", "concat", "pad", "slice", "slice_set", "gather", "scatter_set"}
    | {"diagonal", "embed_diagonal", "tril", "triu"}
    | {"random_uniform", "random_normal", "random_split", "random_fold_in"}
)
"""Ops whose results are finite for all finite inputs of the dtype of the result."""

ALONE = 2**15
"""A product of at most so many multiplications is one thread's work, whose flags NumPy sees."""
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
    zeros = _zeros.get(value.dtype)
    size = value.size
    if zeros is not None and size <= ZEROS:
        return bool(np.vdot(value, zeros[:size]) == 0)
    if value.dtype.kind != "f":
        return True
    if zeros is None and value.dtype.itemsize >= 4:
        _zeros_of(value.dtype)
    return bool(np.isfinite(value).all())


def is_flagged(node: Node) -> bool:
    """Whether NumPy raises if `node` makes an infinity or NaN of finite values."""
    op = node.op
    if OPS.get(op.name) is not op:
        return False
    if op.name in FLAGGED:
        return True
    if op.name != "matmul":
        return False
    terms = node.inputs[0].shape[-1]
    return node.spec.size * terms <= ALONE and small_products_are_flagged()


@cache
def small_products_are_flagged() -> bool:
    """Whether NumPy notices an overflow in a small matrix product: it depends on the BLAS."""
    for dtype, m, k, n in product(("f4", "f8"), (1, 2, 16), (1, 2, 16), (1, 2, 16)):
        a, b = np.zeros((m, k), dtype), np.zeros((k, n), dtype)
        a[-1, -1] = b[-1, -1] = np.finfo(dtype).max
        try:
            with np.errstate(over="raise"):
                np.matmul(a, b)
        except FloatingPointError:
            continue
        return False
    return True


def is_safe(op: Op) -> bool:
    """Whether results of `op` are finite for all finite inputs."""
    return op.name in SAFE and OPS.get(op.name) is op


def screened(node: Node, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return `forward` of `node`; where NumPy would not notice, one that raises a ScreenError."""
    op = node.op
    spec: Any = node.spec
    specs = spec if type(spec) is tuple else (spec,)
    if is_flagged(node) or is_safe(op) or not any(part.floating for part in specs):
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
