"""Products of matrices, solutions and factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.ops.elementwise import align
from autograd.ops.shape import reshape, sum_to, swapaxes
from autograd.spec import Array, Spec


class MatMul(Op):
    """`a @ b` with every rank NumPy accepts: vectors, matrices and stacks of matrices."""

    def forward(self, a: Array, b: Array) -> Any:
        return np.matmul(a, b)

    def infer(self, a: Spec, b: Spec) -> Spec:
        if a.ndim == 0 or b.ndim == 0:
            raise ShapeError(
                f"matmul takes vectors, matrices or stacks of them, but got {a.shape} @ {b.shape}; "
                "use * for a product with a scalar"
            )
        inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
        if a.shape[-1] != inner:
            raise ShapeError(
                f"matmul {a.shape} @ {b.shape}: the last axis of the first ({a.shape[-1]}) must be "
                f"as long as the {'second last' if b.ndim > 1 else 'only'} axis of the second "
                f"({inner}); transpose one of them or change its size"
            )
        try:
            stacked = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ShapeError(
                f"matmul {a.shape} @ {b.shape}: the leading axes do not broadcast"
            ) from None
        shape = stacked + a.shape[-2:-1] + (b.shape[-1:] if b.ndim > 1 else ())
        return Spec(shape, np.result_type(a.dtype, b.dtype))

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        a, b = xs
        rows = a if len(a.shape) > 1 else reshape(a, (1, -1))
        columns = b if len(b.shape) > 1 else reshape(b, (-1, 1))
        shape = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
        g = reshape(g, (*shape, rows.shape[-2], columns.shape[-1]))
        ga = gb = None
        if needs[0]:
            ga = _summed(matmul(g, swapaxes(columns, -1, -2)), rows.shape)
            ga = reshape(ga, a.shape)
        if needs[1]:
            gb = _summed(matmul(swapaxes(rows, -1, -2), g), columns.shape)
            gb = reshape(gb, b.shape)
        return ga, gb

    def batch(self, batched: Sequence[bool], a: Any, b: Any) -> Any:
        vector_a = len(a.shape) - batched[0] == 1
        vector_b = len(b.shape) - batched[1] == 1
        if vector_a:
            a = reshape(a, (*a.shape[:-1], 1, a.shape[-1]))
        if vector_b:
            b = reshape(b, (*b.shape, 1))
        y = self(*align(batched, (a, b)))
        if vector_a:
            y = reshape(y, (*y.shape[:-2], y.shape[-1]))
        return reshape(y, y.shape[:-1]) if vector_b else y


def _summed(g: Any, shape: tuple[int, ...]) -> Any:
    return g if g.shape == shape else sum_to(g, shape=shape)


matmul = register(MatMul("matmul"))
