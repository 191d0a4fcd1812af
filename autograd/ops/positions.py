"""What follows the length of an axis of another array, whatever `graph.resize` makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.op import Op, register
from autograd.ops.reduce import sum
from autograd.ops.shape import broadcast_to, checked_axis, moveaxis
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


class RepeatLike(Op):
    """x along a new first axis, as often as `like` has entries along `axis`."""

    weight = 0
    free = True
    vjps = (lambda g, y, x, like, axis: sum(g, 0), None)

    def forward(self, x: Array, like: Array, *, axis: int) -> Array:
        return np.broadcast_to(x, (like.shape[axis], *x.shape))

    def infer(self, x: Spec, like: Spec, *, axis: int) -> Spec:
        return Spec((like.shape[checked_axis(axis, like.ndim)], *x.shape), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, like: Any, *, axis: int) -> Any:
        repeated = self(x, like, axis=axis + batched[1])
        if batched[0]:
            return moveaxis(repeated, 0, 1)
        return broadcast_to(repeated, (like.shape[0], *repeated.shape))


_repeat_like = register(RepeatLike("repeat_like"))


def repeat_like(x: Any, like: Any, axis: int = 0) -> Any:
    """Return `x` along a new first axis, as often as `like` has entries along `axis`.

    One initial state for a batch of any size: `repeat_like(h0, xs, axis=1)` is (B, H) for h0 (H,)
    and xs (T, B, D). Values of `like` are not read: it has no gradient, that of `x` is the sum.
    """
    return _repeat_like(x, like, axis=checked_axis(axis, len(like.shape)))
