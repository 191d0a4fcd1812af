"""Ops that change shape and never a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autograd.errors import ShapeError

from autograd.op import Op, register
from autograd.spec import Array, Spec, checked_dtype


class Reshape(Op):
    vjps = (lambda g, y, x, shape: _reshape(g, shape=x.shape),)

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        return x.reshape(shape)

    def infer(self, x: Spec, *, shape: tuple[int, ...]) -> Spec:
        result = Spec(shape, x.dtype)
        if result.size != x.size:
            raise ShapeError(
                f"cannot reshape {x.shape} ({x.size} elements) to {shape} ({result.size} elements)"
            )
        return result

    def batch(self, batched: Sequence[bool], x: Any, *, shape: tuple[int, ...]) -> Any:
        return self(x, shape=(x.shape[0], *shape))


_reshape = register(Reshape("reshape"))


def reshape(x: Any, shape: Any) -> Any:
    """Return `x` in another shape of as many elements; one length may be -1."""
    lengths = [shape] if isinstance(shape, int) else [int(n) for n in shape]
    if -1 in lengths:
        known = 1
        for n in lengths:
            known *= 1 if n == -1 else n
        size = int(np.prod(x.shape, dtype=np.int64))
        lengths[lengths.index(-1)] = size // known if known else 0
    return _reshape(x, shape=tuple(lengths))


class SumTo(Op):
    """Sum over what broadcasting has repeated: the adjoint of `broadcast_to`."""

    vjps = (lambda g, y, x, shape: broadcast_to(g, x.shape),)

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        extra = x.ndim - len(shape)
        axes = tuple(range(extra)) + tuple(
            i + extra for i, n in enumerate(shape) if n == 1 and x.shape[i + extra] != 1
        )
        return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape) if axes else x

    def infer(self, x: Spec, *, shape: tuple[int, ...]) -> Spec:
        try:
            fits = np.broadcast_shapes(x.shape, shape) == x.shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"{shape} does not broadcast to {x.shape}, so it cannot be summed back")
        return Spec(shape, x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, shape: tuple[int, ...]) -> Any:
        n = x.shape[0]
        extra = len(x.shape) - 1 - len(shape)
        kept = self(x, shape=(n, *(1,) * extra, *shape))
        return _reshape(kept, shape=(n, *shape))


sum_to = register(SumTo("sum_to"))


class BroadcastTo(Op):
    vjps = (lambda g, y, x, shape: sum_to(g, shape=x.shape),)

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(x, shape)

    def infer(self, x: Spec, *, shape: tuple[int, ...]) -> Spec:
        try:
            fits = np.broadcast_shapes(x.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"{x.shape} does not broadcast to {shape}")
        return Spec(shape, x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, shape: tuple[int, ...]) -> Any:
        n = x.shape[0]
        x = _reshape(x, shape=(n, *(1,) * (len(shape) + 1 - len(x.shape)), *x.shape[1:]))
        return self(x, shape=(n, *shape))


_broadcast_to = register(BroadcastTo("broadcast_to"))


def broadcast_to(x: Any, shape: Any) -> Any:
    """Return `x` repeated along new axes and axes of length 1 to make `shape`."""
    return _broadcast_to(x, shape=tuple(shape))


class SwapAxes(Op):
    """Two axes exchanged; both counted from the end or both from the front."""

    vjps = (lambda g, y, x, axis1, axis2: swapaxes(g, axis1, axis2),)

    def forward(self, x: Array, *, axis1: int, axis2: int) -> Array:
        return x.swapaxes(axis1, axis2)

    def infer(self, x: Spec, *, axis1: int, axis2: int) -> Spec:
        shape = list(x.shape)
        try:
            shape[axis1], shape[axis2] = shape[axis2], shape[axis1]
        except IndexError:
            raise ShapeError(
                f"axes {axis1} and {axis2} do not both exist in shape {x.shape}"
            ) from None
        return Spec(tuple(shape), x.dtype)

    def batch(self, batched: Sequence[bool], x: Any, *, axis1: int, axis2: int) -> Any:
        return self(x, axis1=axis1 + (axis1 >= 0), axis2=axis2 + (axis2 >= 0))


_swapaxes = register(SwapAxes("swapaxes"))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return `x` with two axes exchanged."""
    return _swapaxes(x, axis1=axis1, axis2=axis2)


class Stack(Op):
    """Arrays of one shape joined along a new axis."""

    def forward(self, *xs: Array, axis: int) -> Array:
        return np.stack(xs, axis)

    def infer(self, *specs: Spec, axis: int) -> Spec:
        shapes = {spec.shape for spec in specs}
        if len(shapes) != 1:
            raise ShapeError(
                f"stack joins values of one shape, but they are {sorted(shapes)}; reshape or "
                "broadcast them first"
            )
        shape = list(shapes.pop())
        shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, len(specs))
        return Spec(tuple(shape), np.result_type(*[spec.dtype for spec in specs]))

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        return unstack(g, attrs["axis"])

    def batch(self, batched: Sequence[bool], *xs: Any, axis: int) -> Any:
        n = next(x.shape[0] for b, x in zip(batched, xs, strict=True) if b)
        full = [
            x if b else broadcast_to(x, (n, *x.shape)) for b, x in zip(batched, xs, strict=True)
        ]
        return self(*full, axis=axis + (axis >= 0))


_stack = register(Stack("stack"))


def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Return arrays of one shape joined along a new axis."""
    return _stack(*xs, axis=axis)


class Unstack(Op):
    """The slices along an axis, each an output: the adjoint of `stack`."""

    multiple = True

    def forward(self, x: Array, *, axis: int) -> tuple[Array, ...]:
        return tuple(np.moveaxis(x, axis, 0))

    def infer(self, x: Spec, *, axis: int) -> tuple[Spec, ...]:
        if not -x.ndim <= axis < x.ndim:
            raise ShapeError(f"shape {x.shape} has no axis {axis} to take slices along")
        shape = list(x.shape)
        length = shape.pop(axis)
        return (Spec(tuple(shape), x.dtype),) * length

    def pull(self, needs: Any, g: Any, y: Any, xs: Any, attrs: Any) -> Any:
        x, axis = xs[0], attrs["axis"]
        shape = list(x.shape)
        shape.pop(axis)
        zeros = np.zeros(shape, x.dtype)
        return (_stack(*[zeros if part is None else part for part in g], axis=axis),)

    def batch(self, batched: Sequence[bool], x: Any, *, axis: int) -> Any:
        return self(x, axis=axis + (axis >= 0))


_unstack = register(Unstack("unstack"))


def unstack(x: Any, axis: int = 0) -> tuple[Any, ...]:
    """Return the slices of `x` along `axis`, one each."""
    if not x.shape:
        raise ShapeError("a value of shape () cannot be iterated over; it has no axis")
    slices: tuple[Any, ...] = _unstack(x, axis=axis)
    return slices


class AsType(Op):
    """Conversion to another dtype. To integers and bools no gradient passes."""

    vjps = (lambda g, y, x, dtype: astype(g, x.dtype),)

    def forward(self, x: Array, *, dtype: str) -> Array:
        return x.astype(dtype)

    def infer(self, x: Spec, *, dtype: str) -> Spec:
        return Spec(x.shape, np.dtype(dtype))

    def batch(self, batched: Sequence[bool], x: Any, *, dtype: str) -> Any:
        return self(x, dtype=dtype)


_astype = register(AsType("astype"))


def astype(x: Any, dtype: Any) -> Any:
    """Return `x` converted to `dtype`."""
    return _astype(x, dtype=checked_dtype(dtype).name)
