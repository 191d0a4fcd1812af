"""Products of vectors, matrices and stacks of them. (`autograd.ops.einsum` has all the others.)"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.ops.elementwise import align, multiply
from autograd.ops.shape import (
    checked_axes,
    expand_dims,
    matrix_transpose,
    permute_dims,
    ravel,
    reshape,
    squeeze,
)
from autograd.spec import Array, Spec


class MatMul(Op):
    """`a @ b` with every rank NumPy accepts: vectors, matrices and stacks of matrices."""

    broadcasts = True

    def forward(self, a: Array, b: Array) -> Any:
        if a.ndim > 2 and b.ndim == 2 and a.size:  # one product of a tall matrix, not many
            return np.matmul(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
        return np.matmul(a, b)

    def infer(self, a: Spec, b: Spec) -> Spec:
        if a.ndim == 0 or b.ndim == 0:
            raise ShapeError(
                f"it takes vectors, matrices or stacks of them, but got {a.shape} @ {b.shape}; "
                "use * for a product with a scalar"
            )
        inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
        if a.shape[-1] != inner:
            raise ShapeError(
                f"{a.shape} @ {b.shape}: the last axis of the first ({a.shape[-1]}) must be as "
                f"long as the {'second last' if b.ndim > 1 else 'only'} axis of the second "
                f"({inner}); transpose one of them or change its size"
            )
        stacked = stack_shape("matmul", a, b)
        shape = stacked + a.shape[-2:-1] + (b.shape[-1:] if b.ndim > 1 else ())
        return Spec(shape, np.result_type(a.dtype, b.dtype))

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        a, b = xs
        ga = gb = None
        if len(a.shape) == 2 == len(b.shape):
            # For matrices `.T` is the transpose of arrays and of nodes alike.
            ga = g @ b.T if needs[0] else None
            gb = a.T @ g if needs[1] else None
        elif len(b.shape) == 1:
            column = g if len(a.shape) == 1 else expand_dims(g, -1)
            ga = column * b if needs[0] else None
            if needs[1]:
                gb = column * a if len(a.shape) == 1 else _column(a, g)
        elif len(a.shape) == 1:
            ga = squeeze(matmul(b, expand_dims(g, -1)), -1) if needs[0] else None
            gb = expand_dims(a, -1) * expand_dims(g, -2) if needs[1] else None
        else:
            ga = matmul(g, matrix_transpose(b)) if needs[0] else None
            if needs[1]:
                if len(b.shape) == 2:  # the sum over the stack is part of one product
                    a, g = _tall(a), _tall(g)
                gb = matmul(matrix_transpose(a), g)
        return ga, gb

    def batch(self, batched: Sequence[bool], a: Any, b: Any) -> Any:
        vector_a = len(a.shape) - batched[0] == 1
        vector_b = len(b.shape) - batched[1] == 1
        if vector_a:
            a = expand_dims(a, -2)
        if vector_b:
            b = expand_dims(b, -1)
        y = self(*align(batched, (a, b)))
        if vector_a:
            y = squeeze(y, -2)
        return squeeze(y, -1) if vector_b else y

    def flops(self, inputs: Sequence[Spec], output: Any, attrs: dict[str, Any]) -> int:
        return 2 * int(output.size) * inputs[0].shape[-1]


def stack_shape(name: str, a: Spec, b: Spec) -> tuple[int, ...]:
    """Return the common shape of the leading axes of two stacks of matrices."""
    try:
        return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(
            f"{name} of {a.shape} and {b.shape}: the leading axes {a.shape[:-2]} and "
            f"{b.shape[:-2]} do not broadcast; make their lengths equal or 1"
        ) from None


def _tall(x: Any) -> Any:
    return reshape(x, (prod(x.shape[:-1]), x.shape[-1]))


def _column(a: Any, g: Any) -> Any:
    """Return `a` transposed times the vectors `g`."""
    if len(a.shape) > 2:  # the sum over the stack is part of one product
        a, g = _tall(a), ravel(g)
    return matmul(matrix_transpose(a), g)


matmul = register(MatMul("matmul"))


def dot(a: Any, b: Any) -> Any:
    """Return the sum of products over the last axis of `a` and the second last (or only) of `b`.

    As `numpy.dot`: with a scalar it is `a * b`, for vectors and matrices `a @ b`.
    """
    if not a.shape or not b.shape:
        return multiply(a, b)
    return matmul(a, b) if len(b.shape) <= 2 else tensordot(a, b, ((-1,), (-2,)))


def inner(a: Any, b: Any) -> Any:
    """Return the sum of products over the last axes of both."""
    return multiply(a, b) if not a.shape or not b.shape else tensordot(a, b, ((-1,), (-1,)))


def vdot(a: Any, b: Any) -> Any:
    """Return the sum of products of all elements."""
    return matmul(ravel(a), ravel(b))


def outer(a: Any, b: Any) -> Any:
    """Return the product of every element of `a` with every element of `b`: a matrix."""
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Return the sum of products over axes of `a` paired with axes of `b`.

    `axes` is a pair of axes (or sequences of axes), or n: the last n of `a` with the first n of
    `b`. What is left of `a`, then what is left of `b`, makes the result.
    """
    rank_a, rank_b = len(a.shape), len(b.shape)
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(rank_a, rank_b):
            raise ShapeError(
                f"tensordot of {a.shape} and {b.shape} over {axes} axes: there are not as many; "
                "give fewer"
            )
        axes = (range(rank_a - int(axes), rank_a), range(int(axes)))
    first, second = checked_axes(axes[0], rank_a), checked_axes(axes[1], rank_b)
    lengths = tuple(a.shape[i] for i in first)
    if lengths != tuple(b.shape[i] for i in second):
        raise ShapeError(
            f"tensordot of {a.shape} over axes {first} and {b.shape} over axes {second}: paired "
            "axes must be equally long; pair others"
        )
    left = tuple(i for i in range(rank_a) if i not in first)
    right = tuple(i for i in range(rank_b) if i not in second)
    shape_a = tuple(a.shape[i] for i in left)
    shape_b = tuple(b.shape[i] for i in right)
    count = prod(lengths)
    rows = reshape(permute_dims(a, left + first), (prod(shape_a), count))
    columns = reshape(permute_dims(b, second + right), (count, prod(shape_b)))
    return reshape(matmul(rows, columns), shape_a + shape_b)
