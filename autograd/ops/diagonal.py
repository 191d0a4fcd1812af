"""Diagonals and triangles of matrices and stacks of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autograd.errors import ShapeError
from autograd.op import Op, register
from autograd.ops.reduce import sum
from autograd.ops.shape import moveaxis
from autograd.spec import Array, Spec


def _length(rows: int, columns: int, offset: int) -> int:
    return max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))


def _need_matrices(x: Any, name: str) -> None:
    if len(x.shape) < 2:
        raise ShapeError(
            f"{name} takes a matrix or a stack of matrices, but got shape {x.shape}; it needs at "
            "least two axes"
        )


class Diagonal(Op):
    """The elements `[..., i, i + offset]`, along a new last axis."""

    weight = 0
    vjps = (
        lambda g, y, x, offset: _embed_diagonal(
            g, offset=offset, rows=x.shape[-2], columns=x.shape[-1]
        ),
    )

    def forward(self, x: Array, *, offset: int) -> Array:
        return np.diagonal(x, offset, -2, -1)

    def infer(self, x: Spec, *, offset: int) -> Spec:
        _need_matrices(x, "diagonal")
        rows, columns = x.shape[-2:]
        return Spec((*x.shape[:-2], _length(rows, columns, offset)), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, offset: int) -> Any:
        return self(x, offset=offset)


_diagonal = register(Diagonal("diagonal"))


class EmbedDiagonal(Op):
    """Matrices of zeros with a diagonal: the adjoint of `diagonal`."""

    weight = 0
    vjps = (lambda g, y, d, offset, rows, columns: _diagonal(g, offset=offset),)

    def forward(self, d: Array, *, offset: int, rows: int, columns: int) -> Array:
        out = np.zeros((*d.shape[:-1], rows, columns), d.dtype)
        i = np.arange(d.shape[-1])
        out[..., i + max(-offset, 0), i + max(offset, 0)] = d
        return out

    def infer(self, d: Spec, *, offset: int, rows: int, columns: int) -> Spec:
        length = _length(rows, columns, offset)
        if d.shape[-1:] != (length,):
            raise ShapeError(
                f"diagonal {offset} of a {rows} x {columns} matrix has {length} "
                f"elements, but shape {d.shape} came; its last axis must be as long"
            )
        return Spec((*d.shape[:-1], rows, columns), d.dtype)

    def batch(self, batched: Sequence[bool], d: Any, **attrs: Any) -> Any:
        return self(d, **attrs)


_embed_diagonal: EmbedDiagonal = register(EmbedDiagonal("embed_diagonal"))


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the elements of `x` where the indices along the two axes differ by `offset`.

    The diagonal lies along the last axis of the result, as in NumPy.
    """
    _need_matrices(x, "diagonal")
    return _diagonal(moveaxis(x, (axis1, axis2), (-2, -1)), offset=offset)


def diag(x: Any, k: int = 0) -> Any:
    """Return the matrix with the vector `x` as its diagonal `k`, or diagonal `k` of a matrix."""
    if len(x.shape) == 1:
        side = x.shape[0] + abs(k)
        return _embed_diagonal(x, offset=k, rows=side, columns=side)
    if len(x.shape) != 2:
        raise ShapeError(
            f"diag takes a vector or a matrix, but got shape {x.shape}; use diagonal for stacks"
        )
    return _diagonal(x, offset=k)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return the sum of the diagonal of `x` along two of its axes."""
    return sum(diagonal(x, offset, axis1, axis2), axis=-1)


class Triangle(Op):
    """The elements on one side of diagonal `k` and on it, zeros elsewhere."""

    weight = 0
    overwrites = (0,)

    def __init__(self, name: str, compute: Callable[..., Array]) -> None:
        super().__init__(name)
        self.compute = compute

    def forward(self, x: Array, *, k: int) -> Array:
        return self.compute(x, k)

    def infer(self, x: Spec, *, k: int) -> Spec:
        _need_matrices(x, self.name)
        return x

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return (self(g, **attrs),)

    def batch(self, batched: Sequence[bool], x: Any, *, k: int) -> Any:
        return self(x, k=k)


_tril = register(Triangle("tril", np.tril))
_triu = register(Triangle("triu", np.triu))


def tril(x: Any, k: int = 0) -> Any:
    """Return the lower triangle of matrices, up to diagonal `k`; zeros above it."""
    _need_matrices(x, "tril")
    return _tril(x, k=k)


def triu(x: Any, k: int = 0) -> Any:
    """Return the upper triangle of matrices, from diagonal `k` on; zeros below it."""
    _need_matrices(x, "triu")
    return _triu(x, k=k)
