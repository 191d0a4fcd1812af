"""Positions along an axis, as data: what `arange` is where the length of the axis may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.op import Op, register
from autograd.ops.shape import broadcast_to, checked_axis
from autograd.spec import Array, Spec


class Positions(Op):
    """0, 1, ..., n - 1 along `axis` of x, which has n elements there. Only its length is read."""

    weight = 0
    shape_only = True
    vjps = (None,)

    def forward(self, x: Array, *, axis: int) -> Array:
        return np.arange(x.shape[axis], dtype=np.int64)

    def infer(self, x: Spec, *, axis: int) -> Spec:
        return Spec((x.shape[checked_axis(axis, x.ndim)],), np.dtype(np.int64))

    def batch(self, batched: Sequence[bool], x: Any, *, axis: int) -> Any:
        along = self(x, axis=axis + 1)
        return broadcast_to(along, (x.shape[0], *along.shape))


_positions = register(Positions("positions"))


def positions(x: Any, axis: int = 0) -> Any:
    """Return the int64 numbers 0, 1, ..., n - 1, where n is the length of `x` along `axis`.

    `arange(x.shape[0])` is a constant, whatever becomes of the graph; `positions(x)` is an op, so
    it has the new length after `graph.resize`. Values of `x` are not read: it has no gradient.
    """
    return _positions(x, axis=checked_axis(axis, len(x.shape)))
